//! Data on stdout, written as it is found, so that a bucket of any size fits: the items of one
//! source after the other, as lines for people or as one JSON value.
//!
//! A reader that closes stdout has what it wanted: the command ends as a success, unless it works on
//! for its own sake.

use std::io::{self, Write};

use serde::Serialize;
use tokio::sync::mpsc;

use super::exit::Exit;
use super::output::Output;

/// stdout cannot be written.
#[derive(Debug, thiserror::Error)]
#[error("failed to write to stdout")]
pub(super) struct WriteError(#[from] io::Error);

/// How a command ends that only shows something: well, when its reader has gone.
pub(super) fn ended(shown: anyhow::Result<Exit>) -> anyhow::Result<Exit> {
    match shown {
        Err(error) if error.downcast_ref().is_some_and(is_unread) => Ok(Exit::Success),
        shown => shown,
    }
}

fn is_unread(WriteError(error): &WriteError) -> bool {
    error.kind() == io::ErrorKind::BrokenPipe
}

/// Hands on what comes, until it ends. When that fails the channel is closed at once, so that whoever
/// fills it ends too.
pub(super) async fn each<T>(
    mut items: mpsc::Receiver<T>,
    mut take: impl FnMut(T) -> Result<(), WriteError>,
) -> Result<(), WriteError> {
    while let Some(item) = items.recv().await {
        take(item)?;
    }
    Ok(())
}

/// Items by source on their way out.
pub(super) struct Stream {
    out: io::BufWriter<Box<dyn Write + Send>>,
    form: Output,
    /// Whether nothing stands before the next source, or the next item of a source.
    is_first: bool,
    works_on: bool,
    is_unread: bool,
}

impl Stream {
    /// Writes to stdout.
    pub fn open(form: Output) -> Self {
        Stream::over(Box::new(io::stdout()), form)
    }

    /// Writes to stderr, where stdout is taken.
    pub fn on_stderr(form: Output) -> Self {
        Stream::over(Box::new(io::stderr()), form)
    }

    fn over(out: Box<dyn Write + Send>, form: Output) -> Self {
        Stream { out: io::BufWriter::new(out), form, is_first: true, works_on: false, is_unread: false }
    }

    /// The same for a command that does more than to show things: without a reader it works on.
    pub fn for_work(self) -> Self {
        Stream { works_on: true, ..self }
    }

    /// Begins with the fields of `head`, which is a map.
    pub fn begin(&mut self, head: &impl Serialize) -> Result<(), WriteError> {
        self.json(|| {
            let fields = to_json(head)?;
            let fields = fields.trim_start_matches('{').trim_end_matches('}').to_owned();
            let comma = if fields.is_empty() { "" } else { "," };
            Ok(format!("{{{fields}{comma}\"sources\":["))
        })
    }

    /// Begins a source.
    pub fn source(&mut self, title: &str) -> Result<(), WriteError> {
        let comma = if std::mem::replace(&mut self.is_first, true) { "" } else { "," };
        self.json(|| Ok(format!("{comma}{{\"objects\":[")))?;
        self.lines([title])
    }

    /// Writes an item of the source: as JSON, or the line that stands for it.
    pub fn item(&mut self, item: &impl Serialize, line: impl FnOnce() -> String) -> Result<(), WriteError> {
        match self.form {
            Output::Table => self.lines([line()]),
            Output::Json => {
                let comma = if std::mem::take(&mut self.is_first) { "" } else { "," };
                self.json(|| Ok(format!("{comma}{}", to_json(item)?)))
            }
        }
    }

    /// Ends the source with the fields of `totals`, which is a map, or the lines that stand for them.
    pub fn end_source(
        &mut self,
        totals: &impl Serialize,
        lines: impl IntoIterator<Item = String>,
    ) -> Result<(), WriteError> {
        self.is_first = false;
        self.json(|| Ok(format!("],{}", to_json(totals)?.trim_start_matches('{'))))?;
        self.lines(lines)
    }

    /// Ends it all.
    pub fn end(mut self) -> Result<(), WriteError> {
        self.json(|| Ok("]}\n".to_owned()))?;
        self.write(|out| out.flush())
    }

    fn lines<T: AsRef<str>>(&mut self, lines: impl IntoIterator<Item = T>) -> Result<(), WriteError> {
        match self.form {
            Output::Table => {
                lines.into_iter().try_for_each(|line| self.write(|out| writeln!(out, "{}", line.as_ref())))
            }
            Output::Json => Ok(()),
        }
    }

    fn json(&mut self, text: impl FnOnce() -> io::Result<String>) -> Result<(), WriteError> {
        match self.form {
            Output::Table => Ok(()),
            Output::Json => self.write(|out| out.write_all(text()?.as_bytes())),
        }
    }

    fn write(&mut self, write: impl FnOnce(&mut dyn Write) -> io::Result<()>) -> Result<(), WriteError> {
        if self.is_unread {
            return Ok(());
        }
        match write(&mut self.out).map_err(WriteError) {
            Err(error) if self.works_on && is_unread(&error) => {
                self.is_unread = true;
                Ok(())
            }
            written => written,
        }
    }
}

fn to_json(value: &impl Serialize) -> io::Result<String> {
    serde_json::to_string(value).map_err(io::Error::from)
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use super::*;

    /// What was written, up to as much as a reader takes.
    #[derive(Clone)]
    struct Reader(Arc<Mutex<Vec<u8>>>, usize);

    impl Write for Reader {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let mut taken = self.0.lock().expect("no test panics with it");
            if taken.len() >= self.1 {
                return Err(io::ErrorKind::BrokenPipe.into());
            }
            taken.extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn show(stream: &mut Stream, items: usize) -> Result<(), WriteError> {
        #[derive(Serialize)]
        struct Count {
            count: usize,
        }
        for title in ["one", "two"] {
            stream.source(title)?;
            for item in 0..items {
                stream.item(&item, || format!("  {item}"))?;
            }
            stream.end_source(&Count { count: items }, [format!("  {items} items")])?;
        }
        Ok(())
    }

    #[test]
    fn sources_and_items_make_one_value_or_lines() {
        let head = serde_json::json!({"from": 1});
        let two = "[{\"objects\":[0,1],\"count\":2},{\"objects\":[0,1],\"count\":2}]";
        let cases = [
            ("a head", Output::Json, &head, 2, format!("{{\"from\":1,\"sources\":{two}}}\n")),
            ("none", Output::Json, &serde_json::json!({}), 2, format!("{{\"sources\":{two}}}\n")),
            (
                "no items",
                Output::Json,
                &head,
                0,
                "{\"from\":1,\"sources\":[{\"objects\":[],\"count\":0},{\"objects\":[],\"count\":0}]}\n"
                    .to_owned(),
            ),
            ("lines", Output::Table, &head, 1, "one\n  0\n  1 items\ntwo\n  0\n  1 items\n".to_owned()),
        ];
        for (case, form, head, items, want) in cases {
            let reader = Reader(Arc::default(), usize::MAX);
            let mut stream = Stream::over(Box::new(reader.clone()), form);
            stream.begin(head).unwrap();
            show(&mut stream, items).unwrap();
            stream.end().unwrap();
            assert_eq!(String::from_utf8(reader.0.lock().unwrap().clone()).unwrap(), want, "{case}");
        }
    }

    #[test]
    fn who_only_shows_ends_with_the_reader_and_who_works_goes_on() {
        let stream = || Stream::over(Box::new(Reader(Arc::default(), 100)), Output::Table);
        let error = show(&mut stream(), 10_000).unwrap_err();
        assert_eq!(ended(Err(error.into())).unwrap(), Exit::Success);
        let mut working = stream().for_work();
        show(&mut working, 10_000).unwrap();
        working.end().unwrap();
        let full = WriteError(io::Error::other("no space"));
        assert!(ended(Err(full.into())).is_err(), "a full disk is no reader that has gone");
    }
}
