//! The whole collector at work, without an AWS account: `cargo run --example quickstart`.
//!
//! An S3 server inside this process holds the CloudTrail files of `fixtures/`, each from the time
//! that `fixtures/manifest.json` tells. Three sweeps collect them as `s3sweep once` does from
//! cron: configuration, signed HTTP requests, state and sink are the real ones, only the clock is
//! set. The last file appears a day late, under a key that sorts before others that are collected
//! already: a collector that lists after its last key never sees it.
//!
//! Every number is compared with the manifest; a difference is an error. All files lie in a
//! temporary folder, which is removed, and no connection leaves this machine.

#[path = "quickstart/manifest.rs"]
mod manifest;

use std::collections::BTreeMap;
use std::io::Write;
use std::path::Path;
use std::sync::Arc;

use anyhow::Context as _;
use chrono::{DateTime, Utc};
use manifest::{Counts, Manifest};
use s3sweep::clock::FixedClock;
use s3sweep::config::{self, Config};
use s3sweep::service::{Instance, Options, Source};
use s3sweep::sweep::{Swept, report::SourceReport};
use s3sweep::testing::S3Server;
use serde_json::Value;
use tokio_util::sync::CancellationToken;

/// When the three sweeps take place. The manifest's days are 1 and 2 June; by the last one the
/// first of them is over for longer than its `lateness`, so it is compared in full and closed.
const SWEEPS: [(&str, &str); 3] = [
    ("2026-06-01T12:00:00Z", "at noon of the first day"),
    ("2026-06-02T00:30:00Z", "after midnight"),
    ("2026-06-02T02:00:00Z", "when the first day closes, a late file has appeared"),
];

/// Letters of a line; what is longer is cut.
const WIDTH: usize = 79;

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures");
    show(&fixtures, &mut std::io::stdout().lock()).await
}

/// Runs the story on a folder of fixtures, and tells it to `out`.
pub async fn show(fixtures: &Path, out: &mut impl Write) -> anyhow::Result<()> {
    let manifest = Manifest::read(fixtures)?;
    let server = S3Server::start([&manifest.bucket]).await.context("failed to start the server")?;
    let folder = tempfile::tempdir().context("failed to make a temporary folder")?;
    let config = configure(&server, &manifest, folder.path())?;

    let mut reports = Vec::new();
    let mut since = DateTime::UNIX_EPOCH;
    for (time, when) in SWEEPS {
        let now: DateTime<Utc> = time.parse()?;
        for entry in manifest.appeared(since, now) {
            let bytes = std::fs::read(fixtures.join(&entry.file))
                .with_context(|| format!("failed to read the fixture {:?}", entry.file))?;
            server.put(&manifest.bucket, &entry.key, bytes, entry.last_modified);
        }
        server.bucket(&manifest.bucket).set_clock(Some(now));
        reports.push((now, when, sweep(&config, now).await?, manifest.expected(since, now)));
        since = now;
    }
    let records = delivered(&folder.path().join("out"))?;

    write_records(&records, out)?;
    writeln!(out, "\nWhat became of the objects below {}:", config.sources[0].pattern)?;
    for (now, when, report, expected) in &reports {
        write_sweep(*now, when, report, out)?;
        let counts = Counts::of(report);
        anyhow::ensure!(
            counts == *expected && report.unreachable.is_empty(),
            "the sweep {when} did not do what the manifest says:\n expected {expected:?}\n got {counts:?}\n {report:#?}"
        );
    }
    let (expected, mut found) = (manifest.records_by_key(), BTreeMap::new());
    for record in &records {
        *found.entry(record["s3"]["key"].as_str().unwrap_or_default()).or_default() += 1;
    }
    anyhow::ensure!(
        found == expected,
        "the sink holds other records than the manifest says, by key:\n expected {expected:#?}\n found {found:#?}"
    );
    writeln!(out, "\nAll as fixtures/manifest.json says: {} records, each delivered once.", records.len())?;
    server.stop().await.context("failed to stop the server")
}

/// Writes a configuration as a user would, and loads it.
fn configure(server: &S3Server, manifest: &Manifest, folder: &Path) -> anyhow::Result<Config> {
    let text = format!(
        r#"
state_dir = "state"               # relative to this file
instance = "quickstart"

[sink]
type = "file"
path = "out"

[[source]]
name = "acme"
log_type = "cloudtrail"
bucket = "{bucket}"
prefix = "{pattern}"              # any account, any region
start = "2026-06-01"
region = "us-east-1"
endpoint_url = "{endpoint}"       # not AWS, but the server in this process
path_style = true

[source.credentials]
access_key_id = "{id}"
secret_access_key = "{secret}"
"#,
        bucket = manifest.bucket,
        pattern = manifest.pattern,
        endpoint = server.endpoint_url(),
        id = server.access_key_id(),
        secret = server.secret_access_key(),
    );
    let path = folder.join("s3sweep.toml");
    std::fs::write(&path, text).context("failed to write the configuration")?;
    Ok(config::load(&[path])?)
}

/// One sweep by an instance of its own: what it knows of earlier ones stands in the state.
async fn sweep(config: &Config, now: DateTime<Utc>) -> anyhow::Result<SourceReport> {
    let (clock, stop) = (Arc::new(FixedClock(now)), CancellationToken::new());
    let options = Options { clock, adopt_state: false, rebuild_state: false, give_up: true, stop };
    let source = Source::new(&config.sources[0], config)?;
    let instance = Instance::open(config.clone(), options).await?;
    let Swept { report, ended } = instance.sweep(&source).await;
    instance.close().await?;
    Ok(ended.map(|()| report)?)
}

/// The records in the finished segments, by key and place within the object.
fn delivered(folder: &Path) -> anyhow::Result<Vec<Value>> {
    let mut records: Vec<Value> = Vec::new();
    for file in std::fs::read_dir(folder).context("failed to read the sink's folder")? {
        let path = file?.path();
        if path.extension().is_some_and(|extension| extension == "ndjson") {
            let text = std::fs::read_to_string(path)?;
            records.extend(text.lines().map(serde_json::from_str).collect::<Result<Vec<_>, _>>()?);
        }
    }
    records.sort_by_key(|record| (record["s3"]["key"].to_string(), record["s3"]["record"].as_u64()));
    Ok(records)
}

fn write_records(records: &[Value], out: &mut impl Write) -> std::io::Result<()> {
    let fields = ["timestamp", "event_name", "event_status", "srcip", "user", "cloud", "s3", "aws"];
    let failures = records.iter().filter(|record| record["event_status"] == "failure");
    writeln!(out, "Two of the {} Interflow records, in part:", records.len())?;
    for record in failures.take(2) {
        writeln!(out, "\n  {{")?;
        for (name, value) in fields.iter().filter_map(|name| Some((name, record.get(name)?))) {
            writeln!(out, "{}", cut(&format!("    \"{name}\": {value},")))?;
        }
        writeln!(out, "  }}")?;
    }
    Ok(())
}

fn write_sweep(
    now: DateTime<Utc>,
    when: &str,
    report: &SourceReport,
    out: &mut impl Write,
) -> std::io::Result<()> {
    let (objects, requests) = (&report.objects, report.requests);
    let settled = objects.skipped.get("settled").unwrap_or(&0);
    writeln!(out, "\n  {}, {when}", now.format("%F %H:%M"))?;
    writeln!(
        out,
        "    collected {} ({} late), empty {}, quarantined {}, settled before {settled}",
        objects.collected, objects.late, objects.empty, objects.quarantined
    )?;
    writeln!(
        out,
        "    {} records; {} LIST and {} GET requests",
        report.records, requests.list, requests.get
    )?;
    for failure in &report.failures {
        let name = failure.key.rsplit('/').next().unwrap_or_default();
        writeln!(out, "    not whole ({}): {name}\n      {}", failure.class, cut(&failure.reason))?;
    }
    Ok(())
}

/// A line as it fits on a terminal.
fn cut(line: &str) -> String {
    match line.char_indices().nth(WIDTH) {
        Some((end, _)) => format!("{}…", &line[..end]),
        None => line.to_owned(),
    }
}
