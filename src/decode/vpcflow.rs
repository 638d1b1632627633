//! VPC flow log objects of text: a header that names the columns, then a row per flow.
//!
//! In: windows over the inflated object. Out: its rows in their order, each a view with the
//! columns of the header, in whatever order those stand. Rows that only say that there was no
//! traffic, or that it was not recorded, are dropped unless asked for. A row that does not fit
//! the header is malformed and the object goes on; an object that begins with no header is
//! damaged, because nothing else tells what its columns mean.

use memchr::memchr;
use wide::u8x32;

use super::{Damage, DecodeSettings, Decoder, Step};
use crate::record::columns::Columns;
use crate::record::vpcflow::{LOG_STATUS, NAMES};
use crate::record::{Record, Span};

const BYTE_ORDER_MARK: &[u8] = b"\xEF\xBB\xBF";

/// Splits objects of flow rows; its fields are those of [`NAMES`].
#[derive(Debug)]
pub struct VpcFlowDecoder {
    max_record_bytes: usize,
    keep_nodata: bool,
    header: Header,
    /// Bytes that are gone of a line too long to hold, whose end is not found yet.
    too_long: Option<u64>,
    /// Bytes at the start of the window in which no line ends.
    scanned: usize,
    damage: Option<Damage>,
}

/// What the first line told, and the cells of the row that was read last.
#[derive(Debug, Default)]
struct Header {
    /// The line itself, trimmed; empty before it is read. It may stand in an object again, where two were
    /// put together.
    line: Vec<u8>,
    columns: Columns,
    spans: Vec<Span>,
    /// Place of `log-status` among the columns.
    status: Option<usize>,
}

/// What lies at the start of the window.
enum Found {
    /// A row, without its line break, and the place after it.
    Row { start: usize, end: usize, next: usize },
    /// The end of a line that was not held.
    TooLong { length: u64, next: usize },
    /// No whole line any more from here on.
    Nothing { at: usize },
}

/// One line of the window, as far as it is at hand.
enum Line {
    Whole { end: usize, next: usize },
    Starved,
    TooLong,
}

/// What a row is, its cells being noted.
enum Row {
    Good,
    NoData,
    Bad(String),
}

impl VpcFlowDecoder {
    /// A decoder at the start of an object. A row longer than `max_record_bytes` (at least 2, at
    /// most 4 GiB) is malformed.
    pub fn new(settings: &DecodeSettings) -> Self {
        VpcFlowDecoder {
            max_record_bytes: settings.max_record_bytes.clamp(2, u32::MAX as usize),
            keep_nodata: settings.keep_nodata,
            header: Header::default(),
            too_long: None,
            scanned: 0,
            damage: None,
        }
    }

    /// Moves over empty lines and the header to the next row.
    fn find_row(&mut self, window: &[u8], eof: bool) -> Result<Found, Damage> {
        let mut start = 0;
        while start < window.len() {
            if let Some(gone) = self.too_long {
                return Ok(self.pass_over(gone, &window[start..], start, eof));
            }
            let (end, next) = match self.find_line(&window[start..], eof) {
                Line::Whole { end, next } => (start + end, start + next),
                Line::Starved => break,
                Line::TooLong if self.header.line.is_empty() => {
                    return Err(Damage {
                        reason: "the first line is too long for a header".into(),
                        offset: start,
                    });
                }
                Line::TooLong => {
                    self.too_long = Some(0);
                    continue;
                }
            };
            let line = trimmed(&window[start..end]);
            if self.header.line.is_empty() && !line.is_empty() {
                self.header = Header::read(line).map_err(|why| Damage {
                    reason: format!("the first line is no header of flow log columns: {why}"),
                    offset: start,
                })?;
            } else if !line.is_empty() && line != self.header.line {
                return Ok(Found::Row { start, end, next });
            }
            start = next;
        }
        Ok(Found::Nothing { at: start })
    }

    /// The line that begins `rest`.
    fn find_line(&mut self, rest: &[u8], eof: bool) -> Line {
        let known = std::mem::take(&mut self.scanned).min(rest.len());
        let (length, next) = match memchr(b'\n', &rest[known..]) {
            Some(found) => (known + found, known + found + 1),
            None if eof => (rest.len(), rest.len()),
            // The line may be as long as allowed, and its break the next byte.
            None if rest.len() <= self.max_record_bytes => {
                self.scanned = rest.len();
                return Line::Starved;
            }
            None => return Line::TooLong,
        };
        if length > self.max_record_bytes {
            return Line::TooLong;
        }
        Line::Whole { end: length - usize::from(rest[..length].ends_with(b"\r")), next }
    }

    /// Drops what is at hand of a line too long to hold; `rest` begins at `start`.
    fn pass_over(&mut self, gone: u64, rest: &[u8], start: usize, eof: bool) -> Found {
        let found = memchr(b'\n', rest);
        let length = gone + found.unwrap_or(rest.len()) as u64;
        let next = start + found.map_or(rest.len(), |found| found + 1);
        if found.is_none() && !eof {
            self.too_long = Some(length);
            return Found::Nothing { at: next };
        }
        self.too_long = None;
        Found::TooLong { length, next }
    }
}

impl Decoder for VpcFlowDecoder {
    fn next<'w>(&'w mut self, window: &'w [u8], eof: bool) -> Result<Step<'w>, Damage> {
        if let Some(damage) = &self.damage {
            return Err(damage.clone());
        }
        let found = self.find_row(window, eof).inspect_err(|damage| self.damage = Some(damage.clone()))?;
        Ok(match found {
            Found::Row { start, end, next: consumed } => {
                let raw = &window[start..end];
                match self.header.read_row(raw) {
                    Row::NoData if !self.keep_nodata => Step::Dropped { consumed },
                    Row::Good | Row::NoData => Step::Record { record: self.header.record(raw), consumed },
                    Row::Bad(reason) => Step::Malformed { raw, reason, consumed },
                }
            }
            Found::TooLong { length, next: consumed } => {
                let reason =
                    format!("a row of {length} bytes, max_record_bytes is {}", self.max_record_bytes);
                Step::Malformed { raw: &[], reason, consumed }
            }
            Found::Nothing { .. } if eof => Step::End,
            Found::Nothing { at } => Step::More { consumed: at },
        })
    }
}

impl Header {
    fn read(line: &[u8]) -> Result<Self, String> {
        let text = std::str::from_utf8(line).map_err(|_| "not valid UTF-8".to_owned())?;
        let columns =
            Columns::new(text.split_ascii_whitespace(), NAMES).map_err(|error| error.to_string())?;
        if columns.list().iter().all(|column| column.field.is_none()) {
            return Err("it names no known column".to_owned());
        }
        Ok(Header {
            line: line.to_vec(),
            spans: vec![Span::default(); columns.list().len()],
            status: columns.place(LOG_STATUS),
            columns,
        })
    }

    fn read_row(&mut self, row: &[u8]) -> Row {
        let mut cells = split(row, &mut self.spans);
        if cells != self.spans.len() && row.ends_with(b" ") {
            cells = split(row.trim_ascii_end(), &mut self.spans);
        }
        if cells != self.spans.len() {
            return Row::Bad(format!("{cells} columns where the header has {}", self.spans.len()));
        }
        // nearly all rows are ASCII, which is cheaper to see than UTF-8
        let is_ascii = row.iter().fold(0, |all, byte| all | byte) < 0x80;
        if !is_ascii && let Err(error) = std::str::from_utf8(row) {
            return Row::Bad(format!("not valid UTF-8 at byte {} of the row", error.valid_up_to()));
        }
        let status = self.status.map(|place| self.spans[place]);
        match status.and_then(|span| row.get(span.start as usize..span.end as usize)) {
            Some(b"NODATA" | b"SKIPDATA") => Row::NoData,
            _ => Row::Good,
        }
    }

    fn record<'a>(&'a self, row: &'a [u8]) -> Record<'a> {
        Record::of_row(row, &self.spans, &self.columns)
    }
}

/// A line without what editors and copies put around it: a byte order mark, and blanks.
#[inline]
fn trimmed(line: &[u8]) -> &[u8] {
    line.strip_prefix(BYTE_ORDER_MARK).unwrap_or(line).trim_ascii()
}

/// Notes the cells of a row, as far as there are `spans`, and counts them; a `-` says nothing
/// and becomes an empty span.
fn split(row: &[u8], spans: &mut [Span]) -> usize {
    let (mut cells, mut start) = (0, 0);
    each_blank(row, |end| {
        note(row, start, end, spans.get_mut(cells));
        cells += 1;
        start = end + 1;
    });
    note(row, start, row.len(), spans.get_mut(cells));
    cells + 1
}

#[inline]
fn note(row: &[u8], start: usize, end: usize, span: Option<&mut Span>) {
    if let Some(span) = span {
        let end = if end == start + 1 && row[start] == b'-' { start } else { end };
        // Rows are shorter than 4 GiB.
        *span = Span { start: start as u32, end: end as u32 };
    }
}

/// Calls `visit` with the place of each blank. Cells are short, so 32 bytes are looked at together
/// rather than one search begun per cell.
#[inline(always)]
fn each_blank(row: &[u8], mut visit: impl FnMut(usize)) {
    let mut look = |block, before| {
        let mut found = u8x32::new(block).simd_eq(u8x32::splat(b' ')).to_bitmask();
        while found != 0 {
            visit(before + found.trailing_zeros() as usize);
            found &= found - 1;
        }
    };
    let (blocks, rest) = row.as_chunks();
    for (number, block) in blocks.iter().enumerate() {
        look(*block, number * 32);
    }
    let mut last = [0; 32];
    last[..rest.len()].copy_from_slice(rest);
    look(last, row.len() - rest.len());
}

#[cfg(test)]
mod tests;
