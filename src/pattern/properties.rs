//! Properties that hold for all patterns, made of random parts.

use chrono::{DateTime, Utc};
use chrono_tz::Tz;
use proptest::prelude::*;

use super::*;

const ZONES: [Tz; 5] = [
    Tz::UTC,
    chrono_tz::Europe::Berlin,
    chrono_tz::Australia::Lord_Howe,
    chrono_tz::America::Sao_Paulo,
    chrono_tz::Pacific::Apia,
];

fn instant() -> impl Strategy<Value = DateTime<Utc>> {
    // Years 1900 to 2100, where clocks change.
    (-2_208_988_800_i64..4_102_444_800)
        .prop_map(|seconds| DateTime::from_timestamp(seconds, 0).expect("in range"))
}

/// Texts that come near the grammar in all its parts.
fn near_pattern() -> impl Strategy<Value = String> {
    const PARTS: &[&str] = &[
        "/",
        "//",
        "///",
        "*",
        "\\",
        "{",
        "}",
        "YYYY",
        "mm",
        "m",
        "dd",
        "d",
        "HH",
        "H",
        "MM",
        "M",
        "//YYYY//",
        "{YYYY}",
        "{mm}",
        "{m}",
        "{dd}",
        "//d//",
        "{HH}",
        "//MM//",
        "OU-ID",
        "/OU-ID/",
        "AWSLogs/",
        "/*/",
        "yyyy",
        "-",
        "x",
        "1",
        "é",
        "CloudTrail",
    ];
    let part = prop_oneof![4 => prop::sample::select(PARTS).prop_map(str::to_owned), 1 => any::<char>().prop_map(String::from)];
    prop::collection::vec(part, 0..12).prop_map(|parts| parts.concat())
}

/// Dated patterns without mistakes: variables to a random step, coarse to fine, with text.
fn dated(padded: BoxedStrategy<bool>) -> impl Strategy<Value = String> {
    let text = prop::sample::select(&["/", "-", "/x/", "_y=", "T"][..]);
    let date = (padded, text);
    let tail = prop::sample::select(&["", "/z", "/*.gz", "-q"][..]);
    let head = prop::sample::select(&["logs/", "", "a/b-", "p/{YYYY}/"][..]);
    (head, prop::collection::vec(date, 1..5), tail).prop_map(|(head, dates, tail)| {
        let mut text = format!("{head}{{YYYY}}");
        for ((padded, separator), unit) in
            dates.into_iter().zip([["m", "mm"], ["d", "dd"], ["H", "HH"], ["M", "MM"]])
        {
            text += &format!("{separator}{{{}}}", unit[usize::from(padded)]);
        }
        text + tail
    })
}

proptest! {
    #[test]
    fn any_text_is_a_pattern_or_a_mistake(text in any::<String>()) {
        check_text(&text)?;
    }

    #[test]
    fn so_is_text_near_a_pattern(text in near_pattern()) {
        check_text(&text)?;
    }

    #[test]
    fn keys_go_back_to_their_prefix(
        text in dated(any::<bool>().boxed()), zone in prop::sample::select(&ZONES[..]), at in instant(), suffix in "|[^0-9]\\PC{0,8}",
    ) {
        let pattern = PrefixPattern::parse(&text).expect("made without mistakes").in_timezone(zone);
        let Discovery::Leaf(leaf) = pattern.discovery() else { panic!("no wildcard left of the dates") };
        let time = leaf.time_of(at);
        let prefix = leaf.prefix(time);
        prop_assert!(prefix.from <= at && Some(at) < prefix.until, "{prefix:?} covers {at}");
        let key = prefix.name.replace('*', "any") + &suffix;
        prop_assert!(key.starts_with(&prefix.literal));
        prop_assert_eq!(leaf.prefix_of_key(&key), Some(time), "{} {}", leaf.name(), key);
        prop_assert_eq!(leaf.previous(leaf.next(time)), time);
        prop_assert!(leaf.prefix(leaf.next(time)).from >= prefix.from);
        prop_assert!(expand(&pattern, at, at).any(|found| found.time == time));
    }

    #[test]
    fn literals_of_a_range_are_in_order_of_time(text in dated(Just(true).boxed()), first in instant(), second in instant()) {
        let pattern = PrefixPattern::parse(&text).expect("made without mistakes");
        prop_assert!(pattern.is_range());
        let leaf = pattern.leaf(match pattern.discovery() {
            Discovery::Leaf(leaf) => leaf,
            Discovery::Folders(_) => panic!("no wildcard left of the dates"),
        }.head()).expect("its own head");
        let (first, second) = (leaf.time_of(first), leaf.time_of(second));
        let literals = leaf.prefix(first).literal.cmp(&leaf.prefix(second).literal);
        prop_assert_eq!(literals, first.cmp(&second));
    }

    #[test]
    fn the_bound_lies_before_a_literal_and_behind_smaller_keys(literal in "\\PC{1,6}", suffix in "\\PC{0,4}", other in "\\PC{0,6}") {
        let bound = just_before(&literal).unwrap_or_default();
        let key = format!("{literal}{suffix}");
        prop_assert!(bound < key);
        if other < literal && just_before(&literal).is_some() {
            prop_assert!(other <= bound || other.starts_with(&bound), "{other:?} {bound:?}");
        }
    }

    #[test]
    fn wildcards_match_like_a_regular_expression(
        parts in prop::collection::vec(prop::sample::select(&["a", "b", "*", "/", "é"][..]), 1..9), key in "[abé/]{0,12}",
    ) {
        let text = parts.concat().replace("**", "*");
        let Ok(pattern) = PrefixPattern::parse(&text) else { return Ok(()) };
        let segments = pattern.segments().iter().map(|segment| match &segment[..] {
            [Token::Wild(_)] => "[^/]+".to_owned(),
            tokens => tokens.iter().map(|t| if let Token::Text(text) = t { text } else { "[^/]*" }).collect(),
        });
        let regex = format!("^{}", segments.collect::<Vec<String>>().join("/"));
        let regex = regex::Regex::new(&regex).expect("letters and classes");
        let Discovery::Leaf(leaf) = pattern.discovery() else { panic!("no dates") };
        prop_assert_eq!(leaf.prefix_of_key(&key).is_some(), regex.is_match(&key), "{} {}", text, key);
    }

    #[test]
    fn state_forms_come_back(at in instant(), step in prop::sample::select(&Step::ALL[..])) {
        let time = PrefixTime::covering(at, Tz::UTC, step);
        prop_assert_eq!(PrefixTime::from_minutes(time.as_minutes()), Some(time));
        prop_assert!(time.as_minutes() * 60 <= at.timestamp());
    }
}

/// A text is a pattern that comes back from its normal form, or a mistake whose correction is
/// a pattern. Its leaf and prefixes can be asked for anything.
fn check_text(text: &str) -> Result<(), TestCaseError> {
    let pattern = match PrefixPattern::parse(text) {
        Ok(pattern) => pattern,
        Err(error) => {
            prop_assert!((1..=text.chars().count().max(1)).contains(&error.column), "{error}");
            prop_assert!(error.corrected.is_none_or(|corrected| PrefixPattern::parse(&corrected).is_ok()));
            return Ok(());
        }
    };
    let normal = pattern.to_string();
    prop_assert_eq!(PrefixPattern::parse(&normal), Ok(pattern.clone()), "normal form {}", normal);
    if let Discovery::Leaf(leaf) = pattern.discovery() {
        prop_assert_eq!(pattern.leaf(leaf.head()), Some(leaf.clone()));
        let prefix = leaf.prefix(leaf.time_of(DateTime::UNIX_EPOCH));
        prop_assert!(prefix.literal.starts_with(leaf.head()));
        leaf.prefix_of_key(text);
    }
    Ok(())
}
