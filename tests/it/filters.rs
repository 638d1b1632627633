//! Filters against the plain reading of a record: serde_json's tree, and no fields noted.

use std::sync::LazyLock;

use proptest::prelude::*;
use regex::Regex;
use serde_json::Value;

use s3sweep::decode::cloudtrail::{CloudTrailDecoder, PATHS};
use s3sweep::decode::testing::for_each_record;
use s3sweep::filter::{Condition, FieldPath, Filter, Network, Rule, Test};
use s3sweep::record::LogType;

use crate::any_json::{objects, values};

/// Paths below fields of any members, beside those of the table.
const BELOW: [&str; 4] = [
    "requestParameters.type",
    "requestParameters.userIdentity.arn",
    "responseElements.ConsoleLogin",
    "additionalEventData.eventName",
];

static WORDS: LazyLock<Vec<&str>> =
    LazyLock::new(|| vec!["", "-", "null", "Root", "Failure", "10.0.0.1", "true", "0"]);

/// A condition in words, so that the plain reading needs nothing of the filter's.
#[derive(Clone, Debug)]
enum Asked {
    OneOf(Vec<String>),
    Prefix(String),
    Regex(&'static str),
    Cidr(&'static str),
    Exists(bool),
}

fn asked() -> impl Strategy<Value = Asked> {
    let word = || proptest::sample::select(WORDS.clone()).prop_map(str::to_owned);
    prop_oneof![
        proptest::collection::vec(word(), 1..4).prop_map(Asked::OneOf),
        word().prop_map(Asked::Prefix),
        proptest::sample::select(vec!["^[A-Z]", "o", "^$", "\"", "[0-9]$"]).prop_map(Asked::Regex),
        proptest::sample::select(vec!["10.0.0.0/8", "2001:db8::/32"]).prop_map(Asked::Cidr),
        any::<bool>().prop_map(Asked::Exists),
    ]
}

type AskedRule = Vec<(&'static str, Asked)>;

fn rules() -> impl Strategy<Value = Vec<AskedRule>> {
    let paths: Vec<&str> = PATHS.iter().copied().chain(BELOW).collect();
    let condition = (proptest::sample::select(paths), asked());
    proptest::collection::vec(proptest::collection::vec(condition, 1..3), 0..3)
}

fn rule((number, conditions): (usize, &AskedRule)) -> Rule {
    let conditions = conditions.iter().map(|(path, asked)| Condition {
        field: FieldPath::find(LogType::CloudTrail, path).expect("known"),
        test: match asked.clone() {
            Asked::OneOf(texts) => Test::OneOf(texts),
            Asked::Prefix(prefix) => Test::Prefix(prefix),
            Asked::Regex(regex) => Test::Regex(Regex::new(regex).expect("sound")),
            Asked::Cidr(network) => Test::Cidr(vec![network.parse().expect("sound")]),
            Asked::Exists(exists) => Test::Exists(exists),
        },
    });
    Rule { name: number.to_string(), conditions: conditions.collect() }
}

/// What a record says at a path, read from the tree.
fn plain_text(record: &Value, path: &str) -> Option<String> {
    let value = path.split('.').try_fold(record, |value, step| value.as_object()?.get(step))?;
    match value {
        Value::Null => None,
        Value::String(text) => Some(text.clone()),
        other => Some(other.to_string()),
    }
}

fn holds(record: &Value, (path, asked): &(&str, Asked)) -> bool {
    let text = plain_text(record, path);
    match (asked, &text) {
        (Asked::Exists(exists), _) => *exists == text.is_some(),
        (_, None) => false,
        (Asked::OneOf(texts), Some(text)) => texts.contains(text),
        (Asked::Prefix(prefix), Some(text)) => text.strip_prefix(prefix.as_str()).is_some(),
        (Asked::Regex(regex), Some(text)) => Regex::new(regex).expect("sound").find(text).is_some(),
        (Asked::Cidr(network), Some(text)) => {
            let network: Network = network.parse().expect("sound");
            text.parse().is_ok_and(|address| network.contains(address))
        }
    }
}

fn plain_verdict(record: &Value, include: &[AskedRule], exclude: &[AskedRule]) -> Option<usize> {
    let matches = |rule: &AskedRule| rule.iter().all(|condition| holds(record, condition));
    if !include.is_empty() && !include.iter().any(matches) {
        return Some(0);
    }
    exclude.iter().position(matches).map(|number| number + 1)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(600))]

    #[test]
    fn filters_judge_as_the_plain_reading(record in objects(PATHS, values(PATHS)), include in rules(), exclude in rules()) {
        let filter = Filter {
            include: include.iter().enumerate().map(rule).collect(),
            exclude: exclude.iter().enumerate().map(rule).collect(),
        };
        let object = serde_json::json!({ "Records": [record] }).to_string();
        let mut verdicts = Vec::new();
        let mut decoder = CloudTrailDecoder::new(1 << 20);
        for_each_record(&mut decoder, object.as_bytes(), |record| verdicts.push(filter.leaves_out(record)))
            .expect("a sound object");
        prop_assert_eq!(verdicts, [plain_verdict(&record, &include, &exclude)]);
    }
}
