//! A source at work: its settings, its encoder, its bucket, and whose turn it is with its state.

use std::num::NonZeroU64;
use std::sync::Arc;

use tokio::sync::OnceCell;

use super::turn::Turn;
use super::wiring;
use crate::bucket::metered::{Metered, RequestCounts};
use crate::bucket::{self, Bucket, BucketError};
use crate::config::{Config, Limits, SourceConfig};
use crate::encode::{Encoder, SettingsError};
use crate::sweep::progress::Progress;
use crate::throttle::Throttle;

/// A source and the bucket that it reads.
pub struct Source {
    /// Its settings.
    pub config: Arc<SourceConfig>,
    pub(super) encoder: Arc<dyn Encoder>,
    /// Made at the first sweep; a failure is tried again at the next.
    bucket: OnceCell<Arc<dyn Bucket>>,
    /// Bounds its records per second, over all its sweeps.
    pub(super) throttle: Option<Arc<Throttle>>,
    /// How far its sweep is.
    pub progress: Arc<Progress>,
    /// Who may touch its state now.
    pub(super) turn: Turn,
}

impl Source {
    /// A source of `whole`; no request is made yet.
    pub fn new(config: &SourceConfig, whole: &Config) -> Result<Self, SettingsError> {
        Ok(Source {
            config: Arc::new(config.clone()),
            encoder: wiring::encoder(config, whole)?,
            bucket: OnceCell::new(),
            throttle: NonZeroU64::new(config.eps_throttle).map(|rate| Arc::new(Throttle::new(rate))),
            progress: Arc::default(),
            turn: Turn::default(),
        })
    }

    /// The same over another bucket than the one that its settings name.
    #[cfg(feature = "testing")]
    pub fn over(self, bucket: Arc<dyn Bucket>) -> Self {
        Source { bucket: OnceCell::new_with(Some(bucket)), ..self }
    }

    /// The bucket, with its requests counted anew.
    pub async fn metered(
        &self,
        limits: &Limits,
    ) -> Result<(Arc<dyn Bucket>, Arc<RequestCounts>), BucketError> {
        let open = || bucket::open(&self.config.bucket, &self.config.access, wiring::timeouts(limits));
        let bucket = self.bucket.get_or_try_init(open).await?.clone();
        let counts = Arc::new(RequestCounts::default());
        Ok((Arc::new(Metered::new(bucket, counts.clone())), counts))
    }
}
