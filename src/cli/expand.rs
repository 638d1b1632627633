//! `expand`: what a pattern expands to, offline.

use chrono::{DateTime, Utc};
use clap::builder::{PossibleValuesParser, TypedValueParser};

use super::exit::{Exit, UsageError};
use super::now;
use super::output::{Output, OutputArgs, note, print_lines};
use crate::layout;
use crate::pattern::{self, PrefixPattern};
use crate::record::LogType;

/// Print the prefixes that a pattern expands to, without asking any bucket
///
/// One prefix per line, as it will be listed, oldest first, wildcards left as they are. Without
/// --at, --from and --to the prefix of this moment is printed.
#[derive(Clone, Debug, clap::Args)]
#[command(after_long_help = "Examples:
  s3sweep expand 'AWSLogs/*/CloudTrail/us-east-1/{YYYY}/{mm}/{dd}' --at 2026-01-31
  s3sweep expand 'AWSLogs/OU-ID/*/CloudTrail/us-east-1' --log-type cloudtrail --from 2026-01-30 --to 2026-02-02

The grammar of patterns stands in prefix-patterns.md.")]
pub struct ExpandArgs {
    /// The prefix pattern, in quotes for the shell
    #[arg(allow_hyphen_values = true)]
    pub pattern: String,

    /// Complete the pattern with the date path of this log type's layout
    #[arg(long, value_name = "T", value_parser = log_types())]
    pub log_type: Option<LogType>,

    /// Print the prefix of this instant
    #[arg(long, value_name = "T", value_parser = now::instant, conflicts_with_all = ["from", "to"])]
    pub at: Option<DateTime<Utc>>,

    /// Begin with the prefix of this instant
    #[arg(long, value_name = "T", value_parser = now::instant, requires = "to")]
    pub from: Option<DateTime<Utc>>,

    /// End with the prefix of this instant
    #[arg(long, value_name = "T", value_parser = now::instant, requires = "from")]
    pub to: Option<DateTime<Utc>>,

    /// In which form the result is written.
    #[command(flatten)]
    pub output: OutputArgs,
}

fn log_types() -> impl TypedValueParser<Value = LogType> {
    PossibleValuesParser::new(LogType::ALL.map(LogType::word))
        .try_map(|word| LogType::from_word(&word).ok_or("no log type"))
}

pub(super) fn expand(args: &ExpandArgs) -> anyhow::Result<Exit> {
    let typed = &args.pattern;
    let parsed =
        PrefixPattern::parse(typed).map_err(|error| UsageError(format!("failed to expand: {error}")))?;
    let (from, to) = window(args)?;
    let pattern = match args.log_type {
        Some(log_type) => completed(parsed, log_type),
        None => parsed,
    };
    let prefixes = pattern::expand(&pattern, from, to).map(|prefix| prefix.name);
    match args.output.output {
        Output::Table => print_lines(prefixes)?,
        Output::Json => print_lines([json(typed, &pattern, prefixes)])?,
    }
    Ok(Exit::Success)
}

/// Both ends are taken with the prefix they lie in.
fn window(args: &ExpandArgs) -> Result<(DateTime<Utc>, DateTime<Utc>), UsageError> {
    let (from, to) = match (args.at, args.from, args.to) {
        (Some(at), _, _) => (at, at),
        (None, Some(from), Some(to)) => (from, to),
        _ => {
            let now = now::clock(None).now();
            (now, now)
        }
    };
    if from > to {
        return Err(UsageError(format!(
            "failed to expand \"{}\": --from {} is later than --to {}; swap them",
            args.pattern,
            from.to_rfc3339(),
            to.to_rfc3339()
        )));
    }
    Ok((from, to))
}

fn completed(parsed: PrefixPattern, log_type: LogType) -> PrefixPattern {
    let completed = layout::complete(log_type, parsed);
    if completed.completed {
        note(&format!("completed for {} to {}", log_type.word(), completed.pattern));
    }
    completed.pattern
}

fn json(typed: &str, pattern: &PrefixPattern, prefixes: impl Iterator<Item = String>) -> String {
    let prefixes: Vec<String> = prefixes.collect();
    serde_json::json!({ "typed": typed, "pattern": pattern.to_string(), "prefixes": prefixes }).to_string()
}
