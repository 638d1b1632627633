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

/// The most of a buffer that the decoder is given at a time, because it first fills with zeros what
/// it is given, for each piece of input: the usual window. One that a long record made grow is larger.
const LARGE_SLICE: usize = 128 * 1024;

/// The same byte by byte: about as much as one stored byte makes (RFC 1951: four matches of 258
/// bytes).
const SLICE: usize = 1024;

/// Byte by byte, the stored bytes after which the reader's task has its turn, to heed a stop.
const PAUSE: usize = 64 * 1024;

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
    /// damaged. An inflater that meets damage loses what it made of the same piece of input, so all
    /// that lies before the damaged byte comes out only where that byte stands alone. Every 64 KiB
    /// other tasks have a turn.
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
        let (first, is_byte_by_byte) = (buf.filled().len(), self.decoder.get_ref().piece == 1);
        let slice = if is_byte_by_byte { SLICE } else { LARGE_SLICE };
        loop {
            let before = buf.filled().len();
            let mut part = ReadBuf::new(buf.initialize_unfilled_to(buf.remaining().min(slice)));
            let read = Pin::new(&mut self.decoder).poll_read(cx, &mut part);
            let written = part.filled().len();
            buf.advance(written);
            match read {
                read if !is_byte_by_byte => return read,
                Poll::Pending if before > first => return Poll::Ready(Ok(())),
                Poll::Ready(Ok(()))
                    if written > 0 && buf.remaining() > 0 && !self.decoder.get_ref().is_paused => {}
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
    /// Bytes handed on since the last pause.
    unpaused: usize,
    /// Nothing was handed on for a pause, of which the decoder does not tell when it has bytes.
    is_paused: bool,
}

impl<R: AsyncBufRead + Unpin> Source<R> {
    fn new(inner: R) -> Self {
        Source {
            inner,
            first: [0; 4],
            taken: 0,
            handed_on: 0,
            read: 0,
            failed: false,
            piece: usize::MAX,
            unpaused: 0,
            is_paused: false,
        }
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
        this.is_paused = piece == 1 && this.unpaused >= PAUSE;
        if this.is_paused {
            this.unpaused = 0;
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
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
        this.unpaused = this.unpaused.saturating_add(amount);
        Pin::new(&mut this.inner).consume(amount);
    }
}

impl<R: AsyncBufRead + Unpin> AsyncRead for Source<R> {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        self.get_mut().poll_copy(cx, buf)
    }
}

#[cfg(test)]
mod tests;
