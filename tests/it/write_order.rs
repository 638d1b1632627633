//! What a power cut may find: the order in which the binary writes, syncs and renames, recorded by
//! `strace` and held against the recipe of every commit.
//!
//! Segment and dead letters are synced before the database is written, history before the batch
//! that closes; the database is synced before the sidecar's new file takes its name, that file
//! before it does and the folder after; a segment gets its last name only after all of that, and a
//! compressed one only after the end of the open one is durable. A history file goes only after a
//! batch that forgets it. A database that is written anew is synced before each of its names is, and
//! the old one goes last.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::needs::Need;
use crate::restart::site::{Fixture, NOW, PREFIX, Site, run};

/// What is looked at.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum File {
    Database,
    NewSidecar,
    Sidecar,
    State,
    History(String),
    HistoryFolder,
    DeadLetters,
    /// An open segment, by its stem.
    Segment(String),
    /// A segment that is being compressed.
    Compressing(String),
    /// A compressed segment without its last name.
    Complete(String),
    Finished(String),
    Sink,
    /// The database that is built beside the other one.
    Built,
    /// A folder with a database, by its name.
    DatabaseFolder(&'static str),
    /// A file of the database that was exchanged.
    Old,
}

/// The folders of databases.
const DATABASES: [&str; 4] = ["sled", "sled.building", "sled.new", "sled.old"];

impl File {
    /// The file of a path below `root`; `None` where its order does not matter.
    fn of(root: &Path, path: &str) -> Option<Self> {
        let path = root.join(path);
        let inside = path.strip_prefix(root).ok()?.to_str()?;
        let stem = |name: &str| name.trim_start_matches('.').split('.').next().unwrap_or_default().to_owned();
        Some(match inside {
            "state" => File::State,
            "state/sled/db" => File::Database,
            "state/.sidecar.json.tmp" => File::NewSidecar,
            "state/sidecar.json" => File::Sidecar,
            "state/history" => File::HistoryFolder,
            "state/dead-letter.ndjson" => File::DeadLetters,
            "out" => File::Sink,
            "state/sled.building/db" => File::Built,
            _ if inside.starts_with("state/sled.old/") => File::Old,
            _ if inside.starts_with("state/sled") => {
                let name = &inside["state/".len()..];
                File::DatabaseFolder(DATABASES.into_iter().find(|folder| *folder == name)?)
            }
            _ if inside.starts_with("state/history/") => {
                File::History(stem(&inside["state/history/".len()..]))
            }
            _ => match inside.strip_prefix("out/")? {
                name if name.ends_with(".compressing") => File::Compressing(stem(name)),
                name if name.ends_with(".complete") => File::Complete(stem(name)),
                name if name.ends_with(".ndjson.open") => File::Segment(stem(name)),
                name if name.starts_with("s3sweep-") => File::Finished(stem(name)),
                _ => return None,
            },
        })
    }

    /// The folder whose sync makes the name durable.
    fn folder(&self) -> File {
        match self {
            File::History(_) => File::HistoryFolder,
            File::Segment(_) | File::Compressing(_) | File::Complete(_) | File::Finished(_) => File::Sink,
            _ => File::State,
        }
    }
}

/// One step of the process, in the order of the record. A sync counts from its end, for what was
/// written before its beginning; the rest counts from its beginning.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Step {
    Create(File),
    Write(File),
    SyncBegins(u32, File),
    SyncEnds(u32),
    Rename(File, File),
    Remove(File),
}

/// Reads a line of `strace -f -y`.
fn step(root: &Path, line: &str) -> Option<Step> {
    let (thread, call) = line.split_once(' ')?;
    let (thread, call) = (thread.parse().ok()?, call.trim_start());
    if let Some(resumed) = call.strip_prefix("<... ") {
        let is_sync = resumed.starts_with("fsync ") || resumed.starts_with("fdatasync ");
        return (is_sync && line.ends_with("= 0")).then_some(Step::SyncEnds(thread));
    }
    let (name, args) = call.split_once('(')?;
    if args.contains(") = -1 ") {
        return None;
    }
    let opened = || args.split_once('<').and_then(|(_, rest)| rest.split_once('>')).map(|(path, _)| path);
    let of_opened = || File::of(root, opened()?);
    let quoted: Vec<_> = args.split('"').skip(1).step_by(2).collect();
    let of_name = |number: usize| File::of(root, quoted.get(number)?);
    match name {
        "write" | "writev" | "pwrite64" | "ftruncate" => of_opened().map(Step::Write),
        "fsync" | "fdatasync" => of_opened().map(|file| Step::SyncBegins(thread, file)),
        "openat" if args.contains("O_CREAT") => of_name(0).map(Step::Create),
        "rename" | "renameat2" => Some(Step::Rename(of_name(0)?, of_name(1)?)),
        "unlink" => of_name(0).map(Step::Remove),
        "unlinkat" => File::of(root, &format!("{}/{}", opened()?, quoted.first()?)).map(Step::Remove),
        _ => None,
    }
}

/// A sync that ended in its own line is two steps.
fn steps(root: &Path, record: &str) -> Vec<Step> {
    let mut steps = Vec::new();
    for line in record.lines() {
        let Some(found) = step(root, line) else { continue };
        let ended = match &found {
            Step::SyncBegins(thread, _) if line.ends_with("= 0") => Some(Step::SyncEnds(*thread)),
            _ => None,
        };
        steps.push(found);
        steps.extend(ended);
    }
    steps
}

/// How often the recipe was followed.
#[derive(Debug, Default, PartialEq, Eq)]
struct Followed {
    batches: u32,
    segments: u32,
    frames: u32,
    letters: u32,
    pruned: u32,
    rewritings: u32,
}

/// What is not durable at one step.
#[derive(Default)]
struct Checker {
    now: usize,
    /// When a file was written, or a folder's names changed, without a sync since.
    dirty: BTreeMap<File, usize>,
    syncing: BTreeMap<u32, (File, usize)>,
    created: BTreeSet<File>,
    /// When segment bytes were written last that no batch is known to hold.
    uncommitted: Option<usize>,
    /// The batch of those bytes is written, but not yet in the sidecar.
    unrecorded: bool,
    followed: Followed,
    wrong: Vec<String>,
}

/// Holds steps against the recipe: how often it was followed, or where it was not.
fn check(steps: &[Step]) -> Result<Followed, Vec<String>> {
    let mut checker = Checker::default();
    for step in steps {
        checker.now += 1;
        checker.take(step);
    }
    let left: Vec<_> = std::mem::take(&mut checker.dirty).into_keys().collect();
    for file in left.into_iter().filter(|file| !matches!(file, File::NewSidecar)) {
        checker.wrong.push(format!("at the end: {file:?} is not synced"));
    }
    if checker.wrong.is_empty() { Ok(checker.followed) } else { Err(checker.wrong) }
}

impl Checker {
    fn demand(&mut self, holds: bool, what: &str) {
        if !holds {
            self.wrong.push(format!("step {}: {what}", self.now));
        }
    }

    fn is_clean(&self, like: impl Fn(&File) -> bool) -> bool {
        !self.dirty.keys().any(like)
    }

    fn take(&mut self, step: &Step) {
        match step {
            Step::Create(file) => {
                let is_named = matches!(file, File::Segment(_) | File::History(_));
                // a history file that stands is opened in the same way
                if is_named && self.created.insert(file.clone()) {
                    self.dirty.insert(file.folder(), self.now);
                }
            }
            Step::Write(file) => self.write(file),
            Step::SyncBegins(thread, file) => {
                self.syncing.insert(*thread, (file.clone(), self.now));
            }
            Step::SyncEnds(thread) => {
                if let Some((file, began)) = self.syncing.remove(thread)
                    && self.dirty.get(&file).is_some_and(|written| *written < began)
                {
                    self.dirty.remove(&file);
                    self.followed.frames += u32::from(matches!(file, File::History(_)));
                    self.followed.letters += u32::from(file == File::DeadLetters);
                }
            }
            Step::Rename(from, to) => self.rename(from, to),
            Step::Remove(file) => self.remove(file),
        }
    }

    fn remove(&mut self, file: &File) {
        match file {
            File::Segment(_) => {
                let clean = self.is_clean(|dirty| *dirty == File::Sink);
                self.demand(clean, "an open segment was removed before its twin's name was synced");
                self.created.remove(file);
            }
            File::History(_) => {
                let clean = self.is_clean(|dirty| matches!(dirty, File::Database | File::State));
                self.demand(clean, "a history file was removed before the batch that forgets it was synced");
                self.followed.pruned += 1;
            }
            File::Old => {
                let clean = self.is_clean(|dirty| *dirty == File::State);
                self.demand(clean, "the old database was removed before the names were synced");
                return;
            }
            _ => {}
        }
        self.dirty.remove(file);
        self.dirty.insert(file.folder(), self.now);
    }

    fn write(&mut self, file: &File) {
        match file {
            File::Database => {
                for (what, like) in BEFORE_A_BATCH {
                    let clean = self.is_clean(like);
                    self.demand(clean, &format!("the database was written before {what}"));
                }
                self.unrecorded |= self.uncommitted.take().is_some();
            }
            File::Segment(_) => {
                let clean = self.is_clean(|dirty| *dirty == File::State);
                self.demand(clean, "a segment was written before the sidecar's folder was synced");
                self.uncommitted = Some(self.now);
            }
            _ => {}
        }
        self.dirty.insert(file.clone(), self.now);
    }

    fn rename(&mut self, from: &File, to: &File) {
        let clean = self.is_clean(|dirty| dirty == from);
        self.demand(clean, &format!("{from:?} was renamed before its bytes were synced"));
        match to {
            File::Sidecar => {
                let clean = self.is_clean(|dirty| *dirty == File::Database);
                self.demand(clean, "the sidecar got its name before the database was synced");
                self.unrecorded = false;
                self.followed.batches += 1;
            }
            File::Complete(_) => self.may_be_finished(),
            File::Finished(name) => {
                if matches!(from, File::Complete(_)) {
                    let gone = !self.created.contains(&File::Segment(name.clone()));
                    let gone = gone && self.is_clean(|dirty| *dirty == File::Sink);
                    self.demand(gone, "a compressed segment was finished beside its open one");
                }
                self.may_be_finished();
                self.followed.segments += 1;
            }
            File::DatabaseFolder(name) => self.name_database(name),
            _ => {}
        }
        self.dirty.remove(from);
        self.dirty.insert(to.folder(), self.now);
    }
}

impl Checker {
    /// A segment gets a name that the next start holds for all of it.
    fn may_be_finished(&mut self) {
        let uncommitted = self.uncommitted.is_some();
        self.demand(!uncommitted, "a segment was finished before its batch was written");
        let unrecorded = self.unrecorded;
        self.demand(!unrecorded, "a segment was finished before the sidecar told of it");
        let clean = self.is_clean(|dirty| *dirty == File::State);
        self.demand(clean, "a segment was finished before the sidecar's folder was synced");
    }

    /// A folder with a database gets this name.
    fn name_database(&mut self, name: &str) {
        let built = self.is_clean(|dirty| *dirty == File::Built);
        self.demand(built, "a new database got its name before it was synced");
        if name != "sled.new" {
            let clean = self.is_clean(|dirty| *dirty == File::State);
            self.demand(clean, &format!("a database became {name} before the names were synced"));
        }
        self.followed.rewritings += u32::from(name == "sled");
    }
}

type IsOne = fn(&File) -> bool;

/// What is durable before a batch is written.
const BEFORE_A_BATCH: [(&str, IsOne); 6] = [
    ("the segment was synced", |file| matches!(file, File::Segment(_))),
    ("the sink's folder was synced", |file| *file == File::Sink),
    ("the dead letters were synced", |file| *file == File::DeadLetters),
    ("the history was synced", |file| matches!(file, File::History(_))),
    ("the history's folder was synced", |file| *file == File::HistoryFolder),
    ("the folder of the last sidecar was synced", |file| *file == File::State),
];

const CALLS: &str =
    "write,writev,pwrite64,fsync,fdatasync,sync_file_range,rename,renameat2,openat,ftruncate,unlink,unlinkat";

/// Where strace is looked for.
const PATH: &str = "/usr/local/bin:/usr/bin:/bin";

/// Runs `once` under strace and returns its steps; `None`, with the reason printed, where that is
/// not possible.
fn recorded(site: &Site) -> Option<Vec<Step>> {
    let root = site.path("");
    let mut probe = Command::new("strace");
    let probe = probe.args(["-o", "/dev/null", "-e", "trace=none", "true"]).env("PATH", PATH).output();
    match probe {
        Ok(output) if output.status.success() => {}
        Ok(output) => {
            Need::Strace.is_missing(String::from_utf8_lossy(&output.stderr).trim());
            return None;
        }
        Err(error) => {
            Need::Strace.is_missing(error);
            return None;
        }
    }
    let calls = format!("trace={CALLS}");
    let program =
        ["strace", "-f", "-y", "-s", "0", "-e", &calls, "-o", "trace", env!("CARGO_BIN_EXE_s3sweep")];
    let mut command = site.command_under(&program, &["once", "-q", "--now", NOW]);
    let ran = run(command.env("PATH", PATH));
    assert_eq!(ran.code, Some(0), "{}", ran.err);
    let record = std::fs::read_to_string(site.path("trace")).unwrap();
    let root: PathBuf = root.components().collect();
    Some(steps(&root, &record))
}

#[test]
fn every_commit_keeps_to_the_recipe() {
    let fixture = Fixture::default().with(1, 2, 4, 300).with(2, 2, 8, 2);
    for compression in ["none", "gzip", "zstd"] {
        let site = Site::new();
        fixture.write(&site.path("bucket"));
        let sink = format!("rotate_size = \"96KiB\"\ncompression = \"{compression}\"");
        site.configure(&sink, &site.folder_source(PREFIX));
        let Some(steps) = recorded(&site) else { return };
        site.assert_exact(&fixture, compression);
        let followed = check(&steps).unwrap_or_else(|wrong| panic!("{compression}:\n{}", wrong.join("\n")));
        println!("{compression}: {followed:?} in {} steps", steps.len());
        assert!(followed.batches > 8 && followed.segments > 4 && followed.frames > 0, "{followed:?}");
    }
}

/// A run in which more happens: the pattern has changed, records are none, history is old, and the
/// database has grown.
#[test]
fn a_run_with_all_that_is_rare_keeps_to_the_recipe() {
    let site = Site::new();
    let first = Fixture::default().with(1, 2, 40, 2);
    first.write(&site.path("bucket"));
    let configure = |prefix: &str| {
        let source = format!("{}recheck = []", site.folder_source(prefix));
        site.configure("rotate_size = \"96KiB\"", &source);
        let config = site.path("s3sweep.toml");
        let text = std::fs::read_to_string(&config).unwrap();
        std::fs::write(config, format!("history = \"10D\"\n{text}")).unwrap();
    };
    configure("AWSLogs/111122223331/CloudTrail/*");
    let ran = run(&mut site.command(&["once", "-q", "--now", "2024-05-04T00:00:00Z"]));
    assert_eq!(ran.code, Some(0), "{}", ran.err);
    std::fs::remove_dir_all(site.path("bucket")).unwrap();
    let second = Fixture::default().with(2, 2, 4, 300).with_dead_letters(3, 5);
    second.write(&site.path("bucket"));
    site.grow("state");
    configure(PREFIX);
    let Some(steps) = recorded(&site) else { return };
    site.assert_exact(&first.and(&second), "rare");
    site.assert_closed(&second, "rare");
    let followed = check(&steps).unwrap_or_else(|wrong| panic!("{}", wrong.join("\n")));
    println!("{followed:?} in {} steps", steps.len());
    let Followed { batches, segments, frames, letters, pruned, rewritings } = followed;
    assert!(batches > 8 && segments > 1 && frames > 0, "{followed:?}");
    assert!(letters > 0 && pruned > 0 && rewritings > 0, "{followed:?}");
}

/// Shorthand for steps: `+` writes, `*` creates, `!` syncs, `>` renames, `-` removes.
fn spelled(text: &str) -> Vec<Step> {
    let file = |name: &str| match name {
        "db" => File::Database,
        "new" => File::NewSidecar,
        "sidecar" => File::Sidecar,
        "state" => File::State,
        "history" => File::History("2024-06-01".to_owned()),
        "histories" => File::HistoryFolder,
        "letters" => File::DeadLetters,
        "open" => File::Segment("1".to_owned()),
        "packed" => File::Compressing("1".to_owned()),
        "whole" => File::Complete("1".to_owned()),
        "done" => File::Finished("1".to_owned()),
        "sink" => File::Sink,
        "built" => File::Built,
        "building" => File::DatabaseFolder("sled.building"),
        "fresh" => File::DatabaseFolder("sled.new"),
        "live" => File::DatabaseFolder("sled"),
        "old" => File::DatabaseFolder("sled.old"),
        "rest" => File::Old,
        other => panic!("no such file: {other}"),
    };
    let mut steps = Vec::new();
    for word in text.split_whitespace() {
        let (name, what) = word.split_at(word.len() - 1);
        match what {
            "+" => steps.push(Step::Write(file(name))),
            "*" => steps.push(Step::Create(file(name))),
            "-" => steps.push(Step::Remove(file(name))),
            "!" => steps.extend([Step::SyncBegins(7, file(name)), Step::SyncEnds(7)]),
            _ => {
                let (from, to) = word.split_once('>').unwrap();
                steps.push(Step::Rename(file(from), file(to)));
            }
        }
    }
    steps
}

const COMMIT: &str = "open* sink! open+ open! letters+ letters! db+ db! new+ new! new>sidecar state!";
const FINISH: &str = "open>done sink!";
const PACK: &str = "packed+ packed! packed>whole sink! open- sink! whole>done sink!";
const CLOSE: &str = "history* history+ history! histories! db+ db! new+ new! new>sidecar state! db+ db! new+ new! new>sidecar state!";

const PRUNE: &str = "db+ db! new+ new! new>sidecar state! history- histories!";
const REWRITE: &str = "built+ built! building>fresh state! live>old state! fresh>live state! rest-";

#[test]
fn the_recipe_is_accepted_and_counted() {
    let followed = |batches, segments, frames| {
        let letters = u32::from(batches > 0);
        Ok(Followed { batches, segments, frames, letters, ..Followed::default() })
    };
    let cases = [
        ("a commit", COMMIT.to_owned(), followed(1, 0, 0)),
        ("a commit and a finished segment", format!("{COMMIT} {FINISH}"), followed(1, 1, 0)),
        ("a compressed one", format!("{COMMIT} {PACK}"), followed(1, 1, 0)),
        ("a closing", format!("{COMMIT} {FINISH} {CLOSE}"), followed(3, 1, 1)),
        ("old history", PRUNE.to_owned(), Ok(Followed { batches: 1, pruned: 1, ..Followed::default() })),
        ("a rewriting", REWRITE.to_owned(), Ok(Followed { rewritings: 1, ..Followed::default() })),
    ];
    for (case, text, want) in cases {
        assert_eq!(check(&spelled(&text)), want, "{case}");
    }
}

#[test]
fn wrong_orders_are_refused() {
    let all = format!("{COMMIT} {FINISH} {CLOSE}");
    let packed = format!("{COMMIT} {PACK}");
    let (prune, rewrite) = (PRUNE.to_owned(), REWRITE.to_owned());
    // each is the recipe with a part of it put otherwise
    let cases = [
        ("the segment is not synced", &all, "open+ open!", "open+", "before the segment was synced"),
        (
            "the segment is synced late",
            &all,
            "open! letters+ letters! db+",
            "letters+ letters! db+ open!",
            "before the segment was synced",
        ),
        ("the segment's name is not synced", &all, "open* sink!", "open*", "before the sink's folder"),
        ("dead letters are not synced", &all, "letters+ letters!", "letters+", "before the dead letters"),
        (
            "the database is not synced",
            &all,
            "db+ db! new+",
            "db+ new+",
            "got its name before the database was synced",
        ),
        (
            "the database is synced after the sidecar",
            &all,
            "db! new+ new! new>sidecar",
            "new+ new! new>sidecar db!",
            "got its name before the database was synced",
        ),
        (
            "the sidecar is not synced",
            &all,
            "new! new>sidecar",
            "new>sidecar",
            "NewSidecar was renamed before",
        ),
        ("the sidecar's folder is not synced", &all, "state! open>done", "open>done", "sidecar's folder"),
        (
            "the sidecar is left out",
            &all,
            "new+ new! new>sidecar state! open>done",
            "open>done",
            "before the sidecar told of it",
        ),
        (
            "the segment is finished before the batch",
            &all,
            "db+ db! new+ new! new>sidecar state! open>done sink!",
            "open>done sink! db+ db! new+ new! new>sidecar state!",
            "finished before its batch was written",
        ),
        ("the finished name is not synced", &all, "open>done sink!", "open>done", "before the sink's folder"),
        ("the history is not synced", &all, "history+ history!", "history+", "before the history was synced"),
        (
            "the history's name is not synced",
            &all,
            "histories!",
            "",
            "before the history's folder was synced",
        ),
        (
            "the closing comes first",
            &all,
            "history* history+ history! histories! db+",
            "history* history+ db+ history! histories!",
            "before the history was synced",
        ),
        (
            "the compressed segment is not synced",
            &packed,
            "packed+ packed!",
            "packed+",
            "renamed before its bytes were synced",
        ),
        (
            "the open segment goes before the name of its twin is synced",
            &packed,
            "packed>whole sink! open-",
            "packed>whole open-",
            "removed before its twin's name was synced",
        ),
        (
            "the compressed segment is finished while the open one stands",
            &packed,
            "open- sink! whole>done sink!",
            "whole>done sink! open- sink!",
            "finished beside its open one",
        ),
        (
            "the end of the open one is not synced",
            &packed,
            "open- sink!",
            "open-",
            "finished beside its open one",
        ),
        (
            "the compressed segment is whole before the batch",
            &packed,
            "new>sidecar state! packed+ packed! packed>whole sink!",
            "packed+ packed! packed>whole sink! new>sidecar state!",
            "before the sidecar told of it",
        ),
        (
            "history goes before its batch",
            &prune,
            "db! new+",
            "history- db! new+",
            "before the batch that forgets it",
        ),
        ("a removal is not synced", &prune, "histories!", "", "at the end: HistoryFolder"),
        ("the new database is not synced", &rewrite, "built! ", "", "before it was synced"),
        ("its name is not synced", &rewrite, "state! live>old", "live>old", "became sled.old before"),
        (
            "the old one's name is not synced",
            &rewrite,
            "state! fresh>live",
            "fresh>live",
            "became sled before",
        ),
        ("the old one goes early", &rewrite, "state! rest-", "rest- state!", "removed before the names"),
        ("the last name is not synced", &packed, "whole>done sink!", "whole>done", "at the end: Sink"),
    ];
    for (case, recipe, part, other, want) in cases {
        assert!(recipe.contains(part), "{case}: the recipe has no {part:?}");
        let steps = spelled(&recipe.replacen(part, other, 1));
        let wrong = check(&steps).expect_err(case);
        assert!(wrong.iter().any(|text| text.contains(want)), "{case}: {wrong:?}");
    }
}

#[test]
fn a_sync_counts_for_what_was_written_before_it_began() {
    let database = || File::Database;
    let rename = Step::Rename(File::NewSidecar, File::Sidecar);
    let sync = |thread| [Step::SyncBegins(thread, database()), Step::SyncEnds(thread)];
    let [begin, end] = sync(1);
    let late = [begin, Step::Write(database()), end, rename.clone()];
    assert!(check(&late).is_err(), "written while it was synced");
    let [begin, end] = sync(2);
    let early = [Step::Write(database()), begin, rename, end];
    assert!(check(&early).is_err(), "renamed while it was synced");
}

#[test]
fn lines_of_the_record_are_read() {
    let root = Path::new("/s");
    let open = || File::Segment("s3sweep-0a1b2c3d-0000000001".to_owned());
    let done = || File::Finished("s3sweep-0a1b2c3d-0000000001".to_owned());
    let cases = [
        (
            r#"7  write(15</s/out/s3sweep-0a1b2c3d-0000000001.ndjson.open>, ""..., 131872) = 131872"#,
            vec![Step::Write(open())],
        ),
        (
            r#"7  pwrite64(11</s/state/sled/db>, ""..., 24, 96 <unfinished ...>"#,
            vec![Step::Write(File::Database)],
        ),
        (
            "7  fdatasync(12</s/state/sled/db>) = 0",
            vec![Step::SyncBegins(7, File::Database), Step::SyncEnds(7)],
        ),
        ("7  fsync(29</s/out> <unfinished ...>", vec![Step::SyncBegins(7, File::Sink)]),
        ("7  <... fsync resumed>)              = 0", vec![Step::SyncEnds(7)]),
        ("7  <... openat resumed>)             = 29</s/out>", vec![]),
        (
            r#"7  rename("state/.sidecar.json.tmp", "state/sidecar.json") = 0"#,
            vec![Step::Rename(File::NewSidecar, File::Sidecar)],
        ),
        (
            r#"7  renameat2(AT_FDCWD</s>, "/s/out/s3sweep-0a1b2c3d-0000000001.ndjson.open", AT_FDCWD</s>, "/s/out/s3sweep-0a1b2c3d-0000000001.ndjson", RENAME_NOREPLACE) = 0"#,
            vec![Step::Rename(open(), done())],
        ),
        (
            r#"7  openat(AT_FDCWD</s>, "/s/out/s3sweep-0a1b2c3d-0000000001.ndjson.open", O_WRONLY|O_CREAT|O_EXCL, 0666) = 15</s/out/x>"#,
            vec![Step::Create(open())],
        ),
        (r#"7  unlink("/s/out/s3sweep-0a1b2c3d-0000000001.ndjson.open") = -1 ENOENT (No such file)"#, vec![]),
        (r#"7  write(1</dev/null>, ""..., 3) = 3"#, vec![]),
        ("7  +++ exited with 0 +++", vec![]),
    ];
    for (line, want) in cases {
        assert_eq!(steps(root, line), want, "{line}");
    }
}
