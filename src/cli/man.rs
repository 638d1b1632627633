//! `man`: not there yet.

use super::exit::Exit;

/// Write the manual page to stdout (not there yet)
///
/// Not there yet in this version: `s3sweep help COMMAND` has the same text.
#[derive(Clone, Copy, Debug, clap::Args)]
#[command(after_long_help = "Example:\n  s3sweep man > s3sweep.1")]
pub struct ManArgs {}

pub(super) fn man(_args: &ManArgs) -> anyhow::Result<Exit> {
    Err(super::not_yet("man"))
}
