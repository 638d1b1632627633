//! The three calls to STS: taking on a role, the same with a token, and who we are.

use std::path::Path;

use aws_credential_types::Credentials;
use aws_credential_types::provider::error::CredentialsError;
use aws_sdk_s3::config::http::HttpResponse;
use aws_sdk_s3::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_sts::Client;
use aws_sdk_sts::config::{IdentityCache, SharedCredentialsProvider};
use aws_sdk_sts::types::Credentials as Granted;

use super::error::{NotGiven, Operation, code_of_sts, describe, refusal};
use crate::config::Roles;

/// How STS is reached.
#[derive(Clone, Debug)]
pub(super) struct Sts {
    pub sdk: aws_config::SdkConfig,
    pub endpoint_url: Option<String>,
}

/// Who STS says that we are.
#[derive(Debug)]
pub(super) struct Answer {
    pub account: String,
    pub arn: String,
    pub user_id: String,
}

impl Sts {
    fn client(&self, credentials: Option<&Credentials>) -> Client {
        let mut config = aws_sdk_sts::config::Builder::from(&self.sdk);
        config.set_credentials_provider(credentials.cloned().map(SharedCredentialsProvider::new));
        config = config.identity_cache(IdentityCache::no_cache());
        config.set_endpoint_url(self.endpoint_url.clone());
        Client::from_conf(config.build())
    }

    /// Takes on a role; `is_last` is the one that may ask for the external id.
    pub async fn assume(
        &self,
        arn: &str,
        roles: &Roles,
        is_last: bool,
        with: &Credentials,
    ) -> Result<Credentials, CredentialsError> {
        let external_id = roles.external_id.as_ref().filter(|_| is_last);
        let sent = self
            .client(Some(with))
            .assume_role()
            .role_arn(arn)
            .role_session_name(&roles.session_name)
            .set_duration_seconds(seconds(roles))
            .set_external_id(external_id.map(|id| id.expose().to_owned()))
            .send()
            .await;
        let output = sent.map_err(|error| refused("AssumeRole", arn, &error))?;
        granted("AssumeRole", arn, output.credentials())
    }

    /// Takes on a role with the token that the file holds now; it is replaced from outside.
    pub async fn assume_with_token(
        &self,
        arn: &str,
        roles: &Roles,
        token_file: &Path,
    ) -> Result<Credentials, CredentialsError> {
        let token = tokio::fs::read_to_string(token_file).await.map_err(|error| {
            let text =
                format!("the web identity token file {} cannot be read: {error}", token_file.display());
            CredentialsError::provider_error(text)
        })?;
        let sent = self
            .client(None)
            .assume_role_with_web_identity()
            .role_arn(arn)
            .role_session_name(&roles.session_name)
            .set_duration_seconds(seconds(roles))
            .web_identity_token(token.trim())
            .send()
            .await;
        let output = sent.map_err(|error| refused("AssumeRoleWithWebIdentity", arn, &error))?;
        granted("AssumeRoleWithWebIdentity", arn, output.credentials())
    }

    /// Asks whose credentials these are; the error is STS's answer in words.
    pub async fn caller(&self, credentials: &Credentials) -> Result<Answer, String> {
        let sent = self.client(Some(credentials)).get_caller_identity().send().await;
        let output = sent.map_err(|error| describe(&error))?;
        let text = |value: Option<&str>| value.unwrap_or_default().to_owned();
        Ok(Answer {
            account: text(output.account()),
            arn: text(output.arn()),
            user_id: text(output.user_id()),
        })
    }
}

fn seconds(roles: &Roles) -> Option<i32> {
    roles.duration.and_then(|duration| i32::try_from(duration.as_secs()).ok())
}

fn refused<E>(call: &str, arn: &str, error: &SdkError<E, HttpResponse>) -> CredentialsError
where
    E: ProvideErrorMetadata + std::error::Error + 'static,
{
    let code = code_of_sts(&refusal(Operation::List, error).known_as);
    CredentialsError::provider_error(NotGiven {
        words: format!("{call} of {arn}: {}", describe(error)),
        code: Some(code),
    })
}

fn granted(call: &str, arn: &str, given: Option<&Granted>) -> Result<Credentials, CredentialsError> {
    let lack = || CredentialsError::provider_error(format!("{call} of {arn}: an answer without credentials"));
    let given = given.ok_or_else(lack)?;
    let until = std::time::SystemTime::try_from(*given.expiration()).map_err(|_| lack())?;
    let token = Some(given.session_token().to_owned());
    Ok(Credentials::new(given.access_key_id(), given.secret_access_key(), token, Some(until), "s3sweep"))
}
