//! What requests carry, and what answers make of the connection.

use std::sync::Arc;

use s3sweep::bucket::metered::Metered;
use s3sweep::bucket::{Bucket as _, GetRequest, ListRequest};
use s3sweep::config::{Access, IpVersion};
use s3sweep::failure::Class;

use super::stub::{Stub, ok};
use super::{PAGE, access, list, open};

#[tokio::test]
async fn payer_and_owner_are_sent_with_every_request() {
    let store = Stub::start(|_| ok(PAGE)).await;
    let get = GetRequest { key: "k".into(), if_match: "e".into(), from: 0 };
    let plain = open(&access(&store.url())).await.unwrap();
    plain.list(&ListRequest { page_size: 1, ..ListRequest::default() }).await.unwrap();
    let paying = Access {
        requester_pays: true,
        expected_bucket_owner: Some("111122223333".into()),
        ..access(&store.url())
    };
    let bucket = open(&paying).await.unwrap();
    bucket.list(&ListRequest { page_size: 1, ..ListRequest::default() }).await.unwrap();
    bucket.get(&get).await.map(|_| ()).unwrap();
    let asked = store.asked();
    let sent = |name| asked.iter().map(|asked| asked.header(name)).collect::<Vec<_>>();
    assert_eq!(sent("x-amz-request-payer"), [None, Some("requester"), Some("requester")]);
    let owner = Some("111122223333");
    assert_eq!(sent("x-amz-expected-bucket-owner"), [None, owner, owner]);
    assert_eq!(sent("x-amz-checksum-mode"), [None, None, None], "not every store knows it");
}

#[tokio::test]
async fn the_region_of_the_bucket_is_followed_unless_one_is_set() {
    let store = Stub::start(|asked| match asked.text.contains("/eu-central-1/s3/aws4_request") {
        true => ok(PAGE),
        false => {
            let body = "<Error><Code>PermanentRedirect</Code><Message>elsewhere</Message></Error>";
            (301, vec![("x-amz-bucket-region", "eu-central-1".to_owned())], body.to_owned())
        }
    })
    .await;
    let open_region = Access { region: None, ..access(&store.url()) };
    let bucket = Metered::new(open(&open_region).await.unwrap(), Arc::default());
    for _ in 0..2 {
        bucket.list(&ListRequest { page_size: 1, ..ListRequest::default() }).await.expect("followed");
    }
    assert_eq!((store.asked().len(), bucket.counts().list()), (3, 3), "asked elsewhere once, and counted");
    let error = list(&access(&store.url())).await.expect_err("the region is set, and wrong");
    assert_eq!(error.class, Class::Unreachable);
    assert!(error.message.contains("the bucket lies in region eu-central-1"), "{error}");
    assert_eq!(store.asked().len(), 4);
}

#[tokio::test]
async fn a_store_of_signature_version_two_is_told_so() {
    let body = "<Error><Code>InvalidArgument</Code><Message>Unsupported Authorization Type</Message></Error>";
    let store = Stub::start(move |_| (400, Vec::new(), body.to_owned())).await;
    let error = list(&access(&store.url())).await.expect_err("refused");
    assert_eq!(error.class, Class::Unreachable);
    assert!(error.message.contains("signature version 2 only"), "{error}");
}

#[tokio::test]
async fn only_addresses_of_the_version_are_used() {
    let store = Stub::start(|_| ok(PAGE)).await;
    let named = format!("http://localhost:{}", store.address.port());
    let by = |ip_version| Access { ip_version, ..access(&named) };
    list(&by(IpVersion::V4)).await.expect("it listens on 127.0.0.1");
    let error = list(&by(IpVersion::V6)).await.expect_err("it does not listen on ::1");
    assert_eq!(error.class, Class::Transient, "{error}");
    assert_eq!(store.asked().len(), 1);
}
