//! The schema of the configuration: it says of each setting what the code does, takes what the
//! documentation shows, and refuses what is wrong.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use s3sweep::config::{self, Config, parse_duration};
use serde_json::{Value, json};
use toml::Table;

use crate::needs::Need;

const MINIMAL: &str = "state_dir = \"/state\"\nsink = { path = \"/out\" }\n[[source]]\nname = \"main\"\n\
                       log_type = \"cloudtrail\"\nbucket = \"acme-trail\"\nprefix = \"AWSLogs/*/CloudTrail/*\"\n";

/// Settings without a default of their own, though they have a value: what must be written, and
/// what depends on other settings or the machine.
const WITHOUT_DEFAULT: &[&str] = &[
    "state_dir",
    "path",
    "name",
    "log_type",
    "bucket",
    "prefix",
    "instance",
    "dead_letter_path",
    "file_pattern",
    "key_order",
    "ca_bundle",
    "role_arn",
];

/// What must stand beside a setting for it to make sense.
const BESIDE: &[(&str, &str)] = &[
    ("history", "[defaults]\nrecheck = []"),
    ("device_domain_key", "[sink]\nencoder = \"cef\""),
    ("event_outcome", "[sink]\nencoder = \"cef\""),
    ("role_duration", "[defaults.credentials]\nrole_arn = \"arn:aws:iam::111122223333:role/logs\""),
    ("role_session_name", "[defaults.credentials]\nrole_arn = \"arn:aws:iam::111122223333:role/logs\""),
    ("ip_version", "[defaults]\ndual_stack = true"),
];

/// A table of the configuration, with the settings that are values of their own.
pub struct Group {
    /// As `[source.proxy]`; those that have the same settings together.
    pub titles: Vec<String>,
    #[cfg_attr(not(feature = "parquet"), expect(dead_code, reason = "only the page of settings has it"))]
    pub description: String,
    pub settings: Vec<(String, Value)>,
}

/// All tables of the schema, the top of the file first.
pub fn groups() -> Vec<Group> {
    let schema = config::schema();
    let mut groups: Vec<(Vec<String>, String)> = vec![(vec![String::new()], String::new())];
    let mut found = Vec::new();
    let mut next = 0;
    while let Some((titles, definition)) = groups.get(next).cloned() {
        next += 1;
        let table = if definition.is_empty() { &schema } else { &schema["$defs"][&definition] };
        let mut settings = Vec::new();
        for (name, setting) in table["properties"].as_object().expect("a table has settings") {
            let path = inner(&titles[0], name);
            let (target, title) = match setting["$ref"].as_str() {
                Some(target) => (Some(target), format!("[{path}]")),
                None => (setting["items"]["$ref"].as_str(), format!("[[{path}]]")),
            };
            let Some(target) = target.map(|target| target.trim_start_matches("#/$defs/").to_owned()) else {
                settings.push((name.clone(), setting.clone()));
                continue;
            };
            match groups.iter_mut().find(|(_, known)| *known == target) {
                Some((titles, _)) => titles.push(title),
                // the settings of a source, told with those
                None if target == "Defaults" => {}
                None => groups.push((vec![title], target)),
            }
        }
        let description = table["description"].as_str().unwrap_or_default().to_owned();
        found.push((description, settings));
    }
    let groups = groups.into_iter().zip(found);
    groups.map(|((titles, _), (description, settings))| Group { titles, description, settings }).collect()
}

/// The path of a table in the one with this title.
fn inner(title: &str, name: &str) -> String {
    match title.trim_matches(['[', ']']) {
        "" => name.to_owned(),
        outer => format!("{outer}.{name}"),
    }
}

/// All settings: the path of the table, the name, what the schema says. Rules are left out: they
/// have no defaults and no bounds.
fn settings() -> Vec<(String, String, Value)> {
    let groups = groups().into_iter().filter(|group| !group.titles[0].contains("clude"));
    let settings = groups.flat_map(|group| {
        let path = group.titles[0].trim_matches(['[', ']']).to_owned();
        group.settings.into_iter().map(move |(name, setting)| (path.clone(), name, setting))
    });
    settings.collect()
}

fn load(text: &str) -> Result<Config, String> {
    config::parse(PathBuf::from("s3sweep.toml"), text).map_err(|error| error.to_string())
}

/// Loads a minimal configuration with one setting more.
fn with(path: &str, name: &str, value: toml::Value) -> Result<Config, String> {
    let mut whole: Table = toml::from_str(MINIMAL).unwrap();
    if let Some((_, beside)) = BESIDE.iter().find(|(setting, _)| *setting == name) {
        merge(&mut whole, toml::from_str(beside).unwrap());
    }
    // a setting of a source as a default of all, unless it is the source's own
    let path = if path == "source" && ["name", "log_type", "bucket", "prefix"].contains(&name) {
        path.to_owned()
    } else {
        path.replace("source", "defaults")
    };
    let mut table = &mut whole;
    for step in path.split('.').filter(|step| !step.is_empty()) {
        let inner = table.entry(step).or_insert_with(|| Table::new().into());
        let inner = if step == "source" { &mut inner.as_array_mut().unwrap()[0] } else { inner };
        table = inner.as_table_mut().unwrap();
    }
    table.insert(name.to_owned(), value);
    if table.contains_key("log_type") && path == "defaults" {
        table.remove("log_type");
    }
    load(&whole.to_string())
}

fn merge(whole: &mut Table, more: Table) {
    for (key, value) in more {
        match (whole.get_mut(&key), value) {
            (Some(toml::Value::Table(whole)), toml::Value::Table(more)) => merge(whole, more),
            (_, value) => drop(whole.insert(key, value)),
        }
    }
}

/// What `config show` prints for a setting, with what must stand beside it.
fn shown(path: &str, name: &str) -> Value {
    let mut whole: Table = toml::from_str(MINIMAL).unwrap();
    if let Some((_, beside)) = BESIDE.iter().find(|(setting, _)| *setting == name && *setting != "history") {
        merge(&mut whole, toml::from_str(beside).unwrap());
    }
    let shown: Value = serde_json::from_str(&load(&whole.to_string()).unwrap().render_json()).unwrap();
    let pointer = if path.is_empty() { String::new() } else { format!("/{}", path.replace('.', "/")) };
    shown.pointer(&pointer.replace("/source", "/source/0")).map_or(Value::Null, |table| table[name].clone())
}

#[test]
fn defaults_are_those_in_effect() {
    let settings = settings();
    assert!(settings.len() > 80, "{}", settings.len());
    for (path, name, setting) in settings {
        let (said, effective) = (&setting["default"], shown(&path, &name));
        if WITHOUT_DEFAULT.contains(&name.as_str()) {
            assert!(said.is_null(), "{path}.{name} has no default of its own, not {said}");
        } else {
            assert_eq!(*said, effective, "the default of {path}.{name}, by the schema and in effect");
        }
    }
}

#[test]
fn bounds_are_those_that_are_checked() {
    let mut bounds = 0;
    for (path, name, setting) in settings() {
        let number = |key: &str| setting[key].as_i64();
        let mut probe = |value: toml::Value, allowed: bool| {
            bounds += 1;
            let loaded = with(&path, &name, value.clone());
            assert_eq!(loaded.is_ok(), allowed, "{path}.{name} = {value}: {:?}", loaded.err());
        };
        if let (Some(least), Some(most)) = (number("minimum"), number("maximum")) {
            // of a setting that has one value only, others are refused in words of their own
            for (value, allowed) in [(least, true), (most, true), (least - 1, false), (most + 1, false)] {
                probe(value.into(), allowed);
            }
        }
        if let Some(least) = setting["x-minimum"].as_str() {
            let seconds = parse_duration(least).unwrap().as_secs();
            let is_list = setting["type"] == "array";
            let value = |seconds: u64| match (format!("{seconds}S"), is_list) {
                (text, true) => toml::Value::Array(vec![text.into()]),
                (text, false) => text.into(),
            };
            probe(value(seconds), true);
            if seconds > 0 {
                probe(value(seconds - 1), false);
            }
        }
        let is_number = setting["type"] == "integer" || setting["type"] == json!(["string", "integer"]);
        assert!(!is_number || number("maximum").is_some(), "{path}.{name} has bounds");
    }
    assert!(bounds > 80, "{bounds}");
}

#[test]
fn words_are_those_that_are_known() {
    for (path, name, setting) in settings() {
        let Some(words) = setting["enum"].as_array() else { continue };
        let mut words: Vec<_> = words.iter().map(|word| word.as_str().unwrap()).collect();
        for word in &words {
            let loaded = with(&path, &name, (*word).into());
            // "file" and "stdout" need other settings beside them, which the message names
            assert!(loaded.is_ok() || name == "type", "{path}.{name} = {word}: {:?}", loaded.err());
        }
        let refused = with(&path, &name, "no such word".into()).unwrap_err();
        let (_, allowed) =
            refused.split_once("expected ").unwrap_or_else(|| panic!("{path}.{name}: {refused}"));
        let allowed = allowed.split([',', '\n']).next().unwrap();
        let mut known: Vec<_> = allowed.split('"').skip(1).step_by(2).collect();
        known.sort_unstable();
        words.sort_unstable();
        assert_eq!(known, words, "{path}.{name}: by the code and by the schema");
    }
}

/// TOML as an editor hands it to a schema: dates are texts.
fn as_json(value: toml::Value) -> Value {
    match value {
        toml::Value::Table(table) => table.into_iter().map(|(key, value)| (key, as_json(value))).collect(),
        toml::Value::Array(array) => array.into_iter().map(as_json).collect(),
        toml::Value::Datetime(instant) => instant.to_string().into(),
        toml::Value::String(text) => text.into(),
        toml::Value::Integer(number) => number.into(),
        toml::Value::Float(number) => number.into(),
        toml::Value::Boolean(word) => word.into(),
    }
}

/// The blocks of TOML in all pages, and the files of TOML that are shipped.
fn examples() -> Vec<(String, String)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut files: Vec<PathBuf> =
        ["README.md", "prefix-patterns.md", "src/cli/init.toml"].map(|name| root.join(name)).to_vec();
    let mut folders = vec![root.join("docs"), root.join("deploy")];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() { folders.push(path) } else { files.push(path) }
        }
    }
    let mut examples = Vec::new();
    for path in files {
        let name = path.strip_prefix(root).unwrap().display().to_string();
        let text = || std::fs::read_to_string(&path).unwrap();
        match path.extension().and_then(|ending| ending.to_str()) {
            Some("toml") => examples.push((name, crate::deploy::filled_in(&text()))),
            Some("md") => {
                let text = text();
                let blocks = text.split("```toml\n").skip(1).map(|rest| rest.split("```").next().unwrap());
                // what stands under a source is shown without it
                let whole =
                    |block: &str| match block.starts_with("[[source.") || block.starts_with("[source.") {
                        true => format!("[[source]]\nname = \"main\"\n{block}"),
                        false => block.to_owned(),
                    };
                examples.extend(blocks.map(|block| (name.clone(), whole(block))));
            }
            _ => {}
        }
    }
    examples
}

/// Configurations with one mistake each.
const WRONG: &[&str] = &[
    "state_dri = \"/state\"",
    "state_dir = 1",
    "history = \"5 minutes\"",
    "history = \"1.5D\"",
    "sink = \"out\"",
    "sink = { encoder = \"leef\" }",
    "sink = { rotate_size = \"1XB\" }",
    "sink = { rotate_size = -1 }",
    "limits = { get_concurrency = 0 }",
    "limits = { get_concurrency = \"8\" }",
    "defaults = { name = \"x\" }",
    "defaults = { recheck = [\"soon\"] }",
    "source = [{ bucket = \"acme-trail\" }]",
    "source = [{ name = \"a b\" }]",
    "source = [{ name = \"a\", log_type = \"cloudtrial\" }]",
    "source = [{ name = \"a\", expected_bucket_owner = \"1234\" }]",
    "source = [{ name = \"a\", credentials = { secret_access_key = { env = \"A\", file = \"B\" } } }]",
    "source = [{ name = \"a\", credentials = { secret_access_key = { vault = \"A\" } } }]",
    "source = [{ name = \"a\", proxy = { user = \"b\" } }]",
    "source = [{ name = \"a\", include = [{ field = \"b\", exists = true }] }]",
    "source = [{ name = \"a\", include = [{ name = \"b\", all = [{ field = \"c\", exists = true, prefix = \"d\" }] }] }]",
    "[source]\nname = \"a\"",
];

const VALIDATOR: &str = r#"
import json, sys
from jsonschema import Draft202012Validator
asked = json.load(sys.stdin)
Draft202012Validator.check_schema(asked["schema"])
validator = Draft202012Validator(asked["schema"])
json.dump([[error.json_path + ": " + error.message for error in validator.iter_errors(document)]
           for document in asked["documents"]], sys.stdout)
"#;

/// What an independent validator finds wrong with each document; `None` where there is none.
fn validated(documents: &[Value]) -> Option<Vec<Vec<String>>> {
    let mut python = Command::new("python3");
    python.env("PYTHONPATH", Path::new(env!("CARGO_MANIFEST_DIR")).join("target/python"));
    python.args(["-c", VALIDATOR]).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = match python.spawn() {
        Ok(child) => child,
        Err(error) => {
            Need::JsonSchema.is_missing(error);
            return None;
        }
    };
    let asked = json!({"schema": config::schema(), "documents": documents}).to_string();
    // an interpreter without the module ends before it has read everything
    let _ = child.stdin.take().unwrap().write_all(asked.as_bytes());
    let output = child.wait_with_output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    if said.contains("ModuleNotFoundError") {
        Need::JsonSchema.is_missing("pip install --target target/python jsonschema");
        return None;
    }
    assert!(output.status.success(), "{said}");
    Some(serde_json::from_slice(&output.stdout).unwrap())
}

#[test]
fn it_takes_what_the_documentation_shows_and_refuses_mistakes() {
    let mut examples = examples();
    examples.push(("config show".to_owned(), load(MINIMAL).unwrap().render()));
    assert!(examples.len() > 8, "{}", examples.len());
    let texts = examples.iter().map(|(_, text)| text.as_str()).chain(WRONG.iter().copied());
    let documents: Vec<_> =
        texts.map(|text| as_json(toml::from_str::<Table>(text).unwrap().into())).collect();
    let Some(found) = validated(&documents) else { return };
    let (good, bad) = found.split_at(examples.len());
    for ((name, text), errors) in examples.iter().zip(good) {
        assert!(errors.is_empty(), "{name}: {errors:?}\n{text}");
    }
    for (text, errors) in WRONG.iter().zip(bad) {
        assert!(!errors.is_empty(), "the schema takes {text:?}");
        assert!(load(text).is_err(), "and it is wrong: {text:?}");
    }
}
