//! `completions`: not there yet.

use super::exit::Exit;

/// Write shell completions to stdout (not there yet)
///
/// Not there yet in this version.
#[derive(Clone, Debug, clap::Args)]
#[command(after_long_help = "Example:\n  s3sweep completions bash > /etc/bash_completion.d/s3sweep")]
pub struct CompletionsArgs {
    /// The shell
    #[arg(value_name = "SHELL")]
    pub shell: String,
}

pub(super) fn completions(_args: &CompletionsArgs) -> anyhow::Result<Exit> {
    Err(super::not_yet("completions"))
}
