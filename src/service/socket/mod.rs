//! The control socket: `control.sock` in the state directory, mode 0600; [`protocol`] says what goes
//! over it.
//!
//! The file is made and removed only by whoever holds the state directory's lock.

mod client;
pub mod protocol;
mod server;

pub use client::{Client, ClientError, RemoteState};
pub use server::{ServeLimits, Server};

use std::fs::File;
use std::io;
use std::os::fd::AsRawFd as _;
use std::path::{Path, PathBuf};

/// Name of the socket in the state directory.
pub const NAME: &str = "control.sock";
/// A socket's address holds this many bytes at most, on Linux; what is bound first is longer than
/// the final name.
const MAX_ADDRESS: usize = 107 - ".control-new/".len();

/// Does something with a path of the state directory that is short enough for a socket: its own,
/// or on Linux one by way of an open file.
fn with_short_path<T>(dir: &Path, work: impl FnOnce(PathBuf) -> io::Result<T>) -> io::Result<T> {
    if dir.join(NAME).as_os_str().len() <= MAX_ADDRESS {
        return work(dir.to_owned());
    }
    let open = File::open(dir)?;
    let short = PathBuf::from(format!("/proc/self/fd/{}", open.as_raw_fd()));
    if !short.exists() {
        return Err(io::Error::new(
            io::ErrorKind::InvalidInput,
            format!("the path has more than {MAX_ADDRESS} bytes, which no socket's address holds"),
        ));
    }
    work(short)
}
