//! `secret`: not there yet.

use super::exit::Exit;

/// Encrypt secrets for the configuration (not there yet)
///
/// Not there yet in this version: keep secrets out of the configuration with { env = "NAME" } or
/// { file = "PATH" }.
#[derive(Clone, Debug, clap::Args)]
#[command(after_long_help = "Example:\n  s3sweep secret encrypt")]
pub struct SecretArgs {
    /// What to do.
    #[command(subcommand)]
    pub command: SecretCommand,
}

/// What to do with a secret.
#[derive(Clone, Copy, Debug, clap::Subcommand)]
pub enum SecretCommand {
    /// Encrypt the secret on stdin
    Encrypt,
}

pub(super) fn secret(_args: &SecretArgs) -> anyhow::Result<Exit> {
    Err(super::not_yet("secret"))
}
