//! What has to happen in a sink's folder so that it holds exactly what was committed; pure.
//!
//! In come the folder's contents and the committed position, out comes a [`Plan`], or a text that
//! says what does not fit and what to do. A refusal is found before anything is changed.

use super::Position;
use super::segment::{Contents, Form, SegmentFile, SegmentName, complete_name, is_compressing};

/// What becomes of the segment of the committed position.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Own {
    /// It is open and goes on.
    Open,
    /// It is sealed but still open: finish it.
    Finish,
    /// It is sealed and compressed to this form, and lacks its last name. It gets it once the open one
    /// is gone.
    Publish(Form),
    /// It is finished (perhaps taken by the reader already), or there never was one.
    Finished,
}

/// The steps that bring a folder to the committed position, in this order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Plan {
    /// Files without committed bytes, or whose finished or complete twin stands: removed.
    pub remove: Vec<String>,
    /// The open segment of the position holds more than was committed: cut to its length.
    pub cut: bool,
    /// What becomes of it then.
    pub own: Own,
}

/// Plans the way back to `committed` in a folder that belongs to `sink_id`. `noted` says that the
/// folder has a durable note that this very position was finished.
pub(super) fn plan(
    contents: &Contents,
    sink_id: &str,
    committed: &Position,
    noted: bool,
) -> Result<Plan, String> {
    refuse_later_segments(contents, sink_id, committed)?;
    let is_own = |name: &SegmentName| name.sink_id == sink_id && name.sequence == committed.sequence;
    refuse_complete(contents, |complete| !is_own(complete))?;
    let may_be_gone = committed.sealed || noted;
    let mut plan = match contents.complete.iter().find(|complete| is_own(complete)) {
        Some(complete) => plan_complete(contents, complete, may_be_gone)?,
        None => plan_own(contents, sink_id, committed, may_be_gone)?,
    };
    for open in contents.segments.iter().filter(|segment| segment.name.form == Form::Open) {
        let ours = open.name.sink_id == sink_id;
        if ours && open.name.sequence == committed.sequence {
            continue;
        }
        // after a finished segment the next one is ours, and nothing of it was committed
        let uncommitted =
            ours && plan.own != Own::Open && committed.sequence.checked_add(1) == Some(open.name.sequence);
        let has_twin = ours && twin(contents, &open.name).is_some();
        if !uncommitted && !has_twin {
            return Err(unknown_open(&open.name.to_string()));
        }
        plan.remove.push(open.name.to_string());
    }
    refuse_strange(contents)?;
    plan.remove.extend(contents.compressing.iter().filter(|name| is_compressing(name, sink_id)).cloned());
    Ok(plan)
}

/// Checks a folder that a state without a position is about to use: nobody's open segment may lie
/// there, nor one that lacks only its last name.
pub(super) fn check_fresh(contents: &Contents) -> Result<(), String> {
    refuse_complete(contents, |_| true)?;
    match contents.segments.iter().find(|segment| segment.name.form == Form::Open) {
        Some(open) => Err(unknown_open(&open.name.to_string())),
        None => refuse_strange(contents),
    }
}

fn refuse_strange(contents: &Contents) -> Result<(), String> {
    contents.strange.first().map_or(Ok(()), |name| Err(unknown_open(name)))
}

/// A compression is complete only where some state has sealed its segment: its records are whole.
fn refuse_complete(contents: &Contents, is_unknown: impl Fn(&SegmentName) -> bool) -> Result<(), String> {
    match contents.complete.iter().find(|complete| is_unknown(complete)) {
        None => Ok(()),
        Some(complete) => Err(format!(
            "the compressed segment {} is unknown to this state directory, so it is left as it is; start \
             with the state directory that wrote it, or remove {} if that is there too and rename it to \
             {complete}",
            complete_name(complete),
            SegmentName { form: Form::Open, ..complete.clone() },
        )),
    }
}

fn unknown_open(name: &str) -> String {
    format!(
        "the open segment {name} is unknown to this state directory, so it is left as it is; \
         start with the state directory that wrote it, or move the file out of the folder"
    )
}

/// A state that knows less than the folder would write the same names again.
fn refuse_later_segments(contents: &Contents, sink_id: &str, committed: &Position) -> Result<(), String> {
    let finished = contents.segments.iter().map(|segment| &segment.name);
    let finished = finished.filter(|name| name.form != Form::Open).map(|name| (name, name.to_string()));
    let complete = contents.complete.iter().map(|name| (name, complete_name(name)));
    let is_later = |name: &SegmentName| name.sink_id == sink_id && name.sequence > committed.sequence;
    match finished.chain(complete).find(|(name, _)| is_later(name)) {
        None => Ok(()),
        Some((_, name)) => Err(format!(
            "{name} is finished, but the state ends at segment {}: the state directory is older than the \
             folder; restore the newer one, or move the state directory away to begin anew",
            committed.sequence
        )),
    }
}

/// The segment of the position is compressed whole and lacks its last name.
fn plan_complete(contents: &Contents, complete: &SegmentName, may_be_gone: bool) -> Result<Plan, String> {
    let name = complete_name(complete);
    if !may_be_gone {
        return Err(format!(
            "{name} is complete, but the state goes on with its segment: the state directory is older than \
             the folder; restore the newer one, or move the state directory away to begin anew"
        ));
    }
    if let Some(twin) = twin(contents, complete) {
        return Err(format!(
            "{name} and {} stand side by side, though the one becomes the other; move the second one out of \
             the folder",
            twin.name
        ));
    }
    let open = contents.of_name(complete).map(|segment| segment.name.to_string());
    Ok(Plan { remove: open.collect(), cut: false, own: Own::Publish(complete.form) })
}

fn plan_own(
    contents: &Contents,
    sink_id: &str,
    committed: &Position,
    may_be_gone: bool,
) -> Result<Plan, String> {
    let name = SegmentName::new(sink_id, committed.sequence, Form::Open);
    let length = committed.length;
    let open = contents.segments.iter().find(|segment| segment.name == name);
    let (remove, cut, own) = match (open, twin(contents, &name)) {
        (Some(open), None) if open.length < length => {
            return Err(format!(
                "{name} has {} bytes where {length} were committed: it was truncated by someone; put the \
                 missing bytes back, or move the state directory away to begin anew",
                open.length
            ));
        }
        (Some(open), None) => {
            let own = if may_be_gone { Own::Finish } else { Own::Open };
            (vec![], open.length > length, own)
        }
        (open, Some(twin)) if is_whole(twin, length, may_be_gone) => {
            (open.map(|_| name.to_string()).into_iter().collect(), false, Own::Finished)
        }
        (Some(_), Some(twin)) => {
            return Err(format!(
                "{name} and {} stand side by side, and the finished one does not hold the {length} bytes \
                 that were committed; move it out of the folder",
                twin.name
            ));
        }
        // the reader took it: its right, once it was to be finished
        (None, _) if may_be_gone || committed.sequence == 0 => (vec![], false, Own::Finished),
        (None, _) => {
            return Err(format!(
                "the open segment was removed: {name}, with {length} committed bytes; put it back, or \
                 move the state directory away to begin anew"
            ));
        }
    };
    Ok(Plan { remove, cut, own })
}

/// The finished file of the same segment.
fn twin<'a>(contents: &'a Contents, open: &'a SegmentName) -> Option<&'a SegmentFile> {
    contents.of_name(open).find(|segment| segment.name.form != Form::Open)
}

/// Whether a finished file holds what was committed: a plain one by its size; a compressed one
/// got its name only after all its bytes, so that it is whole when it was to be finished at all.
fn is_whole(finished: &SegmentFile, length: u64, to_be_finished: bool) -> bool {
    match finished.name.form {
        Form::Open => false,
        Form::Plain => finished.length == length,
        Form::Gzip | Form::Zstd => to_be_finished,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: &str = "0a1b2c3d";

    /// `"5.open 100"`: segment 5, its form and size; `b:` before it for another sink's.
    fn contents(files: &[&str]) -> Contents {
        let mut contents = Contents::default();
        for file in files {
            let (sink_id, rest) = file.strip_prefix("b:").map_or((ID, *file), |rest| ("bbbbbbbb", rest));
            let (name, length) = rest.split_once(' ').unwrap_or((rest, "0"));
            let (sequence, form) = name.split_once('.').expect("sequence and form");
            let form = match form {
                "open" => Form::Open,
                "plain" => Form::Plain,
                "gz" => Form::Gzip,
                "zst" => Form::Zstd,
                "strange" => {
                    contents.strange.push("s3sweep-mine.ndjson.open".to_owned());
                    continue;
                }
                "compressing" => {
                    contents.compressing.push(format!(".s3sweep-{sink_id}-000000000{sequence}.compressing"));
                    continue;
                }
                "gz.complete" | "zst.complete" => {
                    let form = if form == "gz.complete" { Form::Gzip } else { Form::Zstd };
                    let sequence = sequence.parse().expect("number");
                    contents.complete.push(SegmentName::new(sink_id, sequence, form));
                    continue;
                }
                other => panic!("no such form: {other}"),
            };
            contents.segments.push(SegmentFile {
                name: SegmentName::new(sink_id, sequence.parse().expect("number"), form),
                length: length.parse().expect("number"),
                modified: None,
            });
        }
        contents
    }

    fn at(sequence: u64, length: u64, sealed: bool) -> Position {
        Position { sink_id: ID.to_owned(), path: "/out".to_owned(), sequence, length, sealed }
    }

    /// `cut, own, removed…` of a plan, or `! text` of a refusal.
    fn shown(result: Result<Plan, String>) -> String {
        match result {
            Err(text) => format!("! {text}"),
            Ok(plan) => {
                let cut = if plan.cut { "cut " } else { "" };
                let removed: Vec<String> =
                    plan.remove.iter().map(|name| name.replace("s3sweep-0a1b2c3d-000000000", "")).collect();
                format!("{cut}{:?} [{}]", plan.own, removed.join(" "))
            }
        }
    }

    #[test]
    fn every_rule_of_recovery() {
        let open = at(5, 100, false);
        let sealed = at(5, 100, true);
        let none = at(0, 0, false);
        let cases: &[(&str, &[&str], &Position, bool, &str)] = &[
            ("nothing written yet", &[], &none, false, "Finished []"),
            ("nothing committed yet", &["1.open 9"], &none, false, "Finished [1.ndjson.open]"),
            ("nothing committed, two segments", &["2.open 9"], &none, false, "! the open segment"),
            (
                "nothing committed, but one is finished",
                &["1.plain 9"],
                &none,
                false,
                "! s3sweep-0a1b2c3d-0000000001.ndjson is finished",
            ),
            ("as committed", &["5.open 100"], &open, false, "Open []"),
            ("uncommitted bytes", &["5.open 140"], &open, false, "cut Open []"),
            (
                "truncated",
                &["5.open 99"],
                &open,
                false,
                "! s3sweep-0a1b2c3d-0000000005.ndjson.open has 99 bytes where 100",
            ),
            (
                "truncated though sealed",
                &["5.open 99"],
                &sealed,
                false,
                "! s3sweep-0a1b2c3d-0000000005.ndjson.open has 99",
            ),
            ("removed", &[], &open, false, "! the open segment was removed"),
            ("removed, others stand", &["4.plain 7"], &open, false, "! the open segment was removed"),
            ("finished by hand", &["5.plain 100"], &open, false, "Finished []"),
            (
                "finished by hand with more bytes",
                &["5.plain 120"],
                &open,
                false,
                "! the open segment was removed",
            ),
            ("compressed by hand", &["5.gz 40"], &open, false, "! the open segment was removed"),
            ("finished for a move, note stands", &["5.gz 40"], &open, true, "Finished []"),
            ("finished for a move, taken", &[], &open, true, "Finished []"),
            ("noted but not finished", &["5.open 100"], &open, true, "Finish []"),
            ("sealed, not finished", &["5.open 100"], &sealed, false, "Finish []"),
            ("sealed, torn bytes", &["5.open 101"], &sealed, false, "cut Finish []"),
            ("sealed, finished", &["5.plain 100"], &sealed, false, "Finished []"),
            ("sealed, compressed", &["5.zst 30"], &sealed, false, "Finished []"),
            ("sealed, taken", &[], &sealed, false, "Finished []"),
            (
                "both names, as an earlier version left them",
                &["5.open 100", "5.plain 100"],
                &sealed,
                false,
                "Finished [5.ndjson.open]",
            ),
            (
                "the same, not sealed",
                &["5.open 100", "5.plain 100"],
                &open,
                false,
                "Finished [5.ndjson.open]",
            ),
            (
                "both names, compressed",
                &["5.open 100", "5.gz 30"],
                &sealed,
                false,
                "Finished [5.ndjson.open]",
            ),
            (
                "a twin of other bytes",
                &["5.open 100", "5.plain 90"],
                &sealed,
                false,
                "! s3sweep-0a1b2c3d-0000000005.ndjson.open and",
            ),
            (
                "a compressed twin of an unsealed one",
                &["5.open 100", "5.gz 30"],
                &open,
                false,
                "! s3sweep-0a1b2c3d-0000000005.ndjson.open and",
            ),
            (
                "crash while compressing",
                &["5.open 100", "5.compressing"],
                &sealed,
                false,
                "Finish [.5.compressing]",
            ),
            (
                "crash before the open one is removed",
                &["5.open 100", "5.gz.complete"],
                &sealed,
                false,
                "Publish(Gzip) [5.ndjson.open]",
            ),
            (
                "the same with torn bytes",
                &["5.open 101", "5.gz.complete"],
                &sealed,
                false,
                "Publish(Gzip) [5.ndjson.open]",
            ),
            ("crash before the last rename", &["5.zst.complete"], &sealed, false, "Publish(Zstd) []"),
            ("the same for a move", &["5.zst.complete"], &open, true, "Publish(Zstd) []"),
            (
                "the same, the next one uncommitted",
                &["5.gz.complete", "6.open 3"],
                &sealed,
                false,
                "Publish(Gzip) [6.ndjson.open]",
            ),
            (
                "complete, not sealed",
                &["5.open 100", "5.gz.complete"],
                &open,
                false,
                "! .s3sweep-0a1b2c3d-0000000005.gz.complete is complete",
            ),
            (
                "complete beside a finished one",
                &["5.plain 100", "5.gz.complete"],
                &sealed,
                false,
                "! .s3sweep-0a1b2c3d-0000000005.gz.complete and s3sweep-0a1b2c3d-0000000005.ndjson stand",
            ),
            (
                "a later one complete",
                &["6.open 8", "6.gz.complete"],
                &sealed,
                false,
                "! .s3sweep-0a1b2c3d-0000000006.gz.complete is finished",
            ),
            (
                "an earlier one complete",
                &["4.gz.complete", "5.open 100"],
                &open,
                false,
                "! the compressed segment .s3sweep-0a1b2c3d-0000000004.gz.complete is unknown",
            ),
            (
                "another sink's complete one",
                &["5.open 100", "b:1.zst.complete"],
                &open,
                false,
                "! the compressed segment .s3sweep-bbbbbbbb-0000000001.zst.complete is unknown",
            ),
            ("another sink's compression stays", &["5.open 100", "b:1.compressing"], &open, false, "Open []"),
            (
                "next one uncommitted",
                &["5.plain 100", "6.open 50"],
                &sealed,
                false,
                "Finished [6.ndjson.open]",
            ),
            (
                "next one uncommitted, this one not renamed",
                &["5.open 100", "6.open 50"],
                &sealed,
                false,
                "Finish [6.ndjson.open]",
            ),
            (
                "next one though this one is open",
                &["5.open 100", "6.open 50"],
                &open,
                false,
                "! the open segment s3sweep-0a1b2c3d-0000000006",
            ),
            (
                "a later one",
                &["5.plain 100", "7.open 50"],
                &sealed,
                false,
                "! the open segment s3sweep-0a1b2c3d-0000000007",
            ),
            (
                "an earlier one without a twin",
                &["4.open 8", "5.open 100"],
                &open,
                false,
                "! the open segment s3sweep-0a1b2c3d-0000000004",
            ),
            (
                "an earlier one with its twin",
                &["4.open 8", "4.gz 3", "5.open 100"],
                &open,
                false,
                "Open [4.ndjson.open]",
            ),
            (
                "another sink's open one",
                &["5.open 100", "b:1.open 8"],
                &open,
                false,
                "! the open segment s3sweep-bbbbbbbb-0000000001",
            ),
            (
                "another sink's open one with its twin",
                &["5.open 100", "b:1.open 8", "b:1.plain 8"],
                &open,
                false,
                "! the open segment s3sweep-bbbbbbbb",
            ),
            ("another sink's finished ones", &["5.open 100", "b:9.plain 8"], &open, false, "Open []"),
            ("a strange one", &["5.open 100", "0.strange"], &open, false, "! the open segment s3sweep-mine"),
            (
                "an older state, open",
                &["5.plain 200", "6.plain 1", "7.open 8"],
                &open,
                false,
                "! s3sweep-0a1b2c3d-0000000006.ndjson is finished",
            ),
            (
                "an older state, sealed",
                &["6.gz 1"],
                &sealed,
                false,
                "! s3sweep-0a1b2c3d-0000000006.ndjson.gz is finished",
            ),
        ];
        for (case, files, position, noted, expected) in cases {
            let got = shown(plan(&contents(files), ID, position, *noted));
            let fits = if expected.starts_with('!') { got.starts_with(expected) } else { got == *expected };
            assert!(fits, "{case}: got {got:?}, expected {expected:?}");
        }
    }

    #[test]
    fn a_fresh_state_takes_no_folder_with_an_open_segment() {
        let cases: &[(&str, &[&str], bool)] = &[
            ("empty", &[], true),
            ("finished ones of an earlier state", &["1.plain 8", "2.gz 3", "b:1.zst 4"], true),
            ("an open one", &["1.open 0"], false),
            ("another sink's open one", &["b:1.open 8"], false),
            ("an open one with its twin", &["1.open 8", "1.plain 8"], false),
            ("one that lacks its last name", &["1.gz.complete"], false),
            ("another sink's that lacks its last name", &["b:1.zst.complete"], false),
            ("a strange one", &["0.strange"], false),
        ];
        for (case, files, fine) in cases {
            assert_eq!(check_fresh(&contents(files)).is_ok(), *fine, "{case}");
        }
    }
}
