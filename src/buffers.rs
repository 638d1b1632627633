//! Buffers that are used again.
//!
//! Memory fresh from the system costs about as much as filling it; a sweep moves gigabytes
//! through buffers of one size, so few of them do.

use std::sync::{Arc, Mutex, PoisonError};

/// A stock of buffers; clones share it.
#[derive(Clone, Debug)]
pub struct Buffers {
    free: Arc<Mutex<Vec<Vec<u8>>>>,
    capacity: usize,
    most: usize,
}

impl Buffers {
    /// A stock of at most `most` free buffers, each for `capacity` bytes or somewhat more.
    pub fn new(capacity: usize, most: usize) -> Self {
        Buffers { free: Arc::default(), capacity, most }
    }

    /// A buffer, with whatever it held last.
    pub fn take(&self) -> Vec<u8> {
        let free = self.free.lock().unwrap_or_else(PoisonError::into_inner).pop();
        free.unwrap_or_else(|| Vec::with_capacity(self.capacity))
    }

    /// Gives a buffer back. One that is much larger or smaller than the others is let go.
    pub fn give(&self, buffer: Vec<u8>) {
        let fits = (self.capacity..=2 * self.capacity).contains(&buffer.capacity());
        let mut free = self.free.lock().unwrap_or_else(PoisonError::into_inner);
        if fits && free.len() < self.most {
            free.push(buffer);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buffers_come_back() {
        let buffers = Buffers::new(100, 2);
        let mut first = buffers.take();
        first.extend_from_slice(b"x");
        let place = first.as_ptr();
        buffers.give(first);
        let again = buffers.take();
        assert_eq!((again.as_ptr(), again.as_slice()), (place, &b"x"[..]));
        assert!(buffers.take().is_empty(), "another one");
    }

    #[test]
    fn the_stock_is_bounded() {
        let buffers = Buffers::new(100, 2);
        for capacity in [100, 99, 0, 201, 10_000, 150, 120] {
            buffers.give(Vec::with_capacity(capacity));
        }
        assert_eq!(buffers.take().capacity(), 150);
        assert_eq!(buffers.take().capacity(), 100);
        assert!(buffers.take().capacity() >= 100);
        assert!(buffers.free.lock().unwrap().is_empty());
    }
}
