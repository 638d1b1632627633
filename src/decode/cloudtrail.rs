//! CloudTrail objects: `{"Records":[…]}`, or a bare list of records, as a stream.
//!
//! In: windows over the inflated object. Out: its records in their order. Other members beside
//! `Records` are passed over whatever their size, several documents may follow each other, and
//! no record longer than the limit is held. A list element that is no valid record is malformed
//! and the object goes on, after it or where the next event begins within it; a break in what lies
//! between the records is damage.

use std::sync::LazyLock;

use memchr::{memchr, memmem};

use super::fields::{FieldReader, Paths};
use super::grammar::Stop;
use super::scan::{Kind, Scan};
use super::{Damage, Decoder, Step};
use crate::record::cloudtrail::REPEATING;
use crate::record::json;

pub use crate::record::cloudtrail::{PATHS, field};

static FIELDS: LazyLock<Paths> = LazyLock::new(|| Paths::new(PATHS).with_repeating(&REPEATING));

const BYTE_ORDER_MARK: &[u8] = b"\xEF\xBB\xBF";

/// A top-level name longer than this is not `Records` in any spelling, and is not held.
const MAX_NAME: usize = 256;

/// The member that each event begins with, and no object in it.
const FIRST_MEMBER: &[u8] = b"\"eventVersion\"";

/// Bytes that are looked at first to find the end of an element that is no record.
const FIRST_REACH: usize = 256;

/// Splits CloudTrail objects; its fields are those of [`PATHS`].
#[derive(Debug)]
pub struct CloudTrailDecoder {
    place: Place,
    /// The list is the document itself.
    bare: bool,
    /// The document had its `Records`.
    has_records: bool,
    names: Names,
    /// A list among the records had no end within reach. From there on it ends where the next event
    /// begins, as a broken record does: else a search up to the longest record could follow each list.
    trusts_events: bool,
    max_record_bytes: usize,
    fields: FieldReader,
    damage: Option<Damage>,
    /// Bytes that were looked at to find out about elements that are no record.
    #[cfg(test)]
    looked_at: usize,
}

/// A search for the end of an element.
#[derive(Clone, Copy, Debug)]
struct Search {
    scan: Scan,
    /// It is no record for sure, and ends where the next event begins, if not before.
    ends_at_event: bool,
    /// So many bytes were looked at; where it ends at an event, none begins in them.
    searched: usize,
}

/// Where in the object the next byte lies.
#[derive(Clone, Copy, Debug)]
enum Place {
    /// Before, between or after documents.
    Outside,
    /// Before the name of a top-level member; the first one may be missing.
    Name { first: bool },
    /// In a top-level name too long to hold.
    LongName(Scan),
    /// Before the colon after a name.
    Colon { records: bool },
    /// Before the value of a member.
    Value { records: bool },
    /// In the value of a member that is passed over.
    PassedOver(Scan),
    /// After the value of a member.
    AfterValue,
    /// Before an element of the list; the first one may be missing.
    Element { first: bool },
    /// At the first byte of an element that a walk of so many bytes saw no end of. It is nearly always
    /// the last one of a window, and is walked over again with the next one.
    Cut { scan: Scan, walked: usize },
    /// At the first byte of an element whose end is looked for.
    Within(Search),
    /// In an element too long to hold, of which `length` bytes are gone.
    TooLong { scan: Scan, length: u64 },
    /// After an element.
    AfterElement,
}

/// What lies at the place.
enum Found {
    /// Punctuation, and the place after it.
    Moved,
    /// Nothing yet: the window ends here.
    Starved,
    /// A list element that is a valid record; its fields are noted.
    Record { start: usize, end: usize },
    /// A list element that is to be judged.
    Element { start: usize, end: usize, kind: Kind },
    /// The end of an element that was not held.
    TooLong { length: u64 },
}

impl CloudTrailDecoder {
    /// A decoder at the start of an object. A record longer than `max_record_bytes` (at least 2,
    /// at most 4 GiB) is malformed.
    pub fn new(max_record_bytes: usize) -> Self {
        CloudTrailDecoder {
            place: Place::Outside,
            bare: false,
            has_records: false,
            names: Names::default(),
            trusts_events: false,
            max_record_bytes: max_record_bytes.clamp(2, u32::MAX as usize),
            fields: FieldReader::new(&FIELDS),
            damage: None,
            #[cfg(test)]
            looked_at: 0,
        }
    }

    /// Moves over the next token at `at`.
    fn advance(&mut self, window: &[u8], at: &mut usize) -> Result<Found, Damage> {
        match self.place {
            Place::LongName(scan) => return Ok(self.pass_over(scan, window, at, Place::LongName)),
            Place::PassedOver(scan) => return Ok(self.pass_over(scan, window, at, Place::PassedOver)),
            Place::Within(search) => return Ok(self.find_element(search, window, at)),
            Place::Cut { scan, walked } => {
                let rest = &window[*at..];
                return match rest.len() {
                    length if length == walked => Ok(Found::Starved),
                    length if length / 2 >= walked => self.open_element(rest, at),
                    _ => {
                        let search = Search { scan, ends_at_event: false, searched: 0 };
                        Ok(self.find_element(search, window, at))
                    }
                };
            }
            Place::TooLong { scan, length } => return Ok(self.pass_over_element(scan, length, window, at)),
            _ => {}
        }
        let blanks = window[*at..].iter().position(|byte| !matches!(byte, b' ' | b'\t' | b'\n' | b'\r'));
        let Some(blanks) = blanks else {
            *at = window.len();
            return Ok(Found::Starved);
        };
        *at += blanks;
        let byte = window[*at];
        match self.place {
            Place::Outside => self.open_document(&window[*at..], at),
            Place::Name { first: true } if byte == b'}' => self.close_document(at),
            Place::Name { .. } => self.read_name(&window[*at..], at),
            Place::Colon { records } if byte == b':' => Ok(self.move_to(Place::Value { records }, at)),
            Place::Colon { .. } => Err(damage(*at, "expected ':' after a name")),
            Place::Value { records: true } => self.open_records(&window[*at..], at),
            Place::Value { records: false } => match Scan::begin(byte) {
                Some(scan) => Ok(self.stay_at(Place::PassedOver(scan))),
                None => Err(damage(*at, "expected a value after ':'")),
            },
            Place::AfterValue if byte == b',' => Ok(self.move_to(Place::Name { first: false }, at)),
            Place::AfterValue if byte == b'}' => self.close_document(at),
            Place::AfterValue => Err(damage(*at, "expected ',' or '}' after a value")),
            Place::Element { first: true } if byte == b']' => Ok(self.close_list(at)),
            Place::Element { .. } => self.open_element(&window[*at..], at),
            Place::AfterElement if byte == b',' => Ok(self.move_to(Place::Element { first: false }, at)),
            Place::AfterElement if byte == b']' => Ok(self.close_list(at)),
            Place::AfterElement => Err(damage(*at, "expected ',' or ']' after a record")),
            Place::LongName(_)
            | Place::PassedOver(_)
            | Place::Cut { .. }
            | Place::Within(_)
            | Place::TooLong { .. } => Ok(Found::Starved),
        }
    }

    fn stay_at(&mut self, place: Place) -> Found {
        self.place = place;
        Found::Moved
    }

    fn move_to(&mut self, place: Place, at: &mut usize) -> Found {
        *at += 1;
        self.stay_at(place)
    }

    fn open_document(&mut self, rest: &[u8], at: &mut usize) -> Result<Found, Damage> {
        if rest.starts_with(BYTE_ORDER_MARK) {
            *at += BYTE_ORDER_MARK.len();
            return Ok(Found::Moved);
        }
        if BYTE_ORDER_MARK.starts_with(rest) {
            return Ok(Found::Starved);
        }
        self.bare = rest[0] == b'[';
        self.has_records = false;
        self.names.clear();
        match rest[0] {
            b'{' => Ok(self.move_to(Place::Name { first: true }, at)),
            b'[' => Ok(self.move_to(Place::Element { first: true }, at)),
            _ => Err(damage(*at, "expected '{' or '[' at the start of a document")),
        }
    }

    fn close_document(&mut self, at: &mut usize) -> Result<Found, Damage> {
        if !self.has_records {
            return Err(Damage { reason: self.names.tell(), offset: *at });
        }
        Ok(self.move_to(Place::Outside, at))
    }

    fn close_list(&mut self, at: &mut usize) -> Found {
        self.move_to(if self.bare { Place::Outside } else { Place::AfterValue }, at)
    }

    fn read_name(&mut self, rest: &[u8], at: &mut usize) -> Result<Found, Damage> {
        let mut scan = match Scan::begin(rest[0]) {
            Some(scan) if scan.kind() == Kind::String => scan,
            _ => return Err(damage(*at, "expected a name in the top-level object")),
        };
        match scan.find_end(&rest[..rest.len().min(MAX_NAME)]) {
            Some(end) => {
                let name = &rest[1..end - 1];
                let records = is_records(name);
                self.names.add(name);
                *at += end;
                self.place = Place::Colon { records };
            }
            None if rest.len() < MAX_NAME => return Ok(Found::Starved),
            None => {
                self.names.add(&rest[1..MAX_NAME]);
                self.place = Place::LongName(scan);
            }
        }
        Ok(Found::Moved)
    }

    /// At the value of `Records`.
    fn open_records(&mut self, rest: &[u8], at: &mut usize) -> Result<Found, Damage> {
        const NULL: &[u8] = b"null";
        if rest[0] == b'[' {
            self.has_records = true;
            return Ok(self.move_to(Place::Element { first: true }, at));
        }
        if rest.starts_with(NULL) {
            self.has_records = true;
            *at += NULL.len();
            return Ok(self.stay_at(Place::AfterValue));
        }
        if NULL.starts_with(rest) {
            return Ok(Found::Starved);
        }
        Err(damage(*at, "`Records` is not a list"))
    }

    /// Drops what is at hand of a name or value; `place` keeps the search when it goes on.
    fn pass_over(
        &mut self,
        mut scan: Scan,
        window: &[u8],
        at: &mut usize,
        place: fn(Scan) -> Place,
    ) -> Found {
        match scan.find_end(&window[*at..]) {
            Some(end) => {
                *at += end;
                self.place = match self.place {
                    Place::LongName(_) => Place::Colon { records: false },
                    _ => Place::AfterValue,
                };
                Found::Moved
            }
            None => {
                *at = window.len().min(*at + scan.forget());
                self.place = place(scan);
                Found::Starved
            }
        }
    }

    /// At an element. One that lies whole in the window and is a valid record, as nearly all do
    /// and are, takes one walk; for any other the end is looked for first.
    fn open_element(&mut self, rest: &[u8], at: &mut usize) -> Result<Found, Damage> {
        let Some(scan) = Scan::begin(rest[0]) else { return Err(damage(*at, "expected a record")) };
        let walked = self.fields.walk(rest);
        if let Some(length) = self.record_of(walked) {
            let start = *at;
            *at += length;
            self.place = Place::AfterElement;
            return Ok(Found::Record { start, end: *at });
        }
        Ok(self.stay_at(self.place_of(walked, rest.len(), scan)))
    }

    /// The length of a valid record that a walk met.
    fn record_of(&self, walked: Result<usize, Stop>) -> Option<usize> {
        walked.ok().filter(|length| *length <= self.max_record_bytes)
    }

    /// Where a walk of so many bytes that met no record leaves the element.
    fn place_of(&self, walked: Result<usize, Stop>, bytes: usize, scan: Scan) -> Place {
        match walked {
            Err(Stop::Starved) if bytes < self.max_record_bytes => Place::Cut { scan, walked: bytes },
            _ => {
                let ends_at_event = match scan.kind() {
                    Kind::Object => true,
                    Kind::Array => self.trusts_events,
                    // no event begins before their end
                    Kind::String | Kind::Scalar => false,
                };
                Place::Within(Search { scan, ends_at_event, searched: 0 })
            }
        }
    }

    /// Looks for the end of an element in what may be held. Of one that is no record the next event is
    /// looked for as well, in steps, so that no more is looked at than twice what the element takes.
    fn find_element(&mut self, mut search: Search, window: &[u8], at: &mut usize) -> Found {
        let rest = &window[*at..];
        let held = &rest[..rest.len().min(self.max_record_bytes)];
        let mut reach = if search.ends_at_event { FIRST_REACH.max(2 * search.searched) } else { held.len() };
        let event = loop {
            let part = &held[..reach.min(held.len())];
            self.look_at(part.len().saturating_sub(search.searched));
            let event = search.find_event(part);
            if let Some(length) = search.scan.find_end(&part[..event.unwrap_or(part.len())]) {
                return self.end_element(length, search.scan.kind(), at);
            }
            if event.is_some() || part.len() == held.len() {
                break event;
            }
            reach *= 2;
        };
        if event.is_none() && rest.len() < self.max_record_bytes {
            self.place = Place::Within(search);
            return Found::Starved;
        }
        match event.or_else(|| before_next_event(held)) {
            Some(length) => self.end_at_event(length, search.scan.kind(), at),
            None => self.pass_over_element(search.scan, 0, window, at),
        }
    }

    fn end_at_event(&mut self, length: usize, kind: Kind, at: &mut usize) -> Found {
        self.trusts_events |= kind == Kind::Array;
        self.end_element(length, kind, at)
    }

    fn end_element(&mut self, length: usize, kind: Kind, at: &mut usize) -> Found {
        let start = *at;
        *at += length;
        self.place = Place::AfterElement;
        Found::Element { start, end: *at, kind }
    }

    /// Counts what it costs to find out about elements that are no record.
    fn look_at(&mut self, _bytes: usize) {
        #[cfg(test)]
        {
            self.looked_at += _bytes;
        }
    }

    fn pass_over_element(&mut self, mut scan: Scan, length: u64, window: &[u8], at: &mut usize) -> Found {
        match scan.find_end(&window[*at..]) {
            Some(end) => {
                *at += end;
                self.place = Place::AfterElement;
                Found::TooLong { length: length + end as u64 }
            }
            None => {
                let gone = scan.forget().min(window.len() - *at);
                *at += gone;
                self.place = Place::TooLong { scan, length: length + gone as u64 };
                Found::Starved
            }
        }
    }

    /// What the end of the object leaves: an element without an end goes as far as the next event.
    fn at_end(&mut self, window: &[u8], at: &mut usize) -> Result<Found, Damage> {
        let rest = &window[*at..];
        if let Place::Within(Search { scan, .. }) | Place::Cut { scan, .. } = self.place
            && let Some(length) = before_next_event(rest)
        {
            self.look_at(length);
            return Ok(self.end_at_event(length, scan.kind(), at));
        }
        self.finish(rest).map(|()| Found::Starved).map_err(|reason| damage(window.len(), reason))
    }

    /// What the end of the object means at this place.
    fn finish(&self, rest: &[u8]) -> Result<(), &'static str> {
        match self.place {
            Place::Outside if rest.is_empty() => Ok(()),
            Place::Outside => Err("the object ends inside a byte order mark"),
            Place::Cut { .. } | Place::Within(_) | Place::TooLong { .. } => {
                Err("the object ends inside a record")
            }
            Place::Element { .. } | Place::AfterElement => Err("the object ends inside the list of records"),
            _ => Err("the object ends inside its top-level object"),
        }
    }

    fn judge<'w>(&'w mut self, raw: &'w [u8], kind: Kind, consumed: usize) -> Step<'w> {
        let reason = match kind {
            Kind::Object => {
                self.look_at(raw.len());
                if self.fields.walk(raw) == Ok(raw.len()) {
                    return Step::Record { record: self.fields.record(raw), consumed };
                }
                // A bracket too few, or a quote, joins it with the events after it.
                let end = before_next_event(raw).unwrap_or(raw.len());
                let (raw, consumed) = (&raw[..end], consumed - (raw.len() - end));
                return match self.fields.read(raw) {
                    Ok(()) => Step::Record { record: self.fields.record(raw), consumed },
                    Err(reason) => Step::Malformed { raw, reason, consumed },
                };
            }
            Kind::Array => "a list where a record should be".to_owned(),
            Kind::String => "a string where a record should be".to_owned(),
            Kind::Scalar => "a number or word where a record should be".to_owned(),
        };
        Step::Malformed { raw, reason, consumed }
    }
}

impl Decoder for CloudTrailDecoder {
    fn next<'w>(&'w mut self, window: &'w [u8], eof: bool) -> Result<Step<'w>, Damage> {
        if let Some(damage) = &self.damage {
            return Err(damage.clone());
        }
        let mut at = 0;
        // nearly always: the next record, right behind the one before and its comma
        if let (Place::AfterElement, [b',', rest @ ..]) = (self.place, window)
            && let Some(scan) = rest.first().and_then(|first| Scan::begin(*first))
        {
            let walked = self.fields.walk(rest);
            if let Some(length) = self.record_of(walked) {
                let record = self.fields.record(&rest[..length]);
                return Ok(Step::Record { record, consumed: 1 + length });
            }
            (at, self.place) = (1, self.place_of(walked, rest.len(), scan));
        }
        loop {
            let found = match self.advance(window, &mut at) {
                Ok(Found::Starved) if eof => self.at_end(window, &mut at),
                found => found,
            };
            match found {
                Ok(Found::Moved) => {}
                Ok(Found::Starved) if eof => return Ok(Step::End),
                Ok(Found::Starved) => return Ok(Step::More { consumed: at }),
                Ok(Found::Record { start, end }) => {
                    let record = self.fields.record(&window[start..end]);
                    return Ok(Step::Record { record, consumed: end });
                }
                Ok(Found::Element { start, end, kind }) => {
                    return Ok(self.judge(&window[start..end], kind, end));
                }
                Ok(Found::TooLong { length }) => {
                    let max = self.max_record_bytes;
                    let reason = format!("a record of {length} bytes, max_record_bytes is {max}");
                    return Ok(Step::Malformed { raw: &[], reason, consumed: at });
                }
                Err(damage) => {
                    self.damage = Some(damage.clone());
                    return Err(damage);
                }
            }
        }
    }
}

impl Search {
    /// What lies before the next event, as [`before_next_event`] has it, of an element that ends there;
    /// what was looked at is not looked at again.
    ///
    /// No object or list ends within what an event begins with, so an end that is found where `bytes`
    /// have no event lies before the next one.
    fn find_event(&mut self, bytes: &[u8]) -> Option<usize> {
        if !self.ends_at_event {
            self.searched = bytes.len();
            return None;
        }
        let found = next_event(bytes, self.searched);
        if let Err(searched) = found {
            self.searched = searched;
        }
        found.ok()
    }
}

/// The length of what lies before the first event that begins behind another object, and its comma.
fn before_next_event(raw: &[u8]) -> Option<usize> {
    next_event(raw, 0).ok()
}

/// The same, where no event begins with a name in the first `searched` bytes; or else how many of
/// them that is true of.
fn next_event(raw: &[u8], searched: usize) -> Result<usize, usize> {
    let unsearched = raw.get(searched..).unwrap_or_default();
    for found in memmem::find_iter(unsearched, FIRST_MEMBER) {
        let at = searched + found;
        match raw[at + FIRST_MEMBER.len()..].trim_ascii_start().first() {
            None => return Err(at),
            Some(b':') => {}
            Some(_) => continue,
        }
        if let Some(length) = behind_an_object(&raw[..at]) {
            return Ok(length);
        }
    }
    Err(searched.max(raw.len().saturating_sub(FIRST_MEMBER.len() - 1)))
}

/// The length of bytes that end with an object, a comma and the bracket of the next one, without the
/// last two.
fn behind_an_object(raw: &[u8]) -> Option<usize> {
    let before = raw.trim_ascii_end().strip_suffix(b"{")?;
    let before = before.trim_ascii_end().strip_suffix(b",")?.trim_ascii_end();
    before.ends_with(b"}").then_some(before.len())
}

fn damage(offset: usize, reason: &str) -> Damage {
    Damage { reason: reason.to_owned(), offset }
}

fn is_records(name: &[u8]) -> bool {
    name == b"Records" || (memchr(b'\\', name).is_some() && json::unescape(name) == "Records")
}

/// The first few member names of a document, for the message that `Records` is not among them.
#[derive(Debug, Default)]
struct Names {
    text: String,
    count: usize,
}

impl Names {
    const SHOWN: usize = 5;
    const SHOWN_CHARS: usize = 40;

    fn clear(&mut self) {
        self.text.clear();
        self.count = 0;
    }

    fn add(&mut self, name: &[u8]) {
        self.count += 1;
        if self.count > Self::SHOWN {
            return;
        }
        if self.count > 1 {
            self.text.push_str(", ");
        }
        // Escapes stay as they are: the text goes into one line of a report.
        self.text.extend(
            String::from_utf8_lossy(name).chars().filter(|c| !c.is_control()).take(Self::SHOWN_CHARS),
        );
    }

    fn tell(&self) -> String {
        match self.count {
            0 => "no `Records` in an empty object".to_owned(),
            1..=Self::SHOWN => format!("no `Records` among the members {}", self.text),
            count => format!("no `Records` among the {count} members {}, …", self.text),
        }
    }
}

#[cfg(test)]
mod tests;
