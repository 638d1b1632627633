//! The endpoints that the shared AWS files name, held to the rules of the settings.
//!
//! The settings come first, and with them the environment, which the configuration has read; then
//! what the profile says, for the service (its `services` section) before what it says for all.

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
        let of = |service, typed: &Option<String>| match typed {
            Some(url) => Ok(Some(url.clone())),
            None => of_profile(service, access, sdk),
        };
        Ok(Endpoints { s3: of("S3", &access.endpoint_url)?, sts: of("STS", &access.sts_endpoint_url)? })
    }
}

fn of_profile(
    service: &'static str,
    access: &Access,
    sdk: &SdkConfig,
) -> Result<Option<String>, ClientError> {
    let key = ServiceConfigKey::builder().service_id(service).env("AWS_ENDPOINT_URL").profile("endpoint_url");
    let key = key.build().expect("all three are set");
    let found = sdk.service_config().and_then(|shared| shared.load_config(key));
    let Some(url) = found.filter(|url| !url.is_empty()) else { return Ok(None) };
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
