//! Death at every place that matters: between a write and its sync, between sink and state, amid
//! a closing. The next run is exact, the state whole, and the sweep after it idle.

use std::collections::VecDeque;
use std::fs;
use std::sync::{Mutex, PoisonError};

use super::site::{Fixture, Site, copy, run};

/// The places, and how often a run passes each at least: which hit is the deadly one is drawn from
/// 1 to that.
const PLACES: &[(&str, u64)] = &[
    ("after-list-page", 6),
    ("before-get", 150),
    ("mid-body", 200),
    ("after-decode", 150),
    ("before-sink-write", 6),
    ("after-write-before-fsync", 6),
    ("after-fsync-before-state", 6),
    ("between-batch-and-sync", 14),
    ("before-sidecar", 14),
    ("before-rotation-rename", 4),
    ("after-rotation-rename", 4),
    ("between-history-and-closing", 1),
    ("mid-ledger-cleanup", 3),
    ("at-generation-change", 4),
];
/// The places that only a run passes which compresses.
const COMPRESSING: &[(&str, u64)] = &[("complete-beside-open", 4)];
/// The places of a database that is written anew, which a run that finds a large one passes once.
const REWRITING: &[&str] = &[
    "rewrite-before-complete",
    "rewrite-complete",
    "rewrite-old-moved",
    "rewrite-exchanged",
    "rewrite-old-removed",
];
/// Deaths at each place, and runs in which it may be missed.
const DEATHS: u32 = 20;
const MISSES: u32 = 10;
/// Deaths at each place of a rewriting: it is passed in one way only.
const REWRITINGS: u32 = 3;
const SEED: u64 = 0x5eed_0002;

/// The pattern of the first run, which leaves its ledger open, and that of the others.
const BEFORE: &str = "AWSLogs/111122223331/CloudTrail/*";
const AFTER: &str = "AWSLogs/11112222333*/CloudTrail/us-east-1";
const COMPRESSIONS: [&str; 3] = ["none", "gzip", "zstd"];

/// A site after its first run, kept to begin from again and again.
struct Template {
    site: Site,
    /// All that is in the sink once the second pattern is collected.
    all: Fixture,
    /// The objects of the second pattern.
    second: Fixture,
}

impl Template {
    fn new() -> Self {
        let first = Fixture::default().with(1, 2, 155, 1);
        let second = Fixture::default().with(2, 1, 155, 1).with(3, 2, 2, 350);
        let template = Template { site: Site::new(), all: first.clone().and(&second), second };
        template.configure(BEFORE, COMPRESSIONS[0]);
        first.write(&template.site.path("bucket"));
        let args = ["once", "-q", "--now", "2024-05-02T00:30:00Z"];
        let ran = run(&mut template.site.command(&args));
        assert_eq!(ran.code, Some(0), "{}", ran.err);
        // the second pattern matches what the first one did: that is gone, what it left is not
        fs::remove_dir_all(template.site.path("bucket")).unwrap();
        template.second.write(&template.site.path("bucket"));
        for folder in ["state", "out"] {
            copy(&template.site.path(folder), &template.site.path(&format!("{folder}.kept")));
        }
        template
    }

    fn configure(&self, prefix: &str, compression: &str) {
        let sink = format!("rotate_size = \"64KiB\"\ncompression = \"{compression}\"");
        self.site.configure(&sink, &format!("{}list_page_size = 40", self.site.folder_source(prefix)));
    }

    /// Back to the first run's end, with the second pattern.
    fn begin(&self, compression: &str) {
        for folder in ["state", "out"] {
            fs::remove_dir_all(self.site.path(folder)).unwrap();
            copy(&self.site.path(&format!("{folder}.kept")), &self.site.path(folder));
        }
        self.configure(AFTER, compression);
    }

    /// Nothing of a database that was written anew is left beside the one that lives.
    fn assert_one_database(&self, case: &str) {
        let names = fs::read_dir(self.site.path("state")).unwrap().flatten().map(|item| item.file_name());
        let left: Vec<_> = names.filter(|name| name.to_string_lossy().starts_with("sled.")).collect();
        assert!(left.is_empty(), "{case}: {left:?}");
    }

    /// Lets a run die at the `n`-th hit of a place; whether it came to that.
    fn die(&self, place: &str, n: u64) -> bool {
        let ran = run(self.site.once().env("S3SWEEP_FAILPOINT", format!("{place}:{n}")));
        assert!(matches!(ran.code, None | Some(0)), "{place}:{n}: {:?} {}", ran.code, ran.err);
        ran.code.is_none()
    }

    fn assert_recovers(&self, case: &str) {
        let ran = run(&mut self.site.once());
        assert_eq!(ran.code, Some(0), "{case}: {}", ran.err);
        self.site.assert_exact(&self.all, case);
        self.assert_one_database(case);
        self.site.assert_closed(&self.second, case);
        self.site.assert_next_idle(case);
    }
}

#[test]
fn after_a_death_anywhere_the_next_run_is_exact() {
    let all = PLACES.iter().map(|place| (*place, &COMPRESSIONS[..]));
    let compressing = COMPRESSING.iter().map(|place| (*place, &COMPRESSIONS[1..]));
    let waiting: Mutex<VecDeque<_>> = Mutex::new(all.chain(compressing).collect());
    std::thread::scope(|scope| {
        for worker in 0..2 {
            let waiting = &waiting;
            scope.spawn(move || {
                let (template, mut random) = (Template::new(), fastrand::Rng::with_seed(SEED + worker));
                let next = || waiting.lock().unwrap_or_else(PoisonError::into_inner).pop_front();
                while let Some((place, compressions)) = next() {
                    die_often(&template, place, compressions, DEATHS, &mut random);
                }
            });
        }
    });
}

#[test]
fn after_a_death_while_the_database_is_written_anew_the_next_run_is_exact() {
    let (template, mut random) = (Template::new(), fastrand::Rng::with_seed(SEED));
    template.site.grow("state.kept");
    for place in REWRITING {
        die_often(&template, (place, 1), &COMPRESSIONS, REWRITINGS, &mut random);
        // and once more in the run that mends it, where that writes anew too
        template.begin(COMPRESSIONS[0]);
        let times = (0..3).filter(|_| template.die(place, 1)).count();
        template.assert_recovers(&format!("{place}, {times} times in a row"));
    }
}

fn die_often(
    template: &Template,
    (place, passes): (&str, u64),
    compressions: &[&str],
    wanted: u32,
    random: &mut fastrand::Rng,
) {
    let (mut deaths, mut misses) = (0, 0);
    while deaths < wanted && misses <= MISSES {
        let (n, compression) = (random.u64(1..=passes), compressions[deaths as usize % compressions.len()]);
        template.begin(compression);
        let died = template.die(place, n);
        deaths += u32::from(died);
        misses += u32::from(!died);
        template.assert_recovers(&format!("{place}:{n}, {compression}"));
    }
    println!("{place}: {deaths} deaths, {misses} runs did not come to the hit");
    assert_eq!(deaths, wanted, "{place} is hit less often than the table says, or never");
}
