//! One page of a column: its header, and its bytes as they were before they were compressed.
//!
//! A page's sizes are checked against what memory is left before a byte of it is read, and no
//! codec writes more than the header says. Source: the Parquet project's `parquet-format`,
//! `parquet.thrift` (`PageHeader`) and `Compression.md`.

use std::io::{self, Read, Seek, SeekFrom};

use bytes::Bytes;
use flate2::read::MultiGzDecoder;

use super::footer::Chunk;
use super::thrift::{Cursor, FALSE, Unreadable};
use super::{ParquetError, Room};

/// Headers are tens of bytes, and longer only by the statistics in them.
const USUAL_HEADER: u64 = 4 * 1024;
const LONGEST_HEADER: u64 = 1024 * 1024;

/// What a page is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PageType {
    Dictionary,
    /// Levels with their length before them, compressed with the values.
    Data1,
    /// Levels of these many bytes before the values, not compressed.
    Data2 {
        repetition: usize,
        definition: usize,
    },
}

/// A page, not compressed.
#[derive(Debug)]
pub struct Page {
    pub page_type: PageType,
    pub values: u32,
    /// Number of the encoding in `parquet.thrift`.
    pub encoding: i64,
    /// That of the definition levels of a [`PageType::Data1`].
    pub levels: i64,
    pub bytes: Bytes,
}

/// A `PageHeader`, its sizes in bytes.
#[derive(Debug, Default)]
struct Header {
    page_type: i64,
    stored: i64,
    inflated: i64,
    values: i64,
    encoding: i64,
    levels: i64,
    definition: i64,
    repetition: i64,
    plain: bool,
}

/// Reads the page at `chunk.start`, which moves behind it; `None` at the end of the chunk.
///
/// # Errors
///
/// Damage, a codec that is not read, or more memory than there is `room` for.
pub fn read(
    file: &mut (impl Read + Seek),
    chunk: &mut Chunk,
    room: &mut Room,
) -> Result<Option<Page>, ParquetError> {
    while chunk.start < chunk.end {
        let header = read_header(file, chunk)?;
        let sizes = (u64::try_from(header.stored), u64::try_from(header.inflated));
        let (Ok(stored), Ok(inflated)) = sizes else {
            return Err(ParquetError::damaged("a page of less than no bytes"));
        };
        if stored > chunk.end - chunk.start {
            return Err(ParquetError::damaged("a page is longer than its column"));
        }
        let start = chunk.start;
        chunk.start += stored;
        if let Some(page_type) = header.page_type()? {
            room.check(stored.saturating_add(inflated))?;
            room.inflate(inflated)?;
            file.seek(SeekFrom::Start(start)).map_err(ParquetError::Read)?;
            let stored = exactly(file, stored)?;
            return header.page(page_type, stored, inflated, chunk.codec).map(Some);
        }
    }
    Ok(None)
}

/// Reads the header at `chunk.start`, which moves behind it.
fn read_header(file: &mut (impl Read + Seek), chunk: &mut Chunk) -> Result<Header, ParquetError> {
    let left = chunk.end - chunk.start;
    let mut size = USUAL_HEADER;
    loop {
        file.seek(SeekFrom::Start(chunk.start)).map_err(ParquetError::Read)?;
        let mut bytes = Vec::new();
        file.take(size.min(left)).read_to_end(&mut bytes).map_err(ParquetError::Read)?;
        let mut cursor = Cursor::new(&bytes);
        match Header::read(&mut cursor) {
            Ok(header) => {
                chunk.start += cursor.position() as u64;
                return Ok(header);
            }
            Err(Unreadable::Short) if size < left.min(LONGEST_HEADER) => size *= 4,
            Err(unreadable) => return Err(unreadable.into()),
        }
    }
}

/// So many bytes; the file may be shorter than it says.
fn exactly(file: &mut impl Read, length: u64) -> Result<Vec<u8>, ParquetError> {
    let mut bytes = Vec::with_capacity(usize::try_from(length).unwrap_or_default());
    let read = file.take(length).read_to_end(&mut bytes).map_err(ParquetError::Read)?;
    if read as u64 != length {
        return Err(ParquetError::damaged("a page goes on after the end of the file"));
    }
    Ok(bytes)
}

impl Header {
    fn read(cursor: &mut Cursor<'_>) -> Result<Self, Unreadable> {
        let (mut header, mut last) = (Header { page_type: -1, ..Default::default() }, 0);
        while let Some(field) = cursor.field(&mut last)? {
            match field.id {
                1 => header.page_type = cursor.zigzag()?,
                2 => header.inflated = cursor.zigzag()?,
                3 => header.stored = cursor.zigzag()?,
                5 | 7 => header.read_data_1(cursor)?,
                8 => header.read_data_2(cursor)?,
                _ => cursor.skip(field.kind)?,
            }
        }
        Ok(header)
    }

    /// A `DataPageHeader`, or a `DictionaryPageHeader`, which begins as that does.
    fn read_data_1(&mut self, cursor: &mut Cursor<'_>) -> Result<(), Unreadable> {
        let mut last = 0;
        while let Some(field) = cursor.field(&mut last)? {
            match field.id {
                1 => self.values = cursor.zigzag()?,
                2 => self.encoding = cursor.zigzag()?,
                3 if field.kind > FALSE => self.levels = cursor.zigzag()?,
                _ => cursor.skip(field.kind)?,
            }
        }
        Ok(())
    }

    /// A `DataPageHeaderV2`.
    fn read_data_2(&mut self, cursor: &mut Cursor<'_>) -> Result<(), Unreadable> {
        let mut last = 0;
        while let Some(field) = cursor.field(&mut last)? {
            match field.id {
                1 => self.values = cursor.zigzag()?,
                4 => self.encoding = cursor.zigzag()?,
                5 => self.definition = cursor.zigzag()?,
                6 => self.repetition = cursor.zigzag()?,
                7 => self.plain = field.kind == FALSE,
                _ => cursor.skip(field.kind)?,
            }
        }
        Ok(())
    }

    /// `None` for a page that rows do not need.
    fn page_type(&self) -> Result<Option<PageType>, ParquetError> {
        match self.page_type {
            0 => Ok(Some(PageType::Data1)),
            1 => Ok(None), // an index
            2 => Ok(Some(PageType::Dictionary)),
            3 => match (usize::try_from(self.repetition), usize::try_from(self.definition)) {
                (Ok(repetition), Ok(definition)) => Ok(Some(PageType::Data2 { repetition, definition })),
                _ => Err(ParquetError::damaged("levels of less than no bytes")),
            },
            other => Err(ParquetError::unread(format!("pages of type {other}"))),
        }
    }

    fn page(
        &self,
        page_type: PageType,
        stored: Vec<u8>,
        inflated: u64,
        codec: i64,
    ) -> Result<Page, ParquetError> {
        let inflated = usize::try_from(inflated).unwrap_or(usize::MAX);
        let before = match page_type {
            PageType::Data2 { repetition, definition } => repetition.saturating_add(definition),
            PageType::Data1 | PageType::Dictionary => 0,
        };
        if before > inflated.min(stored.len()) {
            return Err(ParquetError::damaged("a page is shorter than its levels"));
        }
        let values =
            u32::try_from(self.values).map_err(|_| ParquetError::damaged("a page of less than no values"))?;
        let bytes = if codec == 0 || self.plain {
            stored
        } else {
            let mut bytes = vec![0; inflated];
            bytes[..before].copy_from_slice(&stored[..before]);
            inflate(codec, &stored[before..], &mut bytes[before..])?;
            bytes
        };
        if bytes.len() != inflated {
            return Err(ParquetError::damaged("a page is not as long as it says"));
        }
        Ok(Page { page_type, values, encoding: self.encoding, levels: self.levels, bytes: bytes.into() })
    }
}

/// Fills `bytes`, or tells that what is `stored` does not inflate to exactly that.
fn inflate(codec: i64, stored: &[u8], bytes: &mut [u8]) -> Result<(), ParquetError> {
    if bytes.is_empty() {
        return Ok(()); // pages without a value have no bytes, or an empty stream
    }
    let fits = match codec {
        1 => snappy(stored, bytes),
        2 => gzip(stored, bytes),
        6 => zstd::bulk::decompress_to_buffer(stored, bytes).map(|length| length == bytes.len()),
        3 => return Err(ParquetError::unread("pages in LZO".to_owned())),
        4 => return Err(ParquetError::unread("pages in Brotli".to_owned())),
        5 | 7 => return Err(ParquetError::unread("pages in LZ4".to_owned())),
        other => return Err(ParquetError::unread(format!("pages in codec {other}"))),
    };
    match fits {
        Ok(true) => Ok(()),
        Ok(false) => Err(ParquetError::damaged("a page is not as long as it says")),
        Err(error) => Err(ParquetError::Damaged { reason: format!("a page does not inflate: {error}") }),
    }
}

fn snappy(stored: &[u8], bytes: &mut [u8]) -> io::Result<bool> {
    let length = snap::raw::decompress_len(stored).map_err(io::Error::other)?;
    if length != bytes.len() {
        return Ok(false);
    }
    let written = snap::raw::Decoder::new().decompress(stored, bytes).map_err(io::Error::other)?;
    Ok(written == bytes.len())
}

/// As far as there is space, and no further.
fn gzip(stored: &[u8], bytes: &mut [u8]) -> io::Result<bool> {
    let mut inflater = MultiGzDecoder::new(stored);
    inflater.read_exact(bytes)?;
    Ok(inflater.read(&mut [0])? == 0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write as _;

    #[test]
    fn no_codec_writes_more_than_the_header_says() {
        let text = b"0123456789".repeat(100);
        let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
        gzip.write_all(&text).unwrap();
        let gzip = gzip.finish().unwrap();
        let snappy = snap::raw::Encoder::new().compress_vec(&text).unwrap();
        let zstd = zstd::bulk::compress(&text, 3).unwrap();
        for (codec, stored) in [(1, snappy), (2, gzip), (6, zstd)] {
            for (length, fits) in [(1000, true), (999, false), (1001, false), (1, false)] {
                let mut bytes = vec![0; length];
                assert_eq!(inflate(codec, &stored, &mut bytes).is_ok(), fits, "codec {codec}, {length}");
                assert!(!fits || bytes == text);
            }
            assert!(
                inflate(codec, &stored[..stored.len() / 2], &mut [0; 1000]).is_err(),
                "codec {codec}, cut"
            );
        }
        for codec in [3, 4, 5, 7, 99] {
            let error = inflate(codec, b"x", &mut [0; 3]).unwrap_err();
            assert!(matches!(error, ParquetError::Unread { .. }), "{error}");
        }
    }
}
