//! Secrets at rest: age ciphertext in the configuration, the identity that opens it, and files
//! with secrets that others can read.
//!
//! Ciphertext is opened before anything is checked, so that the rest of the room meets secrets
//! as text, variable or file only. No message quotes a secret or an identity.

use std::fs::OpenOptions;
use std::io::{self, Read, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use age::secrecy::ExposeSecret;
use age::x25519::{Identity, Recipient};
use age::{DecryptError, Decryptor, armor::ArmoredReader};
use toml::Spanned;

use super::environment;
use super::error::Problem;
use super::files::{SECRET_LIMIT, read_bounded, without_line_break};
use super::forms::Typed;
use super::raw::{RawConfig, RawSecret, RawSource, Set};
use super::texts::Texts;
use super::tree::source_label;

/// The variable that names the identity file when `identity_file` does not.
const VARIABLE: &str = "S3SWEEP_IDENTITY_FILE";

/// A secret that cannot be encrypted, or an identity that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum SecretError {
    /// The identity file cannot be read or made.
    #[error("cannot {tried} the identity file {}", .path.display())]
    File {
        /// `read` or `create`.
        tried: &'static str,
        /// The file.
        path: PathBuf,
        /// The system's reason.
        #[source]
        source: io::Error,
    },
    /// The identity file holds something else.
    #[error(
        "{} holds no age identity: it has a line that begins with AGE-SECRET-KEY-1, as `s3sweep secret encrypt \
         --create` and age-keygen write it", .path.display()
    )]
    NoIdentity {
        /// The file.
        path: PathBuf,
    },
    /// Not the public half of an identity.
    #[error("this is no recipient: it begins with age1")]
    NoRecipient,
    /// Neither a recipient nor an identity was named.
    #[error(
        "for whom? name an identity file with --identity or ${VARIABLE} (--create makes one), or a recipient with --recipient"
    )]
    Nobody,
    /// The secret is empty or longer than 64 KiB.
    #[error("the secret on stdin is {what}")]
    Size {
        /// `empty`, or what else.
        what: &'static str,
    },
    /// age could not write it.
    #[error("cannot encrypt")]
    Encrypt(#[source] Box<age::EncryptError>),
}

/// For whom a secret is encrypted.
#[derive(Clone, Debug)]
pub enum Reader {
    /// A public key, `age1…`.
    Recipient(String),
    /// Whoever holds the first identity of this file.
    Identity(PathBuf),
    /// Whoever holds the first identity of the file that `$S3SWEEP_IDENTITY_FILE` names.
    Environment,
}

/// Encrypts `secret` for `reader`; returns armoured text, with a line break at its end.
pub fn encrypt_secret(secret: &str, reader: &Reader) -> Result<String, SecretError> {
    let what = match secret.len() as u64 {
        0 => Some("empty"),
        length if length > SECRET_LIMIT => Some("longer than 64 KiB"),
        _ => None,
    };
    if let Some(what) = what {
        return Err(SecretError::Size { what });
    }
    let of_file = |path: &Path| -> Result<Recipient, SecretError> {
        let none = SecretError::NoIdentity { path: path.to_owned() };
        Ok(identities(path)?.first().ok_or(none)?.to_public())
    };
    let recipient = match reader {
        Reader::Recipient(text) => text.parse().map_err(|_| SecretError::NoRecipient)?,
        Reader::Identity(path) => of_file(path)?,
        Reader::Environment => {
            of_file(&environment(VARIABLE).map(PathBuf::from).ok_or(SecretError::Nobody)?)?
        }
    };
    age::encrypt_and_armor(&recipient, secret.as_bytes())
        .map_err(|error| SecretError::Encrypt(Box::new(error)))
}

/// Makes a new identity in a file that must not exist yet, readable by its owner only. Returns
/// the recipient.
pub fn create_identity(path: &Path) -> Result<String, SecretError> {
    let identity = Identity::generate();
    let recipient = identity.to_public().to_string();
    let text = format!("# public key: {recipient}\n{}\n", identity.to_string().expose_secret());
    OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)
        .and_then(|mut file| file.write_all(text.as_bytes()).and_then(|()| file.sync_all()))
        .map_err(|source| SecretError::File { tried: "create", path: path.to_owned(), source })?;
    Ok(recipient)
}

/// All identities of a file; lines that begin with `#` are comments. At least one.
fn identities(path: &Path) -> Result<Vec<Identity>, SecretError> {
    let text = read_bounded(path, SECRET_LIMIT).map_err(|source| SecretError::File {
        tried: "read",
        path: path.to_owned(),
        source,
    })?;
    let lines = text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
    let found: Result<Vec<Identity>, _> = lines.map(str::parse).collect();
    match found {
        Ok(found) if !found.is_empty() => Ok(found),
        _ => Err(SecretError::NoIdentity { path: path.to_owned() }),
    }
}

/// The settings that hold secrets, with the table each stands in.
fn secrets(source: &mut RawSource) -> Vec<(&'static str, &mut Typed<RawSecret>)> {
    let mut found: Vec<(&'static str, &mut Set<RawSecret>)> = Vec::new();
    if let Some(credentials) = source.credentials.as_mut().map(|typed| typed.get_mut()) {
        found.push(("credentials.secret_access_key", &mut credentials.secret_access_key));
        found.push(("credentials.session_token", &mut credentials.session_token));
        found.push(("credentials.external_id", &mut credentials.external_id));
    }
    if let Some(proxy) = source.proxy.as_mut().map(|typed| typed.get_mut()) {
        found.push(("proxy.url", &mut proxy.url));
        found.push(("proxy.password", &mut proxy.password));
    }
    found.into_iter().filter_map(|(setting, value)| Some((setting, value.as_mut()?))).collect()
}

/// Opens every encrypted secret: afterwards there are only text, variables and files. Returns
/// what to say about files with secrets that others can read.
pub(super) fn open_secrets(raw: &mut RawConfig, texts: &Texts) -> Result<Vec<String>, Vec<Problem>> {
    let mut keys = Keys::new(raw.identity_file.as_deref(), texts);
    let (mut problems, mut files) = (Vec::new(), Vec::new());
    for (number, source) in raw.source.iter_mut().enumerate() {
        let name = source.get_ref().name.as_ref().map(|name| name.get_ref().clone());
        for (setting, secret) in secrets(source.get_mut()) {
            let (start, at) = (secret.span().start, secret.span());
            let file = match secret.get_ref() {
                // the configuration itself
                // an address without a password is none
                RawSecret::Text(text) if setting == "proxy.url" && !text.contains('@') => None,
                RawSecret::Text(_) => texts.file_at(start).map(|text| text.path.clone()),
                RawSecret::File(path) => Some(texts.resolve(start, path)),
                RawSecret::Env(_) | RawSecret::Age(_) | RawSecret::AgeFile(_) => None,
            };
            files.extend(file);
            match opened(secret.get_ref(), start, texts, &mut keys) {
                Ok(None) => {}
                Ok(Some(text)) => *secret.get_mut() = RawSecret::Text(text),
                Err(reason) => {
                    let path = source_label(name.as_deref(), number);
                    problems.push(Problem::new(at, format!("{path}.{setting}"), reason));
                }
            }
        }
    }
    files.extend(keys.path.filter(|_| keys.identities.is_some()));
    if problems.is_empty() { Ok(exposed(files)) } else { Err(problems) }
}

/// The text of an encrypted secret; `None` for one that is not.
fn opened(
    secret: &RawSecret,
    start: usize,
    texts: &Texts,
    keys: &mut Keys,
) -> Result<Option<String>, String> {
    match secret {
        RawSecret::Text(_) | RawSecret::Env(_) | RawSecret::File(_) => Ok(None),
        RawSecret::Age(armoured) => decrypt(armoured.trim_start(), keys).map(Some),
        RawSecret::AgeFile(path) => {
            let path = texts.resolve(start, path);
            let armoured = read_bounded(&path, 2 * SECRET_LIMIT)
                .map_err(|error| format!("cannot read {}: {error}", path.display()))?;
            decrypt(&armoured, keys).map(Some)
        }
    }
}

/// The secret. One line break at its end is not part of it: other tools encrypt files as they are.
fn decrypt(armoured: &str, keys: &mut Keys) -> Result<String, String> {
    let (path, identities) = keys.get()?;
    let damaged =
        || "is no armoured age text, or a damaged one: write it with `s3sweep secret encrypt`".to_owned();
    let decryptor =
        Decryptor::new_buffered(ArmoredReader::new(armoured.as_bytes())).map_err(|_| damaged())?;
    let mut reader =
        decryptor.decrypt(identities.iter().map(|identity| identity as _)).map_err(|error| match error {
            DecryptError::NoMatchingKeys => format!("is encrypted for another identity than that of {path}"),
            _ => damaged(),
        })?;
    let mut text = String::new();
    reader.by_ref().take(SECRET_LIMIT).read_to_string(&mut text).map_err(|_| damaged())?;
    Ok(without_line_break(&text).to_owned())
}

/// The identities, read when the first secret asks for them.
struct Keys {
    path: Option<PathBuf>,
    identities: Option<Vec<Identity>>,
}

impl Keys {
    fn new(setting: Option<&Spanned<String>>, texts: &Texts) -> Self {
        let path = match setting {
            Some(value) => Some(texts.resolve(value.span().start, value.get_ref())),
            None => environment(VARIABLE).filter(|path| !path.is_empty()).map(PathBuf::from),
        };
        Keys { path, identities: None }
    }

    fn get(&mut self) -> Result<(String, &[Identity]), String> {
        let Some(path) = &self.path else {
            return Err(format!(
                "is encrypted, and nothing tells where the identity lies: set `identity_file` at the top of the file, or ${VARIABLE}"
            ));
        };
        if self.identities.is_none() {
            self.identities = Some(identities(path).map_err(|error| crate::failure::chain(&error))?);
        }
        Ok((path.display().to_string(), self.identities.as_deref().unwrap_or_default()))
    }
}

/// One warning per file that any user of this machine can read.
fn exposed(mut files: Vec<PathBuf>) -> Vec<String> {
    files.sort();
    files.dedup();
    let open = files
        .into_iter()
        .filter(|path| std::fs::metadata(path).is_ok_and(|file| file.is_file() && file.mode() & 0o004 != 0));
    open.map(|path| {
        let path = path.display();
        format!("every user of this machine can read the secrets in {path}; run: chmod o-rwx {path}")
    })
    .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_encrypted_opens_with_its_identity_only() {
        let folder = tempfile::tempdir().expect("a folder");
        let (own, other) = (folder.path().join("own"), folder.path().join("other"));
        let recipient = create_identity(&own).expect("made");
        create_identity(&other).expect("made");
        assert_eq!(std::fs::metadata(&own).expect("there").mode() & 0o777, 0o600);
        assert!(matches!(create_identity(&own), Err(SecretError::File { tried: "create", .. })));
        for reader in [Reader::Recipient(recipient), Reader::Identity(own.clone())] {
            let armoured = encrypt_secret("hush", &reader).expect("encrypted");
            assert!(armoured.starts_with("-----BEGIN AGE ENCRYPTED FILE-----\n"), "{armoured}");
            let mut keys = Keys { path: Some(own.clone()), identities: None };
            assert_eq!(decrypt(&armoured, &mut keys).as_deref(), Ok("hush"));
            let mut keys = Keys { path: Some(other.clone()), identities: None };
            let refused = decrypt(&armoured, &mut keys).expect_err("another identity");
            assert!(refused.contains("another identity"), "{refused}");
            let cut = &armoured[..armoured.len() / 2];
            let mut keys = Keys { path: Some(own.clone()), identities: None };
            assert!(decrypt(cut, &mut keys).is_err_and(|reason| reason.contains("damaged")));
        }
    }

    #[test]
    fn one_line_break_at_the_end_is_not_part_of_a_secret() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("key");
        create_identity(&path).expect("made");
        for (secret, want) in
            [("hush\n", "hush"), ("hush\r\n", "hush"), ("hu\nsh", "hu\nsh"), ("hush\n\n", "hush\n")]
        {
            let armoured = encrypt_secret(secret, &Reader::Identity(path.clone())).expect("encrypted");
            let mut keys = Keys { path: Some(path.clone()), identities: None };
            assert_eq!(decrypt(&armoured, &mut keys).as_deref(), Ok(want), "{secret:?}");
        }
    }

    #[test]
    fn what_is_no_key_is_refused_without_quoting_it() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("key");
        std::fs::write(&path, "AGE-SECRET-KEY-1HUSH\n").expect("written");
        let refused = encrypt_secret("x", &Reader::Identity(path)).expect_err("no identity").to_string();
        assert!(refused.contains("no age identity") && !refused.contains("HUSH"), "{refused}");
        let none = encrypt_secret("x", &Reader::Recipient("ssh-rsa".into()));
        assert!(matches!(none, Err(SecretError::NoRecipient)));
        let empty = encrypt_secret("", &Reader::Recipient("age1".into()));
        assert!(matches!(empty, Err(SecretError::Size { what: "empty" })));
    }

    #[test]
    fn files_for_all_eyes_are_named_once() {
        use std::os::unix::fs::PermissionsExt;
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("secret");
        std::fs::write(&path, "hush").expect("written");
        for (mode, warned) in [(0o644, 1), (0o640, 0), (0o600, 0), (0o604, 1)] {
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).expect("ours");
            let warnings = exposed(vec![path.clone(), path.clone(), folder.path().join("none")]);
            assert_eq!(warnings.len(), warned, "{mode:o}");
            assert!(warnings.iter().all(|text| text.contains(&format!("chmod o-rwx {}", path.display()))));
        }
    }
}
