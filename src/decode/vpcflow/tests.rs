use super::super::testing::{Item, for_each_record, split_all, split_in_chunks};
use super::*;
use crate::record::vpcflow::{ACTION, DSTPORT, SRCADDR, VERSION};

const HEADER: &str = "version account-id interface-id srcaddr dstaddr srcport dstport protocol packets bytes \
                      start end action log-status";
const ROW: &str =
    "2 123456789010 eni-1 172.31.16.139 172.31.16.21 20641 22 6 20 4249 1418530010 1418530070 ACCEPT OK";
const NODATA: &str = "2 123456789010 eni-1 - - - - - - - 1431280876 1431280934 - NODATA";
const SKIPDATA: &str = "2 123456789010 eni-1 - - - - - - - 1431280876 1431280934 - SKIPDATA";

fn decoder(max_record_bytes: usize) -> VpcFlowDecoder {
    VpcFlowDecoder::new(&DecodeSettings { max_record_bytes, ..Default::default() })
}

/// `r` a record, `d` a dropped one, `m` a malformed one.
fn shape(split: &super::super::testing::Split) -> String {
    let letter = |item: &Item| match item {
        Item::Record(_) => 'r',
        Item::Dropped => 'd',
        Item::Malformed(..) => 'm',
    };
    split.items.iter().map(|(item, _)| letter(item)).collect()
}

#[test]
fn rows_are_found() {
    let short = "srcaddr log-status";
    for (name, object, want) in [
        ("no byte", String::new(), ""),
        ("header only", HEADER.to_owned(), ""),
        ("header and its line break", format!("{HEADER}\n"), ""),
        ("one row", format!("{HEADER}\n{ROW}\n"), "r"),
        ("no line break at the end", format!("{HEADER}\n{ROW}\n{ROW}"), "rr"),
        ("dropped ones count", format!("{HEADER}\n{ROW}\n{NODATA}\n{SKIPDATA}\n{ROW}\n"), "rddr"),
        ("carriage returns", format!("{HEADER}\r\n{ROW}\r\n{NODATA}\r\n"), "rd"),
        ("empty lines", format!("\n{HEADER}\n\n{ROW}\n\r\n\n{ROW}\n\n"), "rr"),
        ("byte order mark", format!("\u{feff}{HEADER}\n{ROW}\n"), "r"),
        (
            "marks of two objects put together",
            format!("\u{feff}{HEADER}\n{ROW}\n\u{feff}{HEADER}\n{ROW}"),
            "rr",
        ),
        ("blanks around the header", format!("  {HEADER} \t\r\n{ROW}\n {HEADER}\n{ROW}\n"), "rr"),
        ("blanks within the header", format!("{}\n{ROW}\n", HEADER.replace(' ', "  ")), "r"),
        ("a blank after the row", format!("{HEADER} \n{ROW} \r\n{NODATA} \n"), "rd"),
        ("a blank for the last cell", "srcaddr vpc-id\n10.0.0.1 \n10.0.0.2 vpc-1 \n".to_owned(), "rr"),
        ("a line of blanks", format!("{HEADER}\n  \n{ROW}\n"), "r"),
        ("two objects put together", format!("{HEADER}\n{ROW}\n{HEADER}\n{ROW}\n"), "rr"),
        ("a column too few", format!("{HEADER}\n{ROW}\n{}\n{ROW}\n", &ROW[2..]), "rmr"),
        ("a column too many", format!("{HEADER}\n{ROW} x\n"), "m"),
        ("a dropped one with a column too many", format!("{HEADER}\n{NODATA} x\n"), "m"),
        ("another header", format!("{HEADER}\n{ROW}\n{short}\n10.0.0.1 OK\n"), "rmm"),
        ("no log status", format!("srcaddr\n10.0.0.1\n-\nNODATA\n{}", ""), "rrr"),
        ("NODATA in another column", format!("{short}\nNODATA OK\n"), "r"),
        ("a status of its own", format!("{short}\n10.0.0.1 NEW\n10.0.0.1 -\n"), "rr"),
    ] {
        let split = split_all(&mut decoder(1 << 20), object.as_bytes());
        assert_eq!((shape(&split).as_str(), split.damage), (want, None), "{name}");
        let bytes = split_in_chunks(&mut decoder(1 << 20), object.as_bytes(), std::iter::repeat(1));
        assert_eq!(shape(&bytes), want, "{name}, byte by byte");
    }
}

#[test]
fn rows_without_data_are_kept_when_asked_for() {
    let settings = DecodeSettings { keep_nodata: true, ..Default::default() };
    let object = format!("{HEADER}\n{NODATA}\n{ROW}\n{SKIPDATA}\n");
    let split = split_all(&mut VpcFlowDecoder::new(&settings), object.as_bytes());
    assert_eq!(split.records(), [NODATA, ROW, SKIPDATA].map(str::as_bytes));
}

#[test]
fn fields_are_found_by_their_columns() {
    for (name, object, want) in [
        (
            "default format",
            format!("{HEADER}\n{ROW}"),
            [Some("172.31.16.139"), Some("22"), Some("ACCEPT"), Some("2")],
        ),
        (
            "any order, with columns of others",
            "new-column action dstport srcaddr\nx REJECT 443 2001:db8::1\n".to_owned(),
            [Some("2001:db8::1"), Some("443"), Some("REJECT"), None],
        ),
        ("underscores", "log_status version srcaddr\nOK 5 -".to_owned(), [None, None, None, Some("5")]),
        ("one column", "dstport\n0\n".to_owned(), [None, Some("0"), None, None]),
        (
            "a mark and blanks around the header",
            "\u{feff} version dstport srcaddr \r\n5 443 10.0.0.1 \r\n".to_owned(),
            [Some("10.0.0.1"), Some("443"), None, Some("5")],
        ),
        (
            "two blanks enclose an empty cell",
            "version srcaddr dstport\n2  7\n".to_owned(),
            [None, Some("7"), None, Some("2")],
        ),
    ] {
        let mut seen = 0;
        for_each_record(&mut decoder(1 << 20), object.as_bytes(), |record| {
            let text = |field| record.get(field).map(|value| std::str::from_utf8(value).unwrap());
            assert_eq!([SRCADDR, DSTPORT, ACTION, VERSION].map(text), want, "{name}");
            seen += 1;
        })
        .unwrap();
        assert_eq!(seen, 1, "{name}");
    }
}

#[test]
fn what_begins_with_no_header_is_damaged() {
    let long = format!("version {}", "x".repeat(100));
    for (name, object, want) in [
        ("a row", ROW.to_owned(), "it names no known column"),
        ("JSON", "{\"a\":1}".to_owned(), "is no name of a column"),
        ("names of another log", "date time x-edge-location\n".to_owned(), "it names no known column"),
        ("a column twice", "version srcaddr version\n".to_owned(), "the column \"version\" stands twice"),
        ("Parquet", "PAR1\u{15}\u{4}\u{15}\n".to_owned(), "is no name of a column"),
        ("a long line", long, "too long for a header"),
    ] {
        let split = split_all(&mut decoder(100), object.as_bytes());
        let damage = split.damage.unwrap();
        assert!(damage.reason.contains(want), "{name}: {damage}");
        assert_eq!((damage.offset, split.items.len()), (0, 0), "{name}");
    }
    let split = split_all(&mut decoder(100), b"version \xFF\n");
    assert!(split.damage.unwrap().reason.contains("UTF-8"));
}

#[test]
fn damage_stays() {
    let mut decoder = decoder(100);
    assert!(decoder.next(b"1 2 3\n", false).is_err());
    assert!(decoder.next(b"version srcaddr\n", false).is_err());
}

#[test]
fn rows_that_cannot_be_used_are_malformed() {
    let mut bad = format!("{HEADER}\n{ROW}\n").into_bytes();
    let at = bad.len() - 5;
    bad[at] = 0xFF;
    let split = split_all(&mut decoder(1 << 20), &bad);
    assert_eq!(split.reasons(), [format!("not valid UTF-8 at byte {} of the row", ROW.len() - 4)]);

    let object = format!("srcaddr\n{}\n10.0.0.1\n{}", "x".repeat(101), "y".repeat(250));
    for longest in [1, 7, 64, 1000] {
        let split = split_in_chunks(&mut decoder(100), object.as_bytes(), std::iter::repeat(longest));
        assert_eq!(split.records(), [b"10.0.0.1"], "windows that grow by {longest}");
        assert_eq!(
            split.reasons(),
            ["a row of 101 bytes, max_record_bytes is 100", "a row of 250 bytes, max_record_bytes is 100"]
        );
    }
    let longest = format!("srcaddr\n{}\n", "x".repeat(100));
    assert_eq!(shape(&split_all(&mut decoder(100), longest.as_bytes())), "r", "exactly as long as allowed");
    let bytes = split_in_chunks(&mut decoder(100), longest.as_bytes(), std::iter::repeat(1));
    assert_eq!(shape(&bytes), "r", "exactly as long as allowed, byte by byte");
}

#[test]
fn blanks_are_found_wherever_they_are() {
    for length in 0..40 {
        for at in 0..length {
            let mut row = vec![0xA0; length];
            row[at] = b' ';
            row[length - 1] = b' ';
            let mut found = Vec::new();
            each_blank(&row, |at| found.push(at));
            let want: Vec<_> = (0..length).filter(|at| row[*at] == b' ').collect();
            assert_eq!(found, want);
        }
    }
}
