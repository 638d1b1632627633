//! Lines on a terminal that tell how far a command is; nowhere else.
//!
//! Log lines on the same terminal go above them, by way of [`Bars::above`].

use std::convert::Infallible;
use std::io::{self, IsTerminal as _, stderr, stdout};
use std::time::Duration;

use indicatif::{MultiProgress, ProgressBar, ProgressStyle};

use super::Global;
use super::logging::LogFormat;
use crate::service::Source;
use crate::sweep::progress::Seen;

/// How often lines are drawn.
const TICK: Duration = Duration::from_millis(200);

/// The lines, where there is a terminal for them.
#[derive(Clone)]
pub struct Bars(Option<MultiProgress>);

impl Bars {
    /// On stderr, when that is a terminal that people read.
    pub fn of(global: &Global) -> Self {
        let is_text = global.log_format == LogFormat::Text || global.log_file.is_some();
        Bars((is_text && !global.quiet && stderr().is_terminal()).then(MultiProgress::new))
    }

    /// None where the data of the command comes on the same terminal.
    pub(super) fn beside_data(&self) -> Self {
        Bars(self.0.clone().filter(|_| !stdout().is_terminal()))
    }

    /// Writes something to the terminal above the lines.
    pub fn above<T>(&self, write: impl FnOnce() -> T) -> T {
        match &self.0 {
            Some(bars) => bars.suspend(write),
            None => write(),
        }
    }

    /// Shows how far the sources are while something is done with them.
    pub(super) async fn beside<T>(&self, sources: &[&Source], work: impl Future<Output = T>) -> T {
        let Some(bars) = &self.0 else { return work.await };
        let lines: Vec<_> = sources.iter().map(|source| (bars.add(line()), *source)).collect();
        let done = tokio::select! {
            done = work => done,
            never = keep_drawing(&lines) => match never {},
        };
        lines.iter().for_each(|(line, _)| line.finish_and_clear());
        done
    }
}

fn line() -> ProgressBar {
    let style = ProgressStyle::with_template("{spinner} {msg} ({elapsed})");
    ProgressBar::new_spinner().with_style(style.unwrap_or_else(|_| ProgressStyle::default_spinner()))
}

async fn keep_drawing(lines: &[(ProgressBar, &Source)]) -> Infallible {
    loop {
        for (line, source) in lines {
            line.set_message(message(&source.config.name, source.progress.seen()));
            line.tick();
        }
        tokio::time::sleep(TICK).await;
    }
}

fn message(name: &str, seen: Seen) -> String {
    let mut parts = vec![format!("{name}: {} LIST, {} GET", seen.requests.list, seen.requests.get)];
    for (count, what) in [(seen.listed, "objects listed"), (seen.done, "done"), (seen.records, "records")] {
        if count > 0 {
            parts.push(format!("{count} {what}"));
        }
    }
    parts.join(", ")
}

/// Log lines on stderr, above the lines that tell how far a command is.
pub(super) struct Above(pub Bars);

impl io::Write for Above {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.above(|| stderr().write(bytes))
    }

    fn flush(&mut self) -> io::Result<()> {
        stderr().flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sweep::report::Requests;

    #[test]
    fn a_message_has_what_there_is() {
        let requests = Requests { list: 3, get: 0 };
        for (listed, done, records, want) in [
            (0, 0, 0, "main: 3 LIST, 0 GET"),
            (9, 0, 0, "main: 3 LIST, 0 GET, 9 objects listed"),
            (9, 4, 70, "main: 3 LIST, 0 GET, 9 objects listed, 4 done, 70 records"),
        ] {
            assert_eq!(message("main", Seen { requests, listed, done, records }), want);
        }
    }
}
