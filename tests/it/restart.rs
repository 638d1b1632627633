//! The binary is killed and started again until it ends by itself: then each record stands in
//! the finished segments once.

mod failpoints;
mod panics;
mod power_cut;
mod sink_away;
pub mod site;

use std::process::{Child, Stdio};
use std::time::Duration;

use s3sweep::testing::S3Server;
use tokio::task::JoinSet;

use crate::needs;
use site::{BUCKET, Fixture, PREFIX, Site, run};

const KILLS: u32 = 300;
/// Rounds at once.
const LANES: u32 = 2;
const SEED: u64 = 0x5eed_0001;
/// Kills of one round, after which it may end.
const KILLS_OF_A_ROUND: u32 = 40;
/// A run is killed this long after its first record at most.
const LATEST: Duration = Duration::from_millis(120);
/// The same over a folder, which is read faster.
const LATEST_OF_A_FOLDER: Duration = Duration::from_millis(30);
const TICK: Duration = Duration::from_millis(1);
/// So many ticks mean that something hangs.
const PATIENCE: u32 = 60_000;

/// How many kills over HTTP: more for a longer run. Those over a folder come on top.
fn kills() -> u32 {
    needs::variable("S3SWEEP_KILLS").unwrap_or(KILLS)
}

/// Two objects of several commits each on every day, and many small ones.
fn fixture(round: u32) -> Fixture {
    let (large, small) = (500 + 50 * (round as usize % 5), 60 + 20 * (round as usize % 4));
    Fixture::default().with(1, 3, 3, large).with(2, 3, small, 2)
}

#[derive(Default)]
struct Count {
    kills: u32,
    over_http: u32,
    amid_records: u32,
    records: usize,
    rounds: u32,
}

impl Count {
    fn and(self, other: Count) -> Count {
        Count {
            kills: self.kills + other.kills,
            over_http: self.over_http + other.over_http,
            amid_records: self.amid_records + other.amid_records,
            records: self.records + other.records,
            rounds: self.rounds + other.rounds,
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_process_loses_nothing_and_repeats_nothing() {
    println!("seed {SEED:#x}");
    let lane = |number: u32| async move {
        // rounds of a lane are of other kinds than those of the other at the same time
        let mut count = Count { rounds: 3 * number, ..Count::default() };
        let mut random = fastrand::Rng::with_seed(SEED + u64::from(number));
        while count.over_http < kills().div_ceil(LANES) {
            round(&mut random, &mut count).await;
        }
        Count { rounds: count.rounds - 3 * number, ..count }
    };
    let lanes = JoinSet::from_iter((0..LANES).map(lane)).join_all().await;
    let count = lanes.into_iter().fold(Count::default(), Count::and);
    let Count { kills, over_http, amid_records, records, rounds } = count;
    println!(
        "{kills} kills ({over_http} over HTTP, {amid_records} after the run wrote records), \
         {records} records, {rounds} rounds: every record once"
    );
    assert!(over_http >= self::kills(), "{over_http} of {kills} kills were over HTTP");
    assert!(amid_records * 2 >= kills, "{amid_records} of {kills} kills came after a record of that run");
}

/// One set of objects, collected by runs that are killed; the last one ends by itself.
async fn round(random: &mut fastrand::Rng, count: &mut Count) {
    let (fixture, http) = (fixture(count.rounds), count.rounds % 4 != 3);
    let compression = ["none", "gzip", "zstd"][(count.rounds + count.rounds / 4) as usize % 3];
    let case = format!("round {}, {compression}, {}", count.rounds, if http { "HTTP" } else { "folder" });
    let site = Site::new();
    let server = S3Server::start([BUCKET]).await.unwrap();
    let source = match http {
        true => {
            for (key, bytes) in &fixture.objects {
                let written = "2024-05-01T06:00:00Z".parse().unwrap();
                server.put(BUCKET, key, bytes.clone(), written);
            }
            format!(
                "bucket = \"{BUCKET}\"\nprefix = \"{PREFIX}\"\nregion = \"us-east-1\"\nendpoint_url = \"{}\"\n\
                 path_style = true\n[source.credentials]\naccess_key_id = \"{}\"\nsecret_access_key = \"{}\"",
                server.endpoint_url(),
                server.access_key_id(),
                server.secret_access_key()
            )
        }
        false => {
            fixture.write(&site.path("bucket"));
            site.folder_source(PREFIX)
        }
    };
    site.configure(&format!("rotate_size = \"192KiB\"\ncompression = \"{compression}\""), &source);

    let (mut here, mut ended) = (0, false);
    while !ended && here < KILLS_OF_A_ROUND {
        let early = random.u8(0..5) == 0;
        // rather soon: most of a run's dangerous moments come again and again
        let latest = if http { LATEST } else { LATEST_OF_A_FOLDER };
        let after = latest.mul_f64(random.f64().powi(2));
        match kill(&site, early, after).await {
            Killed::Ended(code) => {
                assert_eq!(code, Some(0), "{case}: {}", stderr(&site));
                ended = true;
            }
            Killed::BeforeAll => {}
            Killed::Counts { amid_records } => {
                here += 1;
                count.kills += 1;
                count.over_http += u32::from(http);
                count.amid_records += u32::from(amid_records);
            }
        }
    }
    if !ended {
        let ran = tokio::task::block_in_place(|| run(&mut site.once()));
        assert_eq!(ran.code, Some(0), "{case}: {}", ran.err);
    }
    tokio::task::block_in_place(|| {
        site.assert_exact(&fixture, &case);
        site.assert_closed(&fixture, &case);
        site.assert_idle(&case);
    });
    server.stop().await.unwrap();
    count.rounds += 1;
    count.records += fixture.ids.len();
}

fn stderr(site: &Site) -> String {
    std::fs::read_to_string(site.path("stderr")).unwrap_or_default()
}

/// How a run that was to be killed ended.
enum Killed {
    /// By itself.
    Ended(Option<i32>),
    /// Killed with nothing in the sink yet: such a kill does not count.
    BeforeAll,
    /// Killed with records in the sink, perhaps of this very run.
    Counts { amid_records: bool },
}

/// Starts a run and kills it `after` that long: from its start where `early`, else from its first
/// record.
async fn kill(site: &Site, early: bool, after: Duration) -> Killed {
    let err = std::fs::File::create(site.path("stderr")).unwrap();
    let mut child = Running(site.once().stdout(Stdio::null()).stderr(err).spawn().unwrap());
    let (mut least, mut wrote) = (site.sink_bytes(), false);
    // a recovery that cuts and a rotation that compresses make less of it, records more
    let mut look = || {
        let bytes = site.sink_bytes();
        wrote |= bytes > least;
        least = least.min(bytes);
        wrote
    };
    let mut ticks = 0;
    while !early && !look() {
        if let Some(status) = child.0.try_wait().unwrap() {
            return Killed::Ended(status.code());
        }
        ticks += 1;
        assert!(ticks < PATIENCE, "the process does nothing");
        tokio::time::sleep(TICK).await;
    }
    tokio::time::sleep(after).await;
    if let Some(status) = child.0.try_wait().unwrap() {
        return Killed::Ended(status.code());
    }
    let amid_records = look();
    child.0.kill().unwrap();
    child.0.wait().unwrap();
    if site.sink_bytes() > 0 { Killed::Counts { amid_records } } else { Killed::BeforeAll }
}

/// A process that ends with this.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        // it may have ended already
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
