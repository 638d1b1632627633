//! Objects that come again and again within one stream of records, such as who acted: walked over
//! once, and from then on known by their bytes.
//!
//! Whoever calls often writes the same identity each time. Comparing it with one that was seen costs less
//! than walking over it, and as all of its bytes are compared, what was noted of the one holds for the
//! other.

use std::ops::Range;

use crate::record::Span;

/// Objects that are kept; a new one takes the place of the oldest.
const KEPT: usize = 64;
/// Places to look for them: many for each, since two that share one drive out each other.
const SLOTS: usize = 16 * KEPT;
/// The longest object that is kept, in bytes.
const LONGEST: usize = 1024;
/// The bytes of an object by which its slot is found: behind what most begin with, and enough to tell
/// the sessions of one role apart. A shorter object is not kept.
const TELLING: Range<usize> = 24..104;

/// The objects that one member had lately.
#[derive(Clone, Debug)]
pub(super) struct Repeats {
    /// By [`slot`]: an object that was kept, counted from 1. It may have made room for another since.
    slots: Box<[u8; SLOTS]>,
    kept: Vec<Seen>,
    /// Where the next one goes.
    next: usize,
}

/// An object that was walked over.
#[derive(Clone, Debug)]
pub(super) struct Seen {
    bytes: Vec<u8>,
    /// What was noted within it: places of spans, and the spans from its bracket on.
    spans: Vec<(u8, Span)>,
}

impl Seen {
    /// Its length in bytes.
    pub(super) fn length(&self) -> usize {
        self.bytes.len()
    }

    /// What is noted of one like it whose bracket is at `start`: places and spans.
    pub(super) fn spans_at(&self, start: usize) -> impl Iterator<Item = (u8, Span)> {
        let start = start as u32; // of records shorter than 4 GiB
        self.spans.iter().map(move |&(place, span)| {
            (place, Span { start: span.start.wrapping_add(start), end: span.end.wrapping_add(start) })
        })
    }
}

impl Repeats {
    /// None yet.
    pub(super) fn new() -> Self {
        Repeats { slots: Box::new([0; SLOTS]), kept: Vec::new(), next: 0 }
    }

    /// The object that was kept and that `bytes` begin with.
    pub(super) fn find(&self, bytes: &[u8]) -> Option<&Seen> {
        let number = usize::from(self.slots[slot(bytes)?]);
        self.kept.get(number.checked_sub(1)?).filter(|seen| bytes.starts_with(&seen.bytes))
    }

    /// Keeps a whole object, unless it is too short or too long. `spans` are what was noted within it,
    /// as [`Seen::spans_at`] gives them for one whose bracket is at `start`.
    pub(super) fn keep(&mut self, object: &[u8], start: usize, spans: impl Iterator<Item = (u8, Span)>) {
        let Some(slot) = slot(object).filter(|_| object.len() <= LONGEST) else { return };
        if self.next == self.kept.len() {
            self.kept.push(Seen { bytes: Vec::new(), spans: Vec::new() });
        }
        let start = start as u32;
        let seen = &mut self.kept[self.next];
        // exactly, as what is kept stays
        seen.bytes.clear();
        seen.bytes.reserve_exact(object.len());
        seen.bytes.extend_from_slice(object);
        seen.spans.clear();
        seen.spans.reserve_exact(spans.size_hint().1.unwrap_or(0));
        seen.spans.extend(spans.map(|(place, span)| {
            (place, Span { start: span.start.wrapping_sub(start), end: span.end.wrapping_sub(start) })
        }));
        self.next = (self.next + 1) % KEPT;
        self.slots[slot] = if self.next == 0 { KEPT as u8 } else { self.next as u8 };
    }
}

/// The slot of the object that `bytes` begin with; `None` where they are too few.
#[inline(always)]
fn slot(bytes: &[u8]) -> Option<usize> {
    let (words, _) = bytes.get(TELLING)?.as_chunks();
    let mut factor = 1_u64;
    let sum = words.iter().fold(0_u64, |sum, word| {
        factor = factor.wrapping_add(0x9E37_79B9_7F4A_7C16);
        sum.wrapping_add(u64::from_le_bytes(*word).wrapping_mul(factor))
    });
    Some((sum >> (u64::BITS - SLOTS.ilog2())) as usize)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn object(number: usize) -> Vec<u8> {
        format!("{{\"type\":\"AssumedRole\",\"id\":\"{number:0>70}\",\"more\":true}}").into_bytes()
    }

    fn found(repeats: &Repeats, bytes: &[u8], start: usize) -> Option<(usize, Vec<(u8, Span)>)> {
        repeats.find(bytes).map(|seen| (seen.length(), seen.spans_at(start).collect()))
    }

    #[test]
    fn what_was_kept_is_found_wherever_it_comes_again() {
        let (mut repeats, one) = (Repeats::new(), object(1));
        assert_eq!(found(&repeats, &one, 0), None);
        repeats.keep(&one, 1000, [(3, Span { start: 1008, end: 1021 })].into_iter());
        let again = [&one[..], b",\"eventTime\":1"].concat();
        let want = (one.len(), vec![(3, Span { start: 8, end: 21 })]);
        assert_eq!(found(&repeats, &again, 0), Some(want));
        let want = (one.len(), vec![(3, Span { start: 78, end: 91 })]);
        assert_eq!(found(&repeats, &again, 70), Some(want));
        assert_eq!(found(&repeats, &one[..one.len() - 1], 0), None, "its end is not at hand");
        assert_eq!(found(&repeats, &object(2), 0), None);
        let mut other = one.clone();
        for at in 0..other.len() {
            other[at] ^= 1;
            assert_eq!(found(&repeats, &other, 0), None, "another byte at {at}");
            other[at] ^= 1;
        }
    }

    #[test]
    fn as_many_are_kept_as_there_is_room_for() {
        let mut repeats = Repeats::new();
        let objects: Vec<_> = (0..3 * KEPT).map(object).collect();
        for object in &objects {
            repeats.keep(object, 0, [].into_iter());
            assert!(repeats.find(object).is_some());
        }
        assert_eq!(repeats.kept.len(), KEPT);
        let (old, new) = objects.split_at(2 * KEPT);
        assert!(old.iter().all(|object| repeats.find(object).is_none()), "they made room");
        let found = new.iter().filter(|object| repeats.find(object).is_some()).count();
        assert!(found > KEPT * 3 / 4, "few share a slot: {found} of {KEPT}");
    }

    #[test]
    fn short_and_long_objects_are_not_kept() {
        for (length, kept) in
            [(TELLING.end - 1, false), (TELLING.end, true), (LONGEST, true), (LONGEST + 1, false)]
        {
            let mut repeats = Repeats::new();
            let object = vec![b'x'; length];
            repeats.keep(&object, 0, [].into_iter());
            assert_eq!(repeats.find(&object).is_some(), kept, "{length} bytes");
            assert_eq!(repeats.kept.len(), usize::from(kept), "{length} bytes");
        }
        assert!(Repeats::new().find(b"{}").is_none());
    }
}
