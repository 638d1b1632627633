//! The command line: what can be typed, and which command answers.
//!
//! stdout is data, stderr is everything else. Commands return an [`Exit`] or an error; nobody
//! but `main` ends the process.

pub mod exit;
pub mod logging;
mod now;
mod output;

mod audit;
mod check;
mod completions;
mod config_show;
mod expand;
mod init;
mod instance;
mod man;
mod marker;
mod once;
mod preview;
pub mod progress;
mod quarantine;
mod reload;
mod run;
mod secret;
mod status;
mod stream;
mod sweep;

use std::path::PathBuf;
use std::time::Duration;

use clap::{Parser, Subcommand};

use crate::config::{self, Config};
use exit::Exit;
use logging::LogFormat;
pub use output::note;
use progress::Bars;

/// Collect AWS log files from S3 on a schedule, every record once
///
/// s3sweep lists the prefixes that a pattern stands for, collects the objects that are new,
/// splits them into records and hands these to a sink. It remembers what is settled, so a late
/// file, a restart or a crash neither loses a record nor delivers one twice.
#[derive(Debug, Parser)]
#[command(name = "s3sweep", version, subcommand_required = true, arg_required_else_help = true)]
#[command(after_long_help = EXIT_CODES)]
pub struct Cli {
    /// Options of all commands.
    #[command(flatten)]
    pub global: Global,
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

const EXIT_CODES: &str = "\
Exit codes:
  0    nothing failed in this run
  1    objects failed or were quarantined in this run, or `audit` found some missing
  2    a mistake in the command line or the configuration
  3    a source could not be reached or refused us
  4    the state directory or the sink's folder is locked, foreign or damaged
  5    the sink cannot take records
  130  an interrupted `once`, or a second signal

Begin with `s3sweep init s3sweep.toml`, then `s3sweep check -c s3sweep.toml`.";

/// Options of all commands.
#[derive(Clone, Debug, Default, clap::Args)]
#[command(next_help_heading = "Options of all commands")]
pub struct Global {
    /// Read the configuration from this file, or from all *.toml of this folder (repeatable)
    ///
    /// Without it: $S3SWEEP_CONFIG, ./s3sweep.toml, /etc/s3sweep/s3sweep.toml, the first that is
    /// there. Several files make one configuration; `state_dir`, `[sink]`, `[limits]` and `[defaults]`
    /// stand in one of them.
    #[arg(short, long = "config", value_name = "PATH", global = true)]
    pub config: Vec<PathBuf>,

    /// Limit the command to the source of this name (repeatable)
    #[arg(long, value_name = "NAME", global = true)]
    pub source: Vec<String>,

    /// Write log lines in this form
    #[arg(long, value_enum, value_name = "FORMAT", default_value_t, global = true)]
    pub log_format: LogFormat,

    /// Write log lines to this file, not to stderr
    ///
    /// It is moved away by s3sweep itself, to PATH.1 and so on.
    #[arg(long, value_name = "PATH", global = true)]
    pub log_file: Option<PathBuf>,

    /// Move the log file away before it is larger than this
    #[arg(long, value_name = "SIZE", default_value = "64MiB", value_parser = logging::size, global = true)]
    pub log_rotate_size: u64,

    /// Move the log file away at this age too
    #[arg(long, value_name = "DURATION", value_parser = logging::age, global = true)]
    pub log_rotate_every: Option<Duration>,

    /// Keep so many log files that were moved away
    #[arg(long, value_name = "N", default_value_t = 5, value_parser = clap::value_parser!(u32).range(..=1000), global = true)]
    pub log_keep: u32,

    /// Log more: -v objects, -vv requests too
    #[arg(short, long, action = clap::ArgAction::Count, global = true, conflicts_with = "quiet")]
    pub verbose: u8,

    /// Log errors only
    #[arg(short, long, global = true)]
    pub quiet: bool,
}

/// All commands, in the order an operator meets them.
#[allow(missing_docs, reason = "the arguments of each command describe it, here and in --help")]
#[derive(Debug, Subcommand)]
pub enum Command {
    Run(run::RunArgs),
    Once(once::OnceArgs),
    Preview(preview::PreviewArgs),
    Expand(expand::ExpandArgs),
    Check(check::CheckArgs),
    Status(status::StatusArgs),
    Sweep(sweep::SweepArgs),
    Marker(marker::MarkerArgs),
    Quarantine(quarantine::QuarantineArgs),
    Audit(audit::AuditArgs),
    Init(init::InitArgs),
    Config(config_show::ConfigArgs),
    Secret(secret::SecretArgs),
    Completions(completions::CompletionsArgs),
    Man(man::ManArgs),
}

/// Does what was typed.
pub async fn execute(cli: &Cli, bars: &Bars) -> anyhow::Result<Exit> {
    let global = &cli.global;
    match &cli.command {
        Command::Run(args) => run::run(args, load(global)?, global).await,
        Command::Once(args) => once::once(args, load(global)?, global.quiet, bars).await,
        Command::Preview(args) => preview::preview(args, load(global)?, &bars.beside_data()).await,
        Command::Expand(args) => expand::expand(args),
        Command::Check(args) => check::check(args, || load_quietly(global), global.verbose > 0).await,
        Command::Status(args) => status::status(args, load(global)?).await,
        Command::Sweep(args) => sweep::sweep(args, load(global)?).await,
        Command::Marker(args) => marker::marker(args, load(global)?, &global.source).await,
        Command::Quarantine(args) => quarantine::quarantine(args, || load(global)).await,
        Command::Audit(args) => audit::audit(args, load(global)?, &bars.beside_data()).await,
        Command::Init(args) => init::init(args, || load(global)),
        Command::Config(args) => config_show::config(args, || load(global)),
        Command::Secret(args) => secret::secret(args),
        Command::Completions(args) => completions::completions(*args),
        Command::Man(args) => man::man(args),
    }
}

/// Loads the configuration, says what is odd about it, and keeps the sources asked for.
fn load(global: &Global) -> anyhow::Result<Config> {
    let config = load_quietly(global)?;
    for warning in &config.warnings {
        tracing::warn!("{warning}");
    }
    Ok(config)
}

/// As [`load`], for a command that shows the warnings itself.
fn load_quietly(global: &Global) -> anyhow::Result<Config> {
    let mut config = config::load(&global.config)?;
    config.select(&global.source)?;
    Ok(config)
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_definitions_do_not_contradict_each_other() {
        Cli::command().debug_assert();
    }

    #[test]
    fn each_command_has_a_short_line_and_an_example() {
        fn visit(command: &clap::Command) {
            let about = command.get_about().map(ToString::to_string).unwrap_or_default();
            let name = command.get_name();
            assert!(!about.is_empty() && !about.ends_with('.') && !about.contains('\n'), "{name}: {about:?}");
            command.get_subcommands().for_each(visit);
        }
        for command in Cli::command().get_subcommands() {
            visit(command);
            let long = command.get_after_long_help().map(ToString::to_string).unwrap_or_default();
            assert!(long.contains("s3sweep "), "{} has no example", command.get_name());
        }
    }
}
