//! Where the history of a span's prefixes lies: one walk over the files since the first of them
//! could close. A file that is gone or damaged is kept by name: what it told is not known.

use std::collections::HashMap;
use std::path::Path;

use chrono::{DateTime, NaiveDate, TimeDelta, Utc};
use tracing::warn;

use super::Span;
use crate::failure;
use crate::pattern::{Leaf, PrefixPattern, PrefixTime};
use crate::state::history::{self, Frame, HistoryError};
use crate::state::{SourceKey, State};
use crate::sweep::{SweepError, Sweeper};

/// Whose history is read.
#[derive(Clone, Copy)]
pub(in crate::sweep) struct Owner<'a> {
    /// Name of the source.
    pub name: &'a str,
    /// Its number and generation.
    pub key: SourceKey,
    /// Its pattern.
    pub pattern: &'a PrefixPattern,
    /// The state, which knows how long each file is.
    pub state: &'a dyn State,
    /// The folder that the files lie below.
    pub state_dir: &'a Path,
}

/// The frames of one prefix.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Frames {
    /// File and first byte of each, oldest first.
    pub places: Vec<(String, u64)>,
    /// When it closed; `None` when that frame is not there.
    pub closed_at: Option<DateTime<Utc>>,
}

/// One frame of a prefix. There is one for each closed prefix, so it is kept small.
#[derive(Clone, Copy)]
struct Place {
    time: PrefixTime,
    /// Number of its file.
    file: u32,
    offset: u64,
    objects: u32,
    /// Of a closing; `None` where a recheck found more.
    closed_at: Option<DateTime<Utc>>,
}

/// The frames of the prefixes of a span.
#[derive(Default)]
pub(in crate::sweep) struct Index {
    files: Vec<String>,
    /// By leaf: its frames by time, those of one prefix oldest first.
    leaves: HashMap<String, Vec<Place>>,
    /// Files that cannot be read whole, and why.
    lost: Vec<(String, String)>,
    /// Before this day, history may have been deleted for its age.
    kept_since: NaiveDate,
}

impl Index {
    /// Walks over the history files since `span` began.
    pub fn read(sweeper: &Sweeper, span: &Span) -> Result<Self, SweepError> {
        let owner = Owner {
            name: &sweeper.config.name,
            key: sweeper.key,
            pattern: &sweeper.config.pattern,
            state: &*sweeper.state,
            state_dir: &sweeper.state_dir,
        };
        let mut index = Index::since(&owner, earliest_end(sweeper, span), |leaf, time| {
            (leaf.time_of(span.from)..=leaf.time_of(span.to)).contains(&time)
        })?;
        let keep = TimeDelta::from_std(span.keep_history).unwrap_or(TimeDelta::MAX);
        let kept_since = sweeper.clock.now().checked_sub_signed(keep);
        index.kept_since = kept_since.map_or(NaiveDate::MIN, |at| at.date_naive());
        Ok(index)
    }

    /// Walks over the history files of the day `since` and later, for the prefixes wanted.
    pub fn since(
        owner: &Owner<'_>,
        since: NaiveDate,
        wanted: impl Fn(&Leaf, PrefixTime) -> bool,
    ) -> Result<Self, SweepError> {
        let mut index = Index::default();
        for (file, length) in owner.state.history()? {
            if !history::is_since(&file, since) {
                continue;
            }
            let mut frames = history::frames(owner.state_dir, &file, length);
            loop {
                let offset = frames.offset();
                match frames.visit_next(|frame| index.take(owner, frame, offset, &wanted)) {
                    Ok(Some(())) => {}
                    Ok(None) => break,
                    Err(error @ HistoryError::Newer { .. }) => return Err(error.into()),
                    Err(error) => {
                        let why = failure::chain(&error);
                        warn!(file, offset, error = why, "history is lost: what it told is not known");
                        index.lost.push((file.clone(), why));
                        break;
                    }
                }
            }
            index.files.push(file);
        }
        for places in index.leaves.values_mut() {
            places.sort_by_key(|place| place.time); // stable: files and frames came oldest first
        }
        Ok(index)
    }

    fn take(
        &mut self,
        owner: &Owner<'_>,
        frame: &mut Frame,
        offset: u64,
        wanted: impl Fn(&Leaf, PrefixTime) -> bool,
    ) -> Result<(), HistoryError> {
        let header = frame.header().clone();
        let generation = u64::from(owner.key.generation);
        if header.source != owner.name || header.generation != generation {
            return Ok(());
        }
        let Some(first) = frame.next().transpose()? else { return Ok(()) };
        let Some(leaf) = owner.pattern.leaf(&header.leaf) else { return Ok(()) };
        let Some(time) = leaf.prefix_of_key(&first.key).filter(|time| wanted(&leaf, *time)) else {
            return Ok(());
        };
        let mut objects: u32 = 1;
        for entry in frame {
            entry?;
            objects = objects.saturating_add(1);
        }
        let place = Place {
            time,
            file: u32::try_from(self.files.len()).unwrap_or(u32::MAX),
            offset,
            objects,
            closed_at: header.recheck.is_none().then_some(header.closed_at),
        };
        self.leaves.entry(header.leaf).or_default().push(place);
        Ok(())
    }

    /// The frames of a prefix, oldest first.
    fn places(&self, head: &str, time: PrefixTime) -> &[Place] {
        let places = self.leaves.get(head).map_or(&[][..], Vec::as_slice);
        let first = places.partition_point(|place| place.time < time);
        let behind = places.partition_point(|place| place.time <= time);
        &places[first..behind]
    }

    /// Objects that the history has of a prefix.
    pub fn objects(&self, head: &str, time: PrefixTime) -> u64 {
        self.places(head, time).iter().map(|place| u64::from(place.objects)).sum()
    }

    /// The frames of a prefix; none when it closed without objects.
    pub fn frames(&self, head: &str, time: PrefixTime) -> Frames {
        let places = self.places(head, time);
        let place = |place: &Place| {
            let file = self.files.get(usize::try_from(place.file).ok()?)?;
            Some((file.clone(), place.offset))
        };
        Frames { places: places.iter().filter_map(place).collect(), closed_at: closed_at(places) }
    }

    /// Whether the history of a prefix may have been deleted for its age.
    pub fn is_expired(&self, leaf: &Leaf, time: PrefixTime) -> bool {
        let closed = closed_at(self.places(leaf.head(), time));
        let until = leaf.prefix(time).until;
        closed.is_none() && until.is_some_and(|until| until.date_naive() < self.kept_since)
    }

    /// Whether a file that is lost may have told of a prefix.
    pub fn is_lost(&self, leaf: &Leaf, time: PrefixTime) -> bool {
        let Some(until) = leaf.prefix(time).until else { return false };
        self.lost.iter().any(|(file, _)| history::is_since(file, until.date_naive()))
    }

    /// Files that cannot be read whole, and why.
    pub fn into_lost(self) -> Vec<String> {
        self.lost.into_iter().map(|(_, why)| why).collect()
    }
}

fn closed_at(places: &[Place]) -> Option<DateTime<Utc>> {
    places.iter().rev().find_map(|place| place.closed_at)
}

/// The day on which the first prefix of a span could close at the earliest: a day less for zones.
fn earliest_end(sweeper: &Sweeper, span: &Span) -> NaiveDate {
    let day = span.from.min(sweeper.clock.now()).date_naive();
    day.checked_sub_days(chrono::Days::new(1)).unwrap_or(day)
}
