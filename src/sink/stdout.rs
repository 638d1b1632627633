//! Records to standard output, or to any other writer: settled after write and flush, at least
//! once. There is no way back: what a commit did not settle comes again.

use std::io::{self, Write};
use std::time::Duration;

use super::segment::Compression;
use super::{Position, Sink, SinkError, file};

/// Writes to `W`; its position is always the default one.
pub struct StdoutSink<W> {
    output: W,
}

impl<W: Write + Send> StdoutSink<W> {
    /// A sink that writes to `output`; a writer that does not buffer should be wrapped in one
    /// that does.
    pub fn new(output: W) -> Self {
        StdoutSink { output }
    }
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
        self.output.write_all(records).map_err(refused)
    }

    fn commit(&mut self, _finish: bool) -> Result<Position, SinkError> {
        self.output.flush().map_err(refused)?;
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
        StdoutSink::new(Scripted { taken: vec![], left, kind, flushes: 0 })
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
}
