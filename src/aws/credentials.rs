//! Where credentials come from: the settings, or the first of AWS's usual places that has any;
//! then the roles that are taken on with them.

use std::sync::Arc;

use aws_config::ecs::EcsCredentialsProvider;
use aws_config::environment::EnvironmentVariableCredentialsProvider;
use aws_config::imds::credentials::ImdsCredentialsProvider;
use aws_config::profile::ProfileFileCredentialsProvider;
use aws_config::provider_config::ProviderConfig;
use aws_config::web_identity_token::WebIdentityTokenCredentialsProvider;
use aws_credential_types::Credentials as Keys;
use aws_credential_types::provider::error::CredentialsError;
use aws_credential_types::provider::{ProvideCredentials, SharedCredentialsProvider};
use aws_sdk_sts::error::ProvideErrorMetadata;
use aws_sdk_sts::operation::assume_role::AssumeRoleError;
use aws_sdk_sts::operation::assume_role_with_web_identity::AssumeRoleWithWebIdentityError;

use super::error::{NotGiven, code_of_sts};
use super::renewing::{Found, Renewing};
use super::sts::Sts;
use crate::clock::SystemClock;
use crate::config::{Access, Credentials, Roles};
use crate::failure;

/// The credentials of `access`, found when they are first asked for. `config` makes the settings of
/// the providers anew: one such value keeps what it read of the shared configuration files, which
/// others may have written since.
pub(super) fn credentials(
    access: &Access,
    config: impl Fn() -> ProviderConfig + Send + Sync + 'static,
    sts: Sts,
) -> Renewing {
    let finder = Arc::new(Finder {
        credentials: access.credentials.clone(),
        config: Box::new(config),
        roles: access.roles.clone(),
        sts,
    });
    Renewing::new(
        Arc::new(SystemClock),
        Box::new(move || {
            let finder = finder.clone();
            Box::pin(async move { finder.find().await })
        }),
    )
}

struct Finder {
    credentials: Credentials,
    config: Box<dyn Fn() -> ProviderConfig + Send + Sync>,
    roles: Option<Roles>,
    sts: Sts,
}

/// One place that may have credentials, with its name in words.
type Place = (String, SharedCredentialsProvider);

enum Base {
    /// The first that has any.
    Places(Vec<Place>),
    /// One, whose errors are told as they are.
    Only(Place),
    /// The first role is taken on with the token in this file.
    Token(std::path::PathBuf),
}

impl Base {
    fn new(credentials: &Credentials, config: &ProviderConfig) -> Self {
        match credentials {
            Credentials::Default => Base::Places(default_places(config)),
            Credentials::Static { access_key_id, secret_access_key, session_token } => {
                let token = session_token.as_ref().map(|token| token.expose().to_owned());
                let keys = Keys::new(access_key_id, secret_access_key.expose(), token, None, "s3sweep");
                Base::Only(("the s3sweep configuration".to_owned(), SharedCredentialsProvider::new(keys)))
            }
            // the default chain would prefer credentials of the environment to those of the profile
            Credentials::Profile(name) => {
                let provider = ProfileFileCredentialsProvider::builder().configure(config).profile_name(name);
                let name = format!("profile `{name}` of the shared AWS configuration");
                Base::Only((name, SharedCredentialsProvider::new(provider.build())))
            }
            Credentials::WebIdentity(path) => Base::Token(path.clone()),
        }
    }
}

/// AWS's order.
fn default_places(config: &ProviderConfig) -> Vec<Place> {
    let environment = EnvironmentVariableCredentialsProvider::new();
    let profile = ProfileFileCredentialsProvider::builder().configure(config).build();
    let token = WebIdentityTokenCredentialsProvider::builder().configure(config).build();
    let container = EcsCredentialsProvider::builder().configure(config).build();
    let instance = ImdsCredentialsProvider::builder().configure(config).build();
    vec![
        ("environment variables".to_owned(), SharedCredentialsProvider::new(environment)),
        ("the shared AWS configuration".to_owned(), SharedCredentialsProvider::new(profile)),
        ("web identity token".to_owned(), SharedCredentialsProvider::new(token)),
        ("container credentials".to_owned(), SharedCredentialsProvider::new(container)),
        ("instance role".to_owned(), SharedCredentialsProvider::new(instance)),
    ]
}

impl Finder {
    async fn find(&self) -> Result<Found, CredentialsError> {
        let mut arns = self.roles.iter().flat_map(|roles| &roles.arns);
        let mut found = match &Base::new(&self.credentials, &(self.config)()) {
            Base::Places(places) => first(places).await?,
            Base::Only((name, provider)) => ask(name, provider).await?,
            Base::Token(path) => match (arns.next(), &self.roles) {
                (Some(arn), Some(roles)) => Found {
                    credentials: self.sts.assume_with_token(arn, roles, path).await?,
                    provider: format!("role {arn} by the token in {}", path.display()),
                },
                _ => return Err(CredentialsError::invalid_configuration("a token without a role")),
            },
        };
        let last = self.roles.as_ref().and_then(|roles| roles.arns.last());
        for arn in arns {
            let Some(roles) = &self.roles else { break };
            let keys = self.sts.assume(arn, roles, Some(arn) == last, &found.credentials).await?;
            found = Found { credentials: keys, provider: format!("role {arn} by {}", found.provider) };
        }
        Ok(found)
    }
}

/// The credentials of the first place that has any; one that has some and cannot give them ends
/// the search.
async fn first(places: &[Place]) -> Result<Found, CredentialsError> {
    let mut empty = Vec::new();
    for (name, provider) in places {
        match provider.provide_credentials().await {
            Ok(credentials) => return Ok(Found { credentials, provider: name.clone() }),
            Err(CredentialsError::CredentialsNotLoaded(_)) => empty.push(name.as_str()),
            Err(error) => return Err(named(name, error)),
        }
    }
    let text = format!("none found (looked for {})", empty.join(", "));
    Err(CredentialsError::not_loaded(text))
}

async fn ask(name: &str, provider: &SharedCredentialsProvider) -> Result<Found, CredentialsError> {
    match provider.provide_credentials().await {
        Ok(credentials) => Ok(Found { credentials, provider: name.to_owned() }),
        Err(error) => Err(named(name, error)),
    }
}

/// The error of a place, with its name, which the SDK's lacks.
fn named(name: &str, error: CredentialsError) -> CredentialsError {
    match error {
        CredentialsError::ProviderTimedOut(_) => error,
        error => {
            let cause = std::error::Error::source(&error);
            let text = cause.map_or_else(|| "not there, or without any".to_owned(), failure::chain);
            CredentialsError::provider_error(NotGiven {
                words: format!("{name}: {text}"),
                code: sts_code(&error).map(code_of_sts),
            })
        }
    }
}

/// The code of STS, where a provider of the SDK asked it.
fn sts_code(error: &CredentialsError) -> Option<&str> {
    let mut cause = std::error::Error::source(error);
    while let Some(error) = cause {
        let role = error.downcast_ref::<AssumeRoleError>().map(ProvideErrorMetadata::code);
        let token = || error.downcast_ref::<AssumeRoleWithWebIdentityError>().map(ProvideErrorMetadata::code);
        if let Some(code) = role.or_else(token) {
            return code;
        }
        cause = error.source();
    }
    None
}
