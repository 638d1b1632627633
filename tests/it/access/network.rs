//! Proxies and certificates.

use s3sweep::aws::{self, Timeouts};
use s3sweep::config::{Access, Proxy, ProxyServer, Secret};
use s3sweep::failure::Class;
use sha2::{Digest as _, Sha256};

use super::stub::{Authority, Stub};
use super::{access, list, server};

const NAME: &str = "s3.example.test";
/// What needs encoding in an address, and what would end it early.
const PASSWORD: &str = "p@ss:w/ö%2d#?& +\\";

fn through(proxy: &Stub, password: &str) -> Proxy {
    let login = Some(("us@er/1".to_owned(), Secret::new(password.to_owned())));
    let server = ProxyServer { url: proxy.url(), login };
    Proxy { is_configured: true, http: Some(server.clone()), https: Some(server), no_proxy: None }
}

#[tokio::test]
async fn the_proxy_is_used_with_its_login() {
    let folder = tempfile::tempdir().unwrap();
    let bundle = folder.path().join("ca.pem");
    let (server, authority) = (server().await, Authority::new());
    std::fs::write(&bundle, authority.pem()).unwrap();
    let behind = server.endpoint_url()["http://".len()..].parse().unwrap();
    let tls = Stub::tls(&authority.sign(NAME, 2098), behind).await;
    let proxy = Stub::proxy("us@er/1", PASSWORD, tls.address).await;
    let mut access = Access {
        ca_bundle: Some(bundle),
        proxy: through(&proxy, PASSWORD),
        ..access(&format!("https://{NAME}"))
    };
    list(&access).await.expect("nobody but the proxy knows this host");
    let asked = proxy.asked();
    assert_eq!((asked[0].method.as_str(), asked[0].target.as_str()), ("CONNECT", "s3.example.test:443"));

    let shown = aws::server_certificates(&access, "acme", Timeouts::default()).await.unwrap();
    assert_eq!((shown.server.as_str(), shown.proxy), ("s3.example.test:443", Some(proxy.url())));
    assert_eq!(shown.distrust, None);

    access.proxy = through(&proxy, "hush");
    let error = list(&access).await.expect_err("wrong password");
    assert_eq!(error.class, Class::Unreachable, "{error}");
    assert!(error.message.contains("user and password") && !error.message.contains("hush"), "{error}");

    let before = proxy.asked().len();
    access.proxy.no_proxy = Some("10.0.0.0/8,.example.test".into());
    list(&access).await.expect_err("nobody knows this host");
    assert_eq!(proxy.asked().len(), before, "asked directly");
}

#[tokio::test]
async fn endpoints_of_aws_are_those_of_the_settings() {
    // leads nowhere: the names alone are looked at
    let proxy = Stub::proxy("us@er/1", PASSWORD, "127.0.0.1:1".parse().unwrap()).await;
    let plain =
        Access { endpoint_url: None, path_style: false, proxy: through(&proxy, PASSWORD), ..access("") };
    let cases = [
        (plain.clone(), "acme.s3.us-east-1.amazonaws.com:443"),
        (Access { path_style: true, ..plain.clone() }, "s3.us-east-1.amazonaws.com:443"),
        (Access { dual_stack: true, ..plain.clone() }, "acme.s3.dualstack.us-east-1.amazonaws.com:443"),
        (Access { use_fips: true, ..plain.clone() }, "acme.s3-fips.us-east-1.amazonaws.com:443"),
        (
            Access { use_fips: true, dual_stack: true, region: Some("us-gov-west-1".into()), ..plain },
            "acme.s3-fips.dualstack.us-gov-west-1.amazonaws.com:443",
        ),
    ];
    for (access, want) in cases {
        list(&access).await.expect_err("it leads nowhere");
        assert_eq!(proxy.asked().last().unwrap().target, want);
        let _ = aws::server_certificates(&access, "acme", Timeouts::default()).await;
        assert_eq!(proxy.asked().last().unwrap().target, want, "the certificates are those of the same host");
    }
}

#[tokio::test]
async fn private_certificates_are_trusted_when_named() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str, bytes: &[u8]| {
        let path = folder.path().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, bytes).unwrap();
        path
    };
    let (server, authority) = (server().await, Authority::new());
    let behind = server.endpoint_url()["http://".len()..].parse().unwrap();
    let good = authority.sign("localhost", 2098);
    let tls = Stub::tls(&good, behind).await;
    let url = format!("https://localhost:{}", tls.address.port());
    let access = access(&url);
    for (case, path) in [
        ("PEM", at("ca.pem", authority.pem().as_bytes())),
        ("DER", at("ca.der", &authority.der())),
        ("among others", at("both.pem", [Authority::new().pem(), authority.pem()].concat().as_bytes())),
        ("a folder", at("ca.d/ca.crt", authority.pem().as_bytes()).parent().unwrap().to_owned()),
    ] {
        let access = Access { ca_bundle: Some(path), ..access.clone() };
        list(&access).await.unwrap_or_else(|error| panic!("{case}: {error}"));
        let shown = aws::server_certificates(&access, "acme", Timeouts::default()).await.unwrap();
        let digest: String = Sha256::digest(&good.der).iter().map(|byte| format!("{byte:02X}")).collect();
        assert_eq!(shown.chain[0].sha256.replace(':', ""), digest);
        assert_eq!((shown.distrust, shown.protocol.as_deref()), (None, Some("TLSv1_3")), "{case}");
    }

    let bundle = Some(folder.path().join("ca.pem"));
    let trusting = Access { ca_bundle: bundle, ..access.clone() };
    let wrong_name = Stub::tls(&authority.sign("elsewhere.example.test", 2098), behind).await;
    let expired = Stub::tls(&authority.sign("localhost", 2020), behind).await;
    for (case, tls, access, advice) in [
        ("unknown authority", &tls, &access, "ca_bundle"),
        ("wrong name", &wrong_name, &trusting, "for another name"),
        ("expired", &expired, &trusting, "has expired"),
    ] {
        let endpoint_url = Some(format!("https://localhost:{}", tls.address.port()));
        let access = Access { endpoint_url, ..access.clone() };
        let error = list(&access).await.expect_err(case);
        assert_eq!(error.class, Class::Unreachable, "{case}: {error}");
        assert!(error.message.contains(advice), "{case}: {error}");
        let shown = aws::server_certificates(&access, "acme", Timeouts::default()).await.unwrap();
        assert!(shown.distrust.is_some_and(|why| why.contains(advice)), "{case}");
    }

    for (case, path, part) in [
        ("no file", folder.path().join("none.pem"), "cannot be read"),
        (
            "damaged PEM",
            at("bad.pem", b"-----BEGIN CERTIFICATE-----\n!!\n-----END CERTIFICATE-----\n"),
            "PEM",
        ),
        (
            "no certificate in it",
            at("key.pem", b"-----BEGIN X-----\nAAAA\n-----END X-----\n"),
            "no certificate",
        ),
        (
            "PEM of nothing",
            at("nil.pem", b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"),
            "1 of it",
        ),
        ("no DER", at("bad.der", b"nonsense"), "cannot be used"),
        ("empty folder", at("empty.d/readme", b"").parent().unwrap().to_owned(), "no file that ends in"),
    ] {
        let name = path.display().to_string();
        let error = super::open(&Access { ca_bundle: Some(path), ..access.clone() }).await.err().expect(case);
        assert_eq!(error.class, Class::Unreachable, "{case}");
        assert!(error.message.contains(part) && error.message.contains(&name), "{case}: {error}");
    }
}

/// A ServerHello of TLS 1.1, which only an outdated client would go on with.
#[tokio::test]
async fn tls_before_1_2_is_refused() {
    let mut hello = vec![2, 0, 0, 38, 3, 2];
    hello.extend([7; 32]);
    hello.extend([0, 0xc0, 0x13, 0]);
    let mut record = vec![0x16, 3, 2, 0, hello.len() as u8];
    record.extend(&hello);
    let old = Stub::raw(record).await;
    let error = list(&access(&format!("https://{}", old.address))).await.expect_err("outdated");
    assert_eq!(error.class, Class::Unreachable, "{error}");
    assert!(error.message.contains("TLS 1.2 or 1.3"), "{error}");
}
