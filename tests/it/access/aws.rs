//! AWS itself, played by the test: a proxy leads the names of its endpoints to a server with their
//! certificates, signed by an authority of the test.

use s3sweep::bucket::GetRequest;
use s3sweep::config::{Access, Proxy, ProxyServer, Roles, Secret};

use super::site::Site;
use super::stub::{Answer, Asked, Authority, Stub, ok};
use super::{PAGE, access, keys, list, open, role_of};

const LOGS: &str = "arn:aws:iam::111122223333:role/logs";

/// The password of the proxy.
pub const WORD: &str = "hush-word";

/// The endpoints, and the way to them.
pub struct Aws {
    pub service: Stub,
    _tls: Stub,
    pub proxy: Stub,
    folder: tempfile::TempDir,
}

impl Aws {
    pub async fn start(answer: impl Fn(&Asked) -> Answer + Send + Sync + 'static) -> Self {
        let service = Stub::start(answer).await;
        let authority = Authority::new();
        let regions = ["us-east-1", "eu-central-1", "ap-south-1"];
        let mut names: Vec<String> =
            regions.iter().map(|region| format!("*.s3.{region}.amazonaws.com")).collect();
        names.extend(["*.us-east-1.amazonaws.com", "*.s3-fips.us-east-1.amazonaws.com"].map(str::to_owned));
        let names: Vec<_> = names.iter().map(String::as_str).collect();
        let tls = Stub::tls(&authority.sign_all(&names, 2098), service.address).await;
        let proxy = Stub::proxy("user", WORD, tls.address).await;
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("ca.pem"), authority.pem()).unwrap();
        Aws { service, _tls: tls, proxy, folder }
    }

    /// The certificates to trust.
    pub fn bundle(&self) -> String {
        self.folder.path().join("ca.pem").display().to_string()
    }

    /// The hosts that the proxy was asked for, each once.
    pub fn hosts(&self) -> Vec<String> {
        let mut hosts: Vec<String> = Vec::new();
        for asked in self.proxy.asked() {
            let host = asked.target.trim_end_matches(":443").to_owned();
            if !hosts.contains(&host) {
                hosts.push(host);
            }
        }
        hosts
    }

    /// Access by this way, to AWS's own endpoints.
    fn access(&self) -> Access {
        let login = Some(("user".to_owned(), Secret::new(WORD.to_owned())));
        let server = ProxyServer { url: self.proxy.url(), login };
        Access {
            endpoint_url: None,
            path_style: false,
            ca_bundle: Some(self.bundle().into()),
            proxy: Proxy {
                is_configured: true,
                http: Some(server.clone()),
                https: Some(server),
                no_proxy: None,
            },
            ..access("")
        }
    }

    /// The environment that leads here.
    pub fn environment(&self) -> Vec<(&'static str, String)> {
        vec![
            ("HTTPS_PROXY", format!("http://user:{WORD}@{}", self.proxy.address)),
            ("AWS_CA_BUNDLE", self.bundle()),
            ("AWS_ACCESS_KEY_ID", "S3SWEEPTESTKEY".to_owned()),
            ("AWS_SECRET_ACCESS_KEY", "s3sweep-test-secret".to_owned()),
            ("AWS_EC2_METADATA_DISABLED", "true".to_owned()),
        ]
    }
}

#[tokio::test]
async fn an_endpoint_of_s3_is_none_of_sts() {
    let aws = Aws::start(|_| ok(role_of("AssumeRole", "S3SWEEPTESTKEY", "s3sweep-test-secret", "t"))).await;
    let store = super::server().await;
    let roles =
        Roles { arns: vec![LOGS.into()], session_name: "s".into(), duration: None, external_id: None };
    let access = Access {
        endpoint_url: Some(store.endpoint_url()),
        path_style: true,
        credentials: keys("BASEKEY", "base"),
        roles: Some(roles),
        ..aws.access()
    };
    list(&access).await.expect("the role's key is the store's");
    assert_eq!(aws.hosts(), ["sts.us-east-1.amazonaws.com"]);
    assert_eq!((aws.service.asked().len(), store.counts().list()), (1, 1));
    let asked = &aws.service.asked()[0];
    assert!(!asked.text.contains("ExternalId") && !asked.text.contains("DurationSeconds"), "{}", asked.text);
}

#[tokio::test]
async fn aws_is_asked_for_checksums() {
    let aws = Aws::start(|_| ok(PAGE)).await;
    let get = GetRequest { key: "k".into(), if_match: "e".into(), from: 0 };
    open(&aws.access()).await.unwrap().get(&get).await.map(|_| ()).unwrap();
    assert_eq!(aws.service.asked()[0].header("x-amz-checksum-mode"), Some("ENABLED"));
}

/// Buckets lie where their names say; anybody else is sent there.
fn regional(asked: &Asked) -> Answer {
    let host = asked.header("host").unwrap_or_default();
    let own = host.split('.').next().and_then(|bucket| bucket.strip_prefix("acme-")).unwrap_or_default();
    let signed = asked.text.contains(&format!("/{own}/s3/aws4_request"));
    if signed && host == format!("acme-{own}.s3.{own}.amazonaws.com") {
        return ok(PAGE);
    }
    let body = "<Error><Code>PermanentRedirect</Code><Message>elsewhere</Message></Error>";
    (301, vec![("x-amz-bucket-region", own.to_owned())], body.to_owned())
}

#[tokio::test(flavor = "multi_thread")]
async fn one_instance_reads_buckets_of_several_regions() {
    let aws = Aws::start(regional).await;
    let site = Site::new("", "");
    let mut text = "state_dir = \"state\"\nsink = { path = \"out\" }\n".to_owned();
    for bucket in ["acme-eu-central-1", "acme-ap-south-1", "acme-us-east-1"] {
        text.push_str(&format!(
            "[[source]]\nname = \"{bucket}\"\nlog_type = \"jsonl\"\nbucket = \"{bucket}\"\nprefix = \"logs\"\n\
             timestamp_field = \"t\"\n"
        ));
    }
    site.file("s3sweep.toml", &text);
    let environment = aws.environment();
    let environment: Vec<_> = environment.iter().map(|(name, value)| (*name, value.as_str())).collect();
    let ran = site.run(&["once"], &environment);
    assert_eq!(ran.code, Some(0), "{}", ran.all);
    let mut hosts = aws.hosts();
    // who we are
    hosts.retain(|host| host != "sts.us-east-1.amazonaws.com");
    hosts.sort();
    let want = [
        "acme-ap-south-1.s3.ap-south-1.amazonaws.com",
        "acme-ap-south-1.s3.us-east-1.amazonaws.com",
        "acme-eu-central-1.s3.eu-central-1.amazonaws.com",
        "acme-eu-central-1.s3.us-east-1.amazonaws.com",
        "acme-us-east-1.s3.us-east-1.amazonaws.com",
    ];
    assert_eq!(hosts, want);
    let sent_on =
        aws.service.asked().iter().filter(|asked| asked.method == "GET" && regional(asked).0 == 301).count();
    assert_eq!(sent_on, 2, "each bucket is looked for once");

    // a region that is set is an order, also where it is wrong
    site.file("s3sweep.toml", &text.replace("prefix", "region = \"us-east-1\"\nprefix"));
    let ran = site.run(&["check"], &environment);
    assert_eq!(ran.code, Some(3), "{}", ran.all);
    assert_eq!(ran.all.matches("the bucket lies in region").count(), 2, "{}", ran.all);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_environment_may_ask_for_other_endpoints() {
    let aws = Aws::start(|_| ok(PAGE)).await;
    let site = Site::new("", "");
    let text = std::fs::read_to_string(site.path("s3sweep.toml")).unwrap();
    site.file("s3sweep.toml", &text.replace("endpoint_url = \"\"\npath_style = true\n", ""));
    let environment = aws.environment();
    let mut environment: Vec<_> = environment.iter().map(|(name, value)| (*name, value.as_str())).collect();
    environment.push(("AWS_USE_FIPS_ENDPOINT", "true"));
    let ran = site.run(&["preview"], &environment);
    assert_eq!(ran.code, Some(0), "{}", ran.all);
    assert_eq!(aws.hosts(), ["acme.s3-fips.us-east-1.amazonaws.com"]);
}
