//! Which folders to list by delimiter `/` to find the leaves of a pattern and the dates of a
//! leaf. A query names the prefix to list and reads the names that come back.

use super::leaf::Leaf;
use super::matches::{Bound, End, find};
use super::time::{PrefixTime, Step};
use super::{PrefixPattern, Segment, Token, Wild};

/// The next step to the leaves of a pattern.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Discovery {
    /// No wildcard is left to resolve.
    Leaf(Leaf),
    /// Folders are to be listed.
    Folders(FolderQuery),
}

/// One level of folders that a wildcard leaves open.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FolderQuery {
    pattern: PrefixPattern,
    /// The folder above, ending in `/`, or empty.
    base: String,
    /// The segment that has the wildcard.
    segment: usize,
    org: Option<String>,
    list: String,
}

impl PrefixPattern {
    /// Where finding the leaves begins. A pattern without dates has one leaf.
    pub fn discovery(&self) -> Discovery {
        match self.parts.date_segment {
            Some(_) => self.descend(String::new(), 0, None),
            None => {
                let head = match self.head_tokens() {
                    [Token::Text(text)] => text.clone(),
                    _ => String::new(),
                };
                Discovery::Leaf(self.resolved(head, None))
            }
        }
    }

    /// Goes down from a resolved folder to the next wildcard or to the first date.
    fn descend(&self, mut base: String, mut segment: usize, org: Option<String>) -> Discovery {
        let bound = Bound { org: org.as_deref(), ..Bound::default() };
        while let Some(tokens) = self.segments().get(segment) {
            let (text, complete) = literal_part(tokens, &bound, self.parts.date_segment == Some(segment));
            let list = format!("{base}{text}");
            if self.parts.date_segment == Some(segment) {
                return Discovery::Leaf(self.resolved(list, org));
            }
            if !complete {
                return Discovery::Folders(FolderQuery { pattern: self.clone(), base, segment, org, list });
            }
            base = list + "/";
            segment += 1;
        }
        // Not reached with a date segment; a leaf with the text so far is right without one.
        Discovery::Leaf(self.resolved(base, org))
    }
}

impl FolderQuery {
    /// What to list with delimiter `/`.
    pub fn prefix(&self) -> &str {
        &self.list
    }

    /// Where a found folder leads; `None` when the pattern does not take it. `folder` is one
    /// common prefix of the listing: the whole key text, ending in `/`.
    pub fn accept(&self, folder: &str) -> Option<Discovery> {
        let name = folder.strip_prefix(&self.base)?.strip_suffix('/')?;
        let tokens = self.pattern.segments().get(self.segment)?;
        let bound = Bound { org: self.org.as_deref(), ..Bound::default() };
        let bound = find(tokens, name, bound, End::Full).filter(|_| !name.contains('/'))?;
        let org = bound.org.map(str::to_owned);
        Some(self.pattern.descend(folder.to_owned(), self.segment + 1, org))
    }
}

/// One level of folders or keys at which dates of a leaf are told apart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DateQuery {
    leaf: Leaf,
    base: String,
    segment: usize,
    units: [Option<u16>; 5],
    list: String,
}

/// Where a name found by a [`DateQuery`] leads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Dates {
    /// To a prefix: it exists.
    At(PrefixTime),
    /// To finer variables, further down.
    Deeper(DateQuery),
}

impl DateQuery {
    /// The query at the first date variable; `None` without dates.
    pub(super) fn first(leaf: &Leaf) -> Option<Self> {
        let segment = leaf.pattern().parts.date_segment?;
        let base = &leaf.head()[..leaf.head().rfind('/').map_or(0, |slash| slash + 1)];
        Self::descend(leaf, base.to_owned(), segment, [None; 5])
    }

    /// Goes down to the next segment that is not literal by now.
    fn descend(leaf: &Leaf, mut base: String, mut segment: usize, units: [Option<u16>; 5]) -> Option<Self> {
        let bound = Bound { units, org: leaf.org() };
        loop {
            let tokens = leaf.pattern().segments().get(segment)?;
            let (text, complete) = literal_part(tokens, &bound, false);
            let list = format!("{base}{text}");
            if !complete {
                return Some(DateQuery { leaf: leaf.clone(), base, segment, units, list });
            }
            base = list + "/";
            segment += 1;
        }
    }

    /// What to list with delimiter `/`.
    pub fn prefix(&self) -> &str {
        &self.list
    }

    /// The newest time that can lie below; lets a caller leave out what ends before a start.
    pub fn latest(&self) -> PrefixTime {
        let step = self.leaf.pattern().step().unwrap_or(Step::Year);
        let highest = [9999, 12, 31, 23, 59];
        let units: [u16; 5] = std::array::from_fn(|unit| self.units[unit].unwrap_or(highest[unit]));
        // Not every month has a 31st.
        let mut days = (28..=units[2]).rev().chain([units[2]]);
        let found =
            days.find_map(|day| PrefixTime::from_units([units[0], units[1], day, units[3], units[4]], step));
        found.unwrap_or(PrefixTime::OPEN_ENDED)
    }

    /// Where a found name leads; `None` when the pattern does not take it. `name` is the whole
    /// key text of a common prefix, ending in `/`, or of an object at that level.
    pub fn accept(&self, name: &str) -> Option<Dates> {
        let segments = self.leaf.pattern().segments();
        let tokens = segments.get(self.segment)?;
        let rest = name.strip_prefix(&self.base)?;
        let last = self.segment + 1 == segments.len();
        let folder = rest.strip_suffix('/');
        let (text, end) = match (folder, last) {
            (Some(text), false) => (text, End::Full),
            (text, true) => (text.unwrap_or(rest), End::Prefix),
            (None, false) => return None,
        };
        let bound = find(tokens, text, Bound { units: self.units, org: self.leaf.org() }, end)?;
        if text.contains('/') {
            return None;
        }
        let step = self.leaf.pattern().step()?;
        if bound.units[..=step.index()].iter().all(Option::is_some) {
            return bound.time(step).map(Dates::At);
        }
        Self::descend(&self.leaf, name.to_owned(), self.segment + 1, bound.units).map(Dates::Deeper)
    }
}

/// The literal beginning of a segment with the bound values filled in, and whether that is all
/// of the segment. With `stop_at_date`, bound dates are no literal text.
fn literal_part(segment: &Segment, bound: &Bound<'_>, stop_at_date: bool) -> (String, bool) {
    let mut text = String::new();
    for token in segment {
        match token {
            Token::Text(literal) => text.push_str(literal),
            Token::Date(variable) => {
                let Some(value) = bound.units[variable.unit.index()].filter(|_| !stop_at_date) else {
                    return (text, false);
                };
                variable.fill(&mut text, &[value; 5]);
            }
            Token::Wild(Wild::Org) => {
                let Some(id) = bound.org else { return (text, false) };
                text.push_str(id);
            }
            Token::Wild(_) => return (text, false),
        }
    }
    (text, true)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    fn parse(pattern: &str) -> PrefixPattern {
        PrefixPattern::parse(pattern).expect("a test pattern")
    }

    /// The common prefixes, and the keys of that level, that a listing by delimiter gives.
    fn list(keys: &[&str], prefix: &str) -> BTreeSet<String> {
        let found = keys.iter().filter_map(|key| {
            let rest = key.strip_prefix(prefix)?;
            Some(format!("{prefix}{}", rest.split_inclusive('/').next()?))
        });
        found.collect()
    }

    /// All leaves' heads and all prefixes listed.
    fn leaves(pattern: &str, keys: &[&str]) -> (Vec<String>, Vec<String>) {
        let (mut heads, mut listed, mut open) = (Vec::new(), Vec::new(), vec![parse(pattern).discovery()]);
        while let Some(next) = open.pop() {
            match next {
                Discovery::Leaf(leaf) => {
                    assert_eq!(parse(pattern).leaf(leaf.head()), Some(leaf.clone()), "from its head again");
                    heads.push(leaf.head().to_owned());
                }
                Discovery::Folders(query) => {
                    listed.push(query.prefix().to_owned());
                    open.extend(list(keys, query.prefix()).iter().filter_map(|name| query.accept(name)));
                }
            }
        }
        heads.sort();
        listed.sort();
        (heads, listed)
    }

    const KEYS: &[&str] = &[
        "AWSLogs/111122223333/CloudTrail/us-east-1/2024/02/29/x",
        "AWSLogs/111122223333/CloudTrail/us-west-2/2024/02/29/x",
        "AWSLogs/111122223333/CloudTrail/eu-west-1/2024/02/29/x",
        "AWSLogs/444455556666/Config/us-east-1/x",
        "AWSLogs/o-aaaaaaaaaa/111122223333/CloudTrail/us-east-1/2024/02/29/x",
        "AWSLogs/readme.txt",
        "o-aaaaaaaaaa/AWSLogs/o-aaaaaaaaaa/444455556666/CloudTrail/us-east-1/2024/02/29/x",
        "o-aaaaaaaaaa/AWSLogs/o-bbbbbbbbbb/444455556666/CloudTrail/us-east-1/2024/02/29/x",
    ];

    #[test]
    fn wildcards_left_of_the_dates_make_leaves() {
        type Case = (&'static str, &'static str, &'static [&'static str], &'static [&'static str]);
        let cases: &[Case] = &[
            (
                "accounts",
                "AWSLogs/*/CloudTrail/us-east-1/{YYYY}",
                &["AWSLogs/111122223333/CloudTrail/us-east-1/", "AWSLogs/444455556666/CloudTrail/us-east-1/"],
                &["AWSLogs/"],
            ),
            (
                "accounts and regions",
                "AWSLogs/*/CloudTrail/us-*/{YYYY}",
                &["AWSLogs/111122223333/CloudTrail/us-east-1/", "AWSLogs/111122223333/CloudTrail/us-west-2/"],
                &["AWSLogs/", "AWSLogs/111122223333/CloudTrail/us-", "AWSLogs/444455556666/CloudTrail/us-"],
            ),
            (
                "an organisation",
                "AWSLogs/OU-ID/*/CloudTrail/us-east-1/{YYYY}",
                &["AWSLogs/o-aaaaaaaaaa/111122223333/CloudTrail/us-east-1/"],
                &["AWSLogs/", "AWSLogs/o-aaaaaaaaaa/"],
            ),
            (
                "Control Tower",
                "OU-ID/AWSLogs/OU-ID/*/CloudTrail/us-east-1/{YYYY}",
                &["o-aaaaaaaaaa/AWSLogs/o-aaaaaaaaaa/444455556666/CloudTrail/us-east-1/"],
                &["", "o-aaaaaaaaaa/AWSLogs/o-aaaaaaaaaa/"],
            ),
            ("no wildcard", "a/b-{YYYY}", &["a/b-"], &[]),
            ("in the segment of the date", "a/b-*-{YYYY}", &["a/b-"], &[]),
            ("right of the date", "a/{YYYY}/*", &["a/"], &[]),
            ("no dates", "AWSLogs/*/CloudTrail", &["AWSLogs/"], &[]),
            ("the root", "/", &[""], &[]),
        ];
        for (name, pattern, heads, listed) in cases {
            let (found, prefixes) = leaves(pattern, KEYS);
            assert_eq!(found, *heads, "{name}");
            assert_eq!(prefixes, *listed, "{name}");
        }
    }

    /// The times found by delimiter at or after 2023, and the prefixes listed.
    fn dates(pattern: &str, head: &str, keys: &[&str]) -> (Vec<String>, Vec<String>) {
        let leaf = parse(pattern).leaf(head).expect("the head matches");
        let start = leaf.time_of("2023-01-01T00:00:00Z".parse().expect("an instant"));
        let (mut times, mut listed, mut open) = (BTreeSet::new(), Vec::new(), Vec::from_iter(leaf.dates()));
        while let Some(query) = open.pop() {
            listed.push(query.prefix().to_owned());
            for dates in list(keys, query.prefix()).iter().filter_map(|name| query.accept(name)) {
                match dates {
                    Dates::At(time) => drop(times.insert(time)),
                    Dates::Deeper(query) if query.latest() >= start => open.push(query),
                    Dates::Deeper(_) => {}
                }
            }
        }
        listed.sort();
        (times.iter().map(|time| leaf.prefix(*time).name).collect(), listed)
    }

    #[test]
    fn existing_dates_are_found() {
        type Case = (
            &'static str,
            &'static str,
            &'static str,
            &'static [&'static str],
            &'static [&'static str],
            &'static [&'static str],
        );
        let cases: &[Case] = &[
            (
                "a folder per unit",
                "a/{YYYY}/{mm}/{dd}",
                "a/",
                &[
                    "a/2021/01/01/x",
                    "a/2024/02/29/x",
                    "a/2024/02/29/y",
                    "a/2024/03/01",
                    "a/2024/3/01/x",
                    "a/x/y",
                ],
                &["a/2024/02/29", "a/2024/03/01"],
                &["a/", "a/2024/", "a/2024/02/", "a/2024/03/"],
            ),
            (
                "Hive folders with text between",
                "a/y={YYYY}/z/m={m}",
                "a/y=",
                &["a/y=2024/z/m=1/x", "a/y=2024/z/m=10/x", "a/y=2024/z/m=11", "a/y=2024/m=9/x"],
                &["a/y=2024/z/m=1", "a/y=2024/z/m=10", "a/y=2024/z/m=11"],
                &["a/y=", "a/y=2024/z/m="],
            ),
            (
                "objects of the level",
                "a/app-{YYYY}-{mm}",
                "a/app-",
                &["a/app-2024-02.gz", "a/app-2024-03-x/y", "a/app-2024-044"],
                &["a/app-2024-02", "a/app-2024-03"],
                &["a/app-"],
            ),
            (
                "a wildcard between",
                "a/{YYYY}/*/{mm}",
                "a/",
                &["a/2024/x/02/k", "a/2024/y/03/k"],
                &["a/2024/*/02", "a/2024/*/03"],
                &["a/", "a/2024/", "a/2024/x/", "a/2024/y/"],
            ),
            (
                "a wildcard in the segment",
                "a/b*-{YYYY}",
                "a/b",
                &["a/bc-2024.gz", "a/b-2025/x"],
                &["a/b*-2024", "a/b*-2025"],
                &["a/b"],
            ),
            (
                "a repeat below",
                "{YYYY}/{mm}/x/{YYYY}-{dd}",
                "",
                &["2024/02/x/2024-29.gz", "2024/02/x/2023-28"],
                &["2024/02/x/2024-29"],
                &["", "2024/", "2024/02/x/2024-"],
            ),
        ];
        for (name, pattern, head, keys, names, listed) in cases {
            let (found, prefixes) = dates(pattern, head, keys);
            assert_eq!(found, *names, "{name}");
            assert_eq!(prefixes, *listed, "{name}");
        }
    }

    #[test]
    fn the_latest_time_below_a_folder() {
        let leaf = parse("{YYYY}/{mm}/{dd}").leaf("").expect("the head matches");
        let year = leaf.dates().expect("it has dates");
        assert_eq!(year.latest().to_string(), "9999-12-31T00:00");
        let Some(Dates::Deeper(month)) = year.accept("2023/") else { panic!("2023 is a year") };
        assert_eq!(month.latest().to_string(), "2023-12-31T00:00");
        let Some(Dates::Deeper(day)) = month.accept("2023/02/") else { panic!("02 is a month") };
        assert_eq!(day.latest().to_string(), "2023-02-28T00:00");
    }
}
