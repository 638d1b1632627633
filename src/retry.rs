//! How long to wait before the next try. Pure: the random source is handed in.

use std::time::Duration;

/// Exponential backoff with jitter: a wait is between half of its bound and all of it.
#[derive(Clone, Copy, Debug)]
pub struct Backoff {
    /// Upper bound of the first wait.
    pub first: Duration,
    /// Upper bound of any wait that the other side did not ask for.
    pub longest: Duration,
}

impl Default for Backoff {
    fn default() -> Self {
        Backoff { first: Duration::from_millis(200), longest: Duration::from_secs(20) }
    }
}

/// The longest wait that a Retry-After is honoured with.
const LONGEST_ASKED: Duration = Duration::from_secs(120);

impl Backoff {
    /// The wait after the `tries`-th failed try (from 1); `asked` is the other side's
    /// Retry-After, which is waited for up to two minutes, `random` a number in `0.0..1.0`.
    pub fn wait(&self, tries: u32, asked: Option<Duration>, random: f64) -> Duration {
        let doubled = self.first.saturating_mul(2u32.saturating_pow(tries.saturating_sub(1).min(20)));
        let bound = doubled.min(self.longest);
        let jittered = bound.div_f64(2.0) + bound.div_f64(2.0).mul_f64(random.clamp(0.0, 1.0));
        jittered.max(asked.unwrap_or_default().min(LONGEST_ASKED))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_grow_are_bounded_and_honour_what_was_asked() {
        let backoff = Backoff { first: Duration::from_millis(100), longest: Duration::from_secs(1) };
        let table = [
            ("first, least", 1, None, 0.0, 50),
            ("first, most", 1, None, 1.0, 100),
            ("third", 3, None, 1.0, 400),
            ("bounded", 30, None, 1.0, 1000),
            ("asked for more", 1, Some(3), 1.0, 3000),
            ("asked for a day", 1, Some(86_400), 1.0, 120_000),
        ];
        for (name, tries, asked, random, millis) in table {
            let wait = backoff.wait(tries, asked.map(Duration::from_secs), random);
            assert_eq!(wait, Duration::from_millis(millis), "{name}");
        }
    }
}
