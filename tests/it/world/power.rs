//! The power, which goes at a durable operation or at a named place, and a sink that has trouble.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use s3sweep::failpoint;
use s3sweep::sink::{Position, Sink, SinkError};
use s3sweep::state::{Batch, Pair, State, StateError};

/// When the power goes.
#[derive(Clone, Copy, Debug)]
pub enum Power {
    /// At the `number`-th durable operation from now (from 1), before or right after it.
    Operation { number: u64, after: bool },
    /// When the named place is passed for the `number`-th time.
    Place { name: &'static str, number: u64 },
}

/// Where the power went.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Cut {
    Operation,
    Place(&'static str),
}

#[derive(Clone, Copy, Default)]
enum Wire {
    #[default]
    Whole,
    Armed(Power),
    Blown(Cut),
}

/// Cuts the power: nothing that is asked for later is done.
#[derive(Clone, Default)]
pub struct Fuse(Arc<Mutex<Wire>>);

/// What a fuse does at a durable operation.
enum Burn {
    /// The operation is done.
    Done,
    /// The power is gone, or goes before the operation.
    Before,
    /// The power goes right after it; whoever asked does not hear of it.
    After,
}

impl Fuse {
    /// Blows as `power` says.
    pub fn set(&self, power: Power) {
        *self.0.lock().unwrap() = Wire::Armed(power);
    }

    /// Where it has blown, if it has; it is whole again afterwards.
    pub fn mend(&self) -> Option<Cut> {
        match std::mem::take(&mut *self.0.lock().unwrap()) {
            Wire::Blown(cut) => Some(cut),
            Wire::Whole | Wire::Armed(_) => None,
        }
    }

    /// A named place is passed.
    pub fn passes(&self, place: &str) {
        let mut wire = self.0.lock().unwrap();
        if let Wire::Armed(Power::Place { name, number }) = &mut *wire
            && *name == place
        {
            *number -= 1;
            if *number == 0 {
                *wire = Wire::Blown(Cut::Place(name));
            }
        }
    }

    fn burn(&self) -> Burn {
        let mut wire = self.0.lock().unwrap();
        match &mut *wire {
            Wire::Blown(_) => Burn::Before,
            Wire::Armed(Power::Operation { number, after }) => {
                *number -= 1;
                match (*number, *after) {
                    (0, after) => {
                        *wire = Wire::Blown(Cut::Operation);
                        if after { Burn::After } else { Burn::Before }
                    }
                    _ => Burn::Done,
                }
            }
            Wire::Whole | Wire::Armed(Power::Place { .. }) => Burn::Done,
        }
    }
}

/// A state behind a fuse.
pub struct FusedState(Arc<dyn State>, Fuse);

impl FusedState {
    pub fn new(state: &Arc<dyn State>, fuse: &Fuse) -> Self {
        FusedState(state.clone(), fuse.clone())
    }
}

impl State for FusedState {
    fn apply(&self, batch: &Batch) -> Result<(), StateError> {
        let burn = self.1.burn();
        if !matches!(burn, Burn::Before) {
            self.0.apply(batch)?;
            failpoint::hit("between-batch-and-sync");
            failpoint::hit("before-sidecar");
        }
        match burn {
            Burn::Done => Ok(()),
            Burn::Before | Burn::After => Err(StateError::Damaged { what: "the power is gone".into() }),
        }
    }

    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, StateError> {
        self.0.get(key)
    }

    fn scan(&self, from: &[u8], to: &[u8], limit: usize) -> Result<Vec<Pair>, StateError> {
        self.0.scan(from, to, limit)
    }
}

/// A sink in memory that keeps to the contract: what was not committed goes at recovery.
#[derive(Clone, Default)]
pub struct HandSink(Arc<Mutex<Vec<u8>>>);

impl HandSink {
    /// How often each event id stands in the sink.
    pub fn event_ids(&self) -> BTreeMap<String, u64> {
        let mut ids = BTreeMap::new();
        for line in self.0.lock().unwrap().split(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
            let record: serde_json::Value = serde_json::from_slice(line).unwrap();
            *ids.entry(record["event_id"].as_str().unwrap().to_owned()).or_default() += 1;
        }
        ids
    }

    fn recover(&self, committed: Option<&Position>) {
        let length = committed.map_or(0, |position| position.length);
        let mut bytes = self.0.lock().unwrap();
        let length = usize::try_from(length).unwrap();
        assert!(bytes.len() >= length, "committed bytes are gone: {} of {length}", bytes.len());
        bytes.truncate(length);
    }

    fn write(&self, records: &[u8]) {
        failpoint::hit("before-sink-write");
        self.0.lock().unwrap().extend_from_slice(records);
    }

    fn commit(&self, finish: bool) -> Position {
        failpoint::hit("after-write-before-fsync");
        let length = self.0.lock().unwrap().len() as u64;
        Position { sequence: 1, length, sealed: finish, ..Position::default() }
    }
}

/// What a sink that is down does with a call.
#[derive(Clone, Copy, Debug)]
pub enum SinkFault {
    /// Nothing.
    Refused,
    /// Half of it.
    Torn,
    /// All of it, and it says otherwise.
    Unsure,
}

/// A sink that is down for a while: from the `first`-th call (from 1) after records came, for so
/// many calls.
#[derive(Clone, Default)]
pub struct Trouble(Arc<Mutex<Option<Ahead>>>);

struct Ahead {
    first: u64,
    calls: u64,
    fault: SinkFault,
    has_records: bool,
    was_met: bool,
}

impl Trouble {
    pub fn set(&self, first: u64, calls: u64, fault: SinkFault) {
        *self.0.lock().unwrap() = Some(Ahead { first, calls, fault, has_records: false, was_met: false });
    }

    /// Whether it was met; there is none afterwards.
    pub fn end(&self) -> bool {
        self.0.lock().unwrap().take().is_some_and(|ahead| ahead.was_met)
    }

    fn meets(&self, is_write: bool) -> Option<SinkFault> {
        let mut ahead = self.0.lock().unwrap();
        let ahead = ahead.as_mut()?;
        ahead.has_records |= is_write;
        if !ahead.has_records || ahead.calls == 0 {
            return None;
        }
        ahead.first = ahead.first.saturating_sub(1);
        if ahead.first > 0 {
            return None;
        }
        ahead.calls -= 1;
        ahead.was_met = true;
        Some(ahead.fault)
    }
}

/// A sink behind a fuse, with the trouble that is set for it.
pub struct FusedSink {
    sink: HandSink,
    fuse: Fuse,
    trouble: Trouble,
    /// A failed call came: nothing else may come before the recovery.
    failed: bool,
}

impl FusedSink {
    pub fn new(sink: &HandSink, fuse: &Fuse, trouble: &Trouble) -> Self {
        FusedSink { sink: sink.clone(), fuse: fuse.clone(), trouble: trouble.clone(), failed: false }
    }

    fn fused<T>(&mut self, work: impl FnOnce(&HandSink) -> T) -> Result<T, SinkError> {
        assert!(!self.failed, "recover comes first");
        let gone = || SinkError::Foreign { what: "the power is gone".into() };
        match self.fuse.burn() {
            Burn::Done => Ok(work(&self.sink)),
            Burn::Before => Err(gone()),
            Burn::After => {
                work(&self.sink);
                Err(gone())
            }
        }
    }

    /// What is left of a call that meets trouble, if it does.
    fn down(
        &mut self,
        is_write: bool,
        halfway: impl FnOnce(&HandSink),
        whole: impl FnOnce(&HandSink),
    ) -> Result<(), SinkError> {
        let Some(fault) = self.trouble.meets(is_write) else { return Ok(()) };
        // without power nothing is done at all
        if matches!(self.fuse.burn(), Burn::Done) {
            match fault {
                SinkFault::Refused => {}
                SinkFault::Torn => halfway(&self.sink),
                SinkFault::Unsure => whole(&self.sink),
            }
        }
        self.failed = true;
        let what = format!("the sink is to be down: {fault:?}");
        Err(SinkError::Down { what, source: std::io::ErrorKind::StorageFull.into() })
    }
}

impl Sink for FusedSink {
    fn recover(&mut self, committed: Option<&Position>) -> Result<(), SinkError> {
        let again = |sink: &HandSink| sink.recover(committed);
        self.down(false, |_| {}, again)?;
        self.failed = false;
        self.sink.recover(committed);
        Ok(())
    }

    fn write(&mut self, records: &[u8]) -> Result<(), SinkError> {
        let half = &records[..records.len() / 2];
        self.down(true, |sink| sink.write(half), |sink| sink.write(records))?;
        self.fused(|sink| sink.write(records))
    }

    fn commit(&mut self, finish: bool) -> Result<Position, SinkError> {
        self.down(false, |_| {}, |sink| drop(sink.commit(finish)))?;
        self.fused(|sink| sink.commit(finish))
    }

    fn seal(&mut self) -> Result<(), SinkError> {
        failpoint::hit("before-rotation-rename");
        failpoint::hit("after-rotation-rename");
        Ok(())
    }

    fn due_in(&self) -> Option<Duration> {
        None
    }
}
