//! The examples of `prefix-patterns.md` run: what the page says is what the patterns do.

use chrono::{DateTime, Utc};
use s3sweep::layout::complete;
use s3sweep::pattern::{Discovery, PrefixPattern, expand};
use s3sweep::record::LogType;

const PAGE: &str = include_str!("../../prefix-patterns.md");

/// The lines of all fenced blocks of a kind, cut at two or more spaces, with their numbers.
fn examples(kind: &str) -> Vec<(usize, Vec<&'static str>)> {
    let mut fence = None;
    let mut rows = Vec::new();
    for (index, line) in PAGE.lines().enumerate() {
        match (line.strip_prefix("```"), fence) {
            (Some(_), Some(_)) => fence = None,
            (Some(info), None) => fence = Some(info),
            (None, Some(info)) if info == kind => {
                rows.push((
                    index + 1,
                    line.split("  ").map(str::trim).filter(|cell| !cell.is_empty()).collect(),
                ));
            }
            (None, _) => {}
        }
    }
    assert_eq!(fence, None, "a fence is open at the end of the page");
    assert!(rows.len() >= 9, "the page has {} examples of {kind}", rows.len());
    rows
}

fn parse(line: usize, text: &str) -> PrefixPattern {
    PrefixPattern::parse(text).unwrap_or_else(|error| panic!("line {line}: {error}"))
}

fn instant(line: usize, text: &str) -> DateTime<Utc> {
    text.parse().unwrap_or_else(|error| panic!("line {line}: {text}: {error}"))
}

#[test]
fn patterns_expand_as_the_page_says() {
    for (line, row) in examples("expand") {
        let [text, cells @ ..] = &row[..] else { panic!("line {line} is empty") };
        let zone = cells.first().and_then(|cell| cell.parse::<chrono_tz::Tz>().ok());
        let [window, want @ ..] = &cells[usize::from(zone.is_some())..] else {
            panic!("line {line} has no time")
        };
        let (from, to) = window.split_once("..").unwrap_or((window, window));
        let pattern = parse(line, text).in_timezone(zone.unwrap_or(chrono_tz::Tz::UTC));
        let found: Vec<_> =
            expand(&pattern, instant(line, from), instant(line, to)).map(|prefix| prefix.name).collect();
        assert_eq!(found, want, "line {line}");
        assert!(!want.is_empty(), "line {line} names no prefix");
    }
}

#[test]
fn keys_match_as_the_page_says() {
    for (line, row) in examples("match") {
        let [text, key, want] = row[..] else { panic!("line {line} needs three cells") };
        let found = prefix_of_key(&parse(line, text), key);
        assert_eq!(found.as_deref().unwrap_or("-"), want, "line {line}");
    }
}

/// The prefix of a key, wildcards as they were written. The patterns of the page have no
/// wildcard that makes leaves.
fn prefix_of_key(pattern: &PrefixPattern, key: &str) -> Option<String> {
    let Discovery::Leaf(leaf) = pattern.discovery() else { panic!("{pattern} has more than one leaf") };
    leaf.prefix_of_key(key).map(|time| leaf.prefix(time).name)
}

#[test]
fn patterns_are_completed_as_the_page_says() {
    for (line, row) in examples("layout") {
        let [word, text, want] = row[..] else { panic!("line {line} needs three cells") };
        let log_type =
            LogType::from_word(word).unwrap_or_else(|| panic!("line {line}: {word} is no log type"));
        let result = complete(log_type, parse(line, text));
        let found = if result.completed { result.pattern.to_string() } else { "-".to_owned() };
        assert_eq!(found, want, "line {line}");
    }
}

#[test]
fn mistakes_are_told_as_the_page_says() {
    for (line, row) in examples("mistakes") {
        let [text, column, want] = row[..] else { panic!("line {line} needs three cells") };
        let error = PrefixPattern::parse(text).expect_err(text);
        let found = (error.column.to_string(), error.corrected.as_deref().unwrap_or("-"));
        assert_eq!(found, (column.to_owned(), want), "line {line}");
        assert!(error.to_string().contains(text), "line {line}: {error}");
    }
}
