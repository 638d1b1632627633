//! Settings as an operator types them, by what they change on the wire: each case fails where its
//! setting is not heard.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use chrono::{DateTime, Utc};
use s3sweep::testing::{Asked as Request, S3Server, ServerFault};
use tokio::time::Instant;

use super::aws::{Aws, WORD};
use super::site::{Ran, Site};
use super::stub::{Stub, ok};
use super::{PAGE, grant_role, server};

const HOP: &str = "arn:aws:iam::111122223333:role/hop";
const LOGS: &str = "arn:aws:iam::444455556666:role/logs";
const KEYS: [(&str, &str); 2] =
    [("AWS_ACCESS_KEY_ID", "S3SWEEPTESTKEY"), ("AWS_SECRET_ACCESS_KEY", "s3sweep-test-secret")];
/// No credentials but those of the test, and no metadata to ask for others.
const NONE: [(&str, &str); 3] = [
    ("AWS_CONFIG_FILE", "/nonexistent"),
    ("AWS_SHARED_CREDENTIALS_FILE", "/nonexistent"),
    ("AWS_EC2_METADATA_DISABLED", "true"),
];

/// A source without the settings that [`Site::new`] gives.
fn bare(settings: &str) -> Site {
    let site = Site::new("", settings);
    let text = std::fs::read_to_string(site.path("s3sweep.toml")).unwrap();
    let text = text.replace("region = \"us-east-1\"\nendpoint_url = \"\"\npath_style = true\n", "");
    site.file("s3sweep.toml", &text);
    site
}

fn preview(site: &Site, env: &[(&str, &str)]) -> Ran {
    site.run(&["preview"], &[&NONE[..], env].concat())
}

#[tokio::test(flavor = "multi_thread")]
async fn what_requests_carry_is_as_typed() {
    let store = Stub::start(|_| ok(PAGE)).await;
    let endpoint = format!("endpoint_url = \"{}\"", store.url());
    for (setting, part) in [
        ("region = \"eu-north-1\"", "/eu-north-1/s3/aws4_request"),
        ("requester_pays = true", "\r\nx-amz-request-payer: requester\r\n"),
        ("expected_bucket_owner = \"111122223333\"", "\r\nx-amz-expected-bucket-owner: 111122223333\r\n"),
        ("list_page_size = 7", "max-keys=7&"),
        ("prefix = \"logs\"", "prefix=logs"),
    ] {
        let before = store.asked().len();
        let more = if setting.starts_with("prefix") { "" } else { setting };
        let ran = preview(&bare(&format!("{endpoint}\n{more}")), &KEYS);
        assert_eq!(ran.code, Some(0), "{setting}: {}", ran.all);
        let asked = store.asked().split_off(before);
        assert!(
            !asked.is_empty() && asked.iter().all(|asked| asked.text.contains(part)),
            "{setting}: {asked:?}"
        );
    }
    // without the setting the region is that of other AWS tools, at an endpoint of one's own too
    for (region, part) in [
        (&[("AWS_REGION", "eu-north-1")][..], "/eu-north-1/s3/aws4_request"),
        (&[], "/us-east-1/s3/aws4_request"),
    ] {
        let ran = preview(&bare(&endpoint), &[&KEYS[..], region].concat());
        assert_eq!(ran.code, Some(0), "{region:?}: {}", ran.all);
        let last = store.asked().pop().unwrap();
        assert!(last.text.contains(part), "{region:?}: {last:?}");
    }
    let key = "access_key_id = \"AKIDEXAMPLE\", secret_access_key = \"hush\", session_token = \"hush-token\"";
    let ran = preview(&bare(&format!("{endpoint}\ncredentials = {{ {key} }}")), &KEYS);
    assert_eq!(ran.code, Some(0), "{}", ran.all);
    let last = store.asked().pop().unwrap();
    assert_eq!(
        (last.signer(), last.header("x-amz-security-token")),
        (Some("AKIDEXAMPLE"), Some("hush-token"))
    );
}

/// What no request can be made of is told at once, and not as an address where nobody listens.
#[tokio::test(flavor = "multi_thread")]
async fn settings_that_make_no_request_are_refused() {
    let store = Stub::start(|_| ok(PAGE)).await;
    let endpoint = format!("endpoint_url = \"{}\"", store.url());
    let token =
        "access_key_id = \"AKIDEXAMPLE\", secret_access_key = \"hush\", session_token = \"hush\\nhush\"";
    for (case, settings, variables) in [
        ("FIPS of the environment", endpoint.clone(), &[("AWS_USE_FIPS_ENDPOINT", "true")][..]),
        ("a port that is none", "endpoint_url = \"https://127.0.0.1:99999\"".to_owned(), &[]),
        ("a line break", format!("{endpoint}\ncredentials = {{ {token} }}"), &[]),
    ] {
        let site = bare(&settings);
        let ran = preview(&site, &[&KEYS[..], variables].concat());
        assert_eq!(ran.code, Some(3), "{case}: {}", ran.all);
        assert!(ran.all.contains("1 LIST request") && !ran.all.contains("hush"), "{case}: {}", ran.all);
        let ran = site.run(&["check"], &[&NONE[..], &KEYS, variables].concat());
        assert_eq!(ran.code, Some(3), "{case}: {}", ran.all);
        assert!(ran.all.contains("SettingsRefused"), "{case}: {}", ran.all);
    }
    assert!(store.asked().is_empty());
}

/// The server looks at the signature.
#[tokio::test(flavor = "multi_thread")]
async fn the_secret_signs() {
    let server = server().await;
    for (secret, code) in [("s3sweep-test-secret", 0), ("another", 3)] {
        let settings = format!(
            "endpoint_url = \"{}\"\ncredentials = {{ access_key_id = \"S3SWEEPTESTKEY\", secret_access_key = \"{secret}\" }}",
            server.endpoint_url()
        );
        let ran = preview(&bare(&settings), &[]);
        assert_eq!(ran.code, Some(code), "{secret}: {}", ran.all);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn endpoints_of_aws_are_those_typed_and_the_way_too() {
    let aws = Aws::start(|_| ok(PAGE)).await;
    let address = aws.proxy.address;
    let way = format!("url = \"http://{address}\", user = \"user\", password = \"{WORD}\"");
    let bundle = format!("ca_bundle = \"{}\"", aws.bundle());
    for (case, settings, code, host) in [
        ("none", "", 0, "acme.s3.us-east-1.amazonaws.com"),
        ("a region", "region = \"eu-central-1\"", 0, "acme.s3.eu-central-1.amazonaws.com"),
        ("FIPS", "use_fips = true", 0, "acme.s3-fips.us-east-1.amazonaws.com"),
        // these names are in no certificate of the test
        ("dual stack", "dual_stack = true", 3, "acme.s3.dualstack.us-east-1.amazonaws.com"),
        ("path style", "path_style = true", 0, "s3.us-east-1.amazonaws.com"),
    ] {
        let before = aws.proxy.asked().len();
        let ran = preview(&bare(&format!("{settings}\n{bundle}\nproxy = {{ {way} }}")), &KEYS);
        assert_eq!(ran.code, Some(code), "{case}: {}", ran.all);
        let asked = aws.proxy.asked().split_off(before);
        let want = format!("{host}:443");
        assert!(!asked.is_empty() && asked.iter().all(|asked| asked.target == want), "{case}: {asked:?}");
    }

    let before = aws.proxy.asked().len();
    // a label of more than 63 letters is refused before any name server is asked
    let nobody = format!("{}.invalid", "x".repeat(64));
    for (case, proxy, code, is_asked) in [
        ("another user", format!("url = \"http://{address}\", user = \"u\", password = \"{WORD}\""), 3, true),
        (
            "another password",
            format!("url = \"http://{address}\", user = \"user\", password = \"x\""),
            3,
            true,
        ),
        ("no login", format!("url = \"http://{address}\""), 3, true),
        ("a login in the address", format!("url = \"http://user:{WORD}@{address}\""), 0, true),
        ("excepted", format!("{way}, no_proxy = [\"{nobody}\"]"), 3, false),
    ] {
        let before = aws.proxy.asked().len();
        let host = if is_asked { "acme.s3.us-east-1.amazonaws.com" } else { &*nobody };
        let endpoint = if is_asked { String::new() } else { format!("endpoint_url = \"https://{host}\"") };
        let ran = preview(&bare(&format!("{endpoint}\n{bundle}\nproxy = {{ {proxy} }}")), &KEYS);
        assert_eq!(ran.code, Some(code), "{case}: {}", ran.all);
        assert_eq!(aws.proxy.asked().len() > before, is_asked, "{case}: {}", ran.all);
    }
    assert!(aws.proxy.asked().len() > before);
    // without the bundle nobody here is trusted
    let ran = preview(&bare(&format!("proxy = {{ {way} }}")), &KEYS);
    assert_eq!(ran.code, Some(3), "{}", ran.all);
    assert!(ran.all.contains("ca_bundle"), "{}", ran.all);
}

#[tokio::test(flavor = "multi_thread")]
async fn addresses_are_of_the_version_typed() {
    let store = Stub::start(|_| ok(PAGE)).await;
    for (version, code, lists) in [("4", 0, 1), ("6", 3, 1), ("auto", 0, 2)] {
        let port = store.address.port();
        let settings = format!(
            "endpoint_url = \"http://localhost:{port}\"\npath_style = true\nip_version = \"{version}\""
        );
        let ran = preview(&bare(&settings), &KEYS);
        assert_eq!((ran.code, store.asked().len()), (Some(code), lists), "{version}: {}", ran.all);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn plain_http_goes_to_other_machines_where_it_is_allowed() {
    let proxy = Stub::start(|_| ok(PAGE)).await;
    let way = format!("proxy = {{ url = \"{}\" }}", proxy.url());
    let settings = format!("endpoint_url = \"http://store.invalid\"\npath_style = true\n{way}");
    let ran = preview(&bare(&settings), &KEYS);
    assert_eq!((ran.code, proxy.asked().len()), (Some(2), 0), "{}", ran.all);
    let ran = preview(&bare(&format!("{settings}\nallow_http = true")), &KEYS);
    assert_eq!((ran.code, proxy.asked().len()), (Some(0), 1), "{}", ran.all);
}

#[tokio::test(flavor = "multi_thread")]
async fn roles_are_taken_on_as_typed() {
    let (server, sts) = (server().await, Stub::start(grant_role).await);
    let (endpoint, url) = (format!("endpoint_url = \"{}\"", server.endpoint_url()), sts.url());
    let key = "access_key_id = \"BASEKEY\", secret_access_key = \"base\"";
    let base = format!("{key}, sts_endpoint_url = \"{url}\", role_arn = \"{LOGS}\"");
    let folder = bare("");
    let token = folder.file("token", "hush.web.token");
    for (setting, credentials, calls, part) in [
        ("role_arn", base.clone(), 1, "RoleArn=arn%3Aaws%3Aiam%3A%3A444455556666%3Arole%2Flogs"),
        (
            "a list",
            base.replace(&format!("\"{LOGS}\""), &format!("[\"{HOP}\", \"{LOGS}\"]")),
            2,
            "Action=AssumeRole&",
        ),
        (
            "role_session_name",
            format!("{base}, role_session_name = \"nightly\""),
            1,
            "RoleSessionName=nightly",
        ),
        ("role_duration", format!("{base}, role_duration = \"20M\""), 1, "DurationSeconds=1200"),
        ("external_id", format!("{base}, external_id = \"hush-external\""), 1, "ExternalId=hush-external"),
        (
            "web_identity_token_file",
            base.replace(key, &format!("web_identity_token_file = \"{token}\"")),
            1,
            "WebIdentityToken=hush.web.token",
        ),
    ] {
        let before = sts.asked().len();
        let ran = preview(&bare(&format!("{endpoint}\ncredentials = {{ {credentials} }}")), &[]);
        assert_eq!(ran.code, Some(0), "{setting}: {}", ran.all);
        let asked = sts.asked().split_off(before);
        assert_eq!(asked.len(), calls, "{setting}: {asked:?}");
        assert!(asked.iter().all(|asked| asked.text.contains(part)), "{setting}: {asked:?}");
    }
    let ran = preview(
        &bare(&format!("{endpoint}\ncredentials = {{ {base} }}")),
        &[("AWS_REGION", "us-gov-west-1")],
    );
    assert_eq!(ran.code, Some(0), "{}", ran.all);
    let last = sts.asked().pop().unwrap();
    assert!(last.text.contains("/us-gov-west-1/sts/aws4_request"), "{last:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_profile_typed_is_used() {
    let server = server().await;
    let settings =
        format!("endpoint_url = \"{}\"\ncredentials = {{ profile = \"audit\" }}", server.endpoint_url());
    let site = bare(&settings);
    let pair = |name: &str, id: &str, secret: &str| {
        format!("[{name}]\naws_access_key_id = {id}\naws_secret_access_key = {secret}\n")
    };
    let text = pair("default", "NOBODY", "x") + &pair("audit", "S3SWEEPTESTKEY", "s3sweep-test-secret");
    let file = site.file("credentials", &text);
    let ran = preview(&site, &[("AWS_SHARED_CREDENTIALS_FILE", &file)]);
    assert_eq!(ran.code, Some(0), "{}", ran.all);
}

fn written() -> DateTime<Utc> {
    "2024-05-01T06:00:00Z".parse().unwrap()
}

/// Runs `once` over one object with these limits.
fn once(server: &S3Server, limits: &str) -> (Ran, Duration) {
    let site = bare(&format!("endpoint_url = \"{}\"", server.endpoint_url()));
    let text = std::fs::read_to_string(site.path("s3sweep.toml")).unwrap();
    site.file("s3sweep.toml", &text.replacen("[[source]]", &format!("[limits]\n{limits}\n[[source]]"), 1));
    let begun = Instant::now();
    let ran = site.run(&["once"], &[&NONE[..], &KEYS].concat());
    (ran, begun.elapsed())
}

/// Less than the 30 s of the default, and much more than what is set.
const SOON: Duration = Duration::from_secs(20);

#[tokio::test(flavor = "multi_thread")]
async fn a_stalled_body_is_fetched_on_after_the_time_typed() {
    let server = server().await;
    server.put("acme", "logs/one.json", "{\"t\":1}\n".repeat(200), written());
    server.fail(Request::Gets, 1, ServerFault::StallBody(800));
    let (ran, took) = once(&server, "stall_timeout = \"1S\"");
    assert_eq!((ran.code, server.counts().get()), (Some(0), 2), "{}", ran.all);
    assert!(took < SOON, "{took:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_object_has_the_time_typed() {
    let server = server().await;
    server.put("acme", "logs/one.json", "{\"t\":1}\n".repeat(200), written());
    server.fail(Request::Gets, 100, ServerFault::StallBody(800));
    let (ran, took) = once(&server, "object_timeout = \"2S\"");
    assert_eq!(ran.code, Some(1), "{}", ran.all);
    assert!(ran.all.contains("object_timeout, 2 s") && took < SOON, "{took:?}: {}", ran.all);
}

/// Notes the most requests of a kind that are under way at once.
#[allow(
    clippy::disallowed_methods,
    reason = "a hook of the server holds its request up, on a worker of its own"
)]
fn most(server: &S3Server, kind: Request) -> Arc<AtomicU32> {
    let (now, most) = (AtomicU32::new(0), Arc::new(AtomicU32::new(0)));
    let noted = most.clone();
    let hook = move || {
        noted.fetch_max(now.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
        std::thread::sleep(Duration::from_millis(100));
        now.fetch_sub(1, Ordering::SeqCst);
    };
    server.fail(kind, 1_000, ServerFault::before(hook));
    most
}

#[tokio::test(flavor = "multi_thread", worker_threads = 12)]
async fn as_many_requests_are_under_way_as_typed() {
    for (limits, is_one) in [
        ("list_concurrency = 1\nget_concurrency = 4", [true, false]),
        ("list_concurrency = 4\nget_concurrency = 1", [false, true]),
    ] {
        let server = server().await;
        for number in 0..8 {
            for key in [format!("logs/{number}/2024/x.json"), format!("logs/0/2024/{number}.json")] {
                server.put("acme", key, "{\"t\":1}\n", written());
            }
        }
        let (lists, gets) = (most(&server, Request::Lists), most(&server, Request::Gets));
        let site = bare(&format!("endpoint_url = \"{}\"", server.endpoint_url()));
        let text = std::fs::read_to_string(site.path("s3sweep.toml")).unwrap();
        let text = text.replace("prefix = \"logs\"", "prefix = \"logs/*/{YYYY}\"");
        let text = text.replacen("[[source]]", &format!("[limits]\n{limits}\n[[source]]"), 1);
        site.file("s3sweep.toml", &text);
        let ran = site.run(&["once"], &[&NONE[..], &KEYS].concat());
        assert_eq!((ran.code, server.counts().get()), (Some(0), 16), "{limits}: {}", ran.all);
        let seen = [lists, gets].map(|most| most.load(Ordering::SeqCst));
        assert_eq!(seen.map(|most| most == 1), is_one, "{limits}: {seen:?}");
        assert!(seen.iter().all(|most| (1..=4).contains(most)), "{limits}: {seen:?}");
    }
}
