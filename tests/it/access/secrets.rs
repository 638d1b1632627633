//! No secret is written anywhere, whatever is asked and however loudly.

use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use s3sweep::config::{Reader, create_identity, encrypt_secret};

use super::aws::{Aws, WORD};
use super::role_of;
use super::site::{Ran, Site};
use super::stub::{Answer, Asked, ok};

const LOGS: &str = "arn:aws:iam::111122223333:role/logs";

/// STS, and a bucket of one object.
fn answer(asked: &Asked) -> Answer {
    let host = asked.header("host").unwrap_or_default();
    if host.starts_with("sts.") {
        return match asked.text.contains("GetCallerIdentity") {
            true => (403, Vec::new(), String::new()),
            false => ok(role_of("AssumeRole", "ASIAEXAMPLE", "hush-session-secret", "hush-session-token")),
        };
    }
    if asked.target.contains("list-type=2") {
        return ok("<ListBucketResult><Name>acme</Name><IsTruncated>false</IsTruncated><Contents>\
                   <Key>logs/one.json</Key><ETag>\"e\"</ETag><Size>8</Size>\
                   <LastModified>2024-05-01T06:00:00Z</LastModified></Contents></ListBucketResult>");
    }
    (200, vec![("ETag", "\"e\"".to_owned())], "{\"t\":1}\n".into())
}

/// A source that has a secret of each kind, in each form that secrets have.
fn site(aws: &Aws) -> Site {
    let site = Site::new("", "");
    let identity = site.path("identity");
    create_identity(&identity).unwrap();
    let encrypted = encrypt_secret("hush-external", &Reader::Identity(identity)).unwrap();
    site.file("external.age", &encrypted);
    let token = site.file("token", "hush-token\n");
    std::fs::set_permissions(&token, std::fs::Permissions::from_mode(0o600)).unwrap();
    let text = std::fs::read_to_string(site.path("s3sweep.toml")).unwrap();
    let text = text.replace("endpoint_url = \"\"\npath_style = true\n", "");
    let more = format!(
        "ca_bundle = \"{}\"\n[source.credentials]\naccess_key_id = \"BASEKEY\"\n\
         secret_access_key = {{ env = \"BASE_SECRET\" }}\nsession_token = {{ file = \"token\" }}\nrole_arn = \"{LOGS}\"\n\
         external_id = {{ age_file = \"external.age\" }}\n[source.proxy]\nurl = \"http://{}\"\nuser = \"user\"\n\
         password = \"{WORD}\"\n",
        aws.bundle(),
        aws.proxy.address
    );
    site.file("s3sweep.toml", &format!("identity_file = \"identity\"\n{text}{more}"));
    site
}

/// What must stand nowhere: the secrets, what the proxy was told, and the identity.
fn secrets(site: &Site) -> Vec<String> {
    let login = aws_smithy_types::base64::encode(format!("user:{WORD}"));
    let identity = std::fs::read_to_string(site.path("identity")).unwrap();
    let key = identity.lines().find(|line| line.starts_with("AGE-SECRET-KEY-1")).unwrap();
    vec!["hush".to_owned(), login, key.to_owned()]
}

fn assert_silent(place: &str, text: &str, secrets: &[String]) {
    for secret in secrets {
        if let Some(at) = text.find(secret.as_str()) {
            let before = text[..at].char_indices().rev().nth(200).map_or(0, |(at, _)| at);
            panic!("{secret} in {place}: {}", &text[before..at + secret.len()]);
        }
    }
}

fn edit(site: &Site, from: &str, to: &str) -> String {
    let text = std::fs::read_to_string(site.path("s3sweep.toml")).unwrap();
    assert!(text.contains(from), "{from}: {text}");
    site.file("s3sweep.toml", &text.replacen(from, to, 1));
    text
}

#[tokio::test(flavor = "multi_thread")]
async fn no_secret_is_written_anywhere() {
    let aws = Aws::start(answer).await;
    let site = site(&aws);
    let secrets = secrets(&site);
    let loud = [("BASE_SECRET", "hush-base"), ("RUST_LOG", "trace")];
    let run = |args: &[&str], code: i32| -> Ran {
        let ran = site.run(args, &loud);
        assert_eq!(ran.code, Some(code), "{args:?}: {}", ran.all);
        assert_silent(&args.join(" "), &ran.all, &secrets);
        ran
    };
    let once = run(&["once", "--report", "report.json"], 0);
    assert!(once.all.lines().count() > 200, "RUST_LOG was heard: {}", once.all);
    assert!(once.all.contains("x-amz-security-token"), "requests are logged: {}", once.all);
    assert_eq!(aws.hosts().len(), 2, "STS and S3 were asked: {:?}", aws.hosts());
    for args in [
        &["once", "-vv", "--log-format", "json"][..],
        &["preview", "--output", "json", "-v"],
        &["check", "-vv"],
        &["check", "--output", "json", "--show-certificate"],
        &["status"],
        &["status", "--output", "json"],
        &["marker", "export"],
        &["quarantine", "list"],
        &["config", "show"],
        &["init", "--policy"],
        &["audit", "--from", "2024-05-01", "--to", "2024-05-02"],
    ] {
        run(args, 0);
    }
    // what is wrong beside a secret, and what is refused with one
    for (case, from, to, code) in [
        ("a mistyped setting", "session_token", "sesion_token", 2),
        (
            "a secret that is a number",
            "secret_access_key = { env = \"BASE_SECRET\" }",
            "secret_access_key = 7",
            2,
        ),
        ("a secret of another kind", "{ file = \"token\" }", "{ fil = \"hush\" }", 2),
        ("another password", WORD, "hush-other", 3),
        ("an address that is none", "url = \"http://", "url = \"htp://hush:hush@", 2),
    ] {
        let before = edit(&site, from, to);
        let ran = site.run(&["check", "-vv"], &loud);
        assert_eq!(ran.code, Some(code), "{case}: {}", ran.all);
        assert_silent(case, &ran.all, &secrets);
        site.file("s3sweep.toml", &before);
    }
    let left = site.left(&["s3sweep.toml", "token", "identity"]);
    assert!(left.len() > 1_000, "there is something to look at");
    assert_silent("a file", &String::from_utf8_lossy(&left), &secrets);
    assert!(Path::new(&site.path("report.json")).is_file());
}
