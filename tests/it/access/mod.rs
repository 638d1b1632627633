//! Every way into a bucket, over real sockets on loopback: each setting by a test that fails when it
//! is ignored.

mod aws;
mod credentials;
mod environment;
mod expiry;
mod foreign;
mod network;
mod profiles;
mod refusals;
mod requests;
mod secrets;
mod settings;
mod site;
mod stub;

use std::sync::Arc;

use s3sweep::aws::Timeouts;
use s3sweep::bucket::{self, Bucket, BucketError, ListPage, ListRequest};
use s3sweep::config::{Access, BucketLocation, Credentials, Secret};
use s3sweep::testing::S3Server;

const PAGE: &str = "<ListBucketResult><Name>acme</Name><KeyCount>0</KeyCount><IsTruncated>false</IsTruncated>\
                    </ListBucketResult>";

fn keys(id: &str, secret: &str) -> Credentials {
    Credentials::Static {
        access_key_id: id.into(),
        secret_access_key: Secret::new(secret.into()),
        session_token: None,
    }
}

/// The way to a server with the key that it knows.
fn access(endpoint_url: &str) -> Access {
    Access {
        region: Some("us-east-1".into()),
        endpoint_url: Some(endpoint_url.into()),
        path_style: true,
        credentials: keys("S3SWEEPTESTKEY", "s3sweep-test-secret"),
        ..Access::default()
    }
}

async fn open(access: &Access) -> Result<Arc<dyn Bucket>, BucketError> {
    bucket::open(&BucketLocation::S3("acme".into()), access, Timeouts::default()).await
}

async fn list(access: &Access) -> Result<ListPage, BucketError> {
    open(access).await?.list(&ListRequest { page_size: 10, ..ListRequest::default() }).await
}

async fn server() -> S3Server {
    S3Server::start(["acme"]).await.expect("a loopback port is free")
}

/// STS that gives the role `hop` a key of its own, and any other one the key that the S3 server knows.
fn grant_role(asked: &stub::Asked) -> stub::Answer {
    let call =
        if asked.text.contains("WithWebIdentity") { "AssumeRoleWithWebIdentity" } else { "AssumeRole" };
    match asked.text.contains("role%2Fhop") {
        true => stub::ok(role_of(call, "HOPKEY", "hop-secret", "hop-token")),
        false => stub::ok(role_of(call, "S3SWEEPTESTKEY", "s3sweep-test-secret", "logs-token")),
    }
}

/// What STS answers when a role is taken on.
fn role_of(call: &str, id: &str, secret: &str, token: &str) -> String {
    format!(
        "<{call}Response xmlns=\"https://sts.amazonaws.com/doc/2011-06-15/\"><{call}Result><Credentials>\
         <AccessKeyId>{id}</AccessKeyId><SecretAccessKey>{secret}</SecretAccessKey>\
         <SessionToken>{token}</SessionToken><Expiration>2099-01-01T00:00:00Z</Expiration></Credentials>\
         </{call}Result></{call}Response>"
    )
}
