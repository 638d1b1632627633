//! What is wrong with a configuration: file, line, column, setting, value, and the way out.
//!
//! Values of secrets never get here; everything else that was typed may be quoted.

use std::fmt;
use std::ops::Range;
use std::path::PathBuf;

/// A configuration that cannot be used. Exit code 2.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// No `-c`, and nothing in the places that are looked at without it.
    #[error("found no configuration: name a file with -c or $S3SWEEP_CONFIG, or write one with `s3sweep init s3sweep.toml` (looked for {})", list(.looked_for))]
    NotFound {
        /// The places, in the order they were looked at.
        looked_for: Vec<PathBuf>,
    },
    /// A file or folder that was named cannot be read.
    #[error("cannot read {}", .path.display())]
    Read {
        /// The file or folder.
        path: PathBuf,
        /// The system's reason.
        #[source]
        source: std::io::Error,
    },
    /// A folder was named that holds no configuration.
    #[error("the folder {} holds no file that ends in .toml", .path.display())]
    EmptyFolder {
        /// The folder.
        path: PathBuf,
    },
    /// Something in the files; at least one mistake, in the order of the files.
    #[error("{}", lines(.0))]
    Wrong(Vec<Mistake>),
    /// `--source` names a source that is not configured.
    #[error("no source is called \"{name}\"{hint}; the configured ones are {known}")]
    UnknownSource {
        /// The name that was given.
        name: String,
        /// `, did you mean …?`, or empty.
        hint: String,
        /// All names.
        known: String,
    },
}

/// One mistake in a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mistake {
    /// Where.
    pub place: Place,
    /// The setting's path (`source.prod.recurrence`); empty where the text is no TOML.
    pub setting: String,
    /// What is wrong with it, and what is allowed.
    pub reason: String,
}

impl fmt::Display for Mistake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.setting.is_empty() {
            write!(f, "{}: {}", self.place, self.reason)
        } else {
            write!(f, "{}: setting `{}`: {}", self.place, self.setting, self.reason)
        }
    }
}

/// A place in a file; lines and columns count from 1, columns in characters.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    /// The file as it was named.
    pub file: PathBuf,
    /// The line.
    pub line: usize,
    /// The column.
    pub column: usize,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}, line {}, column {}", self.file.display(), self.line, self.column)
    }
}

/// A mistake before its place is looked up: `at` counts bytes over all files.
#[derive(Clone, Debug)]
pub(super) struct Problem {
    pub at: Range<usize>,
    pub setting: String,
    pub reason: String,
}

impl Problem {
    pub fn new(at: Range<usize>, setting: impl Into<String>, reason: impl Into<String>) -> Self {
        Problem { at, setting: setting.into(), reason: reason.into() }
    }
}

/// The candidate that `word` was most likely meant to be, if one is near enough.
pub(super) fn nearest<'a>(word: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let word = word.to_lowercase();
    let allowed = (word.chars().count() / 3).max(2);
    candidates
        .into_iter()
        .map(|candidate| (strsim::damerau_levenshtein(&word, &candidate.to_lowercase()), candidate))
        .filter(|(distance, candidate)| *distance <= allowed && *distance < candidate.chars().count())
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}

/// `, did you mean …?` for the nearest candidate, or nothing.
pub(super) fn hint<'a>(word: &str, candidates: impl IntoIterator<Item = &'a str>) -> String {
    nearest(word, candidates).map(|near| format!(", did you mean `{near}`?")).unwrap_or_default()
}

fn list(paths: &[PathBuf]) -> String {
    paths.iter().map(|path| path.display().to_string()).collect::<Vec<_>>().join(", ")
}

fn lines(mistakes: &[Mistake]) -> String {
    match mistakes {
        [one] => one.to_string(),
        several => {
            let lines: String = several.iter().map(|mistake| format!("\n  {mistake}")).collect();
            format!("{} mistakes in the configuration:{lines}", several.len())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_word_is_found_and_far_ones_are_not() {
        let words = ["cloudtrail", "vpcflow", "waf", "jsonl"];
        for (case, word, want) in [
            ("swapped letters", "cloudtrial", Some("cloudtrail")),
            ("upper case", "CloudTrail", Some("cloudtrail")),
            ("one letter off a short word", "wafs", Some("waf")),
            ("nothing alike", "syslog-ng", None),
            ("empty", "", None),
        ] {
            assert_eq!(nearest(word, words), want, "{case}");
        }
    }
}
