//! Looks after sources between their sweeps: one LIST of one key, so that what the status page says
//! is never old. Nothing is collected, and no turn is waited for.

use std::convert::Infallible;
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};

use super::watch::Known;
use super::{Instance, Roster, Source};
use crate::bucket::{Bucket as _, BucketError, ListRequest};
use crate::policy;

/// Between two looks at whether a check is due.
const LEAST_WAIT: Duration = Duration::from_secs(1);
const LONGEST_WAIT: Duration = Duration::from_secs(10);

impl Instance {
    /// Checks each source of the roster whenever it was not asked for `check_every`, while somebody
    /// may look.
    pub(super) async fn keep_checking(&self, roster: &Roster) -> Infallible {
        let http = &self.config.http;
        if http.listen.is_none() || http.check_every.is_zero() {
            return std::future::pending().await;
        }
        loop {
            let mut wait = LONGEST_WAIT;
            let mut checks = Vec::new();
            for source in roster.sources() {
                match due(&self.watch.of(&source.config).known(), self.watch.now(), http.check_every) {
                    Due::Now => checks.push(async move { self.check(&source, false).await }),
                    Due::In(time) => wait = wait.min(time),
                }
            }
            // what they find stands in what is known
            drop(futures_util::future::join_all(checks).await);
            tokio::time::sleep(wait.max(LEAST_WAIT)).await;
        }
    }

    /// Asks a source once; `wholly` when an operator's `check` found nothing wrong besides.
    pub(super) async fn check(&self, source: &Source, wholly: bool) -> Result<(), BucketError> {
        let (standing, config) = (self.watch.of(&source.config), &source.config);
        let known = standing.known();
        let refused = known.unreachable.and_then(|seen| seen.prefix);
        let prefix = refused.or(known.listed).unwrap_or_else(|| policy::literal_part(&config.pattern));
        let request = ListRequest { prefix, page_size: 1, ..ListRequest::default() };
        let answer = match source.metered(&self.config.limits).await {
            Ok((bucket, _)) => {
                let _list = self.shared.limits.lists.acquire().await;
                bucket.list(&request).await.map(|_| ())
            }
            Err(error) => Err(error),
        };
        standing.checked(&request.prefix, &answer, wholly);
        answer
    }
}

/// When a check is due.
#[derive(Debug, PartialEq)]
enum Due {
    Now,
    In(Duration),
}

/// A sweep asks too: a check is due only where none is under way, and none comes in time.
fn due(known: &Known, now: DateTime<Utc>, every: Duration) -> Due {
    let span = TimeDelta::from_std(every).unwrap_or(TimeDelta::MAX);
    let Some(asked_at) = known.asked_at else { return Due::In(every) };
    let Some(at) = asked_at.checked_add_signed(span) else { return Due::In(every) };
    let sweep_comes = known.next_at.is_some_and(|next| next <= at + TimeDelta::seconds(1));
    if known.sweeping_since.is_some() || sweep_comes {
        return Due::In(LONGEST_WAIT);
    }
    (at - now).to_std().ok().filter(|wait| !wait.is_zero()).map_or(Due::Now, Due::In)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_check_comes_only_where_no_sweep_does() {
        let at = |minute: i64| DateTime::UNIX_EPOCH + TimeDelta::minutes(minute);
        let minutes = |minutes: u64| Duration::from_secs(60 * minutes);
        let every = minutes(5);
        for (name, asked, next, sweeping, now, want) in [
            ("nothing was asked yet", None, None, None, 9, Due::In(every)),
            ("asked just now", Some(10), Some(70), None, 10, Due::In(minutes(5))),
            ("asked a while ago", Some(10), Some(70), None, 13, Due::In(minutes(2))),
            ("asked too long ago", Some(10), Some(70), None, 15, Due::Now),
            ("the clock was set back", Some(10), Some(70), None, 5, Due::In(minutes(10))),
            ("the sweep is in time", Some(10), Some(15), None, 15, Due::In(Duration::from_secs(10))),
            ("a sweep is under way", Some(10), None, Some(10), 90, Due::In(Duration::from_secs(10))),
        ] {
            let known = Known {
                asked_at: asked.map(at),
                next_at: next.map(at),
                sweeping_since: sweeping.map(at),
                ..Known::default()
            };
            assert_eq!(due(&known, at(now), every), want, "{name}");
        }
    }
}
