//! Servers that others wrote, by `.ci/servers`. They end with the tests, however these end: the
//! script sees its stdin close.

use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Child, ChildStdin, Command, Stdio};

use crate::needs::Need;

/// A server that answers.
pub struct Foreign {
    /// What a test must know of it.
    pub facts: Vec<String>,
    child: Child,
    stdin: Option<ChildStdin>,
}

impl Foreign {
    /// Starts a server; `None`, having said so, where it is not installed or does not start.
    pub fn start(need: Need, args: &[&str]) -> Option<Self> {
        let mut child = Command::new("bash")
            .arg(Path::new(env!("CARGO_MANIFEST_DIR")).join(".ci/servers"))
            .args(args)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("bash is there");
        let stdin = child.stdin.take();
        let mut line = String::new();
        let mut stdout = BufReader::new(child.stdout.take().expect("it is piped"));
        stdout.read_line(&mut line).expect("the script writes text");
        let (word, rest) = line.trim().split_once(' ').unwrap_or_default();
        let facts = rest.split(' ').map(str::to_owned).collect();
        let server = Foreign { facts, child, stdin };
        if word == "ready" {
            return Some(server);
        }
        need.is_missing(match word {
            "missing" => rest.to_owned(),
            _ => format!("`.ci/servers {}` failed", args.join(" ")),
        });
        None
    }

    /// Where it listens.
    pub fn url(&self) -> &str {
        &self.facts[0]
    }
}

impl Drop for Foreign {
    fn drop(&mut self) {
        drop(self.stdin.take());
        // that it ended is all that matters
        let _ = self.child.wait();
    }
}
