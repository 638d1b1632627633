//! The way to a bucket and to STS: endpoint, region, credentials, proxy, certificates; and what
//! errors mean.
//!
//! With `bucket/s3.rs` the only room that names the AWS SDK. The SDK's own retries of S3 requests
//! are off: every HTTP request is one that we decided on.

pub mod advice;
mod connection;
mod credentials;
mod endpoints;
pub mod error;
mod http;
mod identity;
mod renewing;
mod sts;
mod tls;

use std::time::Duration;

use crate::config::Access;

pub use connection::Connection;
pub use identity::{Caller, Identity, IdentityError, Signer};
pub use tls::{Certificate, CertificateError, ServerCertificates, TrustError};

/// How long a request may make no progress before it counts as failed, transiently.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timeouts {
    /// Until the connection stands, TLS included.
    pub connect: Duration,
    /// From the request to the first byte of the answer.
    pub first_byte: Duration,
    /// Without a single byte while a body is read. The SDK's own 5 s cut off slow stores.
    pub stalled: Duration,
}

impl Default for Timeouts {
    fn default() -> Self {
        Timeouts {
            connect: Duration::from_secs(5),
            first_byte: Duration::from_secs(30),
            stalled: Duration::from_secs(30),
        }
    }
}

/// No connection can be made of these settings.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// The certificates of `ca_bundle`.
    #[error(transparent)]
    Trust(#[from] TrustError),
    /// The endpoint that a profile of the shared AWS files names. Not quoted: it may hold a password.
    #[error("the `endpoint_url` of {profile} in the shared AWS files, for {service}, {reason}")]
    Endpoint {
        /// `S3` or `STS`.
        service: &'static str,
        /// Which profile, in words.
        profile: String,
        /// What is wrong, and what to write instead.
        reason: &'static str,
    },
    /// A proxy that the HTTP client does not take.
    #[error("the proxy cannot be used: {0}")]
    Proxy(String),
}

/// Makes the connection that `access` describes. No request is sent to S3 or STS; a region that is
/// not set is looked for in the environment, in the shared configuration files and, for the
/// default credentials, in the instance's metadata. Credentials are found at the first request.
pub async fn connect(access: &Access, timeouts: Timeouts) -> Result<Connection, ClientError> {
    connection::connect(access, timeouts).await
}

/// Where requests to S3 go by `access`, or by the profile of the shared AWS files where it names an
/// endpoint; `None` for AWS's own endpoints. Asks nobody.
///
/// Fails when the profile's endpoint is plain HTTP that is not allowed, or no address.
pub async fn endpoint(access: &Access) -> Result<Option<String>, ClientError> {
    connection::endpoint(access).await
}

/// Tells which credentials `access` leads to and, by STS GetCallerIdentity, whose they are. At most
/// the requests that finding credentials takes, and one to STS.
///
/// Fails when no credentials are found. A refusal of STS is no failure: it stands in
/// [`Identity::caller`].
pub async fn identity(access: &Access, timeouts: Timeouts) -> Result<Identity, IdentityError> {
    identity::identity(access, timeouts).await
}

/// Shows the certificates of the server that requests about `bucket` go to, by way of the proxy
/// where one is used, and whether they are trusted. Nothing is sent to the server but the TLS
/// handshake.
///
/// Fails when the endpoint is plain HTTP, or no TLS connection stands within `timeouts.connect`.
pub async fn server_certificates(
    access: &Access,
    bucket: &str,
    timeouts: Timeouts,
) -> Result<ServerCertificates, CertificateError> {
    tls::server_certificates(access, bucket, timeouts).await
}
