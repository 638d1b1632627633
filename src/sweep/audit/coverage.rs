//! Times without any CloudTrail file. An active account and region writes one about every five
//! minutes, so a longer time is a hint: a trail that was stopped, files that were deleted, or
//! nothing that happened. Pure.

use std::time::Duration;

use chrono::{DateTime, NaiveDateTime, TimeDelta, Utc};
use serde::Serialize;

/// A time without any file in a leaf that has some.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Gap {
    /// The leaf.
    pub leaf: String,
    /// The last file before it, or the beginning of the audit.
    pub from: DateTime<Utc>,
    /// The first file after it, or the end of the audit.
    pub to: DateTime<Utc>,
}

/// Watches the files of one leaf as they are listed.
pub(super) struct Coverage {
    leaf: String,
    longest: TimeDelta,
    end: DateTime<Utc>,
    last: DateTime<Utc>,
    seen: bool,
}

impl Coverage {
    /// Watches a leaf from `from` to `to`.
    pub fn new(leaf: String, from: DateTime<Utc>, to: DateTime<Utc>, longest: Duration) -> Self {
        let longest = TimeDelta::from_std(longest).unwrap_or(TimeDelta::MAX);
        Coverage { leaf, longest, end: to, last: from, seen: false }
    }

    /// Takes the next file: the gap that ends with it.
    pub fn file(&mut self, key: &str) -> Option<Gap> {
        let at = file_time(key)?;
        self.seen = true;
        let gap = self.gap(at.min(self.end));
        self.last = self.last.max(at);
        gap
    }

    /// The gap at the end; a leaf without any file has none, it is not active.
    pub fn end(self) -> Option<Gap> {
        let end = self.end;
        if self.seen { self.gap(end) } else { None }
    }

    fn gap(&self, to: DateTime<Utc>) -> Option<Gap> {
        let from = self.last;
        (to - from > self.longest).then(|| Gap { leaf: self.leaf.clone(), from, to })
    }
}

/// The time in the name of a CloudTrail file:
/// `111122223333_CloudTrail_us-east-1_20260601T0035Z_…` (CloudTrail user guide, "CloudTrail log
/// file name format").
fn file_time(key: &str) -> Option<DateTime<Utc>> {
    let name = key.rsplit('/').next()?;
    let stamp = |part: &str| NaiveDateTime::parse_from_str(part, "%Y%m%dT%H%MZ").ok();
    name.split('_').find_map(stamp).map(|at| at.and_utc())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(minute: &str) -> DateTime<Utc> {
        format!("2026-06-01T{minute}:00Z").parse().expect("a test instant")
    }

    #[test]
    fn times_without_a_file_are_told_where_the_leaf_is_active() {
        type Gaps<'a> = &'a [(&'a str, &'a str)];
        let cases: [(&str, &[&str], Gaps<'_>); 6] = [
            ("no file at all", &[], &[]),
            ("each hour", &["0100", "0200", "0300"], &[]),
            ("a gap between files", &["0030", "0231", "0300"], &[("00:30", "02:31")]),
            ("before the first and after the last", &["0130"], &[("00:00", "01:30"), ("01:30", "04:00")]),
            ("files of other regions go back", &["0030", "0100", "0030", "0130", "0200", "0300"], &[]),
            ("names without a time", &["x"], &[]),
        ];
        for (name, files, want) in cases {
            let mut coverage = Coverage::new("l".into(), at("00:00"), at("04:00"), Duration::from_secs(3600));
            let mut gaps: Vec<Gap> = files
                .iter()
                .filter_map(|file| coverage.file(&format!("a/1_CloudTrail_r_20260601T{file}Z_x.json.gz")))
                .collect();
            gaps.extend(coverage.end());
            let want: Vec<_> =
                want.iter().map(|(from, to)| Gap { leaf: "l".into(), from: at(from), to: at(to) }).collect();
            assert_eq!(gaps, want, "{name}");
        }
    }
}
