//! The binary as a user meets it: help, exit codes, what goes to stdout and what to stderr.

use std::path::Path;
use std::process::{Command, Output, Stdio};

fn s3sweep() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_s3sweep"));
    for variable in ["S3SWEEP_CONFIG", "RUST_LOG", "NO_COLOR"] {
        command.env_remove(variable);
    }
    command.stdin(Stdio::null());
    command
}

fn run(args: &[&str]) -> Output {
    s3sweep().args(args).output().expect("the binary is built with the tests")
}

fn out(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn err(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// A whole configuration in `folder`, with `extra` added to its source.
fn configuration(folder: &Path, extra: &str) -> String {
    let path = folder.join("s3sweep.toml");
    let text = format!(
        "state_dir = \"state\"\n[sink]\npath = \"out\"\n[[source]]\nname = \"main\"\nlog_type = \"cloudtrail\"\n\
         bucket = \"file:///srv/mirror\"\nprefix = \"AWSLogs/111122223333/CloudTrail/us-east-1\"\n{extra}\n"
    );
    std::fs::write(&path, text).expect("the folder is there");
    path.display().to_string()
}

#[test]
fn every_command_explains_itself() {
    let help = run(&["--help"]);
    assert_eq!(help.status.code(), Some(0));
    for command in [
        "run",
        "once",
        "preview",
        "expand",
        "check",
        "status",
        "sweep",
        "marker",
        "quarantine",
        "audit",
        "init",
        "config",
        "secret",
        "completions",
        "man",
    ] {
        assert!(
            out(&help).lines().any(|line| line.trim_start().starts_with(&format!("{command} "))),
            "{command}"
        );
        let help = run(&[command, "--help"]);
        assert_eq!(help.status.code(), Some(0), "{command}");
        assert!(out(&help).contains("Example"), "{command} --help has no example");
    }
    for code in ["0 ", "1 ", "2 ", "3 ", "4 ", "5 ", "130 "] {
        assert!(out(&help).contains(&format!("\n  {code}")), "exit code {code}is not in --help");
    }
    assert!(out(&run(&["--version"])).starts_with("s3sweep "));
}

#[test]
fn usage_errors_exit_with_2_and_write_nothing_to_stdout() {
    let folder = tempfile::tempdir().unwrap();
    let good = configuration(folder.path(), "");
    let cases: &[(&str, &[&str], &str)] = &[
        ("no command", &[], "Usage"),
        ("unknown command", &["nonsense"], "nonsense"),
        ("unknown option", &["once", "--nonsense"], "--nonsense"),
        ("no such file", &["once", "-c", "/nonexistent/s3sweep.toml"], "/nonexistent/s3sweep.toml"),
        ("unknown source", &["once", "-c", &good, "--source", "mian"], "`main`"),
        ("later time", &["once", "-c", &good, "--now", "2999-01-01T00:00:00Z"], "--now"),
        ("no instant", &["preview", "-c", &good, "--now", "noon"], "2026-01-31T10:00:00Z"),
        ("quiet and verbose", &["once", "-q", "-v"], "cannot be used with"),
        ("expand nothing", &["expand", ""], "failed to expand: prefix pattern \"\""),
        ("expand a leading slash", &["expand", "/logs"], "\"/logs\""),
        ("expand backwards", &["expand", "x", "--from", "2026-01-02", "--to", "2026-01-01"], "swap them"),
        ("expand from alone", &["expand", "x", "--from", "2026-01-02"], "--to"),
        ("expand at and from", &["expand", "x", "--at", "2026-01-02", "--from", "2026-01-02"], "--at"),
        ("expand another type", &["expand", "x", "--log-type", "cloudtrial"], "cloudtrail"),
        (
            "audit backwards",
            &["audit", "-c", &good, "--from", "2026-01-02", "--to", "2026-01-01"],
            "swap them",
        ),
        ("audit without a time", &["audit", "-c", &good], "--from"),
        ("no duration", &["audit", "--from", "2026-01-01", "--to", "2026-01-02", "--max-gap", "soon"], "30M"),
        (
            "marker reset backwards",
            &["marker", "reset", "-c", &good, "--from", "2026-01-02", "--to", "2026-01-01"],
            "swap them",
        ),
        ("marker set without a time", &["marker", "set", "-c", &good], "--closed-through"),
        ("retry nothing", &["quarantine", "retry"], "KEY"),
        ("drop without a reason", &["quarantine", "drop", "key"], "--reason"),
        ("drop with an empty reason", &["quarantine", "drop", "--reason", "", "key"], "--reason"),
        ("policy without a configuration", &["init", "--policy", "-c", "/nonexistent"], "/nonexistent"),
    ];
    for (case, args, fragment) in cases {
        let output = run(args);
        assert_eq!(output.status.code(), Some(2), "{case}: {}", err(&output));
        assert_eq!(out(&output), "", "{case}");
        assert!(err(&output).contains(fragment), "{case}: no {fragment:?} in {}", err(&output));
        assert!(!err(&output).contains("panicked"), "{case}: {}", err(&output));
    }
}

#[test]
fn a_missing_configuration_names_the_places_looked_at() {
    let folder = tempfile::tempdir().unwrap();
    let output = s3sweep().arg("once").current_dir(folder.path()).output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    for fragment in ["S3SWEEP_CONFIG", "s3sweep.toml", "/etc/s3sweep/s3sweep.toml", "init"] {
        assert!(err(&output).contains(fragment), "{}", err(&output));
    }
    // the variable, then the working directory
    let named = configuration(folder.path(), "");
    let shown = s3sweep().args(["config", "show"]).env("S3SWEEP_CONFIG", &named).output().unwrap();
    assert_eq!(shown.status.code(), Some(0), "{}", err(&shown));
    let shown = s3sweep().args(["config", "show"]).current_dir(folder.path()).output().unwrap();
    assert_eq!(shown.status.code(), Some(0), "{}", err(&shown));
}

#[test]
fn config_show_prints_a_configuration_that_loads() {
    let folder = tempfile::tempdir().unwrap();
    let secret =
        "[source.credentials]\naccess_key_id = \"A\"\nsecret_access_key = { env = \"S3SWEEP_TEST_SECRET\" }";
    let path = configuration(folder.path(), secret);
    let shown = s3sweep()
        .args(["config", "show", "-c", &path])
        .env("S3SWEEP_TEST_SECRET", "hunter2")
        .output()
        .unwrap();
    assert_eq!(shown.status.code(), Some(0), "{}", err(&shown));
    assert!(out(&shown).contains("[secret]") && !out(&shown).contains("hunter2"), "{}", out(&shown));
    let again = folder.path().join("again.toml");
    std::fs::write(&again, &shown.stdout).unwrap();
    let second = run(&["config", "show", "-q", "-c", &again.display().to_string()]);
    assert_eq!(out(&second), out(&shown));
    let json = s3sweep()
        .args(["config", "show", "-c", &path, "--output", "json"])
        .env("S3SWEEP_TEST_SECRET", "hunter2")
        .output()
        .unwrap();
    let json: serde_json::Value = serde_json::from_slice(&json.stdout).unwrap();
    assert_eq!(json["source"][0]["lateness"], "1H");
}

#[test]
fn a_fresh_configuration_is_refused_until_it_is_filled_in() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("s3sweep.toml");
    let name = path.display().to_string();
    assert_eq!(run(&["init", &name]).status.code(), Some(0));
    let text = std::fs::read_to_string(&path).unwrap();
    assert_eq!(out(&run(&["init"])), text);

    let refused = run(&["config", "show", "-c", &name]);
    assert_eq!(refused.status.code(), Some(2));
    let marked = text.lines().enumerate().filter(|(_, line)| line.contains("= \"CHANGE_ME\""));
    let lines: Vec<_> = marked.map(|(number, _)| format!("line {}", number + 1)).collect();
    assert!(!lines.is_empty());
    for line in lines {
        assert!(err(&refused).contains(&line), "no {line} in {}", err(&refused));
    }

    let again = run(&["init", &name]);
    assert_eq!(again.status.code(), Some(2), "an existing file is left alone");
    assert_eq!(std::fs::read_to_string(&path).unwrap(), text);

    std::fs::write(&path, text.replace("CHANGE_ME", "us-east-1")).unwrap();
    let shown = run(&["config", "show", "-c", &name]);
    assert_eq!(shown.status.code(), Some(0), "{}", err(&shown));
    assert_eq!(err(&shown), "", "no warnings");
}

#[test]
fn expand_prints_prefixes_oldest_first() {
    let output =
        run(&["expand", "a/{YYYY}/{mm}/{dd}", "--from", "2024-02-28T12:00:00Z", "--to", "2024-03-01"]);
    assert_eq!(output.status.code(), Some(0), "{}", err(&output));
    assert_eq!(out(&output), "a/2024/02/28\na/2024/02/29\na/2024/03/01\n");
    let output =
        run(&["expand", "AWSLogs/*/CloudTrail/us-east-1", "--log-type", "cloudtrail", "--at", "2024-02-29"]);
    assert_eq!(out(&output), "AWSLogs/*/CloudTrail/us-east-1/2024/02/29\n");
    assert!(err(&output).contains("{YYYY}/{mm}/{dd}"), "the completed pattern is shown: {}", err(&output));
    let output = run(&["expand", "plain", "--output", "json"]);
    let json: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(json["prefixes"], serde_json::json!(["plain"]));
}

#[test]
fn a_reader_that_stops_early_is_no_error() {
    let mut child = s3sweep()
        .args(["expand", "{YYYY}/{mm}/{dd}/{HH}/{MM}", "--from", "2000-01-01", "--to", "2001-01-01"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    drop(child.stdout.take());
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", err(&output));
    assert_eq!(err(&output), "");
}

#[test]
fn warnings_are_log_lines_on_stderr() {
    let folder = tempfile::tempdir().unwrap();
    let path = configuration(folder.path(), "timezone = \"Europe/Berlin\"");
    let json = run(&["config", "show", "-c", &path, "--log-format", "json"]);
    let line: serde_json::Value = serde_json::from_str(err(&json).trim()).unwrap();
    assert_eq!(line["level"], "WARN");
    assert!(line["message"].as_str().is_some_and(|text| text.contains("Europe/Berlin")), "{line}");
    assert_eq!(err(&run(&["config", "show", "-c", &path, "-q"])), "");
    let bad =
        s3sweep().args(["config", "show", "-c", &path]).env("RUST_LOG", "s3sweep=loud").output().unwrap();
    assert_eq!(bad.status.code(), Some(2));
}

#[test]
fn log_lines_go_to_a_file_that_is_kept_small() {
    let folder = tempfile::tempdir().unwrap();
    let path = configuration(folder.path(), "");
    let log = folder.path().join("log").display().to_string();
    let quiet = |more: &[&str]| {
        // the mirror is not there, which is a warning in each sweep
        let args = [&["once", "-c", &path, "--log-file", &log, "--log-format", "json"], more].concat();
        let output = run(&args);
        assert_eq!((output.status.code(), err(&output).as_str()), (Some(3), ""), "{more:?}");
    };
    quiet(&[]);
    let text = std::fs::read_to_string(&log).unwrap();
    assert!(text.lines().count() >= 1, "{text}");
    for line in text.lines() {
        let event: serde_json::Value = serde_json::from_str(line).unwrap();
        assert!(event["level"].is_string() && event["timestamp"].is_string(), "{line}");
    }
    for _ in 0..20 {
        quiet(&["--log-rotate-size", "1KiB", "--log-keep", "2"]);
    }
    let mut names: Vec<_> = std::fs::read_dir(folder.path())
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter(|name| name.starts_with("log"))
        .collect();
    names.sort();
    assert_eq!(names, ["log", "log.1", "log.2"]);
    assert!(names.iter().all(|name| folder.path().join(name).metadata().unwrap().len() <= 1024));

    for (option, value, want) in [
        ("--log-file", "/nowhere/log", "--log-file /nowhere/log"),
        ("--log-rotate-size", "1B", "at least 1KiB"),
        ("--log-rotate-every", "1S", "at least 1M"),
        ("--log-keep", "1001", "1000"),
    ] {
        let output = run(&["status", "-c", &path, option, value]);
        assert_eq!(output.status.code(), Some(2), "{option}");
        assert!(err(&output).contains(want), "{option}: {}", err(&output));
    }
}

#[test]
fn what_ends_the_process_is_in_the_log() {
    let folder = tempfile::tempdir().unwrap();
    let none = folder.path().join("none.toml").display().to_string();
    let mistaken = configuration(folder.path(), "lag_type = 1\ntimezon = 2");
    let log = folder.path().join("log").display().to_string();
    let last = |lines: &str| -> serde_json::Value {
        let lines: Vec<_> = lines
            .lines()
            .map(|line| serde_json::from_str(line).unwrap_or_else(|_| panic!("{line}")))
            .collect();
        lines.last().cloned().unwrap_or_else(|| panic!("no line"))
    };
    for (path, details) in [(&none, &["none.toml"][..]), (&mistaken, &["lag_type", "timezon", "line "])] {
        let json = run(&["run", "--log-format", "json", "-c", path]);
        assert_eq!(json.status.code(), Some(2), "{}", err(&json));
        let line = last(&err(&json));
        assert_eq!((&line["level"], &line["exit_code"]), (&"ERROR".into(), &2.into()), "{line}");
        let message = line["message"].as_str().unwrap().to_owned();
        assert!(details.iter().all(|detail| message.contains(detail)), "{message}");

        // for people it is plain, whether the log is a file or not
        let plain = format!("error: {message}\n");
        assert_eq!(err(&run(&["run", "-c", path])), plain);
        for format in ["text", "json"] {
            let output = run(&["run", "--log-format", format, "--log-file", &log, "-c", path]);
            assert_eq!((output.status.code(), err(&output)), (Some(2), plain.clone()), "{format}");
            let logged = std::fs::read_to_string(&log).unwrap();
            std::fs::remove_file(&log).unwrap();
            match format {
                "json" => assert_eq!(last(&logged)["message"], message),
                _ => assert!(logged.contains(" ERROR ") && logged.contains(&message), "{logged}"),
            }
        }
        let mut filtered = s3sweep();
        filtered.args(["run", "--log-format", "json", "-c", path]).env("RUST_LOG", "off");
        assert_eq!(err(&filtered.output().unwrap()), plain, "it is never lost");
    }
}
