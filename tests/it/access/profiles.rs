//! Endpoints that the shared AWS files name: used as other AWS tools use them, and not unencrypted.

use s3sweep::testing::S3Server;

use super::PAGE;
use super::server;
use super::site::{Ran, Site};
use super::stub::{Asked, Stub, ok};

/// The key that the server knows.
const KEYS: [(&str, &str); 2] =
    [("AWS_ACCESS_KEY_ID", "S3SWEEPTESTKEY"), ("AWS_SECRET_ACCESS_KEY", "s3sweep-test-secret")];
/// No machine has this name; a proxy is asked for it.
const ELSEWHERE: &str = "http://hush.invalid";

/// A store on this machine, and a proxy that plain HTTP to any other goes through.
struct Ground {
    store: S3Server,
    proxy: Stub,
}

impl Ground {
    async fn new() -> Self {
        Ground { store: server().await, proxy: Stub::start(|_| ok(PAGE)).await }
    }

    /// Runs `preview` of a source without an endpoint.
    fn preview(&self, settings: &str, profile: &str, env: &[(&str, &str)]) -> Ran {
        let site = Site::new("", settings);
        let text = std::fs::read_to_string(site.path("s3sweep.toml")).unwrap();
        site.file("s3sweep.toml", &text.replace("endpoint_url = \"\"\n", ""));
        let profile = site.file("config", profile);
        let proxy = self.proxy.url();
        let own = [
            ("AWS_CONFIG_FILE", profile.as_str()),
            ("AWS_SHARED_CREDENTIALS_FILE", "/nonexistent"),
            ("AWS_EC2_METADATA_DISABLED", "true"),
            ("HTTP_PROXY", &proxy),
            ("HTTPS_PROXY", &proxy),
        ];
        site.run(&["preview"], &[&own[..], env].concat())
    }
}

/// A name, settings, the profile, the environment, the exit code, and whether the store is asked.
type Case<'a> = (&'a str, &'a str, String, &'a [(&'a str, &'a str)], i32, bool);

fn lines(asked: &[Asked]) -> Vec<String> {
    asked.iter().map(|asked| format!("{} {}", asked.method, asked.target)).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn endpoints_of_a_profile_are_used_but_not_unencrypted() {
    let ground = Ground::new().await;
    let store = ground.store.endpoint_url();
    let services = |s3: &str, sts: &str| {
        format!(
            "services = own\n[services own]\ns3 =\n  endpoint_url = {s3}\nsts =\n  endpoint_url = {sts}\n"
        )
    };
    let plain = |url: &str| format!("[default]\nendpoint_url = {url}\n");
    let named = "credentials = { profile = \"audit\" }";
    let pair = "aws_access_key_id = S3SWEEPTESTKEY\naws_secret_access_key = s3sweep-test-secret\n";
    let ignored = ("AWS_IGNORE_CONFIGURED_ENDPOINT_URLS", "true");
    let at_store = ("AWS_ENDPOINT_URL_S3", store.as_str());
    let for_all = ("AWS_ENDPOINT_URL", store.as_str());
    let ignores = |profile: &str| format!("[{profile}]\n{pair}ignore_configured_endpoint_urls = true\n");
    let cases: &[Case] = &[
        ("this machine", "", plain(&store), &[], 0, true),
        ("services", "", format!("[default]\n{}", services(&store, &store)), &[], 0, true),
        ("the nearer one", "", format!("{}{}", plain(ELSEWHERE), services(&store, &store)), &[], 0, true),
        ("a named profile", named, format!("[profile audit]\n{pair}endpoint_url = {store}\n"), &[], 0, true),
        ("another machine", "", plain(ELSEWHERE), &[], 3, false),
        (
            "another machine in services",
            "",
            format!("[default]\n{}", services(ELSEWHERE, &store)),
            &[],
            3,
            false,
        ),
        ("another machine's STS", "", format!("[default]\n{}", services(&store, ELSEWHERE)), &[], 3, false),
        (
            "a named one elsewhere",
            named,
            format!("[profile audit]\n{pair}endpoint_url = {ELSEWHERE}\n"),
            &[],
            3,
            false,
        ),
        ("a variable elsewhere", "", plain(&store), &[("AWS_ENDPOINT_URL_S3", ELSEWHERE)], 2, false),
        ("a variable first", "", plain(&store), &[at_store], 0, true),
        ("a password", "", plain("https://u:hush@store.invalid"), &[], 3, false),
        ("no address", "", plain("nonsense"), &[], 3, false),
    ];
    for (case, settings, profile, variables, code, is_asked) in cases {
        ground.store.counts().reset();
        let ran = ground.preview(settings, profile, &[&KEYS[..], variables].concat());
        assert_eq!(ran.code, Some(*code), "{case}: {}", ran.all);
        assert_eq!(ground.store.counts().list() > 0, *is_asked, "{case}");
        assert_eq!(lines(&ground.proxy.asked()), [""; 0], "{case}: nothing leaves this machine");
        assert!(!ran.all.contains("hush"), "{case}: {}", ran.all);
        if *code == 3 {
            assert!(ran.all.contains("in the shared AWS files, for S"), "{case}: {}", ran.all);
        }
    }
    // left out by the profile, unless the environment says otherwise
    let heeded = [at_store, ("AWS_IGNORE_CONFIGURED_ENDPOINT_URLS", "false")];
    for (settings, profile, variables, is_asked) in [
        ("", ignores("default"), &[at_store][..], false),
        ("", ignores("default"), &[for_all], false),
        (named, ignores("profile audit"), &[at_store], false),
        (named, ignores("profile audit"), &heeded, true),
    ] {
        let before = ground.proxy.asked().len();
        ground.store.counts().reset();
        let ran = ground.preview(settings, &profile, &[&KEYS[..], variables].concat());
        assert_eq!(ran.code, Some(if is_asked { 0 } else { 3 }), "{profile}: {}", ran.all);
        assert_eq!(ground.store.counts().list() > 0, is_asked, "{profile}");
        let asked = ground.proxy.asked().split_off(before);
        assert_ne!(asked.is_empty(), !is_asked, "{profile}");
        assert!(asked.iter().all(|asked| asked.target == "s3.us-east-1.amazonaws.com:443"), "{asked:?}");
    }
    let before = ground.proxy.asked().len();
    // allowed by the source, and left out by the environment
    let ran = ground.preview("allow_http = true", &plain("http://store.invalid"), &KEYS);
    assert_eq!(ran.code, Some(0), "{}", ran.all);
    let asked = ground.proxy.asked();
    assert!(asked[before].target.starts_with("http://store.invalid/acme/?"), "{asked:?}");
    let ran = ground.preview("", &plain(ELSEWHERE), &[&KEYS[..], &[ignored]].concat());
    assert_eq!(ran.code, Some(3), "{}", ran.all);
    let asked = ground.proxy.asked().split_off(asked.len());
    assert!(asked.iter().all(|asked| asked.target == "s3.us-east-1.amazonaws.com:443"), "{asked:?}");
    assert!(!asked.is_empty());
}

/// What no setting names and no rule of the settings sees.
#[tokio::test(flavor = "multi_thread")]
async fn nobody_else_is_asked_unencrypted_for_credentials() {
    let ground = Ground::new().await;
    let store = ground.store.endpoint_url();
    let role = "role_arn = arn:aws:iam::111122223333:role/logs\nsource_profile = base\n[profile base]\n\
                aws_access_key_id = BASEKEY\naws_secret_access_key = base\n";
    let role = format!("[default]\n{role}");
    let settings = format!("endpoint_url = \"{store}\"\n");
    for (case, profile, variables) in [
        (
            "metadata",
            "",
            &[("AWS_EC2_METADATA_SERVICE_ENDPOINT", ELSEWHERE), ("AWS_EC2_METADATA_DISABLED", "false")][..],
        ),
        // the SDK takes this role on, and does not leave its endpoint out
        (
            "STS",
            role.as_str(),
            &[("AWS_IGNORE_CONFIGURED_ENDPOINT_URLS", "true"), ("AWS_ENDPOINT_URL_STS", ELSEWHERE)],
        ),
    ] {
        let before = ground.proxy.asked().len();
        let ran = ground.preview(&settings, profile, variables);
        assert_eq!(ran.code, Some(3), "{case}: {}", ran.all);
        let words = "not asked over plain HTTP, which needs allow_http";
        assert!(ran.all.contains(words), "{case}: {}", ran.all);
        let told = "hush.invalid would be asked over plain HTTP, which is not encrypted";
        assert_eq!(ran.all.contains(told), case == "STS", "{case}: {}", ran.all);
        assert_eq!(ground.proxy.asked().len(), before, "{case}: nothing leaves this machine");

        ground.preview(&format!("{settings}allow_http = true\n"), profile, variables);
        let asked = ground.proxy.asked().split_off(before);
        assert!(asked.iter().any(|asked| asked.target.starts_with(ELSEWHERE)), "{case}: {asked:?}");
    }
}

/// `check` tells the way that requests take.
#[tokio::test(flavor = "multi_thread")]
async fn check_names_the_endpoint_of_the_profile() {
    let store = server().await;
    let site = Site::new("", "credentials = { profile = \"audit\" }");
    let text = std::fs::read_to_string(site.path("s3sweep.toml")).unwrap();
    site.file("s3sweep.toml", &text.replace("endpoint_url = \"\"\n", ""));
    let profile = |url: &str| {
        let pair = "aws_access_key_id = S3SWEEPTESTKEY\naws_secret_access_key = s3sweep-test-secret\n";
        site.file("config", &format!("[profile audit]\n{pair}endpoint_url = {url}\n"))
    };
    let url = store.endpoint_url();
    let path = profile(&url);
    let env = [("AWS_CONFIG_FILE", path.as_str()), ("AWS_SHARED_CREDENTIALS_FILE", "/nonexistent")];
    let ran = site.run(&["check", "-v"], &env);
    assert_eq!(ran.code, Some(0), "{}", ran.all);
    assert!(ran.all.contains(&format!("{url} has an address")), "{}", ran.all);
    profile("http://127.0.0.1:1");
    let ran = site.run(&["check"], &env);
    assert!(ran.all.contains("The endpoint is http://127.0.0.1:1."), "{}", ran.all);
    profile(ELSEWHERE);
    let ran = site.run(&["check"], &env);
    assert_eq!(ran.code, Some(3), "{}", ran.all);
    let words = "the `endpoint_url` of profile `audit` in the shared AWS files, for S3, is not encrypted";
    assert!(ran.all.contains(words) && ran.all.contains("SettingsRefused"), "{}", ran.all);
}
