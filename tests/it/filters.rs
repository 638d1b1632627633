//! Filters against the plain reading of a record: serde_json's tree, and no fields noted.

use std::sync::LazyLock;

use proptest::prelude::*;
use regex::Regex;
use serde_json::Value;

use s3sweep::config;
use s3sweep::decode::cloudtrail::{CloudTrailDecoder, PATHS};
use s3sweep::decode::testing::for_each_record;
use s3sweep::decode::{self, DecodeSettings};
use s3sweep::filter::{Condition, FieldPath, Filter, Network, Rule, Test};
use s3sweep::record::LogType;

use crate::any_json::{objects, values};

/// Paths below fields of any members and of lists, beside those of the table.
const BELOW: [&str; 8] = [
    "resources.type",
    "tlsDetails",
    "userIdentity.sessionContext.attributes",
    "edgeDeviceDetails.type.arn",
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

/// What a record says at a path, read from the tree: by the steps of a field that decoders know, and
/// below it through lists too.
fn plain_texts(record: &Value, path: &str) -> Vec<String> {
    let above = |known: &&&str| {
        path.strip_prefix(**known).is_some_and(|rest| matches!(rest.get(..1), None | Some(".")))
    };
    let known = PATHS.iter().filter(above).max_by_key(|known| known.len()).copied().unwrap_or_default();
    let step = |value: &'_ Value, step: &str| value.as_object()?.get(step).cloned();
    let noted = known
        .split('.')
        .filter(|name| !name.is_empty())
        .try_fold(record.clone(), |value, name| step(&value, name));
    let mut values = Vec::from_iter(noted);
    for name in path[known.len()..].split('.').filter(|name| !name.is_empty()) {
        while values.iter().any(Value::is_array) {
            values = values
                .into_iter()
                .flat_map(|value| value.as_array().cloned().unwrap_or(vec![value]))
                .collect();
        }
        values = values.iter().filter_map(|value| step(value, name)).collect();
    }
    let text = |value: Value| match value {
        Value::Null => None,
        Value::String(text) => Some(text),
        other => Some(other.to_string()),
    };
    values.into_iter().filter_map(text).collect()
}

fn holds(record: &Value, (path, asked): &(&str, Asked)) -> bool {
    let texts = plain_texts(record, path);
    texts.iter().any(|text| match asked {
        Asked::Exists(_) => true,
        Asked::OneOf(texts) => texts.contains(text),
        Asked::Prefix(prefix) => text.strip_prefix(prefix.as_str()).is_some(),
        Asked::Regex(regex) => Regex::new(regex).expect("sound").find(text).is_some(),
        Asked::Cidr(network) => {
            let network: Network = network.parse().expect("sound");
            text.parse().is_ok_and(|address| network.contains(address))
        }
    }) != matches!(asked, Asked::Exists(false))
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

/// A configuration whose one rule asks for a field.
fn asks_for(log_type: LogType, field: &str) -> Result<config::Config, config::ConfigError> {
    let text = format!(
        "state_dir = \"s\"\nsink = {{ type = \"stdout\" }}\n[[source]]\nname = \"a\"\nlog_type = \"{}\"\n\
         bucket = \"acme\"\nprefix = \"x\"\n[[source.exclude]]\nname = \"r\"\nfield = \"{field}\"\nexists = true\n",
        log_type.word()
    );
    config::parse("s3sweep.toml".into(), &text)
}

#[test]
fn every_field_may_be_asked_for_and_no_other() {
    for log_type in LogType::ALL {
        let more = log_type.more_paths().iter().map(|path| path.trim_end_matches(".*"));
        let mut seen = Vec::new();
        for path in log_type.paths().iter().copied().chain(more) {
            assert!(asks_for(log_type, path).is_ok(), "{log_type:?}: {path}");
            seen.push(path);
            if path.starts_with("responseElements.") || path.starts_with("additionalEventData.") {
                continue; // any member below these may be asked for
            }
            let error = asks_for(log_type, &format!("{path}X")).err();
            let names_it = error.as_ref().is_some_and(|error| error.to_string().contains("did you mean"));
            assert!(names_it, "{log_type:?}: {path}X: {error:?}");
            assert!(asks_for(log_type, &format!("{path}.")).is_err(), "{log_type:?}: {path}.");
        }
        seen.sort_unstable();
        assert!(seen.windows(2).all(|pair| pair[0] != pair[1]), "{log_type:?}: each stands once");
    }
    for (log_type, path) in [
        (LogType::CloudTrail, "requestParameters.instancesSet.items.instanceId"),
        (LogType::CloudTrail, "edgeDeviceDetails.any.thing"),
        (LogType::Waf, "ruleGroupList.terminatingRule.ruleMatchDetails.location"),
        (LogType::Jsonl, "any.thing"),
    ] {
        assert!(asks_for(log_type, path).is_ok(), "{log_type:?}: {path}");
    }
    for (log_type, path) in [
        (LogType::CloudTrail, "eventName.x"),
        (LogType::CloudTrail, "tlsDetails.any"),
        (LogType::CloudTrail, "requestParameters..x"),
        (LogType::VpcFlow, "srcaddr.x"),
        (LogType::VpcFlow, "eventName"),
        (LogType::Waf, "clientIp"),
        (LogType::Jsonl, ""),
    ] {
        assert!(asks_for(log_type, path).is_err(), "{log_type:?}: {path}");
    }
}

#[test]
fn flow_rows_and_web_requests_are_judged_by_what_their_fields_stand_for() {
    let is = |text: &str| Test::OneOf(vec![text.to_owned()]);
    let row = "version instance-tag pkt-srcaddr\n11 team%20%C3%BC 10.0.0.1\n";
    let request =
        r#"{"labels":[{"name":"a"},{"name":"b"}],"httpRequest":{"headers":[{"name":"Host","value":"h"}]}}"#;
    for (log_type, object, field, test, want) in [
        (LogType::VpcFlow, row, "instance-tag", is("team ü"), true),
        (LogType::VpcFlow, row, "instance-tag", is("team%20%C3%BC"), false),
        (LogType::VpcFlow, row, "pkt-srcaddr", Test::Cidr(vec!["10.0.0.0/8".parse().expect("sound")]), true),
        (LogType::VpcFlow, row, "asg-tag", Test::Exists(false), true),
        (LogType::Waf, request, "labels.name", is("b"), true),
        (LogType::Waf, request, "labels.name", is("c"), false),
        (LogType::Waf, request, "httpRequest.headers.value", is("h"), true),
        (LogType::Jsonl, request, "labels.name", is("a"), true),
        (LogType::Jsonl, request, "labels.label", Test::Exists(false), true),
    ] {
        let shown = format!("{log_type:?} {field} {test:?}");
        let condition = Condition { field: FieldPath::find(log_type, field).expect("known"), test };
        let include = vec![Rule { name: "r".to_owned(), conditions: vec![condition] }];
        let filter = Filter { include, exclude: Vec::new() };
        let mut decoder = decode::decoder(log_type, &DecodeSettings::default()).expect("there");
        let mut kept = Vec::new();
        for_each_record(&mut *decoder, object.as_bytes(), |record| {
            kept.push(filter.leaves_out(record).is_none())
        })
        .expect("sound");
        assert_eq!(kept, [want], "{shown}");
    }
}
