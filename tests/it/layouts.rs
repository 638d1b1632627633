//! Each layout that AWS writes, from the pattern that a user types to the records: what `expand`
//! says of it, and which keys a sweep takes.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, SystemTime};

use s3sweep::record::LogType;
use serde_json::Value;

const AT: &str = "2026-06-01T12:30:00Z";

/// A pattern, its first prefix at [`AT`], the keys below it that hold one record each, and keys
/// that are not of the log type.
struct Case {
    name: &'static str,
    log_type: LogType,
    pattern: &'static str,
    prefix: &'static str,
    keys: &'static [&'static str],
    others: &'static [&'static str],
}

const CASES: &[Case] = &[
    Case {
        name: "CloudTrail of one account",
        log_type: LogType::CloudTrail,
        pattern: "opt/AWSLogs/111122223333/CloudTrail/us-east-1",
        prefix: "opt/AWSLogs/111122223333/CloudTrail/us-east-1/2026/06/01",
        keys: &[
            "opt/AWSLogs/111122223333/CloudTrail/us-east-1/2026/06/01/111122223333_CloudTrail_us-east-1_20260601T1200Z_aaaaaaaaaaaaaaaa.json.gz",
            "opt/AWSLogs/111122223333/CloudTrail/us-east-1/2026/06/01/111122223333_CloudTrail_us-east-1_20260601T1205ZHdkvFTXOA3Vnhbc.json.gz",
        ],
        others: &[
            "opt/AWSLogs/111122223333/CloudTrail/us-east-2/2026/06/01/111122223333_CloudTrail_us-east-2_20260601T1200Z_aaaaaaaaaaaaaaaa.json.gz",
            "AWSLogs/111122223333/CloudTrail/us-east-1/2026/06/01/111122223333_CloudTrail_us-east-1_20260601T1200Z_aaaaaaaaaaaaaaaa.json.gz",
        ],
    },
    Case {
        name: "CloudTrail of an organisation",
        log_type: LogType::CloudTrail,
        pattern: "AWSLogs/OU-ID/*/CloudTrail/us-east-1",
        prefix: "AWSLogs/OU-ID/*/CloudTrail/us-east-1/2026/06/01",
        keys: &[
            "AWSLogs/o-exampleorgid/111122223333/CloudTrail/us-east-1/2026/06/01/111122223333_CloudTrail_us-east-1_20260601T1200Z_aaaaaaaaaaaaaaaa.json.gz",
            "AWSLogs/o-exampleorgid/444455556666/CloudTrail/us-east-1/2026/06/01/444455556666_CloudTrail_us-east-1_20260601T1200Z_aaaaaaaaaaaaaaaa.json.gz",
        ],
        others: &[
            "AWSLogs/o-exampleorgid/111122223333/CloudTrail-Digest/us-east-1/2026/06/01/111122223333_CloudTrail-Digest_us-east-1_t_us-east-1_20260601T120000Z.json.gz",
            "AWSLogs/o-exampleorgid/not-an-account/CloudTrail/us-east-1/2026/06/01/x_CloudTrail_us-east-1_20260601T1200Z_aaaaaaaaaaaaaaaa.json.gz",
        ],
    },
    Case {
        name: "CloudTrail of Control Tower",
        log_type: LogType::CloudTrail,
        pattern: "OU-ID/AWSLogs/OU-ID/*/CloudTrail/us-east-1",
        prefix: "OU-ID/AWSLogs/OU-ID/*/CloudTrail/us-east-1/2026/06/01",
        keys: &[
            "o-exampleorgid/AWSLogs/o-exampleorgid/111122223333/CloudTrail/us-east-1/2026/06/01/111122223333_CloudTrail_us-east-1_20260601T1200Z_aaaaaaaaaaaaaaaa.json.gz",
        ],
        others: &[
            "o-exampleorgid/AWSLogs/o-anotherorgid/111122223333/CloudTrail/us-east-1/2026/06/01/111122223333_CloudTrail_us-east-1_20260601T1200Z_aaaaaaaaaaaaaaaa.json.gz",
        ],
    },
    Case {
        name: "all folders of CloudTrail with events",
        log_type: LogType::CloudTrail,
        pattern: "AWSLogs/*/CloudTrail*/us-east-1",
        prefix: "AWSLogs/*/CloudTrail*/us-east-1/2026/06/01",
        keys: &[
            "AWSLogs/111122223333/CloudTrail/us-east-1/2026/06/01/111122223333_CloudTrail_us-east-1_20260601T1200Z_aaaaaaaaaaaaaaaa.json.gz",
            "AWSLogs/111122223333/CloudTrail-Insight/us-east-1/2026/06/01/111122223333_CloudTrail-Insight_us-east-1_20260601T1200Z_aaaaaaaaaaaaaaaa.json.gz",
            "AWSLogs/111122223333/CloudTrail-NetworkActivity/us-east-1/2026/06/01/111122223333_CloudTrail-NetworkActivity_us-east-1_20260601T1200Z_aaaaaaaaaaaaaaaa.json.gz",
            "AWSLogs/111122223333/CloudTrail-Aggregated/us-east-1/2026/06/01/111122223333_CloudTrail-Aggregated_us-east-1_20260601T1200Z_aaaaaaaaaaaaaaaa.json.gz",
        ],
        others: &[
            "AWSLogs/111122223333/CloudTrail-Digest/us-east-1/2026/06/01/111122223333_CloudTrail-Digest_us-east-1_t_us-east-1_20260601T120000Z_backfill.json.gz",
            "AWSLogs/111122223333/CloudTrail-Lake/Query/2026/06/01/0a1b/result_1.csv.gz",
        ],
    },
    Case {
        name: "VPC flow logs, by day and by hour",
        log_type: LogType::VpcFlow,
        pattern: "AWSLogs/*/vpcflowlogs/us-east-1",
        prefix: "AWSLogs/*/vpcflowlogs/us-east-1/2026/06/01",
        keys: &[
            "AWSLogs/111122223333/vpcflowlogs/us-east-1/2026/06/01/111122223333_vpcflowlogs_us-east-1_fl-1234abcd_20260601T1200Z_fe123456.log.gz",
            "AWSLogs/444455556666/vpcflowlogs/us-east-1/2026/06/01/12/444455556666_vpcflowlogs_us-east-1_fl-1234abcd_20260601T1200Z_fe123456.log.gz",
        ],
        others: &[
            "AWSLogs/111122223333/elasticloadbalancing/us-east-1/2026/06/01/111122223333_elasticloadbalancing_us-east-1_app.a.b_20260601T1200Z_10.0.0.1_c.log.gz",
        ],
    },
    Case {
        name: "VPC flow logs of hourly folders, the hour in the pattern",
        log_type: LogType::VpcFlow,
        pattern: "AWSLogs/*/vpcflowlogs/us-east-1/{YYYY}/{mm}/{dd}/{HH}",
        prefix: "AWSLogs/*/vpcflowlogs/us-east-1/2026/06/01/12",
        keys: &[
            "AWSLogs/444455556666/vpcflowlogs/us-east-1/2026/06/01/12/444455556666_vpcflowlogs_us-east-1_fl-1234abcd_20260601T1200Z_fe123456.log.gz",
        ],
        others: &[
            "AWSLogs/111122223333/vpcflowlogs/us-east-1/2026/06/01/111122223333_vpcflowlogs_us-east-1_fl-1234abcd_20260601T1200Z_fe123456.log.gz",
        ],
    },
    Case {
        name: "VPC flow logs, Hive-compatible, by day and by hour",
        log_type: LogType::VpcFlow,
        pattern: "AWSLogs/aws-account-id=*/aws-service=vpcflowlogs/aws-region=us-east-1",
        prefix: "AWSLogs/aws-account-id=*/aws-service=vpcflowlogs/aws-region=us-east-1/year=2026/month=06/day=01",
        keys: &[
            "AWSLogs/aws-account-id=111122223333/aws-service=vpcflowlogs/aws-region=us-east-1/year=2026/month=06/day=01/111122223333_vpcflowlogs_us-east-1_fl-1234abcd_20260601T1200Z_fe123456.log.gz",
            "AWSLogs/aws-account-id=111122223333/aws-service=vpcflowlogs/aws-region=us-east-1/year=2026/month=06/day=01/hour=12/111122223333_vpcflowlogs_us-east-1_fl-1234abcd_20260601T1200Z_fe123456.log.gz",
        ],
        others: &[
            "AWSLogs/aws-account-id=111122223333/aws-service=elasticloadbalancing/aws-region=us-east-1/year=2026/month=06/day=01/x.log.gz",
        ],
    },
    Case {
        name: "VPC flow logs of an organisation under Control Tower",
        log_type: LogType::VpcFlow,
        pattern: "OU-ID/AWSLogs/OU-ID/*/vpcflowlogs/*",
        prefix: "OU-ID/AWSLogs/OU-ID/*/vpcflowlogs/*/2026/06/01",
        keys: &[
            "o-exampleorgid/AWSLogs/o-exampleorgid/111122223333/vpcflowlogs/us-east-1/2026/06/01/111122223333_vpcflowlogs_us-east-1_fl-1_20260601T1200Z_fe123456.log.gz",
            "o-exampleorgid/AWSLogs/o-exampleorgid/111122223333/vpcflowlogs/eu-west-1/2026/06/01/111122223333_vpcflowlogs_eu-west-1_fl-1_20260601T1200Z_fe123456.log.gz",
        ],
        others: &[],
    },
    Case {
        name: "WAF, written by itself",
        log_type: LogType::Waf,
        pattern: "AWSLogs/*/WAFLogs/us-east-1/*",
        prefix: "AWSLogs/*/WAFLogs/us-east-1/*/2026/06/01",
        keys: &[
            "AWSLogs/111122223333/WAFLogs/us-east-1/my_acl-1/2026/06/01/12/00/111122223333_waflogs_us-east-1_my_acl-1_20260601T1200Z_e0ca43b5.log.gz",
        ],
        others: &[
            "AWSLogs/111122223333/WAFLogs/cloudfront/my_acl-1/2026/06/01/12/00/111122223333_waflogs_cloudfront_my_acl-1_20260601T1200Z_e0ca43b5.log.gz",
        ],
    },
    Case {
        name: "WAF of CloudFront",
        log_type: LogType::Waf,
        pattern: "logs/AWSLogs/111122223333/WAFLogs/cloudfront/shop",
        prefix: "logs/AWSLogs/111122223333/WAFLogs/cloudfront/shop/2026/06/01",
        keys: &[
            "logs/AWSLogs/111122223333/WAFLogs/cloudfront/shop/2026/06/01/12/05/111122223333_waflogs_cloudfront_shop_20260601T1205Z_e0ca43b5.log.gz",
        ],
        others: &[],
    },
    Case {
        name: "WAF by Firehose, its default folders",
        log_type: LogType::Waf,
        pattern: "{YYYY}/{mm}/{dd}",
        prefix: "2026/06/01",
        keys: &[
            "2026/06/01/11/aws-waf-logs-shop-1-2026-06-01-11-58-40-3f6f2c0e-0b5c-4a1e-9d0c-111111111111",
            "2026/06/01/12/aws-waf-logs-shop-1-2026-06-01-12-03-40-3f6f2c0e-0b5c-4a1e-9d0c-222222222222.gz",
        ],
        others: &["errors/2026/06/01/x"],
    },
    Case {
        name: "WAF by Firehose, folders of its own",
        log_type: LogType::Waf,
        pattern: "CustomPrefix/year=///YYYY///month=///mm///day=///dd//",
        prefix: "CustomPrefix/year=/2026/month=/06/day=/01",
        keys: &[
            "CustomPrefix/year=/2026/month=/06/day=/01/aws-waf-logs-shop-1-2026-06-01-12-03-40-3f6f2c0e-0b5c-4a1e-9d0c-111111111111.gz",
        ],
        others: &["CustomPrefix/year=2026/month=06/day=01/aws-waf-logs-shop-1-2026-06-01-12-03-40-x.gz"],
    },
];

/// An object of one record, gzip where its name says so.
fn object(log_type: LogType, key: &str) -> Vec<u8> {
    let text = match log_type {
        LogType::CloudTrail if key.contains("CloudTrail-Aggregated") => r#"[{"eventId":"a"}]"#,
        LogType::CloudTrail => r#"{"Records":[{"eventID":"a"}]}"#,
        LogType::VpcFlow => "version srcaddr log-status\n2 10.0.0.1 OK\n2 - NODATA\n",
        LogType::Waf | LogType::Jsonl => "{\"timestamp\":1780315200000}\n",
    };
    if !key.ends_with(".gz") {
        return text.as_bytes().to_vec();
    }
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    std::io::Write::write_all(&mut encoder, text.as_bytes()).unwrap();
    encoder.finish().unwrap()
}

fn put(folder: &Path, key: &str, bytes: &[u8]) {
    let path = folder.join("bucket").join(key);
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(&path, bytes).unwrap();
    let written = SystemTime::UNIX_EPOCH + Duration::from_secs(1_780_315_200);
    std::fs::File::options().write(true).open(&path).unwrap().set_modified(written).unwrap();
}

fn run(folder: &Path, arguments: &[&str]) -> String {
    let mut command = Command::new(env!("CARGO_BIN_EXE_s3sweep"));
    command.args(arguments).env_clear().current_dir(folder).stdin(Stdio::null());
    let ran = command.output().expect("the binary is built");
    assert!(ran.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&ran.stderr));
    String::from_utf8(ran.stdout).expect("UTF-8")
}

#[test]
fn each_layout_is_expanded_and_swept() {
    for case in CASES {
        let folder = tempfile::tempdir().unwrap();
        let word = case.log_type.word();
        let expanded = run(folder.path(), &["expand", case.pattern, "--log-type", word, "--at", AT]);
        assert_eq!(expanded.lines().next(), Some(case.prefix), "{}", case.name);

        for key in case.keys.iter().chain(case.others) {
            put(folder.path(), key, &object(case.log_type, key));
        }
        let config = format!(
            "state_dir = \"state\"\n[sink]\ntype = \"stdout\"\n[[source]]\nname = \"main\"\nlog_type = \"{word}\"\n\
             bucket = \"file://{}/bucket\"\nprefix = \"{}\"\nstart = \"2026-06-01\"\n",
            folder.path().display(),
            case.pattern
        );
        std::fs::write(folder.path().join("s3sweep.toml"), config).unwrap();
        let lines = run(folder.path(), &["once", "-c", "s3sweep.toml", "--now", AT]);
        let lines: Vec<Value> = lines.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
        let keys: Vec<_> = lines.iter().map(|line| line["s3"]["key"].as_str().expect("a key")).collect();
        assert_eq!(keys.len(), case.keys.len(), "{}: {keys:?}", case.name);
        assert_eq!(
            BTreeSet::from_iter(keys),
            BTreeSet::from_iter(case.keys.iter().copied()),
            "{}",
            case.name
        );
    }
}
