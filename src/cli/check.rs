//! `check`: not there yet.

use super::exit::Exit;
use super::output::OutputArgs;

/// Check configuration, credentials, LIST and GET, per leaf (not there yet)
///
/// Not there yet in this version: `preview` shows whether a source can be listed, and refuses a
/// configuration with mistakes.
#[derive(Clone, Debug, clap::Args)]
#[command(after_long_help = "Example:\n  s3sweep check -c s3sweep.toml")]
pub struct CheckArgs {
    /// In which form the result is written.
    #[command(flatten)]
    pub output: OutputArgs,
}

pub(super) fn check(_args: &CheckArgs) -> anyhow::Result<Exit> {
    Err(super::not_yet("check"))
}
