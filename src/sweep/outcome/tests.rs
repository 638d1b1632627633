//! What becomes of one object, by how its GETs end: what is stored, counted and delivered, and
//! what the next sweep does.

use std::path::PathBuf;
use std::sync::Arc;

use chrono::{DateTime, TimeDelta, Utc};
use tokio_util::sync::CancellationToken;

use super::super::report::SourceReport;
use super::super::{Mode, SweepContext, SweepLimits, sweep};
use super::*;
use crate::bucket::Bucket;
use crate::bucket::metered::RequestCounts;
use crate::clock::FixedClock;
use crate::collect::CollectSettings;
use crate::commit::fakes::{Bench, SOURCE, settings};
use crate::config::{self, Config};
use crate::decode::DecodeSettings;
use crate::decode::inflate::{FileType, InflateLimits};
use crate::encode::{Encoder, Origin};
use crate::filter::Filter;
use crate::record::{LogType, Record};
use crate::retry::Backoff;
use crate::testing::{Fault, FaultyBucket, MemoryBucket, When};

const KEY: &str = "a/2024/03/10/k.json";

struct Plain;

impl Encoder for Plain {
    fn encode(&self, record: &Record<'_>, _: &Origin, out: &mut Vec<u8>) {
        out.extend_from_slice(record.raw());
        out.push(b'\n');
    }
}

fn object(records: &[u32]) -> String {
    let records: Vec<_> = records.iter().map(|number| format!("{{\"n\":{number}}}")).collect();
    format!("{{\"Records\":[{}]}}", records.join(","))
}

/// A configuration of one source; `settings` are lines of its table.
fn configuration(settings: &str) -> Config {
    let text = format!(
        "state_dir = \"/s\"\n[sink]\ntype = \"stdout\"\n[[source]]\nname = \"main\"\nlog_type = \"cloudtrail\"\n\
         bucket = \"acme\"\nprefix = \"a/{{YYYY}}/{{mm}}/{{dd}}\"\n{settings}\n"
    );
    config::parse(PathBuf::from("/c.toml"), &text).expect("a good configuration")
}

/// A source with one bucket, swept as often as a test likes.
struct Rig {
    bench: Bench,
    memory: MemoryBucket,
    faulty: FaultyBucket<MemoryBucket>,
    config: Config,
    now: DateTime<Utc>,
    /// Ends sweeps; collecting goes on.
    stop: CancellationToken,
}

impl Rig {
    fn new(body: &str, extra: &str) -> Self {
        let now: DateTime<Utc> = "2024-03-10T12:00:00Z".parse().expect("an instant");
        let memory = MemoryBucket::new("acme");
        memory.put(KEY, body.to_owned(), now);
        Rig {
            bench: Bench::new(settings()),
            faulty: FaultyBucket::new(memory.clone(), "acme"),
            memory,
            config: configuration(&format!("file_pattern = '.*'\n{extra}")),
            now,
            stop: CancellationToken::new(),
        }
    }

    /// Changes the settings of the source.
    fn configure(&mut self, settings: &str) {
        self.config = configuration(settings);
    }

    async fn sweep(&self) -> SourceReport {
        self.memory.set_clock(Some(self.now));
        let bucket: Arc<dyn Bucket> = Arc::new(self.faulty.clone());
        let limits = Arc::new(SweepLimits::new(&self.config.limits));
        let context = SweepContext {
            progress: Default::default(),
            config: Arc::new(self.config.sources[0].clone()),
            bucket: bucket.clone(),
            counts: Arc::new(RequestCounts::default()),
            state: self.bench.state.clone(),
            clock: Arc::new(FixedClock(self.now)),
            limits: limits.clone(),
            close_spread: Duration::ZERO,
            keep_history: self.config.history,
            state_dir: PathBuf::from("/nowhere"),
            stop: self.stop.clone(),
            mode: Mode::Collect(self.bench.handle.clone()),
        };
        let committer = self.bench.handle.clone();
        let clock = Arc::new(FixedClock(self.now));
        let swept = sweep(context, move |source| Collector {
            settings: CollectSettings {
                source_name: "main".into(),
                source,
                log_type: LogType::CloudTrail,
                file_type: FileType::Auto,
                filter: Filter::default(),
                mask: Default::default(),
                decode: DecodeSettings { max_record_bytes: 1 << 20, ..Default::default() },
                inflate: InflateLimits { max_object_bytes: 1 << 30, max_ratio: 1000 },
                spool_dir: std::env::temp_dir(),
                max_page_bytes: 1 << 20,
                backoff: Backoff::default(),
                stall_timeout: Duration::from_secs(30),
                object_timeout: Duration::from_secs(3600),
                get_attempts: 4,
            },
            bucket,
            encoder: Arc::new(Plain),
            committer,
            clock,
            throttle: None,
            gets: limits.gets.clone(),
            windows: crate::collect::windows(4),
            stop: CancellationToken::new(),
        })
        .await;
        swept.ended.expect("state and committer work");
        swept.report
    }

    /// The outcome in the ledger, the class and attempts among the failed, the attempts of the
    /// quarantined.
    fn stored(&self) -> (Option<Outcome>, Option<(String, u32)>, Option<u32>) {
        let state = &self.bench.state;
        let failed = state.failed(SOURCE, KEY).expect("read");
        let quarantined = state.quarantine(None, 1).expect("read").pop();
        (
            state.entry(SOURCE, KEY).expect("read").map(|entry| entry.outcome),
            failed.map(|failed| (failed.class, failed.attempts)),
            quarantined.map(|(_, object)| object.attempts),
        )
    }

    fn delivered(&self) -> String {
        self.bench.script.durable_text().replace('\n', "")
    }
}

#[tokio::test(start_paused = true)]
async fn every_class_has_its_rule() {
    use Outcome::{Collected, Empty, Gone, Quarantined};
    let good = object(&[1, 2]);
    let failed = |class: &str, attempts| Some((class.to_owned(), attempts));
    let all = "{\"n\":1}{\"n\":2}";
    let cases = [
        ("collected", good.clone(), None, (Some(Collected), None, None), all),
        ("no bytes", String::new(), None, (Some(Empty), None, None), ""),
        ("no records", object(&[]), None, (Some(Empty), None, None), ""),
        ("deleted meanwhile", good.clone(), Some(Fault::Fail(Class::Gone)), (Some(Gone), None, None), ""),
        ("refused", good.clone(), Some(Fault::Fail(Class::Object)), (None, failed("object", 1), None), ""),
        (
            "not now",
            good.clone(),
            Some(Fault::Fail(Class::Transient)),
            (None, failed("transient", 1), None),
            "",
        ),
        ("no access at all", good.clone(), Some(Fault::Fail(Class::Unreachable)), (None, None, None), ""),
        ("damaged", good.replace("]}", "]oops"), None, (Some(Quarantined), None, Some(2)), all),
    ];
    for (name, body, fault, want, delivered) in cases {
        let rig = Rig::new(&body, "");
        if let Some(fault) = fault {
            rig.faulty.on_get(When::Always, fault);
        }
        let report = rig.sweep().await;
        assert_eq!((rig.stored(), rig.delivered().as_str()), (want.clone(), delivered), "{name}");
        let objects = &report.objects;
        let skipped: u64 = objects.skipped.values().sum();
        let ended = objects.collected + objects.empty + objects.failed + objects.quarantined + skipped;
        assert_eq!((objects.listed, ended), (1, 1), "{name}: listed, and ended in one way: {objects:?}");
        let failing = objects.failed + objects.quarantined;
        assert_eq!((report.has_failures(), report.failures.len() as u64), (failing > 0, failing), "{name}");
        assert_eq!(report.unreachable.is_empty(), name != "no access at all", "{name}");

        // the next sweep: what is settled stays, what is not is collected
        rig.faulty.heal();
        let report = rig.sweep().await;
        // What was gone and is there again was never delivered.
        let is_settled = want.0.is_some_and(|outcome| outcome != Gone);
        assert_eq!(report.objects.collected, u64::from(!is_settled), "{name}: the next sweep");
        let expected = if is_settled { delivered } else { all };
        assert_eq!(rig.delivered(), expected, "{name}: each record once");
        let outcome = want.0.filter(|outcome| *outcome != Gone).unwrap_or(Collected);
        assert_eq!((rig.stored().0, rig.stored().1), (Some(outcome), None), "{name}: the next sweep");
    }
}

#[tokio::test(start_paused = true)]
async fn a_refused_object_is_quarantined_after_its_attempts() {
    let rig = Rig::new(&object(&[1]), "max_attempts = 3");
    rig.faulty.on_get(When::Always, Fault::Fail(Class::Object));
    for attempt in 1..3 {
        assert_eq!(rig.sweep().await.objects.failed, 1);
        assert_eq!(rig.stored(), (None, Some(("object".into(), attempt)), None));
    }
    assert_eq!(rig.sweep().await.objects.quarantined, 1);
    assert_eq!(rig.stored(), (Some(Outcome::Quarantined), None, Some(3)));
    let report = rig.sweep().await;
    assert_eq!((report.objects.quarantined, report.has_failures()), (0, false), "told once");
}

#[tokio::test(start_paused = true)]
async fn an_archived_object_is_looked_at_daily_and_is_no_failure_of_a_run() {
    let mut rig = Rig::new(&object(&[1]), "");
    rig.memory.set_archived(KEY, true);
    let report = rig.sweep().await;
    assert_eq!((report.objects.failed, report.has_failures()), (1, false));
    assert_eq!(rig.memory.counts().get(), 0, "the listing told, no GET was made");
    rig.memory.set_archived(KEY, false);
    rig.now += TimeDelta::hours(23);
    assert_eq!(rig.sweep().await.objects.collected, 0, "not before a day is over");
    rig.now += TimeDelta::hours(2);
    assert_eq!(rig.sweep().await.objects.collected, 1);
    assert_eq!((rig.stored().1, rig.delivered().as_str()), (None, "{\"n\":1}"));
}

/// The key is overwritten between its LIST and its GET, or between two GETs of it.
#[tokio::test(start_paused = true)]
async fn an_object_that_was_replaced_follows_on_overwrite() {
    let (old, new) = (object(&[1, 2]), object(&[7]));
    let first_of_old = (old.find("}").expect("a record") + 2) as u64;
    for (name, extra, cut, delivered, outcome) in [
        ("nothing of the old one was delivered", "", None, "{\"n\":7}", Outcome::Collected),
        ("a record was: the new one is ignored", "", Some(first_of_old), "{\"n\":1}", Outcome::Replaced),
        (
            "a record was, and new ones are wanted",
            "on_overwrite = \"collect\"",
            Some(first_of_old),
            "{\"n\":1}{\"n\":7}",
            Outcome::Collected,
        ),
    ] {
        let rig = Rig::new(&old, extra);
        let (memory, body, now) = (rig.memory.clone(), new.clone(), rig.now);
        let overwrite = Fault::before(move || drop(memory.put(KEY, body.clone(), now)));
        if let Some(cut) = cut {
            rig.faulty.on_get(When::Nth(1), Fault::CutBody(cut)).on_get(When::Nth(2), overwrite);
        } else {
            rig.faulty.on_get(When::Nth(1), overwrite);
        }
        rig.sweep().await;
        assert_eq!((rig.stored().0, rig.delivered().as_str()), (Some(outcome), delivered), "{name}");
        rig.sweep().await;
        assert_eq!(rig.delivered(), delivered, "{name}: the next sweep adds nothing");
        assert_eq!(rig.bench.state.all_progress(SOURCE).expect("read"), [], "{name}");
    }
}

#[tokio::test(start_paused = true)]
async fn attempts_do_not_count_while_the_source_is_unreachable() {
    let rig = Rig::new(&object(&[1]), "max_attempts = 3");
    rig.faulty.on_get(When::Always, Fault::Fail(Class::Object));
    rig.sweep().await;
    rig.faulty.on_list(When::Always, Fault::Fail(Class::Unreachable));
    for _ in 0..4 {
        assert_eq!(rig.sweep().await.unreachable.len(), 1);
        assert_eq!(rig.stored(), (None, Some(("object".into(), 1)), None));
    }
}

/// The keys of four objects that are refused, beside one that is read.
const REFUSED: [&str; 4] = ["a/2024/03/10/p", "a/2024/03/10/q", "a/2024/03/10/r", "a/2024/03/10/s"];

/// A source of which four objects are refused; and one of which all are.
#[tokio::test(start_paused = true)]
async fn refused_objects_of_a_readable_source_are_quarantined_though_nothing_is_new() {
    for all in [false, true] {
        let rig = Rig::new(&object(&[1]), "max_attempts = 3");
        for key in REFUSED {
            rig.memory.put(key, object(&[1]), rig.now);
        }
        rig.faulty.on_get(
            When::Matches(Box::new(move |_, key| all || REFUSED.contains(&key))),
            Fault::Fail(Class::Object),
        );
        let first = rig.sweep().await;
        assert_eq!((first.objects.collected, first.objects.failed), if all { (0, 5) } else { (1, 4) });
        let mut quarantined = 0;
        for _ in 0..6 {
            let report = rig.sweep().await;
            quarantined += report.objects.quarantined;
            assert_eq!(report.unreachable.is_empty(), !all, "{report:?}");
        }
        assert_eq!(quarantined, if all { 0 } else { 4 }, "nothing is new, all refused: {all}");
    }
}

/// What was read before tells nothing of a source that is closed to us since.
#[tokio::test(start_paused = true)]
async fn objects_that_come_once_all_are_refused_are_not_quarantined() {
    let rig = Rig::new(&object(&[1]), "max_attempts = 3");
    assert_eq!(rig.sweep().await.objects.collected, 1);
    for key in REFUSED {
        rig.memory.put(key, object(&[1]), rig.now);
    }
    rig.faulty.on_get(When::Always, Fault::Fail(Class::Object));
    for _ in 0..6 {
        assert_eq!(rig.sweep().await.objects.quarantined, 0);
    }
    rig.faulty.heal();
    assert_eq!(rig.sweep().await.objects.collected, 4);
}

#[tokio::test(start_paused = true)]
async fn a_stop_while_a_key_is_listed_again_is_no_failure() {
    let mut rig = Rig::new(&object(&[1]), "");
    let (memory, stop, now) = (rig.memory.clone(), rig.stop.clone(), rig.now);
    let overwrite_and_stop = Fault::before(move || {
        memory.put(KEY, object(&[7]), now);
        stop.cancel();
    });
    rig.faulty.on_get(When::Nth(1), overwrite_and_stop);
    let report = rig.sweep().await;
    assert_eq!((report.objects.failed, report.objects.skipped.get("stopped")), (0, Some(&1)), "{report:?}");
    assert_eq!(rig.stored(), (None, None, None), "nothing is kept by name");
    rig.stop = CancellationToken::new();
    assert_eq!((rig.sweep().await.objects.collected, rig.delivered().as_str()), (1, "{\"n\":7}"));
}

/// An object in flight that the configuration no longer takes is asked for in no sweep.
#[tokio::test(start_paused = true)]
async fn what_was_begun_and_is_no_longer_taken_costs_nothing() {
    let body = object(&[1, 2]);
    let mut rig = Rig::new(&body, "");
    let first = (body.find('}').expect("a record") + 2) as u64;
    rig.faulty
        .on_get(When::Nth(1), Fault::CutBody(first))
        .on_get(When::Nth(2), Fault::Fail(Class::Unreachable));
    rig.sweep().await;
    assert_eq!(rig.delivered(), "{\"n\":1}");
    rig.faulty.heal();
    rig.configure("file_pattern = '.*[.]gz'");
    for _ in 0..2 {
        rig.memory.forget_requests();
        rig.sweep().await;
        assert_eq!((rig.memory.counts().list(), rig.memory.counts().get()), (1, 0));
    }
    rig.configure("file_pattern = '.*'");
    rig.sweep().await;
    assert_eq!(rig.delivered(), "{\"n\":1}{\"n\":2}", "taken again, it goes on where it was");
}

/// The ledger's entry of the key: outcome and records.
fn entry(rig: &Rig) -> Option<(Outcome, u64)> {
    let entry = rig.bench.state.entry(SOURCE, KEY).expect("read");
    entry.map(|entry| (entry.outcome, entry.records))
}

fn assert_told_gone(report: &SourceReport, case: &str) {
    let told: Vec<_> = report.failures.iter().map(|line| (&*line.class, line.reason.as_str())).collect();
    assert_eq!(told, [("gone", "deleted while it was collected, after 1 of its records")], "{case}");
    let counts = (report.objects.listed, report.objects.skipped.get("gone"), report.has_failures());
    assert_eq!(counts, (1, Some(&1), false), "{case}: counted once, and no failure of the run");
}

/// The key is deleted between two GETs; later it is there again, as it was or as another object.
#[tokio::test(start_paused = true)]
async fn an_object_deleted_while_it_is_collected_is_gone_with_its_records() {
    let (old, new) = (object(&[1, 2]), object(&[7]));
    let first_of_old = (old.find('}').expect("a record") + 2) as u64;
    let collect = "on_overwrite = \"collect\"";
    for (name, extra, again, delivered, settled) in [
        ("as it was", "", &old, "{\"n\":1}{\"n\":2}", (Outcome::Collected, 2)),
        ("as it was, collect", collect, &old, "{\"n\":1}{\"n\":2}", (Outcome::Collected, 2)),
        ("another one", "", &new, "{\"n\":1}", (Outcome::Replaced, 1)),
        ("another one, collect", collect, &new, "{\"n\":1}{\"n\":7}", (Outcome::Collected, 1)),
    ] {
        let rig = Rig::new(&old, extra);
        let memory = rig.memory.clone();
        rig.faulty
            .on_get(When::Nth(1), Fault::CutBody(first_of_old))
            .on_get(When::Nth(2), Fault::before(move || assert!(memory.delete(KEY))));
        let report = rig.sweep().await;
        assert_eq!((entry(&rig), report.records), (Some((Outcome::Gone, 1)), 1), "{name}");
        assert_told_gone(&report, name);
        let report = rig.sweep().await;
        assert_eq!((report.objects.listed, report.failures.len()), (0, 0), "{name}: told once");
        rig.memory.put(KEY, again.clone(), rig.now);
        rig.sweep().await;
        assert_eq!((rig.delivered().as_str(), entry(&rig)), (delivered, Some(settled)), "{name}: again");
        assert_eq!(rig.bench.state.all_progress(SOURCE).expect("read"), [], "{name}");
    }
}

/// An earlier run delivered a record; before the next one the key is deleted, so that no listing
/// shows it.
#[tokio::test(start_paused = true)]
async fn an_object_deleted_between_two_runs_is_gone_with_its_records() {
    let body = object(&[1, 2]);
    let rig = Rig::new(&body, "");
    let first = (body.find('}').expect("a record") + 2) as u64;
    rig.faulty
        .on_get(When::Nth(1), Fault::CutBody(first))
        .on_get(When::Nth(2), Fault::Fail(Class::Unreachable));
    rig.sweep().await;
    assert_eq!((entry(&rig), rig.delivered().as_str()), (None, "{\"n\":1}"));
    rig.memory.delete(KEY);
    let report = rig.sweep().await;
    assert_eq!(entry(&rig), Some((Outcome::Gone, 1)));
    assert_told_gone(&report, "absent");
    assert_eq!(rig.sweep().await.objects.listed, 0, "told once");
}

/// A file of a directory is read while it is written; it is complete, and old, before the next
/// look at it.
#[tokio::test(start_paused = true)]
async fn a_file_that_grows_between_two_sweeps_is_delivered_whole() {
    let whole = object(&[1, 2, 3]);
    for extra in ["", "on_overwrite = \"collect\""] {
        for cut in 0..whole.len() {
            let mut rig = Rig::new(&whole[..cut], extra);
            rig.memory.set_grows(true);
            rig.now += TimeDelta::seconds(5);
            rig.sweep().await;
            rig.memory.put(KEY, whole.clone(), rig.now + TimeDelta::seconds(2));
            rig.now += TimeDelta::minutes(15);
            for _ in 0..2 {
                rig.sweep().await; // one that was empty is settled as that first
            }
            let records = entry(&rig);
            assert_eq!(rig.delivered(), "{\"n\":1}{\"n\":2}{\"n\":3}", "cut at {cut}, {extra}");
            assert_eq!(records, Some((Outcome::Collected, 3)), "cut at {cut}, {extra}");
        }
    }
}
