//! The certificates that a server shows, without asking it anything.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use aws_sdk_s3::config::endpoint::{DefaultResolver, Params, ResolveEndpoint as _};
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, SignatureScheme};
use sha2::{Digest as _, Sha256};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use super::{TrustError, advice_for, pem, roots};
use crate::aws::http::{Way, host};
use crate::aws::{Timeouts, connection};
use crate::config::{Access, ProxyServer};
use crate::failure;

/// Bytes of a proxy's answer to CONNECT.
const LONGEST_ANSWER: usize = 8 * 1024;

/// What a server showed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServerCertificates {
    /// `host:port`.
    pub server: String,
    /// The proxy that was used, without user and password.
    pub proxy: Option<String>,
    /// `TLSv1_3` or `TLSv1_2`.
    pub protocol: Option<String>,
    /// The server's own first, as it sent them.
    pub chain: Vec<Certificate>,
    /// Why the chain is not trusted; `None` when it is.
    pub distrust: Option<String>,
}

/// One certificate.
#[derive(Clone, PartialEq, Eq)]
pub struct Certificate {
    /// SHA-256 over its DER form: 32 pairs of hexadecimal digits with colons between.
    pub sha256: String,
    /// As a file for `ca_bundle` has it.
    pub pem: String,
}

impl fmt::Debug for Certificate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Certificate").field(&self.sha256).finish()
    }
}

/// A server's certificates cannot be shown.
#[derive(Debug, thiserror::Error)]
pub enum CertificateError {
    /// The certificates of `ca_bundle`.
    #[error(transparent)]
    Trust(#[from] TrustError),
    /// The settings make no connection.
    #[error(transparent)]
    Client(#[from] crate::aws::ClientError),
    /// The endpoint is `http://`.
    #[error("{0} is not encrypted and has no certificates")]
    Plain(String),
    /// The endpoint cannot be told.
    #[error("no endpoint: {0}")]
    Endpoint(String),
    /// No connection, or no TLS on it.
    #[error("no TLS connection to {server}: {reason}")]
    Connection {
        /// `host:port`.
        server: String,
        /// What happened.
        reason: String,
    },
}

pub(crate) async fn server_certificates(
    access: &Access,
    bucket: &str,
    timeouts: Timeouts,
) -> Result<ServerCertificates, CertificateError> {
    let url = endpoint(access, bucket, timeouts).await?;
    let name = host(&url).unwrap_or_default().to_owned();
    let Some(rest) = url.strip_prefix("https://") else { return Err(CertificateError::Plain(url)) };
    let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
    let has_port = authority.rsplit_once(':').is_some_and(|(_, port)| !port.contains(']'));
    let server = if has_port { authority.to_owned() } else { format!("{authority}:443") };
    let failed = |reason: String| CertificateError::Connection { server: server.clone(), reason };
    let proxy = Way::of(&url).server(&access.proxy).filter(|_| !is_excepted(access, &name));
    let server_name = ServerName::try_from(name).map_err(|error| failed(error.to_string()))?;
    let witness = Arc::new(Witness::new(access)?);
    let shaken = tokio::time::timeout(timeouts.connect, async {
        let stream: Box<dyn Stream> = match proxy {
            Some(proxy) => Box::new(tunnel(access, proxy, &server).await?),
            None => Box::new(connect(access, &server).await?),
        };
        handshake(stream, server_name, witness.clone()).await
    });
    let protocol = shaken
        .await
        .map_err(|_| failed(format!("nothing within {} s", timeouts.connect.as_secs())))?
        .map_err(failed)?;
    let seen = witness.seen.lock().unwrap_or_else(PoisonError::into_inner).clone();
    Ok(ServerCertificates {
        proxy: proxy.map(|proxy| proxy.url.clone()),
        protocol,
        chain: seen.chain,
        distrust: seen.distrust,
        server,
    })
}

/// The URL that requests about the bucket go to.
async fn endpoint(access: &Access, bucket: &str, timeouts: Timeouts) -> Result<String, CertificateError> {
    let wrong = |error: &dyn std::error::Error| CertificateError::Endpoint(failure::chain(error));
    let connection = connection::connect(access, timeouts).await?;
    let region = connection.client().config().region().map(|region| region.as_ref().to_owned());
    let params = Params::builder()
        .bucket(bucket)
        .set_region(region)
        .set_endpoint(connection.endpoint_url.clone())
        .force_path_style(access.path_style)
        .use_fips(access.use_fips)
        .use_dual_stack(access.dual_stack)
        .build()
        .map_err(|error| wrong(&error))?;
    let resolved = DefaultResolver::new().resolve_endpoint(&params).await;
    Ok(resolved.map_err(|error| CertificateError::Endpoint(failure::chain(&*error)))?.url().to_owned())
}

/// A connection of either kind.
trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

/// Whether `no_proxy` excepts a host: `*`, the host itself, or a domain above it. Networks are not
/// looked at: names are not resolved for them here.
fn is_excepted(access: &Access, host: &str) -> bool {
    let rules = access.proxy.no_proxy.as_deref().unwrap_or_default();
    rules.split(',').map(|rule| rule.trim().trim_start_matches("*.").trim_start_matches('.')).any(|rule| {
        let above = host.len().checked_sub(rule.len() + 1).is_some_and(|at| {
            host.get(at..).is_some_and(|tail| {
                tail.strip_prefix('.').is_some_and(|tail| tail.eq_ignore_ascii_case(rule))
            })
        });
        !rule.is_empty() && (rule == "*" || host.eq_ignore_ascii_case(rule) || above)
    })
}

async fn connect(access: &Access, server: &str) -> Result<TcpStream, String> {
    let addresses = tokio::net::lookup_host(server).await.map_err(|error| format!("no address: {error}"))?;
    let mut last = "no address that `ip_version` allows".to_owned();
    for address in addresses.filter(|address| access.ip_version.takes(&address.ip())) {
        match TcpStream::connect(address).await {
            Ok(stream) => return Ok(stream),
            Err(error) => last = format!("{address}: {error}"),
        }
    }
    Err(last)
}

/// A connection to `server` by CONNECT.
async fn tunnel(access: &Access, proxy: &ProxyServer, server: &str) -> Result<TcpStream, String> {
    let Some(place) = proxy.url.strip_prefix("http://") else {
        return Err(format!("certificates are not shown through {}, which speaks TLS itself", proxy.url));
    };
    let place = if place.contains(':') { place.to_owned() } else { format!("{place}:80") };
    let mut stream = connect(access, &place).await.map_err(|reason| format!("proxy {place}: {reason}"))?;
    let mut request = format!("CONNECT {server} HTTP/1.1\r\nHost: {server}\r\n");
    if let Some((user, password)) = &proxy.login {
        let login = aws_smithy_types::base64::encode(format!("{user}:{}", password.expose()));
        request.push_str(&format!("Proxy-Authorization: Basic {login}\r\n"));
    }
    request.push_str("\r\n");
    let broken = |error: std::io::Error| format!("proxy {place}: {error}");
    stream.write_all(request.as_bytes()).await.map_err(broken)?;
    let mut answer = Vec::new();
    while !answer.ends_with(b"\r\n\r\n") {
        // byte by byte: what follows the head is the server's
        let byte = stream.read_u8().await.map_err(broken)?;
        answer.push(byte);
        if answer.len() > LONGEST_ANSWER {
            return Err(format!("proxy {place}: an endless answer"));
        }
    }
    let answer = String::from_utf8_lossy(&answer).into_owned();
    let status = answer.split(' ').nth(1).unwrap_or_default();
    match status.starts_with('2') {
        true => Ok(stream),
        false => Err(format!("proxy {place} answered CONNECT with HTTP {status}")),
    }
}

async fn handshake(
    stream: Box<dyn Stream>,
    name: ServerName<'static>,
    witness: Arc<Witness>,
) -> Result<Option<String>, String> {
    let config = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(|error| error.to_string())?
        .dangerous()
        .with_custom_certificate_verifier(witness)
        .with_no_client_auth();
    let connector = TlsConnector::from(Arc::new(config));
    let mut stream = connector.connect(name, stream).await.map_err(|error| failure::chain(&error))?;
    let protocol = stream.get_ref().1.protocol_version().map(|version| format!("{version:?}"));
    // the server may have closed it already
    let _ = stream.shutdown().await;
    Ok(protocol)
}

#[derive(Clone, Debug, Default)]
struct Seen {
    chain: Vec<Certificate>,
    distrust: Option<String>,
}

/// Notes what it is shown and whether it would be trusted. It lets every handshake end, since
/// nothing follows it.
#[derive(Debug)]
struct Witness {
    /// Without any root nothing can be verified.
    judge: Option<Arc<WebPkiServerVerifier>>,
    provider: CryptoProvider,
    seen: Mutex<Seen>,
}

impl Witness {
    fn new(access: &Access) -> Result<Self, TrustError> {
        let provider = aws_lc_rs::default_provider();
        let builder =
            WebPkiServerVerifier::builder_with_provider(Arc::new(roots(access)?), Arc::new(provider.clone()));
        Ok(Witness { judge: builder.build().ok(), provider, seen: Mutex::default() })
    }
}

impl ServerCertVerifier for Witness {
    fn verify_server_cert(
        &self,
        own: &CertificateDer<'_>,
        others: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let distrust = match &self.judge {
            Some(judge) => judge.verify_server_cert(own, others, name, ocsp, now).err(),
            None => Some(rustls::Error::General("no certificate authority is trusted here".to_owned())),
        };
        let chain = std::iter::once(own).chain(others).map(shown).collect();
        let distrust = distrust.map(|error| format!("{error}; {}", advice_for(&error)));
        *self.seen.lock().unwrap_or_else(PoisonError::into_inner) = Seen { chain, distrust };
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        rustls::crypto::verify_tls12_signature(message, certificate, signed, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        rustls::crypto::verify_tls13_signature(message, certificate, signed, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}

fn shown(certificate: &CertificateDer<'_>) -> Certificate {
    let digest = Sha256::digest(certificate.as_ref());
    let pairs: Vec<String> = digest.iter().map(|byte| format!("{byte:02X}")).collect();
    Certificate { sha256: pairs.join(":"), pem: pem(certificate) }
}
