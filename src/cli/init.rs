//! `init`: a commented configuration to begin with.

use std::io::Write;
use std::path::{Path, PathBuf};

use anyhow::Context;

use super::exit::{Exit, UsageError};
use super::output::{note, print_lines};
use crate::config::Config;
use crate::policy;

/// A configuration that is complete but for the places marked `CHANGE_ME`, which loading refuses
/// with their lines.
const TEMPLATE: &str = include_str!("init.toml");

/// Write a commented configuration to begin with
///
/// To stdout, or to a file that must not exist yet. The places marked CHANGE_ME are yours to
/// fill in; until then every command that loads the file names their lines.
#[derive(Clone, Debug, clap::Args)]
#[command(after_long_help = "Examples:
  s3sweep init s3sweep.toml
  s3sweep init > s3sweep.toml
  s3sweep init --policy -c s3sweep.toml")]
pub struct InitArgs {
    /// Write to this file instead of stdout
    pub path: Option<PathBuf>,

    /// Print the least policies that the configuration (-c) needs, as JSON
    ///
    /// `identity_policies` has one policy for each identity: the one that s3sweep runs as, and each
    /// role by its ARN; `bucket_policies` and `kms_key_policies` are by bucket, for those of another
    /// account such as Control Tower's log archive. What a configuration does not tell stands as
    /// CHANGE_ME.
    #[arg(long, conflicts_with = "path")]
    pub policy: bool,
}

pub(super) fn init(args: &InitArgs, load: impl FnOnce() -> anyhow::Result<Config>) -> anyhow::Result<Exit> {
    if args.policy {
        print_lines([serde_json::to_string_pretty(&policy::policies(&load()?))?])?;
        return Ok(Exit::Success);
    }
    match &args.path {
        Some(path) => write_new(path)?,
        None => print_lines([TEMPLATE.trim_end()])?,
    }
    Ok(Exit::Success)
}

fn write_new(path: &Path) -> anyhow::Result<()> {
    let mut file = match std::fs::OpenOptions::new().write(true).create_new(true).open(path) {
        Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {
            let message = format!("{} exists already and is left as it is; name a new file", path.display());
            return Err(UsageError(message).into());
        }
        other => other.with_context(|| {
            UsageError(format!("failed to create {}; name another place", path.display()))
        })?,
    };
    file.write_all(TEMPLATE.as_bytes())
        .and_then(|()| file.sync_all())
        .with_context(|| UsageError(format!("failed to write {}", path.display())))?;
    note(&format!(
        "wrote {path}; replace each CHANGE_ME, then try: s3sweep check -c {path}",
        path = path.display()
    ));
    Ok(())
}
