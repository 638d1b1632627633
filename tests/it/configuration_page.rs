//! docs/configuration.md has every setting: it is written from the schema, and compared with it.

use std::path::Path;

use serde_json::Value;

use crate::needs::variable;
use crate::schema::groups;

const PAGE: &str = "docs/configuration.md";
const BEGIN: &str =
    "<!-- from here on written by: S3SWEEP_TESTS_WRITE=1 cargo test --test it configuration_page:: -->\n";

/// The settings as the page has them.
fn page() -> String {
    let mut page = String::new();
    for group in groups() {
        let titles: Vec<_> =
            group.titles.iter().filter(|title| !title.is_empty()).map(|title| format!("`{title}`")).collect();
        let title = match &titles[..] {
            [] => "The top of the file".to_owned(),
            [source] if source == "`[[source]]`" => "`[[source]]` and `[defaults]`".to_owned(),
            titles => titles.join(" and "),
        };
        page += &format!(
            "\n## {title}\n\n{}\n\n| setting | default | values | meaning |\n|---|---|---|---|\n",
            group.description
        );
        for (name, setting) in &group.settings {
            let description = setting["description"].as_str().unwrap_or_default().replace('\n', " ");
            let (meaning, required) = match description.strip_suffix(" Required.") {
                Some(meaning) => (meaning, true),
                None => (description.as_str(), false),
            };
            assert!(meaning.ends_with('.') && meaning.len() > 10, "{name} is described: {meaning:?}");
            let default = match (&setting["default"], required) {
                (Value::Null, true) => "required".to_owned(),
                (Value::Null, false) => String::new(),
                (default, _) => format!("`{}`", default.to_string().replace("\",\"", "\", \"")),
            };
            page += &format!(
                "| `{name}` | {default} | {} | {} |\n",
                values(setting),
                meaning.replace('|', "\\|")
            );
        }
    }
    page
}

/// What a setting may be, in a few words.
fn values(setting: &Value) -> String {
    let words =
        |words: &Vec<Value>| words.iter().map(|word| format!("`{word}`")).collect::<Vec<_>>().join(", ");
    let range = |show: fn(u64) -> String| match (setting["minimum"].as_u64(), setting["maximum"].as_u64()) {
        (Some(least), Some(most)) if least == most => show(least),
        (Some(least), Some(most)) => format!("{} to {}", show(least), show(most)),
        bounds => panic!("bounds of {setting}: {bounds:?}"),
    };
    let is_duration = |form: &Value| form["pattern"].as_str().is_some_and(|pattern| pattern.contains("SMHD"));
    let least =
        || setting["x-minimum"].as_str().map(|least| format!(", at least {least}")).unwrap_or_default();
    if let Some(known) = setting["enum"].as_array() {
        return words(known);
    }
    match &setting["type"] {
        Value::Array(_) if setting["pattern"].is_string() => format!("size, {}", range(size)),
        Value::Array(_) => "text, number or boolean".to_owned(),
        Value::String(kind) => match kind.as_str() {
            "string" if is_duration(setting) => format!("duration{}", least()),
            "string" => "text".to_owned(),
            "integer" => range(|number| number.to_string()),
            "number" => format!("number, {}", range(|number| number.to_string())),
            "boolean" => "`true`, `false`".to_owned(),
            "array" if is_duration(&setting["items"]) => format!("list of durations{}", least()),
            "array" => "list".to_owned(),
            other => panic!("{other}: {setting}"),
        },
        _ if setting["anyOf"][1]["type"] == "array" => "text, or a list of texts".to_owned(),
        _ => "secret".to_owned(),
    }
}

fn size(bytes: u64) -> String {
    let units = [(40, "TiB"), (30, "GiB"), (20, "MiB"), (10, "KiB")];
    let unit = units.into_iter().find(|(power, _)| bytes > 0 && bytes.is_multiple_of(1 << power));
    unit.map_or_else(|| bytes.to_string(), |(power, name)| format!("{}{name}", bytes >> power))
}

#[test]
fn the_page_of_settings_is_up_to_date() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(PAGE);
    let text = std::fs::read_to_string(&path).unwrap();
    let (before, after) = text.split_once(BEGIN).unwrap_or_else(|| panic!("{PAGE} has the line {BEGIN}"));
    let page = page();
    if variable::<u8>("S3SWEEP_TESTS_WRITE").is_some() {
        return std::fs::write(path, format!("{before}{BEGIN}{page}")).unwrap();
    }
    assert!(
        after == page,
        "{PAGE} is out of date; S3SWEEP_TESTS_WRITE=1 cargo test --test it configuration_page::"
    );
}
