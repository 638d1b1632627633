//! `docs/delivery.md` names a test under each promise: each of them is there, and is a test.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

const PAGE: &str = include_str!("../../docs/delivery.md");

/// The settings: names in backquotes that are no tests.
const SETTINGS: &str = include_str!("../../src/config/raw.rs");

/// The tests that a page names, each with its file: in backquotes, the file, a colon, then its
/// tests, with commas between them. Backquoted names that stand elsewhere come second.
fn named(page: &str) -> (Vec<(&str, &str)>, Vec<&str>) {
    let (mut tests, mut others) = (Vec::new(), Vec::new());
    let mut file = None;
    let pieces: Vec<_> = page.split('`').collect();
    for (at, word) in pieces.iter().copied().enumerate().skip(1).step_by(2) {
        let separator = pieces[at - 1].trim();
        if word.ends_with(".rs") {
            file = Some((word, ":"));
            continue;
        }
        // a run of tests ends at the first word between two names
        file = file.filter(|(_, before)| separator == *before).map(|(file, _)| (file, ","));
        match file {
            Some((file, _)) => tests.push((file, word)),
            None if is_name(word) => others.push(word),
            None => {}
        }
    }
    (tests, others)
}

fn is_name(word: &str) -> bool {
    word.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_' || byte.is_ascii_digit())
        && word.trim_start_matches('_').contains('_')
}

/// Whether `source` has a test of this name: a function right below its test attribute, or one
/// in `proptest!`.
fn has_test(source: &str, name: &str) -> bool {
    let lines: Vec<_> = source.lines().map(str::trim).collect();
    let is_function = |line: &str| {
        let function = line.strip_prefix("async ").unwrap_or(line).strip_prefix("fn ");
        function.and_then(|rest| rest.strip_prefix(name)).is_some_and(|rest| rest.starts_with('('))
    };
    lines.iter().enumerate().any(|(at, line)| {
        let above = lines[..at].iter().rev().take_while(|line| line.starts_with("#["));
        is_function(line)
            && above.into_iter().any(|line| line.starts_with("#[test]") || line.starts_with("#[tokio::test"))
    })
}

#[test]
fn every_test_that_the_page_names_is_there() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let (named, _) = named(PAGE);
    let missing: Vec<_> = named
        .iter()
        .filter(|(file, name)| {
            !fs::read_to_string(root.join(file)).is_ok_and(|source| has_test(&source, name))
        })
        .map(|(file, name)| format!("docs/delivery.md names {name} in {file}, where no such test is"))
        .collect();
    assert!(missing.is_empty(), "{}", missing.join("\n"));
    assert!(named.iter().collect::<BTreeSet<_>>().len() > 50, "the page names {} tests", named.len());
}

/// A test that is named where [`named`] does not see it would never be looked for.
#[test]
fn every_other_name_on_the_page_is_a_setting() {
    for name in named(PAGE).1 {
        assert!(
            SETTINGS.contains(&format!("pub {name}:")),
            "{name} is no setting; name a test behind its file"
        );
    }
}

#[test]
fn every_promise_names_a_test() {
    let (promises, _) =
        PAGE.split_once("## What is not promised").expect("the page says what is not promised");
    for promise in promises.split("\n- ").skip(1) {
        let promise = promise.split("\n\n").next().unwrap_or_default();
        assert!(!named(promise).0.is_empty(), "no test stands below: {promise}");
    }
    for row in promises.lines().filter(|line| line.starts_with("| ") && !line.starts_with("| class")) {
        assert!(!named(row).0.is_empty(), "no test stands beside: {row}");
    }
}

#[test]
fn tests_are_told_from_other_functions() {
    let source = "#[test]\nfn a_b_c() {}\n\n#[tokio::test(start_paused = true)]\n#[cfg(unix)]\nasync fn d_e_f() {}\nfn g_h_i() {}\n";
    for (name, want) in [("a_b_c", true), ("d_e_f", true), ("g_h_i", false), ("a_b", false), ("x_y_z", false)]
    {
        assert_eq!(has_test(source, name), want, "{name}");
    }
    let page = "`max_attempts` and `a_b_c`. `x.rs`: `d_e_f`, `g`,\n  `g_h`; `min_free`; `y.rs`:\n`h_i`, and `j_k`, `l_m`";
    let tests = vec![("x.rs", "d_e_f"), ("x.rs", "g"), ("x.rs", "g_h"), ("y.rs", "h_i")];
    assert_eq!(named(page), (tests, vec!["max_attempts", "a_b_c", "min_free", "j_k", "l_m"]));
}
