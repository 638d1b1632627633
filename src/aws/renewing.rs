//! Credentials that are renewed before they expire, and at once when S3 says that they did.
//!
//! One search at a time; whoever asks meanwhile waits for it. A search that fails leaves the
//! credentials at hand in use as long as they hold.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use aws_credential_types::Credentials;
use aws_credential_types::provider::error::CredentialsError;
use aws_credential_types::provider::{ProvideCredentials, future};
use chrono::{DateTime, TimeDelta, Utc};
use futures_util::future::BoxFuture;
use tokio::sync::Mutex;

use crate::clock::Clock;
use crate::failure;

/// Credentials are renewed this long before they expire, or in the last quarter of a shorter life.
const AHEAD: TimeDelta = TimeDelta::minutes(5);
/// How long a failed search is not repeated while the credentials at hand still hold.
const PAUSE: TimeDelta = TimeDelta::seconds(10);
/// How long a search may take, all its requests together.
const SEARCH: Duration = Duration::from_secs(60);

/// What a search found.
#[derive(Clone, Debug)]
pub(super) struct Found {
    pub credentials: Credentials,
    /// Where they came from, in words.
    pub provider: String,
}

/// Looks for credentials.
pub(super) type Search = Box<dyn Fn() -> BoxFuture<'static, Result<Found, CredentialsError>> + Send + Sync>;

/// Credentials shared by all requests of one source.
#[derive(Clone)]
pub(super) struct Renewing(Arc<Inner>);

struct Inner {
    search: Search,
    clock: Arc<dyn Clock>,
    held: Mutex<Option<Held>>,
}

struct Held {
    found: Found,
    /// When to search again.
    renew_at: Option<DateTime<Utc>>,
}

impl fmt::Debug for Renewing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Renewing(..)")
    }
}

impl Renewing {
    /// Nothing is searched before credentials are asked for.
    pub fn new(clock: Arc<dyn Clock>, search: Search) -> Self {
        Renewing(Arc::new(Inner { search, clock, held: Mutex::new(None) }))
    }

    /// Credentials that hold, as far as their expiry tells.
    pub async fn current(&self) -> Result<Found, CredentialsError> {
        let mut held = self.0.held.lock().await;
        let now = self.0.clock.now();
        if let Some(at_hand) = held.as_ref().filter(|held| held.renew_at.is_none_or(|at| now < at)) {
            return Ok(at_hand.found.clone());
        }
        let searched = tokio::time::timeout(SEARCH, (self.0.search)()).await;
        match searched.unwrap_or_else(|_| Err(CredentialsError::provider_timed_out(SEARCH))) {
            Ok(found) => {
                let renew_at = renew_at(&found.credentials, now);
                *held = Some(Held { found: found.clone(), renew_at });
                Ok(found)
            }
            Err(error) => match held.as_mut().filter(|held| expiry(&held.found.credentials) > Some(now)) {
                Some(at_hand) => {
                    let error = failure::chain(&error);
                    tracing::warn!(error, "credentials not renewed, those at hand still hold");
                    at_hand.renew_at = Some(now + PAUSE);
                    Ok(at_hand.found.clone())
                }
                None => Err(error),
            },
        }
    }

    /// Drops the credentials that a request was refused with, so that the next one searches.
    /// `false` when they cannot change: they never expire, or the search began by others already.
    pub async fn refuse(&self, token: Option<&str>) -> bool {
        let mut held = self.0.held.lock().await;
        match held.as_ref() {
            Some(at_hand) if at_hand.found.credentials.session_token() == token => {
                let renews = at_hand.renew_at.is_some();
                if renews {
                    *held = None;
                }
                renews
            }
            // another request had them dropped or renewed
            _ => true,
        }
    }

    /// The session token of the credentials at hand.
    pub async fn token(&self) -> Option<String> {
        let held = self.0.held.lock().await;
        held.as_ref().and_then(|held| held.found.credentials.session_token().map(str::to_owned))
    }
}

impl ProvideCredentials for Renewing {
    fn provide_credentials<'a>(&'a self) -> future::ProvideCredentials<'a>
    where
        Self: 'a,
    {
        future::ProvideCredentials::new(async { self.current().await.map(|found| found.credentials) })
    }
}

/// When credentials expire; `None` for those that never do.
pub(super) fn expiry(credentials: &Credentials) -> Option<DateTime<Utc>> {
    let since = credentials.expiry()?.duration_since(SystemTime::UNIX_EPOCH).ok()?;
    DateTime::from_timestamp(i64::try_from(since.as_secs()).ok()?, since.subsec_nanos())
}

fn renew_at(credentials: &Credentials, now: DateTime<Utc>) -> Option<DateTime<Utc>> {
    let until = expiry(credentials)?;
    let life = (until - now).max(TimeDelta::zero());
    Some(until - AHEAD.min(life / 4))
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex as StdMutex;
    use std::sync::atomic::{AtomicU32, Ordering};

    use super::*;

    struct Hands(StdMutex<DateTime<Utc>>);

    impl Clock for Hands {
        fn now(&self) -> DateTime<Utc> {
            *self.0.lock().expect("no test panics with it")
        }
    }

    /// Renewing credentials that hold an hour each, and fail while `broken`.
    struct World {
        hands: Arc<Hands>,
        searches: Arc<AtomicU32>,
        broken: Arc<AtomicU32>,
        renewing: Renewing,
    }

    fn world(life: Option<Duration>) -> World {
        let hands = Arc::new(Hands(StdMutex::new(DateTime::UNIX_EPOCH)));
        let (searches, broken) = (Arc::new(AtomicU32::new(0)), Arc::new(AtomicU32::new(0)));
        let (clock, counted, failing) = (hands.clone(), searches.clone(), broken.clone());
        let search: Search = Box::new(move || {
            let number = counted.fetch_add(1, Ordering::Relaxed) + 1;
            let until = life.map(|life| SystemTime::from(clock.now()) + life);
            let failed = failing.load(Ordering::Relaxed) > 0;
            Box::pin(async move {
                if failed {
                    return Err(CredentialsError::provider_error("the provider is down"));
                }
                let token = Some(format!("token-{number}"));
                let credentials = Credentials::new("AKID", "hush", token, until, "test");
                Ok(Found { credentials, provider: "test".into() })
            })
        });
        World { renewing: Renewing::new(hands.clone(), search), hands, searches, broken }
    }

    impl World {
        async fn token_after(&self, seconds: i64) -> Option<String> {
            *self.hands.0.lock().expect("no test panics with it") += TimeDelta::seconds(seconds);
            let found = self.renewing.current().await.ok()?;
            found.credentials.session_token().map(str::to_owned)
        }
    }

    #[tokio::test]
    async fn credentials_are_renewed_before_they_expire() {
        let world = world(Some(Duration::from_secs(3600)));
        assert_eq!(world.token_after(0).await.as_deref(), Some("token-1"));
        assert_eq!(world.token_after(3299).await.as_deref(), Some("token-1"));
        assert_eq!(world.token_after(1).await.as_deref(), Some("token-2"), "five minutes ahead");
        assert_eq!(world.searches.load(Ordering::Relaxed), 2);
    }

    #[tokio::test]
    async fn a_failed_renewal_keeps_what_still_holds() {
        let world = world(Some(Duration::from_secs(3600)));
        world.token_after(0).await;
        world.broken.store(1, Ordering::Relaxed);
        assert_eq!(world.token_after(3400).await.as_deref(), Some("token-1"));
        assert_eq!(world.token_after(9).await.as_deref(), Some("token-1"));
        assert_eq!(world.searches.load(Ordering::Relaxed), 2, "no second try within the pause");
        assert_eq!(world.token_after(191).await, None, "it has expired");
        world.broken.store(0, Ordering::Relaxed);
        assert_eq!(world.token_after(0).await.as_deref(), Some("token-4"));
    }

    #[tokio::test]
    async fn refused_credentials_are_searched_anew_once() {
        let world = world(Some(Duration::from_secs(3600)));
        world.token_after(0).await;
        assert!(world.renewing.refuse(Some("token-1")).await);
        assert_eq!(world.token_after(0).await.as_deref(), Some("token-2"));
        assert!(world.renewing.refuse(Some("token-1")).await, "a late refusal of the old ones");
        assert_eq!(world.token_after(0).await.as_deref(), Some("token-2"));
        let lasting = self::world(None);
        lasting.token_after(0).await;
        assert!(!lasting.renewing.refuse(Some("token-1")).await, "a new search finds the same");
        assert!(!format!("{:?}", lasting.renewing).contains("hush"));
    }
}
