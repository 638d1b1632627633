//! On a terminal the commands that take long tell how far they are; elsewhere they do not.

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use s3sweep::testing::S3Server;

use crate::needs::Need;
use crate::world::{at, trail_body, trail_key};

const BUCKET: &str = "acme-trail";

/// A server that takes its time, and a configuration for it.
async fn slow_source(folder: &Path) -> S3Server {
    let server = S3Server::start([BUCKET]).await.unwrap();
    for number in 0..3 {
        let key = trail_key(0, at("2026-06-01T01:00:00Z"), number);
        server.put(BUCKET, key.clone(), trail_body(&[key]), at("2026-06-01T01:00:00Z"));
    }
    server.set_delay(Duration::from_millis(500));
    let text = format!(
        "state_dir = \"state\"\n[sink]\npath = \"out\"\n[[source]]\nname = \"main\"\nlog_type = \"cloudtrail\"\n\
         bucket = \"{BUCKET}\"\nprefix = \"AWSLogs/*/CloudTrail/us-east-1\"\nfile_pattern = \".*\"\nstart = \"2026-06-01\"\n\
         region = \"us-east-1\"\nendpoint_url = \"{}\"\npath_style = true\n[source.credentials]\naccess_key_id = \"{}\"\n\
         secret_access_key = \"{}\"\n",
        server.endpoint_url(),
        server.access_key_id(),
        server.secret_access_key()
    );
    std::fs::write(folder.join("s3sweep.toml"), text).unwrap();
    server
}

/// What a terminal shows of a command line; `None` where there is none to be had.
async fn on_terminal(folder: &Path, line: &str) -> Option<String> {
    let mut command = Command::new("script");
    let line = format!("{} {line}", env!("CARGO_BIN_EXE_s3sweep"));
    command.args(["-q", "-e", "-c", &line, "/dev/null"]).current_dir(folder);
    command.env("TERM", "xterm").env_remove("RUST_LOG").stdin(Stdio::null());
    let ran = tokio::task::spawn_blocking(move || command.output()).await.unwrap();
    match ran {
        Ok(output) => {
            let shown = String::from_utf8_lossy(&output.stdout).into_owned();
            assert!(output.status.success(), "{line}: {shown}");
            Some(shown)
        }
        Err(error) => {
            Need::Script.is_missing(format!("script does not start: {error}"));
            None
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn progress_is_shown_on_a_terminal_and_nowhere_else() {
    const NOW: &str = "--now 2026-06-01T12:00:00Z";
    const SPAN: &str = "--from 2026-06-01 --to 2026-06-02";
    let folder = tempfile::tempdir().unwrap();
    let _server = slow_source(folder.path()).await;
    for (line, want) in [
        (format!("preview {NOW} > data"), Some("main: 2 LIST, 0 GET")),
        (format!("preview {NOW}"), None), // the data has the terminal
        (format!("preview {NOW} -q > data"), None),
        (format!("once {NOW} --log-format json"), None),
        (format!("audit {SPAN} > data"), Some("1 LIST")),
    ] {
        let Some(shown) = on_terminal(folder.path(), &line).await else { return };
        let is_told = shown.contains("main: 1 LIST") || shown.contains("main: 2 LIST");
        assert_eq!(is_told, want.is_some(), "{line}: {shown:?}");
        assert!(want.is_none_or(|want| shown.contains(want)), "{line}: {shown:?}");
    }
    std::fs::remove_dir_all(folder.path().join("state")).unwrap();
    std::fs::remove_dir_all(folder.path().join("out")).unwrap();
    let Some(shown) = on_terminal(folder.path(), &format!("once {NOW}")).await else { return };
    for want in ["main: 1 LIST, 0 GET", "3 objects listed", "swept", "3 records from 3 objects"] {
        assert!(shown.contains(want), "no {want:?} in {shown:?}");
    }
    // the log line has a line of its own
    let swept = shown.split(['\n', '\r']).find(|line| line.contains("swept")).unwrap();
    assert!(!swept.contains("main: "), "{swept:?}");
}
