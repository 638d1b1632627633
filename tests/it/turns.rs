//! When a daemon sweeps, and what a source that is throttled leaves to others, on paused time.

use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use s3sweep::clock::FixedClock;
use s3sweep::config;
use s3sweep::service::{Instance, Options, Roster, Source};
use s3sweep::testing::{Fault, FaultyBucket, MemoryBucket, When};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::world::{at, trail_body, trail_key};

const MINUTE: Duration = Duration::from_secs(60);

/// When sweeps of one source began in the first hour, by its settings.
async fn begins(settings: &str) -> Vec<Duration> {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path().display();
    let text = format!(
        "state_dir = \"{root}/state\"\n[sink]\npath = \"{root}/out\"\n[[source]]\nname = \"main\"\n\
         log_type = \"cloudtrail\"\nbucket = \"acme-trail\"\nprefix = \"AWSLogs/111122223333/CloudTrail/us-east-1\"\n\
         start = \"2026-06-04\"\n{settings}\n"
    );
    let config = config::parse(PathBuf::from("turns.toml"), &text).unwrap();
    let bucket = FaultyBucket::new(MemoryBucket::new("acme-trail"), "acme-trail");
    let (began, lists) = (Instant::now(), Arc::new(Mutex::new(Vec::new())));
    let noted = lists.clone();
    bucket.on_list(When::Always, Fault::before(move || noted.lock().unwrap().push(began.elapsed())));
    let source = Source::new(&config.sources[0], &config).unwrap().over(Arc::new(bucket));
    let stop = CancellationToken::new();
    let options = Options {
        clock: Arc::new(FixedClock(at("2026-06-04T12:00:00Z"))),
        adopt_state: false,
        rebuild_state: false,
        give_up: true,
        stop: stop.clone(),
    };
    let roster = Roster::new(config.clone(), vec![source]);
    let instance = Instance::open(config, options).await.unwrap();
    let an_hour = async {
        tokio::time::sleep(60 * MINUTE).await;
        stop.cancel();
    };
    let (ran, ()) = tokio::join!(instance.run(&roster), an_hour);
    ran.unwrap();
    instance.close().await.unwrap();
    let mut begins = lists.lock().unwrap().clone();
    begins.dedup_by_key(|begin| begin.as_secs());
    begins
}

#[tokio::test(start_paused = true)]
async fn sweeps_come_at_their_recurrence_after_their_delay() {
    for (settings, first, every, count) in [
        ("recurrence = \"10M\"", 0, 10, 6),
        ("recurrence = \"10M\"\nstartup_delay = \"4M\"", 4, 10, 6),
        ("recurrence = \"30M\"\nstartup_delay = \"30M\"", 30, 30, 1),
    ] {
        let begins = begins(settings).await;
        let want: Vec<_> = (0..count).map(|number| (first + every * number) * MINUTE).collect();
        let minutes: Vec<_> = begins.iter().map(|begin| MINUTE * (begin.as_secs() / 60) as u32).collect();
        assert_eq!(minutes, want, "{settings}");
    }
}

#[tokio::test(start_paused = true)]
async fn jitter_moves_each_sweep_within_its_recurrence() {
    let begins = begins("recurrence = \"5M\"\nstartup_delay = \"2M\"\njitter = \"4M\"").await;
    let offsets: Vec<_> = begins
        .iter()
        .enumerate()
        .map(|(number, begin)| {
            let tick = MINUTE * (2 + 5 * number as u32);
            assert!((tick..=tick + 4 * MINUTE).contains(begin), "sweep {number}: {begins:?}");
            (*begin - tick).as_secs()
        })
        .collect();
    assert!((11..=12).contains(&begins.len()), "none is left out: {begins:?}");
    assert!(offsets.iter().any(|offset| offset.abs_diff(offsets[0]) > 2), "by chance: {offsets:?}");
}

/// Objects of one record each, in a bucket of their own.
fn filled(objects: u64) -> Arc<MemoryBucket> {
    let bucket = MemoryBucket::new("acme-trail");
    for number in 0..objects {
        let key = trail_key(0, at("2026-06-04T01:00:00Z"), number);
        bucket.put(&key, trail_body(std::slice::from_ref(&key)), at("2026-06-04T01:00:00Z"));
    }
    Arc::new(bucket)
}

#[tokio::test(start_paused = true)]
async fn a_throttled_source_holds_up_no_other() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path().display();
    let source = |name: &str, settings: &str| {
        format!(
            "[[source]]\nname = \"{name}\"\nlog_type = \"cloudtrail\"\nbucket = \"acme-trail\"\nstart = \"2026-06-04\"\n\
             prefix = \"AWSLogs/111122223333/CloudTrail/us-east-1\"\nfile_pattern = \".*\"\n{settings}\n"
        )
    };
    let text = format!(
        "state_dir = \"{root}/state\"\n[sink]\npath = \"{root}/out\"\n{}{}",
        source("slow", "eps_throttle = 2"),
        source("fast", "")
    );
    let config = config::parse(PathBuf::from("turns.toml"), &text).unwrap();
    let made =
        |number: usize, objects| Source::new(&config.sources[number], &config).unwrap().over(filled(objects));
    let sources = [made(0, 200), made(1, 1000)];
    let options = Options {
        clock: Arc::new(FixedClock(at("2026-06-04T12:00:00Z"))),
        adopt_state: false,
        rebuild_state: false,
        give_up: true,
        stop: CancellationToken::new(),
    };
    let instance = Instance::open(config.clone(), options).await.unwrap();
    let [slow, fast] = instance.once(&sources).await.try_into().unwrap();
    instance.close().await.unwrap();
    assert_eq!((slow.report.objects.collected, fast.report.objects.collected), (200, 1000));
    assert!(
        (95.0..110.0).contains(&slow.report.seconds),
        "200 records at 2 a second: {}",
        slow.report.seconds
    );
    assert!(fast.report.seconds < 30.0, "beside it: {}", fast.report.seconds);
}
