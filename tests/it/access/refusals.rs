//! What `check` says where a role, a token or a signature is refused.

use serde_json::Value;

use super::site::Site;
use super::stub::{Answer, Stub};

const LOGS: &str = "arn:aws:iam::111122223333:role/logs";

fn refusal(status: u16, code: &str, message: &str) -> Answer {
    let body = format!(
        "<ErrorResponse><Error><Code>{code}</Code><Message>{message}</Message></Error></ErrorResponse>"
    );
    (status, Vec::new(), body)
}

/// The worst line of the source.
fn failed(site: &Site, env: &[(&str, &str)]) -> Value {
    let ran = site.run(&["check", "--output", "json"], env);
    assert_eq!(ran.code, Some(3), "{}", ran.all);
    assert!(!ran.all.contains("hush"), "{}", ran.all);
    let findings: Value = serde_json::from_str(&ran.out).unwrap();
    let lines = findings["sources"][0]["lines"].as_array().unwrap();
    // what was not reached is not said to be well
    let checks: Vec<_> = lines.iter().map(|line| line["check"].as_str().unwrap()).collect();
    assert!(!checks.contains(&"dns") && !checks.contains(&"list"), "{checks:?}");
    lines.iter().find(|line| line["status"] == "failed").unwrap_or_else(|| panic!("{findings:#}")).clone()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_sts_refuses_is_explained() {
    for (status, said, code, next) in [
        (403, "AccessDenied", "STS.AccessDenied", "trust policy"),
        (403, "InvalidClientTokenId", "InvalidClientTokenId", "access_key_id"),
        (403, "SignatureDoesNotMatch", "SignatureDoesNotMatch", "secret_access_key"),
        (403, "ExpiredToken", "ExpiredToken", "renews"),
        (403, "RequestExpired", "RequestExpired", "NTP"),
    ] {
        let sts = Stub::start(move |_| refusal(status, said, "no")).await;
        let settings = format!(
            "[source.credentials]\naccess_key_id = \"BASEKEY\"\nsecret_access_key = \"hush-base\"\n\
             role_arn = \"{LOGS}\"\nexternal_id = \"hush-external\"\nsts_endpoint_url = \"{}\"",
            sts.url()
        );
        let line = failed(&Site::new("http://127.0.0.1:1", &settings), &[]);
        assert_eq!(line["code"], code, "{line}");
        assert!(line["detail"].as_str().unwrap().contains(&format!("AssumeRole of {LOGS}")), "{line}");
        assert!(line["next"].as_str().unwrap().contains(next), "{line}");
        let statement = (code == "STS.AccessDenied")
            .then(|| serde_json::json!({ "Effect": "Allow", "Action": "sts:AssumeRole", "Resource": LOGS }));
        assert_eq!(line.get("statement"), statement.as_ref(), "{line}");
    }
}

/// The SDK takes these roles on itself.
#[tokio::test(flavor = "multi_thread")]
async fn what_sts_refuses_the_default_chain_is_explained() {
    let site = Site::new("http://127.0.0.1:1", "");
    let token = site.file("token", "hush-web");
    let profile = format!(
        "[default]\nrole_arn = {LOGS}\nsource_profile = base\n[profile base]\naws_access_key_id = BASEKEY\n\
         aws_secret_access_key = hush-base\n"
    );
    let profile = site.file("profile", &profile);
    for (case, env, said, code) in [
        (
            "token",
            vec![("AWS_WEB_IDENTITY_TOKEN_FILE", token.as_str()), ("AWS_ROLE_ARN", LOGS)],
            "InvalidIdentityToken",
            "InvalidIdentityToken",
        ),
        ("profile", vec![("AWS_CONFIG_FILE", profile.as_str())], "AccessDenied", "STS.AccessDenied"),
    ] {
        let sts = Stub::start(move |_| refusal(400, said, "no")).await;
        let url = sts.url();
        let all =
            [&env[..], &[("AWS_ENDPOINT_URL_STS", &url), ("AWS_EC2_METADATA_DISABLED", "true")]].concat();
        let line = failed(&site, &all);
        assert_eq!(line["code"], code, "{case}: {line}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_silent_sts_is_no_lack_of_credentials() {
    let settings = format!(
        "[source.credentials]\naccess_key_id = \"BASEKEY\"\nsecret_access_key = \"hush-base\"\n\
         role_arn = \"{LOGS}\"\nsts_endpoint_url = \"http://127.0.0.1:1\""
    );
    let line = failed(&Site::new("http://127.0.0.1:1", &settings), &[]);
    assert_eq!(line["code"], "NoConnection", "{line}");
    assert!(line["detail"].as_str().unwrap().contains("AssumeRole"), "{line}");
}
