//! What some tests need of the machine, and what the environment says about a run of the tests.
//!
//! A test that misses something says so and is skipped. `S3SWEEP_TESTS_REQUIRE`, a list with
//! commas or `all`, names what must not be missing: there the test fails instead.

use std::fmt::Display;
use std::str::FromStr;

/// What a machine may lack.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Need {
    /// `strace`, and leave to trace.
    Strace,
    /// Leave to mount file systems.
    Mount,
    /// Leave to mount file systems and to shut them down, and `xfs_io` to do so.
    PowerCut,
    /// `python3`.
    Python,
    /// The CEF parser for Python.
    Cefp,
    /// `zsh`.
    Zsh,
    /// `fish`.
    Fish,
    /// `mandoc`.
    Mandoc,
    /// `jsonschema` for Python.
    JsonSchema,
    /// Ceph's S3.
    Radosgw,
    /// moto, for Python.
    Moto,
    /// `squid`.
    Squid,
    /// Prometheus's parser for Python.
    PrometheusClient,
    /// `promtool`.
    Promtool,
    /// `chromium` and `chromedriver`.
    Chromium,
    /// `script`, for a terminal.
    Script,
    /// Real objects beside the tree.
    RealObjects,
}

impl Need {
    const ALL: [Need; 17] = [
        Need::Strace,
        Need::Mount,
        Need::PowerCut,
        Need::Python,
        Need::Cefp,
        Need::Zsh,
        Need::Fish,
        Need::Mandoc,
        Need::JsonSchema,
        Need::Radosgw,
        Need::Moto,
        Need::Squid,
        Need::PrometheusClient,
        Need::Promtool,
        Need::Chromium,
        Need::Script,
        Need::RealObjects,
    ];

    fn name(self) -> &'static str {
        match self {
            Need::Strace => "strace",
            Need::Mount => "mount",
            Need::PowerCut => "power-cut",
            Need::Python => "python",
            Need::Cefp => "cefp",
            Need::Zsh => "zsh",
            Need::Fish => "fish",
            Need::Mandoc => "mandoc",
            Need::JsonSchema => "jsonschema",
            Need::Radosgw => "radosgw",
            Need::Moto => "moto",
            Need::Squid => "squid",
            Need::PrometheusClient => "prometheus-client",
            Need::Promtool => "promtool",
            Need::Chromium => "chromium",
            Need::Script => "script",
            Need::RealObjects => "real-objects",
        }
    }

    /// Says that the test is skipped, and why; panics where this need is required.
    pub fn is_missing(self, why: impl Display) {
        let required = variable::<String>("S3SWEEP_TESTS_REQUIRE").unwrap_or_default();
        assert!(!required_by(&required).contains(&self), "{} is required: {why}", self.name());
        println!("skipped for want of {}: {why}", self.name());
    }
}

/// The needs that a list names. A mistyped name must not pass.
fn required_by(list: &str) -> Vec<Need> {
    let names = list.split(',').map(str::trim).filter(|name| !name.is_empty());
    let needs_of = |name| match name {
        "all" => Need::ALL.to_vec(),
        name => match Need::ALL.into_iter().find(|need| need.name() == name) {
            Some(need) => vec![need],
            None => {
                panic!("S3SWEEP_TESTS_REQUIRE knows {:?} and all, not {name:?}", Need::ALL.map(Need::name))
            }
        },
    };
    names.flat_map(needs_of).collect()
}

/// A variable of the environment that makes a run of the tests longer, shorter or stricter.
pub fn variable<T: FromStr>(name: &str) -> Option<T> {
    #[allow(clippy::disallowed_methods, reason = "how much is tested is a matter of the test run")]
    let text = std::env::var(name).ok()?;
    let Ok(value) = text.parse() else { panic!("{name} cannot be {text:?}") };
    Some(value)
}

#[test]
fn a_list_names_what_is_required() {
    let cases: [(&str, &[Need]); 5] = [
        ("", &[]),
        (" , ", &[]),
        ("strace", &[Need::Strace]),
        ("mount, real-objects", &[Need::Mount, Need::RealObjects]),
        ("all", &Need::ALL),
    ];
    for (list, needs) in cases {
        assert_eq!(required_by(list), needs, "{list:?}");
    }
}

#[test]
#[should_panic(expected = "not \"stace\"")]
fn a_mistyped_name_is_refused() {
    required_by("strace,stace");
}
