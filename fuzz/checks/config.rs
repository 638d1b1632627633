//! Any text as a configuration.

use std::path::PathBuf;

use s3sweep::config::{self, Config, ConfigError, Credentials, Secret};

/// In no text of a target's own, so that wherever it shows, a secret shows.
const HIDDEN: &str = "hunter2hunter2";

/// Ways to write a secret, right and wrong.
const SECRETS: [&str; 8] = [
    "access_key_id = \"A\"\nsecret_access_key = \"hunter2hunter2\"",
    "access_key_id = \"A\"\nsecret_access_key = \"B\"\nsession_token = \"hunter2hunter2\"",
    "access_key_id = \"A\"\nsecret_access_key = [\"hunter2hunter2\"]",
    "access_key_id = \"A\"\nsecret_access_key = { other = \"hunter2hunter2\" }",
    "secret_access_key = hunter2hunter2",
    "secret_access_key = \"hunter2hunter2",
    "secret_acces_key = \"hunter2hunter2\"",
    "profile = \"p\"\nexternal_id = \"hunter2hunter2\"",
];

/// A text loads or is refused; what loads renders, and loads again to an equal rendering; what
/// is rendered or said does not depend on secrets.
pub fn check(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    // A secret may name a file, and reading a device need not end.
    if text.contains("file") && ["/dev", "/proc", "\\"].iter().any(|word| text.contains(word)) {
        return;
    }
    match parse(text) {
        Ok(config) => check_config(config),
        Err(error) => assert!(!error.to_string().is_empty()),
    }
    // Only behind a text that is TOML itself do these lines mean what they say.
    if !text.contains(HIDDEN) && text.parse::<toml::Table>().is_ok() {
        for secret in SECRETS {
            for table in ["source.credentials", "defaults.credentials"] {
                let told = match parse(&format!("{text}\n[{table}]\n{secret}\n")) {
                    Ok(config) => format!("{config:?}{}{}", config.render(), config.render_json()),
                    Err(error) => format!("{error}{error:?}"),
                };
                assert!(!told.contains(HIDDEN), "{table}, {secret}: {told}");
            }
        }
    }
}

fn parse(text: &str) -> Result<Config, ConfigError> {
    config::parse(PathBuf::from("/nowhere/s3sweep.toml"), text)
}

fn check_config(mut config: Config) {
    let rendered = config.render();
    let again = match parse(&rendered) {
        Ok(again) => again,
        Err(error) => panic!("what is rendered is refused: {error}\n{rendered}"),
    };
    assert_eq!(again.render(), rendered);
    assert_eq!(again.render_json(), config.render_json());

    let told = (rendered, config.render_json(), format!("{config:?}"));
    for source in &mut config.sources {
        if let Credentials::Static { secret_access_key, session_token, .. } = &mut source.access.credentials {
            *secret_access_key = Secret::new("another".to_owned());
            if let Some(token) = session_token {
                *token = Secret::new("another".to_owned());
            }
        }
    }
    assert_eq!((config.render(), config.render_json(), format!("{config:?}")), told, "secrets show");
}
