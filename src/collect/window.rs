//! The inflated bytes at hand.

use tokio::io::{AsyncRead, AsyncReadExt as _};

use crate::buffers::Buffers;

/// Inflated bytes looked at together; measured best among 64 KiB to 1 MiB.
pub(super) const WINDOW: usize = 128 * 1024;

/// Inflated bytes that are not yet consumed. Grows only when one record fills it; the decoder
/// gives up a record that is too long, so growth ends.
pub(super) struct Window {
    buffer: Vec<u8>,
    start: usize,
    end: usize,
    /// Where the buffer goes back to.
    stock: Buffers,
}

impl Window {
    pub(super) fn new(stock: &Buffers) -> Self {
        let mut buffer = stock.take();
        buffer.resize(WINDOW, 0);
        Window { buffer, start: 0, end: 0, stock: stock.clone() }
    }

    pub(super) fn bytes(&self) -> &[u8] {
        &self.buffer[self.start..self.end]
    }

    pub(super) fn consume(&mut self, bytes: usize) {
        self.start = (self.start + bytes).min(self.end);
    }

    /// Reads what the stream has at hand, as far as it fits; 0 at its end.
    pub(super) async fn fill(&mut self, reader: &mut (impl AsyncRead + Unpin)) -> std::io::Result<usize> {
        // reads may be of single bytes: a long record is moved once, not with each of them
        if self.start > 0 {
            self.buffer.copy_within(self.start..self.end, 0);
            self.end -= self.start;
            self.start = 0;
        }
        if self.end == self.buffer.len() {
            self.buffer.resize(self.buffer.len() * 2, 0);
        }
        let read = reader.read(&mut self.buffer[self.end..]).await?;
        self.end += read;
        Ok(read)
    }
}

impl Drop for Window {
    fn drop(&mut self) {
        self.stock.give(std::mem::take(&mut self.buffer));
    }
}
