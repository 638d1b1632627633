//! What is shipped in `deploy/` fits the program and itself. That units, manifests and the package
//! are valid is for `.ci/deploy`, which has the tools.

use std::path::{Path, PathBuf};

use s3sweep::config;

fn deploy(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy").join(name)
}

/// A configuration whose placeholders were filled in.
pub fn filled_in(text: &str) -> String {
    text.replace("CHANGE_ME", "us-east-1")
}

fn text(name: &str) -> String {
    std::fs::read_to_string(deploy(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
}

#[test]
fn both_services_are_hardened_alike() {
    let hardening = |unit: &str| {
        let text = text(unit);
        let (_, settings) = text.split_once("# Secrets:").expect("the common part begins there");
        let settings = settings.split("\n[").next().unwrap();
        settings
            .lines()
            .filter(|line| !line.starts_with('#') && !line.is_empty())
            .map(str::to_owned)
            .collect::<Vec<_>>()
    };
    let daemon = hardening("systemd/s3sweep.service");
    assert_eq!(daemon, hardening("systemd/s3sweep-once.service"));
    assert!(daemon.len() > 30, "{daemon:?}");
}

#[test]
fn configurations_load_once_they_are_filled_in() {
    for name in ["base", "overlays/us-east-1", "overlays/log-archive"] {
        let name = format!("kubernetes/{name}/s3sweep.toml");
        let text = filled_in(&text(&name));
        let config = config::parse(deploy(&name), &text).unwrap_or_else(|error| panic!("{name}: {error}"));
        assert!(
            text.contains(&format!("instance = \"{}\"", config.instance)),
            "{name}: a pod's name changes"
        );
        assert_eq!(config.state_dir, Path::new("/var/lib/s3sweep"), "{name}: where the volume is mounted");
        assert_eq!(config.sink.path.as_deref(), Some(Path::new("/var/log/s3sweep")), "{name}");
    }
}

/// The image's name carries the version that is built.
#[test]
fn images_are_of_this_version() {
    let image = concat!("s3sweep:", env!("CARGO_PKG_VERSION"));
    for name in ["kubernetes/daemon/deployment.yaml", "kubernetes/cron/cronjob.yaml", "docker/Dockerfile"] {
        assert!(text(name).contains(image), "{name} names {image}");
    }
}
