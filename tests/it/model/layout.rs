//! Where the objects of a case lie: each layout takes another way through planning and listing.

use chrono::{DateTime, Utc};

use crate::world::trail_key;

/// A prefix pattern, and the keys below it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Layout {
    /// CloudTrail's own, listed as ranges with floors.
    Trail,
    /// Dates that are not padded: one listing for each prefix.
    Unpadded,
    /// Two wildcards left of the dates, and one right of them.
    Wildcards,
    /// No dates: one prefix that never closes, with floors where its keys rise with time.
    OpenEnded { ordered: bool },
}

impl Layout {
    /// The lines of the source's table.
    pub fn settings(self) -> &'static str {
        match self {
            Layout::Trail => "prefix = \"AWSLogs/*/CloudTrail/us-east-1\"",
            Layout::Unpadded => "prefix = \"logs/*/{YYYY}/{m}/{d}\"",
            Layout::Wildcards => "prefix = \"org/*/x-*/{YYYY}/{mm}/{dd}/p-*/in\"",
            Layout::OpenEnded { ordered: false } => "prefix = \"flat/all\"",
            Layout::OpenEnded { ordered: true } => "prefix = \"flat/all\"\nkey_order = \"time\"",
        }
    }

    /// The key of a file of this minute.
    pub fn key(self, account: u8, minute: DateTime<Utc>, suffix: u64) -> String {
        let (stamp, part) = (minute.format("%Y%m%dT%H%MZ"), suffix % 3);
        match self {
            Layout::Trail => trail_key(account, minute, suffix),
            Layout::Unpadded => {
                let day = minute.format("%Y/%-m/%-d");
                format!("logs/{account}/{day}/{stamp}_{suffix:06}.json")
            }
            Layout::Wildcards => {
                let day = minute.format("%Y/%m/%d");
                format!("org/{account}/x-{part}/{day}/p-{part}{account}/in-{stamp}_{suffix:06}.json")
            }
            Layout::OpenEnded { .. } => format!("flat/all-{stamp}_{account}_{suffix:06}.json"),
        }
    }

    pub fn is_open_ended(self) -> bool {
        matches!(self, Layout::OpenEnded { .. })
    }
}
