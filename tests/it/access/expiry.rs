//! Credentials that live for seconds, in a sweep that takes longer.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use chrono::{DateTime, SecondsFormat, TimeDelta, Utc};
use s3sweep::clock::{Clock as _, SystemClock};

use super::site::Site;
use super::stub::{Answer, Asked, Stub, ok};

const LIFE: TimeDelta = TimeDelta::seconds(4);
const OBJECTS: usize = 14;

/// Metadata of an instance and of a container; the token is the time of its end.
fn grant(asked: &Asked) -> Answer {
    let until = (SystemClock.now() + LIFE).to_rfc3339_opts(SecondsFormat::Secs, true);
    let json = format!(
        "{{\"Code\":\"Success\",\"Type\":\"AWS-HMAC\",\"LastUpdated\":\"2026-01-01T00:00:00Z\",\
         \"AccessKeyId\":\"ASIAEXAMPLE\",\"SecretAccessKey\":\"hush\",\"Token\":\"{until}\",\"Expiration\":\"{until}\"}}"
    );
    match asked.target.as_str() {
        "/latest/api/token" => {
            (200, vec![("x-aws-ec2-metadata-token-ttl-seconds", "21600".to_owned())], "session".into())
        }
        "/latest/meta-data/iam/security-credentials/" => ok("s3sweep"),
        _ => ok(json),
    }
}

/// A store that refuses tokens after their time.
fn store(refused: Arc<AtomicU32>) -> impl Fn(&Asked) -> Answer {
    move |asked| {
        let until =
            asked.header("x-amz-security-token").and_then(|token| token.parse::<DateTime<Utc>>().ok());
        if until.is_none_or(|until| until < SystemClock.now()) {
            refused.fetch_add(1, Ordering::Relaxed);
            return (
                400,
                Vec::new(),
                "<Error><Code>ExpiredToken</Code><Message>over</Message></Error>".into(),
            );
        }
        if !asked.target.contains("list-type=2") {
            return (200, vec![("ETag", "\"e\"".to_owned())], "{\"t\":1}\n".into());
        }
        let object = |number: usize| {
            format!(
                "<Contents><Key>logs/{number:02}.json</Key><ETag>\"e\"</ETag><Size>8</Size>\
                 <LastModified>2024-05-01T06:00:00Z</LastModified></Contents>"
            )
        };
        let objects: String = (0..OBJECTS).map(object).collect();
        ok(format!(
            "<ListBucketResult><Name>acme</Name><IsTruncated>false</IsTruncated>{objects}</ListBucketResult>"
        ))
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sweep_outlives_its_credentials() {
    let metadata = Stub::start(grant).await;
    let proxy = Stub::proxy("user", "word", metadata.address).await;
    let through = format!("http://user:word@{}", proxy.address);
    let container = format!("{}/container", metadata.url());
    let url = metadata.url();
    for (case, variable) in [
        ("instance", ("AWS_EC2_METADATA_SERVICE_ENDPOINT", url.as_str())),
        ("container", ("AWS_CONTAINER_CREDENTIALS_FULL_URI", container.as_str())),
    ] {
        let refused = Arc::new(AtomicU32::new(0));
        let store = Stub::slow(Duration::from_millis(500), store(refused.clone())).await;
        let site = Site::new(&store.url(), "");
        let text = std::fs::read_to_string(site.path("s3sweep.toml")).unwrap();
        site.file("s3sweep.toml", &format!("limits = {{ get_concurrency = 1 }}\n{text}"));
        let before = metadata.asked().len();
        let none = ("AWS_SHARED_CREDENTIALS_FILE", "/nonexistent");
        let all = [variable, none, ("AWS_CONFIG_FILE", "/nonexistent"), ("ALL_PROXY", &through)];
        let ran = site.run(&["once", "--report", "report.json"], &all);
        assert_eq!(ran.code, Some(0), "{case}: {}", ran.all);
        let report = std::fs::read(site.path("report.json")).unwrap();
        let report: serde_json::Value = serde_json::from_slice(&report).unwrap();
        assert_eq!(report["sources"][0]["objects"]["collected"], OBJECTS, "{case}: {report}");
        assert_eq!(refused.load(Ordering::Relaxed), 0, "{case}: renewed before they expire");
        let asked = metadata.asked().split_off(before);
        let is_grant = |asked: &&Asked| asked.target == "/container" || asked.target.ends_with("/s3sweep");
        let grants = asked.iter().filter(is_grant);
        assert!(grants.count() >= 2, "{case}: {asked:?}");
    }
    assert!(proxy.asked().is_empty(), "metadata is asked directly: {:?}", proxy.asked());
}
