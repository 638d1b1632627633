//! Reads one JSON record: is it valid, and where in it do the known fields lie?
//!
//! In: a table of dotted paths, then record after record. Out: one span per path. A record is
//! valid UTF-8, one strict JSON object, and nested at most [`MAX_DEPTH`] deep; any other is
//! refused with the reason. A step of a path that meets `null` or another type finds nothing.

mod repeats;

use memchr::memchr_iter;
use serde::de::IgnoredAny;
use wide::u8x32;

use super::grammar::{Next, Stop, Walk};
use crate::record::{Field, NamedList, Record, Shape, Span, json};
use repeats::Repeats;

/// The deepest nesting of a record, the record itself counted. A line holds its record one level
/// down and must still be readable where the limit is 128, which is common.
pub const MAX_DEPTH: usize = 120;

/// Notes the fields of one log type, record after record.
#[derive(Clone, Debug)]
pub struct FieldReader {
    paths: &'static Paths,
    notes: Notes,
}

/// What a reader notes of a record, and what it remembers for the next one.
#[derive(Clone, Debug)]
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

/// Places for the names of all paths together; the last one is the record's own.
const MAX_NAMES: usize = 256;

/// The dotted paths of the fields of one log type, made ready for look-up.
#[derive(Debug)]
pub struct Paths {
    roots: Names,
    /// How many they are.
    count: usize,
    /// Spans of theirs, and of the names on the way.
    spans: usize,
    /// How many of them are lists of named elements.
    lists: usize,
    /// How many of the names are those of objects that are kept.
    repeats: usize,
}

/// The names that the paths have at one place.
#[derive(Debug)]
struct Names {
    nodes: Vec<Node>,
    /// Where [`Notes::next`] has the node that comes first.
    first: usize,
    /// By [`slot`]: the last node of that slot, counted from 1. Apart, so that what a guess needs
    /// of the nodes lies close together.
    slots: Box<[u8; SLOTS]>,
    /// Spreads these names best.
    multiplier: u32,
}

/// One step of the paths.
#[derive(Debug)]
struct Node {
    name: Name,
    /// Place of its span: that of the path that ends here, or one behind those of all paths.
    span: u8,
    /// Place of its list of named elements, counted from 1; 0 for any other field.
    list: u8,
    /// Where the objects that it has are kept.
    within: Option<Box<Within>>,
    children: Names,
    /// The node before it in the same slot, counted from 1.
    before: u8,
}

/// A member whose objects mostly were in a record before.
#[derive(Debug)]
struct Within {
    /// Which of [`Notes::repeats`] has them.
    number: usize,
    /// The places of all spans within them.
    spans: Vec<u8>,
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
        Paths { roots, count: paths.len(), spans, lists: 0, repeats: 0 }
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

impl FieldReader {
    /// A reader of the fields at `paths`.
    pub fn new(paths: &'static Paths) -> Self {
        let notes = Notes {
            spans: Box::new([Span::default(); MAX_NAMES]),
            next: Box::new([0; 2 * MAX_NAMES]),
            lists: vec![NamedList::default(); paths.lists].into(),
            repeats: vec![Repeats::new(); paths.repeats].into(),
            shape: Shape::default(),
        };
        FieldReader { paths, notes }
    }

    /// Walks over the record that begins `bytes`, notes its fields and returns its length. Of
    /// members of one name the last counts; names that differ in case are different.
    ///
    /// # Errors
    ///
    /// When the record does not end within `bytes` or is not valid; [`FieldReader::read`] tells
    /// why, once its end is known.
    pub fn walk(&mut self, bytes: &[u8]) -> Result<usize, Stop> {
        self.notes.spans[..self.paths.spans].fill(Span::default());
        self.notes.lists.iter_mut().for_each(|list| list.place = Span::default());
        self.notes.shape.has_twins = false;
        let mut walk = Walk::new(bytes);
        if walk.byte(0)? != b'{' {
            return Err(Stop::Invalid);
        }
        let end = note(&self.paths.roots, &mut walk, 0, MAX_DEPTH, &mut self.notes)?;
        self.notes.shape.is_compact = !walk.has_blanks;
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
        let Notes { spans, lists, shape, .. } = &self.notes;
        Record::new(raw, &spans[..self.paths.count]).with_shape(*shape).with_lists(lists)
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
    fn find(&self, bytes: &[u8], start: usize, end: usize) -> Option<usize> {
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
struct Name {
    text: &'static str,
    /// `,"name":"`, zeros after it: as a member begins that is not the first and is a text.
    member: u8x32,
    /// A bit for each byte of these.
    bits: u32,
    /// How many they are.
    length: usize,
}

/// Bytes that are looked at for a name and the text after it.
const LOOK: usize = 64;

impl Name {
    fn new(text: &'static str) -> Self {
        let mut member = [0; 32];
        let length = text.len() + 5;
        let bytes = b",\"".iter().chain(text.as_bytes()).chain(b"\":\"");
        for (place, byte) in member.iter_mut().zip(bytes) {
            *place = *byte;
        }
        if length > member.len() {
            // never guessed: a record of such bytes is no UTF-8 and refused
            return Name { text, member: u8x32::splat(0xFF), bits: u32::MAX, length: 0 };
        }
        Name { text, member: u8x32::new(member), bits: u32::MAX >> (member.len() - length), length }
    }

    /// A bit for each byte in which what begins `ahead` differs from a text member of this name:
    /// the comma before it, or the bracket of its object for the `first` one, included.
    #[inline(always)]
    fn differs(&self, ahead: &[u8; LOOK], first: bool) -> u32 {
        let (ahead, _) = ahead.as_chunks();
        !(u8x32::new(ahead[0]).simd_eq(self.member).to_bitmask() | u32::from(first)) & self.bits
    }
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
        if let Some(seen) = self.repeats[within.number].find(&walk.bytes[start..]) {
            for (place, span) in seen.spans_at(start) {
                self.spans[usize::from(place)] = span;
            }
            return Ok(start + seen.length());
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
mod tests {
    use std::sync::LazyLock;

    use super::*;
    use crate::record::Field;

    static PATHS: LazyLock<Paths> = LazyLock::new(|| Paths::new(&["a", "b.c", "b", "b.d.e"]));

    fn values<'a>(reader: &'a FieldReader, raw: &'a str) -> Vec<&'a str> {
        let record = reader.record(raw.as_bytes());
        let text = |field| record.get(Field(field)).unwrap_or_default();
        (0..4).map(|field| std::str::from_utf8(text(field)).unwrap()).collect()
    }

    #[test]
    fn fields_are_noted() {
        for (name, raw, want) in [
            (
                "all",
                r#"{"a":1,"b":{"c":"x","d":{"e":[2]}}}"#,
                ["1", "\"x\"", r#"{"c":"x","d":{"e":[2]}}"#, "[2]"],
            ),
            ("none", r#"{"z":{"a":1}}"#, ["", "", "", ""]),
            ("blanks", "{ \"a\" : \"x\" ,\n\"b\" :\t{ } }", ["\"x\"", "", "{ }", ""]),
            ("null on the way", r#"{"a":null,"b":null}"#, ["null", "", "null", ""]),
            ("other types on the way", r#"{"b":{"d":"e"}}"#, ["", "", r#"{"d":"e"}"#, ""]),
            ("list on the way", r#"{"b":[{"c":1}]}"#, ["", "", r#"[{"c":1}]"#, ""]),
            (
                "the last twin counts",
                r#"{"a":1,"a":2,"b":{"c":1},"b":{"d":{"e":3}}}"#,
                ["2", "", r#"{"d":{"e":3}}"#, "3"],
            ),
            ("a null twin", r#"{"b":{"c":1},"b":null}"#, ["", "", "null", ""]),
            ("case counts", r#"{"A":1,"B":{"c":1}}"#, ["", "", "", ""]),
            ("escaped name", r#"{"\u0061":1,"b":{"\u0063":2}}"#, ["1", "2", r#"{"\u0063":2}"#, ""]),
            ("half a surrogate pair", r#"{"\ud800":"\ud800","a":"\udfff"}"#, [r#""\udfff""#, "", "", ""]),
        ] {
            let mut reader = FieldReader::new(&PATHS);
            assert_eq!(reader.read(raw.as_bytes()), Ok(()), "{name}");
            assert_eq!(values(&reader, raw), want, "{name}");
        }
    }

    #[test]
    fn a_record_leaves_nothing_to_the_next() {
        let mut reader = FieldReader::new(&PATHS);
        reader.read(br#"{"a":1,"b":{"c":2}}"#).unwrap();
        reader.read(b"{}").unwrap();
        assert_eq!(values(&reader, "{}"), [""; 4]);
    }

    static WALKED: LazyLock<Paths> =
        LazyLock::new(|| Paths::new(&["a", "b.c", "b", "b.d.e", "f.g"]).with_named_lists(&[Field(4)]));
    static REPEATING: LazyLock<Paths> = LazyLock::new(|| {
        let paths = Paths::new(&["a", "b.c", "b", "b.d.e", "f.g"]).with_named_lists(&[Field(4)]);
        paths.with_repeating(&["b", "f"])
    });

    /// All that a reader notes of a record.
    fn all_noted(reader: &mut FieldReader, raw: &str) -> String {
        reader.read(raw.as_bytes()).unwrap();
        let record = reader.record(raw.as_bytes());
        let spans: Vec<_> = (0..5).map(|field| record.span(Field(field))).collect();
        let (twins, compact) = (reader.notes.shape.has_twins, reader.notes.shape.is_compact);
        format!("{spans:?} {twins} {compact} {:?}", record.named(Field(4)))
    }

    #[test]
    fn objects_that_come_again_are_noted_as_at_first() {
        let long = "x".repeat(120);
        let long = long.as_str();
        let records: Vec<_> = [
            r#"{"b":{"c":"LONG"}}"#,
            r#"{"a":1,"b":{"c":"LONG"},"f":{"g":"LONG"}}"#,
            r#"{"b":{"z":"LONG","c":1}}"#,
            r#"{"b":{"z":"LONG","d":{"e":[{}]}},"a":{}}"#,
            r#"{"b":{"z":"LONG","d":{"e":[{}]},"c":true}}"#,
            r#"{"b":{"z":"LONG","\u0063":2}}"#,
            r#"{"b":{"z":"LONG", "c":2}}"#,
            r#"{ "b":{"c":"LONG"}}"#,
            r#"{"b":{"z":"LONG","c":1,"c":2}}"#,
            r#"{"a":1,"b":{"c":"LONG"},"b":{"z":"LONG","c":1}}"#,
            r#"{"b":{"z":"LONG","c":1},"b":{"d":"LONG"},"b":{"c":"LONG"}}"#,
            r#"{"b":{"z":"LONG","c":1},"b":null}"#,
            r#"{"b":{"z":"LONG","c":1},"b":{"z":"LONG","c":1}}"#,
            r#"{"f":{"z":"LONG","g":[{"name":"x"}]}}"#,
            r#"{"a":1,"f":{"z":"LONG","g":[{"name":"x"}]},"b":{"z":"LONG"}}"#,
            r#"{"b":{"z":"LONG"},"f":{"z":"LONG","g":[]}}"#,
            r#"{"b":{"c":"LONG?"},"f":{"g":["LONG"]}}"#,
        ]
        .map(|raw| raw.replace("LONG", long))
        .to_vec();
        let alone: Vec<_> =
            records.iter().map(|raw| all_noted(&mut FieldReader::new(&WALKED), raw)).collect();
        for first in 0..records.len() {
            for second in 0..records.len() {
                let mut reader = FieldReader::new(&REPEATING);
                for at in [first, second, first, second] {
                    assert_eq!(all_noted(&mut reader, &records[at]), alone[at], "{}", records[at]);
                }
            }
        }
        let mut reader = FieldReader::new(&REPEATING);
        reader.read(records[0].as_bytes()).unwrap();
        assert!(reader.notes.repeats[0].find(&records[1].as_bytes()[11..]).is_some(), "it is kept");
        let broken = records[0].replace("}}", "}");
        reader.read(broken.as_bytes()).expect_err("what is kept ends, the record does not");
    }

    static LISTS: LazyLock<Paths> =
        LazyLock::new(|| Paths::new(&["a", "b.c"]).with_named_lists(&[Field(1), Field(0)]));

    /// What is noted of the lists, `?` for one that is not.
    fn noted(reader: &FieldReader, raw: &str) -> String {
        let record = reader.record(raw.as_bytes());
        let text = |span| std::str::from_utf8(record.bytes(span)).unwrap();
        let all = [Field(0), Field(1)].map(|field| match record.named(field) {
            Some(list) => {
                let elements = list.iter().map(|named| format!("{}={}", text(named.name), text(named.value)));
                elements.collect::<Vec<_>>().join(" ")
            }
            None => "?".to_owned(),
        });
        all.join("; ")
    }

    #[test]
    fn lists_of_named_elements_are_noted() {
        let mut reader = FieldReader::new(&LISTS);
        let (name, value) = ("n".repeat(100), "v\\\"\\u00fc".repeat(20));
        let long = format!(r#"{{"a":[{{"name":"{name}","value":"{value}"}}]}}"#);
        let many = |count| format!(r#"{{"a":[{}]}}"#, [r#"{"name":"x"}"#].repeat(count).join(","));
        for (what, raw, want) in [
            (
                "both",
                r#"{"a":[{"name":"x","value":"1"},{"name":"","value":""}],"b":{"c":[{"name":"y"}]}}"#,
                r#"x="1" =""; y="#,
            ),
            ("long ones", &long, &format!("{name}=\"{value}\"; ?")),
            ("the last twin", r#"{"a":[{"name":"x"}],"a":[{"name":"y"}]}"#, "y=; ?"),
            ("a twin that is none", r#"{"a":[{"name":"x"}],"a":[1]}"#, "?; ?"),
            ("a twin of the same length", r#"{"b":{"c":[{"name":"x"}]},"b":{"d":[{"name":"x"}]}}"#, "?; ?"),
            ("empty", r#"{"a":[]}"#, "?; ?"),
            ("one of another form", r#"{"a":[{"name":"x"},{"value":"1","name":"y"}]}"#, "?; ?"),
            ("a third member", r#"{"a":[{"name":"x","value":"1","z":2}]}"#, "?; ?"),
            ("twins", r#"{"a":[{"name":"x","value":"1","value":"2"}]}"#, "?; ?"),
            ("another type", r#"{"a":[{"name":"x","value":1}]}"#, "?; ?"),
            ("an escape in a name", r#"{"a":[{"name":"\u0061"}]}"#, "?; ?"),
            ("blanks", r#"{"a":[{"name":"x"}, {"name":"y"}],"b":{"c":[ {"name":"y"}]}}"#, "?; ?"),
            ("no list", r#"{"a":{"name":"x"},"b":{"c":"[{}]"}}"#, "?; ?"),
            ("as many as are kept", &many(MAX_NAMED), &format!("{}; ?", ["x="].repeat(MAX_NAMED).join(" "))),
            ("one more", &many(MAX_NAMED + 1), "?; ?"),
        ] {
            assert_eq!(reader.read(raw.as_bytes()), Ok(()), "{what}");
            assert_eq!(noted(&reader, raw), want, "{what}");
        }
        for (what, raw) in [
            ("a comma at the end", r#"{"a":[{"name":"x"},]}"#),
            ("no comma", r#"{"a":[{"name":"x"}{"name":"y"}]}"#),
            ("another bracket", r#"{"a":[{"name":"x"}}}"#),
            ("a control character", "{\"a\":[{\"name\":\"\u{1}\"}]}"),
            ("an odd escape", r#"{"a":[{"name":"x","value":"\x"}]}"#),
        ] {
            reader.read(raw.as_bytes()).expect_err(what);
        }
        // the place of a list that was noted, and no list is there
        reader.read(br#"{"a":[{"name":"x"}]}"#).unwrap();
        let raw = r#"{"a":"[{'name':'']"}"#;
        reader.read(raw.as_bytes()).unwrap();
        assert_eq!(noted(&reader, raw), "?; ?");
    }

    #[test]
    fn invalid_records_are_refused() {
        for (name, raw, reason) in [
            ("not UTF-8", &b"{\"a\":\"\xff\"}"[..], "not valid UTF-8 at byte 6"),
            ("not UTF-8 in an unknown field", b"{\"z\":[\"\xc3\"]}", "not valid UTF-8"),
            ("bare word", b"{\"a\":nope}", "not valid JSON"),
            ("no colon", b"{\"a\" 1}", "not valid JSON"),
            ("comma at the end", b"{\"a\":1,}", "not valid JSON"),
            ("leading zero", b"{\"z\":01}", "not valid JSON"),
            ("line break in a string", b"{\"z\":\"a\nb\"}", "not valid JSON"),
            ("bad escape", b"{\"z\":{\"y\":\"\\x\"}}", "not valid JSON"),
            ("bad escape in a name", b"{\"\\u12G4\":1}", "not valid JSON"),
            ("mixed brackets", b"{\"a\":[}", "not valid JSON"),
            ("no object", b"[1]", "not valid JSON"),
            ("two objects", b"{}{}", "not valid JSON"),
            ("nothing", b"", "not valid JSON"),
        ] {
            let refused = FieldReader::new(&PATHS).read(raw).unwrap_err();
            assert!(refused.starts_with(reason), "{name}: {refused}");
        }
    }

    #[test]
    fn depth_is_bounded() {
        let nested = |levels: usize| format!("{}1{}", "{\"b\":".repeat(levels), "}".repeat(levels));
        let lists = |levels: usize| format!("{{\"z\":{}{}}}", "[".repeat(levels - 1), "]".repeat(levels - 1));
        let flat = format!("{{\"z\":\"{}\",\"a\":[{}0]}}", "[{\\\"".repeat(500), "[],{},".repeat(500));
        for (name, raw, deep) in [
            ("deepest object", nested(MAX_DEPTH), false),
            ("too deep object", nested(MAX_DEPTH + 1), true),
            ("deepest list", lists(MAX_DEPTH), false),
            ("too deep list", lists(MAX_DEPTH + 1), true),
            ("a million levels", lists(1_000_000), true),
            ("wide, and brackets in strings", flat, false),
        ] {
            assert_eq!(FieldReader::new(&PATHS).read(raw.as_bytes()).is_err(), deep, "{name}");
        }
    }
}
