//! `sweep`: sweeps of a running daemon, now or not at all.

use super::exit::{Exit, Stopped};
use super::instance;
use super::output::print_lines;
use crate::config::Config;
use crate::service::socket::protocol::{Request, SweepAction};

/// Sweep now, pause or resume the sources of a running daemon
///
/// A paused source is swept neither by `run` nor by `once` until it is resumed, also after a
/// restart; `status` shows it. A sweep under way ends as it does when the daemon stops: what is in
/// flight is finished or noted. Without `--source` it is all sources that are enabled.
#[derive(Clone, Debug, clap::Args)]
#[command(after_long_help = "Examples:
  s3sweep sweep now -c s3sweep.toml
  s3sweep sweep pause -c s3sweep.toml --source prod-cloudtrail")]
pub struct SweepArgs {
    /// What to do.
    #[command(subcommand)]
    pub command: SweepCommand,
}

/// What to do with the sweeps.
#[derive(Clone, Copy, Debug, clap::Subcommand)]
pub enum SweepCommand {
    /// Sweep at once, without waiting for the recurrence (needs a running daemon)
    Now,
    /// Sweep no more until `resume`
    Pause,
    /// Sweep again
    Resume,
}

pub(super) async fn sweep(args: &SweepArgs, config: Config) -> anyhow::Result<Exit> {
    let action = match args.command {
        SweepCommand::Now if instance::daemon(&config)?.is_none() => {
            let message = "no daemon runs on this state directory; `s3sweep once` sweeps without one";
            return Err(Stopped { exit: Exit::State, message: message.to_owned() }.into());
        }
        SweepCommand::Now => SweepAction::Now,
        SweepCommand::Pause => SweepAction::Pause,
        SweepCommand::Resume => SweepAction::Resume,
    };
    for source in config.sources.iter().filter(|source| source.enabled) {
        let request = Request::Sweep { source: source.name.clone(), action };
        print_lines([instance::ask(&config, request).await?])?;
    }
    Ok(Exit::Success)
}
