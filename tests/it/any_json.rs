//! Any JSON as a record, written in any style; and what holds for every line made of one.

use std::collections::BTreeSet;

use proptest::collection::vec;
use proptest::prelude::*;
use serde_json::{Map, Value};

use s3sweep::encode::interflow::members;
use s3sweep::record::LogType;
use s3sweep::record::json::each_member;

/// Checks what holds for every Interflow line with the vendor object `aws`, and reads it.
pub fn checked_line(log_type: LogType, line: &[u8]) -> Value {
    let text = std::str::from_utf8(line).expect("a line is UTF-8");
    let text = text.strip_suffix('\n').expect("a line ends in a newline");
    assert!(!text.contains(['\n', '\r']), "one line: {text}");
    let mut names = BTreeSet::new();
    each_member(text, |name, value| {
        assert!(names.insert(name.to_owned()), "{name} stands twice: {text}");
        assert!(name == "aws" || members(log_type).contains(&name), "{name} is no known member: {text}");
        assert!(
            !matches!(value, "null" | "\"\"" | "\"-\"" | "{}" | "[]") || name == "aws",
            "{name} is blank: {text}"
        );
    })
    .expect("a line is an object");
    let line: Value = serde_json::from_str(text).expect("a line is JSON");
    assert!(line["timestamp"].is_i64() && line["write_time"].is_i64(), "{text}");
    assert_eq!(line["msg_origin"]["vendor"], "aws");
    if let Some(srcip) = line["srcip"].as_str() {
        srcip.parse::<std::net::IpAddr>().expect("srcip is an address");
    }
    line
}

/// Texts that the mapping treats in their own ways, and any other.
fn texts() -> impl Strategy<Value = String> {
    let special: &'static [&'static str] = &[
        "",
        "-",
        "null",
        "10.0.0.1",
        "2001:db8::1",
        "ec2.amazonaws.com",
        "AWS Internal/1",
        "2024-01-02T03:04:05Z",
        "Root",
        "IdentityCenterUser",
        "HIDDEN_DUE_TO_SECURITY_REASONS",
        "arn:aws:sts::1:assumed-role/r/s",
        ":assumed-role/",
        "Insight",
        "ConsoleLogin",
        "Failure",
        "AwsConsoleSignIn",
        "signin.amazonaws.com",
        ".",
        "arn:aws:wafv2:eu-west-1:111122223333:global/webacl/a/b",
        "ALLOW",
        "Cookie",
        "User-Agent",
        "1688990793",
        "line\nbreak",
        "\\\"",
    ];
    prop_oneof![proptest::sample::select(special).prop_map(str::to_owned), any::<String>()]
}

/// Names of a log type's own members, so that odd values stand where the mapping looks, and
/// others.
fn names(paths: &[&'static str]) -> impl Strategy<Value = String> + use<> {
    let known: BTreeSet<&str> = paths.iter().flat_map(|path| path.split('.')).collect();
    let known: Vec<&str> = known.into_iter().collect();
    prop_oneof![8 => proptest::sample::select(known).prop_map(str::to_owned), 1 => texts()]
}

/// Objects of such names.
pub fn objects<S: Strategy<Value = Value>>(
    paths: &[&'static str],
    values: S,
) -> impl Strategy<Value = Value> + use<S> {
    vec((names(paths), values), 0..20)
        .prop_map(|members| Value::Object(members.into_iter().collect::<Map<_, _>>()))
}

/// Any value, with such names in its objects.
pub fn values(paths: &'static [&'static str]) -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        6 => texts().prop_map(Value::from),
        1 => Just(Value::Null),
        1 => any::<bool>().prop_map(Value::from),
        1 => any::<i64>().prop_map(Value::from),
        // Eighths, because serde_json reads other fractions to within one bit only.
        1 => any::<i32>().prop_map(|eighths| Value::from(f64::from(eighths) / 8.0)),
    ];
    leaf.prop_recursive(5, 60, 12, move |inner| {
        prop_oneof![vec(inner.clone(), 0..5).prop_map(Value::from), objects(paths, inner)]
    })
}

/// JSON as others write it: compact, pretty, with carriage returns, or with only ASCII letters.
pub fn write(value: &Value, style: u8) -> String {
    match style % 4 {
        0 => value.to_string(),
        1 => format!("{value:#}"),
        2 => format!("{value:#}").replace('\n', "\r\n\t"),
        _ => {
            let escape = |c: char| match c {
                ' '..='~' => c.to_string(),
                _ => c.encode_utf16(&mut [0; 2]).iter().map(|unit| format!("\\u{unit:04X}")).collect(),
            };
            value.to_string().chars().map(escape).collect()
        }
    }
}
