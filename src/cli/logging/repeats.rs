//! Warnings that repeat are held back and counted.
//!
//! Of one message of one source the first few in a while are written; how often it came beyond that
//! is told when the while is over. Errors are always written.

use std::collections::HashMap;
use std::fmt::{Debug, Write as _};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;
use tracing::callsite::Identifier;
use tracing::field::{Field, Visit};
use tracing::{Event, Level, Subscriber, warn};
use tracing_subscriber::Layer;
use tracing_subscriber::layer::Context;

/// So many of a kind are written in a while.
const WRITTEN: u64 = 5;
/// The while.
const WHILE: Duration = Duration::from_secs(600);
/// Kinds that are counted at a time; what is beyond is written.
const KINDS: usize = 1000;
/// Lines that tell of others are never held back.
const TELLS: &str = "s3sweep::repeated";

/// What is held back.
#[derive(Clone, Default)]
pub struct Repeats(Arc<Mutex<HashMap<Kind, Count>>>);

/// Where in the code, the source, and the message.
type Kind = (Identifier, What);

#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
struct What {
    source: String,
    message: String,
}

struct Count {
    since: Instant,
    came: u64,
}

impl Visit for What {
    fn record_str(&mut self, field: &Field, value: &str) {
        if field.name() == "source" {
            value.clone_into(&mut self.source);
        }
    }

    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        match field.name() {
            "message" => drop(write!(self.message, "{value:?}")),
            "source" => drop(write!(self.source, "{value:?}")),
            _ => {}
        }
    }
}

impl<S: Subscriber> Layer<S> for Repeats {
    fn event_enabled(&self, event: &Event<'_>, _: Context<'_, S>) -> bool {
        let metadata = event.metadata();
        if *metadata.level() != Level::WARN || metadata.target() == TELLS {
            return true;
        }
        let mut what = What::default();
        event.record(&mut what);
        self.is_written((metadata.callsite(), what))
    }
}

impl Repeats {
    fn is_written(&self, kind: Kind) -> bool {
        let mut kinds = self.kinds();
        if kinds.len() >= KINDS && !kinds.contains_key(&kind) {
            return true;
        }
        let count = kinds.entry(kind).or_insert_with(|| Count { since: Instant::now(), came: 0 });
        count.came += 1;
        count.came <= WRITTEN
    }

    /// Tells each minute what was held back for long enough; never returns.
    pub async fn keep_telling(&self) -> std::convert::Infallible {
        loop {
            tokio::time::sleep(WHILE / 10).await;
            self.tell(WHILE);
        }
    }

    /// Tells all that is held back.
    pub fn finish(&self) {
        self.tell(Duration::ZERO);
    }

    fn tell(&self, after: Duration) {
        let mut over = Vec::new();
        self.kinds().retain(|(_, what), count| {
            let is_over = count.since.elapsed() >= after;
            if is_over && count.came > WRITTEN {
                over.push((what.clone(), count.came - WRITTEN));
            }
            !is_over
        });
        over.sort_by(|(one, _), (other, _)| {
            (&one.source, &one.message).cmp(&(&other.source, &other.message))
        });
        for (What { source, message }, times) in over {
            let source = Some(source).filter(|source| !source.is_empty());
            warn!(target: TELLS, source, times, "repeated {times} times more: {message}");
        }
    }

    fn kinds(&self) -> MutexGuard<'_, HashMap<Kind, Count>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::io;

    use tracing::{error, info};
    use tracing_subscriber::layer::SubscriberExt as _;

    use super::*;

    #[derive(Clone, Default)]
    struct Lines(Arc<Mutex<Vec<u8>>>);

    impl io::Write for Lines {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap_or_else(PoisonError::into_inner).extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    impl Lines {
        /// The lines so far that hold a text.
        fn with(&self, text: &str) -> Vec<String> {
            let bytes = self.0.lock().unwrap_or_else(PoisonError::into_inner).clone();
            let all = String::from_utf8(bytes).expect("log lines are text");
            all.lines().filter(|line| line.contains(text)).map(str::to_owned).collect()
        }
    }

    /// Logs by way of `Repeats` within `work`.
    async fn logged(work: impl AsyncFnOnce(&Repeats, &Lines)) {
        let (repeats, lines) = (Repeats::default(), Lines::default());
        let writer = lines.clone();
        let subscriber = tracing_subscriber::fmt()
            .with_writer(move || writer.clone())
            .with_ansi(false)
            .finish()
            .with(repeats.clone());
        let _guard = tracing::subscriber::set_default(subscriber);
        work(&repeats, &lines).await;
    }

    #[tokio::test(start_paused = true)]
    async fn a_few_of_each_message_and_source_are_written_and_the_rest_is_counted() {
        logged(async |repeats, lines| {
            for number in 0..12 {
                for source in ["one", "two"] {
                    warn!(source, number, "the disk is slow");
                }
                warn!(source = %"one", "a disk is gone");
                warn!("setting {} is odd", number % 2);
                error!(source = "one", "an error");
                info!(source = "one", "swept");
            }
            for (text, want) in [
                ("slow source=\"one\"", 5),
                ("slow source=\"two\"", 5),
                ("gone", 5),
                ("odd", 10),
                ("error", 12),
                ("swept", 12),
            ] {
                assert_eq!(lines.with(text).len(), want, "{text}");
            }
            repeats.tell(WHILE);
            assert!(lines.with("repeated").is_empty(), "the while is not over");
            tokio::time::advance(WHILE).await;
            repeats.tell(WHILE);
            let told = lines.with("repeated");
            assert_eq!(told.len(), 5, "{told:?}");
            assert_eq!(
                lines.with("repeated 7 times more: the disk is slow source=\"two\" times=7").len(),
                1,
                "{told:?}"
            );
            assert_eq!(lines.with("repeated 1 times more: setting 0 is odd times=1").len(), 1, "{told:?}");
            // and a new while begins
            warn!(source = "one", number = 13, "the disk is slow");
            assert_eq!(lines.with("number=13").len(), 1);
            repeats.finish();
            assert_eq!(lines.with("repeated").len(), 5, "nothing was held back since");
        })
        .await;
    }

    #[tokio::test(start_paused = true)]
    async fn kinds_are_bounded_and_told_without_being_asked() {
        logged(async |repeats, lines| {
            for number in 0..2 * KINDS {
                for _ in 0..6 {
                    warn!("message {number} ends");
                }
            }
            assert_eq!(repeats.kinds().len(), KINDS);
            assert_eq!(lines.with("message 0 ends").len(), 5);
            assert_eq!(lines.with(&format!("message {} ends", 2 * KINDS - 1)).len(), 6, "beyond the bound");
            let telling = tokio::time::timeout(2 * WHILE, repeats.keep_telling()).await;
            assert!(telling.is_err(), "it never returns");
            assert_eq!(lines.with("repeated 1 times more").len(), KINDS);
            assert!(repeats.kinds().is_empty());
        })
        .await;
    }
}
