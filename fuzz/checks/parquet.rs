//! Any bytes as a Parquet object of flow logs.

use std::io::Cursor;

use s3sweep::decode::inflate::InflateLimits;
use s3sweep::decode::parquet::{Limits, ParquetText};

/// Most bytes of text; a piece or a row may come on top before the limit is judged.
const MOST: u64 = 1 << 20;
const LIMITS: Limits =
    Limits { max_page_bytes: 1 << 20, text: InflateLimits { max_object_bytes: MOST, max_ratio: 1_000 } };

/// Reading ends, without a panic and within the limits; the text is whole lines of as many cells as
/// the header has, the same in each run, and no more comes after its end.
pub fn check(data: &[u8]) {
    let text = text(data);
    assert_eq!(text, self::text(data), "the same file is the same text");
    assert!(text.len() as u64 <= MOST + 4 * LIMITS.max_page_bytes, "{} bytes of text", text.len());
    let text = std::str::from_utf8(&text).expect("text is UTF-8");
    assert!(text.is_empty() || text.ends_with('\n'), "lines are whole");
    let mut lines = text.split_terminator('\n').map(|line| line.split(' '));
    let Some(columns) = lines.next().map(Iterator::count) else { return };
    for cells in lines {
        let cells: Vec<_> = cells.collect();
        assert_eq!(cells.len(), columns, "a row fits the header");
        assert!(cells.iter().all(|cell| !cell.is_empty()), "a cell without a value is a dash");
    }
}

/// The text of a file, up to what ended it.
fn text(data: &[u8]) -> Vec<u8> {
    let mut text = Vec::new();
    if let Ok(mut parquet) = ParquetText::open(Cursor::new(data), LIMITS) {
        while let Ok(true) = parquet.read(&mut text) {}
        let end = text.len();
        assert!(
            !parquet.read(&mut text).unwrap_or_default() && text.len() == end,
            "nothing comes after the end"
        );
    }
    text
}
