//! Roles, tokens and identities, by an STS of the test.

use std::time::Duration;

use s3sweep::aws::{self, Caller, Timeouts};
use s3sweep::config::{Access, Credentials, Roles, Secret};

use super::site::Site;
use super::stub::{Stub, ok};
use super::{access, grant_role, keys, list, server};

const HOP: &str = "arn:aws:iam::111122223333:role/hop";
const LOGS: &str = "arn:aws:iam::444455556666:role/logs";

/// Whose a key is, by STS.
const TOLD: &str = "<GetCallerIdentityResponse xmlns=\"https://sts.amazonaws.com/doc/2011-06-15/\">\
                    <GetCallerIdentityResult><Arn>arn:aws:sts::444455556666:assumed-role/logs/nightly</Arn>\
                    <UserId>AROA:nightly</UserId><Account>444455556666</Account></GetCallerIdentityResult>\
                    </GetCallerIdentityResponse>";

fn roles(arns: &[&str]) -> Roles {
    Roles {
        arns: arns.iter().map(ToString::to_string).collect(),
        session_name: "nightly".into(),
        duration: Some(Duration::from_secs(900)),
        external_id: Some(Secret::new("hush-external".into())),
    }
}

#[tokio::test]
async fn roles_are_taken_on_one_by_the_other_and_kept() {
    let (server, sts) = (server().await, Stub::start(grant_role).await);
    let access = Access {
        credentials: keys("BASEKEY", "base-secret"),
        roles: Some(roles(&[HOP, LOGS])),
        sts_endpoint_url: Some(sts.url()),
        ..access(&server.endpoint_url())
    };
    let bucket = super::open(&access).await.unwrap();
    let request = s3sweep::bucket::ListRequest { page_size: 1, ..Default::default() };
    for _ in 0..3 {
        bucket.list(&request).await.expect("signed with the key of the last role");
    }
    let asked = sts.asked();
    let signers: Vec<_> = asked.iter().map(|asked| asked.signer().unwrap()).collect();
    assert_eq!(signers, ["BASEKEY", "HOPKEY"], "once each, the second by the first");
    assert_eq!(asked[1].header("x-amz-security-token"), Some("hop-token"));
    for (asked, role) in asked.iter().zip(["role%2Fhop", "role%2Flogs"]) {
        for part in [role, "Action=AssumeRole&", "RoleSessionName=nightly", "DurationSeconds=900"] {
            assert!(asked.text.contains(part), "{part}: {}", asked.text);
        }
    }
    let with_id: Vec<_> = asked.iter().map(|asked| asked.text.contains("ExternalId=hush-external")).collect();
    assert_eq!(with_id, [false, true], "the last role alone asks for it");
}

#[tokio::test]
async fn a_token_file_takes_on_the_first_role() {
    let folder = tempfile::tempdir().unwrap();
    let token = folder.path().join("token");
    std::fs::write(&token, "hush.web.token\n").unwrap();
    let (server, sts) = (server().await, Stub::start(grant_role).await);
    let access = Access {
        credentials: Credentials::WebIdentity(token.clone()),
        roles: Some(roles(&[HOP, LOGS])),
        sts_endpoint_url: Some(sts.url()),
        ..access(&server.endpoint_url())
    };
    list(&access).await.expect("signed with the key of the last role");
    let asked = sts.asked();
    assert!(asked[0].text.contains("Action=AssumeRoleWithWebIdentity&"), "{}", asked[0].text);
    assert!(asked[0].text.contains("WebIdentityToken=hush.web.token"), "{}", asked[0].text);
    assert!(!asked[0].text.contains("%0A"), "without its line break: {}", asked[0].text);
    assert_eq!((asked[0].signer(), asked[1].signer()), (None, Some("HOPKEY")));

    std::fs::remove_file(&token).unwrap();
    let error = list(&access).await.expect_err("no token").to_string();
    assert!(error.contains(&token.display().to_string()), "{error}");
}

#[tokio::test]
async fn a_role_that_is_refused_is_named_and_no_secret_is() {
    let refusal = "<ErrorResponse><Error><Type>Sender</Type><Code>AccessDenied</Code><Message>not you</Message>\
                   </Error></ErrorResponse>";
    let sts = Stub::start(move |_| (403, Vec::new(), refusal.to_owned())).await;
    let access = Access {
        credentials: keys("BASEKEY", "hush-base"),
        roles: Some(roles(&[LOGS])),
        sts_endpoint_url: Some(sts.url()),
        ..access("http://127.0.0.1:1")
    };
    let error = list(&access).await.expect_err("refused");
    let shown = format!("{error} {error:?}");
    for part in ["no credentials", "AssumeRole of", LOGS, "AccessDenied: not you (HTTP 403"] {
        assert!(shown.contains(part), "{part}: {shown}");
    }
    assert!(!shown.contains("hush"), "{shown}");
}

#[tokio::test]
async fn an_identity_is_told_with_its_provider() {
    let sts = Stub::start(move |asked| match asked.text.contains("GetCallerIdentity") {
        true => ok(TOLD),
        false => grant_role(asked),
    })
    .await;
    let mut access = Access {
        credentials: keys("BASEKEY", "base-secret"),
        roles: Some(roles(&[LOGS])),
        sts_endpoint_url: Some(sts.url()),
        ..access("http://127.0.0.1:1")
    };
    let identity = aws::identity(&access, Timeouts::default()).await.unwrap();
    assert_eq!(identity.provider, format!("role {LOGS} by the s3sweep configuration"));
    assert_eq!(identity.access_key_id, "S3SWEEPTESTKEY");
    assert_eq!(identity.expires, Some("2099-01-01T00:00:00Z".parse().unwrap()));
    let Caller::Known { account, arn, user_id } = identity.caller else { panic!("{:?}", identity.caller) };
    assert_eq!((account.as_str(), user_id.as_str()), ("444455556666", "AROA:nightly"));
    assert!(arn.ends_with("assumed-role/logs/nightly"), "{arn}");
    assert_eq!(sts.asked()[1].signer(), Some("S3SWEEPTESTKEY"), "asked as the role");

    (access.roles, access.sts_endpoint_url) = (None, None);
    let identity = aws::identity(&access, Timeouts::default()).await.unwrap();
    assert_eq!(identity.caller, Caller::NotAsked, "AWS is not shown the key of another store");
}

#[tokio::test(flavor = "multi_thread")]
async fn status_tells_who_signed_and_sts_is_asked_once_for_a_key() {
    for (case, answer, arn, asked) in [
        ("told", ok(TOLD), serde_json::json!("arn:aws:sts::444455556666:assumed-role/logs/nightly"), 1),
        ("refused", (403, Vec::new(), String::new()), serde_json::Value::Null, 2),
    ] {
        let server = server().await;
        let sts = Stub::start(move |_| answer.clone()).await;
        let settings = format!(
            "[source.credentials]\naccess_key_id = \"S3SWEEPTESTKEY\"\nsecret_access_key = \"s3sweep-test-secret\"\n\
             sts_endpoint_url = \"{}\"",
            sts.url()
        );
        let site = Site::new(&server.endpoint_url(), &settings);
        assert_eq!(site.run(&["preview"], &[]).code, Some(0), "{case}");
        assert_eq!(sts.asked().len(), 0, "{case}: a preview keeps nothing");
        for _ in 0..2 {
            let ran = site.run(&["once"], &[]);
            assert_eq!(ran.code, Some(0), "{case}: {}", ran.all);
        }
        assert_eq!(sts.asked().len(), asked, "{case}: by each process until it is known");
        let status = site.run(&["status", "--output", "json"], &[]);
        let status: serde_json::Value = serde_json::from_str(&status.out).unwrap();
        let want = serde_json::json!({
            "provider": "the s3sweep configuration", "access_key_id": "S3SWEEPTESTKEY", "arn": arn,
        });
        assert_eq!(status["sources"][0]["last_sweep"]["identity"], want, "{case}");
    }
}
