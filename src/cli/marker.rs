//! `marker`: not there yet.

use super::exit::Exit;

/// List, reset, set, export or import markers (not there yet)
///
/// Not there yet in this version: `status` shows the markers.
#[derive(Clone, Debug, clap::Args)]
#[command(after_long_help = "Example:\n  s3sweep marker list -c s3sweep.toml")]
pub struct MarkerArgs {
    /// What to do.
    #[command(subcommand)]
    pub command: MarkerCommand,
}

/// What to do with markers.
#[derive(Clone, Copy, Debug, clap::Subcommand)]
pub enum MarkerCommand {
    /// List all markers
    List,
    /// Forget markers, so that their prefixes are collected again
    Reset,
    /// Set a marker
    Set,
    /// Write all markers as JSON to stdout
    Export,
    /// Read markers as `export` writes them
    Import,
}

pub(super) fn marker(_args: &MarkerArgs) -> anyhow::Result<Exit> {
    Err(super::not_yet("marker"))
}
