//! `config`: the effective configuration, and the schema of what can be configured.

use super::exit::Exit;
use super::output::{Output, OutputArgs, print_lines};
use crate::config::{self, Config};

/// Show the effective configuration, or what can be configured
///
/// `show`: all files and `[defaults]` merged, every default filled in, prefix patterns completed, secrets
/// as `[secret]`. What it prints is a configuration again.
#[derive(Clone, Debug, clap::Args)]
#[command(after_long_help = "Examples:
  s3sweep config show -c /etc/s3sweep.d --source prod-cloudtrail
  s3sweep config schema > s3sweep.schema.json

An editor with Taplo uses the schema for a file that begins with
  #:schema ./s3sweep.schema.json")]
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
    /// Print the JSON schema of the configuration, with which editors complete and check it
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
        ConfigCommand::Schema => {
            print_lines([serde_json::to_string_pretty(&config::schema())?])?;
            Ok(Exit::Success)
        }
    }
}
