//! The threads that list, fetch, inflate and encode.

use std::io;
use std::thread::available_parallelism;

use tokio::runtime::{Builder, Runtime};

/// A runtime with a thread for each core but one, which is left to what writes and syncs, on a thread of
/// its own. With as many threads as cores small objects are handed from one to the other all the time
/// (docs/performance.md, "Threads").
///
/// # Errors
///
/// When the system refuses a thread or what tells of sockets.
pub fn runtime() -> io::Result<Runtime> {
    let cores = available_parallelism().map_or(1, usize::from);
    Builder::new_multi_thread().worker_threads(beside_the_writer(cores)).enable_all().build()
}

fn beside_the_writer(cores: usize) -> usize {
    cores.saturating_sub(1).max(1)
}

#[cfg(test)]
mod tests {
    #[test]
    fn one_core_is_left_where_there_are_two() {
        assert_eq!([1, 2, 3, 64].map(super::beside_the_writer), [1, 1, 2, 63]);
    }
}
