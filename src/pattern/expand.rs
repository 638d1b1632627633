//! A pattern and a window of time to prefixes, and the bound from which a listing starts.

use chrono::{DateTime, TimeDelta, Utc};

use super::PrefixPattern;
use super::leaf::{Prefix, fill, times};
use super::time::PrefixTime;

/// The prefixes of a pattern that cover an instant from `from` to `to`, both included, oldest
/// first, wildcards left as they are. One without dates. Lazy: a window may be centuries.
///
/// ```
/// use s3sweep::pattern::{PrefixPattern, expand};
///
/// let pattern = PrefixPattern::parse("trail/*/{YYYY}/{mm}").unwrap();
/// let (from, to) = ("2024-01-31T00:00:00Z", "2024-02-01T00:00:00Z");
/// let names = expand(&pattern, from.parse().unwrap(), to.parse().unwrap()).map(|prefix| prefix.name);
/// assert_eq!(names.collect::<Vec<_>>(), ["trail/*/2024/01", "trail/*/2024/02"]);
/// ```
pub fn expand(
    pattern: &PrefixPattern,
    from: DateTime<Utc>,
    to: DateTime<Utc>,
) -> impl Iterator<Item = Prefix> + use<> {
    let pattern = pattern.clone();
    let (zone, step) = (pattern.zone, pattern.step());
    let time_at = |at: DateTime<Utc>| match step {
        Some(step) => PrefixTime::covering(at, zone, step),
        None => PrefixTime::OPEN_ENDED,
    };
    // Clocks that are set back (a whole day in some places, once) make earlier local times
    // come later: look around the window, then keep what it covers.
    let around = TimeDelta::days(if zone == chrono_tz::Tz::UTC { 0 } else { 2 });
    let first = time_at(from.checked_sub_signed(around).unwrap_or(DateTime::<Utc>::MIN_UTC));
    let last = time_at(to.checked_add_signed(around).unwrap_or(DateTime::<Utc>::MAX_UTC));
    let meets = move |time: &PrefixTime, step| {
        zone == chrono_tz::Tz::UTC || time.intervals(zone, step).meet(from, to)
    };
    times(step, first, last)
        .take_while(move |_| from <= to)
        .filter(move |time| step.is_none_or(|step| meets(time, step)))
        .map(move |time| fill("", &pattern.parts.tokens, step, zone, time))
}

/// A bound to start a listing after, exclusive: every key that equals `literal` or starts with
/// it comes later in byte order, and as few others as possible. `None` for text without a
/// place before it: list from the beginning.
///
/// ```
/// use s3sweep::pattern::just_before;
///
/// let bound = just_before("trail/2024/01/15").unwrap();
/// assert!("trail/2024/01/14/last.gz" < bound.as_str() && bound.as_str() < "trail/2024/01/15");
/// ```
pub fn just_before(literal: &str) -> Option<String> {
    /// The longest key of S3, in bytes.
    const LONGEST: usize = 1024;
    let last = literal.chars().next_back()?;
    let mut bound = literal[..literal.len() - last.len_utf8()].to_owned();
    // The character before, so far as XML can write it in an answer of S3; without one the
    // text in front is the bound, which only lets in keys with control characters.
    let before = match last {
        '\u{0}'..=' ' => None,
        '\u{e000}' => Some('\u{d7ff}'),
        '\u{ffff}' | '\u{10000}' => Some('\u{fffd}'),
        _ => char::from_u32(u32::from(last) - 1),
    };
    if let Some(before) = before {
        bound.push(before);
        // Behind what starts with that character.
        if bound.len() + char::MAX.len_utf8() <= LONGEST {
            bound.push(char::MAX);
        }
    }
    (!bound.is_empty()).then_some(bound)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(pattern: &str, zone: chrono_tz::Tz, from: &str, to: &str) -> Vec<String> {
        let pattern = PrefixPattern::parse(pattern).expect("a test pattern").in_timezone(zone);
        let utc = |text: &str| text.parse::<DateTime<Utc>>().expect("a test instant");
        expand(&pattern, utc(from), utc(to)).map(|prefix| prefix.name).collect()
    }

    #[test]
    fn windows_expand_to_what_covers_them() {
        use chrono_tz::{Europe::Berlin, Tz::UTC};
        type Case =
            (&'static str, &'static str, chrono_tz::Tz, &'static str, &'static str, &'static [&'static str]);
        let cases: &[Case] = &[
            (
                "an instant",
                "a///YYYY/////mm/////dd//",
                UTC,
                "2023-12-31T23:59:59Z",
                "2023-12-31T23:59:59Z",
                &["a/2023/12/31"],
            ),
            (
                "over a leap day",
                "a/{YYYY}/{mm}/{dd}",
                UTC,
                "2024-02-28T12:00:00Z",
                "2024-03-01T00:00:00Z",
                &["a/2024/02/28", "a/2024/02/29", "a/2024/03/01"],
            ),
            ("backwards", "a/{YYYY}", UTC, "2024-02-28T12:00:00Z", "2024-02-28T11:00:00Z", &[]),
            ("backwards elsewhere", "a/{YYYY}", Berlin, "2024-02-28T12:00:00Z", "2024-02-28T11:00:00Z", &[]),
            ("without dates", "a/*", UTC, "2024-02-28T12:00:00Z", "2024-03-28T11:00:00Z", &["a/*"]),
            ("the root", "/", UTC, "2024-02-28T12:00:00Z", "2024-02-28T12:00:00Z", &["/"]),
            (
                "the local day",
                "a/{YYYY}/{mm}/{dd}",
                Berlin,
                "2024-02-28T23:00:00Z",
                "2024-02-28T23:00:00Z",
                &["a/2024/02/29"],
            ),
            (
                "the double hour is one",
                "{YYYY}{mm}{dd}{HH}",
                Berlin,
                "2024-10-26T23:00:00Z",
                "2024-10-27T02:00:00Z",
                &["2024102701", "2024102702", "2024102703"],
            ),
            (
                "only its second pass",
                "{YYYY}{mm}{dd}{HH}",
                Berlin,
                "2024-10-27T01:10:00Z",
                "2024-10-27T01:20:00Z",
                &["2024102702"],
            ),
            (
                "minutes of the second pass",
                "{YYYY}{mm}{dd}{HH}{MM}",
                Berlin,
                "2024-10-27T01:00:30Z",
                "2024-10-27T01:01:59Z",
                &["202410270200", "202410270201"],
            ),
            (
                "minutes from one pass to the other",
                "{YYYY}{mm}{dd}{HH}{MM}",
                Berlin,
                "2024-10-27T00:59:00Z",
                "2024-10-27T01:00:00Z",
                &["202410270200", "202410270259"],
            ),
            (
                "the hour left out has no length",
                "{YYYY}{mm}{dd}{HH}",
                Berlin,
                "2024-03-31T00:00:00Z",
                "2024-03-31T01:00:00Z",
                &["2024033101", "2024033102", "2024033103"],
            ),
        ];
        for (name, pattern, zone, from, to, want) in cases {
            assert_eq!(names(pattern, *zone, from, to), *want, "{name}");
        }
    }

    #[test]
    fn a_window_of_all_time_is_lazy() {
        let minutes = PrefixPattern::parse("{YYYY}{mm}{dd}{HH}{MM}").expect("a test pattern");
        for zone in [chrono_tz::Tz::UTC, chrono_tz::Asia::Tokyo] {
            let pattern = minutes.clone().in_timezone(zone);
            let mut all = expand(&pattern, DateTime::<Utc>::MIN_UTC, DateTime::<Utc>::MAX_UTC);
            assert_eq!(all.next().map(|prefix| prefix.name).as_deref(), Some("000001010000"));
            assert_eq!(all.nth(1440).map(|prefix| prefix.name).as_deref(), Some("000001020001"));
        }
        let years = PrefixPattern::parse("{YYYY}").expect("a test pattern");
        assert_eq!(expand(&years, DateTime::<Utc>::MIN_UTC, DateTime::<Utc>::MAX_UTC).count(), 10_000);
    }

    #[test]
    fn bounds_lie_just_before() {
        let cases = [
            ("", None),
            (" ", None),
            ("a", Some("`\u{10ffff}")),
            ("a/2024/01/10", Some("a/2024/01/1/\u{10ffff}")),
            ("a/", Some("a.\u{10ffff}")),
            ("a ", Some("a")),
            ("a\u{e000}", Some("a\u{d7ff}\u{10ffff}")),
            ("a\u{10000}", Some("a\u{fffd}\u{10ffff}")),
        ];
        for (literal, want) in cases {
            assert_eq!(just_before(literal).as_deref(), want, "{literal:?}");
        }
        assert!(just_before(&"a".repeat(1024)).is_some_and(|bound| bound.len() <= 1024));
    }
}
