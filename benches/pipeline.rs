//! What one core makes of CloudTrail objects: inflating alone, splitting alone, and each decoder
//! and encoder through [`Collector::collect`], the function that sweeps call.
//!
//! Time is CPU time of the process. After the groups a table tells medians and the share of
//! inflating alone; its cases take turns, so that all see the same machine. `--tables [TEXT]` prints
//! the tables alone, of the pairs whose name has this text. With `S3SWEEP_BENCH_DATA=FOLDER` the
//! objects are the `*.gz` below that folder whose path has AWS's folder of the log type.

mod common;

use std::collections::BTreeMap;
use std::hint::black_box;
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use chrono::{DateTime, Utc};
use common::measure::cpu_time;
use common::rows;
use common::table::{Table, median};
use common::trail::{self, Amount, Site};
use criterion::measurement::{Measurement, ValueFormatter, WallTime};
use criterion::{Criterion, SamplingMode, Throughput};
use s3sweep::bucket::ObjectRef;
use s3sweep::clock::FixedClock;
use s3sweep::collect::{CollectSettings, Collector, Ending};
use s3sweep::commit::{CommitHandle, CommitSettings, Committer, Durable};
use s3sweep::config::{self, Limits};
use s3sweep::decode::inflate::{self, FileType, InflateLimits};
use s3sweep::decode::{self, DecodeSettings, Step};
use s3sweep::encode::{ENCODINGS, EncodeSettings, Encoder};
use s3sweep::record::LogType;
use s3sweep::retry::Backoff;
use s3sweep::sink::dead_letter::DeadLetters;
use s3sweep::sink::file::{Compression, FileSink, FileSinkSettings};
use s3sweep::sink::{Position, Sink, SinkError};
use s3sweep::state::SourceKey;
use s3sweep::state::history::History;
use s3sweep::state::memory::MemoryState;
use s3sweep::testing::MemoryBucket;
use tokio::io::AsyncReadExt as _;
use tokio::runtime::Runtime;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

/// Turns that each case of the table takes.
const TURNS: usize = 15;
/// Inflated bytes looked at together, as the collector does.
const WINDOW: usize = 128 * 1024;

/// A decoder and an encoder, and what they are measured with.
struct Pair {
    log_type: LogType,
    /// A word of [`ENCODINGS`].
    encoding: &'static str,
    data: fn() -> Vec<(&'static str, Data)>,
}

/// One line per decoder and encoder.
const PAIRS: &[Pair] = &[
    Pair { log_type: LogType::CloudTrail, encoding: "interflow", data: cloudtrail },
    Pair { log_type: LogType::CloudTrail, encoding: "cef", data: cloudtrail },
    Pair { log_type: LogType::CloudTrail, encoding: "raw", data: cloudtrail },
    Pair { log_type: LogType::VpcFlow, encoding: "interflow", data: vpcflow },
    Pair { log_type: LogType::VpcFlow, encoding: "cef", data: vpcflow },
    Pair { log_type: LogType::VpcFlow, encoding: "raw", data: vpcflow },
    Pair { log_type: LogType::Waf, encoding: "interflow", data: waf },
    Pair { log_type: LogType::Waf, encoding: "cef", data: waf },
    Pair { log_type: LogType::Waf, encoding: "raw", data: waf },
];

impl Pair {
    fn name(&self) -> String {
        format!("{} × {}", self.log_type.word(), self.encoding)
    }

    fn encoder(&self) -> Arc<dyn Encoder> {
        let encoding = ENCODINGS.iter().find(|encoding| encoding.word == self.encoding);
        let encoder = encoding.map(|encoding| encoding.encoder(self.log_type, &EncodeSettings::default()));
        encoder.expect("a known word").expect("the default settings")
    }
}

/// Objects that are measured together.
struct Data {
    bucket: MemoryBucket,
    objects: Vec<(ObjectRef, Bytes)>,
    stored: u64,
    inflated: u64,
}

impl Data {
    fn new(objects: impl IntoIterator<Item = (String, Bytes)>) -> Self {
        let bucket = MemoryBucket::new("acme-trail");
        let mut data = Data { bucket, objects: Vec::new(), stored: 0, inflated: 0 };
        for (key, bytes) in objects {
            data.stored += bytes.len() as u64;
            data.inflated += inflate_plainly(&bytes);
            let object = ObjectRef {
                bucket: data.bucket.name().clone(),
                etag: data.bucket.put(&key, bytes.clone(), now()),
                key,
                size: bytes.len() as u64,
                last_modified: now(),
                archived: false,
            };
            data.objects.push((object, bytes));
        }
        data
    }

    /// Megabytes of inflated input.
    fn megabytes(&self) -> f64 {
        self.inflated as f64 / 1e6
    }
}

fn now() -> DateTime<Utc> {
    DateTime::UNIX_EPOCH + chrono::TimeDelta::days(20_240)
}

/// One large object, and the small ones that most trails have.
fn cloudtrail() -> Vec<(&'static str, Data)> {
    let site = Site { account: "111122223333", region: "us-east-1", time: now() };
    let object = |seed, count| {
        let object = trail::object(seed, site, Amount::Records(count));
        (object.key, object.bytes)
    };
    given("CloudTrail").unwrap_or_else(|| {
        vec![
            ("1 × 30,000 records", Data::new([object(1, 30_000)])),
            ("100 × 200 records", Data::new((0..100).map(|seed| object(seed, 200)))),
        ]
    })
}

fn vpcflow() -> Vec<(&'static str, Data)> {
    given("vpcflowlogs").unwrap_or_else(|| {
        vec![("1 × 200,000 rows", Data::new([("flow.log.gz".to_owned(), rows::flow_object(200_000))]))]
    })
}

fn waf() -> Vec<(&'static str, Data)> {
    given("WAFLogs").unwrap_or_else(|| {
        vec![("1 × 20,000 records", Data::new([("waf.log.gz".to_owned(), rows::waf_object(20_000))]))]
    })
}

/// The files of the given folder that lie in one of this name, if there is a given folder.
fn given(below: &str) -> Option<Vec<(&'static str, Data)>> {
    let files = gzip_files(&folder()?);
    let files = files.into_iter().filter(|path| path.components().any(|part| part.as_os_str() == below));
    let objects: Vec<_> = files
        .map(|path| {
            let bytes = std::fs::read(&path).expect("a readable file");
            (path.to_string_lossy().into_owned(), Bytes::from(bytes))
        })
        .collect();
    Some(if objects.is_empty() { Vec::new() } else { vec![("the folder's", Data::new(objects))] })
}

#[allow(clippy::disallowed_methods, reason = "criterion owns the command line")]
fn folder() -> Option<PathBuf> {
    std::env::var_os("S3SWEEP_BENCH_DATA").map(PathBuf::from)
}

fn gzip_files(folder: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(folder).expect("a readable folder").flatten() {
        let path = entry.path();
        match path.is_dir() {
            true => files.extend(gzip_files(&path)),
            false if path.extension().is_some_and(|extension| extension == "gz") => files.push(path),
            false => {}
        }
    }
    files.sort();
    files
}

/// CPU time of the process.
struct CpuTime;

impl Measurement for CpuTime {
    type Intermediate = Duration;
    type Value = Duration;

    fn start(&self) -> Duration {
        cpu_time()
    }

    fn end(&self, began: Duration) -> Duration {
        cpu_time() - began
    }

    fn add(&self, one: &Duration, other: &Duration) -> Duration {
        *one + *other
    }

    fn zero(&self) -> Duration {
        Duration::ZERO
    }

    fn to_f64(&self, value: &Duration) -> f64 {
        value.as_nanos() as f64
    }

    fn formatter(&self) -> &dyn ValueFormatter {
        WallTime.formatter()
    }
}

/// Inflated bytes of a gzip object.
fn inflate_plainly(stored: &[u8]) -> u64 {
    let mut inflater = flate2::bufread::MultiGzDecoder::new(stored);
    let (mut window, mut inflated) = (vec![0; WINDOW], 0);
    loop {
        match inflater.read(&mut window).expect("whole gzip") {
            0 => return inflated,
            read => inflated += read as u64,
        }
        black_box(&window);
    }
}

fn no_limits() -> InflateLimits {
    InflateLimits { max_object_bytes: u64::MAX, max_ratio: u64::MAX }
}

async fn inflate_as_collected(stored: &[u8]) -> u64 {
    let mut inflated = inflate::reader(stored, FileType::Auto, no_limits());
    let mut window = vec![0; WINDOW];
    while inflated.read(&mut window).await.expect("whole gzip") > 0 {
        black_box(&window);
    }
    inflated.inflated_bytes()
}

/// Records of inflated bytes, which all lie in one window.
fn split(log_type: LogType, inflated: &[u8], settings: &DecodeSettings) -> u64 {
    let mut decoder = decode::decoder(log_type, settings).expect("a decoder");
    let (mut at, mut records) = (0, 0);
    loop {
        match decoder.next(&inflated[at..], true).expect("whole JSON") {
            Step::Record { record, consumed } => {
                black_box(&record);
                records += 1;
                at += consumed;
            }
            Step::Malformed { reason, .. } => panic!("a malformed record: {reason}"),
            Step::More { consumed } | Step::Dropped { consumed } => at += consumed,
            Step::End => return records,
        }
    }
}

/// Counts what it is given, or keeps it.
struct MemorySink {
    length: u64,
    kept: Option<Arc<std::sync::Mutex<Vec<u8>>>>,
}

impl Sink for MemorySink {
    fn recover(&mut self, _: Option<&Position>) -> Result<(), SinkError> {
        Ok(())
    }

    fn write(&mut self, records: &[u8]) -> Result<(), SinkError> {
        self.length += black_box(records).len() as u64;
        if let Some(kept) = &self.kept {
            kept.lock().expect("no thread panicked").extend_from_slice(records);
        }
        Ok(())
    }

    fn commit(&mut self, _: bool) -> Result<Position, SinkError> {
        Ok(Position { sequence: 1, length: self.length, ..Position::default() })
    }

    fn seal(&mut self) -> Result<(), SinkError> {
        Ok(())
    }

    fn due_in(&self) -> Option<Duration> {
        None
    }
}

/// A collector and its committer.
struct Chain {
    collector: Collector,
    committer: JoinSet<Result<(), s3sweep::commit::CommitError>>,
    _folder: tempfile::TempDir,
}

impl Chain {
    /// Over `sink`; the committer runs on the runtime that this is called in.
    fn new(pair: &Pair, data: &Data, sink: Box<dyn Sink>, limits: &Limits) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let durable = Durable {
            sink,
            state: Arc::new(MemoryState::default()),
            dead_letters: DeadLetters::new(folder.path().join("dead-letter.ndjson")),
            history: History::open(folder.path(), &BTreeMap::new()).expect("a fresh history"),
            keep_history: Duration::from_secs(3600),
        };
        let settings = CommitSettings {
            every: limits.commit_every,
            bytes: limits.commit_bytes,
            operations: limits.commit_operations,
            buffer_bytes: limits.buffer_bytes,
            sink_timeout: None,
        };
        let stop = CancellationToken::new();
        let (committer, handle) =
            Committer::open(durable, settings, stop.clone()).expect("a fresh state opens");
        let collector = collector(pair, data, limits, handle, stop);
        Chain { collector, committer: JoinSet::from_iter([committer.run()]), _folder: folder }
    }

    /// Collects all objects; returns the bytes handed to the sink, which has them all.
    async fn collect(&self, data: &Data) -> u64 {
        let mut written = 0;
        for (object, _) in &data.objects {
            let collected = self.collector.collect(object, None).await.expect("the committer runs");
            assert!(matches!(collected.ending, Ending::Complete), "{:?}", collected.ending);
            assert_eq!(collected.work.dead_letters, 0);
            written += collected.work.written;
        }
        self.collector.committer.flush().await.expect("the committer runs");
        written
    }

    /// Ends the committer, which finishes the open segment.
    async fn end(self) {
        self.collector.committer.end(self.committer).await.expect("all is committed");
    }
}

fn collector(
    pair: &Pair,
    data: &Data,
    limits: &Limits,
    committer: CommitHandle,
    stop: CancellationToken,
) -> Collector {
    Collector {
        settings: CollectSettings {
            source_name: "bench".to_owned(),
            source: SourceKey { id: 1, generation: 1 },
            log_type: pair.log_type,
            file_type: FileType::Auto,
            decode: DecodeSettings { max_record_bytes: limits.max_record_bytes, keep_nodata: false },
            filter: Default::default(),
            mask: Default::default(),
            inflate: InflateLimits {
                max_object_bytes: limits.max_object_bytes,
                max_ratio: limits.max_inflate_ratio,
            },
            spool_dir: std::env::temp_dir(),
            max_page_bytes: 128 << 20,
            backoff: Backoff::default(),
            stall_timeout: limits.stall_timeout,
            object_timeout: limits.object_timeout,
            get_attempts: 4,
        },
        bucket: Arc::new(data.bucket.clone()),
        encoder: pair.encoder(),
        committer,
        clock: Arc::new(FixedClock(now())),
        throttle: None,
        gets: Arc::new(Semaphore::new(limits.get_concurrency)),
        windows: s3sweep::collect::windows(4),
        stop,
    }
}

/// The default limits of a configuration.
fn limits() -> Limits {
    let text = "state_dir = \"/nowhere\"\n[sink]\ntype = \"stdout\"\n[[source]]\nname = \"bench\"\n\
                log_type = \"cloudtrail\"\nbucket = \"acme-trail\"\nprefix = \"AWSLogs/*/CloudTrail/*\"\n";
    config::parse(PathBuf::from("bench.toml"), text).expect("a whole configuration").limits
}

/// What is measured has to be what is delivered: the bytes that the file sink has on disk.
async fn compare_with_file_sink(pair: &Pair, data: &Data, limits: &Limits) {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let settings = FileSinkSettings {
        path: folder.path().to_owned(),
        rotate_size: u64::MAX,
        rotate_every: Duration::from_secs(3600),
        compression: Compression::None,
        keep_age: None,
        keep_size: None,
        min_free: 0,
    };
    let file = FileSink::new(settings, Arc::new(FixedClock(now())));
    let kept = Arc::default();
    let memory = MemorySink { length: 0, kept: Some(Arc::clone(&kept)) };
    for sink in [Box::new(file) as Box<dyn Sink>, Box::new(memory)] {
        let chain = Chain::new(pair, data, sink, limits);
        chain.collect(data).await;
        chain.end().await;
    }
    let segments: Vec<_> = std::fs::read_dir(folder.path())
        .expect("the sink's folder")
        .flatten()
        .map(|entry| entry.path())
        .filter(|path| path.extension().is_some_and(|ending| ending == "ndjson"))
        .collect();
    let [segment] = &*segments else { panic!("{segments:?} should be one segment") };
    let on_disk = std::fs::read(segment).expect("a finished segment");
    let in_memory = kept.lock().expect("no thread panicked");
    assert!(!on_disk.is_empty() && on_disk == *in_memory, "the file sink has other bytes");
}

/// One thing that is measured, by its name.
struct Case<'a> {
    name: String,
    data: &'a Data,
    run: Box<dyn FnMut() -> u64 + 'a>,
}

/// Runs the cases in criterion's groups.
fn groups(criterion: &mut Criterion<CpuTime>, name: &str, cases: &mut [Case<'_>]) {
    let mut group = criterion.benchmark_group(name);
    group.sampling_mode(SamplingMode::Flat).sample_size(10).measurement_time(Duration::from_secs(3));
    for case in cases {
        group.throughput(Throughput::Bytes(case.data.inflated));
        group.bench_function(&case.name, |bencher| bencher.iter(&mut case.run));
    }
    group.finish();
}

/// Lets the cases take turns; the first one is what the others are a share of.
fn table(cases: &mut [Case<'_>]) {
    let mut times = vec![Vec::new(); cases.len()];
    for _ in 0..TURNS {
        for (case, times) in cases.iter_mut().zip(&mut times) {
            let began = cpu_time();
            black_box((case.run)());
            times.push((cpu_time() - began).as_secs_f64());
        }
    }
    let mut table = Table::new(&["case", "MB/s", "share of inflate only"]);
    for (case, own) in cases.iter().zip(&times) {
        let share = median(times[0].iter().zip(own).map(|(floor, own)| floor / own));
        let rate = case.data.megabytes() / median(own.iter().copied());
        table.row([case.name.clone(), format!("{rate:.0}"), format!("{share:.2}")]);
    }
    table.print();
}

fn cases<'a>(pair: &'a Pair, data: &'a Data, inflated: &'a [Vec<u8>], runtime: &'a Runtime) -> Vec<Case<'a>> {
    let case = |name: &str, run: Box<dyn FnMut() -> u64 + 'a>| Case { name: name.to_owned(), data, run };
    let stored = || data.objects.iter().map(|(_, bytes)| bytes);
    let limits = limits();
    let settings = DecodeSettings { max_record_bytes: limits.max_record_bytes, keep_nodata: false };
    let _inside = runtime.enter();
    let sink = MemorySink { length: 0, kept: None };
    let chain = Chain::new(pair, data, Box::new(sink), &limits);
    vec![
        case(
            "inflate only",
            Box::new(move || {
                runtime.block_on(async {
                    let mut bytes = 0;
                    for object in stored() {
                        bytes += inflate_as_collected(object).await;
                    }
                    bytes
                })
            }),
        ),
        case(
            "inflate only, flate2 alone",
            Box::new(move || stored().map(|object| inflate_plainly(object)).sum()),
        ),
        case(
            "split only",
            Box::new(move || inflated.iter().map(|object| split(pair.log_type, object, &settings)).sum()),
        ),
        case(&pair.name(), Box::new(move || runtime.block_on(chain.collect(data)))),
    ]
}

fn main() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let arguments: Vec<String> = std::env::args().collect();
    // `--tables [TEXT]`: the tables alone, of the pairs whose name has this text
    let tables = arguments.iter().position(|argument| argument == "--tables");
    let wanted = tables.and_then(|at| arguments.get(at + 1)).filter(|text| !text.starts_with("--"));
    let criterion = Criterion::default().with_measurement(CpuTime);
    let mut criterion = if tables.is_some() { criterion } else { criterion.configure_from_args() };
    // criterion alone knows its arguments; these ask for no table
    let measures =
        !arguments.iter().any(|argument| ["--list", "--test", "--profile-time"].contains(&&**argument));
    for pair in PAIRS.iter().filter(|pair| wanted.is_none_or(|wanted| pair.name().contains(&**wanted))) {
        for (what, data) in (pair.data)() {
            runtime.block_on(compare_with_file_sink(pair, &data, &limits()));
            let inflated: Vec<_> = data.objects.iter().map(|(_, bytes)| inflated(bytes)).collect();
            let (megabytes, ratio) = (data.megabytes(), data.inflated as f64 / data.stored as f64);
            println!("{what}: {megabytes:.1} MB inflated, gzip {ratio:.1}×; CPU time, medians of {TURNS}");
            let mut cases = cases(pair, &data, &inflated, &runtime);
            if tables.is_none() {
                groups(&mut criterion, &format!("{}, {what}", pair.name()), &mut cases);
            }
            if measures {
                table(&mut cases);
                println!();
            }
        }
    }
    criterion.final_summary();
}

fn inflated(stored: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    flate2::bufread::MultiGzDecoder::new(stored).read_to_end(&mut bytes).expect("whole gzip");
    bytes
}
