//! The rules of the two probes. Paused sources count for neither.

use chrono::{DateTime, TimeDelta, Utc};

use crate::service::stored::Stored;
use crate::service::watch::Standing;

/// A source that was not listed for so many recurrences is not healthy.
pub const RECURRENCES: u32 = 3;

/// The sources that were not listed in sweeps for [`RECURRENCES`] recurrences, with the reason: it is
/// unreachable, or its sweep does not go on because the sink is down.
pub(super) fn unlisted(standing: &Standing, stored: &Stored, now: DateTime<Utc>) -> Option<String> {
    let since = standing.unlisted_since();
    let longest = TimeDelta::from_std(standing.config().recurrence * RECURRENCES).unwrap_or(TimeDelta::MAX);
    if stored.paused.is_some() || now - since <= longest {
        return None;
    }
    let why = standing.known().unreachable.map(|seen| format!(": {}", seen.reason)).unwrap_or_default();
    Some(format!("{}: not listed since {}{why}", standing.name(), since.format("%FT%TZ")))
}

/// A source whose first sweep has neither listed anything nor ended.
pub(super) fn unstarted(standing: &Standing, stored: &Stored) -> Option<String> {
    let known = standing.known();
    let started = known.sweeps > 0 || known.listed_at.is_some() || stored.paused.is_some();
    (!started).then(|| format!("{}: its first sweep has not listed anything yet", standing.name()))
}
