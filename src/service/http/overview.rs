//! How everything stands, as `/api/status` tells it and the page shows it.
//!
//! All lists are bounded; what is counted beside them is whole. Fields may be added, none renamed.

use std::sync::Arc;

use chrono::{DateTime, Utc};
use serde::Serialize;

use super::health;
use crate::aws::advice::{self, Advice};
use crate::failure::Class;
use crate::service::stored::Stored;
use crate::service::watch::{Known, Point, Spent, Standing};

/// Leaves that are named, those that lag most.
const LEAVES: usize = 5;

/// Everything.
#[derive(Debug, Serialize)]
pub struct Overview {
    /// Version of the program.
    pub version: &'static str,
    /// Name of the instance.
    pub instance: String,
    /// When this was made.
    pub now: DateTime<Utc>,
    /// When the daemon started.
    pub started: DateTime<Utc>,
    /// Whether `/healthz` says so.
    pub healthy: bool,
    /// Whether `/readyz` says so.
    pub ready: bool,
    /// The sources at work, by name.
    pub sources: Vec<SourceOverview>,
}

/// How a source stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Condition {
    /// A part or all of it refuses us or is not there.
    Unreachable,
    /// Objects failed or were quarantined in its last sweep.
    Failing,
    /// An operator paused it.
    Paused,
    /// Its first sweep since the start has not ended.
    Starting,
    /// All is well.
    Ok,
}

impl Condition {
    /// The word that is shown.
    pub fn word(self) -> &'static str {
        match self {
            Condition::Unreachable => "unreachable",
            Condition::Failing => "failing",
            Condition::Paused => "paused",
            Condition::Starting => "starting",
            Condition::Ok => "ok",
        }
    }
}

/// One source.
#[derive(Debug, Serialize)]
pub struct SourceOverview {
    /// Its name.
    pub name: String,
    /// Where its objects lie.
    pub bucket: String,
    /// Its pattern.
    pub pattern: String,
    /// How it stands.
    pub state: Condition,
    /// Since when, where it is not well.
    pub since: Option<DateTime<Utc>>,
    /// Why, where it is not well.
    pub reason: Option<String>,
    /// What that means, where it is known.
    pub meaning: Option<&'static str>,
    /// What to do, where it is known.
    pub next_step: Option<&'static str>,
    /// The last LIST, of a sweep or a check: the state is not older.
    pub asked_at: Option<DateTime<Utc>>,
    /// When the sweep under way began.
    pub sweeping_since: Option<DateTime<Utc>>,
    /// When the last sweep ended, of any run.
    pub last_sweep: Option<DateTime<Utc>>,
    /// When the next one begins.
    pub next_sweep: Option<DateTime<Utc>>,
    /// Leaves that are there.
    pub leaves: usize,
    /// The age of the newest settled object.
    pub lag_seconds: Option<i64>,
    /// The leaves that lag most.
    pub worst_leaves: Vec<LeafLag>,
    /// Objects that wait to be tried again.
    pub waiting: u64,
    /// The first of them.
    pub waiting_objects: Vec<ObjectTrouble>,
    /// Objects in the quarantine.
    pub quarantined: u64,
    /// The first of them.
    pub quarantined_objects: Vec<ObjectTrouble>,
    /// Requests of the last 24 hours, at most since the start.
    pub requests_24h: Spent,
    /// The last sweeps since the start, oldest first.
    pub recent: Vec<Point>,
}

/// One leaf.
#[derive(Debug, Serialize)]
pub struct LeafLag {
    /// Its name.
    pub leaf: String,
    /// The age of its newest settled object.
    pub lag_seconds: i64,
}

/// One object that did not come whole.
#[derive(Debug, Serialize)]
pub struct ObjectTrouble {
    /// Its key.
    pub key: String,
    /// The class of the failure.
    pub class: String,
    /// Why.
    pub reason: String,
    /// What to do.
    pub next_step: &'static str,
    /// Sweeps, or GETs of a quarantined one, that tried it.
    pub attempts: u32,
    /// When it is tried again.
    pub retry_at: Option<DateTime<Utc>>,
}

impl SourceOverview {
    pub(super) fn of(standing: &Standing, stored: &Stored, now: DateTime<Utc>) -> Self {
        let (config, known) = (standing.config(), standing.known());
        let found = Found::of(&known, stored);
        let lag = |at: DateTime<Utc>| (now - at).num_seconds().max(0);
        let last_sweep = known.recent.back().map(|point| point.at);
        SourceOverview {
            name: config.name.clone(),
            bucket: config.bucket.name(),
            pattern: config.pattern.to_string(),
            state: found.condition,
            since: found.since,
            meaning: found.advice.map(|advice| advice.meaning),
            next_step: found.advice.map(|advice| advice.next).or(found.next_step),
            reason: found.reason,
            asked_at: known.asked_at,
            sweeping_since: known.sweeping_since,
            last_sweep: last_sweep.or(stored.last_sweep.as_ref().map(|last| last.at)),
            next_sweep: known.next_at,
            leaves: stored.leaves,
            lag_seconds: stored.newest_of_all().map(lag),
            worst_leaves: stored
                .newest
                .iter()
                .take(LEAVES)
                .map(|(leaf, at)| LeafLag { leaf: leaf.clone(), lag_seconds: lag(*at) })
                .collect(),
            waiting: stored.failed,
            waiting_objects: waiting(stored),
            quarantined: stored.quarantined,
            quarantined_objects: quarantined(stored),
            requests_24h: standing.last_day(),
            recent: known.recent.into(),
        }
    }
}

/// How a source stands, and why.
struct Found {
    condition: Condition,
    since: Option<DateTime<Utc>>,
    reason: Option<String>,
    advice: Option<&'static Advice>,
    next_step: Option<&'static str>,
}

impl Found {
    fn of(known: &Known, stored: &Stored) -> Self {
        let found = |condition, since, reason: Option<String>| Found {
            condition,
            since,
            advice: reason.as_deref().and_then(advice::named_in),
            reason,
            next_step: None,
        };
        if let Some(since) = stored.paused {
            let next_step = Some("`s3sweep sweep resume` ends that.");
            return Found { next_step, ..found(Condition::Paused, Some(since), None) };
        }
        if let Some(seen) = &known.unreachable {
            let by_code = seen.code.as_deref().and_then(advice::advice);
            let found = found(Condition::Unreachable, Some(seen.since), Some(seen.reason.clone()));
            let next_step = Some("Run `s3sweep check`, which looks at each step of the way.");
            return Found { advice: by_code.or(found.advice), next_step, ..found };
        }
        if let Some(trouble) = &known.failing {
            let reason = trouble.failures.first().map(|line| match line.reason.contains(&line.key) {
                true => line.reason.clone(),
                false => format!("{}: {}", line.key, line.reason),
            });
            let class = trouble.failures.first().and_then(|line| Class::from_word(&line.class));
            let next_step = class.map(step_of_class);
            return Found { next_step, ..found(Condition::Failing, Some(trouble.since), reason) };
        }
        if known.sweeps > 0 {
            return found(Condition::Ok, None, None);
        }
        match stored.last_sweep.as_ref().and_then(|last| Some((last.at, last.unreachable.clone()?))) {
            Some((at, reason)) => found(Condition::Unreachable, Some(at), Some(reason)),
            None => found(Condition::Starting, None, None),
        }
    }
}

fn waiting(stored: &Stored) -> Vec<ObjectTrouble> {
    let trouble = stored.failed_objects.iter().map(|(key, object)| ObjectTrouble {
        key: key.clone(),
        class: object.class.clone(),
        reason: object.reason.clone(),
        next_step: step_of(object.class(), &object.reason),
        attempts: object.attempts,
        retry_at: Some(object.retry_at),
    });
    trouble.collect()
}

fn quarantined(stored: &Stored) -> Vec<ObjectTrouble> {
    let trouble = stored.quarantined_objects.iter().map(|object| ObjectTrouble {
        key: object.key.clone(),
        class: object.class.clone(),
        reason: object.reason.clone(),
        next_step: step_of(Class::Content, &object.reason),
        attempts: object.attempts,
        retry_at: None,
    });
    trouble.collect()
}

/// What to do about an object: by the code that its reason names, else by its class.
fn step_of(class: Class, reason: &str) -> &'static str {
    advice::named_in(reason).map_or_else(|| step_of_class(class), |advice| advice.next)
}

fn step_of_class(class: Class) -> &'static str {
    match class {
        Class::Transient => "Nothing: it is tried again with the next sweep.",
        Class::Content => {
            "Put a whole object in its place, then `s3sweep quarantine retry`; or give it up with `s3sweep quarantine drop`."
        }
        Class::Object => "Run `s3sweep check`: it says which permission is missing.",
        Class::Archived => "Restore it from the archive; it is tried again each day.",
        Class::Replaced | Class::Gone => "Nothing: it is listed again with the next sweep.",
        Class::Unreachable => "Run `s3sweep check`, which looks at each step of the way.",
    }
}

impl Overview {
    pub(super) fn of(
        instance: &str,
        started: DateTime<Utc>,
        now: DateTime<Utc>,
        sources: &[(Arc<Standing>, Stored)],
    ) -> Self {
        Overview {
            version: env!("CARGO_PKG_VERSION"),
            instance: instance.to_owned(),
            now,
            started,
            healthy: sources.iter().all(|(known, stored)| health::unlisted(known, stored, now).is_none()),
            ready: sources.iter().all(|(known, stored)| health::unstarted(known, stored).is_none()),
            sources: sources.iter().map(|(known, stored)| SourceOverview::of(known, stored, now)).collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::service::watch::{Trouble, Unreachable};
    use crate::state::LastSweep;
    use crate::sweep::report::FailureLine;

    fn at(minute: i64) -> DateTime<Utc> {
        DateTime::UNIX_EPOCH + chrono::TimeDelta::minutes(minute)
    }

    fn unreachable(reason: &str, code: Option<&str>) -> Known {
        let (reason, code) = (reason.to_owned(), code.map(str::to_owned));
        let seen = Unreachable { since: at(1), reason, code, prefix: None };
        Known { sweeps: 1, unreachable: Some(seen), ..Known::default() }
    }

    fn failing(class: &'static str, reason: &str) -> Known {
        let line = FailureLine { key: "k".to_owned(), class: class.into(), reason: reason.to_owned() };
        let trouble = Trouble { since: at(2), failures: vec![line] };
        Known { sweeps: 1, failing: Some(trouble), ..Known::default() }
    }

    #[test]
    fn what_is_wrong_comes_with_what_to_do() {
        let swept = Known { sweeps: 1, ..Known::default() };
        let paused = Stored { paused: Some(at(3)), ..Stored::default() };
        let refusal = Some("LIST s3://b/: AccessDenied: no".to_owned());
        let last = LastSweep { at: at(4), records: 0, collected: 0, unreachable: refusal, identity: None };
        let before = Stored { last_sweep: Some(last), ..Stored::default() };
        let none = Stored::default();
        use Condition::*;
        for (name, known, stored, condition, since, step) in [
            ("nothing yet", Known::default(), &none, Starting, None, None),
            ("the run before", Known::default(), &before, Unreachable, Some(4), Some("AccessDenied")),
            ("well", swept.clone(), &before, Ok, None, None),
            ("paused", unreachable("x", None), &paused, Paused, Some(3), Some("sweep resume")),
            (
                "a code",
                unreachable("no such name", Some("NameUnknown")),
                &none,
                Unreachable,
                Some(1),
                Some("NameUnknown"),
            ),
            (
                "a code in the text",
                unreachable("NoSuchBucket: no", None),
                &none,
                Unreachable,
                Some(1),
                Some("NoSuchBucket"),
            ),
            ("no code", unreachable("odd", None), &none, Unreachable, Some(1), Some("s3sweep check")),
            ("content", failing("content", "bad gzip"), &none, Failing, Some(2), Some("quarantine retry")),
            (
                "a key",
                failing("object", "KMS.AccessDenied: no"),
                &none,
                Failing,
                Some(2),
                Some("KMS.AccessDenied"),
            ),
        ] {
            let found = Found::of(&known, stored);
            assert_eq!((found.condition, found.since), (condition, since.map(at)), "{name}");
            let next_step = found.advice.map(|advice| advice.next).or(found.next_step);
            match step {
                Some(code) => {
                    let of_table = advice::advice(code).map(|advice| advice.next);
                    let shown = next_step.unwrap_or_default();
                    assert!(
                        of_table.is_some_and(|next| next == shown) || shown.contains(code),
                        "{name}: {shown}"
                    );
                }
                None => assert_eq!(next_step, None, "{name}"),
            }
        }
    }

    #[test]
    fn each_class_has_a_step() {
        let classes = ["transient", "content", "object", "archived", "replaced", "gone", "unreachable"];
        for class in classes.map(|word| Class::from_word(word).expect("it is a class")) {
            assert!(step_of(class, "odd").ends_with('.'), "{class}");
            assert_eq!(
                step_of(class, "SlowDown: busy"),
                advice::advice("SlowDown").expect("it is known").next
            );
        }
    }
}
