//! Matching of tokens against text. Every way to read the text is tried, the shortest `*`
//! first, so a key is refused only when no reading fits. The work is bounded: a reading that
//! failed once at a place is not tried there again.

use std::collections::HashSet;

use super::time::{FIRST_UNITS, PrefixTime, Step, Units, Variable};
use super::{Token, Wild, is_org_id};

/// What matching has found so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct Bound<'a> {
    /// The value of each unit, by [`Step::index`].
    pub units: [Option<u16>; 5],
    /// What `OU-ID` stands for.
    pub org: Option<&'a str>,
}

impl Bound<'_> {
    /// The time of the bound units; `None` when they are no day of the calendar.
    pub fn time(&self, step: Step) -> Option<PrefixTime> {
        let mut units: Units = FIRST_UNITS;
        for (unit, value) in units.iter_mut().zip(self.units) {
            *unit = value.unwrap_or(*unit);
        }
        PrefixTime::from_units(units, step)
    }

    /// Takes a value for a unit; false when it contradicts what is bound or the calendar.
    fn take(&mut self, unit: Step, value: u16) -> bool {
        let fits = match unit {
            Step::Year => true,
            Step::Month => (1..=12).contains(&value),
            Step::Day => (1..=31).contains(&value),
            Step::Hour => value < 24,
            Step::Minute => value < 60,
        };
        let slot = &mut self.units[unit.index()];
        if !fits || slot.is_some_and(|bound| bound != value) {
            return false;
        }
        *slot = Some(value);
        let [Some(_), Some(_), Some(_), ..] = self.units else { return true };
        unit > Step::Day || self.time(Step::Day).is_some()
    }
}

/// Where a match may end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// At the end of the text.
    Full,
    /// Anywhere after literal text, at the end of the number after a date variable, at the end
    /// of the segment after a wildcard.
    Prefix,
}

/// Matches `text` from its beginning, given what is bound already.
pub(crate) fn find<'a>(tokens: &[Token], text: &'a str, bound: Bound<'a>, end: End) -> Option<Bound<'a>> {
    let stars = tokens.iter().filter(|token| matches!(token, Token::Wild(Wild::Part))).count();
    let mut search = Search { tokens, text, end, failed: (stars > 1).then(HashSet::new) };
    search.from(0, 0, bound)
}

struct Search<'p, 'a> {
    tokens: &'p [Token],
    text: &'a str,
    end: End,
    /// Readings known to fail: token, byte and what of the bound values matters from there.
    /// Kept only where more than one `*` leaves a choice.
    failed: Option<HashSet<(usize, usize, Bound<'a>)>>,
}

impl<'a> Search<'_, 'a> {
    /// Matches the tokens from `at` on at byte `pos`.
    fn from(&mut self, mut at: usize, mut pos: usize, mut bound: Bound<'a>) -> Option<Bound<'a>> {
        while let Some(token) = self.tokens.get(at) {
            pos = match token {
                Token::Text(literal) => {
                    let fits = self.rest(pos).starts_with(literal.as_bytes());
                    fits.then_some(pos + literal.len())?
                }
                Token::Date(variable) => self.date(*variable, pos, &mut bound)?,
                Token::Wild(Wild::Part) => return self.star(at, pos, bound),
                Token::Wild(wild) => self.segment(*wild, pos, &mut bound)?,
            };
            at += 1;
        }
        self.may_end(pos).then_some(bound)
    }

    fn rest(&self, pos: usize) -> &'a [u8] {
        &self.text.as_bytes()[pos..]
    }

    /// The length of the segment from `pos` on.
    fn segment_len(&self, pos: usize) -> usize {
        memchr::memchr(b'/', self.rest(pos)).unwrap_or(self.text.len() - pos)
    }

    fn may_end(&self, pos: usize) -> bool {
        let next = self.rest(pos).first();
        match (self.end, self.tokens.last()) {
            (End::Full, _) => next.is_none(),
            (End::Prefix, Some(Token::Date(_))) => !next.is_some_and(u8::is_ascii_digit),
            // A `*` has the rest of its segment.
            (End::Prefix, _) => true,
        }
    }

    fn date(&self, variable: Variable, pos: usize, bound: &mut Bound<'a>) -> Option<usize> {
        let rest = self.rest(pos);
        let digits = rest.iter().take(5).take_while(|byte| byte.is_ascii_digit()).count();
        let width = if variable.padded {
            variable.width()
        } else {
            // The whole number: `month=1` does not take `month=10`, nor `month=01`.
            let padded = digits > 1 && rest[0] == b'0';
            (digits <= variable.width() && !padded).then_some(digits)?
        };
        if width == 0 || width > digits {
            return None;
        }
        let value = rest[..width].iter().fold(0, |value, byte| value * 10 + u16::from(byte - b'0'));
        bound.take(variable.unit, value).then_some(pos + width)
    }

    /// A wildcard that takes the whole segment: there is one way to match it.
    fn segment(&self, wild: Wild, pos: usize, bound: &mut Bound<'a>) -> Option<usize> {
        let end = pos + self.segment_len(pos);
        let segment = self.text.get(pos..end)?;
        let fits = match wild {
            Wild::Part | Wild::Segment => !segment.is_empty(),
            Wild::Account => segment.len() == 12 && segment.bytes().all(|byte| byte.is_ascii_digit()),
            Wild::Org => is_org_id(segment) && *bound.org.get_or_insert(segment) == segment,
        };
        fits.then_some(end)
    }

    fn star(&mut self, at: usize, pos: usize, bound: Bound<'a>) -> Option<Bound<'a>> {
        let last = pos + self.segment_len(pos);
        if at + 1 == self.tokens.len() {
            return (self.end == End::Prefix || last == self.text.len()).then_some(bound);
        }
        let relevant = self.failed.as_ref().map(|_| self.relevant(at + 1, bound));
        for next in pos..=last {
            let place = relevant.map(|relevant| (at + 1, next, relevant));
            if let (Some(failed), Some(place)) = (&self.failed, &place)
                && failed.contains(place)
            {
                // All longer readings of this `*` were tried from here as well.
                return None;
            }
            if let Some(found) = self.from(at + 1, next, bound) {
                return Some(found);
            }
            if let (Some(failed), Some(place)) = (&mut self.failed, place) {
                failed.insert(place);
            }
        }
        None
    }

    /// What is bound, without the values that cannot change the outcome from token `at` on.
    fn relevant(&self, at: usize, mut bound: Bound<'a>) -> Bound<'a> {
        let rest = &self.tokens[at..];
        let later = |unit: usize| {
            rest.iter().filter_map(Token::variable).any(|variable| variable.unit.index() == unit)
        };
        let calendar = (0..3).any(|unit| bound.units[unit].is_none() && later(unit));
        for unit in 0..5 {
            if !(later(unit) || (calendar && unit < 3)) {
                bound.units[unit] = None;
            }
        }
        bound
    }
}

#[cfg(test)]
mod tests {
    use super::super::PrefixPattern;
    use super::*;

    fn time_in(pattern: &str, key: &str) -> Option<String> {
        let pattern = PrefixPattern::parse(pattern).expect("a test pattern");
        let bound = find(&pattern.parts.tokens, key, Bound::default(), End::Prefix)?;
        Some(pattern.step().map_or(String::new(), |step| bound.time(step).expect("a day").to_string()))
    }

    #[test]
    fn keys_match_or_not() {
        let cases = [
            ("literal text is a string prefix", "logs/app-", "logs/app-1.gz", Some("")),
            ("and ends nowhere else", "logs/app-", "logs/ap", None),
            ("the root takes everything", "/", "x", Some("")),
            ("a padded number ends the pattern", "l/{YYYY}", "l/2024/x", Some("2024-01-01T00:00")),
            ("at its end", "l/{YYYY}", "l/20245", None),
            ("with nothing behind it", "l/{YYYY}", "l/2024", Some("2024-01-01T00:00")),
            ("an unpadded month", "y={YYYY}/m={m}", "y=2026/m=1/a", Some("2026-01-01T00:00")),
            ("is not the tenth", "y={YYYY}/m={m}", "y=2026/m=10/a", Some("2026-10-01T00:00")),
            ("nor a padded one", "y={YYYY}/m={m}", "y=2026/m=01/a", None),
            ("a padded month has two digits", "y={YYYY}/m={mm}", "y=2026/m=1/a", None),
            ("no month 13", "{YYYY}-{mm}", "2024-13", None),
            ("no 30 February", "{YYYY}/{mm}/{dd}", "2023/02/29/x", None),
            ("a leap day", "{YYYY}/{mm}/{dd}", "2024/02/29/x", Some("2024-02-29T00:00")),
            ("the day before the year", "{dd}.{mm}.{YYYY}", "29.02.2023", None),
            ("no hour 24", "{YYYY}{mm}{dd}{HH}", "2024022924", None),
            (
                "digits after a * are no number",
                "a-{YYYY}{mm}{dd}*.gz",
                "a-202402291530.gz",
                Some("2024-02-29T00:00"),
            ),
            ("an unpadded number before a *", "a-{YYYY}-{m}*.gz", "a-2024-11x.gz", Some("2024-11-01T00:00")),
            ("a repeat agrees", "{YYYY}/x-{YYYY}", "2024/x-2024", Some("2024-01-01T00:00")),
            ("a repeat that differs", "{YYYY}/x-{YYYY}", "2024/x-2025", None),
            (
                "a repeat behind a false friend",
                "{YYYY}/*_{YYYY}T",
                "2024/x_2023T_2024T",
                Some("2024-01-01T00:00"),
            ),
            (
                "the first date in reading order",
                "*{YYYY}{mm}{dd}*",
                "app20240115123000.gz",
                Some("2024-01-15T00:00"),
            ),
            ("past a date that is none", "*{YYYY}{mm}{dd}*", "app12023022820.gz", Some("2023-02-28T00:00")),
            ("* may be empty beside text", "a*/b", "a/b", Some("")),
            ("but is a name as a segment", "a/*/b", "a//b", None),
            ("* never crosses a slash", "a*b", "a/b", None),
            ("* at the end has its segment", "a/us-*", "a/us-east-1/x", Some("")),
            ("an account has 12 digits", "AWSLogs/*/x", "AWSLogs/111122223333/x", Some("")),
            ("not 13", "AWSLogs/*", "AWSLogs/1111222233334/x", None),
            ("nor letters", "AWSLogs/*", "AWSLogs/o-exampleorgid/x", None),
            ("* elsewhere is any name", "AWSLogs/*/*/x", "AWSLogs/111122223333/y/x", Some("")),
            ("an organisation", "OU-ID/x", "o-abcdefghij/x", Some("")),
            ("with a short id", "OU-ID/x", "o-abcdefghi/x", None),
            ("the same one twice", "OU-ID/OU-ID", "o-abcdefghij/o-abcdefghij/x", Some("")),
            ("another one", "OU-ID/OU-ID", "o-abcdefghij/o-abcdefghik/x", None),
            ("not as part of a name", "OU-ID", "xo-abcdefghij", None),
            ("beyond ASCII", "ä*ö", "äéüö", Some("")),
        ];
        for (name, pattern, key, want) in cases {
            assert_eq!(time_in(pattern, key).as_deref(), want, "{name}: {pattern} {key}");
        }
    }

    #[test]
    fn hostile_keys_end() {
        // Without remembering failed readings this would take longer than anyone waits.
        let pattern = "*{YYYY}{mm}{dd}*-*-*-*-*x/y".to_owned();
        let key = "2024-".repeat(20) + &"20240115-".repeat(100);
        assert_eq!(time_in(&pattern, &key), None);
    }
}
