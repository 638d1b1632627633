//! Reads one JSON record: is it valid, and where in it do the known fields lie?
//!
//! In: a table of dotted paths, then record after record. Out: one span per path. A record is
//! valid UTF-8, one strict JSON object, and nested at most [`MAX_DEPTH`] deep; any other is
//! refused with the reason. A step of a path that meets `null` or another type finds nothing.

mod names;
mod repeats;

use std::sync::PoisonError;

use memchr::memchr_iter;
use serde::de::IgnoredAny;
use wide::u8x32;

use super::grammar::{Next, Stop, Walk};
use crate::record::{NamedList, Record, Shape, Span};
pub use names::Paths;
use names::{LOOK, MAX_NAMES, Names, Node, Within};
use repeats::Repeats;

/// The deepest nesting of a record, the record itself counted. A line holds its record one level
/// down and must still be readable where the limit is 128, which is common.
pub const MAX_DEPTH: usize = 120;

/// Notes the fields of one log type, record after record.
///
/// What it remembers of the records is left to later readers of the same paths when it is dropped: it
/// makes reading quicker, and changes nothing of what is noted.
#[derive(Debug)]
pub struct FieldReader {
    paths: &'static Paths,
    /// Only while it is dropped there are none.
    notes: Option<Notes>,
}

/// What a reader notes of a record, and what it remembers for the next one.
#[derive(Debug)]
struct Notes {
    spans: Box<[Span; MAX_NAMES]>,
    /// By [`Node::span`], and behind those by [`Names::first`]: the node that came next, or first,
    /// in the record before. Records of one log type mostly keep the order of their members.
    next: Box<[u8; 2 * MAX_NAMES]>,
    /// By [`Node::list`].
    lists: Box<[NamedList]>,
    /// By [`Within::number`].
    repeats: Box<[Repeats]>,
    shape: Shape,
}

/// Elements of a list that are noted; of a longer one none is.
const MAX_NAMED: usize = 200;

/// Readers whose memory is left to later ones: as many as there are objects in flight by default. Each
/// has up to 120 KiB.
const REMEMBERED: usize = 16;

impl FieldReader {
    /// A reader of the fields at `paths`.
    pub fn new(paths: &'static Paths) -> Self {
        let remembered = paths.remembered.lock().unwrap_or_else(PoisonError::into_inner).pop();
        FieldReader { paths, notes: Some(remembered.unwrap_or_else(|| Notes::new(paths))) }
    }

    /// Walks over the record that begins `bytes`, notes its fields and returns its length. Of
    /// members of one name the last counts; names that differ in case are different.
    ///
    /// # Errors
    ///
    /// When the record does not end within `bytes` or is not valid; [`FieldReader::read`] tells
    /// why, once its end is known.
    pub fn walk(&mut self, bytes: &[u8]) -> Result<usize, Stop> {
        let notes = self.notes.as_mut().expect(THERE);
        notes.spans[..self.paths.spans].fill(Span::default());
        notes.lists.iter_mut().for_each(|list| list.place = Span::default());
        notes.shape.has_twins = false;
        let mut walk = Walk::new(bytes);
        if walk.byte(0)? != b'{' {
            return Err(Stop::Invalid);
        }
        let end = note(&self.paths.roots, &mut walk, 0, MAX_DEPTH, notes)?;
        notes.shape.is_compact = !walk.has_blanks;
        // nearly all records are ASCII, which is cheaper to see than UTF-8
        match is_ascii(&bytes[..end]) || std::str::from_utf8(&bytes[..end]).is_ok() {
            true => Ok(end),
            false => Err(Stop::Invalid),
        }
    }

    /// Like [`FieldReader::walk`] for a record that is exactly `raw`, shorter than 4 GiB.
    ///
    /// # Errors
    ///
    /// The reason, a lower-case fragment, when `raw` is no valid record.
    pub fn read(&mut self, raw: &[u8]) -> Result<(), String> {
        match self.walk(raw) {
            Ok(end) if end == raw.len() => Ok(()),
            _ => Err(explain(raw)),
        }
    }

    /// The record that was read last, whose bytes are `raw`.
    pub fn record<'a>(&'a self, raw: &'a [u8]) -> Record<'a> {
        let Notes { spans, lists, shape, .. } = self.notes.as_ref().expect(THERE);
        Record::new(raw, &spans[..self.paths.count]).with_shape(*shape).with_lists(lists)
    }
}

const THERE: &str = "a reader has notes until it is dropped";

impl Drop for FieldReader {
    fn drop(&mut self) {
        let mut remembered = self.paths.remembered.lock().unwrap_or_else(PoisonError::into_inner);
        if remembered.len() < REMEMBERED {
            remembered.extend(self.notes.take());
        }
    }
}

/// Whether all bytes are ASCII; many are seen together.
fn is_ascii(bytes: &[u8]) -> bool {
    let (blocks, rest) = bytes.as_chunks::<64>();
    let all = blocks.iter().fold(u8x32::ZERO, |all, block| {
        let (halves, _) = block.as_chunks();
        all | u8x32::new(halves[0]) | u8x32::new(halves[1])
    });
    // the highest bit of each byte
    all.to_bitmask() == 0 && rest.is_ascii()
}

/// Notes the fields of the object whose bracket is at `at` and returns the index after it.
fn note(
    names: &Names,
    walk: &mut Walk<'_>,
    mut at: usize,
    depth: usize,
    notes: &mut Notes,
) -> Result<usize, Stop> {
    let (mut place, mut first) = (names.first, true);
    loop {
        // nearly always the member that came here in the record before
        let guess = names.nodes.get(usize::from(notes.next[place % (2 * MAX_NAMES)]));
        let ahead = walk.bytes.get(at..).and_then(<[u8]>::first_chunk);
        if let (Some(node), Some(ahead)) = (guess, ahead) {
            let differs = node.name.differs(ahead, first);
            if differs == 0 {
                (place, first) = (usize::from(node.span), false);
                let start = node.name.length.min(LOOK / 2);
                let end = walk.string_ahead(at, ahead, start)?;
                notes.put(node, at + start - 1, end);
                at = end;
                continue;
            }
            // all but the quote of a text
            if differs & node.name.bits >> 1 == 0 {
                (place, first) = (usize::from(node.span), false);
                let start = walk.blanks(at + node.name.length - 1);
                at = match walk.known_word(start) {
                    Some(end) => {
                        notes.put(node, start, end);
                        end
                    }
                    None => note_value(node, walk, start, depth - 1, notes)?,
                };
                continue;
            }
        }
        let next = match first {
            true => walk.first_name(at)?,
            false => walk.next_name(at)?,
        };
        let start = match next {
            Next::Name(start) => start,
            Next::End(end) => return Ok(end),
        };
        first = false;
        let (name_end, value) = walk.name(start)?;
        at = match names.find(walk.bytes, start, name_end) {
            Some(found) => {
                notes.next[place % (2 * MAX_NAMES)] = found as u8; // of 255 names at most
                let node = &names.nodes[found];
                place = usize::from(node.span);
                note_value(node, walk, value, depth - 1, notes)?
            }
            None => walk.value(value, depth - 1)?,
        };
    }
}

fn note_value(
    node: &Node,
    walk: &mut Walk<'_>,
    start: usize,
    depth: usize,
    notes: &mut Notes,
) -> Result<usize, Stop> {
    let end = match walk.byte(start)? {
        b'{' if depth > 0 && !node.children.nodes.is_empty() => {
            notes.forget(node);
            let end = match &node.within {
                Some(within) => notes.note_repeating(node, within, walk, start, depth)?,
                None => note(&node.children, walk, start, depth, notes)?,
            };
            notes.spans[usize::from(node.span)] = Span { start: start as u32, end: end as u32 };
            return Ok(end);
        }
        b'[' if depth > 1 && node.list > 0 => match notes.note_list(node, walk, start) {
            Some(end) => end,
            None => walk.value(start, depth)?,
        },
        _ => walk.value(start, depth)?,
    };
    notes.put(node, start, end);
    Ok(end)
}

impl Notes {
    fn new(paths: &Paths) -> Self {
        Notes {
            spans: Box::new([Span::default(); MAX_NAMES]),
            next: Box::new([0; 2 * MAX_NAMES]),
            lists: vec![NamedList::default(); paths.lists].into(),
            repeats: vec![Repeats::new(); paths.repeats].into(),
            shape: Shape::default(),
        }
    }

    /// Notes a value without fields within.
    #[inline(always)]
    fn put(&mut self, node: &Node, start: usize, end: usize) {
        self.forget(node);
        self.spans[usize::from(node.span)] = Span { start: start as u32, end: end as u32 };
    }

    /// Notes the fields of the object at `start` and returns the index after it: as they were noted of
    /// one that was kept, where it is the same.
    fn note_repeating(
        &mut self,
        node: &Node,
        within: &Within,
        walk: &mut Walk<'_>,
        start: usize,
        depth: usize,
    ) -> Result<usize, Stop> {
        if let Some((length, spans)) = self.repeats[within.number].find(&walk.bytes[start..], start) {
            for (place, span) in spans {
                self.spans[usize::from(place)] = span;
            }
            return Ok(start + length);
        }
        let end = note(&node.children, walk, start, depth, self)?;
        let has_lists = self.lists.iter().any(|list| list.place.start as usize > start);
        // what else a walk tells must be told of the next one too
        if !walk.has_blanks && !self.shape.has_twins && !has_lists {
            let noted = within.spans.iter().map(|place| (*place, self.spans[usize::from(*place)]));
            let noted = noted.filter(|(_, span)| span.end > 0);
            self.repeats[within.number].keep(&walk.bytes[start..end], start, noted);
        }
        Ok(end)
    }

    /// Notes the elements of the list at `start`, if all are named ones, and returns the index after
    /// it.
    fn note_list(&mut self, node: &Node, walk: &Walk<'_>, start: usize) -> Option<usize> {
        let list = &mut self.lists[usize::from(node.list) - 1];
        list.place = Span::default();
        list.elements.clear();
        let end = walk.named_list(start, |element| {
            let has_room = list.elements.len() < MAX_NAMED;
            if has_room {
                list.elements.push(element);
            }
            has_room
        })?;
        list.place = Span { start: start as u32, end: end as u32 };
        Some(end)
    }

    /// A twin before this member may have noted fields that this one does not have.
    #[inline(always)]
    fn forget(&mut self, node: &Node) {
        if self.spans[usize::from(node.span)].end > 0 {
            self.shape.has_twins = true;
            clear(&node.children, &mut self.spans);
        }
    }
}

#[cold]
fn clear(names: &Names, spans: &mut [Span; MAX_NAMES]) {
    for node in &names.nodes {
        spans[usize::from(node.span)] = Span::default();
        clear(&node.children, spans);
    }
}

/// Why `raw` is no valid record.
fn explain(raw: &[u8]) -> String {
    if let Err(error) = std::str::from_utf8(raw) {
        return format!("not valid UTF-8 at byte {} of the record", error.valid_up_to());
    }
    if is_too_deep(raw) {
        return format!("nested deeper than {MAX_DEPTH} levels");
    }
    match serde_json::from_slice::<IgnoredAny>(raw) {
        Err(error) => format!("not valid JSON: {error}"),
        Ok(_) => "not valid JSON: no object".to_owned(),
    }
}

/// Whether brackets nest deeper than [`MAX_DEPTH`]; exact only when there are that many.
fn is_too_deep(raw: &[u8]) -> bool {
    if memchr_iter(b'{', raw).count() + memchr_iter(b'[', raw).count() <= MAX_DEPTH {
        return false;
    }
    let (mut depth, mut in_string, mut bytes) = (0usize, false, raw.iter());
    while let Some(byte) = bytes.next() {
        match byte {
            b'\\' if in_string => {
                bytes.next();
            }
            b'"' => in_string = !in_string,
            b'{' | b'[' if !in_string => depth += 1,
            b'}' | b']' if !in_string => depth = depth.saturating_sub(1),
            _ => {}
        }
        if depth > MAX_DEPTH {
            return true;
        }
    }
    false
}

#[cfg(test)]
mod tests;
