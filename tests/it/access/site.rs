//! The binary in a folder of its own, with nothing of our environment.

use std::path::PathBuf;
use std::process::{Command, Stdio};

/// A folder with a configuration of one source.
pub struct Site {
    folder: tempfile::TempDir,
}

/// What a run of the binary came to.
pub struct Ran {
    pub code: Option<i32>,
    /// stdout.
    pub out: String,
    /// Both streams.
    pub all: String,
}

impl Site {
    /// A source of the bucket `acme` at `endpoint`, with more settings.
    pub fn new(endpoint: &str, settings: &str) -> Self {
        let site = Site { folder: tempfile::tempdir().unwrap() };
        let text = format!(
            "state_dir = \"state\"\nsink = {{ path = \"out\" }}\n[[source]]\nname = \"main\"\nlog_type = \"jsonl\"\n\
             bucket = \"acme\"\nprefix = \"logs\"\nstart = \"all\"\ntimestamp_field = \"t\"\nregion = \"us-east-1\"\n\
             endpoint_url = \"{endpoint}\"\npath_style = true\n{settings}\n"
        );
        site.file("s3sweep.toml", &text);
        site
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub fn file(&self, name: &str, text: &str) -> String {
        let path = self.path(name);
        std::fs::write(&path, text).unwrap();
        path.display().to_string()
    }

    /// Runs the binary with nothing of our environment but `env`.
    pub fn run(&self, args: &[&str], env: &[(&str, &str)]) -> Ran {
        let mut command = Command::new(env!("CARGO_BIN_EXE_s3sweep"));
        command.args(args).arg("-c").arg(self.path("s3sweep.toml"));
        command.env_clear().current_dir(self.folder.path()).stdin(Stdio::null());
        command.envs(env.iter().copied());
        let output = command.output().expect("the binary is built with the tests");
        let out = String::from_utf8_lossy(&output.stdout).into_owned();
        let all = out.clone() + &String::from_utf8_lossy(&output.stderr);
        Ran { code: output.status.code(), out, all }
    }

    /// All bytes of the files below the site but for those that hold secrets by their purpose.
    pub fn left(&self, but: &[&str]) -> Vec<u8> {
        let (mut folders, mut bytes) = (vec![self.folder.path().to_owned()], Vec::new());
        while let Some(folder) = folders.pop() {
            for entry in std::fs::read_dir(folder).unwrap() {
                let path = entry.unwrap().path();
                match path.is_dir() {
                    true => folders.push(path),
                    false if but.iter().any(|name| path.ends_with(name)) => {}
                    false => bytes.extend(std::fs::read(path).unwrap()),
                }
            }
        }
        bytes
    }
}
