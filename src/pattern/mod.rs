//! Prefix patterns: what a user writes, what S3 is asked, which prefix a key belongs to. Pure.
//!
//! [`PrefixPattern`] → ([`Discovery`]) → [`Leaf`] → (dates) → [`Prefix`]; a listed key goes back
//! to its prefix by [`Leaf::prefix_of_key`]. The grammar stands in `prefix-patterns.md`, whose
//! examples run as a test.

mod discover;
mod expand;
mod leaf;
mod matches;
mod mistakes;
mod parse;
#[cfg(test)]
mod properties;
mod time;

use std::fmt;
use std::sync::Arc;

use chrono_tz::Tz;

pub use discover::{DateQuery, Dates, Discovery, FolderQuery};
pub use expand::{expand, just_before};
pub use leaf::{Leaf, Prefix};
pub use parse::PatternError;
pub use time::{PrefixTime, Step};

pub(crate) use time::Variable;

/// One part of a pattern.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Token {
    /// Literal text, never empty.
    Text(String),
    /// A date variable.
    Date(Variable),
    /// A wildcard.
    Wild(Wild),
}

/// The kinds of wildcards; none of them crosses a `/`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Wild {
    /// `*` beside other text: any characters, also none.
    Part,
    /// `*` as a whole segment: any characters, at least one.
    Segment,
    /// `*` as a whole segment in the account position of an AWS layout: 12 digits.
    Account,
    /// `OU-ID`: an organisation id, the same one everywhere in a pattern.
    Org,
}

impl Wild {
    fn text(self) -> &'static str {
        match self {
            Wild::Part | Wild::Segment | Wild::Account => "*",
            Wild::Org => ORG_WORD,
        }
    }
}

/// The word for an organisation id, as a whole segment.
pub(crate) const ORG_WORD: &str = "OU-ID";

/// What stands between two slashes; empty for an empty folder name.
pub(crate) type Segment = Vec<Token>;

/// A parsed prefix pattern with the time zone of its date variables.
///
/// Two patterns are equal when they mean the same, however they were written. Cheap to clone.
///
/// ```
/// use s3sweep::pattern::PrefixPattern;
///
/// let slashes = PrefixPattern::parse("logs///YYYY/////mm//").unwrap();
/// let braces = PrefixPattern::parse("logs/{YYYY}/{mm}/").unwrap();
/// assert_eq!(slashes, braces);
/// assert_eq!(slashes.to_string(), "logs/{YYYY}/{mm}");
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct PrefixPattern {
    parts: Arc<Parts>,
    zone: Tz,
}

/// The tokens twice, in a row and by segment, and what follows from them.
#[derive(Debug, PartialEq, Eq, Hash)]
struct Parts {
    tokens: Vec<Token>,
    segments: Vec<Segment>,
    /// How many tokens stand left of a leaf's dates: its head.
    head: usize,
    /// The segment with the first date variable.
    date_segment: Option<usize>,
    step: Option<Step>,
}

impl PrefixPattern {
    /// Reads a pattern, in UTC.
    ///
    /// # Errors
    ///
    /// A mistake, with its column and, where it can be told, the corrected pattern.
    pub fn parse(text: &str) -> Result<PrefixPattern, PatternError> {
        parse::parse(text).map(PrefixPattern::from_segments)
    }

    /// The same pattern with its date variables in another time zone.
    pub fn in_timezone(self, zone: Tz) -> Self {
        PrefixPattern { zone, ..self }
    }

    /// The time zone of the date variables; UTC unless set.
    pub fn timezone(&self) -> Tz {
        self.zone
    }

    /// The finest date variable; `None` for a pattern without dates, which is open-ended.
    pub fn step(&self) -> Option<Step> {
        self.parts.step
    }

    /// Whether the prefixes of a leaf, in byte order, are in the order of time, so that adjacent
    /// ones can be listed as one key range: every date variable is padded, they stand from
    /// coarse to fine (repeats of earlier ones do no harm), and between the head and the last
    /// of them is no wildcard.
    pub fn is_range(&self) -> bool {
        let rest = &self.parts.tokens[self.parts.head..];
        let Some(last) = rest.iter().rposition(|token| matches!(token, Token::Date(_))) else {
            return false;
        };
        let mut seen = 0;
        rest[..=last].iter().all(|token| match token {
            Token::Text(_) => true,
            Token::Wild(_) => false,
            Token::Date(variable) => {
                let unit = variable.unit.index();
                seen += usize::from(unit == seen);
                variable.padded && unit < seen
            }
        })
    }

    /// A pattern of these segments, in UTC. The account position is found here.
    pub(crate) fn from_segments(mut segments: Vec<Segment>) -> Self {
        mark_accounts(&mut segments);
        let tokens = joined(&segments);
        let date_segment = segments.iter().position(|segment| segment.iter().any(Token::is_date));
        let head = match date_segment {
            Some(at) => {
                let mut left = segments[..=at].to_vec();
                left[at].truncate(literal_tokens(&segments[at]));
                joined(&left).len()
            }
            None => literal_tokens(&tokens),
        };
        let step = tokens.iter().filter_map(Token::variable).map(|variable| variable.unit).max();
        let parts = Parts { tokens, segments, head, date_segment, step };
        PrefixPattern { parts: Arc::new(parts), zone: Tz::UTC }
    }

    /// The pattern by segment.
    pub(crate) fn segments(&self) -> &[Segment] {
        &self.parts.segments
    }

    /// The tokens of the head: the part that a leaf resolves.
    fn head_tokens(&self) -> &[Token] {
        &self.parts.tokens[..self.parts.head]
    }

    /// The tokens right of the head.
    fn rest_tokens(&self) -> &[Token] {
        &self.parts.tokens[self.parts.head..]
    }
}

impl Token {
    fn is_date(&self) -> bool {
        matches!(self, Token::Date(_))
    }

    fn variable(&self) -> Option<Variable> {
        match self {
            Token::Date(variable) => Some(*variable),
            Token::Text(_) | Token::Wild(_) => None,
        }
    }
}

/// How many tokens at the beginning are literal text.
fn literal_tokens(tokens: &[Token]) -> usize {
    tokens.iter().take_while(|token| matches!(token, Token::Text(_))).count()
}

/// The segments in a row, with their slashes; neighbouring texts become one.
fn joined(segments: &[Segment]) -> Vec<Token> {
    let slash = Token::Text("/".to_owned());
    let mut tokens: Vec<Token> = Vec::new();
    for (index, segment) in segments.iter().enumerate() {
        let separator = (index > 0).then_some(&slash);
        for token in separator.into_iter().chain(segment) {
            match (tokens.last_mut(), token) {
                (Some(Token::Text(left)), Token::Text(right)) => left.push_str(right),
                _ => tokens.push(token.clone()),
            }
        }
    }
    tokens
}

/// Whether a text is an organisation id: `o-` and 10 to 32 of a-z and 0-9.
pub(crate) fn is_org_id(text: &str) -> bool {
    text.strip_prefix("o-").is_some_and(|id| {
        (10..=32).contains(&id.len()) && id.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit())
    })
}

/// Marks whole-segment `*` in the account position: right of `AWSLogs`, or right of the
/// organisation that follows it.
fn mark_accounts(segments: &mut [Segment]) {
    let is_text = |segment: &Segment, word: &str| matches!(&segment[..], [Token::Text(text)] if text == word);
    let is_star = |segment: Option<&Segment>| {
        segment.is_some_and(|s| matches!(&s[..], [Token::Wild(Wild::Segment | Wild::Account)]))
    };
    let begins = |segment: Option<&Segment>, words: &[&str]| {
        segment.is_some_and(|s| matches!(s.first(), Some(Token::Text(text)) if words.iter().any(|word| text.starts_with(word))))
    };
    for at in 0..segments.len() {
        if !is_text(&segments[at], "AWSLogs") {
            continue;
        }
        let mut account = at + 1;
        let two_stars = is_star(segments.get(at + 1))
            && is_star(segments.get(at + 2))
            && begins(segments.get(at + 3), &["CloudTrail", "vpcflowlogs", "WAFLogs"]);
        let org = segments.get(at + 1).is_some_and(|segment| match &segment[..] {
            [Token::Wild(Wild::Org)] => true,
            [Token::Text(text)] => is_org_id(text),
            _ => false,
        });
        if two_stars || org {
            account += 1;
        }
        // The Hive layout writes its account as `aws-account-id=…`.
        if is_star(segments.get(account))
            && !begins(segments.get(account + 1), &["aws-account-id=", "aws-service="])
        {
            segments[account] = vec![Token::Wild(Wild::Account)];
        }
    }
}

impl fmt::Display for PrefixPattern {
    /// The normal form: braces, no trailing slash, a backslash only where it is needed.
    /// Parsing it gives an equal pattern.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&normal_form(&self.parts.segments))
    }
}

/// The text of a pattern in its normal form.
fn normal_form(segments: &[Segment]) -> String {
    if let [only] = segments
        && only.is_empty()
    {
        return "/".to_owned();
    }
    let mut text = String::new();
    for (index, segment) in segments.iter().enumerate() {
        if index > 0 {
            // A slash that would begin the pattern, end it or follow another slash has a
            // meaning of its own there.
            let last = index + 1 == segments.len() && segment.is_empty();
            if last || text.is_empty() || text.ends_with('/') {
                text.push('\\');
            }
            text.push('/');
        }
        if matches!(&segment[..], [Token::Text(word)] if word == ORG_WORD) {
            text.push('\\');
        }
        for token in segment {
            match token {
                Token::Text(literal) => push_escaped(&mut text, literal),
                Token::Date(variable) => text.extend(["{", variable.name(), "}"]),
                Token::Wild(wild) => text.push_str(wild.text()),
            }
        }
    }
    text
}

/// Appends literal text with backslashes before what would not be literal.
fn push_escaped(text: &mut String, literal: &str) {
    let mut plain = 0;
    for (at, c) in literal.char_indices() {
        let special = matches!(c, '\\' | '*' | '{');
        // A bare YYYY is taken for a mistake.
        let year =
            at >= plain && literal.as_bytes()[at..].get(..4).is_some_and(|w| w.eq_ignore_ascii_case(b"yyyy"));
        if year {
            plain = at + 4;
        }
        if special || year {
            text.push('\\');
        }
        text.push(c);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_are_padded_and_coarse_to_fine() {
        let cases = [
            ("a/{YYYY}/{mm}/{dd}", true),
            ("a/{YYYY}{mm}{dd}{HH}{MM}", true),
            ("a/*/{YYYY}/{mm}", true),
            ("a/{YYYY}/{mm}/*/x-*", true),
            ("a/{YYYY}/{mm}/{YYYY}{mm}{dd}", true),
            ("a/{YYYY}/{m}", false),
            ("a/{mm}/{YYYY}", false),
            ("a/{YYYY}/{dd}/{mm}", false),
            ("a/{YYYY}/*/{mm}", false),
            ("a/{YYYY}/OU-ID/{mm}", false),
            ("a/x-*-{YYYY}", false),
            ("a/b", false),
            ("/", false),
        ];
        for (text, want) in cases {
            let pattern = PrefixPattern::parse(text).expect("a test pattern");
            assert_eq!(pattern.is_range(), want, "{text}");
        }
    }

    #[test]
    fn the_zone_belongs_to_the_pattern() {
        let pattern = PrefixPattern::parse("a/{YYYY}/{mm}").expect("a test pattern");
        assert_eq!((pattern.timezone(), pattern.step()), (Tz::UTC, Some(Step::Month)));
        let other = pattern.clone().in_timezone(chrono_tz::Europe::Berlin);
        assert_ne!(other, pattern);
        assert_eq!(other.in_timezone(Tz::UTC), pattern);
    }
}
