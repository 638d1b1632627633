//! The sources that an instance sweeps, and what a new configuration makes of them.
//!
//! A reload takes effect between sweeps: who sweeps a source looks here before each of them. Of one
//! name there is one turn, whatever its settings, so that nothing of it ever overlaps. What state,
//! sink and limits are made of stays as it was at the start.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::watch;

use super::Source;
use super::turn::Turn;
use crate::config::Config;

/// The configuration in effect and its enabled sources.
pub struct Roster {
    current: watch::Sender<Current>,
    /// Of each source that is swept, or was and is still held or under way.
    turns: Mutex<BTreeMap<String, Turn>>,
}

#[derive(Clone)]
struct Current {
    config: Arc<Config>,
    sources: Vec<Arc<Source>>,
}

/// What a new configuration changes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Changes {
    /// Sources that are swept from now on.
    pub added: Vec<String>,
    /// Sources with other settings.
    pub changed: Vec<String>,
    /// Sources that are not swept any more.
    pub removed: Vec<String>,
}

impl Roster {
    /// Begins with `sources`, the enabled ones of `config`.
    pub fn new(config: Config, sources: Vec<Source>) -> Self {
        let roster = Roster {
            current: watch::Sender::new(Current { config: Arc::new(config.clone()), sources: Vec::new() }),
            turns: Mutex::default(),
        };
        roster.replace(config, sources);
        roster
    }

    /// What of `new` can take effect now, and the settings that need a restart.
    pub fn take_over(&self, new: Config) -> (Config, Vec<String>) {
        let current = self.config();
        let apart = current.settings_apart(&new);
        (
            Config { files: new.files, sources: new.sources, warnings: new.warnings, ..(*current).clone() },
            apart,
        )
    }

    /// Takes a configuration of [`Roster::take_over`] with its enabled sources. Those whose settings
    /// are the same stay as they are, with their connections.
    pub fn replace(&self, config: Config, sources: Vec<Source>) -> Changes {
        let mut changes = Changes::default();
        let mut turns = self.turns.lock().unwrap_or_else(PoisonError::into_inner);
        self.current.send_modify(|current| {
            let before = std::mem::take(&mut current.sources);
            let find = |name: &str| before.iter().find(|source| source.config.name == name);
            let mut settle = |mut source: Source| {
                let name = source.config.name.clone();
                match find(&name) {
                    Some(known) if known.config.means_the_same(&source.config) => return known.clone(),
                    Some(_) => changes.changed.push(name.clone()),
                    None => changes.added.push(name.clone()),
                }
                source.turn = turns.entry(name).or_insert_with(|| source.turn.clone()).clone();
                Arc::new(source)
            };
            current.sources = sources.into_iter().map(&mut settle).collect();
            let stays = |name: &str| current.sources.iter().any(|source| source.config.name == name);
            let gone = before.iter().map(|source| &source.config.name).filter(|name| !stays(name));
            changes.removed.extend(gone.cloned());
            current.config = Arc::new(config);
        });
        turns.retain(|_, turn| turn.is_shared());
        changes
    }

    /// The configuration in effect.
    pub fn config(&self) -> Arc<Config> {
        self.current.borrow().config.clone()
    }

    /// The sources to be swept.
    pub fn sources(&self) -> Vec<Arc<Source>> {
        self.current.borrow().sources.clone()
    }

    /// The source of this name, while it is to be swept.
    pub fn source(&self, name: &str) -> Option<Arc<Source>> {
        self.current.borrow().sources.iter().find(|source| source.config.name == name).cloned()
    }

    /// Tells of each [`Roster::replace`] from now on.
    pub(super) fn news(&self) -> News {
        News(self.current.subscribe())
    }
}

/// Whether the roster changed.
pub(super) struct News(watch::Receiver<Current>);

impl News {
    /// Waits for the next change.
    pub async fn wait(&mut self) {
        if self.0.changed().await.is_err() {
            std::future::pending().await // the roster has gone, and changes no more
        }
    }
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;
    use crate::config;

    fn parsed(sources: &[(&str, &str)], top: &str) -> Config {
        let tables: String = sources
            .iter()
            .map(|(name, settings)| {
                format!(
                    "[[source]]\nname = \"{name}\"\nlog_type = \"cloudtrail\"\nbucket = \"acme-trail\"\n\
                     prefix = \"logs\"\n{settings}\n"
                )
            })
            .collect();
        let text = format!("state_dir = \"/nowhere\"\n{top}\n[sink]\ntype = \"stdout\"\n{tables}");
        config::parse(PathBuf::from("s3sweep.toml"), &text).expect("a configuration of this test is valid")
    }

    fn made(config: &Config) -> Vec<Source> {
        let enabled = config.sources.iter().filter(|source| source.enabled);
        enabled.map(|source| Source::new(source, config).expect("its encoder takes the settings")).collect()
    }

    fn roster(config: Config) -> Roster {
        let sources = made(&config);
        Roster::new(config, sources)
    }

    fn reload(roster: &Roster, new: Config) -> (Changes, Vec<String>) {
        let (config, apart) = roster.take_over(new);
        let sources = made(&config);
        (roster.replace(config, sources), apart)
    }

    #[test]
    fn changes_are_told_by_name() {
        let secret = "[source.credentials]\naccess_key_id = \"A\"\nsecret_access_key = \"one\"";
        let other = "[source.credentials]\naccess_key_id = \"A\"\nsecret_access_key = \"two\"";
        let before = [("same", ""), ("other", ""), ("secret", secret), ("gone", ""), ("off", "")];
        let roster = roster(parsed(&before, ""));
        let same = roster.source("same").expect("it is configured");
        let after = [
            ("same", ""),
            ("other", "recurrence = \"1M\""),
            ("secret", other),
            ("off", "enabled = false"),
            ("new", ""),
        ];
        let (changes, apart) = reload(&roster, parsed(&after, ""));
        assert_eq!(changes.added, ["new"]);
        assert_eq!(changes.changed, ["other", "secret"]);
        assert_eq!(changes.removed, ["gone", "off"]);
        assert!(apart.is_empty(), "{apart:?}");
        assert!(Arc::ptr_eq(&same, &roster.source("same").expect("it is configured still")));
        assert_eq!(roster.sources().len(), 4);
        assert_eq!(roster.config().sources.len(), 5);
    }

    #[test]
    fn what_needs_a_restart_is_named_and_left() {
        let roster = roster(parsed(&[("main", "")], "close_spread = \"1M\""));
        let new = "close_spread = \"2M\"\ninstance = \"other\"\n[limits]\nget_concurrency = 1";
        let (changes, apart) = reload(&roster, parsed(&[("main", "")], new));
        assert_eq!(changes, Changes::default());
        assert_eq!(apart, ["close_spread", "instance", "limits.get_concurrency"]);
        assert_eq!(roster.config().limits.get_concurrency, 16);
    }

    #[tokio::test]
    async fn a_source_that_comes_back_has_the_turn_of_before_while_it_is_held() {
        let roster = roster(parsed(&[("main", "")], ""));
        let before = roster.source("main").expect("it is configured");
        reload(&roster, parsed(&[("side", "")], ""));
        assert!(roster.source("main").is_none());
        reload(&roster, parsed(&[("main", "")], ""));
        let after = roster.source("main").expect("it is configured again");
        assert!(!Arc::ptr_eq(&before, &after));
        let held = before.turn.hold().await;
        assert!(futures_util::poll!(std::pin::pin!(after.turn.hold())).is_pending(), "one turn");
        drop((before, after));
        reload(&roster, parsed(&[("side", "")], ""));
        assert_eq!(roster.turns.lock().expect("nobody panics with it").len(), 2, "it is held");
        drop(held);
        reload(&roster, parsed(&[("side", "recurrence = \"1H\"")], ""));
        assert_eq!(roster.turns.lock().expect("nobody panics with it").len(), 1, "turns do not pile up");
    }
}
