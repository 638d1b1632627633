//! The release binary against an S3 server in another process: `cargo bench --bench end_to_end`.
//!
//! The benchmark runs itself again as the server, which holds its objects in memory, and then
//! `s3sweep once` with a file sink under `target/tmp`, each run with a fresh state. Each run's
//! report must name all records. The server shares the machine's cores, as the figures say.

mod common;

use std::io::{BufRead as _, BufReader, Read as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use anyhow::{Context as _, ensure};
use chrono::{DateTime, TimeDelta, Utc};
use clap::Parser as _;
use common::measure::{self, Cost};
use common::table::{Table, median};
use common::trail::{self, Amount, Object};
use s3sweep::config::parse_instant;
use s3sweep::testing::S3Server;
use serde::{Deserialize, Serialize};
use serde_json::Value;

const BUCKET: &str = "acme-trail";
const GIB: u64 = 1 << 30;

/// Measures s3sweep from an S3 server to a file.
#[derive(Clone, Debug, clap::Parser)]
struct Args {
    /// Lets each request wait, such as 30ms; with this, --objects, --events or --data only that one scenario runs.
    #[arg(long, value_parser = milliseconds)]
    delay: Option<u64>,
    /// Number of objects.
    #[arg(long)]
    objects: Option<u64>,
    /// Records in each object.
    #[arg(long)]
    events: Option<u64>,
    /// Serves the files of this folder, their paths as keys, in place of generated objects.
    #[arg(long, requires_all = ["start", "now"])]
    data: Option<PathBuf>,
    /// `start` of the source.
    #[arg(long, default_value = "2025-06-01")]
    start: String,
    /// The time of the sweep.
    #[arg(long, default_value = "2025-06-04T00:30:00Z")]
    now: String,
    /// Runs of each scenario; figures are medians.
    #[arg(long, default_value_t = 5)]
    runs: usize,
    /// Only scenarios whose name has this text.
    #[arg(long)]
    only: Option<String>,
    /// Another s3sweep, such as one of an earlier build.
    #[arg(long, default_value = env!("CARGO_BIN_EXE_s3sweep"))]
    binary: PathBuf,
    /// Lines for the `[limits]` table, such as `get_concurrency = 32`.
    #[arg(long, default_value = "")]
    limits: String,
    /// Leaves out `aws s3 sync` and `s5cmd`, which are measured when they are installed.
    #[arg(long)]
    alone: bool,
    /// This process is the server of the scenario that stands here as JSON.
    #[arg(long, hide = true)]
    serve: Option<String>,
    /// What `cargo bench` gives to every benchmark.
    #[arg(long, hide = true)]
    bench: bool,
}

fn milliseconds(text: &str) -> Result<u64, String> {
    let number = text.strip_suffix("ms").unwrap_or(text);
    number.parse().map_err(|_| format!("{text:?} is no number of milliseconds such as 30ms"))
}

/// What the server holds and how fast it answers.
#[derive(Clone, Debug, Deserialize, Serialize)]
struct Scenario {
    name: String,
    objects: u64,
    /// Records per object.
    events: u64,
    /// In place of `events`: bytes that each object inflates to.
    inflated: Option<u64>,
    /// In place of all three: the files of this folder.
    data: Option<PathBuf>,
    delay_ms: u64,
    /// What is measured is a sweep that finds all settled.
    idle: bool,
    /// Other tools are measured with the same objects.
    compared: bool,
}

impl Scenario {
    fn new(name: &str, objects: u64, events: u64) -> Self {
        Scenario {
            name: name.to_owned(),
            objects,
            events,
            inflated: None,
            data: None,
            delay_ms: 0,
            idle: false,
            compared: false,
        }
    }
}

/// The scenarios of docs/performance.md, or the one that the arguments describe.
fn scenarios(args: &Args) -> Vec<Scenario> {
    let base = || Scenario::new("500 objects of 200 events", 500, 200);
    if args.delay.is_some() || args.objects.is_some() || args.events.is_some() || args.data.is_some() {
        let delay_ms = args.delay.unwrap_or(0);
        let (objects, events) = (args.objects.unwrap_or(500), args.events.unwrap_or(200));
        let name = match &args.data {
            Some(folder) => format!("{}, {delay_ms} ms", folder.display()),
            None => format!("{objects} × {events} events, {delay_ms} ms"),
        };
        let data = args.data.clone();
        return vec![Scenario { delay_ms, data, compared: true, ..Scenario::new(&name, objects, events) }];
    }
    let all = vec![
        Scenario { compared: true, ..base() },
        Scenario { name: "the same, 30 ms per request".into(), delay_ms: 30, ..base() },
        Scenario::new("10,000 objects of 1.4 KB", 10_000, 2),
        Scenario { inflated: Some(GIB), ..Scenario::new("one object of 1 GiB inflated", 1, 0) },
        Scenario { idle: true, ..Scenario::new("nothing to do, 12 leaves", 120, 2) },
    ];
    let only = args.only.as_deref().unwrap_or_default();
    all.into_iter().filter(|scenario| scenario.name.contains(only)).collect()
}

/// What the server says once it answers.
#[derive(Debug, Deserialize, Serialize)]
struct Serving {
    endpoint: String,
    access_key_id: String,
    secret_access_key: String,
    objects: u64,
    /// Unknown for files of a folder.
    records: Option<u64>,
    stored: u64,
}

/// Holds the objects and answers until stdin ends.
#[tokio::main]
async fn serve(scenario: &Scenario) -> anyhow::Result<()> {
    let server = S3Server::start([BUCKET]).await?;
    let mut serving = Serving {
        endpoint: server.endpoint_url(),
        access_key_id: server.access_key_id().to_owned(),
        secret_access_key: server.secret_access_key().to_owned(),
        objects: 0,
        records: scenario.data.is_none().then_some(0),
        stored: 0,
    };
    for object in objects(scenario)? {
        serving.objects += 1;
        serving.stored += object.bytes.len() as u64;
        serving.records = serving.records.map(|records| records + object.records);
        server.put(BUCKET, object.key, object.bytes, object.last_modified);
    }
    server.set_delay(std::time::Duration::from_millis(scenario.delay_ms));
    println!("{}", serde_json::to_string(&serving)?);
    tokio::task::spawn_blocking(|| std::io::stdin().read_to_end(&mut Vec::new())).await??;
    Ok(server.stop().await?)
}

fn objects(scenario: &Scenario) -> anyhow::Result<Box<dyn Iterator<Item = Object>>> {
    if let Some(folder) = &scenario.data {
        let mut objects = Vec::new();
        read_folder(folder, folder, &mut objects)?;
        return Ok(Box::new(objects.into_iter()));
    }
    let first: DateTime<Utc> = "2025-06-01T00:20:00Z".parse()?;
    let amount = scenario.inflated.map_or(Amount::Records(scenario.events), Amount::Bytes);
    Ok(Box::new(trail::objects(scenario.objects, amount, (first, first + TimeDelta::hours(71)))))
}

fn read_folder(root: &Path, folder: &Path, objects: &mut Vec<Object>) -> anyhow::Result<()> {
    for entry in std::fs::read_dir(folder).with_context(|| format!("failed to read {}", folder.display()))? {
        let path = entry?.path();
        if path.is_dir() {
            read_folder(root, &path, objects)?;
            continue;
        }
        let key = path.strip_prefix(root)?.to_string_lossy().into_owned();
        let last_modified = path.metadata()?.modified()?.into();
        let bytes = std::fs::read(&path)?.into();
        objects.push(Object { key, bytes, last_modified, inflated: 0, records: 0 });
    }
    Ok(())
}

/// The server process; ends when it is dropped.
struct Server {
    process: Child,
    serving: Serving,
}

impl Server {
    fn start(scenario: &Scenario) -> anyhow::Result<Self> {
        let mut process = Command::new(std::env::current_exe()?)
            .args(["--serve", &serde_json::to_string(scenario)?])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .context("failed to start the server")?;
        let stdout = process.stdout.take().context("the server has no stdout")?;
        let mut line = String::new();
        BufReader::new(stdout).read_line(&mut line)?;
        let serving = serde_json::from_str(&line).context("failed to start the server")?;
        Ok(Server { process, serving })
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        drop(self.process.stdin.take());
        // a server that failed has said so
        let _ = self.process.wait();
    }
}

/// State, sink and configuration of one s3sweep, in a folder of its own.
struct Site {
    folder: tempfile::TempDir,
    binary: PathBuf,
}

impl Site {
    fn new(args: &Args, serving: &Serving) -> anyhow::Result<Self> {
        let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR"))?;
        let Serving { endpoint, access_key_id, secret_access_key, .. } = serving;
        let at = folder.path().display();
        let text = format!(
            "state_dir = \"{at}/state\"\n[limits]\n{}\n[sink]\ntype = \"file\"\npath = \"{at}/sink\"\n\
             [[source]]\nname = \"bench\"\nlog_type = \"cloudtrail\"\nbucket = \"{BUCKET}\"\n\
             prefix = \"AWSLogs/*/CloudTrail/*\"\nstart = \"{}\"\nregion = \"us-east-1\"\n\
             endpoint_url = \"{endpoint}\"\npath_style = true\n[source.credentials]\n\
             access_key_id = \"{access_key_id}\"\nsecret_access_key = \"{secret_access_key}\"\n",
            args.limits, args.start
        );
        std::fs::write(folder.path().join("s3sweep.toml"), text)?;
        Ok(Site { folder, binary: args.binary.clone() })
    }

    /// One `once` at this time, and its report for the source.
    fn sweep(&self, now: DateTime<Utc>) -> anyhow::Result<(Cost, Value)> {
        let report = self.folder.path().join("report.json");
        let cost = measure::run(
            Command::new(&self.binary)
                .args(["once", "-q", "--now", &now.to_rfc3339()])
                .arg("-c")
                .arg(self.folder.path().join("s3sweep.toml"))
                .arg("--report")
                .arg(&report),
        )?;
        ensure!(cost.status.success(), "s3sweep ended with {}", cost.status);
        let mut report: Value = serde_json::from_slice(&std::fs::read(report)?)?;
        Ok((cost, report["sources"][0].take()))
    }
}

/// What one run measured.
struct Run {
    cost: Cost,
    records: f64,
    inflated: f64,
    lists: u64,
    gets: u64,
}

fn run(args: &Args, scenario: &Scenario, serving: &Serving) -> anyhow::Result<Run> {
    let site = Site::new(args, serving)?;
    let now = parse_instant(&args.now).context("--now is no instant")?;
    let (mut cost, mut report) = site.sweep(now)?;
    ensure!(report["objects"]["collected"] == serving.objects, "not all is collected: {report:#}");
    if let Some(records) = serving.records {
        ensure!(report["records"] == records, "not all is delivered: {report:#}");
    }
    if scenario.idle {
        // the floors move once all is older than the lateness; then a sweep has nothing to do
        site.sweep(now + TimeDelta::hours(2))?;
        (cost, report) = site.sweep(now + TimeDelta::hours(2) + TimeDelta::minutes(5))?;
        ensure!(report["objects"]["collected"] == 0, "the sweep is not idle: {report:#}");
    }
    let number = |value: &Value| value.as_u64().unwrap_or(0);
    Ok(Run {
        cost,
        records: number(&report["records"]) as f64,
        inflated: number(&report["bytes"]["inflated"]) as f64,
        lists: number(&report["requests"]["list"]),
        gets: number(&report["requests"]["get"]),
    })
}

const COLUMNS: [&str; 8] =
    ["scenario", "wall s", "CPU s", "CPU s per GB inflated", "peak MiB", "LIST", "GET", "events/s"];

/// A row of medians; what does not apply is left out.
fn row(name: &str, runs: &[Run]) -> Vec<String> {
    let of = |value: &dyn Fn(&Run) -> f64| median(runs.iter().map(value));
    let wall = of(&|run| run.cost.wall.as_secs_f64());
    let cpu = of(&|run| run.cost.cpu.as_secs_f64());
    let (records, inflated) = (of(&|run| run.records), of(&|run| run.inflated));
    let if_any = |count: f64, text: String| if count > 0.0 { text } else { "–".to_owned() };
    let peak = runs.iter().map(|run| run.cost.peak).max().unwrap_or(0);
    vec![
        name.to_owned(),
        format!("{wall:.3}"),
        format!("{cpu:.2}"),
        if_any(inflated, format!("{:.2}", cpu / (inflated / 1e9))),
        format!("{:.1}", peak as f64 / (1 << 20) as f64),
        format!("{}", of(&|run| run.lists as f64)),
        format!("{}", of(&|run| run.gets as f64)),
        if_any(records, format!("{:.0}", records / wall)),
    ]
}

/// Another way to the records of a bucket, as a shell knows it: first a copy, then `zcat | jq`.
const OTHERS: [(&str, &str); 2] = [
    ("aws", "aws s3 sync --only-show-errors \"s3://$BUCKET\" copy"),
    ("s5cmd", "s5cmd --log error sync \"s3://$BUCKET/*\" copy/"),
];

/// Measures the other tools, those that are installed.
fn compare(serving: &Serving, table: &mut Table) -> anyhow::Result<()> {
    for (tool, copy) in OTHERS {
        if !is_installed(tool) || !is_installed("jq") {
            println!("{tool}: skipped, not installed together with jq");
            continue;
        }
        let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR"))?;
        let script = format!(
            "set -e; {copy}; find copy -name '*.gz' -print0 | xargs -0 zcat | jq -c '.Records[]' > records; sync records"
        );
        let cost = measure::run(
            Command::new("sh")
                .args(["-c", &script])
                .current_dir(folder.path())
                .env("BUCKET", BUCKET)
                .env("AWS_ENDPOINT_URL", &serving.endpoint)
                .env("S3_ENDPOINT_URL", &serving.endpoint)
                .env("AWS_ACCESS_KEY_ID", &serving.access_key_id)
                .env("AWS_SECRET_ACCESS_KEY", &serving.secret_access_key)
                .env("AWS_DEFAULT_REGION", "us-east-1")
                .env("NO_PROXY", "127.0.0.1"),
        )?;
        if !cost.status.success() {
            println!("{tool}: skipped, it ended with {}", cost.status);
            continue;
        }
        let records =
            BufReader::new(std::fs::File::open(folder.path().join("records"))?).lines().count() as u64;
        ensure!(serving.records.is_none_or(|all| all == records), "{tool} and jq found {records} records");
        let run = Run { cost, records: records as f64, inflated: 0.0, lists: 0, gets: 0 };
        table.row(row(&format!("{tool} sync, zcat, jq (1 run)"), &[run]));
    }
    Ok(())
}

/// Whether a tool runs; one that stands in the path need not.
fn is_installed(tool: &str) -> bool {
    let mut version = Command::new("sh");
    version.args(["-c", &format!("{tool} --version || {tool} version")]);
    version.stdout(Stdio::null()).stderr(Stdio::null()).status().is_ok_and(|status| status.success())
}

fn main() -> anyhow::Result<()> {
    let args = Args::parse();
    if let Some(scenario) = &args.serve {
        return serve(&serde_json::from_str(scenario)?);
    }
    println!("{}, medians of {} runs, highest peak\n", args.binary.display(), args.runs);
    let mut table = Table::new(&COLUMNS);
    for scenario in scenarios(&args) {
        let server = Server::start(&scenario)?;
        eprintln!(
            "{}: {} objects, {:.1} MB",
            scenario.name,
            server.serving.objects,
            server.serving.stored as f64 / 1e6
        );
        let runs: Vec<_> =
            (0..args.runs).map(|_| run(&args, &scenario, &server.serving)).collect::<Result<_, _>>()?;
        table.row(row(&scenario.name, &runs));
        if scenario.compared && !args.alone {
            compare(&server.serving, &mut table)?;
        }
    }
    table.print();
    Ok(())
}
