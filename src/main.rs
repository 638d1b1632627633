//! Parses the command line, starts logging and the runtime, calls the command, and maps its end
//! to an exit code.

use std::process::ExitCode;

use anyhow::Context;
use clap::Parser;
use s3sweep::cli::exit::{Exit, exit_of};
use s3sweep::cli::logging::Repeats;
use s3sweep::cli::progress::Bars;
use s3sweep::cli::{self, Cli};
use s3sweep::{allocator, threads};

fn main() -> ExitCode {
    allocator::keep_little();
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(answer) => {
            // help, version or a usage error; a reader that went away needs none of them
            let _ = answer.print();
            return if answer.use_stderr() { Exit::Usage } else { Exit::Success }.into();
        }
    };
    let bars = Bars::of(&cli.global);
    let repeats = match cli::logging::start(&cli.global, &bars) {
        Ok(repeats) => repeats,
        Err(error) => {
            cli::note(&format!("error: {error:#}"));
            return exit_of(&error).into();
        }
    };
    match start(&cli, &bars, &repeats) {
        Ok(exit) => exit.into(),
        Err(error) => {
            cli::logging::tell_end(&cli.global, &error);
            exit_of(&error).into()
        }
    }
}

fn start(cli: &Cli, bars: &Bars, repeats: &Repeats) -> anyhow::Result<Exit> {
    let runtime = threads::runtime().context("failed to start the runtime")?;
    let exit = runtime.block_on(async {
        tokio::select! {
            exit = cli::execute(cli, bars) => exit,
            never = repeats.keep_telling() => match never {},
        }
    });
    repeats.finish();
    // whatever matters was awaited; a blocked thread must not hold the exit
    runtime.shutdown_background();
    exit
}
