//! Records to standard output, or to any other writer: settled after write and flush, at least
//! once. There is no way back: what a commit did not settle comes again, on a line of its own.

use std::io::{self, Stdout, Write};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, poll};

use super::segment::Compression;
use super::{Position, Sink, SinkError, file};

/// Writes to `W`; its position is always the default one.
pub struct StdoutSink<W> {
    output: W,
    wait: fn() -> io::Result<()>,
    /// The last byte that was taken ends no line: a write failed within one.
    torn: bool,
}

impl StdoutSink<Stdout> {
    /// A sink that writes to the standard output of this process.
    pub fn stdout() -> Self {
        StdoutSink::new(io::stdout(), wait_for_stdout)
    }
}

impl<W: Write + Send> StdoutSink<W> {
    /// A sink that writes to `output`; a writer that does not buffer should be wrapped in one
    /// that does. `wait` returns once an output that would have blocked takes bytes again.
    pub fn new(output: W, wait: fn() -> io::Result<()>) -> Self {
        StdoutSink { output, wait, torn: false }
    }

    /// Writes all bytes. After an error it is known whether what was taken ends a line.
    fn write_on(&mut self, mut bytes: &[u8]) -> Result<(), SinkError> {
        while !bytes.is_empty() {
            match self.output.write(bytes) {
                Ok(0) => return Err(refused(io::ErrorKind::WriteZero.into())),
                Ok(count) => {
                    let (taken, left) = bytes.split_at(count);
                    self.torn = !taken.ends_with(b"\n");
                    bytes = left;
                }
                Err(error) => self.ready_again(error)?,
            }
        }
        Ok(())
    }

    /// Returns when the call that failed is to be made again.
    fn ready_again(&self, error: io::Error) -> Result<(), SinkError> {
        match error.kind() {
            io::ErrorKind::Interrupted => Ok(()),
            io::ErrorKind::WouldBlock => (self.wait)().map_err(refused),
            _ => Err(refused(error)),
        }
    }
}

/// Waits as long as a stdout that blocks would.
fn wait_for_stdout() -> io::Result<()> {
    let stdout = io::stdout();
    rustix::io::retry_on_intr(|| poll(&mut [PollFd::new(&stdout, PollFlags::OUT)], None))?;
    Ok(())
}

impl<W: Write + Send> Sink for StdoutSink<W> {
    /// Finishes the open segment of the file sink that `committed` may come from; stdout itself
    /// has nothing to go back to.
    fn recover(&mut self, committed: Option<&Position>) -> Result<(), SinkError> {
        match committed {
            Some(position) if !position.path.is_empty() => {
                file::finish_elsewhere(position, Compression::None)
            }
            _ => Ok(()),
        }
    }

    fn write(&mut self, records: &[u8]) -> Result<(), SinkError> {
        if self.torn {
            self.write_on(b"\n")?;
        }
        self.write_on(records)
    }

    fn commit(&mut self, _finish: bool) -> Result<Position, SinkError> {
        while let Err(error) = self.output.flush() {
            self.ready_again(error)?;
        }
        Ok(Position::default())
    }

    fn seal(&mut self) -> Result<(), SinkError> {
        Ok(())
    }

    fn due_in(&self) -> Option<Duration> {
        None
    }
}

fn refused(source: io::Error) -> SinkError {
    match source.kind() {
        io::ErrorKind::BrokenPipe => SinkError::Closed,
        _ => SinkError::Down { what: "cannot write to stdout".to_owned(), source },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Takes `left` bytes, then fails with `kind`; counts flushes.
    struct Scripted {
        taken: Vec<u8>,
        left: usize,
        kind: io::ErrorKind,
        flushes: usize,
    }

    impl Write for Scripted {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            if self.left == 0 {
                return Err(self.kind.into());
            }
            let count = bytes.len().min(self.left);
            self.left -= count;
            self.taken.extend_from_slice(&bytes[..count]);
            Ok(count)
        }

        fn flush(&mut self) -> io::Result<()> {
            self.flushes += 1;
            if self.left == 0 { Err(self.kind.into()) } else { Ok(()) }
        }
    }

    fn sink(left: usize, kind: io::ErrorKind) -> StdoutSink<Scripted> {
        StdoutSink::new(Scripted { taken: vec![], left, kind, flushes: 0 }, || panic!("nothing to wait for"))
    }

    #[test]
    fn records_are_settled_after_the_flush() {
        let mut sink = sink(100, io::ErrorKind::BrokenPipe);
        sink.recover(None).expect("nothing to recover");
        sink.write(b"{\"a\":1}\n").expect("written");
        assert_eq!(sink.output.flushes, 0);
        assert_eq!(sink.commit(true).expect("flushed"), Position::default());
        assert_eq!(sink.output.flushes, 1);
        assert_eq!(sink.output.taken, b"{\"a\":1}\n");
        assert_eq!(sink.due_in(), None);
    }

    #[test]
    fn a_gone_reader_is_told_from_other_failures() {
        for (kind, closed) in [(io::ErrorKind::BrokenPipe, true), (io::ErrorKind::StorageFull, false)] {
            let mut sink = sink(3, kind);
            let error = sink.write(b"{\"a\":1}\n").expect_err("only three bytes fit");
            assert_eq!(matches!(error, SinkError::Closed), closed, "{kind}");
            let error = sink.commit(false).expect_err("the flush fails too");
            assert_eq!(matches!(error, SinkError::Closed), closed, "{kind}");
        }
    }

    #[test]
    fn a_torn_line_is_ended_before_its_record_comes_again() {
        // bytes that fit before the disk is full, once and again; all that is written in the end
        let cases: [(&str, &[usize], &str); 6] = [
            ("within the first record", &[3], "{\"a\n{\"a\":1}\n{\"b\":2}\n"),
            ("before the newline", &[7], "{\"a\":1}\n{\"a\":1}\n{\"b\":2}\n"),
            ("between two records", &[8], "{\"a\":1}\n{\"a\":1}\n{\"b\":2}\n"),
            ("within the second one", &[9], "{\"a\":1}\n{\n{\"a\":1}\n{\"b\":2}\n"),
            ("twice", &[3, 4], "{\"a\n{\"a\n{\"a\":1}\n{\"b\":2}\n"),
            ("before a byte", &[0], "{\"a\":1}\n{\"b\":2}\n"),
        ];
        for (case, full_after, expected) in cases {
            let mut sink = sink(0, io::ErrorKind::StorageFull);
            for left in full_after {
                sink.output.left = *left;
                sink.write(b"{\"a\":1}\n{\"b\":2}\n").expect_err(case);
                // nothing fits, not even a newline
                sink.write(b"{\"a\":1}\n{\"b\":2}\n").expect_err(case);
                sink.recover(Some(&Position::default())).expect("nothing to recover");
            }
            sink.output.left = 1000;
            sink.write(b"{\"a\":1}\n{\"b\":2}\n").expect("there is space again");
            sink.write(b"").expect("no records");
            sink.commit(false).expect("flushed");
            assert_eq!(String::from_utf8_lossy(&sink.output.taken), expected, "{case}");
        }
    }

    /// Takes three bytes, then would block or is interrupted, in turn; flushes likewise.
    #[derive(Default)]
    struct Slow {
        taken: Vec<u8>,
        calls: usize,
    }

    impl Slow {
        fn call<T>(&mut self, done: impl FnOnce(&mut Self) -> T) -> io::Result<T> {
            self.calls += 1;
            match self.calls % 3 {
                1 => Err(io::ErrorKind::WouldBlock.into()),
                2 => Err(io::ErrorKind::Interrupted.into()),
                _ => Ok(done(self)),
            }
        }
    }

    impl Write for Slow {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.call(|slow| {
                let count = bytes.len().min(3);
                slow.taken.extend_from_slice(&bytes[..count]);
                count
            })
        }

        fn flush(&mut self) -> io::Result<()> {
            self.call(|_| ())
        }
    }

    #[test]
    fn an_output_that_would_block_is_waited_for() {
        let mut sink = StdoutSink::new(Slow::default(), || Ok(()));
        sink.write_parts(&[b"{\"a\":1}\n".to_vec(), b"{\"b\":2}\n".to_vec()]).expect("written");
        sink.commit(false).expect("flushed");
        assert_eq!(String::from_utf8_lossy(&sink.output.taken), "{\"a\":1}\n{\"b\":2}\n");

        let broken = || Err(io::ErrorKind::BrokenPipe.into());
        let mut sink = StdoutSink::new(Slow::default(), broken);
        assert!(matches!(sink.write(b"{\"a\":1}\n"), Err(SinkError::Closed)), "the wait tells it");
    }
}
