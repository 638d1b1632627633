//! What only S3 has: signatures, error answers, bodies that break off, the Date header.

use super::places::{access, open};
use super::*;
use s3sweep::aws::{self, Timeouts};
use s3sweep::bucket;
use s3sweep::bucket::s3::S3Bucket;
use s3sweep::clock::{Clock as _, SystemClock};
use s3sweep::config::{Access, BucketLocation, Credentials, Secret};
use s3sweep::testing::{S3Server, ServerFault};
use std::time::Duration;

async fn server() -> S3Server {
    S3Server::start(["acme"]).await.expect("a loopback port is free")
}

#[tokio::test]
async fn a_wrong_secret_is_unreachable_and_not_shown() {
    let server = server().await;
    let etag = server.put("acme", "k", "x", written());
    let bucket = open(&server, "acme", "hush-hush").await;
    let list = bucket.list(&page_of(1)).await.expect_err("the signature is wrong");
    let get = GetRequest { key: "k".into(), if_match: etag, from: 0 };
    let get = bucket.get(&get).await.err().expect("the signature is wrong");
    for error in [list, get] {
        assert_eq!(error.class, Class::Unreachable);
        let shown = format!("{error} {error:?}");
        assert!(shown.contains("SignatureDoesNotMatch"), "{shown}");
        assert!(!shown.contains("hush") && !shown.contains(server.secret_access_key()), "{shown}");
    }
    assert!(!format!("{:?}", access(&server, "hush-hush")).contains("hush"));
}

#[tokio::test]
async fn an_unknown_key_id_and_an_unknown_bucket_are_unreachable() {
    let server = server().await;
    let nobody = Access {
        credentials: Credentials::Static {
            access_key_id: "NOBODY".into(),
            secret_access_key: Secret::new("x".into()),
            session_token: None,
        },
        ..access(&server, "")
    };
    let location = BucketLocation::S3("acme".into());
    let nobody = bucket::open(&location, &nobody, Timeouts::default()).await.expect("a region is set");
    let elsewhere = open(&server, "elsewhere", server.secret_access_key()).await;
    for (bucket, code) in [(nobody, "InvalidAccessKeyId"), (elsewhere, "NoSuchBucket")] {
        let error = bucket.list(&page_of(1)).await.expect_err("it is refused");
        assert_eq!(error.class, Class::Unreachable, "{error}");
        assert!(error.message.starts_with(code), "{error}");
        let get = GetRequest { key: "k".into(), if_match: "e".into(), from: 0 };
        assert_eq!(class_of(bucket.get(&get).await), Some(Class::Unreachable), "{code}");
    }
}

#[tokio::test]
async fn a_missing_profile_is_unreachable() {
    let server = server().await;
    let access =
        Access { credentials: Credentials::Profile("no-such-profile".into()), ..access(&server, "") };
    let location = BucketLocation::S3("acme".into());
    let bucket = bucket::open(&location, &access, Timeouts::default()).await.expect("a region is set");
    let error = bucket.list(&page_of(1)).await.expect_err("nobody signs");
    assert_eq!(error.class, Class::Unreachable, "{error}");
    assert!(error.message.contains("no-such-profile"), "{error}");
    assert_eq!(server.counts().list(), 0);
}

#[tokio::test]
async fn a_server_that_is_not_there_is_transient() {
    let server = server().await;
    let bucket = open(&server, "acme", server.secret_access_key()).await;
    server.stop().await.expect("nothing panicked");
    let error = bucket.list(&page_of(1)).await.expect_err("nobody listens");
    assert_eq!(error.class, Class::Transient, "{error}");
}

#[tokio::test]
async fn each_request_is_sent_once_and_told_apart() {
    let server = server().await;
    let etag = server.put("acme", "k", "x", written());
    let bucket = open(&server, "acme", server.secret_access_key()).await;
    let get = GetRequest { key: "k".into(), if_match: etag, from: 0 };
    for (code, status, on_list, on_get) in [
        ("SlowDown", 503, Class::Transient, Class::Transient),
        ("InternalError", 500, Class::Transient, Class::Transient),
        ("AccessDenied", 403, Class::Unreachable, Class::Object),
        ("KMS.DisabledException", 400, Class::Unreachable, Class::Object),
        ("PermanentRedirect", 301, Class::Unreachable, Class::Unreachable),
        ("ExpiredToken", 400, Class::Unreachable, Class::Unreachable),
        ("InvalidObjectState", 403, Class::Unreachable, Class::Archived),
    ] {
        server.counts().reset();
        let fault = ServerFault::Error { code, status, retry_after: Some(9) };
        server.fail_next(fault.clone());
        let error = bucket.list(&page_of(1)).await.expect_err("scripted");
        assert_eq!((error.class, error.retry_after), (on_list, Some(Duration::from_secs(9))), "{code}");
        assert!(error.message.starts_with(&format!("{code}: a scripted failure (HTTP {status}")), "{error}");
        server.fail_next(fault);
        assert_eq!(class_of(bucket.get(&get).await), Some(on_get), "{code}");
        assert_eq!((server.counts().list(), server.counts().get()), (1, 1), "{code}");
    }
}

#[tokio::test]
async fn cut_and_stalled_bodies_are_transient() {
    let server = server().await;
    let bytes = vec![7; 300_000];
    let etag = server.put("acme", "k", bytes.clone(), written());
    let timeouts = Timeouts { stalled: Duration::from_millis(300), ..Timeouts::default() };
    let access = access(&server, server.secret_access_key());
    let location = BucketLocation::S3("acme".into());
    let bucket = bucket::open(&location, &access, timeouts).await.expect("a region is set");
    let mut get = GetRequest { key: "k".into(), if_match: etag, from: 0 };
    for fault in [ServerFault::CutBody(100_000), ServerFault::StallBody(100_000)] {
        server.fail_next(fault.clone());
        get.from = 0;
        let mut body = bucket.get(&get).await.expect("the answer begins");
        let mut arrived = Vec::new();
        let error = loop {
            match body.try_next().await {
                Ok(Some(chunk)) => arrived.extend_from_slice(&chunk),
                Ok(None) => panic!("{fault:?} must not end well"),
                Err(error) => break error,
            }
        };
        assert_eq!(error.class, Class::Transient, "{error}");
        assert!(arrived.len() <= 100_000, "{fault:?}");
        get.from = arrived.len() as u64;
        let rest: Vec<Bytes> = bucket.get(&get).await.expect("reads").try_collect().await.expect("reads");
        arrived.extend(rest.concat());
        assert!(arrived == bytes, "{fault:?}: {} bytes", arrived.len());
    }
}

#[tokio::test]
async fn a_slow_answer_is_transient() {
    let server = server().await;
    server.set_delay(Duration::from_secs(1));
    let timeouts = Timeouts { first_byte: Duration::from_millis(100), ..Timeouts::default() };
    let access = access(&server, server.secret_access_key());
    let connection = aws::connect(&access, timeouts).await.expect("no bundle, no proxy");
    let error = S3Bucket::new(connection, "acme".into()).list(&page_of(1)).await.expect_err("too slow");
    assert_eq!(error.class, Class::Transient, "{error}");
}

#[tokio::test]
async fn pages_carry_the_date_and_archived_objects_are_marked() {
    let server = server().await;
    let store = server.bucket("acme");
    store.put("cold", "x", written());
    store.put("warm", "x", written());
    assert!(store.set_archived("cold", true));
    store.set_clock(Some(written()));
    let bucket = open(&server, "acme", server.secret_access_key()).await;
    let page = bucket.list(&page_of(10)).await.expect("lists");
    assert_eq!(page.date, Some(written()));
    let archived: Vec<_> = page.objects.iter().map(|object| object.archived).collect();
    assert_eq!(archived, [true, false]);
    assert_eq!(class_of(read(&*bucket, &page.objects[0], 0).await), Some(Class::Archived));
    store.set_clock(None);
    let date = bucket.list(&page_of(10)).await.expect("lists").date.expect("servers tell the time");
    assert!((SystemClock.now() - date).abs() < TimeDelta::minutes(5));
}
