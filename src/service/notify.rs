//! Tells the service manager how the daemon stands: ready, reloading, stopping, alive.
//!
//! The protocol is that of sd_notify(3): datagrams to the socket that `NOTIFY_SOCKET` names. Without
//! it nothing is told, and a manager that does not listen holds nothing up.

use std::convert::Infallible;
use std::io;
use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::time::Duration;

use tracing::debug;

use crate::config::environment;

/// The way to the service manager, where there is one.
#[derive(Debug)]
pub struct Notifier {
    socket: Option<(UnixDatagram, SocketAddr)>,
    /// How often it wants to hear that we are alive.
    watchdog: Option<Duration>,
}

impl Notifier {
    /// The manager that the environment names.
    pub fn of_environment() -> Self {
        let watchdog_is_ours = environment("WATCHDOG_PID")
            .is_none_or(|pid| pid.parse().is_ok_and(|pid: u32| pid == std::process::id()));
        let watchdog = environment("WATCHDOG_USEC").filter(|_| watchdog_is_ours);
        Self::new(environment("NOTIFY_SOCKET").as_deref(), watchdog.as_deref())
    }

    /// A manager at `socket`, a path or `@` and an abstract name, that wants a sign of life every
    /// `watchdog` microseconds.
    pub fn new(socket: Option<&str>, watchdog: Option<&str>) -> Self {
        let socket = socket.filter(|name| !name.is_empty()).and_then(|name| match connect(name) {
            Ok(connected) => Some(connected),
            Err(error) => {
                tracing::warn!(socket = name, %error, "the service manager cannot be told anything");
                None
            }
        });
        let period = watchdog.and_then(|text| text.parse().ok()).filter(|period| *period > 0);
        Notifier { watchdog: period.filter(|_| socket.is_some()).map(Duration::from_micros), socket }
    }

    /// The sweeps have begun, or go on by another configuration.
    pub fn ready(&self, sources: usize) {
        self.tell(&format!("READY=1\nSTATUS={}", status(sources)));
    }

    /// The configuration is read anew; [`Notifier::ready`] follows, whatever comes of it.
    pub fn reloading(&self) {
        let now = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
        let micros = i128::from(now.tv_sec) * 1_000_000 + i128::from(now.tv_nsec) / 1_000;
        self.tell(&format!("RELOADING=1\nMONOTONIC_USEC={micros}"));
    }

    /// The daemon finishes what is in flight.
    pub fn stopping(&self) {
        self.tell("STOPPING=1\nSTATUS=finishing what is in flight");
    }

    /// Tells at twice the rate that is asked for that the daemon is alive; never returns.
    pub async fn stay_alive(&self) -> Infallible {
        let Some(period) = self.watchdog else { return std::future::pending().await };
        loop {
            self.tell("WATCHDOG=1");
            tokio::time::sleep(period / 2).await;
        }
    }

    fn tell(&self, message: &str) {
        let Some((socket, address)) = &self.socket else { return };
        if let Err(error) = socket.send_to_addr(message.as_bytes(), address) {
            debug!(%error, "the service manager does not listen");
        }
    }
}

fn status(sources: usize) -> String {
    format!("sweeping {sources} {}", if sources == 1 { "source" } else { "sources" })
}

fn connect(name: &str) -> io::Result<(UnixDatagram, SocketAddr)> {
    let address = match name.strip_prefix('@') {
        Some(name) => SocketAddr::from_abstract_name(name)?,
        None => SocketAddr::from_pathname(name)?,
    };
    let socket = UnixDatagram::unbound()?;
    socket.set_nonblocking(true)?;
    Ok((socket, address))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn every_word_arrives_by_path_and_by_abstract_name() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("notify").display().to_string();
        let name = format!("@s3sweep-test-{}", std::process::id());
        for socket in [path, name] {
            let (_, address) = connect(&socket).expect("an address");
            let manager = UnixDatagram::bind_addr(&address).expect("a socket");
            let heard = || {
                let mut buffer = [0; 200];
                let length = manager.recv(&mut buffer).expect("a datagram");
                String::from_utf8_lossy(&buffer[..length]).into_owned()
            };
            let notifier = Notifier::new(Some(&socket), Some("3000000"));
            notifier.ready(1);
            assert_eq!(heard(), "READY=1\nSTATUS=sweeping 1 source");
            notifier.reloading();
            let reloading = heard();
            let micros = reloading.strip_prefix("RELOADING=1\nMONOTONIC_USEC=").expect(&reloading);
            assert!(micros.parse::<u64>().is_ok_and(|micros| micros > 0), "{reloading}");
            notifier.stopping();
            assert_eq!(heard(), "STOPPING=1\nSTATUS=finishing what is in flight");
            let alive = tokio::time::timeout(Duration::from_secs(4), notifier.stay_alive()).await;
            assert!(alive.is_err(), "it never returns");
            for _ in 0..3 {
                assert_eq!(heard(), "WATCHDOG=1");
            }
        }
    }

    #[test]
    fn without_a_manager_nothing_is_told_and_nothing_fails() {
        for (socket, watchdog) in [
            (None, Some("10")),
            (Some(""), None),
            (Some("/nowhere/notify"), Some("0")),
            (Some("@"), Some("x")),
        ] {
            let notifier = Notifier::new(socket, watchdog);
            notifier.ready(2);
            notifier.stopping();
            assert_eq!(notifier.watchdog, None, "{socket:?}");
        }
    }
}
