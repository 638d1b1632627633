//! Certificates: those that we trust, looked at before the HTTP client gets them, and those that a
//! server shows.
//!
//! Trusted are the system's and, beside them, those of `ca_bundle`. TLS 1.2 is the least.

use std::error::Error;
use std::fs;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use aws_smithy_http_client::tls::{TlsContext, TrustStore};
use aws_smithy_types::base64;
use rustls::CertificateError as Invalid;
use rustls::RootCertStore;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;

use crate::config::Access;

mod show;

pub(super) use show::server_certificates;
pub use show::{Certificate, CertificateError, ServerCertificates};

/// Bytes of one file of certificates: the system's own bundle has a quarter of a megabyte.
const LIMIT: u64 = 16 * 1024 * 1024;
/// What files of certificates are called; `.0` to `.9` are names by hash.
const ENDINGS: &[&str] = &["pem", "crt", "cer", "der", "0", "1", "2", "3", "4", "5", "6", "7", "8", "9"];

/// The certificates of `ca_bundle` cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum TrustError {
    /// The file or folder cannot be read.
    #[error("`ca_bundle` {} cannot be read: {}", .path.display(), .reason)]
    Read {
        /// The file or folder.
        path: PathBuf,
        /// The system's words.
        reason: io::Error,
    },
    /// What is there is no certificate.
    #[error("`ca_bundle` {}: {}", .path.display(), .reason)]
    Certificate {
        /// The file or folder.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
}

/// What the HTTP client trusts. It would panic on what is no certificate.
pub(super) fn trust(access: &Access) -> Result<TlsContext, TrustError> {
    let mut store = TrustStore::default();
    if let Some(path) = &access.ca_bundle {
        for certificate in bundle(path)? {
            store.add_pem_certificate(pem(&certificate).into_bytes());
        }
    }
    let context = TlsContext::builder().with_trust_store(store).build();
    context.map_err(|error| TrustError::Certificate {
        path: access.ca_bundle.clone().unwrap_or_default(),
        reason: error.to_string(),
    })
}

/// The system's certificates and those of `ca_bundle`, for our own connections.
fn roots(access: &Access) -> Result<RootCertStore, TrustError> {
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    if let Some(path) = &access.ca_bundle {
        roots.add_parsable_certificates(bundle(path)?);
    }
    Ok(roots)
}

/// The certificates of a file, or of all files of a folder; at least one, each of them usable.
fn bundle(path: &Path) -> Result<Vec<CertificateDer<'static>>, TrustError> {
    if !path.is_dir() {
        return certificates(path);
    }
    let unreadable = |reason| TrustError::Read { path: path.to_owned(), reason };
    let mut files = Vec::new();
    for entry in fs::read_dir(path).map_err(unreadable)? {
        let file = entry.map_err(unreadable)?.path();
        let ending = file.extension().and_then(|ending| ending.to_str()).unwrap_or_default();
        if ENDINGS.contains(&ending) && file.is_file() {
            files.push(file);
        }
    }
    files.sort();
    let mut all = Vec::new();
    for file in files {
        all.extend(certificates(&file)?);
    }
    match all.is_empty() {
        false => Ok(all),
        true => Err(TrustError::Certificate {
            path: path.to_owned(),
            reason: "the folder has no file that ends in .pem, .crt, .cer or .der".to_owned(),
        }),
    }
}

/// The certificates of a file, PEM or DER.
fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, TrustError> {
    let bytes = read(path).map_err(|reason| TrustError::Read { path: path.to_owned(), reason })?;
    let wrong = |reason: String| TrustError::Certificate { path: path.to_owned(), reason };
    let is_pem = bytes.windows(11).any(|window| window == b"-----BEGIN ");
    let found = match is_pem {
        true => CertificateDer::pem_slice_iter(&bytes)
            .collect::<Result<Vec<_>, _>>()
            .map_err(|error| wrong(format!("damaged PEM: {error}")))?,
        false => vec![CertificateDer::from(bytes)],
    };
    if found.is_empty() {
        return Err(wrong("it holds no certificate; expected -----BEGIN CERTIFICATE----- or DER".to_owned()));
    }
    for (number, certificate) in found.iter().enumerate() {
        if let Err(error) = RootCertStore::empty().add(certificate.clone()) {
            return Err(wrong(format!("certificate {} of it cannot be used: {error}", number + 1)));
        }
    }
    Ok(found)
}

fn read(path: &Path) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    fs::File::open(path)?.take(LIMIT + 1).read_to_end(&mut bytes)?;
    match bytes.len() as u64 > LIMIT {
        true => Err(io::Error::new(io::ErrorKind::FileTooLarge, "it is too large for certificates")),
        false => Ok(bytes),
    }
}

fn pem(certificate: &CertificateDer<'_>) -> String {
    let text = base64::encode(certificate.as_ref());
    let mut pem = String::from("-----BEGIN CERTIFICATE-----\n");
    let mut rest = text.as_str();
    while !rest.is_empty() {
        let (line, tail) = rest.split_at(rest.len().min(64));
        pem.push_str(line);
        pem.push('\n');
        rest = tail;
    }
    pem.push_str("-----END CERTIFICATE-----\n");
    pem
}

/// What to do about a failed TLS handshake; `None` when the error is another one.
pub(super) fn advice(error: &(dyn Error + 'static)) -> Option<&'static str> {
    let mut cause = Some(error);
    while let Some(error) = cause {
        if let Some(tls) = tls_error(error) {
            return Some(advice_for(tls));
        }
        cause = error.source();
    }
    None
}

/// The TLS error itself, or within an I/O error, which does not tell it as its source.
fn tls_error<'a>(error: &'a (dyn Error + 'static)) -> Option<&'a rustls::Error> {
    match error.downcast_ref::<io::Error>().and_then(io::Error::get_ref) {
        Some(inner) => tls_error(inner),
        None => error.downcast_ref(),
    }
}

fn advice_for(error: &rustls::Error) -> &'static str {
    match error {
        rustls::Error::InvalidCertificate(Invalid::UnknownIssuer) => {
            "nobody who is trusted here signed the server's certificate: if that is as it should be, name its \
             certificate authority in `ca_bundle`"
        }
        rustls::Error::InvalidCertificate(Invalid::Expired | Invalid::ExpiredContext { .. }) => {
            "the server's certificate has expired: its owner must renew it; check this machine's clock too"
        }
        rustls::Error::InvalidCertificate(
            Invalid::NotValidForName | Invalid::NotValidForNameContext { .. },
        ) => {
            "the server's certificate is for another name: check `endpoint_url`, and `path_style` where the \
             bucket is part of the name"
        }
        rustls::Error::InvalidCertificate(_) => "the server's certificate is not trusted",
        _ => "the server speaks no TLS 1.2 or 1.3 that is understood here, or another protocol",
    }
}
