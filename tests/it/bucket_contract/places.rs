//! The buckets that the contract is for, each with a way to fill it.

use std::any::Any;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, OnceLock};

use aws_sdk_s3::Client;
use aws_sdk_s3::config::{BehaviorVersion, Credentials as Keys, Region, RequestChecksumCalculation};
use aws_sdk_s3::primitives::ByteStream;
use chrono::{DateTime, TimeDelta, Utc};
use s3sweep::aws::Timeouts;
use s3sweep::bucket::{self, Bucket};
use s3sweep::config::{Access, BucketLocation, Credentials, Secret};
use s3sweep::testing::{MemoryBucket, S3Server};

use crate::foreign::Foreign;
use crate::needs::Need;

type Put = Box<dyn Fn(&str, &[u8]) + Send + Sync>;
type Delete = Box<dyn Fn(&str) + Send + Sync>;

/// The key that both servers know.
const KEY: (&str, &str) = ("S3SWEEPTESTKEY", "s3sweep-test-secret");

/// A bucket under test, and how to fill it.
pub struct Place {
    pub bucket: Arc<dyn Bucket>,
    /// What its objects say that it is called.
    pub name: String,
    pub put: Put,
    pub delete: Delete,
    /// Whether keys may be what no path can be: `a//b`, `a/`, or both a file and a folder.
    pub any_key: bool,
    /// Whether objects are of the time [`written`]; else of now.
    pub sets_times: bool,
    _keeps: Box<dyn Any + Send + Sync>,
}

/// When every object was written, where the test can choose.
pub fn written() -> DateTime<Utc> {
    DateTime::UNIX_EPOCH + TimeDelta::seconds(1_688_989_512)
}

pub async fn memory_place() -> Option<Place> {
    let memory = MemoryBucket::new("acme");
    let (put, delete) = (memory.clone(), memory.clone());
    Some(Place {
        bucket: Arc::new(memory),
        name: "acme".to_owned(),
        put: Box::new(move |key, bytes| {
            put.put(key, bytes.to_vec(), written());
        }),
        delete: Box::new(move |key| assert!(delete.delete(key))),
        any_key: true,
        sets_times: true,
        _keeps: Box::new(()),
    })
}

pub async fn dir_place() -> Option<Place> {
    let dir = tempfile::tempdir().expect("a temporary directory can be made");
    let root = dir.path().to_owned();
    let location = BucketLocation::Dir(root.clone());
    let bucket = bucket::open(&location, &Access::default(), Timeouts::default())
        .await
        .expect("a directory needs no access");
    let removed = root.clone();
    Some(Place {
        bucket,
        name: location.name(),
        put: Box::new(move |key, bytes| {
            let path = root.join(key);
            std::fs::create_dir_all(path.parent().expect("a joined path has a parent")).expect("made");
            std::fs::write(path, bytes).expect("written");
        }),
        delete: Box::new(move |key| std::fs::remove_file(removed.join(key)).expect("removed")),
        any_key: false,
        sets_times: false,
        _keeps: Box::new(dir),
    })
}

pub async fn s3_place() -> Option<Place> {
    let server = S3Server::start(["acme"]).await.expect("a loopback port is free");
    let bucket = open(&server, "acme", server.secret_access_key()).await;
    let (put, delete) = (server.bucket("acme"), server.bucket("acme"));
    Some(Place {
        bucket,
        name: "acme".to_owned(),
        put: Box::new(move |key, bytes| {
            put.put(key, bytes.to_vec(), written());
        }),
        delete: Box::new(move |key| assert!(delete.delete(key))),
        any_key: true,
        sets_times: true,
        _keeps: Box::new(server),
    })
}

/// A bucket of its own in the one gateway of this run, which ends with the process. What fills it
/// needs a runtime of several threads.
pub async fn radosgw_place() -> Option<Place> {
    static GATEWAY: OnceLock<Option<Foreign>> = OnceLock::new();
    static BUCKETS: AtomicU32 = AtomicU32::new(0);
    let start = || Foreign::start(Need::Radosgw, &["radosgw"]);
    let gateway = tokio::task::block_in_place(|| GATEWAY.get_or_init(start)).as_ref()?;
    let name = format!("contract-{}", BUCKETS.fetch_add(1, Ordering::Relaxed));
    let config = aws_sdk_s3::Config::builder()
        .behavior_version(BehaviorVersion::latest())
        .region(Region::new("us-east-1"))
        .endpoint_url(gateway.url())
        .force_path_style(true)
        .request_checksum_calculation(RequestChecksumCalculation::WhenRequired)
        .credentials_provider(Keys::new(KEY.0, KEY.1, None, None, "test"));
    let client = Client::from_conf(config.build());
    client.create_bucket().bucket(&name).send().await.expect("the gateway makes buckets");
    let location = BucketLocation::S3(name.clone());
    let bucket = bucket::open(&location, &access_to(gateway.url(), KEY), Timeouts::default()).await;
    let (put, delete) = ((client.clone(), name.clone()), (client, name.clone()));
    Some(Place {
        bucket: bucket.expect("a region is set"),
        name,
        put: Box::new(move |key, bytes| {
            let body = ByteStream::from(bytes.to_vec());
            wait(put.0.put_object().bucket(&put.1).key(key).body(body).send()).expect("put");
        }),
        delete: Box::new(move |key| {
            wait(delete.0.delete_object().bucket(&delete.1).key(key).send()).expect("deleted");
        }),
        any_key: true,
        sets_times: false,
        _keeps: Box::new(()),
    })
}

fn wait<T>(future: impl Future<Output = T>) -> T {
    tokio::task::block_in_place(|| tokio::runtime::Handle::current().block_on(future))
}

fn access_to(url: &str, (id, secret): (&str, &str)) -> Access {
    Access {
        region: Some("us-east-1".into()),
        endpoint_url: Some(url.to_owned()),
        path_style: true,
        credentials: Credentials::Static {
            access_key_id: id.into(),
            secret_access_key: Secret::new(secret.into()),
            session_token: None,
        },
        ..Access::default()
    }
}

/// The way to our server.
pub fn access(server: &S3Server, secret: &str) -> Access {
    access_to(&server.endpoint_url(), (server.access_key_id(), secret))
}

pub async fn open(server: &S3Server, name: &str, secret: &str) -> Arc<dyn Bucket> {
    let location = BucketLocation::S3(name.into());
    bucket::open(&location, &access(server, secret), Timeouts::default()).await.expect("a region is set")
}
