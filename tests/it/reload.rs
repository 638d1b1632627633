//! A daemon whose configuration changes while it runs, and what the service manager hears of it.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::os::unix::net::UnixDatagram;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

/// Something hangs if it takes longer.
const PATIENCE: Duration = Duration::from_secs(60);

/// A daemon over local directories, and the socket of its service manager.
struct Daemon {
    folder: tempfile::TempDir,
    manager: UnixDatagram,
    child: Option<Child>,
}

impl Drop for Daemon {
    fn drop(&mut self) {
        if let Some(child) = &mut self.child {
            // it may have ended already
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

impl Daemon {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let manager = UnixDatagram::bind(folder.path().join("notify")).unwrap();
        manager.set_read_timeout(Some(PATIENCE)).unwrap();
        Daemon { folder, manager, child: None }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// The configuration: a source for each name, with more lines for its table.
    fn configure(&self, sink: &str, sources: &[(&str, &str)]) {
        let root = self.folder.path().display();
        let tables: String = sources
            .iter()
            .map(|(name, more)| {
                format!(
                    "[[source]]\nname = \"{name}\"\nbucket = \"file://{root}/{name}\"\n\
                     log_type = \"jsonl\"\ntimestamp_field = \"at\"\nprefix = \"/\"\nstart = \"all\"\n{more}\n"
                )
            })
            .collect();
        let text = format!(
            "state_dir = \"{root}/state\"\n[sink]\npath = \"{root}/{sink}\"\nencoder = \"raw\"\n\
             rotate_every = \"1S\"\n{tables}"
        );
        fs::write(self.path("s3sweep.toml"), text).unwrap();
    }

    /// An object of one record in a source's directory.
    fn put(&self, source: &str, id: &str) {
        fs::create_dir_all(self.path(source)).unwrap();
        let line = format!("{{\"id\":\"{id}\",\"at\":\"2026-06-01T00:00:00Z\"}}\n");
        fs::write(self.path(source).join(id), line).unwrap();
    }

    fn start(&mut self) {
        let mut command = Command::new(env!("CARGO_BIN_EXE_s3sweep"));
        command.args(["run", "-c"]).arg(self.path("s3sweep.toml")).env_clear();
        command.env("NOTIFY_SOCKET", self.path("notify")).env("WATCHDOG_USEC", "3600000000");
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(File::create(self.path("log")).unwrap());
        self.child = Some(command.spawn().unwrap());
    }

    fn signal(&self, name: &str) {
        let kill = format!("kill -{name} {}", self.child.as_ref().unwrap().id());
        assert!(Command::new("/bin/sh").args(["-c", &kill]).status().unwrap().success());
    }

    /// What the service manager hears next, but for signs of life.
    fn heard(&self) -> String {
        loop {
            let mut buffer = [0; 200];
            let length =
                self.manager.recv(&mut buffer).unwrap_or_else(|error| panic!("{error}: {}", self.log()));
            let text = String::from_utf8_lossy(&buffer[..length]).into_owned();
            if text != "WATCHDOG=1" {
                return text;
            }
        }
    }

    /// Has the configuration read anew, and waits until that is done.
    fn reload(&self) {
        self.signal("HUP");
        assert!(self.heard().starts_with("RELOADING=1\nMONOTONIC_USEC="));
        assert!(self.heard().starts_with("READY=1\n"));
    }

    fn log(&self) -> String {
        fs::read_to_string(self.path("log")).unwrap()
    }

    /// How often each record stands in the sink.
    fn delivered(&self) -> BTreeMap<String, u64> {
        let mut ids = BTreeMap::new();
        for item in fs::read_dir(self.path("out")).into_iter().flatten() {
            let path = item.unwrap().path();
            if path.extension().is_some_and(|ending| ending == "ndjson") {
                for line in fs::read_to_string(path).unwrap().lines() {
                    let record: serde_json::Value = serde_json::from_str(line).unwrap();
                    *ids.entry(record["id"].as_str().unwrap().to_owned()).or_default() += 1;
                }
            }
        }
        ids
    }

    async fn until_delivered(&self, ids: &[&str]) {
        let want: BTreeMap<_, _> = ids.iter().map(|id| ((*id).to_owned(), 1)).collect();
        let arrived = async {
            while self.delivered() != want {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        let arrived = tokio::time::timeout(PATIENCE, arrived).await;
        assert!(arrived.is_ok(), "want {want:?}, have {:?}: {}", self.delivered(), self.log());
    }
}

#[tokio::test]
async fn a_configuration_is_reloaded_whole_or_not_at_all() {
    let mut daemon = Daemon::new();
    daemon.configure("out", &[("one", "recurrence = \"1H\"")]);
    daemon.put("one", "a");
    daemon.start();
    assert_eq!(daemon.heard(), "READY=1\nSTATUS=sweeping 1 source");
    daemon.until_delivered(&["a"]).await;

    // a mistake, anywhere: the source that was added beside it is not swept
    daemon.put("two", "b");
    daemon.configure("out", &[("one", "recurrence = \"5X\""), ("two", "")]);
    daemon.reload();
    let log = daemon.log();
    assert!(
        log.contains("the configuration is not reloaded") && log.contains("s3sweep.toml, line 13"),
        "{log}"
    );
    assert!(log.contains("source.one.recurrence"), "{log}");

    // one source goes, another comes and is swept at once; the sink stays where it is
    daemon.put("one", "c");
    daemon.configure("elsewhere", &[("two", "recurrence = \"1H\"")]);
    daemon.reload();
    daemon.until_delivered(&["a", "b"]).await;
    let log = daemon.log();
    assert!(log.contains("need a restart") && log.contains("[\"sink.path\"]"), "{log}");
    assert!(!daemon.path("elsewhere").exists());

    // it comes back, and what stays is swept anew for its new settings
    daemon.put("two", "d");
    daemon.configure("out", &[("one", ""), ("two", "recurrence = \"2H\"")]);
    daemon.reload();
    daemon.until_delivered(&["a", "b", "c", "d"]).await;

    daemon.signal("TERM");
    assert!(daemon.heard().starts_with("STOPPING=1"));
    assert_eq!(daemon.child.as_mut().unwrap().wait().unwrap().code(), Some(0), "{}", daemon.log());
    daemon.until_delivered(&["a", "b", "c", "d"]).await;
}
