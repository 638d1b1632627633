//! The S3 client of one source, which moves to the bucket's region and renews credentials.

use std::sync::{Mutex, PoisonError};

use aws_config::environment::region::EnvironmentVariableRegionProvider;
use aws_config::imds::region::ImdsRegionProvider;
use aws_config::meta::region::RegionProviderChain;
use aws_config::profile::region::ProfileFileRegionProvider;
use aws_config::provider_config::ProviderConfig;
use aws_sdk_s3::Client;
use aws_sdk_s3::config::retry::RetryConfig;
use aws_sdk_s3::config::timeout::TimeoutConfig;
use aws_sdk_s3::config::{
    BehaviorVersion, IdentityCache, Region, RequestChecksumCalculation, ResponseChecksumValidation,
    StalledStreamProtectionConfig,
};

use super::endpoints::Endpoints;
use super::error::Refusal;
use super::identity::{Asker, Signer};
use super::renewing::Renewing;
use super::sts::Sts;
use super::{ClientError, Timeouts, credentials, http};
use crate::config::{Access, Credentials};

/// Where a bucket is looked for when nothing tells its region. S3 answers there for all buckets of
/// the partition `aws`, and names the region of those that lie elsewhere.
const FIRST_REGION: Region = Region::from_static("us-east-1");

/// The S3 client of one source.
#[derive(Debug)]
pub struct Connection {
    client: Mutex<Client>,
    credentials: Renewing,
    asker: Asker,
    /// Where requests go, unless to AWS's own endpoint.
    pub(super) endpoint_url: Option<String>,
    /// The region was not set, and is the bucket's to tell.
    follows_region: bool,
    /// Sent with every request.
    pub(crate) requester_pays: bool,
    /// Sent with every request.
    pub(crate) expected_bucket_owner: Option<String>,
}

impl Connection {
    /// The client as it is now.
    pub(crate) fn client(&self) -> Client {
        self.client.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The session token that the next request would be signed with.
    pub(crate) async fn token(&self) -> Option<String> {
        self.credentials.token().await
    }

    /// Who signs the requests; `known` is an answer of before.
    pub(crate) async fn signer(&self, known: Option<Signer>) -> Option<Signer> {
        self.asker.signer(&self.credentials, known).await
    }

    /// Changes what a refusal complains of, where that can be changed: the region becomes that of
    /// the bucket, credentials that expired are renewed. `true` when the request is worth repeating.
    /// `token` is what the request was signed with.
    pub(crate) async fn mend(&self, refusal: &Refusal, token: Option<&str>) -> bool {
        if let Some(region) = refusal.bucket_region.as_ref().filter(|_| self.follows_region) {
            return self.move_to(region);
        }
        match refusal.code.as_deref() {
            Some("ExpiredToken" | "InvalidToken" | "TokenRefreshRequired") => {
                self.credentials.refuse(token).await
            }
            _ => false,
        }
    }

    /// `false` when that is where we are.
    fn move_to(&self, region: &str) -> bool {
        let mut client = self.client.lock().unwrap_or_else(PoisonError::into_inner);
        let before = client.config().region().map(|region| region.as_ref().to_owned());
        if before.as_deref() == Some(region) {
            return false;
        }
        tracing::info!(region, "the bucket lies in another region, going there");
        let config = client.config().to_builder().region(Region::new(region.to_owned()));
        *client = Client::from_conf(config.build());
        true
    }
}

/// What S3 and STS share.
pub(super) struct Ground {
    pub region: Region,
    pub credentials: Renewing,
    /// S3's, unless it is AWS's own.
    pub endpoint_url: Option<String>,
    pub sts: Sts,
    sdk: aws_config::SdkConfig,
}

/// The shared AWS files and the environment, as far as the SDK reads them. Asks nobody.
async fn shared(access: &Access) -> aws_config::SdkConfig {
    // a region that is set is not looked for
    let mut loader = aws_config::defaults(BehaviorVersion::latest()).region(FIRST_REGION).no_credentials();
    if let Credentials::Profile(name) = &access.credentials {
        loader = loader.profile_name(name);
    }
    // not set to false: the environment may ask for them
    if access.use_fips {
        loader = loader.use_fips(true);
    }
    if access.dual_stack {
        loader = loader.use_dual_stack(true);
    }
    loader.load().await
}

pub(super) async fn endpoint(access: &Access) -> Result<Option<String>, ClientError> {
    Ok(Endpoints::new(access, &shared(access).await)?.s3)
}

pub(super) async fn ground(access: &Access, timeouts: Timeouts) -> Result<Ground, ClientError> {
    let http = http::client(access)?;
    let shared = shared(access).await;
    let endpoints = Endpoints::new(access, &shared)?;
    let timeout_config =
        TimeoutConfig::builder().connect_timeout(timeouts.connect).read_timeout(timeouts.first_byte).build();
    let config = ProviderConfig::without_region().with_http_client(http.clone());
    let region = region(access, &endpoints, &config).await;
    let mut sdk = shared.into_builder();
    sdk.set_http_client(Some(http.clone()))
        .set_region(region.clone())
        .set_timeout_config(Some(timeout_config));
    let sdk = sdk.build();
    let sts = Sts { sdk: sdk.clone(), endpoint_url: endpoints.sts };
    let (fips, dual_stack, of_providers) = (sdk.use_fips(), sdk.use_dual_stack(), region.clone());
    let config = move || {
        ProviderConfig::without_region()
            .with_http_client(http.clone())
            .with_region(Some(of_providers.clone()))
            .with_use_fips(fips)
            .with_use_dual_stack(dual_stack)
    };
    let credentials = credentials::credentials(access, config, sts.clone());
    Ok(Ground { region, credentials, endpoint_url: endpoints.s3, sts, sdk })
}

/// The region of the first requests.
async fn region(access: &Access, endpoints: &Endpoints, config: &ProviderConfig) -> Region {
    if let Some(region) = &access.region {
        return Region::new(region.clone());
    }
    let mut profile = ProfileFileRegionProvider::builder().configure(config);
    if let Credentials::Profile(name) = &access.credentials {
        profile = profile.profile_name(name);
    }
    let mut chain =
        RegionProviderChain::first_try(EnvironmentVariableRegionProvider::new()).or_else(profile.build());
    if matches!(access.credentials, Credentials::Default) && endpoints.s3.is_none() {
        // elsewhere it would only take its time to fail
        chain = chain.or_else(ImdsRegionProvider::builder().configure(config).build());
    }
    chain.region().await.unwrap_or(FIRST_REGION)
}

pub(super) async fn connect(access: &Access, timeouts: Timeouts) -> Result<Connection, ClientError> {
    let ground = ground(access, timeouts).await?;
    let mut config = aws_sdk_s3::config::Builder::from(&ground.sdk)
        .credentials_provider(ground.credentials.clone())
        // renewed by ourselves: the SDK's cache cannot be told that S3 refused what it holds
        .identity_cache(IdentityCache::no_cache())
        .force_path_style(access.path_style)
        .retry_config(RetryConfig::disabled())
        .stalled_stream_protection(
            StalledStreamProtectionConfig::enabled().grace_period(timeouts.stalled).build(),
        )
        .request_checksum_calculation(RequestChecksumCalculation::WhenRequired)
        .response_checksum_validation(ResponseChecksumValidation::WhenSupported);
    // on the S3 builder alone: on the shared one it would redirect STS as well
    config.set_endpoint_url(ground.endpoint_url.clone());
    if ground.endpoint_url.is_some() {
        // not every compatible store understands the header that asks for checksums
        config = config.response_checksum_validation(ResponseChecksumValidation::WhenRequired);
    }
    Ok(Connection {
        client: Mutex::new(Client::from_conf(config.build())),
        asker: Asker::new(&ground),
        credentials: ground.credentials,
        endpoint_url: ground.endpoint_url,
        follows_region: access.region.is_none(),
        requester_pays: access.requester_pays,
        expected_bucket_owner: access.expected_bucket_owner.clone(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Secret;
    use crate::failure::Class;

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

    async fn region_of(access: &Access) -> Option<String> {
        let connection = connect(access, Timeouts::default()).await.expect("no bundle, no proxy");
        connection.client().config().region().map(|region| region.as_ref().to_owned())
    }

    #[tokio::test]
    async fn the_client_has_the_region_and_never_retries() {
        let connection = connect(&access(), Timeouts::default()).await.expect("no bundle, no proxy");
        assert_eq!(region_of(&access()).await.as_deref(), Some("eu-west-1"));
        let attempts = connection.client().config().retry_config().map(|retry| retry.max_attempts());
        assert_eq!(attempts, Some(1));
    }

    #[tokio::test]
    async fn a_region_that_is_set_is_kept_and_another_one_is_followed() {
        let told = Refusal {
            known_as: String::new(),
            was_sent: true,
            date: None,
            class: Class::Unreachable,
            code: Some("PermanentRedirect".into()),
            bucket_region: Some("ap-south-1".into()),
            message: String::new(),
            retry_after: None,
        };
        let connection = connect(&access(), Timeouts::default()).await.expect("no bundle, no proxy");
        assert!(!connection.mend(&told, None).await);
        let endpoint_url = Some("http://127.0.0.1:1".into());
        let open = Access { region: None, endpoint_url, ..access() };
        let connection = connect(&open, Timeouts::default()).await.expect("no bundle, no proxy");
        assert!(connection.mend(&told, None).await);
        assert!(!connection.mend(&told, None).await, "a second time would go on for ever");
    }

    #[tokio::test]
    async fn secrets_are_not_shown() {
        let access = access();
        let connection = connect(&access, Timeouts::default()).await.expect("no bundle, no proxy");
        let shown = format!("{access:?} {connection:?} {:?}", connection.client().config());
        assert!(!shown.contains("hush"), "{shown}");
    }
}
