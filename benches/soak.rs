//! `run` for minutes or hours, over 200 leaves whose bucket grows meanwhile:
//! `cargo bench --bench soak -- --minutes 30`.
//!
//! The S3 server is in this process, s3sweep another one. Each minute has its objects, put a few at
//! a time; a reader takes the finished segments away, as a SIEM would. It fails when a record is
//! missing or comes twice, a sweep is missed, or memory grows. Without `--minutes` it does nothing.

mod common;

use std::collections::HashMap;
use std::fs::{self, File};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context as _, ensure};
use chrono::{DateTime, Timelike as _, Utc};
use clap::Parser as _;
use common::table::{Table, median};
use common::trail::{self, Amount, Site};
use s3sweep::clock::{Clock as _, SystemClock};
use s3sweep::testing::S3Server;
use serde_json::Value;
use tokio::time::Instant;

const BUCKET: &str = "acme-trail";
const ACCOUNTS: u64 = 20;
const REGIONS: [&str; 10] = [
    "ap-northeast-1",
    "ap-south-1",
    "ap-southeast-2",
    "ca-central-1",
    "eu-central-1",
    "eu-north-1",
    "eu-west-1",
    "us-east-1",
    "us-west-1",
    "us-west-2",
];
const LEAVES: u64 = ACCOUNTS * REGIONS.len() as u64;
/// The least that a source may be swept.
const RECURRENCE: Duration = Duration::from_secs(60);
/// What was put last has come by then.
const PATIENCE: Duration = Duration::from_secs(150);
const TICK: Duration = Duration::from_secs(1);
/// Memory may grow by a twentieth and this from the second quarter of the time to the last.
const SLACK_MIB: f64 = 3.0;

/// Lets s3sweep run beside a bucket that grows.
#[derive(Clone, Debug, clap::Parser)]
struct Args {
    /// How long; nothing is done without it.
    #[arg(long)]
    minutes: Option<u64>,
    /// Objects put in a minute, over all leaves.
    #[arg(long, default_value_t = 1000)]
    objects: u64,
    /// Records in each object.
    #[arg(long, default_value_t = 20)]
    events: u64,
    /// Another s3sweep, such as one of an earlier build.
    #[arg(long, default_value = env!("CARGO_BIN_EXE_s3sweep"))]
    binary: PathBuf,
    /// Lines for the source's table, such as `eps_throttle = 1000`.
    #[arg(long, default_value = "")]
    settings: String,
    /// What `cargo bench` gives to every benchmark.
    #[arg(long, hide = true)]
    bench: bool,
}

/// s3sweep at work; it is killed when this goes away.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        // it may have ended already
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Running {
    fn start(args: &Args, folder: &Path, server: &S3Server) -> anyhow::Result<Self> {
        let text = format!(
            "state_dir = \"state\"\n[sink]\npath = \"out\"\nrotate_every = \"10S\"\n[[source]]\nname = \"soak\"\n\
             log_type = \"cloudtrail\"\nbucket = \"{BUCKET}\"\nprefix = \"AWSLogs/*/CloudTrail/*\"\nrecurrence = \"1M\"\n\
             start = \"1H\"\nregion = \"us-east-1\"\nendpoint_url = \"{}\"\npath_style = true\n{}\n\
             [source.credentials]\naccess_key_id = \"{}\"\nsecret_access_key = \"{}\"\n",
            server.endpoint_url(),
            args.settings,
            server.access_key_id(),
            server.secret_access_key()
        );
        let config = folder.join("s3sweep.toml");
        fs::write(&config, text)?;
        fs::set_permissions(&config, fs::Permissions::from_mode(0o600))?;
        let mut command = Command::new(&args.binary);
        command.args(["run", "--log-format", "json", "-c"]).arg(config);
        command.env_clear().current_dir(folder).stdin(Stdio::null()).stdout(Stdio::null());
        let child = command.stderr(File::create(folder.join("log"))?).spawn();
        Ok(Running(child.with_context(|| format!("failed to start {}", args.binary.display()))?))
    }

    /// Resident memory in MiB.
    fn memory(&mut self) -> anyhow::Result<f64> {
        ensure!(self.0.try_wait()?.is_none(), "s3sweep has ended");
        let status = fs::read_to_string(format!("/proc/{}/status", self.0.id()))?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        let kib: f64 =
            line.and_then(|rest| rest.trim().strip_suffix(" kB")?.parse().ok()).context("no VmRSS")?;
        Ok(kib / 1024.0)
    }

    fn stop(mut self) -> anyhow::Result<()> {
        let ended = Command::new("kill").arg(self.0.id().to_string()).status()?;
        ensure!(ended.success(), "it cannot be stopped");
        let status = self.0.wait()?;
        ensure!(status.success(), "s3sweep ended with {status}");
        Ok(())
    }
}

/// Puts one object into the next leaf; returns its records.
fn put(server: &S3Server, number: u64, events: u64, now: DateTime<Utc>) -> u64 {
    let leaf = number % LEAVES;
    let account = (111_122_220_000 + leaf / REGIONS.len() as u64).to_string();
    let region = REGIONS[(leaf % REGIONS.len() as u64) as usize];
    let time = now.with_second(0).unwrap_or(now);
    let object = trail::object(number, Site { account: &account, region, time }, Amount::Records(events));
    server.put(BUCKET, object.key, object.bytes, now);
    object.records
}

/// The records that a reader has taken, by how often each came.
#[derive(Default)]
struct Taken(HashMap<String, u32>);

impl Taken {
    /// Takes the finished segments away.
    fn take(&mut self, folder: &Path) -> anyhow::Result<()> {
        let Ok(entries) = fs::read_dir(folder) else { return Ok(()) };
        for entry in entries {
            let path = entry?.path();
            if path.extension().is_some_and(|ending| ending == "ndjson") {
                for line in fs::read_to_string(&path)?.lines() {
                    let record: Value = serde_json::from_str(line)?;
                    let id = record["event_id"].as_str().context("a record without event_id")?;
                    *self.0.entry(id.to_owned()).or_default() += 1;
                }
                fs::remove_file(path)?;
            }
        }
        Ok(())
    }
}

/// What the log says of sweeps, and its lines of level WARN and ERROR.
fn read_log(folder: &Path) -> anyhow::Result<(Vec<Value>, Vec<String>)> {
    let text = fs::read_to_string(folder.join("log"))?;
    let (mut swept, mut bad) = (Vec::new(), Vec::new());
    for line in text.lines() {
        let event: Value =
            serde_json::from_str(line).with_context(|| format!("no JSON in the log: {line}"))?;
        match (event["level"].as_str(), event["message"].as_str()) {
            (_, Some("swept")) => swept.push(event),
            (Some("WARN" | "ERROR"), _) => bad.push(line.to_owned()),
            _ => {}
        }
    }
    Ok((swept, bad))
}

/// The time between the begins of sweeps that follow each other, the longest.
fn longest_gap(swept: &[Value]) -> anyhow::Result<f64> {
    let mut begins = Vec::new();
    for event in swept {
        let ended: DateTime<Utc> = event["timestamp"].as_str().context("no timestamp")?.parse()?;
        let seconds = event["seconds"].as_f64().context("no seconds")?;
        begins.push(ended.timestamp_millis() as f64 / 1000.0 - seconds);
    }
    Ok(begins.windows(2).map(|pair| pair[1] - pair[0]).fold(0.0, f64::max))
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let args = Args::parse();
    let Some(minutes) = args.minutes else {
        println!("soak: nothing to do without --minutes");
        return Ok(());
    };
    let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR"))?;
    let server = S3Server::start([BUCKET]).await?;
    let (mut number, mut owed, mut taken) = (0, 0, Taken::default());
    // each leaf has one before the first sweep finds them
    while number < LEAVES {
        owed += put(&server, number, args.events, SystemClock.now());
        number += 1;
    }
    let mut running = Running::start(&args, folder.path(), &server)?;
    let (began, length) = (Instant::now(), Duration::from_secs(60 * minutes));
    let mut memory = Vec::new();
    println!("minute  objects  records taken  resident MiB");
    while began.elapsed() < length {
        tokio::time::sleep(TICK).await;
        let due = LEAVES + args.objects * began.elapsed().min(length).as_millis() as u64 / 60_000;
        while number < due {
            owed += put(&server, number, args.events, SystemClock.now());
            number += 1;
        }
        taken.take(&folder.path().join("out"))?;
        memory.push(running.memory()?);
        if memory.len() % 60 == 0 {
            let minute = began.elapsed().as_secs() / 60;
            println!("{minute:>6}  {number:>7}  {:>13}  {:>12.1}", taken.0.len(), memory[memory.len() - 1]);
        }
    }
    let last_put = Instant::now();
    while (taken.0.len() as u64) < owed && last_put.elapsed() < PATIENCE {
        tokio::time::sleep(TICK).await;
        taken.take(&folder.path().join("out"))?;
        running.memory()?;
    }
    let ran = began.elapsed();
    running.stop()?;
    taken.take(&folder.path().join("out"))?;
    judge(folder.path(), ran, &memory, (number, owed), &taken)
}

fn judge(
    folder: &Path,
    ran: Duration,
    memory: &[f64],
    (objects, owed): (u64, u64),
    taken: &Taken,
) -> anyhow::Result<()> {
    let (swept, bad) = read_log(folder)?;
    let twice = taken.0.values().filter(|times| **times > 1).count();
    let quarter = |number: usize| &memory[memory.len() * number / 4..memory.len() * (number + 1) / 4];
    let of = |number| median(quarter(number).iter().copied());
    let (early, late) = (of(1), of(3));
    let most = memory.iter().copied().fold(0.0, f64::max);
    let expected = ran.as_secs() / RECURRENCE.as_secs();
    let gap = longest_gap(&swept)?;
    let mut table = Table::new(&["what", "figure"]);
    for (what, figure) in [
        ("minutes", format!("{:.1}", ran.as_secs_f64() / 60.0)),
        ("leaves", LEAVES.to_string()),
        ("objects", objects.to_string()),
        ("records", owed.to_string()),
        ("records missing", (owed - owed.min(taken.0.len() as u64)).to_string()),
        ("records twice", twice.to_string()),
        ("sweeps", swept.len().to_string()),
        ("longest time between sweeps, s", format!("{gap:.1}")),
        ("resident, MiB: second quarter", format!("{early:.1}")),
        ("resident, MiB: last quarter", format!("{late:.1}")),
        ("resident, MiB: most", format!("{most:.1}")),
        ("warnings and errors", bad.len().to_string()),
    ] {
        table.row([what.to_owned(), figure]);
    }
    table.print();
    ensure!(taken.0.len() as u64 == owed && twice == 0, "not every record came once");
    ensure!(swept.len() as u64 >= expected, "{} sweeps in place of {expected}", swept.len());
    ensure!(gap < 1.5 * RECURRENCE.as_secs_f64(), "a sweep was missed");
    ensure!(bad.is_empty(), "the log has {}", bad.join("\n"));
    ensure!(late <= 1.05 * early + SLACK_MIB, "memory grows");
    Ok(())
}
