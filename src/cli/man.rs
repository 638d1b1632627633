//! `man`: the manual pages.

use std::io;
use std::path::{Path, PathBuf};

use anyhow::Context;
use clap::{Command, CommandFactory};
use clap_mangen::Man;

use super::Cli;
use super::exit::{Exit, UsageError};
use super::output::print_lines;

/// Write the manual pages
///
/// The main page to stdout, or with --dir one page for each command into a folder.
#[derive(Clone, Debug, clap::Args)]
#[command(after_long_help = "Examples:
  s3sweep man | man -l -
  s3sweep man --dir /usr/local/share/man/man1")]
pub struct ManArgs {
    /// Write one page for each command into this folder, which is made if it is missing
    #[arg(long, value_name = "DIR")]
    pub dir: Option<PathBuf>,
}

pub(super) fn man(args: &ManArgs) -> anyhow::Result<Exit> {
    // `help` repeats what the pages say, and has none
    let mut commands = Cli::command().disable_help_subcommand(true);
    commands.build();
    match &args.dir {
        Some(dir) => {
            let written = std::fs::create_dir_all(dir).and_then(|()| write_pages(&commands, dir));
            written.with_context(|| {
                UsageError(format!("failed to write manual pages to {}; name another folder", dir.display()))
            })?;
        }
        None => {
            let page = page(&commands).context("failed to write the page")?;
            print_lines([String::from_utf8_lossy(&page).trim_end()])?;
        }
    }
    Ok(Exit::Success)
}

/// Writes the page of a command and those of the commands below it.
fn write_pages(command: &Command, dir: &Path) -> io::Result<()> {
    let name = command.get_display_name().unwrap_or_else(|| command.get_name());
    std::fs::write(dir.join(format!("{name}.1")), page(command)?)?;
    command.get_subcommands().try_for_each(|command| write_pages(command, dir))
}

fn page(command: &Command) -> io::Result<Vec<u8>> {
    let mut page = Vec::new();
    // no date: the same build writes the same page
    let man = Man::new(command.clone()).date("\"\"").source(concat!("s3sweep ", env!("CARGO_PKG_VERSION")));
    man.manual("s3sweep").render(&mut page)?;
    Ok(page)
}
