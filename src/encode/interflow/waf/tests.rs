//! What stands in a line, field by field.

use std::sync::LazyLock;

use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::decode::json_lines::{JsonLinesDecoder, WAF_FIELDS};
use crate::decode::testing::for_each_record;

static ORIGIN: LazyLock<Origin> = LazyLock::new(|| Origin::new("b", "k", "e").at(3, 1_700_000_000_123));

fn lines(settings: &InterflowSettings, record: &str) -> String {
    let encoder = WafEncoder::new(settings).unwrap();
    let mut out = Vec::new();
    let mut decoder = JsonLinesDecoder::new(&WAF_FIELDS, 1 << 20);
    for_each_record(&mut decoder, record.as_bytes(), |record| encoder.encode(record, &ORIGIN, &mut out))
        .unwrap();
    String::from_utf8(out).unwrap()
}

fn encode(record: &str) -> Value {
    let line = lines(&InterflowSettings::default(), record);
    assert_eq!(line.find('\n'), Some(line.len() - 1), "one line: {line}");
    serde_json::from_str(&line).unwrap()
}

#[test]
fn a_whole_record() {
    let record = r#"{"timestamp":1679548657700,"formatVersion":1,"webaclId":"arn:aws:wafv2:us-east-1:111122223333:global/webacl/shop/ba65","terminatingRuleId":"Default_Action","terminatingRuleType":"REGULAR","action":"ALLOW","terminatingRuleMatchDetails":[],"httpSourceName":"CF","httpSourceId":"E13","ruleGroupList":[{"ruleGroupId":"AWS#x","terminatingRule":null}],"responseCodeSent":null,"httpRequest":{"clientIp":"198.51.100.7","country":"HK","headers":[{"name":"host","value":"cdn.example.com"},{"name":"User-Agent","value":"a \"b\"/1"},{"name":"Referer","value":"https://example.com/"},{"name":"Cookie","value":"session=1"},{"name":"X-Forwarded-For","value":"10.0.0.1"}],"uri":"/favicon.ico","args":"a=1&b=\u00fc","httpVersion":"HTTP/2.0","httpMethod":"GET","requestId":"r1==","fragment":"top","scheme":"https","host":"www.example.com"},"labels":[{"name":"awswaf:a"},{"name":"awswaf:b"}],"ja3Fingerprint":"6f78","requestBodySize":12}"#;
    let mut original: Value = serde_json::from_str(record).unwrap();
    original["httpRequest"]["headers"][3]["value"] = json!("REDACTED");
    let line = encode(record);
    let want = json!({
        "timestamp": 1_679_548_657_700_i64, "write_time": 1_700_000_000_123_i64, "msg_class": "aws_waf",
        "msg_origin": {"source": "cloudtrail", "vendor": "aws", "category": "waf",
            "processor": {"type": "log_collector", "name": "cloudtrail"}},
        "srcip": "198.51.100.7", "srcip_type": "public", "srcip_version": 4,
        "srcip_geo": {"countryCode": "HK"}, "srcip_geo_source": "aws_waf",
        "action": "allow", "event": {"action": "allow"},
        "event_name": "Default_Action", "rule": {"name": "Default_Action"},
        "event_id": "r1==", "_id": line["_id"], "dstip_host": "www.example.com",
        "request_url": "https://www.example.com/favicon.ico?a=1&b=ü#top",
        "url": {"path": "/favicon.ico", "query": "a=1&b=ü"},
        "http": {"request": {"method": "GET", "referrer": "https://example.com/"}, "version": "HTTP/2.0"},
        "user_agent": {"original": "a \"b\"/1"}, "tls": {"client": {"ja3": "6f78"}}, "service": "CF",
        "cloud": {"region": "global", "account": {"id": "111122223333"}},
        "tags": ["awswaf:a", "awswaf:b"], "s3": {"bucket": "b", "key": "k", "record": 3},
        "aws": original,
    });
    assert_eq!(line, want);
}

#[test]
fn an_empty_record_has_the_header_only() {
    let line = encode("{}");
    let names: Vec<&str> = line.as_object().unwrap().keys().map(String::as_str).collect();
    assert_eq!(names, ["_id", "aws", "msg_class", "msg_origin", "s3", "timestamp", "write_time"]);
    assert_eq!(line["timestamp"], line["write_time"], "without a time, that of writing");
}

#[test]
fn single_fields() {
    let regional = r#"{"webaclId":"arn:aws:wafv2:eu-west-1:111122223333:regional/webacl/shop/ba65"}"#;
    for (name, record, path, want) in [
        ("time as text", r#"{"timestamp":"1679548657700"}"#, "/timestamp", json!(1_679_548_657_700_i64)),
        ("block", r#"{"action":"BLOCK"}"#, "/action", json!("block")),
        ("captcha", r#"{"action":"CAPTCHA"}"#, "/action", json!("captcha")),
        ("challenge", r#"{"action":"CHALLENGE"}"#, "/event/action", json!("challenge")),
        ("count", r#"{"action":"COUNT"}"#, "/action", json!("count")),
        ("another action", r#"{"action":"New"}"#, "/action", json!("New")),
        ("IPv6", r#"{"httpRequest":{"clientIp":"fd00::1"}}"#, "/srcip_version", json!(6)),
        ("no address", r#"{"httpRequest":{"clientIp":"unknown"}}"#, "/srcip", Value::Null),
        ("no country", r#"{"httpRequest":{"country":"-"}}"#, "/srcip_geo_source", Value::Null),
        (
            "host of the header",
            r#"{"httpRequest":{"headers":[{"name":"HOST","value":"h"}]}}"#,
            "/dstip_host",
            json!("h"),
        ),
        (
            "URL without a scheme",
            r#"{"httpRequest":{"uri":"/a","args":"","headers":[{"name":"Host","value":"h"}]}}"#,
            "/request_url",
            json!("/a"),
        ),
        (
            "URL with the header's host",
            r#"{"httpRequest":{"uri":"/a","scheme":"http","headers":[{"name":"Host","value":"h"}]}}"#,
            "/request_url",
            json!("http://h/a"),
        ),
        (
            "no path",
            r#"{"httpRequest":{"args":"a","scheme":"http","host":"h"}}"#,
            "/request_url",
            Value::Null,
        ),
        (
            "method alone",
            r#"{"httpRequest":{"httpMethod":"PUT"}}"#,
            "/http",
            json!({"request": {"method": "PUT"}}),
        ),
        ("region", regional, "/cloud/region", json!("eu-west-1")),
        ("account", regional, "/cloud/account/id", json!("111122223333")),
        ("Classic", r#"{"webaclId":"385cb038-3a6f-4f2f-ac64-09ab912af590"}"#, "/cloud", Value::Null),
        ("cut ARN", r#"{"webaclId":"arn:aws"}"#, "/cloud", Value::Null),
        ("no source", r#"{"httpSourceName":"-"}"#, "/service", Value::Null),
        ("no labels", r#"{"labels":[]}"#, "/tags", Value::Null),
        ("odd labels", r#"{"labels":[{"name":""},{"name":7},"x",{"name":"y"}]}"#, "/tags", json!(["y"])),
        ("wrong types", r#"{"action":7,"httpRequest":[1],"labels":{"name":"x"}}"#, "/action", Value::Null),
    ] {
        assert_eq!(*encode(record).pointer(path).unwrap_or(&Value::Null), want, "{name}");
    }
}

#[test]
fn ids_tell_records_of_one_request_apart() {
    let id = |acl, request, time| {
        let record =
            format!(r#"{{"webaclId":"{acl}","timestamp":{time},"httpRequest":{{"requestId":"{request}"}}}}"#);
        encode(&record)["_id"].as_str().unwrap().to_owned()
    };
    let first = id("a", "r", 1);
    assert_eq!(first, id("a", "r", 1));
    for other in [id("b", "r", 1), id("a", "s", 1), id("a", "r", 2), id("ar", "", 1)] {
        assert_ne!(first, other);
    }
    let settings = InterflowSettings::default();
    let two: Vec<Value> =
        lines(&settings, "{\"a\":1}{}").lines().map(|l| serde_json::from_str(l).unwrap()).collect();
    assert_eq!(two[0]["_id"], two[1]["_id"], "without a request, the id is that of the place");
    assert_eq!(two[0]["_id"].as_str().map(str::len), Some(32));
}

/// The vendor object of a line for a record with these headers.
fn masked(mask_headers: &[&str], headers: &str) -> String {
    let mask_headers = mask_headers.iter().map(|name| (*name).to_owned()).collect();
    let record = format!("{{\"httpRequest\":{{\"headers\":{headers}}},\"z\":\n1.50}}");
    let line = lines(&InterflowSettings { mask_headers, ..Default::default() }, &record);
    serde_json::from_str::<Value>(&line).unwrap();
    let vendor = line.split_once("\"aws\":").unwrap().1.strip_suffix("}\n").unwrap().to_owned();
    let headers = vendor.strip_prefix("{\"httpRequest\":{\"headers\":").unwrap();
    headers
        .strip_suffix("},\"z\": 1.50}")
        .unwrap_or_else(|| panic!("the rest is untouched: {line}"))
        .to_owned()
}

#[test]
fn secret_headers_are_hidden() {
    let defaults = crate::record::waf::SECRET_HEADERS;
    for (name, headers, want) in [
        (
            "each of the defaults",
            r#"[{"name":"authorization","value":"s3cret"},{"name":"COOKIE","value":"s3cret"},{"name":"x-amz-security-token","value":"s3cret"},{"name":"Set-Cookie","value":"s3cret"}]"#,
            r#"[{"name":"authorization","value":"REDACTED"},{"name":"COOKIE","value":"REDACTED"},{"name":"x-amz-security-token","value":"REDACTED"},{"name":"Set-Cookie","value":"REDACTED"}]"#,
        ),
        (
            "among others",
            r#"[{"name":"a","value":"1"}, {"value":"s3cret\"}]", "name":"Cookie"}, {"name":"b","value":"2"}]"#,
            r#"[{"name":"a","value":"1"}, {"value":"REDACTED", "name":"Cookie"}, {"name":"b","value":"2"}]"#,
        ),
        (
            "escaped and padded name",
            r#"[{"n\u0061me":" \u0043ookie ","value":"s3cret"}]"#,
            r#"[{"n\u0061me":" \u0043ookie ","value":"REDACTED"}]"#,
        ),
        (
            "another type of value",
            r#"[{"name":"Cookie","value":["s3cret",{"a":"s3cret"}]}]"#,
            r#"[{"name":"Cookie","value":"REDACTED"}]"#,
        ),
        (
            "twin values",
            r#"[{"name":"Cookie","value":"s3cret","value":["s3cret"]},{"name":"b","value":1,"value":2}]"#,
            r#"[{"name":"Cookie","value":"REDACTED","value":"REDACTED"},{"name":"b","value":1,"value":2}]"#,
        ),
        (
            "twin names, one of them secret",
            r#"[{"name":"Cookie","name":"b","value":"s3cret"},{"value":"s3cret","name":1,"value":"s3cret","name":"cookie"}]"#,
            r#"[{"name":"Cookie","name":"b","value":"REDACTED"},{"value":"REDACTED","name":1,"value":"REDACTED","name":"cookie"}]"#,
        ),
        (
            "a name that only begins so",
            r#"[{"name":"Cookies","value":"1"}]"#,
            r#"[{"name":"Cookies","value":"1"}]"#,
        ),
        ("no value", r#"[{"name":"Cookie"}]"#, r#"[{"name":"Cookie"}]"#),
        ("no list", r#"{"name":"Cookie"}"#, r#"{"name":"Cookie"}"#),
    ] {
        assert_eq!(masked(&defaults, headers), want, "{name}");
    }
    let headers = r#"[{"name":"Cookie","value":"1"},{"name":"X-Api-Key","value":"s3cret"}]"#;
    let want = r#"[{"name":"Cookie","value":"1"},{"name":"X-Api-Key","value":"REDACTED"}]"#;
    assert_eq!(masked(&["x-api-key"], headers), want, "names of one's own replace the defaults");
    assert_eq!(masked(&[], headers), headers, "an empty list hides nothing");
}

/// Elements as AWS writes them, and others.
fn elements() -> impl Strategy<Value = String> {
    let texts = || {
        let known = vec!["Cookie", "cookie ", "Host", "host", "User-Agent", "Referer", "-", "", "aws:b"];
        prop_oneof![3 => prop::sample::select(known).prop_map(str::to_owned), 1 => "[ -~ü\\n]{0,40}"]
    };
    let pair = (texts(), texts()).prop_map(|(name, value)| (json!(name), json!(value)));
    prop_oneof![
        8 => pair.clone().prop_map(|(name, value)| format!("{{\"name\":{name},\"value\":{value}}}")),
        4 => texts().prop_map(|name| format!("{{\"name\":{}}}", json!(name))),
        1 => pair.prop_map(|(name, value)| format!("{{\"value\":{value},\"name\":{name}}}")),
        1 => prop::sample::select(vec!["{}", "1", "[]", " {\"name\":\"Cookie\",\"value\":1}", "null"])
            .prop_map(str::to_owned),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1_000))]

    #[test]
    fn what_the_decoder_notes_of_lists_changes_no_line(
        headers in prop::collection::vec(elements(), 0..12),
        labels in prop::collection::vec(elements(), 0..4),
    ) {
        let record = format!(
            r#"{{"httpRequest":{{"headers":[{}]}},"labels":[{}]}}"#,
            headers.join(","),
            labels.join(",")
        );
        let encoder = WafEncoder::new(&InterflowSettings::default()).unwrap();
        let [mut with, mut without] = [vec![], vec![]];
        let mut decoder = JsonLinesDecoder::new(&WAF_FIELDS, 1 << 20);
        for_each_record(&mut decoder, record.as_bytes(), |record| {
            encoder.encode(record, &ORIGIN, &mut with);
            encoder.encode(&record.with_lists(&[]), &ORIGIN, &mut without);
        })
        .unwrap();
        prop_assert!(!with.is_empty());
        prop_assert_eq!(String::from_utf8(with).unwrap(), String::from_utf8(without).unwrap());
    }
}
