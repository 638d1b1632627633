//! Objects that come again and again within one stream of records, such as who acted: walked over
//! once, and from then on known by their bytes.
//!
//! Whoever calls often writes the same identity each time. Comparing it with one that was seen costs less
//! than walking over it, and as all of its bytes are compared, what was noted of the one holds for the
//! other.

use std::ops::Range;

use crate::record::Span;

/// Objects that are kept at most; a new one takes the place of the oldest.
const KEPT: usize = 64;
/// Bytes of theirs at most; a new object is written over the oldest ones.
const ROOM: usize = 48 * 1024;
/// Places to look for them: many for each, since two that share one drive out each other.
const SLOTS: usize = 16 * KEPT;
/// The longest object that is kept, in bytes.
const LONGEST: usize = 1024;
/// Spans of one; an object with more is not kept.
const SPANS: usize = 24;
/// The bytes of an object by which its slot is found: behind what most begin with, and enough to tell
/// the sessions of one role apart. A shorter object is not kept.
const TELLING: Range<usize> = 24..104;

/// The objects that one member had lately. All memory is taken at once: a reader that takes it piece
/// by piece waits for those that do so beside it.
#[derive(Clone, Debug)]
pub(super) struct Repeats {
    /// By [`slot`]: an object that was kept, counted from 1. It may have made room for another since.
    slots: Box<[u8; SLOTS]>,
    kept: Box<[Seen; KEPT]>,
    /// Where the next one goes.
    next: usize,
    /// Their bytes, each object in one piece.
    bytes: Box<[u8]>,
    /// Bytes of all that were kept so far, what was skipped at the end of `bytes` included.
    written: u64,
}

/// An object that was walked over.
#[derive(Clone, Copy, Debug)]
struct Seen {
    /// [`Repeats::written`] before it.
    at: u64,
    length: u16,
    count: u8,
    spans: [Noted; SPANS],
}

/// A place of a span, and the span from the object's bracket on.
#[derive(Clone, Copy, Debug)]
struct Noted {
    place: u8,
    start: u16,
    end: u16,
}

impl Seen {
    const NONE: Seen =
        Seen { at: 0, length: 0, count: 0, spans: [Noted { place: 0, start: 0, end: 0 }; SPANS] };
}

impl Repeats {
    /// None yet.
    pub(super) fn new() -> Self {
        Repeats {
            slots: Box::new([0; SLOTS]),
            kept: Box::new([Seen::NONE; KEPT]),
            next: 0,
            bytes: vec![0; ROOM].into(),
            written: 0,
        }
    }

    /// The object that was kept and that `bytes` begin with: its length in bytes, and what is noted of
    /// one like it whose bracket is at `start`, places and spans.
    pub(super) fn find(
        &self,
        bytes: &[u8],
        start: usize,
    ) -> Option<(usize, impl Iterator<Item = (u8, Span)>)> {
        let number = usize::from(self.slots[slot(bytes)?]);
        let seen = self.kept.get(number.checked_sub(1)?)?;
        if self.written - seen.at > ROOM as u64 {
            return None; // others lie over it
        }
        let (place, length) = (place(seen.at), usize::from(seen.length));
        if !bytes.starts_with(&self.bytes[place..place + length]) {
            return None;
        }
        let start = start as u32; // of records shorter than 4 GiB
        let spans = seen.spans[..usize::from(seen.count)].iter().map(move |noted| {
            let span = Span { start: start + u32::from(noted.start), end: start + u32::from(noted.end) };
            (noted.place, span)
        });
        Some((length, spans))
    }

    /// Keeps a whole object whose bracket is at `start`, unless it is too short, too long, or has too
    /// many spans. `spans` are what was noted within it, places and spans.
    pub(super) fn keep(&mut self, object: &[u8], start: usize, spans: impl Iterator<Item = (u8, Span)>) {
        let Some(slot) = slot(object).filter(|_| object.len() <= LONGEST) else { return };
        let room = ROOM - place(self.written);
        let skipped = if object.len() > room { room } else { 0 };
        let at = self.written + skipped as u64;
        let mut seen = Seen { at, length: object.len() as u16, ..Seen::NONE };
        for (place, span) in spans {
            let Some(noted) = seen.spans.get_mut(usize::from(seen.count)) else { return };
            let [start, end] = [span.start, span.end].map(|at| at.wrapping_sub(start as u32) as u16);
            *noted = Noted { place, start, end };
            seen.count += 1;
        }
        self.kept[self.next] = seen;
        self.bytes[place(at)..][..object.len()].copy_from_slice(object);
        self.written = at + object.len() as u64;
        self.next = (self.next + 1) % KEPT;
        self.slots[slot] = if self.next == 0 { KEPT as u8 } else { self.next as u8 };
    }
}

/// Where the bytes of an object lie.
fn place(at: u64) -> usize {
    (at % ROOM as u64) as usize
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
        repeats.find(bytes, start).map(|(length, spans)| (length, spans.collect()))
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
            assert!(repeats.find(object, 0).is_some());
        }
        let (old, new) = objects.split_at(2 * KEPT);
        assert!(old.iter().all(|object| repeats.find(object, 0).is_none()), "they made room");
        let found = new.iter().filter(|object| repeats.find(object, 0).is_some()).count();
        assert!(found > KEPT * 3 / 4, "few share a slot: {found} of {KEPT}");
    }

    #[test]
    fn long_ones_lie_over_the_oldest() {
        let mut repeats = Repeats::new();
        let long = |number: usize| {
            let mut object = object(number);
            object.resize(LONGEST - 7 * (number % 3), b'x');
            object
        };
        for number in 0..3 * KEPT {
            repeats.keep(&long(number), 0, [(7, Span { start: number as u32, end: 200 })].into_iter());
            let found: Vec<_> = (0..=number).filter(|n| repeats.find(&long(*n), 0).is_some()).collect();
            assert!(found.contains(&number), "{found:?}");
            assert!(found.iter().all(|n| n + ROOM / LONGEST + 1 > number), "{found:?} after {number}");
            for earlier in found {
                let spans = vec![(7, Span { start: 10 + earlier as u32, end: 210 })];
                let length = long(earlier).len();
                assert_eq!(super::tests::found(&repeats, &long(earlier), 10), Some((length, spans)));
            }
        }
    }

    /// Another object of the same slot, within one that lies over the first.
    #[test]
    fn what_lies_over_an_object_is_not_taken_for_it() {
        let mut repeats = Repeats::new();
        let span = |end| [(7, Span { start: 0, end })].into_iter();
        let (first, kept) = (object(1), object(2));
        let mut other = kept.clone();
        *other.last_mut().unwrap() = b' ';
        assert_eq!(slot(&kept), slot(&other));
        repeats.keep(&first, 0, span(1));
        repeats.keep(&kept, 0, span(2));
        let mut long = object(3);
        long.resize(LONGEST, b'x');
        while place(repeats.written) + LONGEST <= ROOM {
            repeats.keep(&long, 0, span(3));
        }
        assert!(repeats.find(&kept, 0).is_some() && repeats.find(&other, 0).is_none());
        let mut over = object(4);
        over.resize(LONGEST, b'x');
        over[first.len()..][..other.len()].copy_from_slice(&other);
        repeats.keep(&over, 0, span(4));
        assert!(repeats.bytes[first.len()..].starts_with(&other), "it lies where the first one was kept");
        assert_eq!(found(&repeats, &other, 0), None);
    }

    #[test]
    fn an_object_with_many_spans_changes_nothing() {
        let mut repeats = Repeats::new();
        let many = |count: usize| (0..count).map(|n| (n as u8, Span { start: n as u32, end: 90 }));
        for number in 0..KEPT {
            repeats.keep(&object(number), 0, many(SPANS));
        }
        let before = found(&repeats, &object(0), 0);
        assert_eq!(before.as_ref().map(|(_, spans)| spans.len()), Some(SPANS));
        repeats.keep(&object(KEPT), 0, many(SPANS + 1));
        assert_eq!(found(&repeats, &object(KEPT), 0), None);
        assert_eq!(found(&repeats, &object(0), 0), before);
    }

    #[test]
    fn short_and_long_objects_are_not_kept() {
        for (length, kept) in
            [(TELLING.end - 1, false), (TELLING.end, true), (LONGEST, true), (LONGEST + 1, false)]
        {
            let mut repeats = Repeats::new();
            let object = vec![b'x'; length];
            repeats.keep(&object, 0, [].into_iter());
            assert_eq!(repeats.find(&object, 0).is_some(), kept, "{length} bytes");
            assert_eq!(repeats.next, usize::from(kept), "{length} bytes");
        }
        assert!(Repeats::new().find(b"{}", 0).is_none());
    }
}
