//! `completions`: for the shells.

use clap::CommandFactory;
use clap_complete::Shell;

use super::Cli;
use super::exit::Exit;
use super::output::print_lines;

/// Write shell completions to stdout
///
/// The Debian package installs those of bash, zsh and fish.
#[derive(Clone, Copy, Debug, clap::Args)]
#[command(after_long_help = "Examples:
  s3sweep completions bash > /etc/bash_completion.d/s3sweep
  s3sweep completions zsh > /usr/local/share/zsh/site-functions/_s3sweep
  s3sweep completions fish > ~/.config/fish/completions/s3sweep.fish")]
pub struct CompletionsArgs {
    /// The shell
    #[arg(value_enum, value_name = "SHELL")]
    pub shell: Shell,
}

pub(super) fn completions(args: CompletionsArgs) -> anyhow::Result<Exit> {
    let mut text = Vec::new();
    clap_complete::generate(args.shell, &mut Cli::command(), "s3sweep", &mut text);
    print_lines([String::from_utf8_lossy(&text).trim_end()])?;
    Ok(Exit::Success)
}
