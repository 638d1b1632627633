//! Log lines on stderr or in a file, as text or JSON; warnings that repeat are held back.

mod file;
mod repeats;

use std::io::{IsTerminal, stderr};
use std::time::Duration;

use tracing::{Level, error};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt;
use tracing_subscriber::fmt::writer::BoxMakeWriter;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;

use super::Global;
use super::exit::{UsageError, exit_of};
use super::output::note;
use super::progress::{Above, Bars};
use crate::config::{environment, parse_duration, parse_size};
use file::{LogFile, Rotation};
pub use repeats::Repeats;

/// The form of log lines.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum LogFormat {
    /// For people.
    #[default]
    Text,
    /// One JSON object per line.
    Json,
}

/// Starts logging. `-v` and `-q` go before `RUST_LOG`; without any of them warnings of all crates
/// and the start, stop and sweep lines of s3sweep are written.
pub fn start(global: &Global, bars: &Bars) -> anyhow::Result<Repeats> {
    let filter = filter(global.verbose, global.quiet, environment("RUST_LOG"))?;
    let repeats = Repeats::default();
    let colour = global.log_file.is_none()
        && stderr().is_terminal()
        && environment("NO_COLOR").is_none_or(|value| value.is_empty());
    let lines = fmt()
        .with_env_filter(filter)
        .with_writer(writer(global, bars)?)
        .with_ansi(colour)
        .log_internal_errors(false);
    // an error here means that logging was started already, which serves as well
    let _ = match global.log_format {
        LogFormat::Text => lines.finish().with(repeats.clone()).try_init(),
        LogFormat::Json => lines.json().flatten_event(true).finish().with(repeats.clone()).try_init(),
    };
    Ok(repeats)
}

/// Tells the error that ends the process, once logging has begun: a line of level ERROR in a log file
/// or among lines of JSON, plain on stderr where that is for people, or where the filter leaves
/// errors out.
pub fn tell_end(global: &Global, error: &anyhow::Error) {
    let is_json = global.log_format == LogFormat::Json;
    let is_logged = (is_json || global.log_file.is_some()) && tracing::enabled!(Level::ERROR);
    if is_logged {
        error!(exit_code = exit_of(error).code(), "{error:#}");
    }
    if !is_logged || global.log_file.is_some() {
        note(&format!("error: {error:#}"));
    }
}

fn writer(global: &Global, bars: &Bars) -> Result<BoxMakeWriter, UsageError> {
    let Some(path) = &global.log_file else {
        let bars = bars.clone();
        return Ok(BoxMakeWriter::new(move || Above(bars.clone())));
    };
    let rotation =
        Rotation { size: global.log_rotate_size, age: global.log_rotate_every, keep: global.log_keep };
    let opened = LogFile::open(path, rotation);
    let opened = opened.map_err(|error| UsageError(format!("--log-file {}: {error}", path.display())))?;
    Ok(BoxMakeWriter::new(opened))
}

/// The value of `--log-rotate-size`.
pub(super) fn size(text: &str) -> Result<u64, String> {
    let allowed = || format!("{text:?} is no size of at least 1KiB, such as 64MiB");
    parse_size(text).filter(|size| *size >= 1024).ok_or_else(allowed)
}

/// The value of `--log-rotate-every`.
pub(super) fn age(text: &str) -> Result<Duration, String> {
    let allowed = || format!("{text:?} is no duration of at least 1M, such as 1D");
    parse_duration(text).filter(|age| age.as_secs() >= 60).ok_or_else(allowed)
}

fn filter(verbose: u8, quiet: bool, rust_log: Option<String>) -> Result<EnvFilter, UsageError> {
    let text = match (verbose, quiet, rust_log.filter(|text| !text.trim().is_empty())) {
        (_, true, _) => "error".to_owned(),
        (0, false, Some(text)) => text,
        (0, false, None) => "warn,s3sweep=info".to_owned(),
        (1, false, _) => "warn,s3sweep=debug".to_owned(),
        (_, false, _) => "info,s3sweep=trace,aws_smithy_runtime=debug".to_owned(),
    };
    EnvFilter::try_new(&text).map_err(|error| {
        UsageError(format!("RUST_LOG=\"{text}\" is no log filter ({error}); write for example s3sweep=debug"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn switches_go_before_the_environment() {
        let env = |text: &str| Some(text.to_owned());
        for (case, verbose, quiet, rust_log, want) in [
            ("default", 0, false, None, "s3sweep=info,warn"),
            ("empty variable", 0, false, env(" "), "s3sweep=info,warn"),
            ("variable", 0, false, env("s3sweep=trace"), "s3sweep=trace"),
            ("-v over the variable", 1, false, env("error"), "s3sweep=debug,warn"),
            ("-q", 0, true, env("debug"), "error"),
        ] {
            assert_eq!(filter(verbose, quiet, rust_log).unwrap().to_string(), want, "{case}");
        }
        assert!(filter(0, false, env("s3sweep=loud")).unwrap_err().to_string().contains("RUST_LOG"));
    }
}
