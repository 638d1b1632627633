//! Reset and set, carried out: for the leaves that are asked for, by the committer or in a state that
//! is thrown away.

use chrono::{DateTime, Utc};

use super::plan::{LeafChange, MarkerChange, MarkerError, plan};
use crate::commit::{Closing, CommitHandle};
use crate::pattern::{Leaf, PrefixPattern};
use crate::state::{Batch, Change, Marker, SourceRecord, State};

/// Prefixes that close in one batch.
const CLOSINGS: usize = 50;

/// A source as it is configured now.
#[derive(Clone, Debug)]
pub struct Configured<'a> {
    /// Its name.
    pub name: &'a str,
    /// Name of its bucket.
    pub bucket: String,
    /// Its pattern.
    pub pattern: &'a PrefixPattern,
}

/// Changes the markers of the leaves with these heads or names, of all where there are none. No
/// sweep of the source may be under way. Returns how many leaves change.
pub async fn change(
    state: &dyn State,
    committer: &CommitHandle,
    source: &Configured<'_>,
    leaves: &[String],
    change: MarkerChange,
    now: DateTime<Utc>,
) -> Result<usize, MarkerError> {
    let (record, leaves) = source.chosen(state, leaves)?;
    let mut changed = 0;
    for leaf in leaves {
        let Some(planned) = plan(state, &record, leaf, change, now)? else { continue };
        let LeafChange { leaf, closing, changes, .. } = planned;
        for times in closing.chunks(CLOSINGS) {
            let closed = || Box::new(Marker { closed: true, ..Marker::default() });
            let head = || leaf.head().to_owned();
            let marked = times.iter().map(|time| Change::PutMarker(record.key(), head(), *time, closed()));
            let closing = Closing {
                source: record.key(),
                source_name: source.name.to_owned(),
                prefixes: times.iter().map(|time| (leaf.clone(), *time)).collect(),
                changes: marked.collect(),
                recheck: None, // it would find what is to be left out
                found_by: None,
                at: now,
            };
            committer.close(closing).await?;
        }
        committer.apply(changes).await?;
        changed += 1;
    }
    committer.apply(vec![source.discover_anew(&record)]).await?;
    Ok(changed)
}

/// Changes markers in a state that is thrown away (an overlay), to see what would follow. Takes
/// only the leaves where objects may be left out (`skips`), or only the others. Returns how many
/// there are.
pub fn try_change(
    state: &dyn State,
    source: &Configured<'_>,
    leaves: &[String],
    change: MarkerChange,
    skips: bool,
    now: DateTime<Utc>,
) -> Result<usize, MarkerError> {
    let (record, leaves) = source.chosen(state, leaves)?;
    let mut changed = 0;
    for leaf in leaves {
        let planned = plan(state, &record, leaf, change, now)?;
        if let Some(planned) = planned.filter(|planned| planned.skips == skips) {
            state.apply(&Batch(planned.changes))?;
            changed += 1;
        }
    }
    state.apply(&Batch(vec![source.discover_anew(&record)]))?;
    Ok(changed)
}

impl Configured<'_> {
    /// The leaves that are asked for, of a source that was swept.
    fn chosen(&self, state: &dyn State, asked: &[String]) -> Result<(SourceRecord, Vec<Leaf>), MarkerError> {
        let name = self.name;
        let Some(record) = state.source(name)? else {
            return Err(MarkerError::Usage(format!("{name} has no markers yet; set its `start` instead")));
        };
        if record.pattern != self.pattern.to_string() || record.bucket != self.bucket {
            return Err(MarkerError::Usage(format!(
                "bucket or pattern of {name} changed since its last sweep: the next one begins anew anyway"
            )));
        }
        let leaves = state.leaves(record.key(), None, usize::MAX)?;
        let mut leaves: Vec<_> = leaves.iter().filter_map(|(head, _)| self.pattern.leaf(head)).collect();
        for text in asked {
            if !leaves.iter().any(|leaf| is_called(leaf, text)) {
                return Err(MarkerError::Usage(format!(
                    "{name} has no leaf {text:?}; `s3sweep marker list` names them"
                )));
            }
        }
        leaves.retain(|leaf| asked.is_empty() || asked.iter().any(|text| is_called(leaf, text)));
        Ok((record, leaves))
    }

    /// Leaves that were forgotten are looked for in the next sweep.
    fn discover_anew(&self, record: &SourceRecord) -> Change {
        let record = SourceRecord { discovered_at: None, ..record.clone() };
        Change::PutSource(self.name.to_owned(), Box::new(record))
    }
}

fn is_called(leaf: &Leaf, text: &str) -> bool {
    leaf.head() == text || leaf.name() == text
}
