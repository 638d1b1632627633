//! SIGTERM and SIGINT: the first one asks for a clean stop, the second ends the process. SIGHUP asks
//! a daemon to read its configuration anew.

use std::io;

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio_util::sync::CancellationToken;
use tracing::info;

/// Exit code after a second signal.
const INTERRUPTED: i32 = 130;

#[allow(clippy::disallowed_methods, reason = "a second signal asks for just that")]
/// Cancels `stop` at the first signal. At the second the process exits at once: whatever was
/// committed stays, the next start is exact.
pub async fn watch(stop: CancellationToken) -> io::Result<()> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    loop {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        if stop.is_cancelled() {
            std::process::exit(INTERRUPTED);
        }
        info!(
            "stopping: what is in flight is finished or noted, then committed; a second signal exits at once"
        );
        stop.cancel();
    }
}

/// SIGHUPs; from now on they end the process no more.
pub fn hangups() -> io::Result<Signal> {
    signal(SignalKind::hangup())
}
