//! The names of known fields, made ready for look-up.

use std::sync::Mutex;

use wide::u8x32;

use super::Notes;
use crate::record::{Field, json};

/// Places for the names of all paths together; the last one is the record's own.
pub(super) const MAX_NAMES: usize = 256;

/// The dotted paths of the fields of one log type, made ready for look-up.
#[derive(Debug)]
pub struct Paths {
    pub(super) roots: Names,
    /// How many they are.
    pub(super) count: usize,
    /// Spans of theirs, and of the names on the way.
    pub(super) spans: usize,
    /// How many of them are lists of named elements.
    pub(super) lists: usize,
    /// How many of the names are those of objects that are kept.
    pub(super) repeats: usize,
    /// What readers that ended remember, for the next ones.
    pub(super) remembered: Mutex<Vec<Notes>>,
}

/// The names that the paths have at one place.
#[derive(Debug)]
pub(super) struct Names {
    pub(super) nodes: Vec<Node>,
    /// Where [`Notes::next`] has the node that comes first.
    pub(super) first: usize,
    /// By [`slot`]: the last node of that slot, counted from 1. Apart, so that what a guess needs
    /// of the nodes lies close together.
    slots: Box<[u8; SLOTS]>,
    /// Spreads these names best.
    multiplier: u32,
}

/// One step of the paths.
#[derive(Debug)]
pub(super) struct Node {
    pub(super) name: Name,
    /// Place of its span: that of the path that ends here, or one behind those of all paths.
    pub(super) span: u8,
    /// Place of its list of named elements, counted from 1; 0 for any other field.
    pub(super) list: u8,
    /// Where the objects that it has are kept.
    pub(super) within: Option<Box<Within>>,
    pub(super) children: Names,
    /// The node before it in the same slot, counted from 1.
    before: u8,
}

/// A member whose objects mostly were in a record before.
#[derive(Debug)]
pub(super) struct Within {
    /// Which of [`Notes::repeats`] has them.
    pub(super) number: usize,
    /// The places of all spans within them.
    pub(super) spans: Vec<u8>,
}

impl Paths {
    /// Takes the `paths`, which have 255 names together at most; a field's number is its place
    /// among them. Worth keeping: it costs more than reading a small object.
    pub fn new(paths: &[&'static str]) -> Self {
        let (mut roots, mut spans) = (Names::new(MAX_NAMES - 1), paths.len());
        for (field, path) in paths.iter().enumerate() {
            roots.insert(path, field, &mut spans);
        }
        assert!(spans < MAX_NAMES, "the paths have too many names");
        roots.spread();
        Paths { roots, count: paths.len(), spans, lists: 0, repeats: 0, remembered: Mutex::default() }
    }

    /// The same, and these fields are mostly lists of [`Named`](crate::record::Named) elements,
    /// which are noted.
    pub fn with_named_lists(mut self, fields: &[Field]) -> Self {
        for field in fields {
            if let Some(node) = self.roots.node_of(field.0) {
                self.lists += 1;
                node.list = self.lists as u8; // of 255 names at most
            }
        }
        self
    }

    /// The same, and these members of a record are mostly objects that a record before had as well:
    /// they are kept, and not walked over again.
    pub fn with_repeating(mut self, members: &[&str]) -> Self {
        for node in self.roots.nodes.iter_mut().filter(|node| members.contains(&node.name.text)) {
            let mut spans = Vec::new();
            node.children.add_spans(&mut spans);
            node.within = Some(Box::new(Within { number: self.repeats, spans }));
            self.repeats += 1;
        }
        assert_eq!(self.repeats, members.len(), "a member is none of the paths' names");
        self
    }
}

/// Slots for the names of one place.
const SLOTS: usize = 256;

/// The slot of a name: its length and its last bytes tell most names of one place apart.
#[inline(always)]
fn slot(name: &[u8], multiplier: u32) -> usize {
    let end = match name.last_chunk() {
        Some(end) => u32::from_le_bytes(*end),
        None => name.iter().fold(0, |end, byte| end << 8 | u32::from(*byte)),
    };
    ((end ^ name.len() as u32).wrapping_mul(multiplier) >> 24) as usize
}

impl Node {
    fn end_at(&mut self, span: usize) {
        self.span = span as u8; // of 255 names at most
        self.children.first = MAX_NAMES + span;
    }
}

impl Names {
    /// No names yet, below the one that has its span there.
    fn new(span: usize) -> Self {
        Names { nodes: Vec::new(), first: MAX_NAMES + span, slots: Box::new([0; SLOTS]), multiplier: 0 }
    }

    /// Adds what is missing of `path`; nodes on the way take spans from `next` on.
    fn insert(&mut self, path: &'static str, field: usize, next: &mut usize) {
        let (name, below) = match path.split_once('.') {
            Some((name, below)) => (name, Some(below)),
            None => (path, None),
        };
        let known = self.nodes.iter().position(|node| node.name.text == name);
        let at = known.unwrap_or_else(|| {
            *next += 1;
            self.add(name, *next - 1)
        });
        match below {
            Some(below) => self.nodes[at].children.insert(below, field, next),
            None => self.nodes[at].end_at(field),
        }
    }

    fn add(&mut self, name: &'static str, span: usize) -> usize {
        let mut node = Node {
            name: Name::new(name),
            span: 0,
            list: 0,
            within: None,
            children: Names::new(span),
            before: 0,
        };
        node.end_at(span);
        self.nodes.push(node);
        self.nodes.len() - 1
    }

    /// The node at which the path of a field ends.
    fn node_of(&mut self, field: u8) -> Option<&mut Node> {
        self.nodes.iter_mut().find_map(|node| match node.span == field {
            true => Some(node),
            false => node.children.node_of(field),
        })
    }

    /// Adds the places of the spans of all names.
    fn add_spans(&self, spans: &mut Vec<u8>) {
        for node in &self.nodes {
            spans.push(node.span);
            node.children.add_spans(spans);
        }
    }

    /// Gives each node its slot, so that as few as can be share one.
    fn spread(&mut self) {
        const TRIES: u32 = 500;
        let taken = |multiplier| {
            let mut taken = [false; SLOTS];
            self.nodes.iter().for_each(|node| taken[slot(node.name.text.as_bytes(), multiplier)] = true);
            taken.iter().filter(|taken| **taken).count()
        };
        let mut best = (0, 1);
        for multiplier in (0..TRIES).map(|number| (2 * number + 1).wrapping_mul(0x9E37_79B1)) {
            best = best.max((taken(multiplier), multiplier));
            // no better one can come
            if best.0 == self.nodes.len() {
                break;
            }
        }
        self.multiplier = best.1;
        for (at, node) in (1..=u8::MAX).zip(&mut self.nodes) {
            node.children.spread();
            node.before =
                std::mem::replace(&mut self.slots[slot(node.name.text.as_bytes(), self.multiplier)], at);
        }
    }

    /// Which node has the still escaped name whose quotes are at `start` and before `end`.
    pub(super) fn find(&self, bytes: &[u8], start: usize, end: usize) -> Option<usize> {
        let name = &bytes[start + 1..end - 1];
        let mut at = self.slots[slot(name, self.multiplier)];
        while at > 0 {
            let found = usize::from(at) - 1;
            let node = &self.nodes[found];
            if node.name.text.as_bytes() == name {
                return Some(found);
            }
            at = node.before;
        }
        match json::plain_end(bytes, start + 1) == end - 1 {
            true => None,
            false => self.find_escaped(name),
        }
    }

    #[cold]
    fn find_escaped(&self, name: &[u8]) -> Option<usize> {
        let name = json::unescape(name);
        self.nodes.iter().position(|node| node.name.text == name)
    }
}

/// A member's name, made ready to be compared with bytes of a record at once.
#[derive(Debug)]
pub(super) struct Name {
    text: &'static str,
    /// `,"name":"`, zeros after it: as a member begins that is not the first and is a text.
    member: u8x32,
    /// A bit for each byte of these.
    pub(super) bits: u32,
    /// How many they are.
    pub(super) length: usize,
}

/// Bytes that are looked at for a name and the text after it.
pub(super) const LOOK: usize = 64;

impl Name {
    fn new(text: &'static str) -> Self {
        let mut member = [0; 32];
        let length = text.len() + 5;
        let bytes = b",\"".iter().chain(text.as_bytes()).chain(b"\":\"");
        for (place, byte) in member.iter_mut().zip(bytes) {
            *place = *byte;
        }
        if length > member.len() {
            // never guessed: a record of such bytes is no UTF-8 and refused, what follows them or not
            return Name { text, member: u8x32::splat(0xFF), bits: u32::MAX, length: member.len() };
        }
        Name { text, member: u8x32::new(member), bits: u32::MAX >> (member.len() - length), length }
    }

    /// A bit for each byte in which what begins `ahead` differs from a text member of this name:
    /// the comma before it, or the bracket of its object for the `first` one, included.
    #[inline(always)]
    pub(super) fn differs(&self, ahead: &[u8; LOOK], first: bool) -> u32 {
        let (ahead, _) = ahead.as_chunks();
        !(u8x32::new(ahead[0]).simd_eq(self.member).to_bitmask() | u32::from(first)) & self.bits
    }
}
