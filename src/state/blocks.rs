//! How the disk keeps what is many, the ledger and planned rechecks: blocks of packed pairs, and a
//! journal before them.
//!
//! Each batch writes such pairs as one chunk of the journal, and they wait in memory. When enough
//! wait they are folded into the blocks they belong to, and their chunks are deleted: blocks are
//! rewritten seldom, and few stored pairs hold many packed ones. A block holds the pairs from its own
//! key up to the next block's. Folding may be repeated: chunks go last, the oldest first.

use std::collections::BTreeMap;
use std::ops::Range;

use super::format::successor;
use super::packed::{Changes, Packer, Unpacked, unpack};
use super::{Pair, StateError, format};

/// A block is not filled beyond this. sled holds up to 16 values in a node and writes it as a
/// whole, in a segment of 512 KiB.
const BLOCK_BYTES: usize = 4096;
/// What is too much for one block is split into blocks of this, so that the next pair among them
/// does not split one again.
const SPLIT_BYTES: usize = BLOCK_BYTES / 4 * 3;
/// A block that falls below takes in the next one.
const SMALL_BLOCK: usize = BLOCK_BYTES / 4;
/// A chunk of the journal is not filled beyond this: sled keeps values of more than 128 KiB in a
/// file of their own.
const CHUNK_BYTES: usize = 64 * 1024;
/// Pairs that wait in memory, about 1 MiB, and chunks that hold them.
const MAX_WAITING: usize = 4096;
const MAX_CHUNKS: u64 = 128;

/// A stored key, and the value put under it (`None` deletes).
pub type Operation = (Vec<u8>, Option<Vec<u8>>);

/// Stored pairs in byte order, with `from <= key < to`.
pub type Pairs<'s> = Box<dyn DoubleEndedIterator<Item = Result<Pair, StateError>> + 's>;

/// What the ledger reads its blocks from.
pub trait Stored {
    /// The stored pairs of a range.
    fn range(&self, from: &[u8], to: &[u8]) -> Pairs<'_>;
}

/// What is not in the blocks yet.
#[derive(Default)]
pub struct Blocks {
    waiting: Changes,
    chunks: Range<u64>,
}

fn block_key(key: &[u8]) -> Vec<u8> {
    [&[format::BLOCK], key].concat()
}

fn chunk_key(number: u64) -> Vec<u8> {
    [&[format::JOURNAL][..], &number.to_be_bytes()].concat()
}

/// Reads a stored block or chunk only to see that it can be read.
pub fn check(key: &[u8], value: &[u8]) -> Result<(), StateError> {
    items_of(key, value).try_for_each(|item| match item? {
        (key, _) if !format::is_packed(&key) => Err(format::damaged("a block holds what belongs to none")),
        (key, Some(value)) => format::check(&key, &value),
        (_, None) => Ok(()),
    })
}

/// The pairs of a stored block, or of a chunk, whose pairs have nothing before them.
fn items_of<'v>(key: &[u8], value: &'v [u8]) -> Unpacked<'v> {
    let start = if key.first() == Some(&format::BLOCK) { &key[1..] } else { &[] };
    unpack(start, value)
}

impl Blocks {
    /// What the journal holds.
    pub fn open(stored: &dyn Stored) -> Result<Self, StateError> {
        let mut blocks = Blocks::default();
        for chunk in stored.range(&[format::JOURNAL], &[format::JOURNAL + 1]) {
            let (key, value) = chunk?;
            let number = key.get(1..).and_then(|number| number.try_into().ok()).map(u64::from_be_bytes);
            let number = number.ok_or_else(|| format::damaged("the key of a stored journal is malformed"))?;
            let first = if blocks.chunks.is_empty() { number } else { blocks.chunks.start };
            blocks.chunks = first..number.saturating_add(1);
            for item in items_of(&key, &value) {
                let (key, value) = item?;
                blocks.waiting.insert(key, value);
            }
        }
        Ok(blocks)
    }

    /// The chunks of the journal that hold these changes.
    pub fn journal(&self, changes: &Changes) -> Vec<Operation> {
        let parts =
            split(changes.iter().map(|(key, value)| (key.as_slice(), value.as_deref())), CHUNK_BYTES, false);
        (self.chunks.end..).zip(parts).map(|(number, (_, bytes))| (chunk_key(number), Some(bytes))).collect()
    }

    /// Changes that were written in so many chunks.
    pub fn note(&mut self, changes: Changes, chunks: usize) {
        self.chunks.end += chunks as u64;
        self.waiting.extend(changes);
    }

    /// Whether enough waits to be folded.
    pub fn is_due(&self) -> bool {
        self.waiting.len() >= MAX_WAITING || self.chunks.end - self.chunks.start >= MAX_CHUNKS
    }

    /// One pair.
    pub fn get(&self, stored: &dyn Stored, key: &[u8]) -> Result<Option<Vec<u8>>, StateError> {
        if let Some(waiting) = self.waiting.get(key) {
            return Ok(waiting.clone());
        }
        let Some(block) = home(stored, key)? else { return Ok(None) };
        for item in items_of(&block.0, &block.1) {
            let (found, value) = item?;
            if found.as_slice() >= key {
                return Ok(value.filter(|_| found == key));
            }
        }
        Ok(None)
    }

    /// Up to `limit` pairs with `from <= key < to`, block by block.
    pub fn scan(
        &self,
        stored: &dyn Stored,
        from: &[u8],
        to: &[u8],
        limit: usize,
    ) -> Result<Vec<Pair>, StateError> {
        let mut page = Vec::new();
        if from >= to || limit == 0 {
            return Ok(page);
        }
        let mut waiting = self.waiting.range(from.to_vec()..to.to_vec()).peekable();
        let first = home(stored, from)?.map_or_else(|| block_key(from), |(key, _)| key);
        for block in stored.range(&first, &block_key(to)) {
            let (block, value) = block?;
            for item in items_of(&block, &value) {
                let (key, value) = item?;
                if key.as_slice() < from {
                    continue;
                }
                while let Some((new, value)) = waiting.next_if(|(new, _)| **new < key) {
                    page.extend(value.clone().map(|value| (new.clone(), value)));
                }
                if key.as_slice() < to {
                    let newer = waiting.next_if(|(new, _)| **new == key).map(|(_, value)| value.clone());
                    page.extend(newer.unwrap_or(value).map(|value| (key, value)));
                }
                if page.len() >= limit {
                    page.truncate(limit);
                    return Ok(page);
                }
            }
        }
        let rest = waiting.filter_map(|(key, value)| Some((key.clone(), value.clone()?)));
        page.extend(rest.take(limit - page.len()));
        Ok(page)
    }

    /// What brings all that waits into the blocks and empties the journal. Applied in this order,
    /// in parts at the ends of the inner lists, a crash after any part loses nothing.
    pub fn fold(&self, stored: &dyn Stored) -> Result<Vec<Vec<Operation>>, StateError> {
        let mut steps = fold(stored, &self.waiting)?;
        steps.extend(self.chunks.clone().map(|number| vec![(chunk_key(number), None)]));
        Ok(steps)
    }

    /// All of [`Blocks::fold`] is applied.
    pub fn folded(&mut self) {
        self.waiting.clear();
        self.chunks.start = self.chunks.end;
    }
}

/// The block that a pair belongs to.
fn home(stored: &dyn Stored, key: &[u8]) -> Result<Option<Pair>, StateError> {
    stored.range(&[format::BLOCK], &successor(&block_key(key))).next_back().transpose()
}

/// Brings changes into the blocks, in steps that stand for themselves: each reads only blocks that
/// no other one changes.
pub fn fold(stored: &dyn Stored, changes: &Changes) -> Result<Vec<Vec<Operation>>, StateError> {
    let mut steps = Vec::new();
    let mut changes = changes.iter().peekable();
    while let Some((first, _)) = changes.peek() {
        let mut group = BTreeMap::new();
        let mut operations = BTreeMap::new();
        let home = home(stored, first)?;
        let from = home.as_ref().map_or_else(|| block_key(first), |(key, _)| successor(key));
        let mut later = stored.range(&from, &[format::BLOCK + 1]).peekable();
        let mut block = home;
        let parts = loop {
            if let Some((key, value)) = block.take() {
                for item in items_of(&key, &value) {
                    let (key, value) = item?;
                    group.insert(key, value);
                }
                operations.insert(key, None);
            }
            let end = match later.peek() {
                Some(Ok((key, _))) => Some(&key[1..]),
                Some(Err(_)) | None => None,
            };
            while let Some((key, value)) =
                changes.next_if(|(key, _)| end.is_none_or(|end| key.as_slice() < end))
            {
                group.insert(key.clone(), value.clone());
            }
            group.retain(|_, value| value.is_some());
            let items = group.iter().map(|(key, value)| (key.as_slice(), value.as_deref()));
            let mut parts = split(items.clone(), BLOCK_BYTES, true);
            if parts.len() > 1 {
                parts = split(items, SPLIT_BYTES, true);
            }
            let is_small = matches!(&parts[..], [(_, bytes)] if bytes.len() < SMALL_BLOCK);
            match later.next() {
                Some(next) if is_small => block = Some(next?),
                Some(Err(error)) => return Err(error),
                Some(Ok(_)) | None => break parts,
            }
        };
        operations.extend(parts.into_iter().map(|(key, bytes)| (block_key(&key), Some(bytes))));
        steps.push(operations.into_iter().collect());
    }
    Ok(steps)
}

/// Packs items in parts of at most `most` bytes (or one item), each with its first key. Blocks tell
/// their first key against itself, chunks against nothing.
fn split<'i>(
    items: impl Iterator<Item = (&'i [u8], Option<&'i [u8]>)>,
    most: usize,
    of_blocks: bool,
) -> Vec<(Vec<u8>, Vec<u8>)> {
    let mut parts: Vec<(Vec<u8>, Packer)> = Vec::new();
    for (key, value) in items {
        let bytes = key.len() + value.map_or(0, <[u8]>::len);
        match parts.last_mut() {
            Some((_, part)) if part.size() + bytes.min(most) <= most => part.push(key, value),
            _ => {
                let mut part = Packer::new(if of_blocks { key } else { &[] });
                part.push(key, value);
                parts.push((key.to_vec(), part));
            }
        }
    }
    parts.into_iter().map(|(key, part)| (key, part.finish())).collect()
}

#[cfg(test)]
#[path = "blocks_tests.rs"]
mod tests;
