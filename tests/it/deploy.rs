//! What is shipped in `deploy/` fits the program and itself. That units, manifests and the package
//! are valid is for `.ci/deploy`, which has the tools.

use std::path::{Path, PathBuf};
use std::process::Command;

use s3sweep::config;
use s3sweep::metrics::{self, Kind};

use crate::needs::Need;

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

/// What the daemon's manifest asks is answered there.
#[test]
fn probes_and_scrapes_reach_what_is_configured() {
    let manifest = text("kubernetes/daemon/deployment.yaml");
    for name in ["base", "overlays/us-east-1"] {
        let name = format!("kubernetes/{name}/s3sweep.toml");
        let config = config::parse(deploy(&name), &filled_in(&text(&name))).unwrap();
        let listen = config.http.listen.unwrap_or_else(|| panic!("{name} names no address"));
        assert!(listen.ip().is_unspecified(), "{name}: the kubelet is another machine");
        for line in [
            format!("containerPort: {}\n", listen.port()),
            format!("prometheus.io/port: \"{}\"\n", listen.port()),
        ] {
            assert!(manifest.contains(&line), "{line}");
        }
        assert!(text("docker/Dockerfile").contains(&format!("EXPOSE {}\n", listen.port())));
    }
    let paths: Vec<_> = manifest.lines().filter_map(|line| line.trim().strip_prefix("path: ")).collect();
    assert_eq!(paths, ["/healthz", "/readyz"]);
}

#[test]
fn alerts_are_about_metrics_that_are_there() {
    let rules = text("prometheus/s3sweep.rules.yml");
    let is_part = |letter: char| letter.is_ascii_alphanumeric() || letter == '_';
    let names = rules.split(|letter| !is_part(letter)).filter(|word| word.starts_with("s3sweep_"));
    let known = |name: &str| {
        metrics::ALL.iter().any(|metric| match metric.kind {
            Kind::Histogram(_) => {
                name.strip_prefix(metric.name).is_some_and(|rest| ["_sum", "_count"].contains(&rest))
            }
            Kind::Counter | Kind::Gauge => name == metric.name,
        })
    };
    let names: Vec<_> = names.collect();
    assert!(names.len() > 12, "{names:?}");
    assert_eq!(names.iter().find(|name| !known(name)), None, "it is no metric");
    let page = include_str!("../../docs/operate.md");
    let alerts: Vec<_> = rules.split("- alert: ").skip(1).collect();
    for alert in &alerts {
        let name = alert.lines().next().unwrap();
        let severity = alert.split("severity: ").nth(1).and_then(|rest| rest.lines().next()).unwrap();
        assert!(
            page.contains(&format!("| `{name}` | {severity} |")),
            "docs/operate.md tells of {name}: {severity}"
        );
        assert!(
            text("prometheus/s3sweep.rules.test.yml").contains(&format!("alertname: {name}\n")),
            "{name} is tried"
        );
        assert!(alert.contains("summary: ") && alert.contains("description: "), "{name} explains itself");
    }
    assert_eq!(page.matches("| `S3sweep").count(), alerts.len());
}

/// Prometheus takes the alerts, and they come when they should.
#[test]
fn alerts_come_when_they_should() {
    for (what, file) in [("check", "s3sweep.rules.yml"), ("test", "s3sweep.rules.test.yml")] {
        let mut promtool = Command::new("promtool");
        match promtool.args([what, "rules", file]).current_dir(deploy("prometheus")).output() {
            Ok(output) => {
                let said = String::from_utf8([output.stdout, output.stderr].concat()).unwrap();
                assert!(output.status.success() && said.contains("SUCCESS"), "{said}");
            }
            Err(error) => Need::Promtool.is_missing(error),
        }
    }
}
