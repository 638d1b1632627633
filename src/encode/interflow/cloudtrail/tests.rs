//! What stands in a line, field by field.

use std::sync::LazyLock;

use super::*;
use crate::decode::cloudtrail::CloudTrailDecoder;
use crate::decode::testing::for_each_record;
use serde_json::{Value, json};

static ORIGIN: LazyLock<Origin> =
    LazyLock::new(|| Origin::new("b\"ucket", "AWSLogs/k ü\n.gz", "e").at(12, 1_700_000_000_123));

fn lines(settings: &InterflowSettings, record: &str) -> Vec<u8> {
    let encoder = CloudTrailEncoder::new(settings).unwrap();
    let mut out = Vec::new();
    let object = format!("{{\"Records\":[{record}]}}");
    let mut decoder = CloudTrailDecoder::new(1 << 20);
    for_each_record(&mut decoder, object.as_bytes(), |record| encoder.encode(record, &ORIGIN, &mut out))
        .unwrap();
    out
}

fn encode(record: &str) -> Value {
    let line = lines(&InterflowSettings::default(), record);
    assert_eq!(memchr(b'\n', &line), Some(line.len() - 1), "one line: {}", String::from_utf8_lossy(&line));
    serde_json::from_slice(&line).unwrap()
}

#[test]
fn a_whole_record() {
    let record = r#"{"eventVersion":"1.08","userIdentity":{"type":"IAMUser","principalId":"AIDAX","arn":"arn:aws:iam::111122223333:user/alice","accountId":"111122223333","accessKeyId":"","userName":"alice"},"eventTime":"2023-03-03T11:39:01Z","eventSource":"iam.amazonaws.com","eventName":"CreateUser","awsRegion":"us-east-1","sourceIPAddress":"198.51.100.7","userAgent":"aws \"cli\"/2.7","errorCode":"AccessDenied","errorMessage":"no\tway","requestParameters":{"userName":"bob"},"responseElements":null,"eventID":"d0b6","readOnly":false,"eventType":"AwsApiCall","managementEvent":true,"recipientAccountId":"444455556666","tlsDetails":{"clientProvidedHostHeader":"iam.amazonaws.com"}}"#;
    let record = record.replace('\t', "\\t");
    let original: Value = serde_json::from_str(&record).unwrap();
    let want = json!({
        "timestamp": 1_677_843_541_000_i64, "write_time": 1_700_000_000_123_i64,
        "msg_class": "cloudtrail",
        "msg_origin": {"source": "cloudtrail", "vendor": "aws", "category": "paas",
            "processor": {"type": "log_collector", "name": "cloudtrail"}},
        "srcip": "198.51.100.7", "srcip_type": "public", "srcip_version": 4,
        "srcip_username": "alice", "srcip_usersid": "AIDAX",
        "user": {"name": "alice", "id": "AIDAX", "domain": "111122223333"},
        "event_id": "d0b6", "_id": "d0b6", "event_name": "CreateUser",
        "event_source": "iam.amazonaws.com", "service": "iam",
        "event_type": "AwsApiCall", "event_category": "Management", "event_status": "failure",
        "event": {"action": "CreateUser", "type": "AwsApiCall", "category": "Management",
            "outcome": "failure", "reason": "no\tway"},
        "cloud": {"region": "us-east-1", "account": {"id": "444455556666"}},
        "user_agent": {"original": "aws \"cli\"/2.7"}, "dstip_host": "iam.amazonaws.com",
        "s3": {"bucket": "b\"ucket", "key": "AWSLogs/k ü\n.gz", "record": 12},
        "aws": original,
    });
    assert_eq!(encode(&record), want);
}

#[test]
fn an_empty_record_has_the_header_only() {
    let line = encode("{}");
    let names: Vec<&str> = line.as_object().unwrap().keys().map(String::as_str).collect();
    let mut want =
        ["timestamp", "write_time", "msg_class", "msg_origin", "_id", "event_status", "event", "s3", "aws"];
    want.sort_unstable();
    assert_eq!(names, want);
    assert_eq!(line["timestamp"], line["write_time"], "without a time, that of writing");
    assert_eq!(line["_id"].as_str().unwrap().len(), 32);
}

#[test]
fn single_fields() {
    for (name, record, path, want) in [
        ("bad time", r#"{"eventTime":"soon"}"#, "/timestamp", json!(1_700_000_000_123_i64)),
        (
            "time window",
            r#"{"timeWindow":{"windowStart":"2026-01-01T00:00:00Z"}}"#,
            "/timestamp",
            json!(1_767_225_600_000_i64),
        ),
        ("aggregated id", r#"{"eventId":"agg","accountId":"1"}"#, "/_id", json!("agg")),
        ("aggregated account", r#"{"eventId":"agg","accountId":"1"}"#, "/cloud/account/id", json!("1")),
        ("account of the user", r#"{"userIdentity":{"accountId":"2"}}"#, "/cloud/account/id", json!("2")),
        (
            "insight name",
            r#"{"insightDetails":{"eventName":"RunInstances"}}"#,
            "/event_name",
            json!("RunInstances"),
        ),
        (
            "insight source",
            r#"{"insightDetails":{"eventSource":"ec2.amazonaws.com"}}"#,
            "/service",
            json!("ec2"),
        ),
        ("insight outcome", r#"{"eventCategory":"Insight"}"#, "/event_status", Value::Null),
        (
            "category given",
            r#"{"eventCategory":"Data","managementEvent":false}"#,
            "/event_category",
            json!("Data"),
        ),
        ("no category", r#"{"managementEvent":false}"#, "/event_category", Value::Null),
        ("blank error code", r#"{"errorCode":""}"#, "/event_status", json!("success")),
        ("null error code", r#"{"errorCode":null}"#, "/event_status", json!("success")),
        ("endpoint denial", r#"{"errorCode":"VpceAccessDenied"}"#, "/event/outcome", json!("failure")),
        ("IPv6", r#"{"sourceIPAddress":"fd00::1"}"#, "/srcip_type", json!("private")),
        ("IPv6 version", r#"{"sourceIPAddress":"2001:db8::1"}"#, "/srcip_version", json!(6)),
        (
            "service host",
            r#"{"sourceIPAddress":"ec2.amazonaws.com"}"#,
            "/srcip_host",
            json!("ec2.amazonaws.com"),
        ),
        ("host is no IP", r#"{"sourceIPAddress":"ec2.amazonaws.com"}"#, "/srcip", Value::Null),
        ("internal", r#"{"sourceIPAddress":"AWS Internal/3"}"#, "/srcip_host", Value::Null),
        ("dash", r#"{"userAgent":"-"}"#, "/user_agent", Value::Null),
        ("empty host", r#"{"tlsDetails":{"clientProvidedHostHeader":""}}"#, "/dstip_host", Value::Null),
        ("source without a dot", r#"{"eventSource":"signin"}"#, "/service", json!("signin")),
        (
            "wrong types",
            r#"{"eventName":7,"awsRegion":["x"],"userIdentity":"x"}"#,
            "/event_name",
            Value::Null,
        ),
    ] {
        assert_eq!(*encode(record).pointer(path).unwrap_or(&Value::Null), want, "{name}");
    }
}

#[test]
fn users() {
    for (name, identity, want) in [
        ("name", r#"{"type":"IAMUser","userName":"alice","principalId":"A"}"#, Some("alice")),
        ("escaped name", r#"{"userName":"al\u0069ce \"x\""}"#, Some("alice \"x\"")),
        (
            "hidden name",
            r#"{"type":"IAMUser","userName":"HIDDEN_DUE_TO_SECURITY_REASONS","principalId":"A"}"#,
            Some("A"),
        ),
        (
            "Identity Center",
            r#"{"type":"IdentityCenterUser","onBehalfOf":{"userId":"u-1"},"principalId":"A"}"#,
            Some("u-1"),
        ),
        (
            "on behalf of another type",
            r#"{"type":"AWSAccount","onBehalfOf":{"userId":"u-1"},"principalId":"A"}"#,
            Some("A"),
        ),
        (
            "issuer",
            r#"{"type":"AssumedRole","arn":"arn:aws:sts::1:assumed-role/r/s","sessionContext":{"sessionIssuer":{"userName":"r"}}}"#,
            Some("r"),
        ),
        (
            "role session",
            r#"{"type":"AssumedRole","arn":"arn:aws:sts::1:assumed-role/r/bob@x","principalId":"A:bob"}"#,
            Some("bob@x"),
        ),
        (
            "session with escaped slashes",
            r#"{"arn":"arn:aws:sts::1:assumed-role\/r\/bob","principalId":"A"}"#,
            Some("bob"),
        ),
        ("another arn", r#"{"arn":"arn:aws:iam::1:role/r","principalId":"A"}"#, Some("A")),
        ("root", r#"{"type":"Root","invokedBy":"x.amazonaws.com"}"#, Some("root")),
        (
            "service",
            r#"{"type":"AWSService","invokedBy":"x.amazonaws.com","principalId":"A"}"#,
            Some("x.amazonaws.com"),
        ),
        ("no type", r#"{"accountId":"1","invokedBy":"x.amazonaws.com"}"#, Some("x.amazonaws.com")),
        ("blank name", r#"{"userName":"","principalId":"A"}"#, Some("A")),
        ("null on the way", r#"{"sessionContext":null,"onBehalfOf":null}"#, None),
        ("null", "null", None),
    ] {
        let line = encode(&format!("{{\"userIdentity\":{identity}}}"));
        assert_eq!(line["user"]["name"].as_str(), want, "{name}");
        assert_eq!(line["srcip_username"].as_str(), want, "{name}");
    }
}

#[test]
fn sign_ins() {
    for (name, record, status, result) in [
        (
            "failed",
            r#"{"eventType":"AwsConsoleSignIn","eventName":"ConsoleLogin","responseElements":{"ConsoleLogin":"Failure"}}"#,
            "failure",
            Some("failure"),
        ),
        (
            "done",
            r#"{"eventType":"AwsConsoleSignIn","eventName":"ConsoleLogin","responseElements":{"ConsoleLogin":"Success"}}"#,
            "success",
            Some("success"),
        ),
        (
            "role switch failed",
            r#"{"eventType":"AwsConsoleSignIn","eventName":"SwitchRole","responseElements":{"SwitchRole":"Failure"}}"#,
            "failure",
            None,
        ),
        (
            "Identity Center",
            r#"{"eventSource":"signin.amazonaws.com","eventName":"CredentialVerification","serviceEventDetails":{"CredentialVerification":"Failure"}}"#,
            "failure",
            None,
        ),
        (
            "no details",
            r#"{"eventType":"AwsConsoleSignIn","eventName":"ConsoleLogin","responseElements":null}"#,
            "success",
            Some("success"),
        ),
        (
            "no sign-in",
            r#"{"eventType":"AwsApiCall","eventName":"X","responseElements":{"X":"Failure"}}"#,
            "success",
            None,
        ),
    ] {
        let line = encode(record);
        assert_eq!(line["event_status"], status, "{name}");
        assert_eq!(line["login_result"].as_str(), result, "{name}");
        assert_eq!(line.get("login_type").is_some(), result.is_some(), "{name}");
    }
}

#[test]
fn the_original_is_copied_byte_for_byte() {
    let record =
        "{ \"eventID\" :\r\n\t\"\\u0061\\/b\", \"n\": 1.50e+2,\n \"requestParameters\": {\"a\": \"x\"} }";
    let line = lines(&InterflowSettings::default(), record);
    let want = format!("\"aws\":{}}}\n", record.replace(['\r', '\n'], " "));
    assert!(line.ends_with(want.as_bytes()), "{}", String::from_utf8_lossy(&line));
}

#[test]
fn free_form_fields_can_be_strings() {
    let settings = InterflowSettings { free_form_as_strings: true, ..Default::default() };
    let record = "{\"responseElements\":null,\n\"a\":{\"b\": 1},\"requestParameters\":{ \"k\\\"\" : [1,\n2] },\
                  \"serviceEventDetails\":\"text\",\"additionalEventData\":true}";
    let line: Value = serde_json::from_slice(&lines(&settings, record)).unwrap();
    let want = json!({
        "responseElements": null, "a": {"b": 1}, "requestParameters": r#"{"k\"":[1,2]}"#,
        "serviceEventDetails": "text", "additionalEventData": "true",
    });
    assert_eq!(line["aws"], want);
}

#[test]
fn settings_show_in_the_line() {
    let settings = InterflowSettings {
        vendor_object: "cloud\"trail".to_owned(),
        tenantid: Some("t1".to_owned()),
        tenant_name: Some("acme".to_owned()),
        engid_name: Some("host".to_owned()),
        ..Default::default()
    };
    let line: Value = serde_json::from_slice(&lines(&settings, "{\"eventID\":\"e\"}")).unwrap();
    assert_eq!(line["cloud\"trail"]["eventID"], "e");
    assert_eq!(
        (&line["tenantid"], &line["tenant_name"], &line["engid_name"]),
        (&json!("t1"), &json!("acme"), &json!("host"))
    );
    assert_eq!(line.get("aws"), None);
}

#[test]
fn a_member_of_the_line_is_no_vendor_object() {
    for member in MEMBERS {
        let settings = InterflowSettings { vendor_object: (*member).to_owned(), ..Default::default() };
        assert!(CloudTrailEncoder::new(&settings).is_err(), "{member}");
    }
}
