//! Drives a decoder over the bytes of a whole object, for tests: in one window, or in windows
//! that grow by given numbers of bytes.

use super::{Damage, Decoder, Step};
use crate::record::Record;

/// What a decoder made of one list element, row or line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Item {
    /// A record's bytes.
    Record(Vec<u8>),
    /// A malformed one: its bytes, as far as they were at hand, and why.
    Malformed(Vec<u8>, String),
    /// One left out by rule.
    Dropped,
}

/// What a decoder made of one object.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Split {
    /// Records and malformed ones in their order, each with the offset in the object of the
    /// first byte after it.
    pub items: Vec<(Item, usize)>,
    /// The damage that ended the object, its offset counted from the start of the object.
    pub damage: Option<Damage>,
}

impl Split {
    /// The bytes of the records alone.
    pub fn records(&self) -> Vec<&[u8]> {
        let is_record = |item: &&Item| matches!(item, Item::Record(_));
        self.items.iter().map(|(item, _)| item).filter(is_record).map(Item::raw).collect()
    }

    /// The reasons of the malformed ones alone.
    pub fn reasons(&self) -> Vec<&str> {
        let reasons = self.items.iter().map(|(item, _)| match item {
            Item::Record(_) | Item::Dropped => None,
            Item::Malformed(_, reason) => Some(reason.as_str()),
        });
        reasons.flatten().collect()
    }
}

impl Item {
    /// Its bytes, as far as they were at hand.
    pub fn raw(&self) -> &[u8] {
        match self {
            Item::Record(raw) | Item::Malformed(raw, _) => raw,
            Item::Dropped => &[],
        }
    }
}

/// Splits `object` in one window.
pub fn split_all(decoder: &mut dyn Decoder, object: &[u8]) -> Split {
    split_in_chunks(decoder, object, [])
}

/// Splits `object` in windows that grow by the `chunks`' numbers of bytes (0 counts as 1), and
/// by all that is left when there are no more numbers.
pub fn split_in_chunks(
    decoder: &mut dyn Decoder,
    object: &[u8],
    chunks: impl IntoIterator<Item = usize>,
) -> Split {
    let mut split = Split::default();
    let each = |step: Step<'_>, end| match step {
        Step::Record { record, .. } => split.items.push((Item::Record(record.raw().to_vec()), end)),
        Step::Malformed { raw, reason, .. } => split.items.push((Item::Malformed(raw.to_vec(), reason), end)),
        Step::Dropped { .. } => split.items.push((Item::Dropped, end)),
        Step::More { .. } | Step::End => {}
    };
    split.damage = drive(decoder, object, chunks, each).err();
    split
}

/// Calls `visit` with each record of `object` and its fields; malformed ones are left out.
///
/// # Errors
///
/// The damage that ended the object, its offset counted from the start of the object.
pub fn for_each_record(
    decoder: &mut dyn Decoder,
    object: &[u8],
    mut visit: impl FnMut(&Record<'_>),
) -> Result<(), Damage> {
    drive(decoder, object, [], |step, _| {
        if let Step::Record { record, .. } = step {
            visit(&record);
        }
    })
}

/// Calls `visit` with each step and the offset in the object after what the step is done with.
fn drive(
    decoder: &mut dyn Decoder,
    object: &[u8],
    chunks: impl IntoIterator<Item = usize>,
    mut visit: impl FnMut(Step<'_>, usize),
) -> Result<(), Damage> {
    let mut chunks = chunks.into_iter();
    let mut grow = |end: usize| match chunks.next() {
        Some(chunk) => object.len().min(end + chunk.max(1)),
        None => object.len(),
    };
    let (mut start, mut end) = (0, grow(0));
    loop {
        let eof = end == object.len();
        let step = decoder.next(&object[start..end], eof);
        let step = step.map_err(|damage| Damage { offset: start + damage.offset, ..damage })?;
        match step {
            Step::End => return Ok(()),
            Step::More { consumed } => {
                assert!(!eof, "more was asked for at the end of the object");
                start += consumed;
                end = grow(end);
            }
            Step::Record { consumed, .. } | Step::Malformed { consumed, .. } | Step::Dropped { consumed } => {
                assert!(consumed > 0, "a step consumed nothing");
                start += consumed;
                visit(step, start);
            }
        }
    }
}
