//! Metrics, health and status page over HTTP: few connections, one short request on each, and nobody
//! who is slow keeps a place.
//!
//! | path | answer |
//! |---|---|
//! | `/metrics` | all metrics, in Prometheus's text format |
//! | `/healthz` | 200 while all sources are listed, else 503 ([`health`]) |
//! | `/readyz` | 200 once each source was listed, else 503 |
//! | `/api/status` | how everything stands, as JSON ([`overview`]) |
//! | `/` | the same as a page for people |

mod answer;
mod chart;
pub mod health;
mod html;
pub mod overview;
mod page;
mod site;
mod words;

use std::io;
use std::sync::Arc;
use std::time::Duration;

use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tracing::{debug, warn};

use crate::config::HttpConfig;

pub use site::Site;

/// Bytes of a request's head; a longer one is refused.
const HEAD_BYTES: usize = 16 * 1024;
/// How long accepting rests after it failed, for want of descriptors say.
const REST: Duration = Duration::from_secs(1);

/// A socket that listens.
pub struct HttpServer {
    listener: TcpListener,
    max_connections: usize,
    request_timeout: Duration,
}

impl HttpServer {
    /// Takes the address of the configuration; `None` where it names none.
    pub async fn bind(config: &HttpConfig) -> io::Result<Option<Self>> {
        let Some(address) = config.listen else { return Ok(None) };
        let listener = TcpListener::bind(address).await?;
        Ok(Some(HttpServer {
            listener,
            max_connections: config.max_connections,
            request_timeout: config.request_timeout,
        }))
    }

    /// Where it listens: with port 0 in the configuration, a free one.
    pub fn address(&self) -> io::Result<std::net::SocketAddr> {
        self.listener.local_addr()
    }

    /// Answers until `stop`; connections are cut then.
    pub async fn serve(&self, site: Arc<Site>, stop: &CancellationToken) {
        let mut connections = JoinSet::new();
        loop {
            tokio::select! {
                () = stop.cancelled() => return connections.shutdown().await,
                Some(_) = connections.join_next(), if !connections.is_empty() => {}
                accepted = self.listener.accept(), if connections.len() < self.max_connections => match accepted {
                    Ok((stream, _)) => drop(connections.spawn(attend(stream, site.clone(), self.request_timeout))),
                    Err(error) => {
                        warn!(%error, "the HTTP address does not accept");
                        tokio::time::sleep(REST).await;
                    }
                },
            }
        }
    }
}

/// One request, then the connection is closed.
async fn attend(stream: TcpStream, site: Arc<Site>, request_timeout: Duration) {
    let answering = service_fn(move |request: hyper::Request<hyper::body::Incoming>| {
        let site = site.clone();
        async move { Ok::<_, std::convert::Infallible>(answer::answer(&site, &request).await) }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(request_timeout)
        .max_buf_size(HEAD_BYTES)
        .keep_alive(false)
        .serve_connection(TokioIo::new(stream), answering);
    // as long again for the answer to be taken
    match timeout(request_timeout * 2, connection).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => debug!(%error, "a client of the HTTP address went"),
        Err(_) => debug!("a client of the HTTP address was too slow"),
    }
}
