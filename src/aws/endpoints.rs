//! The endpoints that the shared AWS files name, held to the rules of the settings.
//!
//! The settings come first, and with them the environment, which the configuration has read; then
//! what the profile says, for the service (its `services` section) before what it says for all. Where
//! the environment or the profile says so (`ignore_configured_endpoint_urls`), only the settings count.

use aws_config::SdkConfig;
use aws_types::service_config::ServiceConfigKey;

use super::ClientError;
use crate::config::{Access, Credentials, endpoint_flaw};

/// Where S3 and STS are; `None` is AWS's own.
pub(super) struct Endpoints {
    pub s3: Option<String>,
    pub sts: Option<String>,
}

impl Endpoints {
    /// The settings', else the profile's. Fails where the profile names one that the settings might
    /// not name either.
    pub fn new(access: &Access, sdk: &SdkConfig) -> Result<Self, ClientError> {
        let of = |service, known: &Option<String>| match known {
            Some(url) => Ok(Some(url.clone())),
            None => of_profile(service, access, sdk),
        };
        let is_ignored = access.endpoint_of_environment && shared(S3, sdk).is_none();
        let s3 = if is_ignored { None } else { of(S3, &access.endpoint_url)? };
        Ok(Endpoints { s3, sts: of("STS", &access.sts_endpoint_url)? })
    }
}

const S3: &str = "S3";

/// What the SDK finds for a service in the environment and the profile; `None` too where such ones are
/// to be left out.
fn shared(service: &'static str, sdk: &SdkConfig) -> Option<String> {
    let key = ServiceConfigKey::builder().service_id(service).env("AWS_ENDPOINT_URL").profile("endpoint_url");
    let key = key.build().expect("all three are set");
    sdk.service_config()?.load_config(key)
}

fn of_profile(
    service: &'static str,
    access: &Access,
    sdk: &SdkConfig,
) -> Result<Option<String>, ClientError> {
    let Some(url) = shared(service, sdk).filter(|url| !url.is_empty()) else { return Ok(None) };
    match endpoint_flaw(&url, access.allow_http) {
        None => Ok(Some(url)),
        Some(flaw) => {
            let profile = match &access.credentials {
                Credentials::Profile(name) => format!("profile `{name}`"),
                _ => "the profile".to_owned(),
            };
            Err(ClientError::Endpoint { service, profile, reason: flaw.reason() })
        }
    }
}
