//! Parses the command line, starts logging and the runtime, calls the command, and maps its end
//! to an exit code.

use std::process::ExitCode;

use anyhow::Context;
use clap::Parser;
use s3sweep::allocator;
use s3sweep::cli::exit::{Exit, exit_of};
use s3sweep::cli::progress::Bars;
use s3sweep::cli::{self, Cli};

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
    match start(&cli) {
        Ok(exit) => exit.into(),
        Err(error) => {
            cli::note(&format!("error: {error:#}"));
            exit_of(&error).into()
        }
    }
}

fn start(cli: &Cli) -> anyhow::Result<Exit> {
    let bars = Bars::of(&cli.global);
    let repeats = cli::logging::start(&cli.global, &bars)?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .context("failed to start the runtime")?;
    let exit = runtime.block_on(async {
        tokio::select! {
            exit = cli::execute(cli, &bars) => exit,
            never = repeats.keep_telling() => match never {},
        }
    });
    repeats.finish();
    // whatever matters was awaited; a blocked thread must not hold the exit
    runtime.shutdown_background();
    exit
}
