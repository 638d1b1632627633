//! The S3 client: region, endpoint, credentials, time-outs; and what its errors mean.
//!
//! With `bucket/s3.rs` the only room that names the AWS SDK. The SDK's own retries are off:
//! every HTTP request is one that we counted and decided on.

pub mod advice;
pub mod error;

use std::net::IpAddr;
use std::time::Duration;

use aws_config::profile::ProfileFileCredentialsProvider;
use aws_credential_types::Credentials as StaticCredentials;
use aws_credential_types::provider::error::CredentialsError;
use aws_credential_types::provider::{ProvideCredentials, future};
use aws_sdk_s3::Client;
use aws_sdk_s3::config::retry::RetryConfig;
use aws_sdk_s3::config::timeout::TimeoutConfig;
use aws_sdk_s3::config::{
    BehaviorVersion, Region, RequestChecksumCalculation, ResponseChecksumValidation, SharedHttpClient,
    StalledStreamProtectionConfig,
};
use aws_smithy_http_client::tls::{self, rustls_provider::CryptoMode};

use crate::config::{Access, Credentials};
use crate::failure;

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

/// No client can be made of these settings.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// Neither the settings nor the SDK's chain tell a region.
    #[error("no region is set or found: set `region`, AWS_REGION, or a region in the profile")]
    NoRegion,
}

/// Makes the S3 client that `access` describes. Credentials are resolved at the first request.
///
/// A store behind `endpoint_url` has no regions of its own: without one it gets `us-east-1`,
/// which enters the signature only.
pub async fn client(access: &Access, timeouts: Timeouts) -> Result<Client, ClientError> {
    let mut loader = aws_config::defaults(BehaviorVersion::latest());
    if let Some(region) = &access.region {
        loader = loader.region(Region::new(region.clone()));
    } else if access.endpoint_url.is_some() {
        loader = loader.region(Region::from_static("us-east-1"));
    }
    loader = match &access.credentials {
        Credentials::Default => loader,
        Credentials::Static { access_key_id, secret_access_key, session_token } => loader
            .credentials_provider(StaticCredentials::new(
                access_key_id,
                secret_access_key.expose(),
                session_token.as_ref().map(|token| token.expose().to_owned()),
                None,
                "s3sweep configuration",
            )),
        // the default chain would prefer credentials of the environment to those of the profile
        Credentials::Profile(name) => loader.profile_name(name).credentials_provider(NamedProfile::new(name)),
    };
    let shared = loader.load().await;
    if shared.region().is_none() {
        return Err(ClientError::NoRegion);
    }
    let mut config = aws_sdk_s3::config::Builder::from(&shared)
        .force_path_style(access.path_style)
        .retry_config(RetryConfig::disabled())
        .timeout_config(
            TimeoutConfig::builder()
                .connect_timeout(timeouts.connect)
                .read_timeout(timeouts.first_byte)
                .build(),
        )
        .stalled_stream_protection(
            StalledStreamProtectionConfig::enabled().grace_period(timeouts.stalled).build(),
        )
        .request_checksum_calculation(RequestChecksumCalculation::WhenRequired)
        .response_checksum_validation(ResponseChecksumValidation::WhenSupported);
    if let Some(url) = &access.endpoint_url {
        // on the S3 builder alone: on the shared one it would redirect STS as well. Not every
        // compatible store understands the header that asks for checksums.
        config =
            config.endpoint_url(url).response_checksum_validation(ResponseChecksumValidation::WhenRequired);
        if is_this_machine(url) {
            config = config.http_client(direct_http());
        }
    }
    Ok(Client::from_conf(config.build()))
}

/// HTTP and HTTPS that never go through a proxy: one that HTTP_PROXY names could not reach a store
/// on this machine.
fn direct_http() -> SharedHttpClient {
    let builder = aws_smithy_http_client::Builder::new();
    builder.tls_provider(tls::Provider::Rustls(CryptoMode::AwsLc)).build_https()
}

/// Whether the host of a URL is `localhost` or a loopback address.
fn is_this_machine(url: &str) -> bool {
    let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
    let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
    let place = authority.rsplit_once('@').map_or(authority, |(_, place)| place);
    let host = match place.strip_prefix('[') {
        Some(six) => six.split(']').next(),
        None => place.split(':').next(),
    };
    host.is_some_and(|host| {
        host.eq_ignore_ascii_case("localhost")
            || host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
    })
}

/// The credentials of one profile; its errors name the profile, which the SDK's do not.
#[derive(Debug)]
struct NamedProfile {
    name: String,
    provider: ProfileFileCredentialsProvider,
}

impl NamedProfile {
    fn new(name: &str) -> Self {
        let provider = ProfileFileCredentialsProvider::builder().profile_name(name).build();
        NamedProfile { name: name.to_owned(), provider }
    }
}

impl ProvideCredentials for NamedProfile {
    fn provide_credentials<'a>(&'a self) -> future::ProvideCredentials<'a>
    where
        Self: 'a,
    {
        future::ProvideCredentials::new(async {
            self.provider.provide_credentials().await.map_err(|error| match error {
                CredentialsError::ProviderTimedOut(_) => error,
                error => {
                    let cause = std::error::Error::source(&error);
                    let text = cause.map_or_else(|| "not there, or without any".to_owned(), failure::chain);
                    let profile = format!("profile `{}` of the shared AWS configuration", self.name);
                    CredentialsError::not_loaded(format!("{profile}: {text}"))
                }
            })
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Secret;

    fn access() -> Access {
        Access {
            region: Some("eu-west-1".into()),
            credentials: Credentials::Static {
                access_key_id: "AKIDEXAMPLE".into(),
                secret_access_key: Secret::new("hush-hush".into()),
                session_token: Some(Secret::new("hush-token".into())),
            },
            ..Access::default()
        }
    }

    #[tokio::test]
    async fn the_client_has_the_region_and_never_retries() {
        let client = client(&access(), Timeouts::default()).await.expect("a region is set");
        assert_eq!(client.config().region().map(|region| region.as_ref()), Some("eu-west-1"));
        let attempts = client.config().retry_config().map(|retry| retry.max_attempts());
        assert_eq!(attempts, Some(1));
    }

    #[test]
    fn this_machine_is_told_from_others() {
        for (url, want) in [
            ("http://127.0.0.1:9000", true),
            ("https://LOCALHOST/", true),
            ("http://[::1]:9000/x", true),
            ("http://127.1.2.3", true),
            ("http://user:word@localhost:1", true),
            ("http://10.0.0.1:9000", false),
            ("http://[2001:db8::1]:9000", false),
            ("https://localhost.example.com", false),
            ("https://example.com/localhost", false),
            ("https://s3.eu-west-1.amazonaws.com", false),
            ("", false),
        ] {
            assert_eq!(is_this_machine(url), want, "{url}");
        }
    }

    #[tokio::test]
    async fn an_endpoint_needs_no_region() {
        let mut access = access();
        access.region = None;
        access.endpoint_url = Some("http://127.0.0.1:1".into());
        let client = client(&access, Timeouts::default()).await.expect("the endpoint brings a region");
        assert_eq!(client.config().region().map(|region| region.as_ref()), Some("us-east-1"));
    }

    #[tokio::test]
    async fn secrets_are_not_shown() {
        let access = access();
        let client = client(&access, Timeouts::default()).await.expect("a region is set");
        let shown = format!("{access:?} {client:?} {:?}", client.config());
        assert!(!shown.contains("hush"), "{shown}");
    }
}
