//! Text to the segments of a pattern. What is wrong is left to `mistakes`, which corrects it.

use std::fmt;

use super::mistakes::{Mistake, correct, find_mistakes};
use super::time::Variable;
use super::{ORG_WORD, Segment, Token, Wild};

/// A text that is no prefix pattern.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PatternError {
    /// What was given.
    pub pattern: String,
    /// Where the mistake is: the number of its first character, from 1.
    pub column: usize,
    /// What is wrong there.
    pub reason: String,
    /// What was probably meant; a valid pattern.
    pub corrected: Option<String>,
}

impl std::error::Error for PatternError {}

impl fmt::Display for PatternError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "prefix pattern {}, column {}: {}", quoted(&self.pattern), self.column, self.reason)?;
        match &self.corrected {
            Some(corrected) => write!(f, "; write {}", quoted(corrected)),
            None => Ok(()),
        }
    }
}

/// The text between quotes, as it was typed but for control characters.
fn quoted(text: &str) -> String {
    let shown = text.chars().flat_map(|c| {
        let escape = if c.is_control() { Some(c.escape_default()) } else { None };
        let plain = if escape.is_none() { Some(c) } else { None };
        escape.into_iter().flatten().chain(plain)
    });
    std::iter::once('"').chain(shown).chain(['"']).collect()
}

/// One thing the scan found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Piece {
    /// A character that stands for itself.
    Char { value: char, escaped: bool },
    /// A date variable, between slashes or in braces.
    Date { variable: Variable, slashes: bool },
    /// `*`.
    Star,
}

/// A piece and the characters of the text it was read from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Found {
    pub piece: Piece,
    pub start: usize,
    pub end: usize,
}

impl Found {
    /// The character, when it was not escaped.
    pub fn plain(&self) -> Option<char> {
        match self.piece {
            Piece::Char { value, escaped: false } => Some(value),
            Piece::Char { .. } | Piece::Date { .. } | Piece::Star => None,
        }
    }
}

/// Reads a pattern into its segments.
pub(super) fn parse(text: &str) -> Result<Vec<Segment>, PatternError> {
    read(text).map_err(|mut mistakes| {
        mistakes.sort_by_key(|mistake| mistake.at);
        let corrected = correct(text, &mistakes);
        let (at, reason) =
            mistakes.into_iter().next().map_or((0, String::new()), |first| (first.at, first.reason));
        PatternError { pattern: text.to_owned(), column: at + 1, reason, corrected }
    })
}

/// Reads a pattern, or tells all its mistakes.
pub(super) fn read(text: &str) -> Result<Vec<Segment>, Vec<Mistake>> {
    let chars: Vec<char> = text.chars().collect();
    if chars == ['/'] {
        return Ok(vec![Segment::new()]);
    }
    let (mut pieces, mut mistakes) = scan(&chars);
    find_mistakes(&chars, &pieces, &mut mistakes);
    if !mistakes.is_empty() {
        return Err(mistakes);
    }
    if pieces.last().and_then(Found::plain) == Some('/') {
        pieces.pop();
    }
    Ok(segments(&pieces))
}

/// Cuts the text into pieces, leftmost variable first, and tells what cannot be read. A
/// misspelt variable is read as the one it was meant to be.
fn scan(chars: &[char]) -> (Vec<Found>, Vec<Mistake>) {
    let mut pieces: Vec<Found> = Vec::new();
    let mut mistakes = Vec::new();
    let mut start = 0;
    while start < chars.len() {
        let mut length = 1;
        let piece = match chars[start] {
            '\\' => {
                let value = chars.get(start + 1).copied();
                if value.is_none() {
                    mistakes.push(Mistake::lone_backslash(start));
                }
                length = 2.min(chars.len() - start);
                Piece::Char { value: value.unwrap_or('\\'), escaped: true }
            }
            '*' => {
                length = chars[start..].iter().take_while(|c| **c == '*').count();
                if length > 1 {
                    mistakes.push(Mistake::double_star(start, length));
                }
                Piece::Star
            }
            value => match variable_at(&chars[start..]) {
                Some(Spelling { name, length: taken, slashes }) => {
                    length = taken;
                    let meant = Variable::from_name(&name).or_else(|| {
                        let meant = Mistake::lookalike(&name);
                        mistakes.push(Mistake::misspelt(start, taken, &name, slashes, meant));
                        meant
                    });
                    match meant {
                        Some(variable) => Piece::Date { variable, slashes },
                        None => Piece::Char { value, escaped: true },
                    }
                }
                None => {
                    if value == '{' {
                        mistakes.push(Mistake::open_brace(start, &chars[start + 1..]));
                    }
                    Piece::Char { value, escaped: value == '{' }
                }
            },
        };
        pieces.push(Found { piece, start, end: start + length });
        start += length;
    }
    (pieces, mistakes)
}

/// What is written like a date variable.
struct Spelling {
    name: String,
    length: usize,
    slashes: bool,
}

/// Whether the text begins with something in braces, or with the name of a variable (or one
/// that looks like it) between two slashes on each side.
fn variable_at(chars: &[char]) -> Option<Spelling> {
    let (skip, close, slashes) = match chars {
        ['{', ..] => (1, "}", false),
        ['/', '/', ..] => (2, "//", true),
        _ => return None,
    };
    let length = chars[skip..].iter().position(|c| matches!(c, '}' | '/' | '{' | '\\'))?;
    let (name, rest) = chars[skip..].split_at(length);
    let name: String = name.iter().collect();
    let closed = rest.iter().copied().take(close.len()).eq(close.chars());
    let known = !slashes || Variable::from_name(&name).is_some() || Mistake::lookalike(&name).is_some();
    (closed && known).then_some(Spelling { name, length: skip + length + close.len(), slashes })
}

/// Groups pieces without mistakes into segments.
fn segments(pieces: &[Found]) -> Vec<Segment> {
    let slash = |found: &Found| matches!(found.piece, Piece::Char { value: '/', .. });
    pieces.split(slash).map(segment).collect()
}

fn segment(pieces: &[Found]) -> Segment {
    if let [Found { piece: Piece::Star, .. }] = pieces {
        return vec![Token::Wild(Wild::Segment)];
    }
    if pieces.iter().map(Found::plain).eq(ORG_WORD.chars().map(Some)) {
        return vec![Token::Wild(Wild::Org)];
    }
    let mut tokens = Segment::new();
    for found in pieces {
        match found.piece {
            Piece::Char { value, .. } => match tokens.last_mut() {
                Some(Token::Text(text)) => text.push(value),
                _ => tokens.push(Token::Text(value.to_string())),
            },
            Piece::Date { variable, .. } => tokens.push(Token::Date(variable)),
            Piece::Star => tokens.push(Token::Wild(Wild::Part)),
        }
    }
    tokens
}

#[cfg(test)]
mod tests {
    use super::super::PrefixPattern;

    #[test]
    fn texts_mean_their_normal_form() {
        let cases = [
            ("plain text", "plain/prefix", "plain/prefix"),
            ("the root", "/", "/"),
            ("one trailing slash", "logs/app/", "logs/app"),
            ("one of two trailing slashes", "logs//", "logs\\/"),
            ("an escaped trailing slash", "logs\\/", "logs\\/"),
            ("a slash after a variable", "logs///YYYY///", "logs/{YYYY}"),
            (
                "the scan is leftmost",
                "year=///YYYY///month=///mm///day=///dd//",
                "year=/{YYYY}/month=/{mm}/day=/{dd}",
            ),
            ("side by side", "//YYYY////mm////dd//", "{YYYY}{mm}{dd}"),
            ("with a slash between", "//YYYY/////mm/////dd//", "{YYYY}/{mm}/{dd}"),
            ("hyphens between", "a///YYYY//-//mm//", "a/{YYYY}-{mm}"),
            ("unpadded", "p///YYYY///m=//m///d=//d///h=//H///n=//M//", "p/{YYYY}/m={m}/d={d}/h={H}/n={M}"),
            ("both ways of writing", "a/{YYYY}///mm//", "a/{YYYY}/{mm}"),
            ("folders with the names of variables", "a/MM/d/H/mm/dd", "a/MM/d/H/mm/dd"),
            ("the same between variables", "a/{YYYY}/mm/{mm}/d/", "a/{YYYY}/mm/{mm}/d"),
            ("a folder after a variable in slashes", "a///YYYY///d/x", "a/{YYYY}/d/x"),
            ("two slashes that begin no variable", "a//b", "a/\\/b"),
            ("a variable that is none", "a/\\/mm//b", "a/\\/mm/\\/b"),
            ("wildcards", "AWSLogs/*/CloudTrail/us-*", "AWSLogs/*/CloudTrail/us-*"),
            ("an escaped wildcard", "a\\*b*", "a\\*b*"),
            ("escaped braces", "a/\\{YYYYY}", "a/\\{\\YYYYY}"),
            ("an organisation", "OU-ID/AWSLogs", "OU-ID/AWSLogs"),
            ("a folder called OU-ID", "\\OU-ID/x", "\\OU-ID/x"),
            ("OU-ID as part of a name", "xOU-ID/x", "xOU-ID/x"),
            ("a folder called YYYY", "a/\\YYYY/b", "a/\\YYYY/b"),
            ("a key that begins with a slash", "\\/a", "\\/a"),
            ("a backslash", "a\\\\b", "a\\\\b"),
            ("a needless backslash", "\\a\\/b", "a/b"),
            ("a closing brace", "a}b", "a}b"),
        ];
        for (name, text, want) in cases {
            let pattern = PrefixPattern::parse(text).unwrap_or_else(|error| panic!("{name}: {error}"));
            assert_eq!(pattern.to_string(), want, "{name}");
            assert_eq!(PrefixPattern::parse(want), Ok(pattern), "{name}: the normal form");
        }
    }

    #[test]
    fn mistakes_are_told_with_column_and_correction() {
        let cases = [
            ("", 1, "empty", Some("/")),
            ("/leading/slash", 1, "slash", Some("leading/slash")),
            ("//", 1, "slash", Some("/")),
            ("///YYYY//", 1, "slash", Some("//YYYY//")),
            ("a///yyyy//", 3, "//yyyy// is no date variable", Some("a///YYYY//")),
            ("a/{yyyy}", 3, "{yyyy} is no date variable", Some("a/{YYYY}")),
            ("a/{YYYY}/{mm}/{DD}", 15, "{DD} is no date variable", Some("a/{YYYY}/{mm}/{dd}")),
            ("é/{YYYY}/{mm}/{dd}/{hh}", 20, "{hh}", Some("é/{YYYY}/{mm}/{dd}/{HH}")),
            ("a/{YYYY}/{MM}/{dd}", 10, "{MM} is the minute", Some("a/{YYYY}/{mm}/{dd}")),
            ("a/{YYYY}/{MM}/{dd}/{HH}/{MM}", 10, "the month is {mm}", Some("a/{YYYY}/{mm}/{dd}/{HH}/{MM}")),
            ("a/{account}/b", 3, "{account} is no date variable", Some("a/\\{account}/b")),
            ("a/{YYYY/b", 3, "has no }", Some("a/{YYYY}/b")),
            ("a/{b", 3, "begins no date variable", Some("a/\\{b")),
            ("//YYYY//mm//", 9, "mm lacks slashes", Some("//YYYY////mm//")),
            ("a//YYYY//mm//dd//x", 10, "mm is plain text", Some("a//YYYY////mm////dd//x")),
            ("a///YYYY///mm///dd//", 12, "mm is plain text", Some("a///YYYY/////mm/////dd//")),
            ("///YYYY///mm///dd//", 1, "slash", Some("//YYYY/////mm/////dd//")),
            ("a///YYYY////mm", 13, "mm lacks slashes", Some("a///YYYY////mm//")),
            ("logs/YYYY/", 6, "YYYY has neither", Some("logs/{YYYY}/")),
            ("/YYYY/", 1, "slash", Some("{YYYY}/")),
            ("logs/YYYY/MM/dd", 6, "YYYY has neither", Some("logs/{YYYY}/{mm}/{dd}")),
            ("logs/year=YYYY/month=mm", 11, "YYYY has neither", Some("logs/year={YYYY}/month={mm}")),
            ("a/YYYY//", 3, "YYYY has neither", Some("a/{YYYY}")),
            ("a/YYYY///mm//", 3, "YYYY has neither", Some("a///YYYY/////mm//")),
            ("a///HH//", 3, "//HH// needs //YYYY// and //mm// and //dd//", None),
            ("a///dd//", 3, "//dd// needs", None),
            ("a/{YYYY}/{dd}", 10, "{dd} needs {mm}", None),
            ("a/**/b", 3, "** is no wildcard", Some("a/*/b")),
            ("a/***", 3, "*** is no wildcard", Some("a/*")),
            ("a\\", 2, "backslash", Some("a\\\\")),
            ("{YYYY}{m}{dd}", 7, "where {m} ends", Some("{YYYY}{mm}{dd}")),
            ("{YYYY}-{m}0", 8, "where {m} ends", Some("{YYYY}-{mm}0")),
            ("/a/{yyyy}/**/{DD}", 1, "slash", None),
        ];
        for (text, column, reason, corrected) in cases {
            let error = PrefixPattern::parse(text).expect_err(text);
            assert_eq!((error.column, error.corrected.as_deref()), (column, corrected), "{text}: {error}");
            assert!(error.reason.contains(reason), "{text}: {error}");
            assert!(error.to_string().contains(&format!("\"{text}\"")), "{error}");
        }
        let long = "a".repeat(1025);
        let error = PrefixPattern::parse(&long).expect_err("longer than a key");
        assert_eq!(error.column, 1025);
        assert!(PrefixPattern::parse(&long[1..]).is_ok());
    }
}
