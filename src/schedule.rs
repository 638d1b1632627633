//! When a source is due. Pure.

use std::time::Duration;

/// How long to wait for the next tick: ticks lie at multiples of `recurrence` after the first
/// sweep began, `elapsed` is the time since then. Ticks that fell into a running sweep become
/// one, due at once.
pub fn until_next(recurrence: Duration, last_began: Duration, elapsed: Duration) -> Duration {
    if recurrence.is_zero() {
        return Duration::ZERO;
    }
    let tick = |at: Duration| at.as_nanos() / recurrence.as_nanos();
    if tick(elapsed) > tick(last_began) {
        return Duration::ZERO;
    }
    let into = Duration::from_nanos_u128(elapsed.as_nanos() % recurrence.as_nanos());
    recurrence - into
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ticks_lie_on_the_grid_and_missed_ones_become_one() {
        let table = [
            ("a short sweep", 300, 0, 10, 290),
            ("no time at all", 300, 0, 0, 300),
            ("a sweep over one tick", 300, 0, 310, 0),
            ("a sweep over many ticks", 300, 0, 3000, 0),
            ("a sweep that began late within its tick", 300, 310, 320, 280),
            ("no recurrence", 0, 0, 5, 0),
        ];
        for (name, recurrence, began, elapsed, want) in table {
            let secs = Duration::from_secs;
            assert_eq!(until_next(secs(recurrence), secs(began), secs(elapsed)), secs(want), "{name}");
        }
    }
}
