//! `audit`: not there yet.

use chrono::{DateTime, Utc};

use super::exit::Exit;
use super::now;
use super::output::OutputArgs;

/// List the bucket, compare with ledger and history, prove completeness (not there yet)
///
/// Not there yet in this version.
#[derive(Clone, Debug, clap::Args)]
#[command(after_long_help = "Example:\n  s3sweep audit -c s3sweep.toml --from 2026-01-01 --to 2026-02-01")]
pub struct AuditArgs {
    /// Begin with the prefixes of this instant
    #[arg(long, value_name = "T", value_parser = now::instant)]
    pub from: DateTime<Utc>,

    /// End with the prefixes of this instant
    #[arg(long, value_name = "T", value_parser = now::instant)]
    pub to: DateTime<Utc>,

    /// Collect what is missing
    #[arg(long)]
    pub repair: bool,

    /// In which form the result is written.
    #[command(flatten)]
    pub output: OutputArgs,
}

pub(super) fn audit(_args: &AuditArgs) -> anyhow::Result<Exit> {
    Err(super::not_yet("audit"))
}
