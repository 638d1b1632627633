//! Text to [`Config`], checked and complete; the only reader of configuration and environment.
//!
//! ```text
//! texts → tree (known keys, [defaults] merged) → raw (what was typed) → secret → check → Config
//! ```
//!
//! Either everything is right and every setting has a value, or the error tells file, line,
//! column and setting of each mistake. Secrets are in no error and no `Debug`.

mod access;
mod check;
mod error;
mod file_pattern;
mod files;
mod filter;
mod forms;
mod http;
mod model;
mod names;
mod overlap;
mod proxy;
mod raw;
mod render;
mod schema;
mod secret;
mod source;
mod table;
mod texts;
mod tree;
mod units;

use std::path::PathBuf;

use error::{Problem, hint};
use texts::Texts;

pub(crate) use access::endpoint_flaw;
pub use error::{ConfigError, Mistake, Place};
pub use file_pattern::FilePattern;
pub use model::*;
pub use schema::schema;
pub use secret::{Reader, SecretError, create_identity, encrypt_secret};
pub use units::{parse_duration, parse_instant, parse_size};

/// Loads the named files and folders (each `*.toml` in them) as one configuration; without names
/// the first of `$S3SWEEP_CONFIG`, `./s3sweep.toml`, `/etc/s3sweep/s3sweep.toml` that is there.
///
/// Reads the environment variables and files that secrets name; touches nothing else.
pub fn load(named: &[PathBuf]) -> Result<Config, ConfigError> {
    from_texts(&Texts::read(named)?)
}

/// Loads a configuration from a text; `path` stands in messages, and relative paths are taken
/// from its folder.
pub fn parse(path: PathBuf, text: &str) -> Result<Config, ConfigError> {
    let mut texts = Texts::default();
    texts.add(path, text.to_owned());
    from_texts(&texts)
}

fn from_texts(texts: &Texts) -> Result<Config, ConfigError> {
    let read = tree::read(texts).and_then(|mut raw| {
        let exposed = secret::open_secrets(&mut raw, texts)?;
        let mut config = check::check(&raw, texts)?;
        config.warnings.extend(exposed);
        Ok(config)
    });
    read.map_err(|problems| ConfigError::Wrong(mistakes(problems, texts)))
}

/// The mistakes in the order of the files. One in `[defaults]` shows in every source that takes
/// it, and is told once.
fn mistakes(mut problems: Vec<Problem>, texts: &Texts) -> Vec<Mistake> {
    problems.sort_by_key(|problem| problem.at.start);
    problems.dedup_by(|b, a| a.at == b.at && a.reason == b.reason);
    problems
        .into_iter()
        .map(|problem| Mistake {
            place: texts.place(problem.at.start),
            setting: problem.setting,
            reason: problem.reason,
        })
        .collect()
}

impl Config {
    /// Keeps only the named sources, in the order of the files; no names keep all.
    pub fn select(&mut self, names: &[String]) -> Result<(), ConfigError> {
        for name in names {
            if !self.sources.iter().any(|source| source.name == *name) {
                let known: Vec<&str> = self.sources.iter().map(|source| source.name.as_str()).collect();
                return Err(ConfigError::UnknownSource {
                    name: name.clone(),
                    hint: hint(name, known.iter().copied()),
                    known: known.join(", "),
                });
            }
        }
        if !names.is_empty() {
            self.sources.retain(|source| names.contains(&source.name));
        }
        Ok(())
    }
}

/// A variable of the environment; `None` when it is not set or not UTF-8.
#[allow(clippy::disallowed_methods, reason = "the one place that reads the environment")]
pub(crate) fn environment(name: &str) -> Option<String> {
    // the standard library panics on names that no variable can have
    if name.is_empty() || name.contains(['=', '\0']) {
        return None;
    }
    std::env::var(name).ok()
}

/// The name of this machine, or `localhost` where it has none.
fn host_name() -> String {
    let name = rustix::system::uname().nodename().to_string_lossy().into_owned();
    if name.is_empty() { "localhost".to_owned() } else { name }
}
