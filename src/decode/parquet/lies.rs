//! Files that say more than they hold, made by hand: each ends, soon, and with the reason.

use std::io::{Cursor, Write as _};
use std::sync::mpsc;
use std::time::Duration;

use super::*;

/// Each file takes a second at most; this is for a busy machine.
const SOON: Duration = Duration::from_secs(60);

/// A structure of Thrift's compact protocol that is being written.
#[derive(Default)]
struct Thrift {
    bytes: Vec<u8>,
    last: u8,
}

impl Thrift {
    fn head(&mut self, id: u8, kind: u8) {
        self.bytes.push((id - self.last) << 4 | kind);
        self.last = id;
    }

    fn varint(&mut self, mut number: u64) {
        while number > 0x7F {
            self.bytes.push(number as u8 | 0x80);
            number >>= 7;
        }
        self.bytes.push(number as u8);
    }

    fn number(mut self, id: u8, number: i64) -> Self {
        self.head(id, 6);
        self.varint(((number << 1) ^ (number >> 63)).cast_unsigned());
        self
    }

    fn text(mut self, id: u8, text: &str) -> Self {
        self.head(id, thrift::BINARY);
        self.varint(text.len() as u64);
        self.bytes.extend_from_slice(text.as_bytes());
        self
    }

    fn structure(mut self, id: u8, structure: Thrift) -> Self {
        self.head(id, thrift::STRUCT);
        self.bytes.extend(structure.end());
        self
    }

    fn list(mut self, id: u8, structures: impl IntoIterator<Item = Thrift>) -> Self {
        self.head(id, thrift::LIST);
        let structures: Vec<_> = structures.into_iter().map(Thrift::end).collect();
        self.bytes.push(0xF0 | thrift::STRUCT);
        self.varint(structures.len() as u64);
        self.bytes.extend(structures.concat());
        self
    }

    fn end(mut self) -> Vec<u8> {
        self.bytes.push(0);
        self.bytes
    }
}

/// A data page of the first version: `values` in `encoding`, stored as gzip.
fn page(values: u32, encoding: i64, bytes: &[u8]) -> Vec<u8> {
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    gzip.write_all(bytes).unwrap();
    let stored = gzip.finish().unwrap();
    let data = Thrift::default().number(1, values.into()).number(2, encoding).number(3, 3).number(4, 3);
    let header = Thrift::default()
        .number(1, 0)
        .number(2, bytes.len() as i64)
        .number(3, stored.len() as i64)
        .structure(5, data);
    [header.end(), stored].concat()
}

/// A group of `rows` whose one column lies at `start`, for `length` bytes.
fn group(rows: i64, start: usize, length: usize) -> Thrift {
    let place = Thrift::default().number(4, 2).number(7, length as i64).number(9, start as i64);
    Thrift::default().list(1, [Thrift::default().structure(3, place)]).number(3, rows)
}

/// A file of one column of texts.
fn file(pages: &[u8], groups: Vec<Thrift>) -> Vec<u8> {
    let root = Thrift::default().text(4, "flow").number(5, 1);
    let column = Thrift::default().number(1, 6).number(3, 0).text(4, "action");
    let footer = Thrift::default().list(2, [root, column]).list(4, groups).end();
    let length = (footer.len() as u32).to_le_bytes();
    [b"PAR1", pages, &footer, &length, b"PAR1"].concat()
}

/// The lines of a file, and why there are no more.
fn lines(file: &[u8], limits: Limits) -> (usize, String) {
    let mut text = Vec::new();
    let mut read = || -> Result<(), ParquetError> {
        let mut parquet = ParquetText::open(Cursor::new(file), limits)?;
        while parquet.read(&mut text)? {}
        Ok(())
    };
    let ended = read().map_or_else(|error| error.to_string(), |()| "the end".to_owned());
    (text.iter().filter(|byte| **byte == b'\n').count(), ended)
}

const LIMITS: Limits =
    Limits { max_page_bytes: 4 << 20, text: InflateLimits { max_object_bytes: 1 << 30, max_ratio: 100 } };

/// Three texts, plain.
const PLAIN: &[u8] = b"\x01\0\0\0a\x01\0\0\0b\x01\0\0\0c";

#[test]
fn a_lying_file_ends() {
    let plain = page(3, 0, PLAIN);
    let one = |rows, pages: &[u8]| file(pages, vec![group(rows, 4, pages.len())]);
    // lengths by differences: so many of no bits, in blocks that take two bytes
    let lengths = |count: u64| {
        let mut bytes = Thrift::default();
        for number in [1 << 30, 1, count, 0] {
            bytes.varint(number);
        }
        [&bytes.bytes[..], &[0; 2 * 4]].concat()
    };
    let many = page(u32::MAX, 6, &lengths(u32::MAX.into()));
    let nothing = page(0, 0, &vec![0; 1 << 20]).repeat(2_000);
    let shared = file(&plain, (0..5_000).map(|_| group(3, 4, plain.len())).collect());
    let no_columns = file(&[], (0..100_000).map(|_| Thrift::default()).collect());
    for (name, file, rows, want) in [
        ("sound", one(3, &plain), 3, "the end"),
        (
            "two groups",
            file(&plain.repeat(2), (0..2).map(|at| group(3, 4 + at * plain.len(), plain.len())).collect()),
            6,
            "the end",
        ),
        ("more rows than values", one(i64::MAX, &plain), 3, "fewer values than its rows"),
        ("less than no rows", one(-1, &plain), 0, "less than no rows"),
        ("more values than rows", one(2, &plain), 0, "more values than the column rows"),
        ("more values than bytes", one(9, &page(9, 0, PLAIN)), 3, "fewer values than rows"),
        ("all values of the world", one(i64::MAX, &many), usize::MAX, "max_inflate_ratio"),
        ("pages without values", one(1, &nothing), 0, "max_inflate_ratio"),
        ("a column of many groups", shared, 0, "its columns are longer than it"),
        (
            "a column beyond the file",
            file(&plain, vec![group(3, 1 << 40, plain.len())]),
            0,
            "a header cannot be read",
        ),
        ("groups without columns", no_columns, 0, "does not fit the columns"),
    ] {
        let (sender, receiver) = mpsc::channel();
        std::thread::spawn(move || sender.send(lines(&file, LIMITS)));
        let (found, ended) = receiver.recv_timeout(SOON).unwrap_or_else(|error| panic!("{name}: {error}"));
        assert!(ended.contains(want), "{name}: {ended}");
        assert!(rows == usize::MAX || found.saturating_sub(1) == rows, "{name}: {found} lines");
    }
}

#[test]
fn a_footer_takes_room() {
    let plain = page(3, 0, PLAIN);
    let pages = plain.repeat(2_000);
    let groups = (0..2_000).map(|at| group(3, 4 + at * plain.len(), plain.len())).collect();
    let file = file(&pages, groups);
    for (name, max_page_bytes, rows, want) in
        [("enough", 1 << 20, 6_000, "the end"), ("too little", 256 << 10, 0, "max_page_bytes is 262144")]
    {
        let (found, ended) = lines(&file, Limits { max_page_bytes, ..LIMITS });
        assert!(ended.contains(want), "{name}: {ended}");
        assert_eq!(found.saturating_sub(1), rows, "{name}");
    }
}
