//! Log lines in a file that is kept small: at a size or an age it becomes `NAME.1`, and so on.
//!
//! Where the file cannot be written or moved, lines go to stderr, or on in the file that is there.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _, stderr};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;
use tracing_subscriber::fmt::MakeWriter;

/// When the file is moved, and how many are kept.
#[derive(Clone, Copy, Debug)]
pub(super) struct Rotation {
    /// Bytes.
    pub size: u64,
    /// Since it was opened.
    pub age: Option<Duration>,
    /// Moved files that are kept.
    pub keep: u32,
}

/// A file of log lines.
#[derive(Debug)]
pub(super) struct LogFile {
    path: PathBuf,
    rotation: Rotation,
    open: Mutex<Open>,
}

#[derive(Debug)]
struct Open {
    file: File,
    written: u64,
    since: Instant,
}

impl LogFile {
    /// Goes on at the end of the file, or makes it: readable by its group.
    pub fn open(path: &Path, rotation: Rotation) -> io::Result<Self> {
        Ok(LogFile { path: path.to_owned(), rotation, open: Mutex::new(open(path)?) })
    }

    fn write(&self, line: &[u8]) -> io::Result<()> {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        let is_old = self.rotation.age.is_some_and(|age| open.since.elapsed() >= age);
        let is_full = open.written.saturating_add(line.len() as u64) > self.rotation.size;
        if open.written > 0 && (is_old || is_full) {
            match self.rotate() {
                Ok(anew) => *open = anew,
                // tried again once as much more is written
                Err(_) => (open.written, open.since) = (0, Instant::now()),
            }
        }
        open.file.write_all(line)?;
        open.written += line.len() as u64;
        Ok(())
    }

    fn rotate(&self) -> io::Result<Open> {
        for number in (1..self.rotation.keep).rev() {
            match fs::rename(self.moved(number), self.moved(number + 1)) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                Ok(()) | Err(_) => {}
            }
        }
        match self.rotation.keep {
            0 => fs::remove_file(&self.path)?,
            _ => fs::rename(&self.path, self.moved(1))?,
        }
        open(&self.path)
    }

    fn moved(&self, number: u32) -> PathBuf {
        let mut name = self.path.clone().into_os_string();
        name.push(format!(".{number}"));
        name.into()
    }
}

fn open(path: &Path) -> io::Result<Open> {
    let file = OpenOptions::new().append(true).create(true).mode(0o640).open(path)?;
    Ok(Open { written: file.metadata()?.len(), file, since: Instant::now() })
}

/// One line on its way to the file.
pub(super) struct LineWriter<'a>(&'a LogFile);

impl io::Write for LineWriter<'_> {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        if self.0.write(line).is_err() {
            stderr().write_all(line)?;
        }
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for LogFile {
    type Writer = LineWriter<'a>;

    fn make_writer(&'a self) -> LineWriter<'a> {
        LineWriter(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(folder: &Path) -> Vec<String> {
        let entries = fs::read_dir(folder).expect("the folder is there");
        let mut names: Vec<_> = entries
            .map(|entry| entry.expect("an entry").file_name().to_string_lossy().into_owned())
            .collect();
        names.sort();
        names
    }

    #[test]
    fn lines_are_whole_and_the_oldest_files_go() {
        for (keep, want) in [(0, vec!["log"]), (1, vec!["log", "log.1"]), (2, vec!["log", "log.1", "log.2"])]
        {
            let folder = tempfile::tempdir().expect("a folder");
            let path = folder.path().join("log");
            let rotation = Rotation { size: 100, age: None, keep };
            for _ in 0..2 {
                // opened twice: it goes on where it was
                let log = LogFile::open(&path, rotation).expect("the folder can be written");
                for number in 0..30 {
                    log.make_writer()
                        .write_all(format!("line {number:02}\n").as_bytes())
                        .expect("never fails");
                }
            }
            assert_eq!(names(folder.path()), want, "{keep}");
            for name in want {
                let text = fs::read_to_string(folder.path().join(name)).expect("a log");
                assert!(text.len() <= 100 && text.lines().all(|line| line.len() == 7), "{keep}: {text}");
            }
            let last = fs::read_to_string(&path).expect("the log");
            assert!(last.ends_with("line 29\n"), "{keep}: {last}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn an_old_file_is_moved_and_a_long_line_stands_alone() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("log");
        let rotation = Rotation { size: 100, age: Some(Duration::from_secs(60)), keep: 9 };
        let log = LogFile::open(&path, rotation).expect("the folder can be written");
        let write = |text: &str| log.make_writer().write_all(text.as_bytes()).expect("never fails");
        write("one\n");
        tokio::time::advance(Duration::from_secs(59)).await;
        write("two\n");
        tokio::time::advance(Duration::from_secs(1)).await;
        write("three\n");
        write(&format!("{}\n", "x".repeat(300)));
        write("four\n");
        assert_eq!(names(folder.path()), ["log", "log.1", "log.2", "log.3"]);
        assert_eq!(fs::read_to_string(folder.path().join("log.3")).expect("a log"), "one\ntwo\n");
        assert_eq!(fs::read_to_string(folder.path().join("log.2")).expect("a log"), "three\n");
    }

    #[test]
    fn a_file_that_cannot_be_moved_is_written_on() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("log");
        // a folder that is not empty takes the place of the moved file
        fs::create_dir_all(folder.path().join("log.1/in the way")).expect("a folder");
        let log = LogFile::open(&path, Rotation { size: 10, age: None, keep: 1 }).expect("it can be written");
        for number in 0..9 {
            log.make_writer().write_all(format!("line {number}\n").as_bytes()).expect("never fails");
        }
        assert_eq!(fs::read_to_string(&path).expect("the log").lines().count(), 9);
    }
}
