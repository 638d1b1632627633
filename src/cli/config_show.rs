//! `config`: the effective configuration.

use super::exit::Exit;
use super::output::{Output, OutputArgs, print_lines};
use crate::config::Config;

/// Show the effective configuration
///
/// All files and `[defaults]` merged, every default filled in, prefix patterns completed, secrets
/// as `[secret]`. What it prints is a configuration again.
#[derive(Clone, Debug, clap::Args)]
#[command(after_long_help = "Example:\n  s3sweep config show -c /etc/s3sweep.d --source prod-cloudtrail")]
pub struct ConfigArgs {
    /// What to do.
    #[command(subcommand)]
    pub command: ConfigCommand,
}

/// What to do with the configuration.
#[derive(Clone, Copy, Debug, clap::Subcommand)]
pub enum ConfigCommand {
    /// Print the effective configuration as TOML, or as JSON with --output json
    Show(OutputArgs),
    /// Print the JSON schema of the configuration (not there yet)
    Schema,
}

pub(super) fn config(
    args: &ConfigArgs,
    load: impl FnOnce() -> anyhow::Result<Config>,
) -> anyhow::Result<Exit> {
    match args.command {
        ConfigCommand::Show(OutputArgs { output }) => {
            let config = load()?;
            let text = match output {
                Output::Table => config.render(),
                Output::Json => config.render_json(),
            };
            print_lines([text.trim_end()])?;
            Ok(Exit::Success)
        }
        ConfigCommand::Schema => Err(super::not_yet("config schema")),
    }
}
