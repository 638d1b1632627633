//! Flow logs in Parquet, read as the text that AWS would have written: a header line with the
//! names of the columns, then a line per row.
//!
//! In: a file that can be read at any place. Out: that text, piece by piece, the same for the
//! same file, so a place in it is a place in the object. A row without a value in a column has a
//! `-` there. Memory is bounded before it is taken: by [`Limits::max_page_bytes`] for all that is
//! held at a time. Work is bounded by what is stored: no byte is read for two columns, and pages
//! are judged by what they inflate to, as text is. Nothing panics, whatever the bytes.

mod column;
mod footer;
#[cfg(test)]
mod lies;
mod packed;
mod page;
mod thrift;
mod values;

use std::io::{self, Read, Seek, SeekFrom};

use super::inflate::{InflateError, InflateLimits, RATIO_JUDGED_ABOVE};
use column::ColumnReader;
use footer::{Footer, RowGroup};

/// Bytes of text that are handed out together, or a row more.
const PIECE: usize = 64 * 1024;
/// What is read of a footer takes at most so many times its bytes.
const FOOTER_SHARE: u64 = 16;

/// How far a file may be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Most bytes of the footer, pages and dictionaries held at a time, for all columns together.
    pub max_page_bytes: u64,
    /// Bounds of the text, and of all pages, which are judged as inflated bytes are.
    pub text: InflateLimits,
}

/// Why an object cannot be read any further.
#[derive(Debug, thiserror::Error)]
pub enum ParquetError {
    /// The bytes are no sound Parquet.
    #[error("the Parquet object is damaged: {reason}")]
    Damaged {
        /// What is wrong, a fragment.
        reason: String,
    },
    /// It may be sound, and has what is not read here.
    #[error("the Parquet object has what is not read: {reason}")]
    Unread {
        /// What, a fragment.
        reason: String,
    },
    /// It needs more memory than allowed.
    #[error(
        "the Parquet object needs {needed} bytes of pages at a time, max_page_bytes is {limit}: raise it if there is \
         the memory"
    )]
    TooLarge {
        /// What it says to need.
        needed: u64,
        /// The limit.
        limit: u64,
    },
    /// Its text is larger than allowed.
    #[error(transparent)]
    Text(InflateError),
    /// The file cannot be read.
    #[error("the file cannot be read")]
    Read(#[source] io::Error),
}

impl ParquetError {
    fn damaged(reason: &str) -> Self {
        ParquetError::Damaged { reason: reason.to_owned() }
    }

    fn unread(reason: String) -> Self {
        ParquetError::Unread { reason }
    }
}

/// What memory is left for pages, and how much work was done for them.
#[derive(Debug)]
struct Room {
    taken: u64,
    limit: u64,
    /// Bytes of all pages so far, none of which need be held any more.
    inflated: u64,
    /// Bytes of the file.
    stored: u64,
    limits: InflateLimits,
}

impl Room {
    fn new(stored: u64, limits: Limits) -> Self {
        Room { taken: 0, limit: limits.max_page_bytes, inflated: 0, stored, limits: limits.text }
    }

    /// Counts a page before it is inflated: many that hold no row would cost time and give none.
    fn inflate(&mut self, bytes: u64) -> Result<(), ParquetError> {
        self.inflated = self.inflated.saturating_add(bytes);
        self.judge(self.inflated)
    }

    /// Few stored bytes may say very many.
    fn judge(&self, inflated: u64) -> Result<(), ParquetError> {
        let (InflateLimits { max_object_bytes, max_ratio }, stored) = (self.limits, self.stored);
        if inflated > max_object_bytes {
            return Err(ParquetError::Text(InflateError::TooLarge { limit: max_object_bytes }));
        }
        if inflated > RATIO_JUDGED_ABOVE && inflated > max_ratio.saturating_mul(stored) {
            return Err(ParquetError::Text(InflateError::TooSteep { limit: max_ratio, inflated, stored }));
        }
        Ok(())
    }

    /// Whether so many bytes more may be taken.
    fn check(&self, bytes: u64) -> Result<(), ParquetError> {
        let needed = self.taken.saturating_add(bytes);
        if needed > self.limit {
            return Err(ParquetError::TooLarge { needed, limit: self.limit });
        }
        Ok(())
    }

    fn take(&mut self, bytes: u64) -> Result<(), ParquetError> {
        self.check(bytes)?;
        self.taken += bytes;
        Ok(())
    }

    fn give_back(&mut self, bytes: u64) {
        self.taken = self.taken.saturating_sub(bytes);
    }
}

/// A Parquet file as text.
#[derive(Debug)]
pub struct ParquetText<F> {
    file: F,
    footer: Footer,
    room: Room,
    /// The row group that comes next.
    group: usize,
    /// The columns of the one being read, and its rows that are left.
    columns: Vec<ColumnReader>,
    rows: u64,
    begun: bool,
    written: u64,
    /// Damage that waits until the rows before it are handed out, or that was told.
    ended: Option<ParquetError>,
}

impl<F: Read + Seek> ParquetText<F> {
    /// Reads the footer of a file.
    ///
    /// # Errors
    ///
    /// When it is no Parquet file, is damaged, or its columns are not those of a flat table.
    pub fn open(mut file: F, limits: Limits) -> Result<Self, ParquetError> {
        let stored = file.seek(SeekFrom::End(0)).map_err(ParquetError::Read)?;
        let mut room = Room::new(stored, limits);
        let footer = Footer::read(&footer(&mut file, stored, &mut room)?)?;
        footer.check_places(stored)?;
        Ok(ParquetText {
            file,
            footer,
            room,
            group: 0,
            columns: Vec::new(),
            rows: 0,
            begun: false,
            written: 0,
            ended: None,
        })
    }

    /// Appends whole lines to `text`, about 64 KiB of them; `false` when there are no more.
    ///
    /// # Errors
    ///
    /// What ends the object, after all lines before it were appended. No call after it appends.
    pub fn read(&mut self, text: &mut Vec<u8>) -> Result<bool, ParquetError> {
        if let Some(error) = self.ended.take() {
            self.rows = 0;
            self.group = self.footer.row_groups.len();
            return Err(error);
        }
        let before = text.len();
        if !std::mem::replace(&mut self.begun, true) {
            self.write_header(text);
        }
        while text.len() - before < PIECE {
            let start = text.len();
            match self.write_row(text) {
                Ok(true) => {}
                Ok(false) => break,
                Err(error) => {
                    text.truncate(start);
                    self.ended = Some(error);
                    break;
                }
            }
        }
        let written = text.len() - before;
        self.written += written as u64;
        if let Err(error) = self.room.judge(self.written) {
            self.ended.get_or_insert(error);
        }
        match self.ended.take() {
            Some(error) if written == 0 => Err(error),
            ended => {
                self.ended = ended;
                Ok(written > 0)
            }
        }
    }

    fn write_header(&self, text: &mut Vec<u8>) {
        for (number, column) in self.footer.columns.iter().enumerate() {
            if number > 0 {
                text.push(b' ');
            }
            values::write_text(column.name.as_bytes(), text);
        }
        text.push(b'\n');
    }

    /// `false` after the last row.
    fn write_row(&mut self, text: &mut Vec<u8>) -> Result<bool, ParquetError> {
        while self.rows == 0 {
            for column in self.columns.drain(..) {
                column.close(&mut self.room);
            }
            let Some(RowGroup { rows, chunks }) = self.footer.row_groups.get(self.group) else {
                return Ok(false);
            };
            self.group += 1;
            self.rows = *rows;
            let columns = self.footer.columns.iter().cloned().zip(chunks);
            self.columns = columns.map(|(column, chunk)| ColumnReader::new(column, *chunk, *rows)).collect();
        }
        self.rows -= 1;
        for (number, column) in self.columns.iter_mut().enumerate() {
            if number > 0 {
                text.push(b' ');
            }
            column.write_next(&mut self.file, &mut self.room, text)?;
        }
        text.push(b'\n');
        Ok(true)
    }
}

/// The bytes of the footer: its length and the magic bytes end the file. Room is taken for all
/// that is read of it.
fn footer(file: &mut (impl Read + Seek), stored: u64, room: &mut Room) -> Result<Vec<u8>, ParquetError> {
    const TAIL: u64 = 8;
    let mut tail = [0; TAIL as usize];
    let start = stored
        .checked_sub(TAIL)
        .filter(|start| *start >= 4)
        .ok_or_else(|| ParquetError::damaged("it is too short"))?;
    file.seek(SeekFrom::Start(start)).map_err(ParquetError::Read)?;
    file.read_exact(&mut tail).map_err(ParquetError::Read)?;
    let [length @ .., b'P', b'A', b'R', b'1'] = tail else {
        return Err(ParquetError::damaged("it does not end as a Parquet file does"));
    };
    let length = u64::from(u32::from_le_bytes(length));
    let start =
        start.checked_sub(length).ok_or_else(|| ParquetError::damaged("its footer is longer than it"))?;
    room.take(length.saturating_mul(FOOTER_SHARE))?;
    file.seek(SeekFrom::Start(start)).map_err(ParquetError::Read)?;
    let mut bytes = vec![0; usize::try_from(length).unwrap_or_default()];
    file.read_exact(&mut bytes).map_err(ParquetError::Read)?;
    Ok(bytes)
}
