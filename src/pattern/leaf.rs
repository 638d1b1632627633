//! A leaf and its prefixes: times to literal text, keys back to times.

use std::sync::Arc;

use chrono::{DateTime, Utc};
use chrono_tz::Tz;

use super::discover::DateQuery;
use super::matches::{Bound, End, find};
use super::time::{PrefixTime, Step, Units};
use super::{PrefixPattern, Segment, Token, Wild, normal_form};

/// A pattern whose wildcards left of the first date variable are resolved, dates still open.
///
/// Wildcards in the segment of the first date, and all of a pattern without dates, stay open:
/// they are matched against listed keys.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Leaf {
    pattern: PrefixPattern,
    head: String,
    /// What `OU-ID` stands for, where the head told.
    org: Option<String>,
    /// The tokens right of the head.
    rest: Arc<[Token]>,
}

/// A leaf with its dates filled in: what S3 lists, and the UTC time it covers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Prefix {
    /// Its identity within the leaf.
    pub time: PrefixTime,
    /// What S3 lists: the dates filled in, cut at the first open wildcard. Prefixes of a leaf
    /// with a wildcard left of a date can have it in common.
    pub literal: String,
    /// For people: the dates filled in, open wildcards as they were written; `/` for the root.
    pub name: String,
    /// The beginning of the time it covers; [`DateTime::MIN_UTC`] without dates.
    pub from: DateTime<Utc>,
    /// The end of its last UTC interval, exclusive; equal to `from` for a step that clocks
    /// jumped over; `None` without dates: it never closes.
    pub until: Option<DateTime<Utc>>,
}

impl PrefixPattern {
    /// The leaf of a stored [`Leaf::head`]; `None` when the head does not match the part left
    /// of the first date.
    pub fn leaf(&self, head: &str) -> Option<Leaf> {
        let bound = find(self.head_tokens(), head, Bound::default(), End::Full)?;
        Some(self.resolved(head.to_owned(), bound.org.map(str::to_owned)))
    }

    /// The leaf of a head that is known to match.
    pub(super) fn resolved(&self, head: String, org: Option<String>) -> Leaf {
        let rest = self.rest_tokens().iter().map(|token| match (token, &org) {
            (Token::Wild(Wild::Org), Some(id)) => Token::Text(id.clone()),
            _ => token.clone(),
        });
        Leaf { pattern: self.clone(), rest: rest.collect(), head, org }
    }
}

impl Leaf {
    /// The literal text before the first date variable, wildcards resolved; it ends at a
    /// wildcard in the segment of that variable, and at the first wildcard of a pattern
    /// without dates. The identity of the leaf within its source.
    pub fn head(&self) -> &str {
        &self.head
    }

    /// The resolved pattern in its normal form, for people:
    /// `AWSLogs/111122223333/CloudTrail/us-east-1/{YYYY}/{mm}/{dd}`.
    pub fn name(&self) -> String {
        let head = Token::Text(self.head.clone());
        normal_form(&segments(std::iter::once(&head).chain(self.rest.iter())))
    }

    /// The pattern it is a leaf of.
    pub fn pattern(&self) -> &PrefixPattern {
        &self.pattern
    }

    /// What `OU-ID` stands for, where the head told.
    pub(super) fn org(&self) -> Option<&str> {
        self.org.as_deref()
    }

    /// The step that covers an instant, in the pattern's zone; [`PrefixTime::OPEN_ENDED`]
    /// without dates.
    pub fn time_of(&self, at: DateTime<Utc>) -> PrefixTime {
        let covering = |step| PrefixTime::covering(at, self.pattern.zone, step);
        self.pattern.step().map_or(PrefixTime::OPEN_ENDED, covering)
    }

    /// The prefix of a time; the time is cut to the pattern's step.
    pub fn prefix(&self, time: PrefixTime) -> Prefix {
        fill(&self.head, &self.rest, self.pattern.step(), self.pattern.zone, time)
    }

    /// The time of the next prefix; the same one at the end of the year 9999 and without dates.
    ///
    /// Local hours that clocks jump over are steps too, of no length: keys may name them.
    pub fn next(&self, time: PrefixTime) -> PrefixTime {
        self.pattern.step().map_or(PrefixTime::OPEN_ENDED, |step| time.next(step))
    }

    /// The time of the prefix before; the same one at the beginning of the year 0 and without
    /// dates.
    pub fn previous(&self, time: PrefixTime) -> PrefixTime {
        self.pattern.step().map_or(PrefixTime::OPEN_ENDED, |step| time.previous(step))
    }

    /// The times from `from` to `to`, both included, oldest first; none when `from` is later.
    /// Without dates the one there is.
    pub fn times(&self, from: PrefixTime, to: PrefixTime) -> impl Iterator<Item = PrefixTime> + use<> {
        times(self.pattern.step(), from, to)
    }

    /// The one prefix a key belongs to; `None` when the key does not match the whole pattern.
    pub fn prefix_of_key(&self, key: &str) -> Option<PrefixTime> {
        let rest = key.strip_prefix(&self.head)?;
        let bound = Bound { org: self.org(), ..Bound::default() };
        let bound = find(&self.rest, rest, bound, End::Prefix)?;
        match self.pattern.step() {
            Some(step) => bound.time(step),
            None => Some(PrefixTime::OPEN_ENDED),
        }
    }

    /// Where finding the existing dates by delimiter begins; `None` without dates.
    pub fn dates(&self) -> Option<DateQuery> {
        DateQuery::first(self)
    }
}

/// Tokens by segment.
fn segments<'t>(tokens: impl Iterator<Item = &'t Token>) -> Vec<Segment> {
    let mut segments = Vec::new();
    let mut segment = Segment::new();
    for token in tokens {
        let Token::Text(text) = token else {
            segment.push(token.clone());
            continue;
        };
        for (index, piece) in text.split('/').enumerate() {
            if index > 0 {
                segments.push(std::mem::take(&mut segment));
            }
            if !piece.is_empty() {
                segment.push(Token::Text(piece.to_owned()));
            }
        }
    }
    segments.push(segment);
    segments
}

/// The times of a step from `from` to `to`, both included.
pub(super) fn times(
    step: Option<Step>,
    from: PrefixTime,
    to: PrefixTime,
) -> impl Iterator<Item = PrefixTime> + use<> {
    let cut = |time: PrefixTime| step.map_or(PrefixTime::OPEN_ENDED, |step| time.truncated(step));
    let (first, last) = (cut(from), cut(to));
    std::iter::successors((first <= last).then_some(first), move |time| {
        step.map(|step| time.next(step)).filter(|next| next > time && *next <= last)
    })
}

/// Fills a time into the tokens right of a head.
pub(super) fn fill(head: &str, rest: &[Token], step: Option<Step>, zone: Tz, time: PrefixTime) -> Prefix {
    let time = step.map_or(PrefixTime::OPEN_ENDED, |step| time.truncated(step));
    let units = time.units();
    let mut name = head.to_owned();
    let mut literal = None;
    for token in rest {
        if let Token::Wild(_) = token {
            literal.get_or_insert_with(|| name.clone());
        }
        push_filled(&mut name, token, &units);
    }
    let literal = literal.unwrap_or_else(|| name.clone());
    if name.is_empty() {
        name.push('/');
    }
    let covered = step.map(|step| time.intervals(zone, step));
    Prefix {
        time,
        literal,
        name,
        from: covered.map_or(DateTime::<Utc>::MIN_UTC, |covered| covered.first.0),
        until: covered.map(|covered| covered.until()),
    }
}

/// Appends a token with its date filled in, wildcards as they are written.
fn push_filled(text: &mut String, token: &Token, units: &Units) {
    match token {
        Token::Text(literal) => text.push_str(literal),
        Token::Date(variable) => variable.fill(text, units),
        Token::Wild(wild) => text.push_str(wild.text()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn leaf(pattern: &str, head: &str) -> Option<Leaf> {
        PrefixPattern::parse(pattern).expect("a test pattern").leaf(head)
    }

    fn utc(text: &str) -> DateTime<Utc> {
        text.parse().expect("a test instant")
    }

    #[test]
    fn a_stored_head_makes_the_leaf_or_none() {
        const TRAIL: &str = "AWSLogs/*/CloudTrail/us-*/{YYYY}/{mm}/{dd}";
        const TOWER: &str = "OU-ID/AWSLogs/OU-ID/*/x/{YYYY}/OU-ID-*/OU-ID/y";
        let cases = [
            (
                TRAIL,
                "AWSLogs/111122223333/CloudTrail/us-east-1/",
                Some("AWSLogs/111122223333/CloudTrail/us-east-1/{YYYY}/{mm}/{dd}"),
            ),
            (TRAIL, "AWSLogs/1111/CloudTrail/us-east-1/", None),
            (TRAIL, "AWSLogs/111122223333/CloudTrail/eu-west-1/", None),
            (TRAIL, "AWSLogs/111122223333/CloudTrail/us-east-1/2024/", None),
            (
                TOWER,
                "o-aaaaaaaaaa/AWSLogs/o-aaaaaaaaaa/111122223333/x/",
                Some("o-aaaaaaaaaa/AWSLogs/o-aaaaaaaaaa/111122223333/x/{YYYY}/OU-ID-*/o-aaaaaaaaaa/y"),
            ),
            (TOWER, "o-aaaaaaaaaa/AWSLogs/o-bbbbbbbbbb/111122223333/x/", None),
            ("logs/app-*-{YYYY}", "logs/app-", Some("logs/app-*-{YYYY}")),
            ("logs/app-*-{YYYY}", "logs/app-x", None),
            ("a/*/b-{YYYY}", "a/{x}*/b-", Some("a/\\{x}\\*/b-{YYYY}")),
            ("a/*/b-{YYYY}", "a//b-", None),
            ("{YYYY}", "", Some("{YYYY}")),
            ("a/b*/c", "a/b", Some("a/b*/c")),
            ("*", "", Some("*")),
            ("/", "", Some("/")),
            ("a//", "a/", Some("a\\/")),
        ];
        for (pattern, head, want) in cases {
            let found = leaf(pattern, head);
            assert_eq!(found.as_ref().map(Leaf::name).as_deref(), want, "{pattern} {head}");
            assert!(found.is_none_or(|leaf| leaf.head() == head && leaf.pattern().leaf(head) == Some(leaf.clone())));
        }
    }

    #[test]
    fn prefixes_have_their_literal_name_and_time() {
        let cases = [
            (
                "t/*/{YYYY}/{mm}/{dd}/*_x",
                "t/a/",
                "t/a/2024/02/29/",
                "t/a/2024/02/29/*_x",
                "2024-02-29T00:00:00Z",
                "2024-03-01T00:00:00Z",
            ),
            (
                "logs/app-*-{YYYY}",
                "logs/app-",
                "logs/app-",
                "logs/app-*-2024",
                "2024-01-01T00:00:00Z",
                "2025-01-01T00:00:00Z",
            ),
            ("a/{YYYY}/*/{m}", "a/", "a/2024/", "a/2024/*/2", "2024-02-01T00:00:00Z", "2024-03-01T00:00:00Z"),
            (
                "a{YYYY}{mm}{dd}T{H}-{M}",
                "a",
                "a20240229T12-5",
                "a20240229T12-5",
                "2024-02-29T12:05:00Z",
                "2024-02-29T12:06:00Z",
            ),
        ];
        for (pattern, head, literal, name, from, until) in cases {
            let leaf = leaf(pattern, head).expect("the head matches");
            let prefix = leaf.prefix(leaf.time_of(utc("2024-02-29T12:05:59Z")));
            let want = Prefix {
                time: prefix.time,
                literal: literal.to_owned(),
                name: name.to_owned(),
                from: utc(from),
                until: Some(utc(until)),
            };
            assert_eq!(prefix, want, "{pattern}");
        }
        let open = leaf("a/b-*", "a/b-").expect("the head matches");
        let prefix = open.prefix(open.time_of(utc("2024-02-29T12:05:59Z")));
        assert_eq!(
            (prefix.time, prefix.from, prefix.until),
            (PrefixTime::OPEN_ENDED, DateTime::<Utc>::MIN_UTC, None)
        );
        assert_eq!((&*prefix.literal, &*prefix.name), ("a/b-", "a/b-*"));
        assert_eq!(open.times(prefix.time, prefix.time).count(), 1);
        assert_eq!(open.prefix_of_key("a/b-c/d"), Some(PrefixTime::OPEN_ENDED));
        assert_eq!((open.prefix_of_key("a/c"), open.dates()), (None, None));
    }

    #[test]
    fn the_times_of_a_leaf_go_on_without_end() {
        let leaf = leaf("a/{YYYY}/{mm}/{dd}", "a/").expect("the head matches");
        let (from, to) =
            (leaf.time_of(utc("2023-12-30T23:00:00Z")), leaf.time_of(utc("2024-01-02T00:00:00Z")));
        let names: Vec<_> = leaf.times(from, to).map(|time| leaf.prefix(time).name).collect();
        assert_eq!(names, ["a/2023/12/30", "a/2023/12/31", "a/2024/01/01", "a/2024/01/02"]);
        assert_eq!(leaf.times(to, from).count(), 0);
        assert_eq!(leaf.next(leaf.previous(to)), to);
        let last = leaf.time_of(DateTime::<Utc>::MAX_UTC);
        assert_eq!(leaf.times(last, last).count(), 1);
        assert_eq!(leaf.prefix(last).name, "a/9999/12/31");
        assert_eq!(leaf.prefix(leaf.time_of(DateTime::<Utc>::MIN_UTC)).name, "a/0000/01/01");
        assert_eq!(leaf.prefix(PrefixTime::OPEN_ENDED).name, "a/0000/01/01");
    }

    #[test]
    fn the_organisation_of_the_head_holds_for_the_rest() {
        let leaf = leaf("OU-ID/{YYYY}/OU-ID", "o-aaaaaaaaaa/").expect("the head matches");
        assert!(leaf.prefix_of_key("o-aaaaaaaaaa/2024/o-aaaaaaaaaa").is_some());
        assert_eq!(leaf.prefix_of_key("o-aaaaaaaaaa/2024/o-bbbbbbbbbb"), None);
        assert_eq!(
            leaf.prefix(leaf.time_of(utc("2024-01-01T00:00:00Z"))).literal,
            "o-aaaaaaaaaa/2024/o-aaaaaaaaaa"
        );
    }
}
