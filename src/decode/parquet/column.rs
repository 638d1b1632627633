//! One column of a row group: its pages after each other, a cell per row.

use std::io::{Read, Seek};

use super::footer::{Chunk, Column};
use super::packed::Hybrid;
use super::page::{self, Page, PageType};
use super::values::{Dictionary, Values};
use super::{ParquetError, Room};

/// Reads the cells of one chunk.
#[derive(Debug)]
pub struct ColumnReader {
    column: Column,
    chunk: Chunk,
    /// Rows that have no page yet.
    rows: u64,
    dictionary: Option<Dictionary>,
    page: Option<OpenPage>,
    /// Bytes that dictionary and page take.
    dictionary_bytes: u64,
    page_bytes: u64,
}

/// A data page that is being read.
#[derive(Debug)]
struct OpenPage {
    left: u32,
    /// Which rows have a value; `None` when all do.
    levels: Option<Hybrid>,
    values: Values,
}

impl ColumnReader {
    /// A reader of the chunk of so many rows.
    pub fn new(column: Column, chunk: Chunk, rows: u64) -> Self {
        ColumnReader { column, chunk, rows, dictionary: None, page: None, dictionary_bytes: 0, page_bytes: 0 }
    }

    /// Appends the cell of the next row.
    pub fn write_next(
        &mut self,
        file: &mut (impl Read + Seek),
        room: &mut Room,
        row: &mut Vec<u8>,
    ) -> Result<(), ParquetError> {
        let page = loop {
            match &mut self.page {
                Some(page) if page.left > 0 => break page,
                _ => self.next_page(file, room)?,
            }
        };
        page.left -= 1;
        let has_value = match &mut page.levels {
            Some(levels) => levels.next()? == 1,
            None => true,
        };
        if has_value {
            page.values.write_next(self.column.kind, self.dictionary.as_ref(), row)
        } else {
            row.push(b'-');
            Ok(())
        }
    }

    /// Gives back what it takes.
    pub fn close(self, room: &mut Room) {
        room.give_back(self.dictionary_bytes + self.page_bytes);
    }

    fn next_page(&mut self, file: &mut (impl Read + Seek), room: &mut Room) -> Result<(), ParquetError> {
        self.page = None;
        room.give_back(std::mem::take(&mut self.page_bytes));
        let Some(page) = page::read(file, &mut self.chunk, room)? else {
            return Err(ParquetError::Damaged {
                reason: format!("the column {:?} has fewer values than its rows", self.column.name),
            });
        };
        let bytes = page.bytes.len() as u64;
        if page.page_type == PageType::Dictionary {
            if self.dictionary.is_some() {
                return Err(ParquetError::damaged("a column has two dictionaries"));
            }
            let bytes = bytes + Dictionary::places_bytes(page.values);
            room.take(bytes)?;
            self.dictionary_bytes = bytes;
            self.dictionary = Some(Dictionary::read(self.column.kind, page.bytes, page.values)?);
        } else {
            self.rows = self
                .rows
                .checked_sub(u64::from(page.values))
                .ok_or_else(|| ParquetError::damaged("a page has more values than the column rows"))?;
            room.take(bytes)?;
            self.page_bytes = bytes;
            self.page = Some(self.open(page)?);
        }
        Ok(())
    }

    fn open(&self, page: Page) -> Result<OpenPage, ParquetError> {
        let mut bytes = page.bytes;
        let mut split = |length: usize| {
            if length > bytes.len() {
                return Err(ParquetError::damaged("a page is shorter than its levels"));
            }
            Ok(bytes.split_to(length))
        };
        let levels = match page.page_type {
            PageType::Data2 { repetition, definition } => {
                split(repetition)?;
                Some(split(definition)?).filter(|_| self.column.optional)
            }
            PageType::Data1 | PageType::Dictionary if self.column.optional => {
                if page.levels != RUNS {
                    return Err(ParquetError::unread(format!("levels in encoding {}", page.levels)));
                }
                let length = split(size_of::<u32>())?;
                let length = length.iter().rev().fold(0, |length, byte| length << 8 | usize::from(*byte));
                Some(split(length)?)
            }
            PageType::Data1 | PageType::Dictionary => None,
        };
        Ok(OpenPage {
            left: page.values,
            levels: levels.map(|levels| Hybrid::new(levels, 1)).transpose()?,
            values: Values::new(
                self.column.kind,
                page.encoding,
                bytes,
                page.values,
                self.dictionary.is_some(),
            )?,
        })
    }
}

/// The number of the encoding of levels that all writers of today use.
const RUNS: i64 = 3;
