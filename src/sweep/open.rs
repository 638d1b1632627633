//! What the configuration makes of a source's stored record: first sight, a new generation, or
//! floors that no longer hold. Pure.

use chrono::{DateTime, TimeZone as _, Utc};
use chrono_tz::Tz;

use super::plan::back;
use crate::config::{SourceConfig, Start};
use crate::pattern::Leaf;
use crate::state::{LeafRecord, Marker, SourceRecord};

/// What opening found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Opened {
    /// Nothing changed.
    AsBefore,
    /// The source is new.
    New,
    /// Bucket or pattern changed: markers are cleared and all that matches is collected.
    Generation,
    /// Time zone, file pattern or lateness changed: floors are reset, the ledger stays.
    Floors,
}

/// The record of a source for this sweep, to be stored unless it is as before. `free_id` is a
/// number that no source has.
pub fn open(
    known: Option<SourceRecord>,
    config: &SourceConfig,
    free_id: u32,
    now: DateTime<Utc>,
) -> (SourceRecord, Opened) {
    let bucket = config.bucket.name();
    let pattern = config.pattern.to_string();
    let floor_settings =
        format!("{} {} {}", config.timezone.name(), config.lateness.as_secs(), config.file_pattern.as_str());
    let Some(known) = known else {
        let record = SourceRecord {
            id: free_id,
            generation: 1,
            bucket,
            pattern,
            floor_settings,
            floor_epoch: 1,
            start: start_of(config.start, now),
            discovered_at: None,
            stale: Vec::new(),
            last_sweep: None,
            sweeps: 0,
            readable_in: None,
        };
        return (record, Opened::New);
    };
    if known.bucket != bucket || known.pattern != pattern {
        let mut stale = known.stale.clone();
        stale.push(known.generation);
        let record = SourceRecord {
            generation: known.generation + 1,
            bucket,
            pattern,
            floor_settings,
            floor_epoch: known.floor_epoch + 1,
            discovered_at: None,
            stale,
            ..known
        };
        return (record, Opened::Generation);
    }
    if known.floor_settings != floor_settings {
        let record = SourceRecord { floor_settings, floor_epoch: known.floor_epoch + 1, ..known };
        return (record, Opened::Floors);
    }
    (known, Opened::AsBefore)
}

/// The time zone of a stored record; `None` when it names none that is known.
pub fn zone_of(record: &SourceRecord) -> Option<Tz> {
    record.floor_settings.split(' ').next()?.parse().ok()
}

/// The absolute instant at which every leaf begins.
fn start_of(start: Start, now: DateTime<Utc>) -> DateTime<Utc> {
    match start {
        Start::Ago(ago) => back(now, ago),
        Start::At(at) => at,
        Start::All => Utc.with_ymd_and_hms(1, 1, 1, 0, 0, 0).single().unwrap_or(DateTime::<Utc>::MIN_UTC),
    }
}

/// The record of a leaf that is seen for the first time.
pub fn new_leaf(leaf: &Leaf, start: DateTime<Utc>) -> LeafRecord {
    LeafRecord { closed_through: leaf.time_of(start), sparse_until: None, dropped: false }
}

/// A marker as it counts now: floors of another epoch are none.
pub fn current(mut marker: Marker, floor_epoch: u32) -> Marker {
    if marker.floor_epoch != floor_epoch {
        marker.floor = None;
        marker.below_floor = 0;
    }
    marker
}

#[cfg(test)]
mod tests;
