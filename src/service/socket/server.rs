//! The side of the daemon: few clients, short lines, and nobody who is slow keeps a place.

use std::fs::{self, DirBuilder, Permissions};
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use futures_util::stream::{FuturesUnordered, StreamExt as _};
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::{UnixListener, UnixStream};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tracing::{debug, warn};

use super::protocol::{Because, RequestLine, Response, ResponseLine, VERSION};
use super::{NAME, with_short_path};
use crate::service::control::Control;
use crate::service::turn::Holding;

/// The folder in which a new socket lies until nobody else can open it.
const NEW: &str = ".control-new";

/// Bounds of the server.
#[derive(Clone, Copy, Debug)]
pub struct ServeLimits {
    /// Clients at once; others are told so and sent away.
    pub clients: usize,
    /// Bytes of a request, its line break included.
    pub line: usize,
    /// A client without a request for this long is sent away.
    pub idle: Duration,
    /// How long a request may take to arrive once it has begun, and an answer to be taken.
    pub slow: Duration,
}

impl Default for ServeLimits {
    fn default() -> Self {
        ServeLimits {
            clients: 16,
            line: 64 * 1024,
            idle: Duration::from_secs(600),
            slow: Duration::from_secs(10),
        }
    }
}

/// The socket of a running instance; its file goes with it.
pub struct Server {
    listener: UnixListener,
    file: PathBuf,
    limits: ServeLimits,
}

impl Drop for Server {
    fn drop(&mut self) {
        // a start removes what is left
        let _ = fs::remove_file(&self.file);
    }
}

impl Server {
    /// Makes the socket, in the place of one that a dead process left. The caller holds the lock
    /// of the state directory.
    pub fn listen(state_dir: &Path, limits: ServeLimits) -> io::Result<Self> {
        let listener = with_short_path(state_dir, |dir| {
            let folder = dir.join(NEW);
            let _ = fs::remove_dir_all(&folder); // left by a crash, or not there
            DirBuilder::new().mode(0o700).create(&folder)?;
            let made = folder.join(NAME);
            let listener = std::os::unix::net::UnixListener::bind(&made)?;
            fs::set_permissions(&made, Permissions::from_mode(0o600))?;
            fs::rename(&made, dir.join(NAME))?;
            fs::remove_dir(&folder)?;
            Ok(listener)
        })?;
        listener.set_nonblocking(true)?;
        Ok(Server { listener: UnixListener::from_std(listener)?, file: state_dir.join(NAME), limits })
    }

    /// Answers until `stop`; requests under way are dropped then, and their clients see the end.
    pub async fn serve(&self, control: &Control<'_>, stop: &CancellationToken) {
        let mut clients = FuturesUnordered::new();
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                Some(()) = clients.next(), if !clients.is_empty() => {}
                accepted = self.listener.accept() => match accepted {
                    Ok((stream, _)) if clients.len() < self.limits.clients => {
                        clients.push(self.attend(stream, control));
                    }
                    Ok((stream, _)) => send_away(&stream),
                    Err(error) => {
                        warn!(%error, "the control socket does not accept");
                        tokio::time::sleep(self.limits.slow).await;
                    }
                },
            }
        }
    }

    async fn attend(&self, stream: UnixStream, control: &Control<'_>) {
        if let Err(error) = self.converse(stream, control).await {
            debug!(%error, "a client of the control socket went");
        }
    }

    async fn converse(&self, mut stream: UnixStream, control: &Control<'_>) -> io::Result<()> {
        let (read, mut write) = stream.split();
        let mut reader = BufReader::new(read);
        let mut holding = Holding::default();
        loop {
            let Ok(begun) = timeout(self.limits.idle, reader.fill_buf()).await else { return Ok(()) };
            if begun?.is_empty() {
                return Ok(());
            }
            let mut line = Vec::new();
            let limit = self.limits.line as u64;
            let mut bounded = (&mut reader).take(limit);
            let arrived = timeout(self.limits.slow, bounded.read_until(b'\n', &mut line)).await;
            let arrived = arrived.map(|read| read.map(|_| line.last() == Some(&b'\n')));
            let (answer, goes_on) = match arrived {
                Ok(Ok(true)) => (self.answer(&line, control, &mut holding).await, true),
                Ok(Ok(false)) if line.len() < self.limits.line => return Ok(()), // it went in between
                Ok(Ok(false)) => {
                    let text = format!("a request has at most {} bytes", self.limits.line);
                    (Response::usage(text), false)
                }
                Ok(Err(error)) => return Err(error),
                Err(_) => (Response::usage("the request did not arrive in time"), false),
            };
            let answer = encoded(answer);
            let written = timeout(self.limits.slow, write.write_all(&answer)).await;
            written.map_err(|_| io::Error::from(io::ErrorKind::TimedOut))??;
            if !goes_on {
                return Ok(());
            }
        }
    }

    async fn answer(&self, line: &[u8], control: &Control<'_>, holding: &mut Holding) -> Response {
        #[derive(serde::Deserialize)]
        struct Versioned {
            v: u32,
        }
        // before the rest is read: another version may have another form
        match serde_json::from_slice(line) {
            Ok(Versioned { v: VERSION }) => {}
            Ok(Versioned { v }) => {
                return Response::usage(format!(
                    "the daemon speaks version {VERSION} on its socket, not {v}; use the same s3sweep"
                ));
            }
            Err(error) => return Response::usage(format!("not a request: {error}")),
        }
        match serde_json::from_slice(line) {
            Ok(RequestLine { request, .. }) => control.answer(request, holding).await,
            Err(error) => Response::usage(format!("not a request: {error}")),
        }
    }
}

fn encoded(response: Response) -> Vec<u8> {
    let mut line = serde_json::to_vec(&ResponseLine { v: VERSION, response })
        .expect("plain structs with text keys always serialise to memory");
    line.push(b'\n');
    line
}

/// Tells a client that there is no room; a fresh socket takes one short line at once.
fn send_away(stream: &UnixStream) {
    let busy = Response::Refused {
        because: Because::State,
        message: "the daemon has as many clients as it takes; try again".to_owned(),
    };
    let _ = stream.try_write(&encoded(busy)); // if it cannot be told, it sees the end
}
