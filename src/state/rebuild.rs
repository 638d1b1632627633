//! What can still be told of a state whose database is lost: from its sidecar, its history and
//! the configuration. Reads only; what is told is written by [`super::disk`].
//!
//! The ledgers of open prefixes are lost with the database: their objects are found again by the
//! next listing in full and delivered a second time. Closed prefixes stay closed.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::time::Duration;

use chrono::{DateTime, NaiveDateTime, TimeDelta, Utc};

use super::history::{self, HistoryError, HistoryHeader};
use super::sidecar::{Sidecar, SidecarSource};
use super::{Change, LeafRecord, Marker, Recheck, SourceRecord, State, StateError};
use crate::pattern::{Leaf, PrefixPattern, PrefixTime};

/// A source as the configuration tells it.
#[derive(Clone, Debug)]
pub struct KnownSource {
    /// Its name.
    pub name: String,
    /// Its pattern, in its time zone.
    pub pattern: PrefixPattern,
    /// What would be stored of it if it were new.
    pub record: SourceRecord,
    /// Ages at which closed prefixes are listed once more.
    pub recheck: Vec<Duration>,
}

/// What is known again.
#[derive(Debug, Default)]
pub struct Rebuilt {
    /// What to store, in this order; it may be cut into batches anywhere.
    pub changes: Vec<Change>,
    /// What may be delivered a second time, for people: source, leaf and from when on.
    pub again: Vec<String>,
    /// What else the operator has to know.
    pub notes: Vec<String>,
    /// History files with frames that cannot be read: they will be cut before those.
    pub damaged_history: Vec<String>,
}

/// Puts together what sidecar (`None` when it is lost too), history and configuration tell.
pub fn rebuild(dir: &Path, sidecar: Option<&Sidecar>, known: &[KnownSource]) -> Result<Rebuilt, StateError> {
    let mut rebuilt = Rebuilt::default();
    let frames = read_history(dir, &mut rebuilt)?;
    match sidecar {
        Some(sidecar) => from_sidecar(sidecar, known, &frames, &mut rebuilt)?,
        None => from_history(known, &frames, &mut rebuilt),
    }
    for (name, source) in &frames {
        if !known.iter().any(|known| known.name == *name) {
            rebuilt.notes.push(format!(
                "source {name:?} is not configured: {} closings of it in the history are not restored",
                source.len()
            ));
        }
    }
    Ok(rebuilt)
}

/// A closing that the history tells of.
struct Frame {
    header: HistoryHeader,
    /// Where it lies: file and first byte.
    place: (String, u64),
    /// The first key: it names the time.
    key: Option<String>,
}

/// The closings of each source.
type Frames = BTreeMap<String, Vec<Frame>>;

/// Reads all frames, and notes up to where each file is whole.
fn read_history(dir: &Path, rebuilt: &mut Rebuilt) -> Result<Frames, StateError> {
    let mut found = Frames::new();
    for (file, length) in history::list(dir).map_err(failed)? {
        let whole = whole_length(dir, &file, length, |frame| {
            found.entry(frame.header.source.clone()).or_default().push(frame);
        })?;
        if whole < length {
            rebuilt.notes.push(format!(
                "the history file {file} is whole up to byte {whole} of {length}; closings behind that are unknown"
            ));
            rebuilt.damaged_history.push(file.clone());
        }
        if whole > 0 {
            rebuilt.changes.push(Change::PutHistory(file, whole));
        }
    }
    Ok(found)
}

/// The length of a history file up to the first frame that cannot be read.
fn whole_length(dir: &Path, file: &str, length: u64, mut each: impl FnMut(Frame)) -> Result<u64, StateError> {
    let mut frames = history::frames(dir, file, length);
    loop {
        let place = (file.to_owned(), frames.offset());
        let visited = frames.visit_next(|frame| {
            let header = frame.header().clone();
            let key = frame.next().transpose()?.map(|entry| entry.key);
            Ok(Frame { header, place, key })
        });
        match visited {
            // the frame counts once it was read to its end
            Ok(Some(frame)) => each(frame),
            Ok(None) => return Ok(frames.offset()),
            Err(HistoryError::Damaged { .. }) => return Ok(frames.offset()),
            Err(other) => return Err(failed(other)),
        }
    }
}

/// What mends a history that is damaged or shorter than was committed: lengths up to which it is
/// whole. Reads all of it.
pub fn mend_history(dir: &Path, committed: &[(String, u64)]) -> Result<Vec<Change>, StateError> {
    let found = history::list(dir).map_err(failed)?;
    let mut changes = Vec::new();
    for (file, committed) in committed {
        let length = found.get(file).copied().unwrap_or(0).min(*committed);
        match whole_length(dir, file, length, drop)? {
            whole if whole >= *committed => {}
            0 => changes.push(Change::DeleteHistory(file.clone())),
            whole => changes.push(Change::PutHistory(file.clone(), whole)),
        }
    }
    Ok(changes)
}

fn from_sidecar(
    sidecar: &Sidecar,
    known: &[KnownSource],
    frames: &Frames,
    rebuilt: &mut Rebuilt,
) -> Result<(), StateError> {
    rebuilt.changes.extend(sidecar.sink.clone().map(Change::PutSink));
    rebuilt.changes.push(Change::PutDeadLetter(sidecar.dead_letter));
    for (name, saved) in &sidecar.sources {
        let known = known.iter().find(|known| known.name == *name);
        let record = record_of(name, saved, known)?;
        let none = Vec::new();
        let frames = frames.get(name).unwrap_or(&none);
        let frames: Vec<_> =
            frames.iter().filter(|frame| frame.header.generation == saved.generation).collect();
        rebuilt.changes.push(Change::PutSource(name.clone(), Box::new(record.clone())));
        for (head, through) in &saved.leaves {
            let through = time_of(through).ok_or_else(|| {
                damaged(&format!("the sidecar names no time of leaf {head:?}: {through:?}"))
            })?;
            let leaf = known.and_then(|known| known.pattern.leaf(head));
            let closed = closed_above(leaf.as_ref(), head, through, &frames);
            put_leaf(rebuilt, &record, leaf.as_ref(), head, through, &closed);
            if let (Some(known), Some(leaf)) = (known, &leaf) {
                plan_rechecks(rebuilt, &record, leaf, &known.recheck, &frames);
            }
            rebuilt.again.push(again(name, head, through, closed.len()));
        }
        if saved.leaves.is_empty() {
            rebuilt.again.push(format!("{name}: all leaves from {} on", record.start));
        }
    }
    Ok(())
}

/// Without a sidecar: the numbers of the sources are given anew, and leaves begin at the start
/// that is configured, or with the first closing that is known, whichever is earlier.
fn from_history(known: &[KnownSource], frames: &Frames, rebuilt: &mut Rebuilt) {
    rebuilt.notes.push(
        "the sidecar is lost too: where the sink stood and where each leaf stood are unknown; what the history does \
         not name as closed is collected again from `start` on"
            .to_owned(),
    );
    for (id, known) in (1_u32..).zip(known) {
        let Some(frames) = frames.get(&known.name) else {
            rebuilt.again.push(format!("{}: all leaves from its start on", known.name));
            continue;
        };
        let generation = frames.iter().map(|frame| frame.header.generation).max().unwrap_or(1);
        let frames: Vec<_> = frames.iter().filter(|frame| frame.header.generation == generation).collect();
        let heads: BTreeSet<&str> = frames.iter().map(|frame| frame.header.leaf.as_str()).collect();
        let leaves: Vec<(Leaf, BTreeSet<PrefixTime>)> = heads
            .into_iter()
            .filter_map(|head| known.pattern.leaf(head))
            .map(|leaf| {
                let closed = closed_above(Some(&leaf), leaf.head(), PrefixTime::OPEN_ENDED, &frames);
                (leaf, closed)
            })
            .collect();
        let first = leaves.iter().filter_map(|(leaf, closed)| Some(leaf.prefix(*closed.first()?).from)).min();
        let record = SourceRecord {
            id,
            generation: u32::try_from(generation).unwrap_or(1),
            start: first.map_or(known.record.start, |first| first.min(known.record.start)),
            ..known.record.clone()
        };
        rebuilt.changes.push(Change::PutSource(known.name.clone(), Box::new(record.clone())));
        for (leaf, closed) in leaves {
            let through = leaf.time_of(record.start);
            put_leaf(rebuilt, &record, Some(&leaf), leaf.head(), through, &closed);
            plan_rechecks(rebuilt, &record, &leaf, &known.recheck, &frames);
            rebuilt.again.push(again(&known.name, leaf.head(), through, closed.len()));
        }
    }
}

fn record_of(
    name: &str,
    saved: &SidecarSource,
    known: Option<&KnownSource>,
) -> Result<SourceRecord, StateError> {
    let number = |number: u64| {
        u32::try_from(number).map_err(|_| damaged(&format!("the sidecar's numbers of source {name:?}")))
    };
    // the first version of the sidecar did not tell them: they are taken as configured
    let told = known.map(|known| known.record.clone());
    let (bucket, pattern, floor_settings, floor_epoch) = match (&saved.identity, told) {
        (Some(saved), _) => {
            let saved = saved.clone();
            (saved.bucket, saved.pattern, saved.floor_settings, saved.floor_epoch)
        }
        (None, Some(told)) => (told.bucket, told.pattern, told.floor_settings, told.floor_epoch),
        (None, None) => (String::new(), String::new(), String::new(), 1),
    };
    Ok(SourceRecord {
        id: number(saved.id)?,
        generation: number(saved.generation)?,
        bucket,
        pattern,
        floor_settings,
        floor_epoch,
        start: saved.start.unwrap_or(DateTime::<Utc>::MIN_UTC),
        discovered_at: None,
        stale: Vec::new(),
        last_sweep: None,
        sweeps: 0,
        readable_in: None,
    })
}

/// Prefixes of a leaf from `through` on that the history names as closed.
fn closed_above(
    leaf: Option<&Leaf>,
    head: &str,
    through: PrefixTime,
    frames: &[&Frame],
) -> BTreeSet<PrefixTime> {
    let Some(leaf) = leaf else { return BTreeSet::new() };
    frames
        .iter()
        .filter(|frame| frame.header.leaf == head)
        .filter_map(|frame| {
            let time = leaf.prefix_of_key(frame.key.as_deref()?)?;
            (leaf.prefix(time).name == frame.header.prefix && time >= through).then_some(time)
        })
        .collect()
}

fn put_leaf(
    rebuilt: &mut Rebuilt,
    record: &SourceRecord,
    leaf: Option<&Leaf>,
    head: &str,
    mut through: PrefixTime,
    closed: &BTreeSet<PrefixTime>,
) {
    let key = record.key();
    // Where prefixes are listed one by one and none was closed from the start on, the leaf is
    // left to discovery, which finds the dates that exist.
    let is_sparse = leaf.is_some_and(|leaf| {
        let pattern = leaf.pattern();
        pattern.step().is_some() && !pattern.is_range() && through <= leaf.time_of(record.start)
    });
    if !is_sparse {
        while let Some(leaf) = leaf.filter(|_| closed.contains(&through)) {
            through = leaf.next(through);
        }
        let leaf = LeafRecord { closed_through: through, sparse_until: None, dropped: false };
        rebuilt.changes.push(Change::PutLeaf(key, head.to_owned(), leaf));
    }
    for time in closed.iter().filter(|time| is_sparse || **time >= through) {
        let marker = Box::new(Marker { closed: true, ..Marker::default() });
        rebuilt.changes.push(Change::PutMarker(key, head.to_owned(), *time, marker));
    }
}

/// Before the last closing that the history tells by more than this, sweeps did the rechecks that
/// were due; later ones are done once more, which costs a LIST and delivers nothing.
const SURE: TimeDelta = TimeDelta::days(1);

/// Plans the rechecks of a leaf's closed prefixes anew: those ahead, and those that may not have
/// been done. A prefix whose closing is not among the frames is left out, since all of it would
/// be taken for new.
fn plan_rechecks(
    rebuilt: &mut Rebuilt,
    record: &SourceRecord,
    leaf: &Leaf,
    ages: &[Duration],
    frames: &[&Frame],
) {
    let Some(last_closing) = frames.iter().map(|frame| frame.header.closed_at).max() else { return };
    let mut of_prefix: BTreeMap<PrefixTime, Vec<&Frame>> = BTreeMap::new();
    for frame in frames.iter().filter(|frame| frame.header.leaf == leaf.head()) {
        let time = frame.key.as_deref().and_then(|key| leaf.prefix_of_key(key));
        if let Some(time) = time.filter(|time| leaf.prefix(*time).name == frame.header.prefix) {
            of_prefix.entry(time).or_default().push(frame);
        }
    }
    for (time, frames) in of_prefix {
        let closings = frames.iter().filter(|frame| frame.header.recheck.is_none());
        let Some(closed_at) = closings.map(|frame| frame.header.closed_at).max() else { continue };
        let due = |age: &Duration| closed_at.checked_add_signed(TimeDelta::from_std(*age).ok()?);
        let is_done = |at: DateTime<Utc>| last_closing.signed_duration_since(at) > SURE;
        let done = ages.iter().take_while(|age| due(age).is_some_and(is_done)).count();
        let Some(next) = ages.get(done).and_then(due) else { continue };
        let recheck = Recheck {
            closed_at,
            done: u32::try_from(done).unwrap_or(u32::MAX),
            frames: frames.iter().map(|frame| frame.place.clone()).collect(),
            extra: false,
            waits_since: None,
        };
        let head = leaf.head().to_owned();
        rebuilt.changes.push(Change::PutRecheck(record.key(), next, head, time, Box::new(recheck)));
    }
}

/// Planned rechecks that rest on history which is lost by these changes: all of their prefixes
/// would be taken for new.
pub fn forget_rechecks(state: &dyn State, mended: &[Change]) -> Result<Vec<Change>, StateError> {
    let is_lost = |(file, offset): &(String, u64)| {
        mended.iter().any(|change| match change {
            Change::PutHistory(cut, length) => cut == file && offset >= length,
            Change::DeleteHistory(gone) => gone == file,
            _ => false,
        })
    };
    let mut changes = Vec::new();
    for (_, source) in state.sources()? {
        for (due, head, time, recheck) in
            state.rechecks(source.key(), DateTime::<Utc>::MAX_UTC, usize::MAX)?
        {
            if recheck.frames.iter().any(is_lost) {
                changes.push(Change::DeleteRecheck(source.key(), due, head, time));
            }
        }
    }
    Ok(changes)
}

fn again(source: &str, head: &str, through: PrefixTime, closed: usize) -> String {
    let but = match closed {
        0 => String::new(),
        closed => format!(", but not {closed} that the history knows as closed"),
    };
    match through {
        PrefixTime::OPEN_ENDED => format!("{source}: {head} (all of it{but})"),
        through => format!("{source}: {head} from {through} on{but}"),
    }
}

/// The time that [`PrefixTime`] displays.
fn time_of(text: &str) -> Option<PrefixTime> {
    if text == PrefixTime::OPEN_ENDED.to_string() {
        return Some(PrefixTime::OPEN_ENDED);
    }
    let local = NaiveDateTime::parse_from_str(text, "%Y-%m-%dT%H:%M").ok()?;
    PrefixTime::from_minutes(local.and_utc().timestamp().div_euclid(60))
}

fn failed(error: HistoryError) -> StateError {
    match error {
        HistoryError::Newer { .. } => StateError::Newer { what: error.to_string() },
        HistoryError::Io { tried, path, source } => {
            StateError::Io { what: format!("failed to {tried} {}", path.display()), source }
        }
        HistoryError::Short { .. }
        | HistoryError::Damaged { .. }
        | HistoryError::Entries { .. }
        | HistoryError::Count { .. } => damaged(&error.to_string()),
    }
}

fn damaged(what: &str) -> StateError {
    StateError::Damaged { what: format!("{what}; restore the state directory from a copy") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_of_the_sidecar_come_back() {
        for minutes in [PrefixTime::OPEN_ENDED.as_minutes(), 0, -1, -900_000_000, 29_690_000] {
            let time = PrefixTime::from_minutes(minutes).expect("a time");
            assert_eq!(time_of(&time.to_string()), Some(time));
        }
        for text in ["", "2026/06/02", "2026-06-02", "open"] {
            assert_eq!(time_of(text), None, "{text}");
        }
    }
}
