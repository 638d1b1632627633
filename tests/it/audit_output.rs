//! Where the result of an audit goes: a reader that stops early, a full disk, records on stdout.

use std::fs::{self, File};
use std::process::{Child, Command, Output, Stdio};
use std::time::Duration;

use crate::operate_docs::Place;
use crate::world::trail_body;

const AUDIT: [&str; 5] = ["audit", "--from", "2020-03-01", "--to", "2020-03-31"];

/// More objects than the way to stdout holds.
fn many() -> Place {
    let place = Place::new();
    for minute in 0..600 {
        place.put(&format!("{:02}{:02}", minute / 60, minute % 60), &trail_body(&[format!("{minute}")]));
    }
    assert_eq!(place.run("s3sweep once -q").0, 0);
    place
}

fn start(place: &Place, more: &[&str], stdout: Stdio) -> Child {
    let mut command = Command::new(env!("CARGO_BIN_EXE_s3sweep"));
    command.args(AUDIT).args(more).current_dir(place.folder.path());
    command.stdout(stdout).stderr(Stdio::piped()).spawn().unwrap()
}

/// How a command ended, which must not wait for ever.
fn ended(mut child: Child) -> Output {
    for _ in 0..1200 {
        if child.try_wait().unwrap().is_some() {
            return child.wait_with_output().unwrap();
        }
        #[allow(clippy::disallowed_methods, reason = "another process is waited for")]
        std::thread::sleep(Duration::from_millis(50));
    }
    child.kill().unwrap();
    panic!("it hangs: {}", String::from_utf8_lossy(&child.wait_with_output().unwrap().stderr));
}

/// Runs an audit whose reader has gone.
fn unread(place: &Place, more: &[&str]) -> Output {
    let mut child = start(place, more, Stdio::piped());
    drop(child.stdout.take());
    ended(child)
}

#[test]
fn an_audit_ends_well_when_nobody_reads_on() {
    let place = many();
    for form in ["table", "json"] {
        let output = unread(&place, &["--all", "--output", form]);
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!((output.status.code(), said.contains("rror")), (Some(0), false), "{form}: {said}");
    }
}

#[test]
fn an_audit_that_cannot_be_written_says_so() {
    let full = File::options().write(true).open("/dev/full");
    let Ok(full) = full else { return eprintln!("skipped: no /dev/full here") };
    let output = ended(start(&many(), &["--all"], full.into()));
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("error: failed to write to stdout: No space left"), "{said}");
}

#[test]
fn a_repair_goes_on_when_nobody_reads_on() {
    let place = many();
    place.put("2359", &trail_body(&["late".into()]));
    let output = unread(&place, &["--all", "--repair"]);
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(place.ids().iter().filter(|id| *id == "late").count(), 1);
}

#[test]
fn the_report_of_a_repair_stays_out_of_the_records() {
    let place = Place::new();
    let path = place.folder.path().join("s3sweep.toml");
    let text = fs::read_to_string(&path).unwrap().replace("path = \"out\"", "type = \"stdout\"");
    fs::write(&path, text).unwrap();
    place.put("0010", &trail_body(&["a".into()]));
    assert_eq!(place.run("s3sweep once -q").0, 0);
    place.put("0005", &trail_body(&["late".into()]));
    let output = ended(start(&place, &["--repair"], Stdio::piped()));
    let (records, said) =
        (String::from_utf8(output.stdout).unwrap(), String::from_utf8(output.stderr).unwrap());
    assert_eq!(output.status.code(), Some(0), "{said}");
    let ids: Vec<serde_json::Value> =
        records.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert!(ids.len() == 1 && ids[0]["event_id"] == "late", "{records}");
    assert!(said.contains("missing 1") && said.contains("repaired"), "{said}");
}
