//! Sweeps of a bucket of 100 million keys in 1,700 leaves: `cargo bench --bench virtual_bucket`.
//!
//! The bucket computes its listing; state, committer and file sink are the real ones, in a
//! temporary folder. Each step of the story runs in a process of its own, on what the step before
//! left, so that its peak memory is its own. Requests take no time here: seconds are those of
//! s3sweep itself. With `--month` the story is a month that is collected and then audited.

mod common;

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context as _, ensure};
use chrono::{DateTime, NaiveDate, TimeDelta, Utc};
use clap::Parser as _;
use common::measure::{cpu_time, peak_memory};
use common::table::Table;
use common::trail::{self, Amount, Site};
use s3sweep::clock::Clock;
use s3sweep::config;
use s3sweep::service::{Instance, Options, Source};
use s3sweep::sweep::audit::{Span, Told};
use s3sweep::testing::{VirtualBucket, VirtualShape};
use s3sweep::{allocator, threads};
use serde::{Deserialize, Serialize};
use tokio::sync::mpsc;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

/// Where the story begins; the bucket has two years of keys before it.
const DAY: &str = "2026-03-01";

/// Measures sweeps of a bucket of 100 million keys.
#[derive(Clone, Debug, clap::Parser)]
struct Args {
    /// Accounts; each has 17 regions.
    #[arg(long, default_value_t = 100)]
    accounts: u64,
    /// Keys per leaf and day.
    #[arg(long, default_value_t = 81)]
    keys_per_day: u64,
    /// Leaves out the steps after this one.
    #[arg(long)]
    until: Option<String>,
    /// Collects a month and audits it instead, within 64 MiB.
    #[arg(long)]
    month: bool,
    /// Lines for the `[limits]` table.
    #[arg(long, default_value = "")]
    limits: String,
    /// This process runs the step of this number.
    #[arg(long, hide = true, requires = "folder")]
    step: Option<usize>,
    /// Where state and sink lie.
    #[arg(long, hide = true)]
    folder: Option<PathBuf>,
    /// What `cargo bench` gives to every benchmark.
    #[arg(long, hide = true)]
    bench: bool,
}

/// The memory in which an audit has to fit.
const AUDIT: u64 = 64 << 20;

/// One or more sweeps, minutes apart, or an audit of the month.
struct Step {
    name: &'static str,
    /// Time of the first sweep, after the story's first midnight.
    at: TimeDelta,
    /// None in an audit.
    sweeps: i32,
}

/// The story, by days and minutes after its first midnight.
fn story(month: bool) -> Vec<Step> {
    let step = |name, days, minutes, sweeps| {
        let at = TimeDelta::days(days) + TimeDelta::minutes(minutes);
        Step { name, at, sweeps }
    };
    if month {
        return vec![step("a month, all days closed", 31, 290, 1), step("audit of that month", 31, 290, 0)];
    }
    vec![
        step("first sweep of one day", 1, 20, 1),
        step("three hours later, that day closes", 1, 200, 1),
        step("again, floors move", 1, 290, 1),
        step("idle", 1, 290, 1),
        step("catch-up of a week", 8, 290, 1),
        step("a day later", 9, 55, 1),
        step("the hour in which all days close, 12 sweeps", 9, 60, 12),
    ]
}

/// What a step cost.
#[derive(Deserialize, Serialize)]
struct Cost {
    leaves: u64,
    lists: u64,
    /// Of the sweep with the most.
    most_lists: u64,
    gets: u64,
    collected: u64,
    seconds: f64,
    cpu_seconds: f64,
    peak: u64,
}

/// A clock that the story moves.
#[derive(Clone)]
struct StoryClock(Arc<Mutex<DateTime<Utc>>>);

impl Clock for StoryClock {
    fn now(&self) -> DateTime<Utc> {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn first_midnight() -> anyhow::Result<DateTime<Utc>> {
    Ok(format!("{DAY}T00:00:00Z").parse()?)
}

fn bucket(args: &Args, now: DateTime<Utc>) -> anyhow::Result<VirtualBucket> {
    let day: NaiveDate = DAY.parse()?;
    let shape = VirtualShape::large(day - TimeDelta::days(730));
    // the days of the story come on top
    let days = shape.days + 31;
    let shape = VirtualShape { accounts: args.accounts, keys_per_day: args.keys_per_day, days, ..shape };
    let site = Site { account: "111122223333", region: "us-east-1", time: now };
    Ok(VirtualBucket::new("acme-trail", shape, trail::object(1, site, Amount::Records(1)).bytes, now))
}

async fn sweep(args: &Args, step: &Step, folder: &Path) -> anyhow::Result<Cost> {
    let at = folder.display();
    let text = format!(
        "state_dir = \"{at}/state\"\n[limits]\n{}\n[sink]\ntype = \"file\"\npath = \"{at}/sink\"\n\
         [[source]]\nname = \"bench\"\nlog_type = \"cloudtrail\"\nbucket = \"acme-trail\"\n\
         prefix = \"AWSLogs/*/CloudTrail/*\"\nstart = \"{DAY}\"\n",
        args.limits
    );
    let config = config::parse(folder.join("s3sweep.toml"), &text)?;
    let first = first_midnight()? + step.at;
    let clock = StoryClock(Arc::new(Mutex::new(first)));
    let bucket = bucket(args, first)?;
    let source = Source::new(&config.sources[0], &config)?.over(Arc::new(bucket.clone()));
    let options = Options {
        clock: Arc::new(clock.clone()),
        adopt_state: false,
        rebuild_state: false,
        give_up: true,
        stop: CancellationToken::new(),
    };
    let (began, cpu_before) = (Instant::now(), cpu_time());
    let instance = Instance::open(config, options).await?;
    let mut cost = Cost {
        leaves: 0,
        lists: 0,
        most_lists: 0,
        gets: 0,
        collected: 0,
        seconds: 0.0,
        cpu_seconds: 0.0,
        peak: 0,
    };
    for number in 0..step.sweeps {
        let now = first + TimeDelta::minutes(5) * number;
        *clock.0.lock().unwrap_or_else(PoisonError::into_inner) = now;
        bucket.set_clock(now);
        let swept = instance.sweep(&source).await;
        swept.ended?;
        ensure!(
            swept.report.unreachable.is_empty() && swept.report.failures.is_empty(),
            "{:?}",
            swept.report
        );
        cost.leaves = swept.report.leaves;
        cost.lists += swept.report.requests.list;
        cost.most_lists = cost.most_lists.max(swept.report.requests.list);
        cost.gets += swept.report.requests.get;
        cost.collected += swept.report.objects.collected;
    }
    if step.sweeps == 0 {
        audit(&instance, &source, first, &mut cost).await?;
    }
    instance.close().await?;
    cost.seconds = began.elapsed().as_secs_f64();
    cost.cpu_seconds = (cpu_time() - cpu_before).as_secs_f64();
    cost.peak = peak_memory()?;
    Ok(cost)
}

/// Audits the month, of which nothing may be missing.
async fn audit(
    instance: &Instance,
    source: &Source,
    now: DateTime<Utc>,
    cost: &mut Cost,
) -> anyhow::Result<()> {
    let day = Duration::from_secs(24 * 3600);
    let span = Span {
        from: first_midnight()?,
        to: now - TimeDelta::days(1),
        max_gap: 2 * day,
        keep_history: 400 * day,
        every_object: true,
    };
    let (tell, mut told) = mpsc::channel(100);
    let count = async {
        let mut objects = 0;
        while let Some(one) = told.recv().await {
            objects += u64::from(matches!(one, Told::Object(_)));
        }
        objects
    };
    let (audited, objects) = tokio::join!(instance.audit(source, span, tell), count);
    let audited = audited?;
    let counts = &audited.counts;
    ensure!(counts.delivered == objects && counts.listed == objects && objects > 0, "{counts:?}");
    (cost.leaves, cost.lists, cost.most_lists) =
        (audited.leaves, audited.requests.list, audited.requests.list);
    let peak = peak_memory()?;
    ensure!(peak <= AUDIT, "the audit of {objects} objects took {peak} bytes");
    Ok(())
}

/// Runs a step in a process of its own.
fn measure(args: &Args, number: usize, folder: &Path) -> anyhow::Result<Cost> {
    let output = Command::new(std::env::current_exe()?)
        .args(["--step", &number.to_string(), "--limits", &args.limits])
        .args(args.month.then_some("--month"))
        .args(["--accounts", &args.accounts.to_string(), "--keys-per-day", &args.keys_per_day.to_string()])
        .arg("--folder")
        .arg(folder)
        .stderr(Stdio::inherit())
        .output()?;
    ensure!(output.status.success(), "the step ended with {}", output.status);
    serde_json::from_slice(&output.stdout).context("failed to read what the step cost")
}

fn main() -> anyhow::Result<()> {
    allocator::keep_little(); // as the program does, and its threads are the program's
    let args = Args::parse();
    let story = story(args.month);
    if let (Some(number), Some(folder)) = (args.step, &args.folder) {
        let step = story.get(number).context("there is no such step")?;
        let cost = threads::runtime()?.block_on(sweep(&args, step, folder))?;
        println!("{}", serde_json::to_string(&cost)?);
        return Ok(());
    }
    let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR"))?;
    let last = |step: &Step| args.until.as_ref().is_some_and(|until| step.name.contains(until));
    let steps = story.iter().position(last).map_or(story.len(), |at| at + 1);
    let mut table = Table::new(&[
        "sweep",
        "leaves",
        "LIST",
        "most in one sweep",
        "GET",
        "collected",
        "s",
        "CPU s",
        "peak MiB",
    ]);
    for (number, step) in story.iter().enumerate().take(steps) {
        let cost = measure(&args, number, folder.path())?;
        eprintln!("{}: {:.1} s", step.name, cost.seconds);
        table.row([
            step.name.to_owned(),
            cost.leaves.to_string(),
            cost.lists.to_string(),
            cost.most_lists.to_string(),
            cost.gets.to_string(),
            cost.collected.to_string(),
            format!("{:.2}", cost.seconds),
            format!("{:.2}", cost.cpu_seconds),
            format!("{:.1}", cost.peak as f64 / (1 << 20) as f64),
        ]);
    }
    let keys = VirtualShape { accounts: args.accounts, ..VirtualShape::large(DAY.parse()?) }.keys();
    println!("\n{} million keys before the story begins\n", keys * args.keys_per_day / 81 / 1_000_000);
    table.print();
    Ok(())
}
