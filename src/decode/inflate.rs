//! Inflates the body of one object, within limits, and tells what form it has.
//!
//! In: the object's stored bytes as they arrive. Out: its inflated bytes, all gzip members
//! behind each other; Parquet as it is stored, to be read as a file. An error that comes up through the source is handed on as it is; damage in
//! the gzip stream and a broken limit are an [`InflateError`]. What was read before an error is
//! sound as far as gzip can tell: checksums stand at the end of a member. How much of it comes
//! out before damage is up to how the bytes arrive, but for [`Inflate::byte_by_byte`].

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use async_compression::tokio::bufread::GzipDecoder;
use tokio::io::{AsyncBufRead, AsyncRead, ReadBuf};

/// The first two bytes of every gzip member (RFC 1952, 2.3.1).
const GZIP_MAGIC: [u8; 2] = [0x1f, 0x8b];
/// The first and the last bytes of every Parquet file.
const PARQUET_MAGIC: [u8; 4] = *b"PAR1";

/// The ratio is judged above this many inflated bytes, so that small objects never break it.
pub const RATIO_JUDGED_ABOVE: u64 = 1024 * 1024;

/// How an object is stored.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum FileType {
    /// gzip or Parquet when it begins with the magic bytes of that, else text.
    #[default]
    Auto,
    /// gzip; anything else is damage.
    Gzip,
    /// As it is.
    Text,
    /// Parquet; anything else is damage.
    Parquet,
}

/// What an object is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// gzip.
    Gzip,
    /// Text as it is; no bytes at all are that too.
    Text,
    /// Parquet: its bytes are handed out as they are, and are to be read as a file.
    Parquet,
}

/// How far an object may inflate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InflateLimits {
    /// Most inflated bytes of one object.
    pub max_object_bytes: u64,
    /// Most inflated bytes per stored byte, judged above 1 MiB.
    pub max_ratio: u64,
}

/// Why an object cannot be inflated any further.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InflateError {
    /// The gzip stream is damaged: a bad header, bad data, a wrong checksum, or bytes after the
    /// last member that begin no other one.
    #[error("gzip stream is damaged after {inflated} inflated bytes: {reason}")]
    Damaged {
        /// What the inflater says, a fragment.
        reason: String,
        /// Inflated bytes before it.
        inflated: u64,
    },
    /// The gzip stream ends before its last member does.
    #[error("gzip stream ends inside a member, after {inflated} inflated bytes")]
    Cut {
        /// Inflated bytes before it.
        inflated: u64,
    },
    /// The object has more inflated bytes than allowed.
    #[error("object inflates to more than {limit} bytes: raise max_object_bytes if it may be that large")]
    TooLarge {
        /// The limit.
        limit: u64,
    },
    /// The object inflates more than allowed.
    #[error(
        "object inflates to {inflated} bytes from {stored}, more than {limit} times as many: raise \
         max_inflate_ratio if that is sound"
    )]
    TooSteep {
        /// The limit.
        limit: u64,
        /// Inflated bytes so far.
        inflated: u64,
        /// Stored bytes that they came from.
        stored: u64,
    },
}

impl InflateError {
    /// Whether the stored bytes are damaged, so that another GET may bring better ones.
    pub fn is_damage(&self) -> bool {
        match self {
            InflateError::Damaged { .. } | InflateError::Cut { .. } => true,
            InflateError::TooLarge { .. } | InflateError::TooSteep { .. } => false,
        }
    }

    /// The inflate error that a read of [`Inflate`] failed with; `None` when the error came from
    /// the source.
    pub fn of(error: &io::Error) -> Option<&Self> {
        error.get_ref()?.downcast_ref()
    }
}

/// Inflates what `source` yields. No stored bytes at all are no inflated bytes, as gzip too.
pub fn reader<R: AsyncBufRead + Send + Unpin>(
    source: R,
    file_type: FileType,
    limits: InflateLimits,
) -> Inflate<R> {
    #[allow(clippy::disallowed_methods, reason = "the one place, with all members")]
    let mut decoder = GzipDecoder::new(Source::new(source));
    decoder.multiple_members(true);
    let form = (file_type == FileType::Text).then_some(Form::Text);
    Inflate { decoder, file_type, form, limits, inflated: 0, error: None, source_error: None }
}

/// The inflated bytes of one object, an [`AsyncRead`]. After an error every read fails.
#[derive(Debug)]
pub struct Inflate<R> {
    /// Text and Parquet are read from the decoder's source, past the decoder.
    decoder: GzipDecoder<Source<R>>,
    file_type: FileType,
    /// `None` until the first bytes have told.
    form: Option<Form>,
    limits: InflateLimits,
    inflated: u64,
    error: Option<InflateError>,
    /// An error of the source that waits until the bytes before it are handed out.
    source_error: Option<io::Error>,
}

impl<R: AsyncBufRead + Unpin> Inflate<R> {
    /// Hands the stored bytes to the inflater one at a time: slow, for an object known to be
    /// damaged. An inflater that meets damage loses what it made of the same piece of input, so
    /// all that lies before the damaged byte comes out only where that byte stands alone.
    pub fn byte_by_byte(mut self) -> Self {
        self.decoder.get_mut().piece = 1;
        self
    }

    /// What the object is, by its first bytes or as was told.
    ///
    /// # Errors
    ///
    /// Those of the source. Cancel safe.
    pub async fn form(&mut self) -> io::Result<Form> {
        std::future::poll_fn(|cx| self.poll_form(cx)).await
    }

    /// Stored bytes read so far.
    pub fn stored_bytes(&self) -> u64 {
        self.decoder.get_ref().read
    }

    /// Inflated bytes handed out so far.
    pub fn inflated_bytes(&self) -> u64 {
        self.inflated
    }

    /// Learns from the first bytes what the object is.
    fn poll_form(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<Form>> {
        if let Some(form) = self.form {
            return Poll::Ready(Ok(form));
        }
        let first = ready!(self.decoder.get_mut().poll_first(cx))?;
        let form = match self.file_type {
            // An empty object, which is no gzip stream, reads as empty text.
            _ if first.is_empty() => Form::Text,
            FileType::Gzip => Form::Gzip,
            FileType::Parquet => Form::Parquet,
            FileType::Auto if first.starts_with(&GZIP_MAGIC) => Form::Gzip,
            FileType::Auto if first == PARQUET_MAGIC => Form::Parquet,
            FileType::Auto | FileType::Text => Form::Text,
        };
        self.form = Some(form);
        Poll::Ready(Ok(form))
    }

    /// Reads into `buf`, no limit judged.
    fn poll_inner(&mut self, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if let Some(error) = self.source_error.take() {
            return Poll::Ready(Err(error));
        }
        let form = ready!(self.poll_form(cx))?;
        let before = buf.filled().len();
        let read = match form {
            Form::Gzip => ready!(self.poll_gzip(cx, buf)),
            Form::Text | Form::Parquet => ready!(self.decoder.get_mut().poll_copy(cx, buf)),
        };
        let written = (buf.filled().len() - before) as u64;
        Poll::Ready(match read {
            // The decoder fails at once when its source or the stream does, though it wrote bytes
            // before: these are handed out, the next read fails.
            Err(error) if self.decoder.get_ref().failed && written > 0 => {
                self.source_error = Some(error);
                Ok(())
            }
            Err(error) if !self.decoder.get_ref().failed => {
                let error = self.fail(damage(&error, self.inflated + written));
                if written > 0 { Ok(()) } else { Err(error) }
            }
            read => read,
        })
    }

    /// One read of the decoder, or as many as fill `buf` where each takes a single byte.
    fn poll_gzip(&mut self, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let first = buf.filled().len();
        loop {
            let before = buf.filled().len();
            match Pin::new(&mut self.decoder).poll_read(cx, buf) {
                Poll::Pending if before > first => return Poll::Ready(Ok(())),
                Poll::Ready(Ok(()))
                    if self.decoder.get_ref().piece == 1
                        && buf.filled().len() > before
                        && buf.remaining() > 0 => {}
                read => return read,
            }
        }
    }

    fn fail(&mut self, error: InflateError) -> io::Error {
        self.error = Some(error.clone());
        io::Error::new(io::ErrorKind::InvalidData, error)
    }

    /// Reads the last bytes that the limit allows, and then fails if there are more.
    fn poll_last(&mut self, left: u64, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if left == 0 {
            let mut probe = [0];
            let mut probe = ReadBuf::new(&mut probe);
            ready!(self.poll_inner(cx, &mut probe))?;
            if probe.filled().is_empty() {
                return Poll::Ready(Ok(()));
            }
            let limit = self.limits.max_object_bytes;
            return Poll::Ready(Err(self.fail(InflateError::TooLarge { limit })));
        }
        let allowed = usize::try_from(left).unwrap_or(usize::MAX).min(buf.remaining());
        let mut part = ReadBuf::new(buf.initialize_unfilled_to(allowed));
        ready!(self.poll_inner(cx, &mut part))?;
        let read = part.filled().len();
        buf.advance(read);
        Poll::Ready(Ok(()))
    }
}

impl<R: AsyncBufRead + Send + Unpin> AsyncRead for Inflate<R> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = &mut *self;
        if let Some(error) = &this.error {
            return Poll::Ready(Err(io::Error::new(io::ErrorKind::InvalidData, error.clone())));
        }
        if buf.remaining() == 0 {
            return Poll::Ready(Ok(()));
        }
        let before = buf.filled().len();
        let left = this.limits.max_object_bytes.saturating_sub(this.inflated);
        if left < buf.remaining() as u64 {
            ready!(this.poll_last(left, cx, buf))?;
        } else {
            ready!(this.poll_inner(cx, buf))?;
        }
        this.inflated += (buf.filled().len() - before) as u64;
        let (inflated, stored, limit) = (this.inflated, this.stored_bytes(), this.limits.max_ratio);
        if inflated > RATIO_JUDGED_ABOVE && inflated > limit.saturating_mul(stored) {
            // These bytes are handed out; the next read fails.
            this.error = Some(InflateError::TooSteep { limit, inflated, stored });
        }
        Poll::Ready(Ok(()))
    }
}

fn damage(error: &io::Error, inflated: u64) -> InflateError {
    match error.kind() {
        io::ErrorKind::UnexpectedEof => InflateError::Cut { inflated },
        _ => InflateError::Damaged { reason: error.to_string(), inflated },
    }
}

/// The stored bytes: counts them, keeps the first four, and remembers whether it failed.
#[derive(Debug)]
struct Source<R> {
    inner: R,
    first: [u8; 4],
    /// How many of `first` were taken from `inner`, and how many were handed on.
    taken: usize,
    handed_on: usize,
    read: u64,
    failed: bool,
    /// Most bytes at hand at a time.
    piece: usize,
}

impl<R: AsyncBufRead + Unpin> Source<R> {
    fn new(inner: R) -> Self {
        Source { inner, first: [0; 4], taken: 0, handed_on: 0, read: 0, failed: false, piece: usize::MAX }
    }

    fn poll_inner(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<&[u8]>> {
        if self.failed {
            return Poll::Ready(Err(io::Error::other("read on after the object's body failed")));
        }
        let filled = ready!(Pin::new(&mut self.inner).poll_fill_buf(cx));
        self.failed = filled.is_err();
        Poll::Ready(filled)
    }

    /// The first four bytes, fewer of a shorter object. They are handed on later as all others.
    fn poll_first(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<&[u8]>> {
        while self.taken < self.first.len() {
            let Some(&byte) = ready!(self.poll_inner(cx))?.first() else {
                break;
            };
            self.first[self.taken] = byte;
            self.taken += 1;
            self.read += 1;
            Pin::new(&mut self.inner).consume(1);
        }
        Poll::Ready(Ok(&self.first[..self.taken]))
    }

    /// Copies what is at hand.
    fn poll_copy(&mut self, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let mut this = Pin::new(self);
        let filled = ready!(this.as_mut().poll_fill_buf(cx))?;
        let copied = filled.len().min(buf.remaining());
        buf.put_slice(&filled[..copied]);
        this.consume(copied);
        Poll::Ready(Ok(()))
    }
}

impl<R: AsyncBufRead + Unpin> AsyncBufRead for Source<R> {
    fn poll_fill_buf(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<&[u8]>> {
        let this = self.get_mut();
        if this.handed_on < this.taken {
            return Poll::Ready(Ok(&this.first[this.handed_on..this.taken]));
        }
        let piece = this.piece;
        let filled = ready!(this.poll_inner(cx))?;
        Poll::Ready(Ok(&filled[..filled.len().min(piece)]))
    }

    fn consume(self: Pin<&mut Self>, amount: usize) {
        let this = self.get_mut();
        if this.handed_on < this.taken {
            this.handed_on += amount;
            return;
        }
        this.read += amount as u64;
        Pin::new(&mut this.inner).consume(amount);
    }
}

impl<R: AsyncBufRead + Unpin> AsyncRead for Source<R> {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        self.get_mut().poll_copy(cx, buf)
    }
}

#[cfg(test)]
mod tests {
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
        for (name, before) in [
            ("at once", 0),
            ("in the magic", 1),
            ("in the data", zipped.len() / 2),
            ("at the end", zipped.len()),
        ] {
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
}
