//! Flow logs in Parquet: files of another writer in all its forms, files that lie, and the same
//! rows as text and as Parquet through the binary.

mod write;

use std::io::{Cursor, Write as _};
use std::path::Path;

use parquet::basic::{Compression, Encoding};
use parquet::file::properties::WriterVersion;
use parquet::file::reader::{FileReader as _, SerializedFileReader};
use proptest::collection::vec;
use proptest::prelude::*;
use s3sweep::decode::inflate::{InflateError, InflateLimits};
use s3sweep::decode::parquet::{Limits, ParquetError, ParquetText};
use serde_json::Value;

use super::vpcflow::{Site, names};
use write::{Column, Form, write};

const LIMITS: Limits =
    Limits { max_page_bytes: 16 << 20, text: InflateLimits { max_object_bytes: 1 << 30, max_ratio: 1_000 } };

/// The text of a file, up to what ended it.
fn text(file: &[u8], limits: Limits) -> (String, Option<ParquetError>) {
    let mut text = Vec::new();
    let ended = match ParquetText::open(Cursor::new(file), limits) {
        Ok(mut parquet) => loop {
            match parquet.read(&mut text) {
                Ok(true) => {}
                Ok(false) => break None,
                Err(error) => break Some(error),
            }
        },
        Err(error) => Some(error),
    };
    (String::from_utf8(text).expect("UTF-8"), ended)
}

/// The text of a table of which no cell needs an escape.
fn expected(columns: &[Column]) -> String {
    let line = |cells: Vec<&str>| format!("{}\n", cells.join(" "));
    let row = |row: usize| line(columns.iter().map(|c| c.cells[row].as_deref().unwrap_or("-")).collect());
    let rows = (0..columns[0].cells.len()).map(row);
    std::iter::once(line(columns.iter().map(Column::name).collect())).chain(rows).collect()
}

/// Rows of all types: some columns repeat their values, some have many nulls or only nulls.
fn table(rows: usize) -> Vec<Column> {
    let mut random = fastrand::Rng::with_seed(7);
    let mut column =
        |declaration: &str, cell: &mut dyn FnMut(&mut fastrand::Rng, usize) -> Option<String>| {
            Column::new(declaration, (0..rows).map(|row| cell(&mut random, row)))
        };
    vec![
        column("REQUIRED INT32 version", &mut |_, _| Some("2".to_owned())),
        column("OPTIONAL BYTE_ARRAY srcaddr (UTF8)", &mut |random, _| {
            random.bool().then(|| format!("10.0.{}.{}", random.u8(..), random.u8(..)))
        }),
        column("REQUIRED BYTE_ARRAY interface_id (UTF8)", &mut |random, _| {
            Some(format!("eni-{:017x}", random.u64(..5)))
        }),
        column("OPTIONAL INT32 srcport", &mut |random, row| {
            (row % 100 < 50).then(|| random.u16(..).to_string())
        }),
        column("OPTIONAL INT64 bytes", &mut |random, _| Some(random.i64(..).to_string())),
        column("OPTIONAL INT64 start", &mut |random, row| {
            (random.u8(..) > 0).then(|| (1_780_272_000 + row).to_string())
        }),
        column("OPTIONAL BOOLEAN later_flag", &mut |random, _| {
            random.bool().then(|| random.bool().to_string())
        }),
        column("OPTIONAL FIXED_LEN_BYTE_ARRAY (4) later_id", &mut |random, _| {
            random.bool().then(|| format!("{:04x}", random.u16(..)))
        }),
        column("OPTIONAL BYTE_ARRAY reject_reason", &mut |_, _| None),
    ]
}

fn forms() -> Vec<Form> {
    let mut forms = Vec::new();
    for version in [WriterVersion::PARQUET_1_0, WriterVersion::PARQUET_2_0] {
        let gzip = Compression::GZIP(Default::default());
        for compression in [Compression::UNCOMPRESSED, gzip, Compression::SNAPPY] {
            for (dictionary, numbers, texts) in [
                (true, Encoding::PLAIN, Encoding::PLAIN),
                (false, Encoding::PLAIN, Encoding::PLAIN),
                (false, Encoding::DELTA_BINARY_PACKED, Encoding::DELTA_LENGTH_BYTE_ARRAY),
                (false, Encoding::DELTA_BINARY_PACKED, Encoding::DELTA_BYTE_ARRAY),
            ] {
                // the fixed column takes one of the encodings of texts only
                let texts_of_fixed = texts != Encoding::DELTA_LENGTH_BYTE_ARRAY;
                let form = Form { version, compression, dictionary, numbers, texts, ..Form::default() };
                forms.extend(texts_of_fixed.then(|| form.clone()));
                forms.push(Form { rows_per_page: 33, rows_per_group: 700, ..form });
            }
        }
    }
    forms
}

/// Without the column that this encoding of texts is not for.
fn fitting(mut columns: Vec<Column>, form: &Form) -> Vec<Column> {
    columns.retain(|column| {
        !column.declaration.contains("FIXED") || form.texts != Encoding::DELTA_LENGTH_BYTE_ARRAY
    });
    columns
}

#[test]
fn files_of_every_form_are_read() {
    for rows in [0, 1, 2_345] {
        for form in forms() {
            let columns = fitting(table(rows), &form);
            let (read, ended) = text(&write(&columns, &form), LIMITS);
            assert!(ended.is_none(), "{rows}, {form:?}: {ended:?}");
            assert!(read == expected(&columns), "{rows}, {form:?}: {:?}", read.lines().nth(1));
        }
    }
}

proptest! {
    #[test]
    fn any_integers_are_read(
        cells in vec(proptest::option::weighted(0.9, any::<i64>()), 1..300),
        few in vec(proptest::option::weighted(0.9, -3..3i32), 1..300),
        dictionary: bool,
        delta: bool,
        second: bool,
    ) {
        let rows = cells.len().min(few.len());
        let column = |name: &str, cells: Vec<Option<String>>| Column::new(name, cells.into_iter().take(rows));
        let columns = [
            column("OPTIONAL INT64 bytes", cells.iter().map(|cell| cell.map(|cell| cell.to_string())).collect()),
            column("OPTIONAL INT32 packets", few.iter().map(|cell| cell.map(|cell| cell.to_string())).collect()),
        ];
        let form = Form {
            dictionary,
            numbers: if delta { Encoding::DELTA_BINARY_PACKED } else { Encoding::PLAIN },
            version: if second { WriterVersion::PARQUET_2_0 } else { WriterVersion::PARQUET_1_0 },
            rows_per_page: 40,
            ..Form::default()
        };
        let (read, ended) = text(&write(&columns, &form), LIMITS);
        prop_assert!(ended.is_none(), "{:?}", ended);
        prop_assert_eq!(read, expected(&columns));
    }

    #[test]
    fn any_texts_are_one_cell(cells in vec(any::<String>(), 1..50)) {
        let columns = [Column::new("REQUIRED BYTE_ARRAY a (UTF8)", cells.iter().cloned().map(Some))];
        let (read, ended) = text(&write(&columns, &Form::default()), LIMITS);
        prop_assert!(ended.is_none());
        let lines: Vec<_> = read.strip_suffix('\n').expect("a line break").split('\n').skip(1).collect();
        prop_assert_eq!(lines.len(), cells.len());
        let parts = |letter: char| letter.is_ascii_control() || letter == ' ';
        for (line, cell) in lines.iter().zip(&cells) {
            prop_assert!(!line.is_empty() && !line.contains(parts), "{}", line);
            prop_assert!(cell.contains(parts) || cell.is_empty() || *line == cell, "{}", line);
        }
    }

    #[test]
    fn any_bytes_end(bytes in vec(any::<u8>(), 0..300), at in 0..1_000usize, form in 0..24usize) {
        let form = &forms()[form];
        let mut file = write(&fitting(table(40), form), form);
        let at = at * file.len() / 1_000;
        let end = file.len().min(at + bytes.len());
        file[at..end].copy_from_slice(&bytes[..end - at]);
        let _ = text(&file, LIMITS);
        let _ = text(&[b"PAR1", &bytes[..], b"PAR1"].concat(), LIMITS);
    }
}

#[test]
fn files_that_are_cut_or_flipped_end_in_whole_rows() {
    let forms = forms();
    for form in [&forms[0], &forms[9], &forms[20]] {
        let form = Form { rows_per_page: 16, ..form.clone() };
        let columns = fitting(table(40), &form);
        let (file, whole) = (write(&columns, &form), expected(&columns));
        for cut in 0..file.len() {
            let (read, ended) = text(&file[..cut], LIMITS);
            assert!(ended.is_some_and(|error| matches!(error, ParquetError::Damaged { .. })), "cut at {cut}");
            assert_eq!(read, "", "cut at {cut}: the footer is the last part");
        }
        let mut told = 0;
        for at in 0..file.len() {
            for flip in [0x01, 0xFF] {
                let mut file = file.clone();
                file[at] ^= flip;
                let (read, ended) = text(&file, LIMITS);
                assert!(read.is_empty() || read.ends_with('\n'), "{flip:x} at {at}");
                told += usize::from(ended.is_some());
                let columns = read
                    .lines()
                    .map(|line| line.split(' ').count())
                    .collect::<std::collections::BTreeSet<_>>();
                assert!(columns.len() <= 1, "{flip:x} at {at}: rows of {columns:?} columns");
            }
        }
        assert!(told > 100 && whole.len() > 100, "{told} of {} flips are told", 2 * file.len());
    }
}

#[test]
fn what_a_file_says_to_need_is_judged_before_it_is_taken() {
    let columns = table(5_000);
    let form = Form { rows_per_page: 5_000, ..Form::default() };
    let file = write(&columns, &form);
    let (read, ended) = text(&file, Limits { max_page_bytes: 20_000, ..LIMITS });
    assert_eq!(read.lines().count(), 1, "the header alone");
    assert!(ended.is_some_and(|error| error.to_string().contains("max_page_bytes is 20000")));

    // few bytes that say very many rows: one value in runs
    let many = [Column::new("REQUIRED INT32 version", (0..400_000).map(|_| Some("2".to_owned())))];
    let file = write(&many, &Form { rows_per_page: 400_000, rows_per_group: 400_000, ..Form::default() });
    let (read, ended) = text(&file, LIMITS);
    assert!(ended.is_none() && read.len() > 800_000, "{ended:?}");
    let steep = InflateLimits { max_ratio: 2, ..LIMITS.text };
    let many = [Column::new("REQUIRED BYTE_ARRAY a", (0..400_000).map(|_| Some("0123456789".to_owned())))];
    let file = write(&many, &Form { rows_per_page: 400_000, rows_per_group: 400_000, ..Form::default() });
    let (read, ended) = text(&file, Limits { text: steep, ..LIMITS });
    assert!(matches!(ended, Some(ParquetError::Text(InflateError::TooSteep { .. }))), "{ended:?}");
    assert!(read.len() < 2 << 20, "{}", read.len());
    let small = InflateLimits { max_object_bytes: 100_000, ..LIMITS.text };
    let (read, ended) = text(&file, Limits { text: small, ..LIMITS });
    assert!(
        matches!(ended, Some(ParquetError::Text(InflateError::TooLarge { limit: 100_000 }))),
        "{ended:?}"
    );
    assert!(read.len() < 200_000, "{}", read.len());
}

#[test]
fn what_flow_logs_do_not_have_is_refused_by_name() {
    let nested = "message flow { OPTIONAL group pkt { OPTIONAL INT32 srcport; } }";
    let lists = "message flow { REPEATED INT32 ports; }";
    let times = "message flow { REQUIRED INT96 start; }";
    for (schema, want) in [
        (nested, "the column \"pkt\" holds other columns"),
        (lists, "the column \"ports\" holds lists"),
        (times, "the column \"start\" is of a type that is not read"),
    ] {
        let schema = parquet::schema::parser::parse_message_type(schema).expect("a schema");
        let writer =
            parquet::file::writer::SerializedFileWriter::new(Vec::new(), schema.into(), Default::default());
        let file = writer.expect("a writer").into_inner().expect("written");
        let (read, ended) = text(&file, LIMITS);
        let ended = ended.expect("refused").to_string();
        assert!(read.is_empty() && ended.contains(want), "{ended}");
    }
}

#[test]
fn the_fixtures_are_what_another_reader_finds_in_them() {
    let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures");
    let manifest = std::fs::read(fixtures.join("vpcflow.json")).expect("the list of the fixtures");
    let manifest: Value = serde_json::from_slice(&manifest).expect("JSON");
    let keys = manifest["objects"].as_array().expect("a list").iter().filter_map(|row| row["key"].as_str());
    let mut seen = 0;
    for key in keys.filter(|key| key.ends_with(".parquet")) {
        let bytes = std::fs::read(fixtures.join("vpcflow").join(key)).expect("there");
        let (text, ended) = text(&bytes, LIMITS);
        let reader = SerializedFileReader::new(bytes::Bytes::from(bytes));
        let rows = reader.and_then(|reader| {
            reader
                .get_row_iter(None)?
                .map(|row| Ok(row?.get_column_iter().map(|(name, _)| name.clone()).collect::<Vec<_>>()))
                .collect::<Result<Vec<_>, parquet::errors::ParquetError>>()
        });
        match rows {
            Ok(rows) => {
                assert!(ended.is_none(), "{key}: {ended:?}");
                assert_eq!(text.lines().count(), rows.len() + 1, "{key}");
                assert_eq!(
                    text.lines().next().map(str::to_owned),
                    rows.first().map(|row| row.join(" ")),
                    "{key}"
                );
            }
            Err(_) => assert!(ended.is_some(), "{key}"),
        }
        seen += 1;
    }
    assert!(seen >= 2, "{seen} fixtures");
}

const HEADER: [&str; 14] = [
    "version",
    "account-id",
    "interface-id",
    "srcaddr",
    "dstaddr",
    "srcport",
    "dstport",
    "protocol",
    "packets",
    "bytes",
    "start",
    "end",
    "action",
    "log-status",
];

/// Rows of the default format, some of them without data.
fn rows(count: usize) -> Vec<Vec<String>> {
    let mut random = fastrand::Rng::with_seed(3);
    let row = |number: usize| {
        let nodata = number % 9 == 8;
        let mut row: Vec<_> = ["2", "111122223333", "eni-1", "10.0.0.1", "-"].map(str::to_owned).into();
        row[4] = format!("198.51.100.{}", random.u8(..));
        row.extend([random.u16(..).to_string(), "443".to_owned(), "6".to_owned()]);
        row.extend(
            [number + 1, (number + 1) * 120, 1_780_272_000 + number, 1_780_272_060 + number]
                .map(|n| n.to_string()),
        );
        row.extend(["ACCEPT".to_owned(), if nodata { "NODATA" } else { "OK" }.to_owned()]);
        if nodata {
            (3..10).chain([12]).for_each(|cell| row[cell] = "-".to_owned());
        }
        row
    };
    (0..count).map(row).collect()
}

/// The same as gzip text.
fn as_text(rows: &[Vec<String>]) -> Vec<u8> {
    let lines: String = rows.iter().map(|row| format!("{}\n", row.join(" "))).collect();
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(format!("{}\n{lines}", HEADER.join(" ")).as_bytes()).expect("written");
    encoder.finish().expect("written")
}

/// The same as Parquet, `numbers` of the ports as `INT32` or as strings.
fn as_parquet(rows: &[Vec<String>], ports: &str, form: &Form) -> Vec<u8> {
    let column = |(at, name): (usize, &&str)| {
        let name = name.replace('-', "_");
        let declared = match &*name {
            "srcport" | "dstport" => ports.to_owned(),
            "version" | "protocol" => "INT32".to_owned(),
            "packets" | "bytes" | "start" | "end" => "INT64".to_owned(),
            _ => "BYTE_ARRAY".to_owned(),
        };
        let cells = rows.iter().map(|row| Some(row[at].clone()).filter(|cell| cell != "-"));
        Column::new(&format!("OPTIONAL {declared} {name}"), cells)
    };
    write(&HEADER.iter().enumerate().map(column).collect::<Vec<_>>(), form)
}

/// The lines of a sink, without what differs between two objects of the same rows.
fn alike(lines: Vec<Value>) -> Vec<Value> {
    let strip = |mut line: Value| {
        let fields = line.as_object_mut().expect("an object");
        ["_id", "write_time", "s3"].iter().for_each(|name| drop(fields.remove(*name)));
        line
    };
    lines.into_iter().map(strip).collect()
}

const KEY: &str = "AWSLogs/111122223333/vpcflowlogs/us-east-1/2026/06/01/111122223333_vpcflowlogs_us-east-1_fl-1_20260601T0000Z_1";

#[test]
fn the_same_rows_are_the_same_lines_as_text_and_as_parquet() {
    let rows = rows(500);
    let swept = |ending: &str, object: &[u8]| {
        let site = Site::new();
        site.put(&format!("{KEY}{ending}"), object);
        let report = site.once("");
        assert_eq!(report["sources"][0]["objects"]["collected"], 1, "{report}");
        (
            alike(site.lines()),
            report["sources"][0]["records"].clone(),
            report["sources"][0]["dropped"].clone(),
        )
    };
    let (lines, records, dropped) = swept(".log.gz", &as_text(&rows));
    assert!(lines.len() > 400 && dropped.as_u64() > Some(50) && records.as_u64() == Some(lines.len() as u64));
    for ports in ["INT32", "INT64", "BYTE_ARRAY"] {
        let object = as_parquet(&rows, ports, &Form::default());
        let found = swept(".log.parquet", &object);
        assert!(
            found == (lines.clone(), records.clone(), dropped.clone()),
            "ports as {ports}: {:?}",
            found.0.first()
        );
    }
}

/// Bytes in all segments, open ones too.
fn written_bytes(site: &Site) -> u64 {
    let out = site.path().join("out");
    let length = |name: &String| std::fs::metadata(out.join(name)).map_or(0, |file| file.len());
    names(&out).iter().filter(|name| name.starts_with("s3sweep-")).map(length).sum()
}

#[test]
fn after_a_death_amid_an_object_its_rows_are_delivered_once() {
    let rows = rows(8_000);
    let object = as_parquet(&rows, "INT32", &Form { rows_per_group: 3_000, ..Form::default() });
    let whole = Site::new();
    whole.put(&format!("{KEY}.log.parquet"), &object);
    whole.once("");
    let want = alike(whole.lines());
    for hit in [3, 20, 40] {
        let site = Site::new();
        site.put(&format!("{KEY}.log.parquet"), &object);
        site.configure("");
        let died =
            site.command().env("S3SWEEP_FAILPOINT", format!("after-decode:{hit}")).output().expect("it runs");
        assert_eq!(died.status.code(), None, "{hit}: {}", String::from_utf8_lossy(&died.stderr));
        let before = written_bytes(&site);
        let report = site.once("");
        let records = report["sources"][0]["records"].as_u64().expect("a count");
        assert_eq!(alike(site.lines()), want, "{hit}");
        assert!(
            hit < 20 || (before > 0 && records < want.len() as u64),
            "{hit}: {records} after {before} bytes"
        );
        let left = names(&site.path().join("state"));
        assert!(left.iter().all(|name| !name.starts_with("spool")), "{hit}: {left:?}");
    }
}

#[test]
fn what_is_wrong_with_an_object_stands_in_the_report() {
    let object = as_parquet(&rows(2_000), "INT32", &Form { rows_per_group: 700, ..Form::default() });
    let large_pages = Form { rows_per_page: 12_000, rows_per_group: 12_000, ..Form::default() };
    let large = as_parquet(&rows(12_000), "INT32", &large_pages);
    let mut damaged = object.clone();
    let middle = object.len() / 2;
    damaged[middle..middle + 100].fill(0);
    for (name, object, settings, want) in [
        ("damage", &damaged[..], "", "the Parquet object is damaged"),
        ("a cut", &object[..middle], "", "does not end as a Parquet file does"),
        (
            "text",
            b"version srcaddr\n2 10.0.0.1\n",
            "file_type = \"parquet\"",
            "does not end as a Parquet file does",
        ),
        ("told to be text", &object, "file_type = \"text\"", "no header of flow log columns"),
        ("large pages", &large, "[limits]\nmax_page_bytes = \"64KiB\"", "max_page_bytes is 65536"),
        ("a large object", &object, "[limits]\nmax_object_bytes = \"1KiB\"", "raise max_object_bytes"),
    ] {
        let site = Site::new();
        site.put(&format!("{KEY}.log.parquet"), object);
        let report = site.once(settings);
        let source = &report["sources"][0];
        assert_eq!(source["objects"]["quarantined"], 1, "{name}: {report}");
        assert_eq!(source["failures"][0]["class"], "content", "{name}: {report}");
        let reason = source["failures"][0]["reason"].as_str().expect("a reason");
        assert!(reason.contains(want), "{name}: {reason}");
        assert_eq!(site.lines().len() as u64, source["records"].as_u64().expect("a count"), "{name}");
    }
}
