//! `fixtures/manifest.json`: which objects lie in the bucket from when on, and what is to become of
//! each.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use chrono::{DateTime, Utc};
use s3sweep::sweep::report::SourceReport;

/// The whole file, but for its totals.
#[derive(Debug, serde::Deserialize)]
pub struct Manifest {
    /// Name of the bucket.
    pub bucket: String,
    /// A pattern that reaches all objects but the skipped ones.
    pub pattern: String,
    /// All objects, by key.
    pub objects: Vec<Entry>,
}

/// One object.
#[derive(Debug, serde::Deserialize)]
pub struct Entry {
    /// Its key.
    pub key: String,
    /// Its bytes: a path below the fixtures.
    pub file: PathBuf,
    /// When it appears in the bucket.
    pub last_modified: DateTime<Utc>,
    /// How many records are delivered of it.
    pub records: u64,
    /// The word for what becomes of it.
    pub outcome: String,
    /// Whether it appears after objects with greater keys were collected.
    pub late: bool,
}

/// What a sweep does, in the words of the manifest.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Counts {
    pub collected: u64,
    pub late: u64,
    pub empty: u64,
    pub quarantined: u64,
    pub records: u64,
}

impl Counts {
    /// What a sweep did.
    pub fn of(report: &SourceReport) -> Self {
        let objects = &report.objects;
        Counts {
            collected: objects.collected,
            late: objects.late,
            empty: objects.empty,
            quarantined: objects.quarantined,
            records: report.records,
        }
    }
}

impl Manifest {
    /// Reads it from the folder of the fixtures.
    pub fn read(fixtures: &Path) -> anyhow::Result<Self> {
        let path = fixtures.join("manifest.json");
        let text = std::fs::read(&path).with_context(|| format!("failed to read {}", path.display()))?;
        serde_json::from_slice(&text).with_context(|| format!("failed to understand {}", path.display()))
    }

    /// The objects that appear after `since`, and not after `now`.
    pub fn appeared(&self, since: DateTime<Utc>, now: DateTime<Utc>) -> impl Iterator<Item = &Entry> {
        self.objects.iter().filter(move |entry| since < entry.last_modified && entry.last_modified <= now)
    }

    /// What a sweep at `now` is to do with them.
    pub fn expected(&self, since: DateTime<Utc>, now: DateTime<Utc>) -> Counts {
        let mut counts = Counts::default();
        for entry in self.appeared(since, now) {
            counts.collected += u64::from(entry.outcome == "collected");
            counts.late += u64::from(entry.late);
            counts.empty += u64::from(entry.outcome == "empty");
            counts.quarantined += u64::from(entry.outcome == "quarantined");
            counts.records += entry.records;
        }
        counts
    }

    /// How many records of each key are delivered, of those that have any.
    pub fn records_by_key(&self) -> BTreeMap<&str, u64> {
        let entries = self.objects.iter().filter(|entry| entry.records > 0);
        entries.map(|entry| (entry.key.as_str(), entry.records)).collect()
    }
}
