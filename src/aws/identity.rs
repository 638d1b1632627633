//! Which credentials are used, and whose they are.

use std::fmt;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use chrono::{DateTime, Utc};

use super::connection::Ground;
use super::renewing::Renewing;
use super::sts::Sts;
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

impl fmt::Display for Identity {
    /// On one line, without any secret.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let key = format!("access key {} by {}", self.access_key_id, self.provider);
        match &self.caller {
            Caller::Known { arn, .. } => write!(f, "{arn}, {key}"),
            Caller::Refused(words) => write!(f, "{key}; STS does not tell whose it is: {words}"),
            Caller::NotAsked => f.write_str(&key),
        }
    }
}

/// Who signed requests, to be kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Signer {
    /// As [`Identity::provider`].
    pub provider: String,
    /// The access key id, which is no secret.
    pub access_key_id: String,
    /// The ARN that STS told.
    pub arn: Option<String>,
}

/// How long STS may take to tell whose the key of a sweep is.
const PATIENCE: Duration = Duration::from_secs(3);

/// Asks whose the keys of a connection are, each once.
#[derive(Debug)]
pub(super) struct Asker {
    /// `None` where STS knows nothing of the keys.
    sts: Option<Sts>,
    /// The key that was asked about last.
    asked: Mutex<Option<String>>,
}

impl Asker {
    pub fn new(ground: &Ground) -> Self {
        Asker { sts: asks_sts(ground).then(|| ground.sts.clone()), asked: Mutex::default() }
    }

    /// Who signs now; `None` without credentials. STS is asked for at most [`PATIENCE`], and not when
    /// `known` or an earlier call was about the same key.
    pub async fn signer(&self, credentials: &Renewing, known: Option<Signer>) -> Option<Signer> {
        let found = credentials.current().await.ok()?;
        let id = found.credentials.access_key_id().to_owned();
        let known = known.filter(|known| known.access_key_id == id);
        let mut arn = known.and_then(|known| known.arn);
        if let Some(sts) = self.sts.as_ref().filter(|_| arn.is_none() && self.is_new(&id)) {
            let told = tokio::time::timeout(PATIENCE, sts.caller(&found.credentials)).await;
            arn = told.ok().and_then(Result::ok).map(|answer| answer.arn);
        }
        Some(Signer { provider: found.provider, access_key_id: id, arn })
    }

    fn is_new(&self, id: &str) -> bool {
        let mut asked = self.asked.lock().unwrap_or_else(PoisonError::into_inner);
        asked.replace(id.to_owned()).is_none_or(|before| before != id)
    }
}

/// Whether STS knows the keys: those of another store only where its own STS is named.
fn asks_sts(ground: &Ground) -> bool {
    ground.endpoint_url.is_none() || ground.sts.endpoint_url.is_some()
}

pub(super) async fn identity(access: &Access, timeouts: Timeouts) -> Result<Identity, IdentityError> {
    let ground = connection::ground(access, timeouts).await?;
    let found = ground.credentials.current().await.map_err(|error| {
        let cause = std::error::Error::source(&error).map_or_else(|| error.to_string(), failure::chain);
        IdentityError::Credentials(cause)
    })?;
    let caller = match asks_sts(&ground) {
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
