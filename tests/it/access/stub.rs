//! Servers of a few lines, on loopback: HTTP with scripted answers, TLS in front of another server,
//! and a proxy that wants a login.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rustls::ServerConfig;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;

/// One request, as it came in.
#[derive(Clone, Debug, Default)]
pub struct Asked {
    pub method: String,
    pub target: String,
    /// Head and body as text.
    pub text: String,
}

impl Asked {
    pub fn header(&self, name: &str) -> Option<&str> {
        let lines = self.text.split("\r\n").take_while(|line| !line.is_empty());
        lines
            .filter_map(|line| line.split_once(": "))
            .find(|(n, _)| n.eq_ignore_ascii_case(name))
            .map(|(_, v)| v)
    }

    /// The access key id that signed it.
    pub fn signer(&self) -> Option<&str> {
        self.header("authorization")?.split_once("Credential=")?.1.split('/').next()
    }
}

/// An answer: status, headers, body.
pub type Answer = (u16, Vec<(&'static str, String)>, String);

pub fn ok(body: impl Into<String>) -> Answer {
    (200, Vec::new(), body.into())
}

/// A running server; its connections end with it.
pub struct Stub {
    pub address: SocketAddr,
    asked: Arc<Mutex<Vec<Asked>>>,
    _tasks: JoinSet<()>,
}

impl Stub {
    /// A server whose answers `answer` gives.
    pub async fn start(answer: impl Fn(&Asked) -> Answer + Send + Sync + 'static) -> Self {
        Self::slow(Duration::ZERO, answer).await
    }

    /// One that takes its time for each answer.
    pub async fn slow(delay: Duration, answer: impl Fn(&Asked) -> Answer + Send + Sync + 'static) -> Self {
        let answer = Arc::new(answer);
        serve((Ipv4Addr::LOCALHOST, 0).into(), move |mut stream, asked| {
            let answer = answer.clone();
            async move {
                let Some(request) = read(&mut stream).await else { return };
                asked.lock().unwrap().push(request.clone());
                tokio::time::sleep(delay).await;
                let (status, headers, body) = answer(&request);
                let mut text =
                    format!("HTTP/1.1 {status} x\r\nConnection: close\r\nContent-Length: {}\r\n", body.len());
                for (name, value) in headers {
                    text.push_str(&format!("{name}: {value}\r\n"));
                }
                text.push_str("\r\n");
                text.push_str(&body);
                let _ = stream.write_all(text.as_bytes()).await;
                let _ = stream.shutdown().await;
            }
        })
        .await
        .unwrap()
    }

    /// TLS with this certificate in front of the server at `behind`.
    pub async fn tls(certificate: &Signed, behind: SocketAddr) -> Self {
        let config =
            ServerConfig::builder_with_provider(Arc::new(rustls::crypto::aws_lc_rs::default_provider()))
                .with_safe_default_protocol_versions()
                .unwrap()
                .with_no_client_auth()
                .with_single_cert(vec![certificate.der.clone()], certificate.key.clone_key())
                .unwrap();
        let acceptor = TlsAcceptor::from(Arc::new(config));
        serve((Ipv4Addr::LOCALHOST, 0).into(), move |stream, _| {
            let acceptor = acceptor.clone();
            async move {
                let Ok(mut stream) = acceptor.accept(stream).await else { return };
                let Ok(mut behind) = TcpStream::connect(behind).await else { return };
                let _ = tokio::io::copy_bidirectional(&mut stream, &mut behind).await;
            }
        })
        .await
        .unwrap()
    }

    /// A proxy that leads every CONNECT with this login to the server at `behind`.
    pub async fn proxy(user: &str, password: &str, behind: SocketAddr) -> Self {
        let login = aws_smithy_types::base64::encode(format!("{user}:{password}"));
        serve((Ipv4Addr::LOCALHOST, 0).into(), move |mut stream, asked| {
            let login = format!("Basic {login}");
            async move {
                let Some(request) = read(&mut stream).await else { return };
                let answer = match request.header("proxy-authorization") {
                    Some(given) if given == login => "HTTP/1.1 200 OK\r\n\r\n",
                    _ => "HTTP/1.1 407 Proxy Authentication Required\r\nContent-Length: 0\r\n\r\n",
                };
                asked.lock().unwrap().push(request);
                let _ = stream.write_all(answer.as_bytes()).await;
                if answer.contains("200") {
                    let Ok(mut behind) = TcpStream::connect(behind).await else { return };
                    let _ = tokio::io::copy_bidirectional(&mut stream, &mut behind).await;
                }
            }
        })
        .await
        .unwrap()
    }

    /// A server that says these bytes, whatever it is sent.
    pub async fn raw(bytes: Vec<u8>) -> Self {
        serve((Ipv4Addr::LOCALHOST, 0).into(), move |mut stream, _| {
            let bytes = bytes.clone();
            async move {
                let mut hello = [0; 4096];
                let _ = stream.read(&mut hello).await;
                let _ = stream.write_all(&bytes).await;
                // until the other side gives up
                let _ = stream.read(&mut hello).await;
            }
        })
        .await
        .unwrap()
    }

    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// What was asked so far.
    pub fn asked(&self) -> Vec<Asked> {
        self.asked.lock().unwrap().clone()
    }
}

async fn serve<F>(
    at: SocketAddr,
    handle: impl Fn(TcpStream, Arc<Mutex<Vec<Asked>>>) -> F + Send + Sync + 'static,
) -> std::io::Result<Stub>
where
    F: Future<Output = ()> + Send + 'static,
{
    let listener = TcpListener::bind(at).await?;
    let address = listener.local_addr()?;
    let asked = Arc::new(Mutex::new(Vec::new()));
    let mut tasks = JoinSet::new();
    let notes = asked.clone();
    tasks.spawn(async move {
        let mut connections = JoinSet::new();
        while let Ok((stream, _)) = listener.accept().await {
            connections.spawn(handle(stream, notes.clone()));
        }
    });
    Ok(Stub { address, asked, _tasks: tasks })
}

async fn read(stream: &mut (impl AsyncRead + Unpin)) -> Option<Asked> {
    let mut bytes = Vec::new();
    loop {
        let text = String::from_utf8_lossy(&bytes).into_owned();
        if let Some((head, body)) = text.split_once("\r\n\r\n") {
            let mut words = head.split(' ');
            let asked = Asked {
                method: words.next()?.to_owned(),
                target: words.next()?.to_owned(),
                text: text.clone(),
            };
            let length = asked.header("content-length").and_then(|length| length.parse().ok()).unwrap_or(0);
            if body.len() >= length {
                return Some(asked);
            }
        }
        if stream.read_buf(&mut bytes).await.ok()? == 0 {
            return None;
        }
    }
}

/// A certificate and its key.
pub struct Signed {
    pub der: CertificateDer<'static>,
    key: PrivateKeyDer<'static>,
}

/// A private certificate authority.
pub struct Authority(CertifiedIssuer<'static, KeyPair>);

impl Authority {
    pub fn new() -> Self {
        let mut params = CertificateParams::new([]).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name.push(rcgen::DnType::CommonName, "s3sweep test authority");
        Authority(CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap())
    }

    pub fn pem(&self) -> String {
        self.0.pem()
    }

    pub fn der(&self) -> Vec<u8> {
        self.0.der().to_vec()
    }

    /// A certificate for a name, which ends with this year.
    pub fn sign(&self, name: &str, last_year: i32) -> Signed {
        self.sign_all(&[name], last_year)
    }

    /// The same for several names, also with `*.` in front.
    pub fn sign_all(&self, names: &[&str], last_year: i32) -> Signed {
        let names: Vec<_> = names.iter().map(|name| (*name).to_owned()).collect();
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(names).unwrap();
        params.not_before = rcgen::date_time_ymd(2000, 1, 1);
        params.not_after = rcgen::date_time_ymd(last_year, 12, 31);
        let certificate = params.signed_by(&key, &self.0).unwrap();
        Signed { der: certificate.der().clone(), key: PrivateKeyDer::try_from(key.serialize_der()).unwrap() }
    }
}
