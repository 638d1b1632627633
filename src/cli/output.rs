//! Data on stdout. A reader that has closed it is no error: it has what it wanted.

use std::io::{self, Write};

use anyhow::Context;

/// The form of data on stdout.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum Output {
    /// For people.
    #[default]
    Table,
    /// JSON, documented and stable.
    Json,
}

/// `--output`.
#[derive(Clone, Copy, Debug, Default, clap::Args)]
pub struct OutputArgs {
    /// Write the result in this form to stdout
    #[arg(long, value_enum, value_name = "FORM", default_value_t)]
    pub output: Output,
}

/// Writes lines to stdout until they end or nobody reads them any more.
pub(super) fn print_lines<T: AsRef<str>>(lines: impl IntoIterator<Item = T>) -> anyhow::Result<()> {
    let mut out = io::BufWriter::new(io::stdout().lock());
    match write_lines(&mut out, lines) {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => {
            // what is left in the buffer would fail once more when it is dropped
            let _ = out.into_parts();
            Ok(())
        }
        other => other.context("failed to write to stdout"),
    }
}

fn write_lines<T: AsRef<str>>(out: &mut impl Write, lines: impl IntoIterator<Item = T>) -> io::Result<()> {
    for line in lines {
        out.write_all(line.as_ref().as_bytes())?;
        out.write_all(b"\n")?;
    }
    out.flush()
}

/// Writes one line to stderr. There is nobody to tell when that fails.
pub fn note(line: &str) {
    let _ = writeln!(io::stderr(), "{line}");
}
