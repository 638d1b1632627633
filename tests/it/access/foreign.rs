//! Roles by moto, whose IAM looks at policies, and a way out by squid.

use std::time::Duration;

use chrono::TimeDelta;
use s3sweep::aws::{self, Caller, Timeouts};
use s3sweep::clock::{Clock as _, SystemClock};
use s3sweep::config::{Access, Credentials, Roles};
use serde_json::Value;

use super::site::Site;
use super::stub::{Authority, Stub};
use super::{access, keys, list, server};
use crate::foreign::Foreign;
use crate::needs::Need;

const HOP: &str = "arn:aws:iam::123456789012:role/hop";
const LOGS: &str = "arn:aws:iam::123456789012:role/logs";

/// A source whose objects the role `logs` may read, taken on by way of the role `hop`.
fn chained(url: &str, id: &str, secret: &str, external_id: &str) -> Site {
    Site::new(
        url,
        &format!(
            "[source.credentials]\naccess_key_id = \"{id}\"\nsecret_access_key = \"{secret}\"\n\
             role_arn = [\"{HOP}\", \"{LOGS}\"]\nrole_session_name = \"nightly\"\nrole_duration = \"15M\"\n\
             external_id = \"{external_id}\"\nsts_endpoint_url = \"{url}\""
        ),
    )
}

/// The policies of `init --policy` are all that user and roles may do.
#[test]
fn chained_roles_read_with_the_policies_of_init() {
    let printed = chained("http://127.0.0.1:1", "x", "x", "x").run(&["init", "--policy"], &[]);
    let folder = tempfile::tempdir().unwrap();
    let policies = folder.path().join("policies.json");
    std::fs::write(&policies, &printed.out).unwrap();
    let Some(moto) = Foreign::start(Need::Moto, &["moto", &policies.display().to_string()]) else { return };
    let [url, id, secret] = &moto.facts[..] else { panic!("{:?}", moto.facts) };

    let site = chained(url, id, secret, "hush-external");
    let ran = site.run(&["once", "--report", "report.json"], &[]);
    assert_eq!(ran.code, Some(0), "{}", ran.all);
    let report: Value = serde_json::from_slice(&std::fs::read(site.path("report.json")).unwrap()).unwrap();
    assert_eq!(report["sources"][0]["records"], 1, "{report}");
    let status = site.run(&["status"], &[]).all;
    let by = format!("by role {LOGS} by role {HOP} by the s3sweep configuration");
    assert!(
        status.contains("as arn:aws:sts::123456789012:assumed-role/logs/nightly, access key ASIA"),
        "{status}"
    );
    assert!(status.contains(&by), "{status}");
    let ran = site.run(&["check", "-v"], &[]);
    assert_eq!(ran.code, Some(0), "{}", ran.all);
    let session = "arn:aws:sts::123456789012:assumed-role/logs/nightly";
    assert!(ran.all.contains(session) && !ran.all.contains("hush"), "{}", ran.all);

    for (case, site, words) in [
        (
            "another external id",
            chained(url, id, secret, "hush-other"),
            ["AssumeRole of", LOGS, "sts:ExternalId"],
        ),
        ("another secret", chained(url, id, "hush", "x"), ["AssumeRole of", HOP, "(HTTP 403"]),
        ("another key", chained(url, "AKIANOBODY", "hush", "x"), ["AssumeRole of", HOP, "(HTTP 403"]),
    ] {
        let ran = site.run(&["check"], &[]);
        assert_eq!(ran.code, Some(3), "{case}: {}", ran.all);
        assert!(words.iter().all(|word| ran.all.contains(word)), "{case}: {}", ran.all);
        assert!(!ran.all.contains("hush"), "{case}: {}", ran.all);
    }
    // what the policies leave out is refused
    let text = std::fs::read_to_string(site.path("s3sweep.toml")).unwrap();
    site.file("s3sweep.toml", &text.replace("prefix = \"logs\"", "prefix = \"private\""));
    let ran = site.run(&["check"], &[]);
    assert_eq!(ran.code, Some(3), "{}", ran.all);
    assert!(ran.all.contains("Missing action: s3:GetObject"), "{}", ran.all);
}

#[tokio::test(flavor = "multi_thread")]
async fn sessions_last_as_long_as_they_should() {
    let Some(moto) = Foreign::start(Need::Moto, &["moto"]) else { return };
    let folder = tempfile::tempdir().unwrap();
    let token = folder.path().join("token");
    std::fs::write(&token, "hush.web.token\n").unwrap();
    let roles = |arns: &[&str], minutes: u64| Roles {
        arns: arns.iter().map(ToString::to_string).collect(),
        session_name: "nightly".into(),
        duration: Some(Duration::from_secs(minutes * 60)),
        external_id: None,
    };
    for (case, credentials, arns, minutes, name) in [
        ("key", keys(&moto.facts[1], &moto.facts[2]), &[HOP][..], 30, "hop"),
        ("token", Credentials::WebIdentity(token.clone()), &[HOP], 20, "hop"),
        ("token, then a role", Credentials::WebIdentity(token.clone()), &[HOP, LOGS], 40, "logs"),
    ] {
        let access = Access {
            credentials,
            roles: Some(roles(arns, minutes)),
            sts_endpoint_url: Some(moto.url().to_owned()),
            ..access(moto.url())
        };
        let identity = aws::identity(&access, Timeouts::default()).await.unwrap();
        let left = identity.expires.expect("sessions end") - SystemClock.now();
        let off = left - TimeDelta::seconds(60 * minutes as i64);
        assert!(off.abs() < TimeDelta::seconds(60), "{case}: {left}");
        let Caller::Known { arn, .. } = &identity.caller else { panic!("{case}: {:?}", identity.caller) };
        assert!(arn.ends_with(&format!(":assumed-role/{name}/nightly")), "{case}: {arn}");
        list(&access).await.unwrap_or_else(|error| panic!("{case}: {error}"));
    }
}

/// What squid notes of each request: its answer, the host, the user.
fn noted(log: &str) -> Vec<(String, String, String)> {
    let text = std::fs::read_to_string(log).unwrap_or_default();
    let words = text.lines().map(|line| line.split_whitespace().map(str::to_owned).collect::<Vec<_>>());
    words.map(|words| (words[3].clone(), words[6].clone(), words[7].clone())).collect()
}

/// What squid has noted once nothing more comes: it writes a line after the tunnel is closed.
async fn all_noted(log: &str) -> Vec<(String, String, String)> {
    let mut before = noted(log);
    loop {
        tokio::time::sleep(Duration::from_millis(500)).await;
        let now = noted(log);
        if now.len() == before.len() {
            return now;
        }
        before = now;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn squid_lets_those_through_who_know_its_password() {
    let Some(squid) = Foreign::start(Need::Squid, &["squid"]) else { return };
    let (server, authority) = (server().await, Authority::new());
    server.put("acme", "logs/one.json", "{\"t\":1}\n", SystemClock.now());
    let behind = server.endpoint_url()["http://".len()..].parse().unwrap();
    let tls = Stub::tls(&authority.sign("s3.example.test", 2098), behind).await;
    let host = format!("s3.example.test:{}", tls.address.port());
    let port = squid.url().rsplit_once(':').unwrap().1.to_owned();
    let run = |args: &[&str], proxy: &str, env: &[(&str, &str)]| {
        let settings = format!(
            "ca_bundle = \"ca.pem\"\ncredentials = {{ access_key_id = \"S3SWEEPTESTKEY\", \
             secret_access_key = \"s3sweep-test-secret\" }}\n{proxy}"
        );
        let site = Site::new(&format!("https://{host}"), &settings);
        site.file("ca.pem", &authority.pem());
        site.run(args, env)
    };
    let proxy = |password: &str, more: &str| {
        format!(
            "[source.proxy]\nurl = \"{}\"\nuser = \"us@er\"\npassword = \"{password}\"\n{more}",
            squid.url()
        )
    };
    let log = &squid.facts[1];
    let login = format!("http://us%40er:p%40ss%3Aw%2F%25rd@127.0.0.1:{port}");
    let through = ("TCP_TUNNEL/200".to_owned(), host.clone(), "us@er".to_owned());
    for (case, proxy, env) in [
        ("settings", proxy("p@ss:w/%rd", ""), &[][..]),
        ("environment", String::new(), &[("HTTPS_PROXY", login.as_str())]),
    ] {
        let before = all_noted(log).await.len();
        let ran = run(&["once"], &proxy, env);
        assert_eq!(ran.code, Some(0), "{case}: {}", ran.all);
        let noted = all_noted(log).await.split_off(before);
        assert!(!noted.is_empty() && noted.iter().all(|line| *line == through), "{case}: {noted:?}");
    }
    let ran = run(&["check", "--show-certificate"], &proxy("p@ss:w/%rd", ""), &[]);
    assert_eq!(ran.code, Some(0), "{}", ran.all);
    assert!(
        ran.all.contains(&format!("certificates of {host} through {}, trusted", squid.url())),
        "{}",
        ran.all
    );

    let before = all_noted(log).await.len();
    let ran = run(&["check"], &proxy("hush", ""), &[]);
    assert_eq!(ran.code, Some(3), "{}", ran.all);
    assert!(ran.all.contains("proxy's user and password") && !ran.all.contains("hush"), "{}", ran.all);
    assert_eq!(all_noted(log).await[before].0, "TCP_DENIED/407");

    let before = all_noted(log).await.len();
    let ran = run(&["check"], &proxy("p@ss:w/%rd", "no_proxy = [\".example.test\"]"), &[]);
    assert_eq!(ran.code, Some(3), "nobody but the proxy knows the host: {}", ran.all);
    assert_eq!(all_noted(log).await.len(), before, "asked directly");
}
