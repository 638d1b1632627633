//! The binary with an environment of the test: where credentials come from, in AWS's order, and what
//! goes through a proxy.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use chrono::{DateTime, Utc};

use s3sweep::testing::{Asked as Request, S3Server, ServerFault};

use super::site::Site;
use super::stub::{Answer, Asked, Authority, Stub, ok};
use super::{PAGE, role_of, server};

const ID: &str = "S3SWEEPTESTKEY";
const SECRET: &str = "s3sweep-test-secret";
/// Nobody listens there.
const NOWHERE: &str = "http://127.0.0.1:1";

/// Instance metadata of version 2, container credentials and STS in one: the key that the S3 server
/// knows, each time with another token.
fn provider(numbers: Arc<AtomicU32>) -> impl Fn(&Asked) -> Answer {
    move |asked| {
        let number = numbers.fetch_add(1, Ordering::Relaxed);
        let token = format!("hush-token-{number}");
        let json = format!(
            "{{\"Code\":\"Success\",\"Type\":\"AWS-HMAC\",\"LastUpdated\":\"2026-01-01T00:00:00Z\",\
             \"AccessKeyId\":\"{ID}\",\"SecretAccessKey\":\"{SECRET}\",\"Token\":\"{token}\",\
             \"Expiration\":\"2099-01-01T00:00:00Z\"}}"
        );
        let v2 = asked.header("x-aws-ec2-metadata-token") == Some("metadata-token");
        match (asked.method.as_str(), asked.target.as_str()) {
            ("PUT", "/latest/api/token") => (
                200,
                vec![("x-aws-ec2-metadata-token-ttl-seconds", "21600".to_owned())],
                "metadata-token".into(),
            ),
            ("GET", "/latest/meta-data/iam/security-credentials/") if v2 => ok("s3sweep"),
            ("GET", "/latest/meta-data/iam/security-credentials/s3sweep") if v2 => ok(json),
            ("GET", "/container") if asked.header("authorization") == Some("hush-container") => ok(json),
            ("POST", "/") if asked.text.contains("WebIdentityToken=hush-web") => {
                ok(role_of("AssumeRoleWithWebIdentity", ID, SECRET, &token))
            }
            ("POST", "/") if asked.signer() == Some("BASEKEY") => {
                ok(role_of("AssumeRole", ID, SECRET, &token))
            }
            _ => (404, Vec::new(), String::new()),
        }
    }
}

/// A name, the environment, and what the stub is asked for.
type Case<'a> = (&'a str, Vec<(&'a str, &'a str)>, &'a [&'a str]);

#[tokio::test(flavor = "multi_thread")]
async fn each_place_of_the_default_chain_gives_credentials() {
    let (server, stub) = (server().await, Stub::start(provider(Arc::default())).await);
    let site = Site::new(&server.endpoint_url(), "");
    let pair = format!("aws_access_key_id = {ID}\naws_secret_access_key = {SECRET}\n");
    let own = site.file("own", &format!("[default]\n{pair}"));
    let wrong = site.file("wrong", "[default]\naws_access_key_id = NOBODY\naws_secret_access_key = x\n");
    let script = format!(
        "#!/bin/sh\necho '{{\"Version\":1,\"AccessKeyId\":\"{ID}\",\"SecretAccessKey\":\"{SECRET}\"}}'\n"
    );
    let script = site.file("process.sh", &script);
    let process = site.file("process", &format!("[default]\ncredential_process = /bin/sh {script}\n"));
    let chained = "[default]\nrole_arn = arn:aws:iam::111122223333:role/logs\nsource_profile = base\n\
                   [profile base]\naws_access_key_id = BASEKEY\naws_secret_access_key = base\n";
    let chained = site.file("chained", chained);
    let token = site.file("token", "hush-web");
    let (url, container) = (stub.url(), format!("{}/container", stub.url()));
    let (none, role) = ("/nonexistent", "arn:aws:iam::111122223333:role/logs");
    let keys = [("AWS_ACCESS_KEY_ID", ID), ("AWS_SECRET_ACCESS_KEY", SECRET)];
    let web = [("AWS_WEB_IDENTITY_TOKEN_FILE", token.as_str()), ("AWS_ROLE_ARN", role)];
    let task = [
        ("AWS_CONTAINER_CREDENTIALS_FULL_URI", container.as_str()),
        ("AWS_CONTAINER_AUTHORIZATION_TOKEN", "hush-container"),
    ];
    let wrong_file = ("AWS_SHARED_CREDENTIALS_FILE", wrong.as_str());
    let cases: &[Case] = &[
        ("environment, before the profile", [&keys[..], &[wrong_file]].concat(), &[]),
        ("profile, before the token", [&web[..], &[("AWS_SHARED_CREDENTIALS_FILE", &own)]].concat(), &[]),
        ("process of a profile", vec![("AWS_CONFIG_FILE", &process)], &[]),
        ("role of a profile", vec![("AWS_CONFIG_FILE", &chained)], &["POST /"]),
        ("token, before the container", [&task[..], &web[..]].concat(), &["POST /"]),
        ("container, before the instance", task.to_vec(), &["GET /container"]),
        (
            "instance",
            vec![],
            &[
                "PUT /latest/api/token",
                "GET /latest/meta-data/iam/security-credentials/",
                "GET /latest/meta-data/iam/security-credentials/s3sweep",
            ],
        ),
    ];
    for (case, env, want) in cases {
        let before = stub.asked().len();
        let mut all = vec![
            ("AWS_ENDPOINT_URL_STS", url.as_str()),
            ("AWS_EC2_METADATA_SERVICE_ENDPOINT", &url),
            // neither metadata nor a store on this machine are asked through it
            ("HTTP_PROXY", NOWHERE),
            ("HTTPS_PROXY", NOWHERE),
        ];
        all.extend(env);
        for (variable, file) in [("AWS_CONFIG_FILE", none), ("AWS_SHARED_CREDENTIALS_FILE", none)] {
            if !all.iter().any(|(name, _)| *name == variable) {
                all.push((variable, file));
            }
        }
        let ran = site.run(&["preview"], &all);
        assert_eq!(ran.code, Some(0), "{case}: {}", ran.all);
        let asked = stub.asked();
        let asked: Vec<_> =
            asked[before..].iter().map(|asked| format!("{} {}", asked.method, asked.target)).collect();
        assert_eq!(asked, *want, "{case}");
    }
    let nothing = [("AWS_EC2_METADATA_DISABLED", "true"), ("AWS_CONFIG_FILE", none)];
    let ran = site.run(&["preview"], &[&nothing[..], &[("AWS_SHARED_CREDENTIALS_FILE", none)]].concat());
    assert_eq!(ran.code, Some(3), "{}", ran.all);
    assert!(
        ran.all.contains("looked for environment variables, the shared AWS configuration"),
        "{}",
        ran.all
    );
}

/// Tools that log in write new session keys into the file.
#[tokio::test(flavor = "multi_thread")]
async fn session_keys_that_others_renew_in_the_profile_are_read_again() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("credentials");
    let profile = |token: &str| {
        format!("[audit]\naws_access_key_id = {ID}\naws_secret_access_key = x\naws_session_token = {token}\n")
    };
    std::fs::write(&file, profile("old")).unwrap();
    let (renewed, path) = (profile("new"), file.clone());
    let store = Stub::start(move |asked| match asked.header("x-amz-security-token") {
        Some("new") => ok(PAGE),
        _ => {
            std::fs::write(&path, &renewed).unwrap();
            (400, Vec::new(), "<Error><Code>ExpiredToken</Code><Message>too old</Message></Error>".to_owned())
        }
    })
    .await;
    let site = Site::new(&store.url(), "credentials = { profile = \"audit\" }");
    let ran = site.run(&["preview"], &[("AWS_SHARED_CREDENTIALS_FILE", &file.display().to_string())]);
    assert_eq!(ran.code, Some(0), "{}", ran.all);
}

fn written() -> DateTime<Utc> {
    "2024-05-01T06:00:00Z".parse().unwrap()
}

/// Objects of one record each.
fn fill(server: &S3Server, count: usize) {
    for number in 0..count {
        server.put("acme", format!("logs/{number:02}.json"), format!("{{\"t\":{number}}}\n"), written());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn credentials_that_expire_amid_a_sweep_are_renewed_and_no_secret_is_written() {
    let numbers = Arc::new(AtomicU32::new(0));
    let (server, stub) = (server().await, Stub::start(provider(numbers)).await);
    fill(&server, 12);
    server.fail(Request::Gets, 5, ServerFault::Nothing);
    server.fail(
        Request::Gets,
        1,
        ServerFault::Error { code: "ExpiredToken", status: 400, retry_after: None },
    );
    let credentials = format!(
        "[source.credentials]\naccess_key_id = \"BASEKEY\"\nsecret_access_key = \"hush-base\"\n\
         role_arn = \"arn:aws:iam::111122223333:role/logs\"\nexternal_id = \"hush-external\"\n\
         sts_endpoint_url = \"{}\"\n[source.proxy]\nurl = \"http://u:hush-proxy@127.0.0.1:1\"\n",
        stub.url()
    );
    let site = Site::new(&server.endpoint_url(), &credentials);
    let ran = site.run(&["once", "-v", "--report", "report.json"], &[]);
    assert_eq!(ran.code, Some(0), "{}", ran.all);
    let report: serde_json::Value =
        serde_json::from_slice(&std::fs::read(site.path("report.json")).unwrap()).unwrap();
    assert_eq!(report["sources"][0]["objects"]["collected"], 12, "{report}");
    let taken_on = stub.asked().iter().filter(|asked| asked.text.contains("Action=AssumeRole&")).count();
    assert_eq!(taken_on, 2);

    let shown = site.run(&["config", "show"], &[]);
    let wrong = site.run(&["once", "--source", "none"], &[]);
    let left = site.left(&["s3sweep.toml"]);
    for secret in ["hush", SECRET] {
        for (place, text) in [("run", &ran.all), ("config show", &shown.all), ("refusal", &wrong.all)] {
            assert!(!text.contains(secret), "{secret} in {place}: {text}");
        }
        let found = left.windows(secret.len()).any(|window| window == secret.as_bytes());
        assert!(!found, "{secret} in a file");
    }
    assert!(shown.all.contains("[secret]") && left.len() > 1_000, "there is something to look at");
}

#[tokio::test(flavor = "multi_thread")]
async fn proxy_and_bundle_of_the_environment_are_used() {
    let (server, authority) = (server().await, Authority::new());
    let behind = server.endpoint_url()["http://".len()..].parse().unwrap();
    let tls = Stub::tls(&authority.sign("s3.example.test", 2098), behind).await;
    let proxy = Stub::proxy("user", "p@ss w/rd", tls.address).await;
    let site = Site::new("https://s3.example.test", "");
    let bundle = site.file("ca.pem", &authority.pem());
    let login = |text: &str| format!("http://{text}@{}", proxy.address);
    let keys = [("AWS_ACCESS_KEY_ID", ID), ("AWS_SECRET_ACCESS_KEY", SECRET)];
    let mut count = 0;
    for (case, variable, url) in [
        ("encoded", "HTTPS_PROXY", login("user:p%40ss%20w%2Frd")),
        ("as it is", "https_proxy", login("user:p@ss w/rd")),
        ("for all", "ALL_PROXY", login("user:p%40ss%20w%2Frd")),
        ("without scheme", "HTTPS_PROXY", format!("user:p%40ss%20w%2Frd@{}", proxy.address)),
    ] {
        let env = [("AWS_CA_BUNDLE", bundle.as_str()), (variable, url.as_str())];
        let ran = site.run(&["preview"], &[&keys[..], &env].concat());
        assert_eq!(ran.code, Some(0), "{case}: {}", ran.all);
        count += 1;
        assert_eq!(proxy.asked().len(), count, "{case}");
    }
    let url = login("user:p%40ss%20w%2Frd");
    let bypass = [("HTTPS_PROXY", url.as_str()), ("NO_PROXY", "example.test")];
    let ran = site.run(&["preview"], &[&keys[..], &bypass].concat());
    assert_eq!((ran.code, proxy.asked().len()), (Some(3), count), "{}", ran.all);
    let ran = site.run(&["preview"], &[&keys[..], &[("HTTPS_PROXY", url.as_str())]].concat());
    assert_eq!(ran.code, Some(3), "without the bundle: {}", ran.all);
    assert!(ran.all.contains("ca_bundle"), "{}", ran.all);
    let ran = site.run(&["preview"], &[("HTTPS_PROXY", "http://hush@proxy:1")]);
    assert_eq!(ran.code, Some(2), "{}", ran.all);
    assert!(ran.all.contains("HTTPS_PROXY") && !ran.all.contains("hush"), "{}", ran.all);
}

/// What the environment names is held to the rules of the settings.
#[tokio::test(flavor = "multi_thread")]
async fn endpoints_of_the_environment_are_used_but_not_unencrypted() {
    let server = server().await;
    let site = Site::new("", "");
    let text = std::fs::read_to_string(site.path("s3sweep.toml")).unwrap();
    let text = text.replace("endpoint_url = \"\"\n", "");
    let keys = [("AWS_ACCESS_KEY_ID", ID), ("AWS_SECRET_ACCESS_KEY", SECRET)];
    let url = server.endpoint_url();
    for (case, settings, variables, code) in [
        ("this machine", "", &[("AWS_ENDPOINT_URL_S3", url.as_str())][..], 0),
        ("all services", "", &[("AWS_ENDPOINT_URL", &url)], 0),
        ("the nearer one", "", &[("AWS_ENDPOINT_URL_S3", &url), ("AWS_ENDPOINT_URL", NOWHERE)], 0),
        ("another machine", "", &[("AWS_ENDPOINT_URL_S3", "http://hush.invalid")], 2),
        ("another machine for all", "", &[("AWS_ENDPOINT_URL", "http://hush.invalid")], 2),
        (
            "another machine's STS",
            "",
            &[("AWS_ENDPOINT_URL_S3", &url), ("AWS_ENDPOINT_URL_STS", "http://hush.invalid")],
            2,
        ),
        ("a password", "", &[("AWS_ENDPOINT_URL_S3", "https://u:hush@store.invalid")], 2),
        ("a password in a mistyped one", "", &[("AWS_ENDPOINT_URL", "HTTPS://u:hush@store.invalid")], 2),
        ("with FIPS", "use_fips = true", &[("AWS_ENDPOINT_URL_S3", &url)], 2),
        ("with dual stack", "dual_stack = true", &[("AWS_ENDPOINT_URL", &url)], 2),
        ("allowed", "allow_http = true", &[("AWS_ENDPOINT_URL_S3", "http://store.invalid")], 3),
        ("set", &format!("endpoint_url = \"{url}\""), &[("AWS_ENDPOINT_URL_S3", "http://hush.invalid")], 0),
    ] {
        site.file("s3sweep.toml", &format!("{text}{settings}\n"));
        let ran = site.run(&["preview"], &[&keys[..], variables].concat());
        assert_eq!(ran.code, Some(code), "{case}: {}", ran.all);
        assert!(!ran.all.contains("hush"), "{case}: {}", ran.all);
        assert!(code != 2 || ran.all.contains("AWS_ENDPOINT_URL"), "{case}: {}", ran.all);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn time_outs_and_attempts_are_those_of_the_limits() {
    let server = server().await;
    fill(&server, 1);
    let keys = [("AWS_ACCESS_KEY_ID", ID), ("AWS_SECRET_ACCESS_KEY", SECRET)];
    let with_limits = |endpoint: &str, limits: &str| {
        let site = Site::new(endpoint, "");
        let text = std::fs::read_to_string(site.path("s3sweep.toml")).unwrap();
        site.file(
            "s3sweep.toml",
            &text.replacen("[[source]]", &format!("[limits]\n{limits}\n[[source]]"), 1),
        );
        site
    };
    for (attempts, gets) in [(2, 2), (3, 3)] {
        server.counts().reset();
        server.fail(Request::Gets, 10, ServerFault::Reset);
        let site = with_limits(&server.endpoint_url(), &format!("get_attempts = {attempts}"));
        let ran = site.run(&["once"], &keys);
        assert_eq!((ran.code, server.counts().get()), (Some(1), gets), "{}", ran.all);
        server.heal();
    }
    server.set_delay(std::time::Duration::from_secs(2));
    let site = with_limits(&server.endpoint_url(), "first_byte_timeout = \"1S\"");
    let ran = site.run(&["preview"], &keys);
    assert_eq!(ran.code, Some(3), "{}", ran.all);
    assert!(ran.all.contains("no answer in time") && ran.all.contains("1s"), "{}", ran.all);
    // accepts and says nothing: TLS does not come to stand
    let silent = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("https://{}", silent.local_addr().unwrap());
    let ran = with_limits(&url, "connect_timeout = \"1S\"").run(&["preview"], &keys);
    assert_eq!(ran.code, Some(3), "{}", ran.all);
    assert!(ran.all.contains("no answer in time") && ran.all.contains("1s"), "{}", ran.all);
}
