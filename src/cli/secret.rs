//! `secret`: encrypt a secret for the configuration.

use std::io::{self, IsTerminal, Read};
use std::path::PathBuf;

use anyhow::Context;

use super::exit::{Exit, UsageError};
use super::output::{note, print_lines};
use crate::config::{Reader, create_identity, encrypt_secret};

/// More than this is no secret.
const LIMIT: u64 = 128 * 1024;

/// Encrypt secrets for the configuration
#[derive(Clone, Debug, clap::Args)]
#[command(after_long_help = "Example:\n  s3sweep secret encrypt --identity /etc/s3sweep/identity < secret")]
pub struct SecretArgs {
    /// What to do.
    #[command(subcommand)]
    pub command: SecretCommand,
}

/// What to do with a secret.
#[derive(Clone, Debug, clap::Subcommand)]
pub enum SecretCommand {
    /// Encrypt the secret on stdin with age, as armoured text
    ///
    /// The text goes into the configuration, between three quotes on either side, or into a file:
    ///
    ///   secret_access_key = { age = """TEXT""" }
    ///   secret_access_key = { age_file = "PATH" }
    ///
    /// `identity_file` at the top of the configuration, or $S3SWEEP_IDENTITY_FILE, names the
    /// identity that opens it. One line break at the end of stdin is not part of the secret.
    Encrypt(EncryptArgs),
}

/// For whom.
#[derive(Clone, Debug, clap::Args)]
#[command(after_long_help = "Examples:
  s3sweep secret encrypt --create --identity /etc/s3sweep/identity < secret
  s3sweep secret encrypt --recipient age1… < secret > /etc/s3sweep/secret.age")]
pub struct EncryptArgs {
    /// Encrypt for the identity in this file; without it $S3SWEEP_IDENTITY_FILE
    #[arg(long, value_name = "PATH")]
    pub identity: Option<PathBuf>,

    /// Make the identity file, which must not exist yet
    #[arg(long, requires = "identity")]
    pub create: bool,

    /// Encrypt for this public key (age1…) instead
    #[arg(long, value_name = "KEY", conflicts_with = "identity")]
    pub recipient: Option<String>,
}

pub(super) fn secret(args: &SecretArgs) -> anyhow::Result<Exit> {
    match &args.command {
        SecretCommand::Encrypt(args) => encrypt(args),
    }
}

fn encrypt(args: &EncryptArgs) -> anyhow::Result<Exit> {
    let failed = || UsageError("failed to encrypt the secret".to_owned());
    if io::stdin().is_terminal() {
        note("type the secret, then Ctrl-D; it will be seen: a pipe or `< FILE` is better");
    }
    let mut secret = String::new();
    io::stdin().take(LIMIT).read_to_string(&mut secret).context("cannot read stdin").with_context(failed)?;
    let secret = secret.strip_suffix('\n').unwrap_or(&secret);
    let secret = secret.strip_suffix('\r').unwrap_or(secret);
    if secret.is_empty() {
        return Err(UsageError("the secret on stdin is empty".to_owned()).into());
    }
    if let (true, Some(path)) = (args.create, &args.identity) {
        let recipient = create_identity(path).with_context(failed)?;
        note(&format!("wrote the identity {}, whose public key is {recipient}", path.display()));
    }
    let reader = match (&args.recipient, &args.identity) {
        (Some(recipient), _) => Reader::Recipient(recipient.clone()),
        (None, Some(path)) => Reader::Identity(path.clone()),
        (None, None) => Reader::Environment,
    };
    let text = encrypt_secret(secret, &reader).with_context(failed)?;
    print_lines([text.trim_end()])?;
    Ok(Exit::Success)
}
