//! Holds the import arrows of the design against `src/`: which room may name which other one, and
//! where the outside (sled, the AWS SDK, the environment, the wall clock) may be named.
//!
//! Text is looked at, not compiled code: comments and what follows the last `#[cfg(test)]` are
//! left out. An exception stands here by name, with its reason.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

/// Rooms and what they may name of the crate. A room names itself freely.
const ARROWS: &[(&str, &[&str])] = &[
    // the ends
    ("main", &["allocator", "cli", "threads"]),
    ("cli", &["*"]),
    ("service", &["*"]),
    // the words of encoders and filters, and what they mean, are theirs
    ("config", &["layout", "pattern", "record", "encode", "filter", "failure", "prices"]),
    // read-only users of the rooms below
    (
        "check",
        &["aws", "bucket", "clock", "config", "failure", "layout", "pattern", "policy", "prices", "sweep"],
    ),
    ("policy", &["config", "pattern"]),
    // sweep → collect, commit → {bucket, decode, encode, sink, state} → leaves
    (
        "sweep",
        &[
            "collect",
            "commit",
            "bucket",
            "state",
            "layout",
            "pattern",
            "record",
            "filter",
            "clock",
            "failpoint",
            "failure",
            "prices",
            "retry",
            "throttle",
        ],
    ),
    (
        "collect",
        &[
            "commit",
            "buffers",
            "bucket",
            "decode",
            "filter",
            "encode",
            "record",
            "sink",
            "state",
            "clock",
            "failpoint",
            "failure",
            "retry",
            "throttle",
        ],
    ),
    // markers moved by hand: plans over the state, carried out by the committer
    ("marker", &["commit", "state", "pattern"]),
    ("commit", &["buffers", "sink", "state", "pattern", "failpoint", "failure", "retry"]),
    ("bucket", &["aws", "clock", "failure"]),
    ("aws", &["clock", "failure"]),
    ("sink", &["clock", "failpoint"]),
    ("state", &["pattern", "failpoint", "failure", "hex"]),
    // pure rooms: no clock, no network, no configuration
    ("layout", &["pattern", "record"]),
    ("pattern", &[]),
    ("decode", &["record"]),
    ("encode", &["record", "hex"]),
    ("filter", &["record"]),
    ("record", &[]),
    // leaves
    ("allocator", &[]),
    ("schedule", &[]),
    ("buffers", &[]),
    ("clock", &[]),
    ("failpoint", &[]),
    ("failure", &[]),
    ("hex", &[]),
    ("prices", &[]),
    ("retry", &[]),
    ("threads", &[]),
    ("throttle", &[]),
    ("metrics", &[]),
    // fakes
    ("testing", &["bucket", "failure"]),
];

/// Arrows against the rules that are known, by file or folder and what is named; the list is to
/// shrink.
const KNOWN: &[(&str, &str)] = &[
    // The settings of a source are handed to the sweep as they are; a form of the sweep's own,
    // filled in by the service as `CollectSettings` is, would turn the arrow round.
    ("sweep/", "config"),
    // `bucket::open` and `aws::connect` take location and access settings; they would be the
    // rooms' own types, made by the service.
    ("bucket/mod.rs", "config"),
    ("aws/", "config"),
    // The state stores `sink::Position`, and makes files durable by `sink::durable`: a leaf of
    // its own (`durable.rs`) would serve both.
    ("state/", "sink"),
];

/// Words of the outside, and the files (or folders) that may name them.
const OUTSIDE: &[(&[&str], &[&str])] = &[
    (&["sled::"], &["state/database.rs"]),
    (
        &[
            "aws_config::",
            "aws_sdk_s3::",
            "aws_sdk_sts::",
            "aws_smithy_http_client::",
            "aws_credential_types::",
            "aws_smithy_runtime_api::",
            "aws_smithy_types::",
        ],
        &["aws/", "bucket/s3.rs"],
    ),
    (&["rustls::", "tokio_rustls::", "rustls_native_certs::"], &["aws/"]),
    // failpoint.rs, with the feature `testing` only: its module page says why
    (&["std::env::", "env::var", "env::vars"], &["config/", "failpoint.rs"]),
    (&["Utc::now", "Local::now", "SystemTime::now"], &["clock.rs"]),
    (&["toml::"], &["config/"]),
    (&["age::x25519", "age::Decryptor", "age::encrypt"], &["config/secret.rs"]),
    (&["clap::", "anyhow::"], &["cli/", "main.rs"]),
    (&["async_compression::", "GzipDecoder"], &["decode/inflate.rs"]),
    (&["process::exit"], &["service/signals.rs"]),
];

/// What pure rooms do not name: time that passes, tasks, network, files.
const IMPURE: &[&str] = &[
    "tokio::time",
    "tokio::net",
    "tokio::task",
    "tokio::fs",
    "std::fs",
    "std::net::Tcp",
    "std::thread",
    "tracing::",
];
const PURE: &[&str] = &["pattern", "layout", "record", "decode", "filter", "encode"];

/// A file of `src/`: its path there, its room, its lines of code by number.
struct Source {
    path: String,
    room: String,
    lines: Vec<(usize, String)>,
}

fn sources() -> Vec<Source> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut files = Vec::new();
    let mut folders = vec![root.clone()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            match path.extension() {
                None => folders.push(path),
                Some(ending) if ending == "rs" => files.push(path),
                Some(_) => {}
            }
        }
    }
    files.sort();
    let tests = test_files(&files);
    files.iter().filter(|path| !tests.contains(path)).map(|path| source(&root, path)).collect()
}

fn source(root: &Path, path: &Path) -> Source {
    let inside = path.strip_prefix(root).unwrap().to_str().unwrap().to_owned();
    let room = room_of_file(&inside).to_owned();
    Source { room, lines: code(&fs::read_to_string(path).unwrap()), path: inside }
}

/// Files that a `#[cfg(test)] mod …;` names.
fn test_files(files: &[PathBuf]) -> Vec<PathBuf> {
    let mut tests = Vec::new();
    for path in files {
        let text = fs::read_to_string(path).unwrap();
        let lines: Vec<_> = text.lines().map(str::trim).collect();
        for (index, _) in lines.iter().enumerate().filter(|(_, line)| line.starts_with("#[cfg(test)]")) {
            let mut named = None;
            for line in &lines[index + 1..] {
                if let Some(file) = line.strip_prefix("#[path = \"").and_then(|rest| rest.strip_suffix("\"]"))
                {
                    named = Some(path.with_file_name(file));
                    continue;
                }
                let module = line.split_once("mod ").and_then(|(_, rest)| rest.strip_suffix(';'));
                if let Some(module) = module {
                    let folder = match path.file_name().unwrap().to_str().unwrap() {
                        "mod.rs" | "lib.rs" | "main.rs" => path.with_file_name(""),
                        _ => path.with_extension(""),
                    };
                    tests.push(named.unwrap_or_else(|| folder.join(format!("{module}.rs"))));
                }
                break;
            }
        }
    }
    tests
}

/// The lines of code up to the tests at the foot, without comments.
fn code(text: &str) -> Vec<(usize, String)> {
    let lines: Vec<_> = text.lines().collect();
    let foot =
        lines.iter().rposition(|line| line.starts_with("#[cfg(test)]") || line.starts_with("#[cfg(all(test"));
    // A `#[cfg(test)]` before other code (a module declaration) is no foot.
    let foot =
        foot.filter(|at| lines.get(at + 1).is_some_and(|next| next.contains("mod ") && next.ends_with('{')));
    lines[..foot.unwrap_or(lines.len())]
        .iter()
        .enumerate()
        .map(|(index, line)| (index + 1, line.split("//").next().unwrap_or("").to_owned()))
        .collect()
}

/// The paths below `crate::` that a file names, each with its line; `use` lists are opened.
fn named(source: &Source) -> Vec<(usize, String)> {
    let marker = if source.room == "main" { "s3sweep::" } else { "crate::" };
    let steps = source.path.split('/').filter(|step| *step != "mod.rs").count();
    let mut found = named_after(source, marker);
    found.extend(named_after(source, &"super::".repeat(steps)));
    found
}

fn named_after(source: &Source, marker: &str) -> Vec<(usize, String)> {
    let mut found = Vec::new();
    let mut index = 0;
    while index < source.lines.len() {
        let (number, line) = &source.lines[index];
        index += 1;
        let mut rest = line.as_str();
        while let Some(at) = rest.find(marker) {
            let before = rest[..at].chars().next_back();
            rest = &rest[at + marker.len()..];
            if before.is_some_and(|c| c.is_alphanumeric() || c == '_' || c == '$' || c == ':') {
                continue;
            }
            if let Some(list) = rest.strip_prefix('{') {
                // a list straight below the crate: take all its lines
                let mut text = list.to_owned();
                while !text.contains(';') && index < source.lines.len() {
                    text.push_str(&source.lines[index].1);
                    index += 1;
                }
                let mut depth = 0;
                let mut start = true;
                let mut word = String::new();
                for c in text.chars().take_while(|c| *c != ';') {
                    match c {
                        '{' => depth += 1,
                        '}' => depth -= 1,
                        ',' if depth == 0 => start = true,
                        c if depth == 0 && start && (c.is_alphanumeric() || c == '_') => word.push(c),
                        _ if !word.is_empty() => start = false,
                        _ => {}
                    }
                    if (!start || c == ',') && !word.is_empty() {
                        found.push((*number, std::mem::take(&mut word)));
                    }
                }
                if !word.is_empty() {
                    found.push((*number, word));
                }
                break;
            }
            let path: String =
                rest.chars().take_while(|c| c.is_alphanumeric() || matches!(c, '_' | ':')).collect();
            found.push((*number, path));
        }
    }
    found
}

fn room_of_file(path: &str) -> &str {
    path.split(['/', '.']).next().unwrap_or_default()
}

fn room_of(path: &str) -> &str {
    path.split(':').next().unwrap_or_default()
}

/// Places where a file names a room that it may not name.
fn offences(source: &Source) -> Vec<String> {
    let Some((_, allowed)) = ARROWS.iter().find(|(room, _)| *room == source.room) else {
        return vec![format!("src/{}:1: the room `{}` has no arrows in this test", source.path, source.room)];
    };
    named(source)
        .into_iter()
        .filter(|(_, path)| {
            let room = room_of(path);
            let known = KNOWN.iter().any(|known| is_known(known, source, path));
            room != source.room && !allowed.contains(&room) && !allowed.contains(&"*") && !known
        })
        .map(|(line, path)| format!("src/{}:{line}: `{}` must not name `{path}`", source.path, source.room))
        .collect()
}

fn is_known((place, what): &(&str, &str), source: &Source, path: &str) -> bool {
    is_at(source, place) && (path == *what || path.starts_with(&format!("{what}::")))
}

/// Whether a file is the place, or lies in it where the place is a folder.
fn is_at(source: &Source, place: &str) -> bool {
    if place.ends_with('/') { source.path.starts_with(place) } else { source.path == place }
}

fn words<'a>(source: &'a Source, words: &'a [&str]) -> impl Iterator<Item = String> + 'a {
    source.lines.iter().flat_map(move |(number, line)| {
        let found = words.iter().filter(move |word| has_word(line, word));
        found.map(move |word| format!("src/{}:{number}: names `{word}`", source.path))
    })
}

/// Whether a line has a word that does not go on to the left.
fn has_word(line: &str, word: &str) -> bool {
    line.match_indices(word).any(|(at, _)| {
        let before = line[..at].chars().next_back();
        !before.is_some_and(|c| c.is_alphanumeric() || c == '_')
    })
}

fn none(found: Vec<String>) {
    assert!(found.is_empty(), "against the arrows of the design:\n{}", found.join("\n"));
}

#[test]
fn rooms_name_only_what_lies_below_them() {
    none(sources().iter().filter(|source| source.room != "lib").flat_map(offences).collect());
}

#[test]
fn the_outside_is_named_in_its_rooms_only() {
    let mut found = Vec::new();
    for source in sources() {
        for (names, places) in OUTSIDE {
            if !places.iter().any(|place| is_at(&source, place)) && source.room != "testing" {
                found.extend(words(&source, names));
            }
        }
    }
    none(found);
}

#[test]
fn pure_rooms_do_no_work_outside() {
    let pure = |source: &&Source| PURE.contains(&source.room.as_str());
    none(sources().iter().filter(pure).flat_map(|source| words(source, IMPURE)).collect());
}

#[test]
fn below_the_daemon_no_room_names_itself_in_a_circle() {
    // main, cli and service see everything; of the rest, who is reached from a room must not
    // reach back to it.
    let mut arrows: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for (from, to) in ARROWS.iter().filter(|(_, to)| !to.contains(&"*")) {
        arrows.entry(from).or_default().extend(*to);
    }
    for (place, what) in KNOWN.iter().filter(|(_, what)| !what.contains("::")) {
        arrows.entry(room_of_file(place)).or_default().push(what);
    }
    for from in arrows.keys() {
        let mut reached = Vec::new();
        let mut waiting = vec![*from];
        while let Some(room) = waiting.pop() {
            for next in arrows.get(room).into_iter().flatten() {
                assert_ne!(next, from, "{from} is reached from itself, by way of {room}");
                if !reached.contains(next) {
                    reached.push(*next);
                    waiting.push(next);
                }
            }
        }
    }
}

#[test]
fn exceptions_are_still_needed() {
    let sources = sources();
    for known in KNOWN {
        let uses = |source: &Source| named(source).iter().any(|(_, path)| is_known(known, source, path));
        let (file, what) = known;
        assert!(sources.iter().any(uses), "{file} does not name {what} any more: take the exception out");
    }
}

#[test]
fn offences_are_found_with_their_place() {
    let source = |room: &str, text: &str| Source {
        path: format!("{room}/x.rs"),
        room: room.to_owned(),
        lines: code(text),
    };
    let cases = [
        (
            "a plain use",
            "decode",
            "\nuse crate::sink::Sink;\n",
            "src/decode/x.rs:2: `decode` must not name `sink::Sink`",
        ),
        (
            "a path in code",
            "encode",
            "fn f() { crate::clock::x() }",
            "src/encode/x.rs:1: `encode` must not name `clock::x`",
        ),
        (
            "a list",
            "pattern",
            "use crate::{\n    config::{A, state},\n};",
            "src/pattern/x.rs:1: `pattern` must not name `config`",
        ),
        ("visibility is no arrow", "record", "pub(in crate) fn f() {}", ""),
        (
            "by way of super",
            "record",
            "use super::super::sink::A;",
            "src/record/x.rs:1: `record` must not name `sink::A`",
        ),
        ("itself by super", "record", "use super::json::A;", ""),
        ("itself", "record", "use crate::record::json;", ""),
        ("a comment", "record", "// see crate::sink", ""),
        ("tests at the foot", "record", "fn f() {}\n#[cfg(test)]\nmod tests {\n    use crate::sink;\n}", ""),
        (
            "a declared test module hides nothing below it",
            "record",
            "#[cfg(test)]\nmod tests;\nuse crate::sink::A;",
            "src/record/x.rs:3: `record` must not name `sink::A`",
        ),
        (
            "an unknown room",
            "helpers",
            "",
            "src/helpers/x.rs:1: the room `helpers` has no arrows in this test",
        ),
    ];
    for (name, room, text, want) in cases {
        assert_eq!(offences(&source(room, text)).join("\n"), want, "{name}");
    }
    let sled = source("sweep", "let x = sled::open();\nlet y = not_sled::open();");
    assert_eq!(words(&sled, &["sled::"]).collect::<Vec<_>>(), ["src/sweep/x.rs:1: names `sled::`"]);
    assert!(sources().len() > 60, "all of src/ is looked at");
}
