//! Objects of JSON records without anything around them: AWS WAF logs, and any other log of one
//! JSON object per line.
//!
//! In: windows over the inflated object. Out: its records in their order. Records are parted by
//! line breaks, blanks or nothing, and may be pretty-printed. What is no valid record is
//! malformed up to the next line that begins with `{`, and the object goes on there; no more
//! than the longest record is held. An object in which no record ever begins is damaged.

use std::sync::LazyLock;

use memchr::memmem;

use super::fields::{FieldReader, Paths};
use super::scan::Scan;
use super::{Damage, Decoder, Step};
use crate::record::waf;

const BYTE_ORDER_MARK: &[u8] = b"\xEF\xBB\xBF";

/// Where a record begins for sure; compact and pretty-printed JSON have it nowhere else.
const NEXT_LINE: &[u8] = b"\n{";

const NO_RECORD: &str = "expected '{' at the start of a record";
const NO_END: &str = "no end before the next line that begins with '{'";
const CUT: &str = "the object ends inside a record";

/// Splits objects of JSON records; the fields are those it was made with.
#[derive(Debug)]
pub struct JsonLinesDecoder {
    place: Place,
    /// A record has begun.
    has_records: bool,
    /// A record had no end within reach. From there on a line that begins with `{` begins a
    /// record even amid another: else each broken line could make a search up to the longest
    /// record.
    trusts_lines: bool,
    max_record_bytes: usize,
    fields: FieldReader,
    damage: Option<Damage>,
}

/// Where in the object the next byte lies.
#[derive(Clone, Copy, Debug)]
enum Place {
    /// Before, between or after records.
    Between,
    /// At the first byte of a record whose end is looked for; so many bytes have no next line.
    Within { scan: Scan, searched: usize },
    /// At the first byte of something broken; so many bytes have no next line.
    Broken { reason: &'static str, searched: usize },
    /// In something broken and too long to hold, of which `length` bytes are gone.
    TooLong { reason: &'static str, length: u64 },
}

/// What lies at the place.
enum Found {
    /// Blanks, or the start of something.
    Moved,
    /// Nothing yet: the window ends here.
    Starved,
    /// A valid record, its fields noted.
    Valid { end: usize },
    /// A value with an end, to be judged.
    Record { end: usize },
    /// Something broken, as far as it goes.
    Broken { end: usize, reason: &'static str },
    /// The end of something broken that was not held.
    TooLong { reason: &'static str, length: u64 },
}

/// The fields of WAF records.
pub static WAF_FIELDS: LazyLock<Paths> =
    LazyLock::new(|| Paths::new(waf::PATHS).with_named_lists(&waf::NAMED_LISTS));

/// Of records of which no field is known.
pub static NO_FIELDS: LazyLock<Paths> = LazyLock::new(|| Paths::new(&[]));

impl JsonLinesDecoder {
    /// A decoder at the start of an object, whose fields are those at `paths`. A record longer
    /// than `max_record_bytes` (at least 2, at most 4 GiB) is malformed.
    pub fn new(paths: &'static Paths, max_record_bytes: usize) -> Self {
        JsonLinesDecoder {
            place: Place::Between,
            has_records: false,
            trusts_lines: false,
            max_record_bytes: max_record_bytes.clamp(2, u32::MAX as usize),
            fields: FieldReader::new(paths),
            damage: None,
        }
    }

    /// Moves over what lies at `at`. When the window ends before it is known what that is and
    /// `eof` is not told, the answer is [`Found::Starved`].
    fn advance(&mut self, window: &[u8], at: &mut usize, eof: bool) -> Found {
        let rest = window.get(*at..).unwrap_or_default();
        match self.place {
            Place::Between => self.begin(rest, at, eof),
            Place::Within { scan, searched } => self.find_end(scan, searched, rest, eof),
            Place::Broken { reason, searched } => self.find_next_line(reason, searched, rest, eof),
            Place::TooLong { reason, length } => self.pass_over(reason, length, rest, at, eof),
        }
    }

    fn begin(&mut self, rest: &[u8], at: &mut usize, eof: bool) -> Found {
        let blanks = rest.iter().position(|byte| !matches!(byte, b' ' | b'\t' | b'\n' | b'\r'));
        let Some(blanks) = blanks else {
            *at += rest.len();
            return Found::Starved;
        };
        *at += blanks;
        let rest = &rest[blanks..];
        self.place = match Scan::begin(rest[0]) {
            Some(scan) if rest[0] == b'{' => {
                self.has_records = true;
                // A record that lies whole in the window and is valid, as nearly all do and are,
                // takes one walk; for any other the end is looked for first.
                if !self.trusts_lines
                    && let Ok(end) = self.fields.walk(&rest[..rest.len().min(self.max_record_bytes)])
                {
                    return Found::Valid { end };
                }
                Place::Within { scan, searched: 0 }
            }
            _ if rest.starts_with(BYTE_ORDER_MARK) => {
                *at += BYTE_ORDER_MARK.len();
                return Found::Moved;
            }
            _ if BYTE_ORDER_MARK.starts_with(rest) && !eof => return Found::Starved,
            _ => Place::Broken { reason: NO_RECORD, searched: 0 },
        };
        Found::Moved
    }

    fn find_end(&mut self, mut scan: Scan, searched: usize, rest: &[u8], eof: bool) -> Found {
        let held = &rest[..rest.len().min(self.max_record_bytes)];
        let line = if self.trusts_lines { next_line(held, searched) } else { None };
        if let Some(end) = scan.find_end(&held[..line.unwrap_or(held.len())]) {
            return Found::Record { end };
        }
        let is_whole = eof || held.len() == self.max_record_bytes;
        if line.is_none() && !is_whole {
            self.place = Place::Within { scan, searched: held.len() };
            return Found::Starved;
        }
        self.trusts_lines = true;
        self.place = Place::Broken { reason: CUT, searched: 0 };
        Found::Moved
    }

    fn find_next_line(&mut self, reason: &'static str, searched: usize, rest: &[u8], eof: bool) -> Found {
        let held = &rest[..rest.len().min(self.max_record_bytes)];
        if let Some(end) = next_line(held, searched) {
            let reason = if reason == CUT { NO_END } else { reason };
            return Found::Broken { end, reason };
        }
        if held.len() == self.max_record_bytes {
            self.place = Place::TooLong { reason, length: 0 };
            return Found::Moved;
        }
        if eof {
            return Found::Broken { end: held.len(), reason };
        }
        self.place = Place::Broken { reason, searched: held.len() };
        Found::Starved
    }

    fn pass_over(
        &mut self,
        reason: &'static str,
        length: u64,
        rest: &[u8],
        at: &mut usize,
        eof: bool,
    ) -> Found {
        if let Some(end) = next_line(rest, 0) {
            *at += end;
            return Found::TooLong { reason, length: length + end as u64 };
        }
        if eof {
            *at += rest.len();
            return Found::TooLong { reason, length: length + rest.len() as u64 };
        }
        // a line break may be the first half of a next line; and the step that tells of the
        // whole must have a byte to be done with
        let gone = rest.len().saturating_sub(1);
        *at += gone;
        self.place = Place::TooLong { reason, length: length + gone as u64 };
        Found::Starved
    }

    /// What a value with an end is: a record, or malformed.
    fn judge<'w>(&'w mut self, rest: &'w [u8], before: usize, end: usize) -> Step<'w> {
        self.place = Place::Between;
        let raw = &rest[..end];
        match self.fields.read(raw) {
            Ok(()) => Step::Record { record: self.fields.record(raw), consumed: before + end },
            Err(reason) => {
                // A quote too few or too many joins it with the lines after it.
                let line = next_line(raw, 0);
                self.trusts_lines |= line.is_some();
                let end = line.unwrap_or(end);
                Step::Malformed { raw: trim(&raw[..end]), reason, consumed: before + end }
            }
        }
    }

    fn fail(&mut self, offset: usize) -> Damage {
        let damage = Damage { reason: NO_RECORD.to_owned(), offset };
        self.damage = Some(damage.clone());
        damage
    }
}

impl Decoder for JsonLinesDecoder {
    fn next<'w>(&'w mut self, window: &'w [u8], eof: bool) -> Result<Step<'w>, Damage> {
        if let Some(damage) = &self.damage {
            return Err(damage.clone());
        }
        let mut at = 0;
        loop {
            match self.advance(window, &mut at, eof) {
                Found::Moved => {}
                Found::Starved if eof => return Ok(Step::End),
                Found::Starved => return Ok(Step::More { consumed: at }),
                Found::Valid { end } => {
                    self.place = Place::Between;
                    let record = self.fields.record(&window[at..at + end]);
                    return Ok(Step::Record { record, consumed: at + end });
                }
                Found::Record { end } => return Ok(self.judge(&window[at..], at, end)),
                Found::Broken { end, reason } => {
                    if !self.has_records && at + end == window.len() && eof {
                        return Err(self.fail(at));
                    }
                    self.place = Place::Between;
                    let raw = trim(&window[at..at + end]);
                    return Ok(Step::Malformed { raw, reason: reason.to_owned(), consumed: at + end });
                }
                Found::TooLong { .. } if !self.has_records && at == window.len() && eof => {
                    return Err(self.fail(at));
                }
                Found::TooLong { reason, length } => {
                    self.place = Place::Between;
                    let max = self.max_record_bytes;
                    let reason = match reason {
                        CUT => format!("a record of {length} bytes, max_record_bytes is {max}"),
                        _ => format!("{reason}, and {length} bytes to the next one"),
                    };
                    return Ok(Step::Malformed { raw: &[], reason, consumed: at });
                }
            }
        }
    }
}

/// The end of the line before the next one that begins with `{`, its line break included; the
/// first `searched` bytes have none.
fn next_line(bytes: &[u8], searched: usize) -> Option<usize> {
    let from = searched.saturating_sub(1);
    memmem::find(bytes.get(from..)?, NEXT_LINE).map(|found| from + found + 1)
}

fn trim(raw: &[u8]) -> &[u8] {
    raw.trim_ascii_end()
}

#[cfg(test)]
mod tests;
