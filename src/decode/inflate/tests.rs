use super::*;
use std::io::Write;
use tokio::io::{AsyncReadExt, BufReader};

const LIMITS: InflateLimits = InflateLimits { max_object_bytes: 1 << 30, max_ratio: 2_000 };

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

/// Reads it all through source buffers of `buffer` bytes.
async fn read(
    stored: &[u8],
    file_type: FileType,
    limits: InflateLimits,
    buffer: usize,
) -> (Vec<u8>, Option<io::Error>, (u64, u64)) {
    let mut inflate = reader(BufReader::with_capacity(buffer, stored), file_type, limits);
    let mut bytes = Vec::new();
    let mut piece = vec![0; 10_000];
    let error = loop {
        match inflate.read(&mut piece).await {
            Ok(0) => break None,
            Ok(read) => bytes.extend_from_slice(&piece[..read]),
            Err(error) => break Some(error),
        }
    };
    (bytes, error, (inflate.stored_bytes(), inflate.inflated_bytes()))
}

#[tokio::test]
async fn objects_are_inflated() {
    let text = b"{\"Records\":[]}".repeat(5_000);
    let zipped = gzip(&text);
    let members = [gzip(&text[..7]), gzip(b""), gzip(&text[7..])].concat();
    for (name, stored, file_type, want) in [
        ("gzip by itself", &zipped[..], FileType::Auto, &text[..]),
        ("gzip told", &zipped, FileType::Gzip, &text),
        ("gzip taken as text", &zipped, FileType::Text, &zipped),
        ("text by itself", &text, FileType::Auto, &text),
        ("text told", &text, FileType::Text, &text),
        ("three members", &members, FileType::Auto, &text),
        ("nothing", b"", FileType::Auto, b""),
        ("nothing, gzip told", b"", FileType::Gzip, b""),
        ("nothing, text told", b"", FileType::Text, b""),
        ("gzip of nothing", &gzip(b""), FileType::Auto, b""),
        ("one byte", b"\x1f", FileType::Auto, b"\x1f"),
        ("half the magic", b"\x1f\x8a", FileType::Auto, b"\x1f\x8a"),
        ("Parquet as it is", b"PAR1....PAR1", FileType::Auto, b"PAR1....PAR1"),
        ("Parquet told", b"....", FileType::Parquet, b"...."),
    ] {
        for buffer in [1, 2, 3, 8_192] {
            let (bytes, error, counts) = read(stored, file_type, LIMITS, buffer).await;
            assert!(error.is_none(), "{name}, buffer {buffer}: {error:?}");
            assert!(bytes == want, "{name}, buffer {buffer}");
            assert_eq!(counts, (stored.len() as u64, want.len() as u64), "{name}, buffer {buffer}");
        }
    }
}

#[tokio::test]
async fn the_first_bytes_tell_the_form() {
    for (name, stored, file_type, want) in [
        ("gzip", &gzip(b"x")[..], FileType::Auto, Form::Gzip),
        ("Parquet", b"PAR1\x15", FileType::Auto, Form::Parquet),
        ("Parquet told to be text", b"PAR1\x15", FileType::Text, Form::Text),
        ("Parquet told to be gzip", b"PAR1\x15", FileType::Gzip, Form::Gzip),
        ("text told to be Parquet", b"version", FileType::Parquet, Form::Parquet),
        ("nothing told to be Parquet", b"", FileType::Parquet, Form::Text),
        ("a part of the magic", b"PAR", FileType::Auto, Form::Text),
        ("text", b"PART of a text", FileType::Auto, Form::Text),
    ] {
        for buffer in [1, 8_192] {
            let mut inflate = reader(BufReader::with_capacity(buffer, stored), file_type, LIMITS);
            assert_eq!(inflate.form().await.unwrap(), want, "{name}, buffer {buffer}");
        }
    }
}

#[tokio::test]
async fn damage_is_told_after_the_bytes_before_it() {
    let text = b"0123456789".repeat(3_000);
    let zipped = gzip(&text);
    let end = zipped.len();
    let mut wrong_sum = zipped.clone();
    wrong_sum[end - 8] ^= 1;
    let mut wrong_length = zipped.clone();
    wrong_length[end - 1] ^= 1;
    for (name, stored, whole, cut) in [
        ("no trailer", zipped[..end - 8].to_vec(), true, true),
        ("half a trailer", zipped[..end - 3].to_vec(), true, true),
        ("wrong checksum", wrong_sum, true, false),
        ("wrong length", wrong_length, true, false),
        ("garbage behind", [&zipped[..], b"garbage"].concat(), true, false),
        ("half a header behind", [&zipped[..], &zipped[..6]].concat(), true, true),
        ("half a header", zipped[..7].to_vec(), false, true),
        ("the magic alone", zipped[..2].to_vec(), false, true),
        ("half the data", zipped[..end / 2].to_vec(), false, true),
        ("no deflate", b"\x1f\x8b\x08\0\0\0\0\0\0\xff\xff\xff\xff\xff\xff".to_vec(), false, false),
    ] {
        for buffer in [1, 8_192] {
            let (bytes, error, _) = read(&stored, FileType::Auto, LIMITS, buffer).await;
            let error = error.unwrap_or_else(|| panic!("{name}: no error"));
            let error = InflateError::of(&error).unwrap_or_else(|| panic!("{name}: {error:?}"));
            assert!(error.is_damage(), "{name}: {error}");
            assert_eq!(matches!(error, InflateError::Cut { .. }), cut, "{name}: {error}");
            assert!(text.starts_with(&bytes), "{name}");
            assert_eq!(bytes.len() == text.len(), whole, "{name}");
        }
    }
    let (_, error, _) = read(b"text", FileType::Gzip, LIMITS, 64).await;
    assert!(InflateError::of(&error.unwrap()).unwrap().is_damage());
}

#[tokio::test]
async fn all_that_lies_before_a_damaged_byte_comes_out_byte_by_byte() {
    // stored blocks, of which the third has a length that does not fit
    let block = |text: &[u8]| {
        let length = text.len() as u16;
        [&[0][..], &length.to_le_bytes(), &(!length).to_le_bytes(), text].concat()
    };
    let texts = [b"0123456789".repeat(5), b"abcdefghij".repeat(2_000)];
    let mut stored = b"\x1f\x8b\x08\0\0\0\0\0\0\xff".to_vec();
    stored.extend(texts.iter().flat_map(|text| block(text)));
    stored.extend_from_slice(&[0, 1, 0, 1, 0]);
    for buffer in [1, 7, 8_192, 1 << 20] {
        for asked in [1, 10_000, 1 << 20] {
            let source = BufReader::with_capacity(buffer, &stored[..]);
            let mut inflate = reader(source, FileType::Auto, LIMITS).byte_by_byte();
            let (mut bytes, mut piece) = (Vec::new(), vec![0; asked]);
            let error = loop {
                match inflate.read(&mut piece).await {
                    Ok(0) => panic!("damage is no end"),
                    Ok(read) => bytes.extend_from_slice(&piece[..read]),
                    Err(error) => break error,
                }
            };
            assert!(bytes == texts.concat(), "{buffer}, {asked}: {} bytes", bytes.len());
            let inflated = bytes.len() as u64;
            match InflateError::of(&error) {
                Some(InflateError::Damaged { inflated: told, .. }) => assert_eq!(*told, inflated),
                other => panic!("{buffer}, {asked}: {other:?}"),
            }
            assert_eq!(inflate.inflated_bytes(), inflated);
        }
    }
}

/// Bytes that do not deflate.
fn noise(count: usize) -> Vec<u8> {
    let mut random = fastrand::Rng::with_seed(1);
    std::iter::repeat_with(|| random.u8(..)).take(count).collect()
}

#[tokio::test]
async fn byte_by_byte_each_byte_costs_a_small_part_of_the_buffer() {
    const UNTOUCHED: u8 = 0xAA;
    let text = noise(200_000);
    let stored = gzip(&text);
    let mut inflate = reader(&stored[..], FileType::Auto, LIMITS).byte_by_byte();
    let mut buffer = vec![UNTOUCHED; 1 << 20];
    let (mut bytes, mut before) = (Vec::new(), 0);
    loop {
        let read = inflate.read(&mut buffer).await.unwrap();
        let behind = &buffer[read + SLICE..];
        let touched = behind.iter().filter(|byte| **byte != UNTOUCHED).count();
        assert_eq!(touched, 0, "bytes that were handed to the decoder, and not filled");
        assert!(inflate.stored_bytes() - before <= PAUSE as u64 + 4, "a stop is heeded now and then");
        before = inflate.stored_bytes();
        if read == 0 {
            break;
        }
        bytes.extend_from_slice(&buffer[..read]);
        buffer.fill(UNTOUCHED);
    }
    assert!(bytes == text);
}

#[tokio::test]
async fn each_piece_costs_a_part_of_a_large_buffer() {
    const UNTOUCHED: u8 = 0xAA;
    let text = b"0123456789".repeat(100_000);
    let stored = gzip(&text);
    let mut inflate = reader(BufReader::with_capacity(100, &stored[..]), FileType::Auto, LIMITS);
    let (mut bytes, mut buffer) = (Vec::new(), vec![UNTOUCHED; 4 << 20]);
    loop {
        let read = inflate.read(&mut buffer).await.unwrap();
        let touched = buffer.iter().skip(LARGE_SLICE).filter(|byte| **byte != UNTOUCHED).count();
        assert_eq!(touched, 0, "bytes that were handed to the decoder");
        if read == 0 {
            break;
        }
        bytes.extend_from_slice(&buffer[..read]);
        buffer.fill(UNTOUCHED);
    }
    assert!(bytes == text);
}

#[test]
fn byte_by_byte_a_stop_is_heeded_where_nothing_comes_out() {
    // stored blocks of no bytes
    let mut stored = b"\x1f\x8b\x08\0\0\0\0\0\0\xff".to_vec();
    (0..40_000).for_each(|_| stored.extend_from_slice(&[0, 0, 0, 0xff, 0xff]));
    let mut inflate = reader(&stored[..], FileType::Auto, LIMITS).byte_by_byte();
    let (mut pauses, mut buffer) = (0, [0; 10]);
    loop {
        let mut context = Context::from_waker(std::task::Waker::noop());
        let before = inflate.stored_bytes();
        let read = Pin::new(&mut inflate).poll_read(&mut context, &mut ReadBuf::new(&mut buffer));
        assert!(inflate.stored_bytes() - before <= PAUSE as u64 + 4);
        match read {
            Poll::Pending => pauses += 1,
            Poll::Ready(read) => {
                let error = read.unwrap_err();
                assert!(
                    matches!(InflateError::of(&error), Some(InflateError::Cut { inflated: 0 })),
                    "{error}"
                );
                break;
            }
        }
    }
    assert_eq!(pauses, stored.len() / PAUSE);
}

#[tokio::test]
async fn limits_hold() {
    let text = b"0123456789".repeat(1_000);
    let zeros = vec![0; 4 << 20];
    let object = |max_object_bytes| InflateLimits { max_object_bytes, ..LIMITS };
    let ratio = |max_ratio| InflateLimits { max_ratio, ..LIMITS };
    for (name, stored, limits, read_before, broken) in [
        ("exactly as large", gzip(&text), object(10_000), Some(10_000), false),
        ("one too large", gzip(&text), object(9_999), Some(9_999), true),
        ("text too large", text.clone(), object(5), Some(5), true),
        ("text exactly as large", text.clone(), object(10_000), Some(10_000), false),
        ("nothing allowed, nothing there", gzip(b""), object(0), Some(0), false),
        ("too steep", gzip(&zeros), ratio(100), None, true),
        ("steep enough", gzip(&zeros), ratio(2_000), Some(zeros.len()), false),
        ("steep but small", gzip(&zeros[..1 << 20]), ratio(1), Some(1 << 20), false),
    ] {
        let (bytes, error, _) = read(&stored, FileType::Auto, limits, 512).await;
        assert_eq!(error.is_some(), broken, "{name}: {error:?}");
        if let Some(read_before) = read_before {
            assert_eq!(bytes.len(), read_before, "{name}");
        }
        if let Some(error) = error {
            assert!(!InflateError::of(&error).unwrap().is_damage(), "{name}");
            assert!(bytes.len() < 2 << 20, "{name}: {} bytes came out", bytes.len());
        }
    }
}

#[tokio::test]
async fn an_error_of_the_source_comes_through() {
    #[derive(Debug, thiserror::Error)]
    #[error("connection reset")]
    struct Reset;
    let text = b"0123456789".repeat(5_000);
    let zipped = gzip(&text);
    for (name, before) in
        [("at once", 0), ("in the magic", 1), ("in the data", zipped.len() / 2), ("at the end", zipped.len())]
    {
        for kind in [io::ErrorKind::UnexpectedEof, io::ErrorKind::Other] {
            let chunks =
                [Ok(bytes::Bytes::copy_from_slice(&zipped[..before])), Err(io::Error::new(kind, Reset))];
            let source = tokio_util::io::StreamReader::new(futures_util::stream::iter(chunks));
            let mut inflate = reader(source, FileType::Auto, LIMITS);
            let mut bytes = Vec::new();
            let error = inflate.read_to_end(&mut bytes).await.unwrap_err();
            assert_eq!(bytes.len() as u64, inflate.inflated_bytes(), "{name}");
            assert_eq!(bytes.len() == text.len(), before == zipped.len(), "{name}");
            assert!(InflateError::of(&error).is_none(), "{name}: {error}");
            assert!(error.get_ref().is_some_and(|inner| inner.is::<Reset>()), "{name}: {error}");
            let again = inflate.read(&mut [0; 8]).await.unwrap_err();
            assert!(InflateError::of(&again).is_none(), "{name}: {again}");
        }
    }
}

#[tokio::test]
async fn after_an_error_every_read_fails() {
    let mut inflate = reader(&b"\x1f\x8bgarbage"[..], FileType::Auto, LIMITS);
    let first = inflate.read(&mut [0; 8]).await.unwrap_err();
    let second = inflate.read(&mut [0; 8]).await.unwrap_err();
    assert_eq!(InflateError::of(&first), InflateError::of(&second));
}
