//! Which credentials are used, and whose they are.

use chrono::{DateTime, Utc};

use super::{ClientError, Timeouts, connection, renewing};
use crate::config::Access;
use crate::failure;

/// Which credentials are used, and whose they are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// Where the credentials came from: `environment variables`, `instance role`,
    /// `role ARN by instance role` and the like.
    pub provider: String,
    /// The access key id, which is no secret.
    pub access_key_id: String,
    /// When they expire; they are renewed before.
    pub expires: Option<DateTime<Utc>>,
    /// The region that requests are signed for, as far as it is known before the bucket is asked.
    pub region: String,
    /// Whose they are.
    pub caller: Caller,
}

/// Whose the credentials are, by STS.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Caller {
    /// STS told.
    Known {
        /// The account's 12 digits.
        account: String,
        /// The ARN of the user, role session or root.
        arn: String,
        /// The unique id.
        user_id: String,
    },
    /// STS refused or could not be reached; its words.
    Refused(String),
    /// STS is not asked about the credentials of another store, unless `sts_endpoint_url` names its
    /// own.
    NotAsked,
}

/// Nothing can be told about the identity.
#[derive(Debug, thiserror::Error)]
pub enum IdentityError {
    /// The settings make no connection.
    #[error(transparent)]
    Client(#[from] ClientError),
    /// No credentials were found, or their provider failed.
    #[error("no credentials: {0}")]
    Credentials(String),
}

pub(super) async fn identity(access: &Access, timeouts: Timeouts) -> Result<Identity, IdentityError> {
    let ground = connection::ground(access, timeouts).await?;
    let found = ground.credentials.current().await.map_err(|error| {
        let cause = std::error::Error::source(&error).map_or_else(|| error.to_string(), failure::chain);
        IdentityError::Credentials(cause)
    })?;
    let ours = access.endpoint_url.is_none() || access.sts_endpoint_url.is_some();
    let caller = match ours {
        false => Caller::NotAsked,
        true => match ground.sts.caller(&found.credentials).await {
            Ok(answer) => Caller::Known { account: answer.account, arn: answer.arn, user_id: answer.user_id },
            Err(words) => Caller::Refused(words),
        },
    };
    Ok(Identity {
        provider: found.provider,
        access_key_id: found.credentials.access_key_id().to_owned(),
        expires: renewing::expiry(&found.credentials),
        region: ground.region.as_ref().to_owned(),
        caller,
    })
}
