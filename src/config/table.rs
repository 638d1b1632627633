//! Reads the settings of one table: text to value, with the message when it is none.

use std::fmt::Display;
use std::ops::Range;
use std::time::Duration;

use toml::Spanned;

use super::error::{Problem, hint};
use super::raw::{RawSize, Set};
use super::units::{parse_duration, parse_size, show_duration, show_size};

/// The table a setting stands in: its path and its place.
pub(super) struct Table {
    pub path: String,
    pub at: Range<usize>,
}

impl Table {
    pub fn new(path: impl Into<String>, at: Range<usize>) -> Self {
        Table { path: path.into(), at }
    }

    /// The path of one setting of this table.
    pub fn setting(&self, key: &str) -> String {
        if self.path.is_empty() { key.to_owned() } else { format!("{}.{key}", self.path) }
    }

    /// A problem with a value that was typed.
    pub fn wrong<T>(&self, key: &str, value: &Spanned<T>, reason: impl Into<String>) -> Problem {
        Problem::new(value.span(), self.setting(key), reason)
    }

    /// A problem that quotes the value and says what is allowed.
    pub fn not_allowed<T: Display>(&self, key: &str, value: &Spanned<T>, allowed: impl Display) -> Problem {
        self.wrong(key, value, format!("\"{}\" is not allowed: expected {allowed}", value.get_ref()))
    }

    /// A setting that must be there.
    pub fn required<'v, T>(
        &self,
        key: &str,
        value: &'v Set<T>,
        example: &str,
    ) -> Result<&'v Spanned<T>, Problem> {
        value.as_deref().ok_or_else(|| {
            let reason = format!("is missing; write for example: {key} = {example}");
            Problem::new(self.at.clone(), self.setting(key), reason)
        })
    }

    /// A duration of at least `least`.
    pub fn duration(
        &self,
        key: &str,
        value: &Set<String>,
        default: Duration,
        least: Duration,
    ) -> Result<Duration, Problem> {
        let Some(value) = value else { return Ok(default) };
        self.one_duration(key, value, least)
    }

    /// As [`Table::duration`], for a value that is there.
    pub fn one_duration(
        &self,
        key: &str,
        value: &Spanned<String>,
        least: Duration,
    ) -> Result<Duration, Problem> {
        parse_duration(value.get_ref()).filter(|duration| *duration >= least).ok_or_else(|| {
            let allowed = format!(
                "an integer and S, M, H or D, such as \"15M\" or \"1D\", from {} to 36500D",
                show_duration(least)
            );
            self.not_allowed(key, value, allowed)
        })
    }

    /// A size between `least` and `most` bytes.
    pub fn size(
        &self,
        key: &str,
        value: &Set<RawSize>,
        default: u64,
        (least, most): (u64, u64),
    ) -> Result<u64, Problem> {
        let Some(value) = value else { return Ok(default) };
        let (bytes, shown) = match value.get_ref() {
            RawSize::Text(text) => (parse_size(text), text.clone()),
            RawSize::Bytes(bytes) => (Some(*bytes), bytes.to_string()),
        };
        bytes.filter(|bytes| (least..=most).contains(bytes)).ok_or_else(|| {
            let reason = format!(
                "\"{shown}\" is not allowed: expected a size such as \"256MiB\" or \"1GB\", from {} to {}",
                show_size(least),
                show_size(most)
            );
            self.wrong(key, value, reason)
        })
    }

    /// A number between `least` and `most`.
    pub fn number(
        &self,
        key: &str,
        value: &Set<u64>,
        default: u64,
        (least, most): (u64, u64),
    ) -> Result<u64, Problem> {
        let Some(value) = value else { return Ok(default) };
        if (least..=most).contains(value.get_ref()) {
            return Ok(*value.get_ref());
        }
        Err(self.not_allowed(key, value, format!("a number from {least} to {most}")))
    }

    /// One of a few words.
    pub fn word<T: Copy>(
        &self,
        key: &str,
        value: &Set<String>,
        default: T,
        words: &[(&str, T)],
    ) -> Result<T, Problem> {
        let Some(value) = value else { return Ok(default) };
        self.one_word(key, value, words)
    }

    /// As [`Table::word`], for a value that is there.
    pub fn one_word<T: Copy>(
        &self,
        key: &str,
        value: &Spanned<String>,
        words: &[(&str, T)],
    ) -> Result<T, Problem> {
        let given = value.get_ref().as_str();
        let meaning = words.iter().find(|(word, _)| *word == given).map(|(_, meaning)| *meaning);
        meaning.ok_or_else(|| {
            let known: Vec<_> = words.iter().map(|(word, _)| format!("\"{word}\"")).collect();
            let hint = hint(given, words.iter().map(|(word, _)| *word));
            self.not_allowed(key, value, format!("{}{hint}", known.join(" or ")))
        })
    }

    /// Text that is not empty.
    pub fn text(&self, key: &str, value: &Set<String>) -> Result<Option<String>, Problem> {
        match value {
            Some(value) if value.get_ref().trim().is_empty() => {
                Err(self.wrong(key, value, "is empty; remove it or give it a value"))
            }
            Some(value) => Ok(Some(value.get_ref().clone())),
            None => Ok(None),
        }
    }
}
