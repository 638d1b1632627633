//! The pairs of a line, row by row, and what stands in the header.

use std::sync::LazyLock;

use super::*;
use crate::decode::cloudtrail::CloudTrailDecoder;
use crate::decode::testing::for_each_record;

static ORIGIN: LazyLock<Origin> = LazyLock::new(|| Origin::new("b", "k", "e").at(12, 1_700_000_000_123));

fn line(settings: &CefSettings, record: &str) -> String {
    let encoder = CefEncoder::new(&cloudtrail::MAPPING, settings, HeaderMask::default());
    let mut out = Vec::new();
    let object = format!("{{\"Records\":[{record}]}}");
    let mut decoder = CloudTrailDecoder::new(1 << 20);
    for_each_record(&mut decoder, object.as_bytes(), |record| encoder.encode(record, &ORIGIN, &mut out))
        .unwrap();
    let line = String::from_utf8(out).unwrap();
    assert_eq!(line.find('\n'), Some(line.len() - 1), "one line: {line}");
    line.trim_end().to_owned()
}

/// The header fields before the extension, and the extension.
fn parts(record: &str) -> (Vec<String>, String) {
    let line = line(&CefSettings::default(), record);
    let mut fields: Vec<String> = line.splitn(8, '|').map(str::to_owned).collect();
    let extension = fields.pop().unwrap();
    (fields, extension)
}

/// A record for each row of the table, and the pair that it gives.
const ROWS: &[(&str, &str, &str)] = &[
    ("rt", r#"{"eventTime":"2023-03-03T11:39:01Z"}"#, "rt=1677843541000"),
    ("rt of a window", r#"{"timeWindow":{"windowStart":"2026-01-01T00:00:00Z"}}"#, "rt=1767225600000"),
    ("duid", r#"{"recipientAccountId":"111122223333"}"#, "duid=111122223333"),
    ("duid of an aggregated event", r#"{"accountId":"1"}"#, "duid=1"),
    (
        "deviceCustomDate1",
        r#"{"userIdentity":{"sessionContext":{"attributes":{"creationDate":"20131102T010628Z"}}}}"#,
        "deviceCustomDate1=1383354388000 deviceCustomDate1Label=creationDate",
    ),
    ("cfp1", r#"{"eventVersion":"1.10"}"#, "cfp1=1.10 cfp1Label=eventVersion"),
    ("cfp1 of a number", r#"{"eventVersion":1.05}"#, "cfp1=1.05 cfp1Label=eventVersion"),
    (
        "cs1",
        "{\"requestParameters\":{ \"a=b\" :\n[\"x\\\\\"] }}",
        r#"cs1={"a\=b":["x\\\\"]} cs1Label=requestParameters"#,
    ),
    ("cs2", r#"{"responseElements":{"a":1}}"#, r#"cs2={"a":1} cs2Label=responseElements"#),
    (
        "cs3",
        r#"{"userIdentity":{"sessionContext":{"attributes":{"mfaAuthenticated":"false"}}}}"#,
        "cs3=false cs3Label=mfaAuthenticated",
    ),
    ("deviceDnsDomain", r#"{"awsRegion":"us-east-1"}"#, "deviceDnsDomain=us-east-1"),
    ("fileId", r#"{"userIdentity":{"principalId":"AIDAX"}}"#, "fileId=AIDAX"),
    ("filePath", r#"{"userIdentity":{"arn":"arn:aws:iam::1:user/a"}}"#, "filePath=arn:aws:iam::1:user/a"),
    ("filePermission", r#"{"userIdentity":{"accessKeyId":"AKIA"}}"#, "filePermission=AKIA"),
    ("fileType", r#"{"userIdentity":{"type":"IAMUser"}}"#, "fileType=IAMUser"),
    ("msg", r#"{"errorMessage":"no\r\n\tway |"}"#, "msg=no\\r\\n\tway |"),
    (
        "oldFileHash",
        r#"{"userIdentity":{"sessionContext":{"sessionIssuer":{"accountId":"1"}}}}"#,
        "oldFileHash=1",
    ),
    (
        "oldFileId",
        r#"{"userIdentity":{"sessionContext":{"sessionIssuer":{"principalId":"P"}}}}"#,
        "oldFileId=P",
    ),
    (
        "oldFileName",
        r#"{"userIdentity":{"sessionContext":{"sessionIssuer":{"userName":"n"}}}}"#,
        "oldFileName=n",
    ),
    (
        "oldFilePath",
        r#"{"userIdentity":{"sessionContext":{"sessionIssuer":{"arn":"arn:x"}}}}"#,
        "oldFilePath=arn:x",
    ),
    (
        "oldFileType",
        r#"{"userIdentity":{"sessionContext":{"sessionIssuer":{"type":"Role"}}}}"#,
        "oldFileType=Role",
    ),
    ("reason", r#"{"errorCode":"AccessDenied"}"#, "reason=AccessDenied"),
    (
        "reason of an insight",
        r#"{"eventCategory":"Insight","insightDetails":{"errorCode":"Client.Limit"}}"#,
        "reason=Client.Limit",
    ),
    (
        "requestClientApplication",
        r#"{"userAgent":"aws-cli/2.7 a=\"b\""}"#,
        "requestClientApplication=aws-cli/2.7 a\\=\"b\"",
    ),
    ("src", r#"{"sourceIPAddress":"198.51.100.7"}"#, "src=198.51.100.7"),
    ("c6a2", r#"{"sourceIPAddress":"2001:db8::1"}"#, "c6a2=2001:db8::1 c6a2Label=Source IPv6 Address"),
    ("shost", r#"{"sourceIPAddress":"ec2.amazonaws.com"}"#, "shost=ec2.amazonaws.com"),
    ("sourceServiceName", r#"{"sourceIPAddress":"AWS Internal/3"}"#, "sourceServiceName=AWS Internal/3"),
    ("sproc", r#"{"userIdentity":{"invokedBy":"x.amazonaws.com"}}"#, "sproc=x.amazonaws.com"),
    ("suid", r#"{"userIdentity":{"accountId":"2"}}"#, "suid=2"),
    ("suser", r#"{"userIdentity":{"userName":"al\u0069ce"}}"#, "suser=alice"),
    ("devicePayloadId", r#"{"eventID":"d0b6"}"#, "devicePayloadId=d0b6"),
    ("devicePayloadId of an aggregated event", r#"{"eventId":"agg"}"#, "devicePayloadId=agg"),
];

#[test]
fn each_row_of_the_table() {
    for (name, record, want) in ROWS {
        let (_, extension) = parts(record);
        let found = format!(" {extension} ").contains(&format!(" {want} "));
        assert!(found, "{name}: {want} in {extension}");
    }
    let tested = |row: &Row| ROWS.iter().any(|(.., want)| want.split('=').next() == Some(row.key));
    let missing: Vec<_> =
        cloudtrail::MAPPING.rows.iter().filter(|row| !tested(row)).map(|row| row.key).collect();
    assert_eq!(missing, ["outcome"], "it has a test of its own");
}

#[test]
fn outcomes_headers_and_severities() {
    for (name, record, class_id, severity, outcomes) in [
        ("success", r#"{"eventName":"X"}"#, "X:Success", "3", ["Success", "Success"]),
        (
            "error",
            r#"{"eventName":"X","errorCode":"NoSuchBucket"}"#,
            "X:NoSuchBucket",
            "5",
            ["NoSuchBucket", "Failure"],
        ),
        (
            "denied",
            r#"{"eventName":"X","errorCode":"VpceAccessDenied"}"#,
            "X:VpceAccessDenied",
            "6",
            ["VpceAccessDenied", "Failure"],
        ),
        (
            "unauthorized",
            r#"{"eventName":"X","errorCode":"Client.UnauthorizedOperation"}"#,
            "X:Client.UnauthorizedOperation",
            "6",
            ["Client.UnauthorizedOperation", "Failure"],
        ),
        (
            "failed sign-in",
            r#"{"eventType":"AwsConsoleSignIn","eventName":"ConsoleLogin","responseElements":{"ConsoleLogin":"Failure"}}"#,
            "ConsoleLogin:Failure",
            "5",
            ["Failure", "Failure"],
        ),
        (
            "failed sign-in as root",
            r#"{"eventType":"AwsConsoleSignIn","eventName":"ConsoleLogin","userIdentity":{"type":"Root"},"responseElements":{"ConsoleLogin":"Failure"}}"#,
            "ConsoleLogin:Failure",
            "8",
            ["Failure", "Failure"],
        ),
        (
            "sign-in as root",
            r#"{"eventType":"AwsConsoleSignIn","eventName":"ConsoleLogin","userIdentity":{"type":"Root"},"responseElements":{"ConsoleLogin":"Success"}}"#,
            "ConsoleLogin:Success",
            "3",
            ["Success", "Success"],
        ),
        ("no name", "{}", "CloudTrail:Success", "3", ["Success", "Success"]),
    ] {
        let (header, _) = parts(record);
        assert_eq!((header[4].as_str(), header[6].as_str()), (class_id, severity), "{name}");
        for (outcome, want) in [Outcome::ErrorCode, Outcome::Plain].into_iter().zip(outcomes) {
            let settings = CefSettings { outcome, ..CefSettings::default() };
            let line = line(&settings, record);
            assert!(line.contains(&format!("outcome={want} ")), "{name}: {line}");
        }
    }
    for (record, version) in [(r#"{"eventVersion":"1.10"}"#, "1.10"), (r#"{"eventVersion":1.05}"#, "1.05")] {
        assert_eq!(parts(record).0[3], version, "{record}");
    }
    let by_type =
        parts(r#"{"eventType":"AwsCloudTrailInsight","insightDetails":{"eventName":"RunInstances"}}"#);
    assert_eq!(by_type.0[4], "RunInstances", "an old one without a category");
    let insight = r#"{"eventCategory":"Insight","eventVersion":"1.08","insightDetails":{"eventName":"RunInstances","eventSource":"ec2.amazonaws.com"}}"#;
    let (header, extension) = parts(insight);
    let want = ["CEF:0", "Amazon", "ec2.amazonaws.com", "1.08", "RunInstances", "RunInstances", "3"];
    assert_eq!(header, want, "a sum of events has no outcome");
    assert!(!extension.contains("outcome="), "{extension}");
}

#[test]
fn a_header_field_is_escaped_and_cut() {
    let name = "a|b\\".repeat(200);
    let line = line(&CefSettings::default(), &format!(r#"{{"eventName":{name:?},"eventSource":"x\n=|"}}"#));
    let escaped = "a\\|b\\\\".repeat(200);
    let cut = format!("{}a…", "a\\|b\\\\".repeat(127));
    let want = format!("CEF:0|Amazon|x =\\||unknown|{escaped}:Success|{cut}|3|");
    assert!(line.starts_with(&want), "{line}");
}

#[test]
fn an_empty_record_has_little() {
    let (header, extension) = parts("{}");
    assert_eq!(header, ["CEF:0", "Amazon", "CloudTrail", "unknown", "CloudTrail:Success", "CloudTrail", "3"]);
    let id = extension.strip_prefix("outcome=Success devicePayloadId=").unwrap();
    assert_eq!(id.len(), 32, "{id}");
}

#[test]
fn what_says_nothing_is_left_out() {
    for (name, record, key) in [
        ("null", r#"{"responseElements":null}"#, "cs2"),
        ("dash", r#"{"userAgent":"-"}"#, "requestClientApplication"),
        ("empty", r#"{"userIdentity":{"accessKeyId":""}}"#, "filePermission"),
        ("no time", r#"{"eventTime":"soon"}"#, "rt"),
        ("no number", r#"{"eventVersion":"1.x"}"#, "cfp1"),
        ("infinite", r#"{"eventVersion":"inf"}"#, "cfp1"),
        ("no address", r#"{"sourceIPAddress":"ec2.amazonaws.com"}"#, "src"),
        ("internal", r#"{"sourceIPAddress":"AWS Internal"}"#, "shost"),
    ] {
        let (_, extension) = parts(record);
        assert!(!format!(" {extension}").contains(&format!(" {key}")), "{name}: {extension}");
    }
}

#[test]
fn long_values_are_cut_and_marked() {
    let long =
        format!(r#"{{"errorMessage":"{}","requestParameters":"{}"}}"#, "=".repeat(1024), "ü".repeat(2001));
    let (_, extension) = parts(&long);
    assert!(extension.contains(&format!("msg={}… ", "\\=".repeat(1020))), "{extension}");
    assert!(extension.contains(&format!("cs1={}… cs1Label", "ü".repeat(1998))), "{extension}");
}

#[test]
fn device_domain_has_the_key_that_is_set() {
    for key in DOMAIN_KEYS {
        let settings = CefSettings { device_domain_key: key, ..CefSettings::default() };
        let line = line(&settings, r#"{"awsRegion":"us-east-1"}"#);
        assert_eq!(line.matches("=us-east-1").count(), 1);
        assert!(line.contains(&format!("|{key}=us-east-1 ")), "{line}");
    }
}

#[test]
fn keys_stand_once_and_are_letters_and_digits() {
    for mapping in LogType::ALL.into_iter().filter_map(mapping) {
        let mut keys = Vec::new();
        for row in mapping.rows {
            keys.push(row.key.to_owned());
            keys.extend(row.label.map(|_| format!("{}Label", row.key)));
            let custom = ["cs", "cn", "cfp", "c6a", "deviceCustomDate"];
            let custom = custom.iter().any(|prefix| row.key.starts_with(prefix));
            assert_eq!(row.label.is_some(), custom, "{}: custom fields have labels", row.key);
        }
        assert!(keys.iter().all(|key| key.bytes().all(|byte| byte.is_ascii_alphanumeric())), "{keys:?}");
        let count = keys.len();
        keys.sort();
        keys.dedup();
        assert_eq!(keys.len(), count);
    }
}

/// The line of the first record of an object, each log type by its own decoder.
fn line_of(log_type: LogType, object: &str) -> String {
    let mut decoder = crate::decode::decoder(log_type, &crate::decode::DecodeSettings::default()).unwrap();
    let encoder = build(log_type, &EncodeSettings::default()).unwrap();
    let mut out = Vec::new();
    for_each_record(&mut *decoder, object.as_bytes(), |record| encoder.encode(record, &ORIGIN, &mut out))
        .unwrap();
    String::from_utf8(out).unwrap()
}

#[test]
fn flow_rows() {
    let default_names = "version account-id interface-id srcaddr dstaddr srcport dstport protocol packets bytes start end \
                 action vpc-id subnet-id instance-id flow-direction reject-reason";
    let gateway_names = "resource-type account-id tgw-id tgw-attachment-id tgw-src-vpc-id tgw-dst-vpc-id srcaddr \
                         dstaddr srcport dstport packets-lost-no-route packets-lost-blackhole log-status";
    for (name, names, row, want) in [
        (
            "accepted",
            default_names,
            "5 111122223333 eni-1 10.0.0.1 198.51.100.7 443 50000 6 20 4249 1418530010 1418530070 ACCEPT vpc-1 subnet-1 i-1 egress -",
            "CEF:0|Amazon|VPC Flow Logs|5|ACCEPT|Flow accepted|3|rt=1418530070000 start=1418530010000 end=1418530070000 \
             act=ACCEPT src=10.0.0.1 spt=443 dst=198.51.100.7 dpt=50000 proto=tcp out=4249 cn1=20 cn1Label=packets \
             deviceDirection=1 deviceExternalId=eni-1 duid=111122223333 cs1=vpc-1 cs1Label=vpc-id cs2=subnet-1 \
             cs2Label=subnet-id cs3=i-1 cs3Label=instance-id devicePayloadId=",
        ),
        (
            "rejected, IPv6",
            default_names,
            "8 - - 2001:db8::1 2001:db8::2 - - 58 1 64 1418530010 - REJECT - - - ingress BPA",
            "CEF:0|Amazon|VPC Flow Logs|8|REJECT|Flow rejected|5|rt=1418530010000 start=1418530010000 act=REJECT \
             c6a2=2001:db8::1 c6a2Label=Source IPv6 Address c6a3=2001:db8::2 c6a3Label=Destination IPv6 Address \
             proto=ipv6-icmp out=64 cn1=1 cn1Label=packets deviceDirection=0 reason=BPA devicePayloadId=",
        ),
        (
            "a transit gateway's",
            gateway_names,
            "TransitGateway 111122223333 tgw-1 tgw-attach-1 vpc-1 vpc-2 10.0.0.1 10.0.0.2 443 65535 3 0 OK",
            "CEF:0|Amazon|VPC Flow Logs|unknown|OK|Flow|3|src=10.0.0.1 spt=443 dst=10.0.0.2 dpt=65535 \
             cn2=3 cn2Label=packets-lost-no-route cn3=0 cn3Label=packets-lost-blackhole \
             deviceExternalId=tgw-attach-1 duid=111122223333 cs4=tgw-1 cs4Label=tgw-id \
             cs5=vpc-1 cs5Label=tgw-src-vpc-id cs6=vpc-2 cs6Label=tgw-dst-vpc-id devicePayloadId=",
        ),
        (
            "values that are not of their types",
            "srcaddr dstaddr srcport dstport bytes packets start end",
            "x 10.0.0.1:443 +1 65536 1e3 -2 99999999999999999999 0x1",
            "CEF:0|Amazon|VPC Flow Logs|unknown|unknown|Flow|3|devicePayloadId=",
        ),
    ] {
        let line = line_of(LogType::VpcFlow, &format!("{names}\n{row}\n"));
        assert!(line.starts_with(want), "{name}: {line}");
    }
}

#[test]
fn waf_records() {
    let record = |id: &str| {
        format!(
            r#"{{"timestamp":1576280412771,"formatVersion":1,"webaclId":"arn:x","terminatingRuleId":"R|1","terminatingRuleType":"REGULAR","action":"BLOCK","httpSourceName":"ALB","httpSourceId":"app/a","labels":[{{"name":"a:b"}},{{"name":"c"}}],"httpRequest":{{"clientIp":"192.0.2.1","scheme":"https","headers":[{{"name":"Host","value":"h.example"}},{{"name":"user-agent","value":"curl/7"}},{{"name":"Cookie","value":"secret"}}],"uri":"/a","args":"b=c","httpMethod":"GET","requestId":"{id}"}}}}"#
        )
    };
    let line = line_of(LogType::Waf, &record("r-1"));
    let want = "CEF:0|Amazon|AWS WAF|1|R\\|1|BLOCK R\\|1|5|rt=1576280412771 act=BLOCK src=192.0.2.1 \
                request=https://h.example/a?b\\=c requestMethod=GET requestClientApplication=curl/7 dhost=h.example \
                cs1=arn:x cs1Label=webaclId cs2=a:b,c cs2Label=labels cs3=app/a cs3Label=httpSourceId \
                cs4=ALB cs4Label=httpSourceName externalId=r-1 \
                reason=REGULAR devicePayloadId=";
    assert!(line.starts_with(want), "{line}");
    assert!(!line.contains("secret"), "{line}");
    for (time, want) in [
        ("\"1683355579\"", "1683355579000"),
        ("1683355579", "1683355579000"),
        ("1683355579000", "1683355579000"),
        ("\"2023-05-06T06:46:19Z\"", "1683355579000"),
    ] {
        let line = line_of(LogType::Waf, &format!("{{\"timestamp\":{time}}}"));
        assert!(line.contains(&format!("|rt={want} ")), "{time}: {line}");
    }
    for none in ["null", "\"-\"", "\"noon\"", "{}"] {
        let line = line_of(LogType::Waf, &format!("{{\"timestamp\":{none}}}"));
        assert!(!line.contains("rt="), "{none}: {line}");
    }
    let long = "x".repeat(41);
    let line = line_of(LogType::Waf, &record(&long));
    assert!(line.contains(&format!(" deviceExternalId={long} ")) && !line.contains(" externalId="), "{line}");
}
