//! What the end of a Parquet file tells: its columns, and where their chunks lie.
//!
//! Source: the Parquet project's `parquet-format`, `parquet.thrift` (`FileMetaData`). Only flat
//! files are read: each column a value or none per row, as flow logs have them.

use super::ParquetError;
use super::thrift::{BINARY, Cursor, STRUCT, Unreadable};
use crate::record::columns::Columns;

/// What a file holds.
#[derive(Debug, PartialEq, Eq)]
pub struct Footer {
    pub columns: Vec<Column>,
    pub row_groups: Vec<RowGroup>,
}

/// One column of all row groups.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Column {
    pub name: String,
    pub kind: Kind,
    /// Whether rows may have no value in it.
    pub optional: bool,
}

/// How the values of a column are stored, and how they are to be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Boolean,
    Int32 {
        unsigned: bool,
    },
    /// `per_second` is 1 but for columns that are declared as times in a finer unit.
    Int64 {
        unsigned: bool,
        per_second: i64,
    },
    Float,
    Double,
    Bytes,
    /// Bytes, always as many.
    Fixed(usize),
}

/// Rows that are stored together.
#[derive(Debug, PartialEq, Eq)]
pub struct RowGroup {
    pub rows: u64,
    /// In the order of the columns.
    pub chunks: Vec<Chunk>,
}

/// The pages of one column in one row group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Chunk {
    /// Place in the file, in bytes.
    pub start: u64,
    pub end: u64,
    /// Number of the codec in `parquet.thrift`.
    pub codec: i64,
}

impl Footer {
    /// Reads the `FileMetaData` of a file.
    ///
    /// # Errors
    ///
    /// What is damaged, or not read: columns in columns, lists, types that flow logs do not have.
    pub fn read(bytes: &[u8]) -> Result<Self, ParquetError> {
        let mut cursor = Cursor::new(bytes);
        let (mut columns, mut row_groups, mut last) = (Vec::new(), Vec::new(), 0);
        while let Some(field) = cursor.field(&mut last)? {
            match field.id {
                2 => columns = schema(&mut cursor)?,
                4 => {
                    row_groups =
                        all_of(&mut cursor, usize::MAX, |cursor| RowGroup::read(cursor, columns.len()))?
                }
                _ => cursor.skip(field.kind)?,
            }
        }
        if columns.is_empty() {
            return Err(ParquetError::damaged("the footer has no columns"));
        }
        Ok(Footer { columns, row_groups })
    }

    /// Whether all chunks may lie in a file of so many bytes, each in a place of its own: then no
    /// part of it is read again and again.
    pub fn check_places(&self, stored: u64) -> Result<(), ParquetError> {
        let chunks = self.row_groups.iter().flat_map(|group| &group.chunks);
        let bytes = chunks.fold(0, |sum: u64, chunk| sum.saturating_add(chunk.end - chunk.start));
        if bytes > stored {
            return Err(ParquetError::damaged("its columns are longer than it"));
        }
        Ok(())
    }
}

/// A list of at most so many structures; it grows as they are read, whatever length is told.
fn all_of<T>(
    cursor: &mut Cursor<'_>,
    most: usize,
    read: impl Fn(&mut Cursor<'_>) -> Result<T, ParquetError>,
) -> Result<Vec<T>, ParquetError> {
    let length = cursor.list(STRUCT)?;
    if length > most {
        return Err(ParquetError::unread(format!("{length} columns, more than {most}")));
    }
    let mut all = Vec::new();
    for _ in 0..length {
        all.push(read(cursor)?);
    }
    Ok(all)
}

/// One `SchemaElement`.
#[derive(Default)]
struct Element {
    physical: Option<i64>,
    length: i64,
    repetition: i64,
    name: String,
    children: i64,
    converted: Option<i64>,
}

/// The columns: a root, and its leaves.
fn schema(cursor: &mut Cursor<'_>) -> Result<Vec<Column>, ParquetError> {
    let elements = all_of(cursor, Columns::MOST + 1, Element::read)?;
    elements.iter().skip(1).map(Element::column).collect()
}

impl Element {
    fn read(cursor: &mut Cursor<'_>) -> Result<Self, ParquetError> {
        let (mut element, mut last) = (Element::default(), 0);
        while let Some(field) = cursor.field(&mut last)? {
            match field.id {
                1 => element.physical = Some(cursor.zigzag()?),
                2 => element.length = cursor.zigzag()?,
                3 => element.repetition = cursor.zigzag()?,
                4 if field.kind == BINARY => {
                    element.name = String::from_utf8_lossy(cursor.binary()?).into_owned();
                }
                5 => element.children = cursor.zigzag()?,
                6 => element.converted = Some(cursor.zigzag()?),
                _ => cursor.skip(field.kind)?,
            }
        }
        Ok(element)
    }

    fn column(&self) -> Result<Column, ParquetError> {
        let unread = |why: &str| ParquetError::unread(format!("the column {:?} {why}", self.name));
        let Some(physical) = self.physical.filter(|_| self.children == 0) else {
            return Err(unread("holds other columns"));
        };
        if !(0..=1).contains(&self.repetition) {
            return Err(unread("holds lists"));
        }
        Ok(Column {
            name: self.name.clone(),
            kind: self.kind(physical).ok_or_else(|| unread("is of a type that is not read"))?,
            optional: self.repetition == 1,
        })
    }

    /// `None` for types that flow logs do not have, INT96 among them.
    fn kind(&self, physical: i64) -> Option<Kind> {
        let unsigned = matches!(self.converted, Some(11..=14)); // UINT_8 to UINT_64
        let per_second = match self.converted {
            Some(9) => 1_000,      // TIMESTAMP_MILLIS
            Some(10) => 1_000_000, // TIMESTAMP_MICROS
            _ => 1,
        };
        match physical {
            0 => Some(Kind::Boolean),
            1 => Some(Kind::Int32 { unsigned }),
            2 => Some(Kind::Int64 { unsigned, per_second }),
            4 => Some(Kind::Float),
            5 => Some(Kind::Double),
            6 => Some(Kind::Bytes),
            7 => usize::try_from(self.length).ok().filter(|length| *length > 0).map(Kind::Fixed),
            _ => None,
        }
    }
}

impl RowGroup {
    fn read(cursor: &mut Cursor<'_>, columns: usize) -> Result<Self, ParquetError> {
        let (mut rows, mut chunks, mut last) = (0, Vec::new(), 0);
        while let Some(field) = cursor.field(&mut last)? {
            match field.id {
                1 => chunks = all_of(cursor, columns, Chunk::read)?,
                3 => rows = cursor.zigzag()?,
                _ => cursor.skip(field.kind)?,
            }
        }
        if chunks.len() != columns || columns == 0 {
            return Err(ParquetError::damaged("a row group does not fit the columns"));
        }
        let rows =
            u64::try_from(rows).map_err(|_| ParquetError::damaged("a row group has less than no rows"))?;
        Ok(RowGroup { rows, chunks })
    }
}

impl Chunk {
    fn read(cursor: &mut Cursor<'_>) -> Result<Self, ParquetError> {
        let (mut chunk, mut last) = (None, 0);
        while let Some(field) = cursor.field(&mut last)? {
            match field.id {
                1 => return Err(ParquetError::unread("its columns lie in another file".to_owned())),
                3 if field.kind == STRUCT => chunk = Some(Chunk::meta_data(cursor)?),
                _ => cursor.skip(field.kind)?,
            }
        }
        chunk.ok_or_else(|| ParquetError::unread("a column has no metadata, or is encrypted".to_owned()))
    }

    /// A `ColumnMetaData`.
    fn meta_data(cursor: &mut Cursor<'_>) -> Result<Self, ParquetError> {
        let (mut codec, mut length, mut data, mut dictionary, mut last) = (0, -1, -1, 0, 0);
        while let Some(field) = cursor.field(&mut last)? {
            match field.id {
                4 => codec = cursor.zigzag()?,
                7 => length = cursor.zigzag()?,
                9 => data = cursor.zigzag()?,
                11 => dictionary = cursor.zigzag()?,
                _ => cursor.skip(field.kind)?,
            }
        }
        // Some writers put 0 where there is no dictionary.
        let start = if (1..data).contains(&dictionary) { dictionary } else { data };
        match (u64::try_from(start), u64::try_from(length)) {
            (Ok(start), Ok(length)) => Ok(Chunk { start, end: start.saturating_add(length), codec }),
            _ => Err(ParquetError::damaged("a column lies nowhere")),
        }
    }
}

impl From<Unreadable> for ParquetError {
    fn from(_: Unreadable) -> Self {
        ParquetError::damaged("a header cannot be read")
    }
}
