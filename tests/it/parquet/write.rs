//! Writes Parquet files by means of others' code: the columns of a table, in any of the ways that
//! there are to write them.

use std::sync::Arc;

use parquet::basic::{Compression, Encoding};
use parquet::column::writer::ColumnWriter;
use parquet::data_type::ByteArray;
use parquet::file::properties::{WriterProperties, WriterVersion};
use parquet::file::writer::SerializedFileWriter;
use parquet::schema::parser::parse_message_type;
use parquet::schema::types::ColumnPath;

/// A column: its declaration, as `OPTIONAL INT32 srcport`, and its cells as text.
#[derive(Clone, Debug)]
pub struct Column {
    pub declaration: String,
    pub cells: Vec<Option<String>>,
}

/// How a table is written.
#[derive(Clone, Debug)]
pub struct Form {
    pub version: WriterVersion,
    pub compression: Compression,
    pub dictionary: bool,
    /// Those of numbers and of texts, where there is no dictionary.
    pub numbers: Encoding,
    pub texts: Encoding,
    pub rows_per_page: usize,
    pub rows_per_group: usize,
}

impl Default for Form {
    /// As AWS does.
    fn default() -> Self {
        Form {
            version: WriterVersion::PARQUET_1_0,
            compression: Compression::GZIP(Default::default()),
            dictionary: true,
            numbers: Encoding::PLAIN,
            texts: Encoding::PLAIN,
            rows_per_page: 1_000,
            rows_per_group: 10_000,
        }
    }
}

impl Column {
    pub fn new(declaration: &str, cells: impl IntoIterator<Item = Option<String>>) -> Self {
        Column { declaration: declaration.to_owned(), cells: cells.into_iter().collect() }
    }

    pub fn name(&self) -> &str {
        let words = self.declaration.split_whitespace();
        words.rev().find(|word| !word.starts_with('(')).expect("a name")
    }

    fn is_optional(&self) -> bool {
        self.declaration.starts_with("OPTIONAL")
    }

    fn is_text(&self) -> bool {
        self.declaration.contains("BYTE_ARRAY")
    }
}

/// The file; all columns have as many cells.
pub fn write(columns: &[Column], form: &Form) -> Vec<u8> {
    let declarations: String = columns.iter().map(|column| format!("{};\n", column.declaration)).collect();
    let schema = parse_message_type(&format!("message flow {{ {declarations} }}")).expect("a schema");
    let mut properties = WriterProperties::builder()
        .set_writer_version(form.version)
        .set_compression(form.compression)
        .set_dictionary_enabled(form.dictionary)
        .set_data_page_row_count_limit(form.rows_per_page)
        .set_write_batch_size(form.rows_per_page);
    for column in columns.iter().filter(|_| !form.dictionary) {
        let encoding = match column {
            column if column.is_text() => form.texts,
            column if column.declaration.contains(" INT") => form.numbers,
            _ => continue,
        };
        properties = properties.set_column_encoding(ColumnPath::from(column.name()), encoding);
    }
    let properties = Arc::new(properties.build());
    let mut file = SerializedFileWriter::new(Vec::new(), Arc::new(schema), properties).expect("a writer");
    let rows = columns[0].cells.len();
    for start in (0..rows).step_by(form.rows_per_group) {
        let end = rows.min(start + form.rows_per_group);
        let mut group = file.next_row_group().expect("a group");
        for column in columns {
            let mut writer = group.next_column().expect("a column").expect("one per column");
            write_column(column, &column.cells[start..end], writer.untyped());
            writer.close().expect("closed");
        }
        group.close().expect("closed");
    }
    file.into_inner().expect("written")
}

fn write_column(column: &Column, cells: &[Option<String>], writer: &mut ColumnWriter<'_>) {
    let levels: Vec<i16> = cells.iter().map(|cell| i16::from(cell.is_some())).collect();
    let levels = column.is_optional().then_some(&levels[..]);
    let values = || cells.iter().flatten();
    match writer {
        ColumnWriter::Int32ColumnWriter(writer) => {
            let values: Vec<i32> = values().map(|cell| cell.parse().expect("a number")).collect();
            writer.write_batch(&values, levels, None)
        }
        ColumnWriter::Int64ColumnWriter(writer) => {
            let values: Vec<i64> = values().map(|cell| cell.parse().expect("a number")).collect();
            writer.write_batch(&values, levels, None)
        }
        ColumnWriter::BoolColumnWriter(writer) => {
            let values: Vec<bool> = values().map(|cell| cell == "true").collect();
            writer.write_batch(&values, levels, None)
        }
        ColumnWriter::ByteArrayColumnWriter(writer) => {
            let values: Vec<ByteArray> = values().map(|cell| cell.as_str().into()).collect();
            writer.write_batch(&values, levels, None)
        }
        ColumnWriter::FixedLenByteArrayColumnWriter(writer) => {
            let values: Vec<_> = values().map(|cell| ByteArray::from(cell.as_str()).into()).collect();
            writer.write_batch(&values, levels, None)
        }
        _ => panic!("no such column in these tests"),
    }
    .expect("written");
}
