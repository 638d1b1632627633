//! Sources that are looked at: listed and compared, while state and sink stay as they are.

use std::sync::Arc;

use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::Source;
use super::wiring::Shared;
use crate::bucket::{BucketError, ObjectRef};
use crate::clock::Clock;
use crate::config::Config;
use crate::state::State;
use crate::state::overlay::OverlayState;
use crate::sweep::audit::{self, Audited, Span, Told};
use crate::sweep::{self, Mode, SweepContext, SweepError, SweepLimits, Swept};

/// Looks at sources and changes nothing.
pub struct ReadOnly<'a> {
    config: &'a Config,
    shared: Shared,
    stop: CancellationToken,
}

impl<'a> ReadOnly<'a> {
    /// Looks at the sources of `config` in this state, until `stop`.
    pub fn new(
        config: &'a Config,
        state: Arc<dyn State>,
        clock: Arc<dyn Clock>,
        stop: CancellationToken,
    ) -> Self {
        let limits = Arc::new(SweepLimits::new(&config.limits));
        ReadOnly { config, shared: Shared { state, clock, limits }, stop }
    }

    /// The same, with what others share.
    pub(super) fn sharing(config: &'a Config, shared: Shared, stop: CancellationToken) -> Self {
        ReadOnly { config, shared, stop }
    }

    /// Audits one source; see [`audit::audit`].
    pub async fn audit(
        &self,
        source: &Source,
        span: Span,
        tell: mpsc::Sender<Told>,
    ) -> Result<Audited, SweepError> {
        audit::audit(self.context(source, Mode::Compare).await?, span, tell).await
    }

    /// Sweeps one source without collecting: what it would collect goes to `show`.
    pub async fn preview(
        &self,
        source: &Source,
        show: mpsc::Sender<ObjectRef>,
    ) -> Result<Swept, BucketError> {
        Ok(sweep::preview(self.context(source, Mode::Preview(show)).await?).await)
    }

    async fn context(&self, source: &Source, mode: Mode) -> Result<SweepContext, BucketError> {
        let bucket = source.metered(&self.config.limits).await?;
        let state = Arc::new(OverlayState::new(self.shared.state.clone()));
        let shared = Shared { state, ..self.shared.clone() };
        Ok(shared.context(self.config, source, bucket, self.stop.clone(), mode))
    }
}
