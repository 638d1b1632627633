//! Collecting from a bucket in memory whose bodies are cut, damaged and stalled by script: each
//! record is delivered once and in order, whatever ends an attempt.

use std::io::Write as _;

use async_trait::async_trait;
use chrono::{DateTime, Utc};

use super::*;
use crate::bucket::{Body, GetRequest, ListPage, ListRequest};
use crate::clock::FixedClock;
use crate::commit::fakes::{Bench, SOURCE, settings};
use crate::filter::{Condition, FieldPath, Rule, Test};
use crate::record::Record;
use crate::testing::{Fault, FaultyBucket, MemoryBucket, When};
use crate::throttle::Throttle;

const KEY: &str = "a/k.json.gz";

/// Writes the ordinal and the record's bytes.
struct Numbered;

impl Encoder for Numbered {
    fn encode(&self, record: &Record<'_>, origin: &Origin, out: &mut Vec<u8>) {
        assert_eq!(origin.members(), format!("\"bucket\":\"acme\",\"key\":\"{KEY}\"").as_bytes());
        out.extend_from_slice(format!("{} ", origin.ordinal).as_bytes());
        out.extend_from_slice(record.raw());
        out.push(b'\n');
    }
}

/// A directory bucket's way: every object may still be written.
struct Unfinished(MemoryBucket);

#[async_trait]
impl Bucket for Unfinished {
    async fn list(&self, request: &ListRequest) -> Result<ListPage, BucketError> {
        self.0.list(request).await
    }

    async fn get(&self, request: &GetRequest) -> Result<Body, BucketError> {
        self.0.get(request).await
    }

    fn may_be_unfinished(&self, _: DateTime<Utc>) -> bool {
        true
    }
}

fn record(number: usize, size: usize) -> String {
    format!("{{\"eventVersion\":\"1.11\",\"n\":{number},\"pad\":\"{}\"}}", "x".repeat(size))
}

fn records(count: usize, size: usize) -> Vec<String> {
    (0..count).map(|number| record(number, size)).collect()
}

/// An object of these elements, and the offset after each.
fn object(elements: &[String]) -> (String, Vec<u64>) {
    let mut text = "{\"Records\":[".to_owned();
    let mut ends = Vec::new();
    for (index, element) in elements.iter().enumerate() {
        if index > 0 {
            text.push_str(", ");
        }
        text.push_str(element);
        ends.push(text.len() as u64);
    }
    text.push_str("], \"more\": {\"x\": [1, 2]}}\n");
    (text, ends)
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(bytes).expect("to memory");
    encoder.finish().expect("to memory")
}

fn lines(elements: &[String]) -> String {
    elements.iter().enumerate().map(|(number, element)| format!("{number} {element}\n")).collect()
}

/// A bucket with one object, a committer, and what a collector needs.
struct Rig {
    bench: Bench,
    memory: MemoryBucket,
    faulty: FaultyBucket<MemoryBucket>,
    object: ObjectRef,
    collector: Collector,
}

impl Rig {
    fn new(bytes: impl Into<bytes::Bytes>) -> Self {
        let bench = Bench::new(settings());
        let memory = MemoryBucket::new("acme");
        let bytes = bytes.into();
        let size = bytes.len() as u64;
        let etag = memory.put(KEY, bytes, DateTime::UNIX_EPOCH);
        let object = ObjectRef {
            bucket: "acme".into(),
            key: KEY.into(),
            etag,
            size,
            last_modified: DateTime::UNIX_EPOCH,
            archived: false,
        };
        let faulty = FaultyBucket::new(memory.clone(), "acme");
        let collector = Collector {
            settings: CollectSettings {
                source_name: "main".into(),
                source: SOURCE,
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
            bucket: Arc::new(faulty.clone()),
            encoder: Arc::new(Numbered),
            committer: bench.handle.clone(),
            clock: Arc::new(FixedClock(DateTime::UNIX_EPOCH)),
            throttle: None,
            gets: Arc::new(Semaphore::new(1)),
            windows: crate::collect::windows(4),
            stop: CancellationToken::new(),
        };
        Rig { bench, memory, faulty, object, collector }
    }

    async fn collect(&self, resume: Option<Progress>) -> Collected {
        self.collector.collect(&self.object, resume).await.expect("the committer works")
    }

    /// What is durable in the sink.
    async fn delivered(&self) -> String {
        self.bench.handle.flush().await.expect("flushed");
        self.bench.script.durable_text()
    }

    fn at(&self, ordinal: usize, offset: u64) -> Progress {
        let progress = self.collector.progress(&self.object, None);
        Progress { ordinal: ordinal as u64, delivered: ordinal as u64, offset, ..progress }
    }
}

/// The class of a failed object; panics on another ending.
fn class(collected: &Collected) -> Class {
    match &collected.ending {
        Ending::Failed(failure) => failure.class,
        other => panic!("it did not fail: {other:?}"),
    }
}

#[tokio::test(start_paused = true)]
async fn a_whole_object_is_delivered_in_order() {
    let elements = records(3000, 100);
    let (text, ends) = object(&elements);
    for (name, bytes) in [("text", text.clone().into_bytes()), ("gzip", gzip(text.as_bytes()))] {
        let stored = bytes.len() as u64;
        let rig = Rig::new(bytes);
        let collected = rig.collect(None).await;
        assert!(matches!(collected.ending, Ending::Complete), "{name}: {:?}", collected.ending);
        assert_eq!(rig.delivered().await, lines(&elements), "{name}");
        assert_eq!(collected.progress, rig.at(3000, ends[2999]), "{name}");
        let work = Work {
            gets: 1,
            records: 3000,
            dropped: 0,
            filtered: Vec::new(),
            dead_letters: 0,
            read: stored,
            inflated: text.len() as u64,
            written: lines(&elements).len() as u64,
        };
        assert_eq!(collected.work, work, "{name}");
    }
}

#[tokio::test(start_paused = true)]
async fn an_object_without_records_is_complete() {
    for text in ["{\"Records\":[]}", ""] {
        let rig = Rig::new(text);
        let collected = rig.collect(None).await;
        assert!(matches!(collected.ending, Ending::Complete), "{text:?}");
        assert_eq!((collected.progress.ordinal, rig.delivered().await.as_str()), (0, ""), "{text:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn an_object_goes_on_after_any_of_its_records() {
    let elements = records(5, 3);
    let (text, ends) = object(&elements);
    for passed in 1..=5 {
        let rig = Rig::new(gzip(text.as_bytes()));
        let collected = rig.collect(Some(rig.at(passed, ends[passed - 1]))).await;
        assert!(matches!(collected.ending, Ending::Complete), "{passed}: {:?}", collected.ending);
        let all = lines(&elements);
        let rest: String = all.split_inclusive('\n').skip(passed).collect();
        assert_eq!(rig.delivered().await, rest, "after {passed}");
        assert_eq!(collected.progress, rig.at(5, ends[4]), "after {passed}");
        assert_eq!(collected.work.records, 5 - passed as u64, "after {passed}");
    }
}

#[tokio::test(start_paused = true)]
async fn flow_rows_go_on_with_the_columns_of_their_header() {
    let rows = ["10.0.0.1 OK", "- NODATA", "10.0.0.2 OK", "- SKIPDATA", "too many cells", "10.0.0.3 OK"];
    let (delivered, dropped) = ([1, 1, 2, 2, 2, 3], [1, 3]);
    let text = format!("srcaddr log-status\n{}\n", rows.join("\n"));
    let ends: Vec<_> = text.match_indices('\n').map(|(at, _)| at as u64 + 1).skip(1).collect();
    for passed in 0..=rows.len() {
        let mut rig = Rig::new(gzip(text.as_bytes()));
        rig.collector.settings.log_type = LogType::VpcFlow;
        let resume = passed.checked_sub(1).map(|last| Progress {
            delivered: delivered[last],
            dead_letters: u64::from(passed > 4),
            ..rig.at(passed, ends[last])
        });
        let collected = rig.collect(resume).await;
        assert!(matches!(collected.ending, Ending::Complete), "{passed}: {:?}", collected.ending);
        let good = rows.iter().enumerate().skip(passed).filter(|(_, row)| row.ends_with("OK"));
        let want: String = good.map(|(number, row)| format!("{number} {row}\n")).collect();
        assert_eq!(rig.delivered().await, want, "after {passed}: dropped ones count");
        let left = |numbers: &[usize]| numbers.iter().filter(|number| **number >= passed).count() as u64;
        let work = collected.work;
        assert_eq!((work.dropped, work.dead_letters), (left(&dropped), left(&[4])), "{passed}");
        let end = Progress { delivered: 3, dead_letters: 1, ..rig.at(6, ends[5]) };
        assert_eq!(collected.progress, end, "after {passed}");
    }
}

#[tokio::test(start_paused = true)]
async fn flow_rows_without_data_are_delivered_when_asked_for() {
    let mut rig = Rig::new("srcaddr log-status\n- NODATA\n10.0.0.2 OK");
    rig.collector.settings.log_type = LogType::VpcFlow;
    rig.collector.settings.decode.keep_nodata = true;
    let collected = rig.collect(None).await;
    assert_eq!(rig.delivered().await, "0 - NODATA\n1 10.0.0.2 OK\n");
    assert_eq!((collected.work.records, collected.work.dropped), (2, 0));
}

#[tokio::test(start_paused = true)]
async fn an_offset_that_is_no_end_of_a_record_is_refused() {
    let elements = records(3, 0);
    let (text, ends) = object(&elements);
    for offset in (1..=text.len() as u64 + 3).filter(|offset| !ends.contains(offset)) {
        let rig = Rig::new(text.clone());
        let resume = rig.at(1, offset);
        let collected = rig.collect(Some(resume.clone())).await;
        assert_eq!(class(&collected), Class::Content, "offset {offset}");
        let Ending::Failed(failure) = &collected.ending else { continue };
        assert!(failure.reason.contains("no end of a record"), "{offset}: {}", failure.reason);
        assert_eq!((rig.delivered().await.as_str(), collected.progress), ("", resume), "offset {offset}");
    }
}

#[tokio::test(start_paused = true)]
async fn progress_of_another_object_at_the_key_is_not_used() {
    let elements = records(2, 0);
    let (text, ends) = object(&elements);
    let rig = Rig::new(text);
    let other = Progress { etag: "another".into(), ..rig.at(1, ends[0]) };
    let collected = rig.collect(Some(other)).await;
    assert!(matches!(collected.ending, Ending::Complete));
    assert_eq!((rig.delivered().await, collected.progress), (lines(&elements), rig.at(2, ends[1])));
}

#[tokio::test(start_paused = true)]
async fn a_cut_body_goes_on_without_repeating() {
    let elements = records(4, 5);
    let (text, _) = object(&elements);
    let packed = gzip(text.as_bytes());
    for (name, bytes) in [("text", text.as_bytes()), ("gzip", &packed)] {
        for cut in 0..=bytes.len() as u64 {
            let rig = Rig::new(bytes.to_vec());
            rig.faulty.on_get(When::Nth(1), Fault::CutBody(cut));
            rig.faulty.on_get(When::Nth(2), Fault::CutBody(cut / 2));
            let collected = rig.collect(None).await;
            assert!(matches!(collected.ending, Ending::Complete), "{name} {cut}: {:?}", collected.ending);
            assert_eq!(rig.delivered().await, lines(&elements), "{name} cut at {cut}");
            // After the last byte nothing is left to go on with: the whole is fetched again.
            let looks = if cut + cut / 2 < bytes.len() as u64 { 1 } else { 2 };
            let Work { gets, read, inflated, .. } = collected.work;
            let want = (3, looks * bytes.len() as u64, looks * text.len() as u64);
            assert_eq!((gets, read, inflated), want, "{name} cut at {cut}: nothing is inflated twice");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn an_object_gets_four_gets_in_a_sweep() {
    let elements = records(4, 5);
    let (text, ends) = object(&elements);
    let rig = Rig::new(text.clone());
    rig.faulty.on_get(When::Always, Fault::CutBody(ends[1].div_ceil(4)));
    let first = rig.collect(None).await;
    assert_eq!((class(&first), first.work.gets), (Class::Transient, 4));
    let two = lines(&elements[..2]);
    assert_eq!(
        (rig.delivered().await, &first.progress),
        (two, &rig.at(2, ends[1])),
        "what came is delivered once"
    );
    rig.faulty.heal();
    let second = rig.collect(Some(first.progress)).await;
    assert!(matches!(second.ending, Ending::Complete), "the next sweep goes on");
    assert_eq!(rig.delivered().await, lines(&elements));
}

/// A throttle of so many records per second.
fn throttle(per_second: u64) -> Option<Arc<Throttle>> {
    Some(Arc::new(Throttle::new(per_second.try_into().expect("a rate of this test is none of 0"))))
}

#[tokio::test(start_paused = true)]
async fn a_throttled_object_comes_at_its_rate() {
    let elements = records(1000, 10);
    for (rate, least) in [(100, 9), (1000, 0), (3, 333), (1, 999)] {
        let mut rig = Rig::new(object(&elements).0);
        rig.collector.throttle = throttle(rate);
        // what is waited for is not the object's time
        rig.collector.settings.object_timeout = Duration::from_secs(5);
        let began = Instant::now();
        let collected = rig.collect(None).await;
        assert!(matches!(collected.ending, Ending::Complete), "{rate}: {:?}", collected.ending);
        assert_eq!(began.elapsed().as_secs(), least, "{rate} records per second");
        assert_eq!(rig.delivered().await, lines(&elements), "{rate}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_stop_ends_the_wait_of_a_throttled_object_at_once() {
    let elements = records(1000, 10);
    let mut rig = Rig::new(object(&elements).0);
    let other_objects = throttle(10).inspect(|throttle| {
        throttle.take(10_000);
    });
    rig.collector.throttle = other_objects;
    let (stop, began) = (rig.collector.stop.clone(), Instant::now());
    let stopping = async {
        tokio::time::sleep(Duration::from_millis(20_500)).await;
        stop.cancel();
    };
    let (collected, ()) = tokio::join!(rig.collect(None), stopping);
    assert!(matches!(collected.ending, Ending::Stopped), "{:?}", collected.ending);
    assert_eq!(began.elapsed(), Duration::from_millis(20_500));
    assert_eq!(collected.work.records, 10);
    assert_eq!(rig.delivered().await, lines(&elements[..10]), "what was read is delivered");
    (rig.collector.stop, rig.collector.throttle) = (CancellationToken::new(), None);
    let rest = rig.collect(Some(collected.progress)).await;
    assert!(matches!(rest.ending, Ending::Complete), "{:?}", rest.ending);
    assert_eq!(rig.delivered().await, lines(&elements));
}

#[tokio::test(start_paused = true)]
async fn bodies_that_break_off_while_their_records_wait_are_fetched_on() {
    // each body holds more than is looked at together, so that records wait between the GETs
    let elements = records(10_000, 100);
    let (text, _) = object(&elements);
    for (rate, whole) in [(Some(500), true), (None, false)] {
        let mut rig = Rig::new(text.clone());
        rig.collector.throttle = rate.and_then(throttle);
        rig.faulty.on_get(When::numbers(1..=6), Fault::CutBody(text.len() as u64 / 8));
        let collected = rig.collect(None).await;
        assert_eq!(matches!(collected.ending, Ending::Complete), whole, "{rate:?}: {:?}", collected.ending);
        assert_eq!(collected.work.gets > 4, whole, "{rate:?}: {}", collected.work.gets);
        let delivered = rig.delivered().await;
        assert!(
            lines(&elements).starts_with(&delivered) && (delivered.len() == lines(&elements).len()) == whole
        );
    }
}

#[tokio::test(start_paused = true)]
async fn damage_is_looked_at_twice_and_what_came_before_is_delivered_once() {
    let elements = records(3000, 100);
    let (text, ends) = object(&elements);
    let at = ends[1999] as usize;
    let broken = format!("{} oops{}", &text[..at], &text[at..]);
    let unended = text[..at].to_owned();
    for (name, bytes, cut, gets) in [
        ("a break between records", broken.clone(), None, 2),
        ("it ends within the list", unended, None, 2),
        ("the first body is cut as well", broken, Some(1000), 3),
    ] {
        let rig = Rig::new(bytes);
        if let Some(cut) = cut {
            rig.faulty.on_get(When::Nth(1), Fault::CutBody(cut));
        }
        let collected = rig.collect(None).await;
        assert_eq!((class(&collected), collected.work.gets), (Class::Content, gets), "{name}");
        assert_eq!(rig.delivered().await, lines(&elements[..2000]), "{name}");
        assert_eq!(collected.progress, rig.at(2000, ends[1999]), "{name}");
    }
}

#[tokio::test(start_paused = true)]
async fn every_record_before_damage_in_the_gzip_stream_is_delivered_once() {
    let elements = records(3000, 100);
    let (text, _) = object(&elements);
    let (stored, mut packed) = (stored_blocks(text.as_bytes(), 60_000), gzip(text.as_bytes()));
    let checksum = packed.len() - 8;
    packed[checksum] ^= 1;
    for (name, bytes, whole) in
        [("a wrong checksum", packed, text.len()), ("a broken block amid the data", stored, 60_000)]
    {
        let rig = Rig::new(bytes);
        let collected = rig.collect(None).await;
        assert_eq!((class(&collected), collected.work.gets), (Class::Content, 2), "{name}");
        let before = elements.iter().take(object(&elements).1.partition_point(|end| *end <= whole as u64));
        let before: Vec<String> = before.cloned().collect();
        assert_eq!(rig.delivered().await, lines(&before), "{name}");
        assert_eq!(collected.progress.delivered, before.len() as u64, "{name}");
    }
}

/// gzip without compression whose second block is damaged: `first` bytes of `text` lie before.
fn stored_blocks(text: &[u8], first: u16) -> Vec<u8> {
    let mut object = b"\x1f\x8b\x08\0\0\0\0\0\0\xff\0".to_vec();
    object.extend_from_slice(&first.to_le_bytes());
    object.extend_from_slice(&(!first).to_le_bytes());
    object.extend_from_slice(&text[..usize::from(first)]);
    object.extend_from_slice(&[0, 1, 0, 1, 0]);
    object.extend_from_slice(&text[usize::from(first)..]);
    object
}

#[tokio::test(start_paused = true)]
async fn damage_that_cannot_be_looked_at_again_waits_for_the_next_sweep() {
    let elements = records(4, 5);
    let (text, ends) = object(&elements);
    let at = ends[1] as usize;
    let rig = Rig::new(format!("{} oops{}", &text[..at], &text[at..]));
    rig.faulty.on_get(When::numbers(1..4), Fault::CutBody(3));
    let first = rig.collect(None).await;
    assert_eq!((class(&first), first.work.gets), (Class::Transient, 4));
    let Ending::Failed(failure) = &first.ending else { return };
    assert!(failure.reason.contains("no GET is left"), "{}", failure.reason);
    let second = rig.collect(Some(first.progress)).await;
    assert_eq!((class(&second), second.work.gets), (Class::Content, 2));
    assert_eq!(rig.delivered().await, lines(&elements[..2]), "once, although looked at three times");
}

#[tokio::test(start_paused = true)]
async fn an_object_has_its_time_and_goes_on_in_the_next_sweep() {
    let elements = records(6000, 100);
    let (text, _) = object(&elements);
    let hour = Duration::from_secs(3600);
    for (name, fault, gets) in [
        ("the body stands still", Fault::StallBody(300_000, hour), 1),
        ("the store asks to wait", Fault::RetryAfter(hour), 1),
        ("the answer does not come", Fault::Delay(hour), 1),
        ("each body stands still", Fault::StallBody(50_000, hour), 4),
    ] {
        let mut rig = Rig::new(text.clone());
        rig.collector.settings.stall_timeout = if gets == 4 { Duration::from_secs(15) } else { hour };
        rig.collector.settings.object_timeout = Duration::from_secs(60);
        rig.faulty.on_get(When::Always, fault);
        let began = Instant::now();
        let first = rig.collect(None).await;
        assert_eq!((class(&first), first.work.gets), (Class::Transient, gets), "{name}");
        assert_eq!(began.elapsed().as_secs(), 60, "{name}");
        let Ending::Failed(failure) = &first.ending else { return };
        assert!(failure.reason.contains("object_timeout, 60 s"), "{name}: {}", failure.reason);
        let count = rig.delivered().await.lines().count() as u64;
        assert_eq!(first.progress.delivered, count, "{name}");
        rig.faulty.heal();
        let second = rig.collect(Some(first.progress)).await;
        assert!(matches!(second.ending, Ending::Complete), "{name}: {:?}", second.ending);
        assert!(rig.delivered().await == lines(&elements), "{name}");
    }
}

#[tokio::test(start_paused = true)]
async fn an_object_that_takes_longer_than_its_time_gets_further_in_each_sweep() {
    let elements = records(6000, 100);
    let (text, _) = object(&elements);
    let mut rig = Rig::new(text);
    rig.collector.settings.stall_timeout = Duration::from_secs(3600);
    rig.collector.settings.object_timeout = Duration::from_secs(30);
    rig.collector.settings.get_attempts = 100;
    rig.collector.settings.backoff.longest = Duration::from_millis(1);
    rig.faulty.on_get(When::Always, Fault::StallBody(100_000, Duration::from_secs(20)));
    let mut collected = rig.collect(None).await;
    while collected.progress.delivered < elements.len() as u64 {
        let before = collected.progress.delivered;
        collected = rig.collect(Some(collected.progress)).await;
        assert!(collected.progress.delivered > before, "{before} records, and no more");
    }
    assert!(rig.delivered().await == lines(&elements));
}

#[tokio::test(start_paused = true)]
async fn waiting_for_a_free_get_does_not_count() {
    let elements = records(3, 5);
    let mut rig = Rig::new(object(&elements).0);
    rig.collector.settings.object_timeout = Duration::from_secs(60);
    let taken = rig.collector.gets.clone().acquire_owned().await.expect("it is open");
    let others = async {
        tokio::time::sleep(Duration::from_secs(3600)).await;
        drop(taken);
    };
    let (collected, ()) = tokio::join!(rig.collect(None), others);
    assert!(matches!(collected.ending, Ending::Complete), "{:?}", collected.ending);
    assert_eq!(rig.delivered().await, lines(&elements));
}

#[tokio::test(start_paused = true)]
async fn damage_in_a_file_that_may_still_be_written_is_transient() {
    let elements = records(3, 5);
    let (text, ends) = object(&elements);
    let mut rig = Rig::new(text[..ends[1] as usize + 4].to_owned());
    rig.collector.bucket = Arc::new(Unfinished(rig.memory.clone()));
    let collected = rig.collect(None).await;
    assert_eq!((class(&collected), collected.work.gets), (Class::Transient, 4));
    assert_eq!(rig.delivered().await, lines(&elements[..2]), "once, although read four times");
}

#[tokio::test(start_paused = true)]
async fn a_malformed_record_goes_to_the_dead_letters_and_the_object_goes_on() {
    let mut elements = records(4, 5);
    elements[1] = "\"no object\"".to_owned();
    elements[2] = format!("{{\"pad\":\"{}\"}}", "x".repeat(3000));
    let (text, ends) = object(&elements);
    let mut rig = Rig::new(text);
    rig.collector.settings.decode.max_record_bytes = 2000;
    rig.faulty.on_get(When::Nth(1), Fault::CutBody(ends[2] + 1));
    let collected = rig.collect(None).await;
    assert!(matches!(collected.ending, Ending::Complete), "{:?}", collected.ending);
    let expected = format!("0 {}\n3 {}\n", elements[0], elements[3]);
    assert_eq!(rig.delivered().await, expected, "ordinals count the malformed ones");
    let letters = std::fs::read_to_string(rig.bench.folder.path().join("dead.ndjson")).expect("written");
    let letters: Vec<serde_json::Value> =
        letters.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    let told: Vec<_> = letters.iter().map(|line| (line["record"].as_u64(), line["raw"].as_str())).collect();
    assert_eq!(told, [(Some(1), Some("\"no object\"")), (Some(2), Some(""))], "each once");
    assert_eq!((&letters[0]["source"], &letters[0]["key"]), (&"main".into(), &KEY.into()));
    let progress = collected.progress;
    assert_eq!((progress.ordinal, progress.delivered, progress.dead_letters), (4, 2, 2));
    assert_eq!((collected.work.records, collected.work.dead_letters), (2, 2));
}

/// A filter that leaves out records of one name.
fn without(name: &str) -> Filter {
    let field = FieldPath::find(LogType::CloudTrail, "eventName").expect("known");
    let condition = Condition { field, test: Test::OneOf(vec![name.to_owned()]) };
    let exclude = vec![Rule { name: format!("no-{name}"), conditions: vec![condition] }];
    Filter { exclude, ..Filter::default() }
}

fn named(names: &[&str]) -> Vec<String> {
    names
        .iter()
        .map(|name| if *name == "bad" { "\"bad\"".to_owned() } else { format!("{{\"eventName\":{name:?}}}") })
        .collect()
}

#[tokio::test(start_paused = true)]
async fn filtered_records_are_passed_and_counted() {
    let elements = named(&["A", "B", "bad", "B", "A", "B"]);
    let (text, ends) = object(&elements);
    let mut rig = Rig::new(text);
    rig.collector.settings.filter = without("B");
    let collected = rig.collect(None).await;
    assert!(matches!(collected.ending, Ending::Complete), "{:?}", collected.ending);
    assert_eq!(rig.delivered().await, format!("0 {}\n4 {}\n", elements[0], elements[4]), "all count");
    let progress = Progress { delivered: 2, dead_letters: 1, ..rig.at(6, ends[5]) };
    assert_eq!(collected.progress, progress);
    let work = &collected.work;
    assert_eq!((work.records, work.dead_letters, work.filtered.as_slice()), (2, 1, &[0, 3][..]));
}

#[tokio::test(start_paused = true)]
async fn a_filter_that_changes_within_an_object_neither_loses_nor_repeats() {
    let names = ["A", "B", "A", "A", "B", "B", "A", "B"];
    let elements = named(&names);
    let (text, ends) = object(&elements);
    for cut in 0..text.len() as u64 {
        let mut rig = Rig::new(text.clone());
        rig.collector.settings.filter = without("B");
        rig.faulty.on_get(When::Nth(1), Fault::CutBody(cut));
        for get in 2..=4 {
            rig.faulty.on_get(When::Nth(get), Fault::CutBody(0));
        }
        let first = rig.collect(None).await;
        rig.collector.settings.filter = without("A");
        let second = rig.collect(Some(first.progress)).await;
        assert!(matches!(second.ending, Ending::Complete), "cut at {cut}: {:?}", second.ending);
        let passed = ends.iter().filter(|end| **end <= cut).count();
        let kept = |number: usize| names[number] == if number < passed { "A" } else { "B" };
        let expected: String = (0..8)
            .filter(|number| kept(*number))
            .map(|number| format!("{number} {}\n", elements[number]))
            .collect();
        assert_eq!(rig.delivered().await, expected, "cut at {cut}");
        assert_eq!(second.progress.ordinal, 8, "cut at {cut}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_record_larger_than_the_window_grows_it() {
    for size in [WINDOW - 60, WINDOW, 2 * WINDOW + 1, 5 * WINDOW] {
        let elements = vec![record(0, 5), record(1, size), record(2, 5)];
        let rig = Rig::new(gzip(object(&elements).0.as_bytes()));
        let collected = rig.collect(None).await;
        assert!(matches!(collected.ending, Ending::Complete), "{size}: {:?}", collected.ending);
        assert!(rig.delivered().await == lines(&elements), "{size}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_stop_leaves_progress_that_goes_on_exactly() {
    let elements = records(6000, 100);
    let (text, _) = object(&elements);
    let mut rig = Rig::new(text);
    let mut resume = None;
    let mut delivered = 0;
    for round in 1..100 {
        let stop = CancellationToken::new();
        rig.collector.stop = stop.clone();
        rig.faulty.heal();
        if round < 4 {
            // One more window of new records each round, then the stop is seen.
            let cut = 200_000 * round;
            rig.faulty.on_get(When::Nth(1), Fault::StallBody(cut, Duration::from_secs(5)));
            let waiting = async {
                tokio::time::sleep(Duration::from_secs(1)).await;
                stop.cancel();
            };
            let (collected, ()) = tokio::join!(rig.collect(resume.take()), waiting);
            assert!(matches!(collected.ending, Ending::Stopped), "{:?}", collected.ending);
            assert!(collected.progress.delivered > delivered, "round {round} made progress");
            assert_eq!(rig.delivered().await.lines().count() as u64, collected.progress.delivered);
            delivered = collected.progress.delivered;
            let stored = rig.bench.state.progress(SOURCE, KEY).expect("read");
            assert_eq!(stored.as_ref(), Some(&collected.progress), "the state knows the same place");
            resume = stored;
            continue;
        }
        let collected = rig.collect(resume.take()).await;
        assert!(matches!(collected.ending, Ending::Complete), "{:?}", collected.ending);
        break;
    }
    assert!(rig.delivered().await == lines(&elements));
}

#[tokio::test(start_paused = true)]
async fn a_stop_is_seen_between_windows() {
    let elements = records(6000, 100);
    let rig = Rig::new(object(&elements).0);
    let stop = rig.collector.stop.clone();
    rig.faulty.on_get(When::Nth(1), Fault::before(move || stop.cancel()));
    let collected = rig.collect(None).await;
    assert!(matches!(collected.ending, Ending::Stopped));
    let count = collected.progress.delivered as usize;
    assert!(count < 2000, "one window: {count}");
    assert_eq!(rig.delivered().await, lines(&elements[..count]));
    let collected = rig.collect(Some(collected.progress)).await;
    assert_eq!(
        (collected.work.gets, matches!(collected.ending, Ending::Stopped)),
        (0, true),
        "no GET after it"
    );
}

#[tokio::test(start_paused = true)]
async fn waits_are_bounded_and_asked_ones_honoured() {
    let elements = records(2, 5);
    let hour = Duration::from_secs(3600);
    for (name, fault, seconds) in [
        ("no byte of the body for half a minute", Fault::StallBody(20, hour), 30..32),
        ("asked to wait", Fault::RetryAfter(Duration::from_secs(60)), 60..61),
        ("at once, with jitter", Fault::Fail(Class::Transient), 0..1),
    ] {
        let rig = Rig::new(object(&elements).0);
        rig.faulty.on_get(When::Nth(1), fault);
        let began = tokio::time::Instant::now();
        let collected = rig.collect(None).await;
        assert!(matches!(collected.ending, Ending::Complete), "{name}");
        let took = began.elapsed().as_secs();
        assert!(seconds.contains(&took), "{name}: {took}");
        assert_eq!(rig.delivered().await, lines(&elements), "{name}");
    }
}

#[tokio::test(start_paused = true)]
async fn what_another_get_cannot_change_is_asked_once() {
    for want in [Class::Gone, Class::Replaced, Class::Object, Class::Archived, Class::Unreachable] {
        let rig = Rig::new(object(&records(1, 0)).0);
        rig.faulty.on_get(When::Always, Fault::Fail(want));
        let collected = rig.collect(None).await;
        assert_eq!((class(&collected), collected.work.gets), (want, 1));
    }
}

#[tokio::test(start_paused = true)]
async fn a_committer_that_stopped_ends_the_collecting() {
    let rig = Rig::new(object(&records(5000, 100)).0);
    rig.bench.script.inner().fail_from = Some(0);
    let error = rig.collector.collect(&rig.object, None).await;
    let flushed = rig.bench.handle.flush().await;
    assert!(error.is_err() || flushed.is_err());
    let error = rig.collector.collect(&rig.object, None).await.expect_err("it has stopped");
    assert!(matches!(error, CommitError::Stopped));
}
