//! The quickstart does what it says, says what README shows, and notices when it does not.

#[allow(dead_code, reason = "its main is not called here")]
#[path = "../../examples/quickstart.rs"]
mod example;

use std::path::{Path, PathBuf};

const README: &str = include_str!("../../README.md");

fn fixtures() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures")
}

async fn show(fixtures: &Path) -> (anyhow::Result<()>, String) {
    let mut out = Vec::new();
    let ended = example::show(fixtures, &mut out).await;
    (ended, String::from_utf8(out).unwrap())
}

/// Whether `line` is `shown`, in which `…` stands for any text.
fn matches(line: &str, shown: &str) -> bool {
    let mut parts = shown.split('…');
    let Some(mut rest) = line.strip_prefix(parts.next().unwrap_or_default()) else { return false };
    for part in parts {
        match (part, rest.find(part)) {
            ("", _) => return true,
            (_, Some(at)) => rest = &rest[at + part.len()..],
            (_, None) => return false,
        }
    }
    rest.is_empty()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_prints_what_readme_shows() {
    let (ended, out) = show(&fixtures()).await;
    ended.unwrap();
    let block = README.split("\n```text\n").nth(1).and_then(|rest| rest.split("\n```").next());
    let block = block.expect("README has a block of text with the output");
    assert!(block.lines().count() > 10, "README shows next to nothing");
    let mut lines = out.lines();
    for shown in block.lines().filter(|shown| shown.trim() != "…") {
        assert!(
            lines.any(|line| matches(line, shown)),
            "README shows {shown:?}, which is not in order in:\n{out}"
        );
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_fails_where_the_manifest_says_something_else() {
    let folder = tempfile::tempdir().unwrap();
    for part in ["bucket", "late"] {
        std::os::unix::fs::symlink(fixtures().join(part), folder.path().join(part)).unwrap();
    }
    let manifest = std::fs::read_to_string(fixtures().join("manifest.json")).unwrap();
    let cases = [
        ("a record more in one object", "\"records\": 10,", "\"records\": 11,", "at noon of the first day"),
        ("not late", "\"late\": true,", "\"late\": false,", "when the first day closes"),
        ("not empty", "\"outcome\": \"empty\",", "\"outcome\": \"collected\",", "at noon of the first day"),
        (
            "a file that is not there",
            "_aT9fLs2HdPe8uGcJ.json.gz\",\n   \"last",
            "x.gz\",\n   \"last",
            "fixture",
        ),
    ];
    for (case, from, to, fragment) in cases {
        assert!(manifest.contains(from), "{case}: the manifest has no {from}");
        std::fs::write(folder.path().join("manifest.json"), manifest.replacen(from, to, 1)).unwrap();
        let (ended, out) = show(folder.path()).await;
        let error = ended.expect_err(case).to_string();
        assert!(error.contains(fragment), "{case}: {error}");
        assert!(!out.contains("All as"), "{case}: {out}");
    }
    // the same sums, of other objects
    let swapped = manifest.replacen("\"records\": 10,", "\"records\": 11,", 1);
    let swapped = swapped.replacen("\"records\": 8,", "\"records\": 7,", 1);
    std::fs::write(folder.path().join("manifest.json"), swapped).unwrap();
    let error = show(folder.path()).await.0.expect_err("records of another object").to_string();
    assert!(error.contains("by key"), "{error}");
}
