//! Numbers and times as people read them.

use chrono::{DateTime, Utc};

/// A number with its thousands apart.
pub(super) fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// A span of time in its two largest units.
pub(super) fn span(seconds: i64) -> String {
    let seconds = seconds.max(0);
    let (minutes, hours, days) = (seconds / 60, seconds / 3_600, seconds / 86_400);
    match (days, hours, minutes) {
        (0, 0, 0) => format!("{seconds} s"),
        (0, 0, minutes) => format!("{minutes} min"),
        (0, hours, minutes) => format!("{hours} h {} min", minutes % 60),
        (days, hours, _) => format!("{days} d {} h", hours % 24),
    }
}

/// An instant with how far it is from now.
pub(super) fn instant(at: DateTime<Utc>, now: DateTime<Utc>) -> String {
    let away = (now - at).num_seconds();
    let how_far = match away {
        0 => "now".to_owned(),
        1.. => format!("{} ago", span(away)),
        _ => format!("in {}", span(-away)),
    };
    format!("{} UTC ({how_far})", at.format("%F %T"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn people_can_read_it() {
        for (number, want) in
            [(0, "0"), (999, "999"), (1_000, "1,000"), (123_456, "123,456"), (1_234_567, "1,234,567")]
        {
            assert_eq!(grouped(number), want);
        }
        for (seconds, want) in [
            (-5, "0 s"),
            (59, "59 s"),
            (60, "1 min"),
            (3_599, "59 min"),
            (3_660, "1 h 1 min"),
            (86_399, "23 h 59 min"),
            (180_000, "2 d 2 h"),
        ] {
            assert_eq!(span(seconds), want);
        }
        let now: DateTime<Utc> = "2026-06-02T01:00:00Z".parse().unwrap();
        for (at, want) in [
            ("2026-06-02T00:55:00Z", "2026-06-02 00:55:00 UTC (5 min ago)"),
            ("2026-06-02T01:00:30Z", "2026-06-02 01:00:30 UTC (in 30 s)"),
            ("2026-06-02T01:00:00Z", "2026-06-02 01:00:00 UTC (now)"),
        ] {
            assert_eq!(instant(at.parse().unwrap(), now), want);
        }
    }
}
