//! Parses the command line, starts logging and the runtime, calls the command, and maps its end
//! to an exit code.

use std::process::ExitCode;
use std::thread::available_parallelism;

use anyhow::Context;
use clap::Parser;
use s3sweep::allocator;
use s3sweep::cli::exit::{Exit, exit_of};
use s3sweep::cli::logging::Repeats;
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
    let mut runtime = tokio::runtime::Builder::new_multi_thread();
    // set, this is what the runtime goes by itself
    if std::env::var_os("TOKIO_WORKER_THREADS").is_none() {
        runtime.worker_threads(workers());
    }
    let runtime = runtime.enable_all().build().context("failed to start the runtime")?;
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

/// Threads that list, fetch, inflate and encode: one core is left to the one that writes and syncs. As many
/// threads as cores hand small objects to each other all the time (docs/performance.md, "Threads").
fn workers() -> usize {
    available_parallelism().map_or(1, |cores| cores.get() - 1).max(1)
}
