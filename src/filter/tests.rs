//! Conditions, rules and filters on single records.

use std::sync::LazyLock;

use super::*;
use crate::decode::fields::{FieldReader, Paths};
use crate::record::LogType;

const RECORD: &str = r#"{"eventName":"Desc\u0072ibe","readOnly":true,"sourceIPAddress":"10.1.2.3",
    "userAgent":"","errorCode":null,"userIdentity":{"type":"Root"},
    "resources":[{"ARN":"arn:a","type":"A"},{"ARN":"arn:b"}, null],"tlsDetails":{"keyExchange":"x25519"},
    "edgeDeviceDetails":{"a":{"b":1}},
    "requestParameters":{"bucketName":"b","n": 12,"list":[1, "x"],"none":null,
        "items":[{"id":"i-1","tags":[{"k":"v"}]},{"id":"i-2"}]}}"#;

fn with_record<T>(raw: &str, look: impl FnOnce(&Record<'_>) -> T) -> T {
    static FIELDS: LazyLock<Paths> = LazyLock::new(|| Paths::new(LogType::CloudTrail.paths()));
    let mut reader = FieldReader::new(&FIELDS);
    reader.read(raw.as_bytes()).unwrap();
    look(&reader.record(raw.as_bytes()))
}

fn condition(path: &str, test: Test) -> Condition {
    Condition { field: FieldPath::find(LogType::CloudTrail, path).unwrap(), test }
}

fn rule(name: &str, conditions: Vec<Condition>) -> Rule {
    Rule { name: name.to_owned(), conditions }
}

fn is(text: &str) -> Test {
    Test::OneOf(vec![text.to_owned()])
}

#[test]
fn conditions_hold_or_not() {
    let one_of = |texts: &[&str]| Test::OneOf(texts.iter().map(|text| (*text).to_owned()).collect());
    let prefix = |text: &str| Test::Prefix(text.to_owned());
    let regex = |text: &str| Test::Regex(Regex::new(text).unwrap());
    let cidr = |text: &str| Test::Cidr(vec!["::1".parse().unwrap(), text.parse().unwrap()]);
    for (path, test, want) in [
        ("eventName", is("Describe"), true),
        ("eventName", is("describe"), false),
        ("eventName", one_of(&["X", "Describe"]), true),
        ("eventName", one_of(&["X", "Y"]), false),
        ("eventName", prefix("Desc"), true),
        ("eventName", prefix("scribe"), false),
        ("eventName", regex("scr"), true),
        ("eventName", regex("^scr"), false),
        ("readOnly", is("true"), true),
        ("userIdentity.type", is("Root"), true),
        ("userIdentity", prefix("{\"type\":\"Root\"}"), true),
        ("userAgent", Test::Exists(true), true),
        ("userAgent", is(""), true),
        ("errorCode", Test::Exists(true), false),
        ("errorCode", Test::Exists(false), true),
        ("errorCode", is("null"), false),
        ("errorMessage", Test::Exists(false), true),
        ("errorMessage", prefix(""), false),
        ("sourceIPAddress", cidr("10.0.0.0/8"), true),
        ("sourceIPAddress", cidr("11.0.0.0/8"), false),
        ("eventName", cidr("0.0.0.0/0"), false),
        ("requestParameters.bucketName", is("b"), true),
        ("requestParameters.n", is("12"), true),
        ("requestParameters.list", is("[1,\"x\"]"), true),
        ("requestParameters.none", Test::Exists(false), true),
        ("requestParameters.bucketName.x", Test::Exists(false), true),
        ("requestParameters.BucketName", Test::Exists(false), true),
        ("requestParameters.items.id", is("i-2"), true),
        ("requestParameters.items.id", is("i-3"), false),
        ("requestParameters.items.tags.k", is("v"), true),
        ("requestParameters.items.none", Test::Exists(true), false),
        ("resources.ARN", is("arn:b"), true),
        ("resources.ARN", prefix("arn:c"), false),
        ("resources.type", Test::Exists(true), true),
        ("resources.accountId", Test::Exists(false), true),
        ("tlsDetails.keyExchange", is("x25519"), true),
        ("tlsDetails", prefix("{\"keyExchange\""), true),
        ("edgeDeviceDetails.a.b", is("1"), true),
        ("userIdentity.inScopeOf.sourceArn", Test::Exists(false), true),
    ] {
        let shown = format!("{path} {test:?}");
        assert_eq!(with_record(RECORD, |record| condition(path, test).holds(record)), want, "{shown}");
    }
}

#[test]
fn rules_keep_and_leave_out() {
    let yes = || condition("eventName", is("Describe"));
    let no = || condition("eventName", is("X"));
    for (name, include, exclude, want) in [
        ("no rules", vec![], vec![], None),
        ("included", vec![rule("a", vec![no()]), rule("b", vec![yes()])], vec![], None),
        (
            "not included",
            vec![rule("a", vec![no()]), rule("b", vec![yes(), no()])],
            vec![],
            Some(NOT_INCLUDED),
        ),
        ("excluded", vec![], vec![rule("a", vec![no()]), rule("b", vec![yes(), yes()])], Some("b")),
        ("half of a rule", vec![], vec![rule("a", vec![yes(), no()])], None),
        ("both", vec![rule("a", vec![yes()])], vec![rule("b", vec![yes()])], Some("b")),
        ("the first one counts", vec![], vec![rule("a", vec![yes()]), rule("b", vec![yes()])], Some("a")),
        ("not even asked", vec![rule("a", vec![no()])], vec![rule("b", vec![yes()])], Some(NOT_INCLUDED)),
    ] {
        let filter = Filter { include, exclude };
        let found = with_record(RECORD, |record| filter.leaves_out(record));
        assert_eq!(found.map(|number| filter.name(number)), want, "{name}");
    }
}

#[test]
fn only_known_fields_are_found() {
    for (path, known) in [
        ("eventName", true),
        ("userIdentity.sessionContext.sessionIssuer.arn", true),
        ("requestParameters", true),
        ("requestParameters.a.b", true),
        ("requestParameters.", false),
        ("requestParametersX.a", false),
        ("requestParameters..a", false),
        ("eventname", false),
        ("userIdentity.nobody", false),
        ("", false),
    ] {
        assert_eq!(FieldPath::find(LogType::CloudTrail, path).is_some(), known, "{path}");
    }
}
