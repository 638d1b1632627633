//! What the state on disk costs: commits, the merge-join of a listing with the ledger, closing a
//! day, opening, the sidecar, and the database's file over a simulated month.
//!
//! `cargo bench --bench state` runs all of it, `-- commit` or another name a part. Every commit is
//! durable: figures depend on the disk under the temporary folder.
#![allow(
    missing_docs,
    clippy::disallowed_methods,
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "a benchmark tells wall time, and stops at the first error"
)]

use std::hint::black_box;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use chrono::{DateTime, TimeDelta, Utc};
use criterion::{BatchSize, Criterion, criterion_group};
use s3sweep::bucket::ListRequest;
use s3sweep::bucket::metered::{Metered, RequestCounts};
use s3sweep::clock::Clock;
use s3sweep::commit::{Closing, CommitSettings, Committer, Durable};
use s3sweep::config::{self, Config};
use s3sweep::pattern::{Leaf, PrefixPattern, PrefixTime};
use s3sweep::sink::dead_letter::DeadLetters;
use s3sweep::sink::{Position, Sink, SinkError};
use s3sweep::state::disk::DiskState;
use s3sweep::state::history::History;
use s3sweep::state::overlay::OverlayState;
use s3sweep::state::{Batch, Change, LeafRecord, LedgerEntry, Outcome, SourceKey, SourceRecord, State};
use s3sweep::sweep::{self, Mode, SweepContext, SweepLimits};
use s3sweep::testing::MemoryBucket;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

const PATTERN: &str = "AWSLogs/*/CloudTrail/us-east-1/{YYYY}/{mm}/{dd}";
const SOURCE: SourceKey = SourceKey { id: 1, generation: 1 };
/// Changes per batch, as the committer makes them.
const BATCH: usize = 64;

fn day(number: i64) -> DateTime<Utc> {
    "2026-06-01T00:00:00Z".parse::<DateTime<Utc>>().unwrap() + TimeDelta::days(number)
}

fn head(leaf: u64) -> String {
    format!("AWSLogs/{}/CloudTrail/us-east-1/", 111_122_223_333 + leaf)
}

/// A key as CloudTrail writes them: the name ends in 16 random characters.
fn key(leaf: u64, at: DateTime<Utc>, random: u64) -> String {
    let account = 111_122_223_333 + leaf;
    let (date, stamp) = (at.format("%Y/%m/%d"), at.format("%Y%m%dT%H%MZ"));
    format!("{}{date}/{account}_CloudTrail_us-east-1_{stamp}_{random:016x}.json.gz", head(leaf))
}

fn entry(at: DateTime<Utc>) -> LedgerEntry {
    let etag = format!("{:032x}", fastrand::u128(..));
    let settled_at = at + TimeDelta::seconds(fastrand::i64(1..400));
    LedgerEntry {
        etag,
        outcome: Outcome::Collected,
        records: 100,
        last_modified: at,
        settled_at,
        reason: None,
    }
}

/// The plain bytes of an entry: stored key, ETag, outcome, records and two times.
fn plain_bytes(key: &str, entry: &LedgerEntry) -> u64 {
    (9 + key.len() + entry.etag.len() + 26) as u64
}

/// A day of `keys` entries for each of `leaves`, in the order in which sweeps every five minutes
/// find them.
fn entries_of(leaves: u64, keys: u64, number: i64) -> impl Iterator<Item = (String, LedgerEntry)> {
    let step = TimeDelta::days(1) / i32::try_from(keys).unwrap();
    (0..keys).flat_map(move |at| {
        let at = day(number) + step * i32::try_from(at).unwrap();
        (0..leaves).map(move |leaf| (key(leaf, at, fastrand::u64(..)), entry(at)))
    })
}

fn put(state: &dyn State, entries: impl Iterator<Item = (String, LedgerEntry)>) -> u64 {
    let mut plain = 0;
    let mut changes = entries
        .map(|(key, entry)| {
            plain += plain_bytes(&key, &entry);
            Change::PutEntry(SOURCE, key, entry)
        })
        .peekable();
    while changes.peek().is_some() {
        state.apply(&Batch(changes.by_ref().take(BATCH).collect())).unwrap();
    }
    plain
}

fn open(dir: &Path) -> DiskState {
    DiskState::open(dir, "bench", false).unwrap()
}

fn source(leaves: u64) -> Vec<Change> {
    let record = SourceRecord {
        id: 1,
        generation: 1,
        bucket: "acme-trail".into(),
        pattern: PATTERN.into(),
        floor_settings: String::new(),
        floor_epoch: 1,
        start: day(0),
        discovered_at: Some(day(0)),
        stale: vec![],
        last_sweep: None,
        sweeps: 1,
        readable_in: None,
    };
    let leaf = LeafRecord { closed_through: leaf_of(0).time_of(day(0)), sparse_until: None, dropped: false };
    let leaves = (0..leaves).map(|number| Change::PutLeaf(SOURCE, head(number), leaf.clone()));
    std::iter::once(Change::PutSource("main".into(), Box::new(record))).chain(leaves).collect()
}

fn leaf_of(number: u64) -> Leaf {
    PrefixPattern::parse(PATTERN).unwrap().leaf(&head(number)).unwrap()
}

fn apply_all(state: &dyn State, changes: Vec<Change>) {
    for part in changes.chunks(150) {
        state.apply(&Batch(part.to_vec())).unwrap();
    }
}

/// Commits of 1, 10 and 64 settled objects over a ledger of 100,000 entries; and of one with the
/// sidecar of 12, 100 and 1,700 leaves.
fn commit(criterion: &mut Criterion) {
    let folder = tempfile::tempdir().unwrap();
    let state = open(folder.path());
    apply_all(&state, source(100));
    put(&state, entries_of(100, 1000, 0));
    let mut group = criterion.benchmark_group("commit");
    for objects in [1, 10, 64] {
        let mut entries = entries_of(100, 100_000, 1);
        group.bench_function(format!("{objects} objects"), |bencher| {
            bencher.iter_batched(
                || {
                    let changes = entries.by_ref().take(objects);
                    Batch(changes.map(|(key, entry)| Change::PutEntry(SOURCE, key, entry)).collect())
                },
                |batch| state.apply(&batch).unwrap(),
                BatchSize::PerIteration,
            );
        });
    }
    for leaves in [12, 100, 1_700] {
        let folder = tempfile::tempdir().unwrap();
        let state = open(folder.path());
        apply_all(&state, source(leaves));
        let sink = Batch(vec![Change::PutSink(Position::default())]);
        group.bench_function(format!("sink position, {leaves} leaves"), |bencher| {
            bencher.iter(|| state.apply(black_box(&sink)).unwrap());
        });
    }
    group.finish();
}

/// Opening a state, three commits as an idle sweep makes them, closing it.
fn idle(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("idle");
    for leaves in [12, 100, 1_700] {
        let folder = tempfile::tempdir().unwrap();
        let state = open(folder.path());
        apply_all(&state, source(leaves));
        put(&state, entries_of(leaves, 100, 0));
        drop(state);
        group.bench_function(format!("open and close, {leaves} leaves, 100 keys each"), |bencher| {
            bencher.iter(|| drop(open(folder.path())));
        });
        group.bench_function(format!("open, 3 commits, close, {leaves} leaves"), |bencher| {
            bencher.iter(|| {
                let state = open(folder.path());
                for _ in 0..3 {
                    state.apply(&Batch(vec![Change::PutDeadLetter(1)])).unwrap();
                }
            });
        });
    }
    group.finish();
}

struct Fixed(DateTime<Utc>);

impl Clock for Fixed {
    fn now(&self) -> DateTime<Utc> {
        self.0
    }
}

/// A sink that takes all and keeps nothing.
struct Nowhere;

impl Sink for Nowhere {
    fn recover(&mut self, _committed: Option<&Position>) -> Result<(), SinkError> {
        Ok(())
    }

    fn write(&mut self, _records: &[u8]) -> Result<(), SinkError> {
        Ok(())
    }

    fn commit(&mut self, _finish: bool) -> Result<Position, SinkError> {
        Ok(Position::default())
    }

    fn seal(&mut self) -> Result<(), SinkError> {
        Ok(())
    }

    fn due_in(&self) -> Option<Duration> {
        None
    }
}

fn configuration() -> Config {
    let text = format!(
        "state_dir = \"/nowhere\"\n[sink]\ntype = \"stdout\"\n[[source]]\nname = \"main\"\nlog_type = \"cloudtrail\"\n\
         bucket = \"acme-trail\"\nprefix = \"{PATTERN}\"\nstart = \"2026-06-01\"\ndiscover_every = \"1D\"\n"
    );
    config::parse("bench.toml".into(), &text).unwrap()
}

/// A dry sweep over a bucket in memory, whose 100,000 keys are all in the ledger: the listing's own
/// merge-join with the state on disk, the fake bucket's pages included.
fn merge_join(_: &mut Criterion) {
    const LEAVES: u64 = 100;
    const KEYS: u64 = 1000;
    let folder = tempfile::tempdir().unwrap();
    let state = Arc::new(open(folder.path()));
    let bucket = MemoryBucket::new("acme-trail");
    for (key, entry) in entries_of(LEAVES, KEYS, 0) {
        bucket.put(&key, "x", entry.last_modified);
    }
    let request = ListRequest {
        prefix: String::new(),
        start_after: None,
        by_folder: false,
        token: None,
        page_size: 1000,
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    // the first sweep makes source and leaves; then everything that is listed is settled
    let config = configuration();
    let first: Arc<dyn State> = state.clone();
    runtime.block_on(sweep_dry(&config, first, &bucket, folder.path()));
    apply_all(&*state, source(LEAVES));
    let list_all = || {
        let began = Instant::now();
        let (mut request, mut pages) = (request.clone(), Vec::new());
        loop {
            let page = bucket.page(&request).unwrap();
            request.token = page.next.clone();
            pages.push(page);
            if request.token.is_none() {
                return (pages, began.elapsed());
            }
        }
    };
    let (pages, _) = list_all();
    let settled = pages.into_iter().flat_map(|page| page.objects).map(|object| {
        let entry = LedgerEntry { etag: object.etag.clone(), ..entry(object.last_modified) };
        (object.key, entry)
    });
    put(&*state, settled);
    let mut best = Duration::MAX;
    let mut all = Vec::new();
    for _ in 0..15 {
        let over: Arc<dyn State> = Arc::new(OverlayState::new(state.clone()));
        let began = Instant::now();
        let settled = runtime.block_on(sweep_dry(&config, over, &bucket, folder.path()));
        let took = began.elapsed();
        assert_eq!(settled, LEAVES * KEYS, "all that is listed is in the ledger");
        best = best.min(took);
        all.push(took);
    }
    all.sort();
    let median = all[all.len() / 2];
    let listing = list_all().1;
    let began = Instant::now();
    let mut read = 0;
    let state: &dyn State = &*state;
    let mut after: Option<String> = None;
    loop {
        let page = state.entries(SOURCE, after.as_deref(), 1000).unwrap();
        read += page.len();
        match page.last() {
            Some((key, _)) => after = Some(key.clone()),
            None => break,
        }
    }
    let reading = began.elapsed();
    let rate = |took: Duration| (LEAVES * KEYS) as f64 / took.as_secs_f64() / 1e6;
    println!(
        "merge-join: {} keys of {LEAVES} leaves, a whole sweep on one thread: median {:.2} M keys/s ({median:?}), best {:.2}; \
         of it the fake bucket's pages alone {listing:?}; reading the {read} entries alone {:.2} M/s",
        LEAVES * KEYS,
        rate(median),
        rate(best),
        rate(reading),
    );
}

/// Runs a preview and returns how many keys it skipped as settled.
async fn sweep_dry(config: &Config, state: Arc<dyn State>, bucket: &MemoryBucket, dir: &Path) -> u64 {
    let counts = Arc::new(RequestCounts::default());
    let (show, mut shown) = tokio::sync::mpsc::channel(1000);
    let context = SweepContext {
        progress: Default::default(),
        config: Arc::new(config.sources[0].clone()),
        bucket: Arc::new(Metered::new(Arc::new(bucket.clone()), counts.clone())),
        counts,
        state,
        clock: Arc::new(Fixed(day(0) + TimeDelta::hours(23))),
        limits: Arc::new(SweepLimits::new(&config.limits)),
        close_spread: config.close_spread,
        keep_history: config.history,
        state_dir: dir.to_owned(),
        stop: CancellationToken::new(),
        mode: Mode::Preview(show),
    };
    let (swept, ()) = tokio::join!(sweep::preview(context), async { while shown.recv().await.is_some() {} });
    swept.ended.unwrap();
    swept.report.objects.skipped.get("settled").copied().unwrap_or(0)
}

/// Commits a day of 100,000 entries for 100 leaves, closes all leaves, opens again.
fn day_of_100_leaves(_: &mut Criterion) {
    const LEAVES: u64 = 100;
    const KEYS: u64 = 1000;
    let folder = tempfile::tempdir().unwrap();
    let state = open(folder.path());
    apply_all(&state, source(LEAVES));
    let began = Instant::now();
    put(&state, entries_of(LEAVES, KEYS, 0));
    println!("a day's ledger: {} entries in commits of {BATCH}: {:?}", LEAVES * KEYS, began.elapsed());
    drop(state);
    let began = Instant::now();
    let state: Arc<dyn State> = Arc::new(open(folder.path()));
    println!("opening it again: {:?}", began.elapsed());
    let took = close_day(state, LEAVES, 0, folder.path());
    println!("closing a day of {LEAVES} leaves, {} entries: {took:?}", LEAVES * KEYS);
}

/// Closes one day of all leaves, one after the other, as the committer does.
fn close_day(state: Arc<dyn State>, leaves: u64, number: i64, dir: &Path) -> Duration {
    let durable = Durable {
        sink: Box::new(Nowhere),
        state: state.clone(),
        dead_letters: DeadLetters::new(dir.join("dead-letter.ndjson")),
        history: History::open(dir, &state.history().unwrap().into_iter().collect()).unwrap(),
        keep_history: Duration::from_secs(400 * 24 * 3600),
    };
    let settings = CommitSettings {
        every: Duration::from_secs(1),
        bytes: 1 << 20,
        operations: 150,
        buffer_bytes: 4 << 20,
        sink_timeout: None,
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let began = Instant::now();
    runtime.block_on(async {
        let (committer, handle) = Committer::open(durable, settings, CancellationToken::new()).unwrap();
        let committer = JoinSet::from_iter([committer.run()]);
        for number_of_leaf in 0..leaves {
            let leaf = leaf_of(number_of_leaf);
            let time: PrefixTime = leaf.time_of(day(number));
            let record = LeafRecord { closed_through: leaf.next(time), sparse_until: None, dropped: false };
            handle
                .close(Closing {
                    source: SOURCE,
                    source_name: "main".into(),
                    changes: vec![Change::PutLeaf(SOURCE, leaf.head().to_owned(), record)],
                    prefixes: vec![(leaf, time)],
                    at: day(number + 1),
                    recheck: None,
                    found_by: None,
                })
                .await
                .unwrap();
        }
        handle.end(committer).await.unwrap();
    });
    began.elapsed()
}

/// A month in which 100 leaves settle 100 or 1,000 keys a day each, and close the day before when
/// an hour of the new one has passed. Shows the file at its largest.
fn month(_: &mut Criterion) {
    for keys in [100, 1000] {
        month_of(100, keys);
    }
}

fn month_of(leaves: u64, keys: u64) {
    let folder = tempfile::tempdir().unwrap();
    let dir = folder.path();
    let state = Arc::new(open(dir));
    apply_all(&*state, source(leaves));
    let (mut most, mut worst, mut worst_plain) = (0, 0.0_f64, 0.0_f64);
    let (mut all_plain, mut yesterday) = (0, 0);
    let (mut filling, mut closing) = (Duration::ZERO, Duration::ZERO);
    for number in 0..30 {
        let mut entries = entries_of(leaves, keys, number);
        let mut today = 0;
        for hour in 0..24 {
            let began = Instant::now();
            let part = entries.by_ref().take(usize::try_from(leaves * keys / 24 + 1).unwrap());
            today += put(&*state, part);
            filling += began.elapsed();
            if hour == 1 && number > 0 {
                closing += close_day(state.clone(), leaves, number - 1, dir);
                yesterday = 0;
            }
            let (file, stored) = state.footprint().unwrap();
            most = most.max(file);
            if file > 4 << 20 {
                worst = worst.max(file as f64 / stored as f64);
            }
            worst_plain = worst_plain.max(file as f64 / (today + yesterday) as f64);
        }
        (yesterday, all_plain) = (today, all_plain + today);
        if [0, 1, 29].contains(&number) {
            let (file, stored) = state.footprint().unwrap();
            println!(
                "{leaves} leaves × {keys} keys, end of day {}: file {} KiB, stored {} KiB, entries as they are {} KiB",
                number + 1,
                file / 1024,
                stored / 1024,
                today / 1024,
            );
        }
    }
    println!(
        "{leaves} leaves × {keys} keys, hour by hour over 30 days: file at most {} KiB, {:.2} times a day's entries as they are \
         ({worst_plain:.2} times those held, in the hour after a closing); above 4 MiB at most {worst:.2} times what is stored; \
         a day is committed in {:?} and closed in {:?}",
        most / 1024,
        most as f64 * 30.0 / all_plain as f64,
        filling / 30,
        closing / 29,
    );
}

criterion_group!(
    name = state;
    config = Criterion::default().sample_size(100).warm_up_time(Duration::from_millis(500)).measurement_time(Duration::from_secs(3)).without_plots();
    targets = commit, idle
);

fn main() {
    let wanted = std::env::args().nth(1).filter(|name| !name.starts_with("--"));
    let mut criterion = Criterion::default();
    type Part = (&'static str, fn(&mut Criterion));
    let parts: [Part; 3] = [("merge_join", merge_join), ("day", day_of_100_leaves), ("month", month)];
    for (name, part) in parts {
        if wanted.as_deref().is_none_or(|wanted| wanted == name) {
            part(&mut criterion);
        }
    }
    if wanted.as_deref().is_none_or(|wanted| !parts.iter().any(|(name, _)| *name == wanted)) {
        state();
    }
}
