//! Reading a file that the configuration names or consists of, up to a bound: what was named may
//! be a device or a pipe that never ends.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

/// Bytes of one configuration file: thousands of sources fit.
pub(super) const CONFIGURATION_LIMIT: u64 = 4 * 1024 * 1024;
/// Bytes of a secret: session tokens have a few thousand.
pub(super) const SECRET_LIMIT: u64 = 64 * 1024;

/// The text of a file of up to `limit` bytes. A pipe is read to its end (`/dev/stdin`, a process
/// substitution). Fails with [`io::ErrorKind::FileTooLarge`] after one byte more, and with
/// [`io::ErrorKind::InvalidData`] on what is no UTF-8.
pub(super) fn read_bounded(path: &Path, limit: u64) -> io::Result<String> {
    let mut bytes = Vec::new();
    File::open(path)?.take(limit + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > limit {
        return Err(io::Error::new(
            io::ErrorKind::FileTooLarge,
            format!("it has more than {} KiB; name a file that holds nothing else", limit / 1024),
        ));
    }
    String::from_utf8(bytes).map_err(|_| io::Error::new(io::ErrorKind::InvalidData, "it is not UTF-8"))
}

/// The text without one line break at its end, `\n` or `\r\n`: an editor or `echo` put it there.
pub(super) fn without_line_break(text: &str) -> &str {
    let text = text.strip_suffix('\n').unwrap_or(text);
    text.strip_suffix('\r').unwrap_or(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_never_ends_is_refused_and_what_fits_is_read() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("k");
        for (case, bytes, want) in [
            ("nothing", vec![], Ok("")),
            ("all that fits", b"12345678".to_vec(), Ok("12345678")),
            ("a byte more", b"123456789".to_vec(), Err(io::ErrorKind::FileTooLarge)),
            ("no text", vec![0xff], Err(io::ErrorKind::InvalidData)),
        ] {
            std::fs::write(&path, bytes).expect("a file");
            let read = read_bounded(&path, 8).map_err(|error| error.kind());
            assert_eq!(read, want.map(str::to_owned), "{case}");
        }
        let endless = read_bounded(Path::new("/dev/zero"), SECRET_LIMIT).expect_err("it never ends");
        assert!(endless.to_string().contains("more than 64 KiB; name a file"), "{endless}");
        assert!(read_bounded(folder.path(), 8).is_err(), "a folder");
    }
}
