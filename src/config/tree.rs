//! From the texts of all files to one [`RawConfig`]: parsed, known keys only, `[defaults]` merged.
//!
//! Works on TOML tables that keep their places, before any setting is read, so that a mistake is
//! answered with its file, line, column, path and the nearest name.

use std::ops::Range;

use serde::Deserialize;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::error::{Problem, hint};
use super::names::names_of;
use super::raw::{
    RawCondition, RawConfig, RawCredentials, RawHttp, RawLimits, RawProxy, RawRule, RawSink, RawSource,
};
use super::texts::{Text, Texts};

/// What stands in a configuration written by `init` where the user has to decide.
pub(super) const PLACEHOLDER: &str = "CHANGE_ME";

const SOURCE: &str = "source";
const DEFAULTS: &str = "defaults";

/// Reads all texts as one configuration. Every mistake found on the way is returned.
pub(super) fn read(texts: &Texts) -> Result<RawConfig, Vec<Problem>> {
    let mut problems = Vec::new();
    let mut whole = DeTable::new();
    for text in texts.files() {
        match parse(text) {
            Ok(table) => merge_file(&mut whole, table, texts, &mut problems),
            Err(problem) => problems.push(problem),
        }
    }
    if !problems.is_empty() {
        return Err(problems);
    }
    check_keys(&whole, &mut problems);
    check_values(&whole, "", &mut problems);
    if !problems.is_empty() {
        return Err(problems);
    }
    merge_defaults(&mut whole);
    let copy = whole.clone();
    RawConfig::deserialize(toml::Deserializer::from(Spanned::new(0..0, whole)))
        .map_err(|error| vec![type_problem(&copy, &error)])
}

/// Parses one text; all places are moved to where the text stands among all texts.
fn parse(text: &Text) -> Result<DeTable<'_>, Problem> {
    let table = DeTable::parse(&text.text).map_err(|error| {
        let at = error.span().unwrap_or(0..0);
        Problem::new(moved(at, text.base), "", format!("this is no TOML: {}", error.message()))
    })?;
    Ok(moved_table(table.into_inner(), text.base))
}

fn moved(at: Range<usize>, base: usize) -> Range<usize> {
    at.start + base..at.end + base
}

fn moved_table(table: DeTable<'_>, base: usize) -> DeTable<'_> {
    let entries = table.into_iter().map(|(key, value)| {
        let at = moved(key.span(), base);
        (Spanned::new(at, key.into_inner()), moved_value(value, base))
    });
    entries.collect()
}

fn moved_value(value: Spanned<DeValue<'_>>, base: usize) -> Spanned<DeValue<'_>> {
    let at = moved(value.span(), base);
    let inner = match value.into_inner() {
        DeValue::Table(table) => DeValue::Table(moved_table(table, base)),
        DeValue::Array(array) => {
            DeValue::Array(array.into_iter().map(|element| moved_value(element, base)).collect())
        }
        scalar => scalar,
    };
    Spanned::new(at, inner)
}

/// Adds one file to the whole: its sources behind the others; anything else may stand in one
/// file only.
fn merge_file<'i>(whole: &mut DeTable<'i>, table: DeTable<'i>, texts: &Texts, problems: &mut Vec<Problem>) {
    for (key, value) in table {
        let name = key.get_ref().to_string();
        let at = key.span();
        if name == SOURCE && !value.get_ref().is_array() {
            problems.push(Problem::new(
                at,
                name,
                "a source begins with [[source]], in two pairs of brackets",
            ));
            continue;
        }
        let Some((first, present)) = whole.get_key_value(name.as_str()).map(|(k, v)| (k.span(), v)) else {
            whole.insert(key, value);
            continue;
        };
        if name != SOURCE || !present.get_ref().is_array() {
            let reason = format!(
                "may stand in one file only, and stands in {} too",
                texts.place(first.start).file.display()
            );
            problems.push(Problem::new(at, name, reason));
        } else if let (Some(DeValue::Array(all)), DeValue::Array(more)) =
            (whole.get_mut(SOURCE).map(Spanned::get_mut), value.into_inner())
        {
            more.into_iter().for_each(|source| all.push(source));
        }
    }
}

/// Gives each source the settings of `[defaults]` that it does not have itself. A table such as
/// `credentials` is taken as a whole or not at all: half of one and half of another is nobody's.
fn merge_defaults(whole: &mut DeTable<'_>) {
    let Some(DeValue::Table(defaults)) = whole.remove(DEFAULTS).map(Spanned::into_inner) else {
        return;
    };
    let Some(DeValue::Array(sources)) = whole.get_mut(SOURCE).map(Spanned::get_mut) else {
        return;
    };
    for source in sources.iter_mut() {
        let DeValue::Table(source) = source.get_mut() else { continue };
        for (key, value) in &defaults {
            if !source.contains_key(key.get_ref().as_ref()) {
                source.insert(key.clone(), value.clone());
            }
        }
    }
}

fn check_keys(whole: &DeTable<'_>, problems: &mut Vec<Problem>) {
    let mut known = names_of::<RawConfig>().to_vec();
    known.push(DEFAULTS);
    check_table(whole, "", &known, problems);
    for (key, value) in whole {
        match (key.get_ref().as_ref(), value.get_ref()) {
            ("sink", DeValue::Table(sink)) => check_table(sink, "sink", names_of::<RawSink>(), problems),
            ("limits", DeValue::Table(limits)) => {
                check_table(limits, "limits", names_of::<RawLimits>(), problems);
            }
            ("http", DeValue::Table(http)) => check_table(http, "http", names_of::<RawHttp>(), problems),
            (DEFAULTS, DeValue::Table(defaults)) => check_defaults(defaults, problems),
            (SOURCE, DeValue::Array(sources)) => {
                for (number, source) in sources.iter().enumerate() {
                    if let DeValue::Table(source) = source.get_ref() {
                        check_source(source, &source_path(source, number), problems);
                    }
                }
            }
            _ => {}
        }
    }
}

fn check_defaults(defaults: &DeTable<'_>, problems: &mut Vec<Problem>) {
    check_source(defaults, DEFAULTS, problems);
    if let Some((name, _)) = defaults.get_key_value("name") {
        let reason = "is no default: each source has a name of its own";
        problems.push(Problem::new(name.span(), "defaults.name", reason));
    }
}

fn check_source(source: &DeTable<'_>, path: &str, problems: &mut Vec<Problem>) {
    check_table(source, path, names_of::<RawSource>(), problems);
    for (name, known) in [("credentials", names_of::<RawCredentials>()), ("proxy", names_of::<RawProxy>())] {
        if let Some(DeValue::Table(table)) = source.get(name).map(Spanned::get_ref) {
            check_table(table, &format!("{path}.{name}"), known, problems);
        }
    }
    for list in ["include", "exclude"] {
        for (rule, path) in tables_of(source, list, path) {
            check_table(rule, &path, names_of::<RawRule>(), problems);
            for (condition, path) in tables_of(rule, "all", &path) {
                check_table(condition, &path, names_of::<RawCondition>(), problems);
            }
        }
    }
}

/// The tables in the list `name`, each with its path: `NAME` of the table, or its number, stands
/// behind that of the list.
fn tables_of<'t, 'i>(table: &'t DeTable<'i>, name: &str, path: &str) -> Vec<(&'t DeTable<'i>, String)> {
    let Some(DeValue::Array(list)) = table.get(name).map(Spanned::get_ref) else { return Vec::new() };
    let tables = list.iter().enumerate().filter_map(|(number, element)| match element.get_ref() {
        DeValue::Table(table) => {
            let own = table.get("name").and_then(|name| name.get_ref().as_str());
            Some((table, element_path(&join(path, name), own, number)))
        }
        _ => None,
    });
    tables.collect()
}

/// The path of a table in a list: its name behind the list's, or its number from 1.
pub(super) fn element_path(list: &str, name: Option<&str>, number: usize) -> String {
    match name {
        Some(name) if !name.is_empty() => format!("{list}.{name}"),
        _ => format!("{list}.{}", number + 1),
    }
}

/// Reports the keys of a table that are no settings. The value is not quoted: it may be a
/// secret under a mistyped name.
fn check_table(table: &DeTable<'_>, path: &str, known: &[&'static str], problems: &mut Vec<Problem>) {
    for key in table.keys() {
        let name = key.get_ref().as_ref();
        if !known.contains(&name) {
            let reason = format!("there is no such setting{}", elsewhere(name, known));
            problems.push(Problem::new(key.span(), join(path, name), reason));
        }
    }
}

/// The nearest setting of this table, or the table that has a setting of exactly this name.
fn elsewhere(name: &str, known: &[&'static str]) -> String {
    let tables = [
        ("the top of the file", names_of::<RawConfig>()),
        ("[sink]", names_of::<RawSink>()),
        ("[limits]", names_of::<RawLimits>()),
        ("[http]", names_of::<RawHttp>()),
        ("[[source]]", names_of::<RawSource>()),
        ("[source.credentials]", names_of::<RawCredentials>()),
    ];
    match tables.iter().find(|(_, names)| names.contains(&name)) {
        Some((table, _)) => format!(" here; it belongs to {table}"),
        None => hint(name, known.iter().copied()),
    }
}

/// Reports every text that still holds the placeholder of `init`.
fn check_values(table: &DeTable<'_>, path: &str, problems: &mut Vec<Problem>) {
    for (key, value) in table {
        let path = join(path, key.get_ref());
        check_value(value, &path, problems);
    }
}

fn check_value(value: &Spanned<DeValue<'_>>, path: &str, problems: &mut Vec<Problem>) {
    match value.get_ref() {
        DeValue::String(text) if text.contains(PLACEHOLDER) => {
            let reason = format!("{PLACEHOLDER} still stands here: write your own value");
            problems.push(Problem::new(value.span(), path, reason));
        }
        DeValue::Table(table) => check_values(table, path, problems),
        DeValue::Array(array) => {
            for (number, element) in array.iter().enumerate() {
                let path = match element.get_ref() {
                    DeValue::Table(source) if path == SOURCE => source_path(source, number),
                    _ => path.to_owned(),
                };
                check_value(element, &path, problems);
            }
        }
        _ => {}
    }
}

/// `source.NAME`, or the number of the source, from 1, where it has no usable name.
pub(super) fn source_label(name: Option<&str>, number: usize) -> String {
    element_path(SOURCE, name, number)
}

fn source_path(source: &DeTable<'_>, number: usize) -> String {
    source_label(source.get("name").and_then(|name| name.get_ref().as_str()), number)
}

fn join(path: &str, name: &str) -> String {
    if path.is_empty() { name.to_owned() } else { format!("{path}.{name}") }
}

/// A value of the wrong type: serde knows its place, the table knows its path.
fn type_problem(whole: &DeTable<'_>, error: &toml::de::Error) -> Problem {
    let at = error.span().unwrap_or(0..0);
    let path = path_at(whole, "", at.start);
    // serde quotes the value; within these tables it may be a secret in the wrong form
    let secret = path.contains(".credentials") || path.contains(".proxy");
    let reason = if secret && error.message().starts_with("invalid type") {
        "the value is of the wrong type".to_owned()
    } else {
        in_users_words(error.message())
    };
    Problem::new(at, path, reason)
}

/// A message of serde, the types that it names told as a user writes them.
fn in_users_words(message: &str) -> String {
    let Some((found, expected)) = message.rsplit_once(", expected ") else { return message.to_owned() };
    let expected = match expected {
        "a string" => "a text in quotes",
        "u8" | "u16" | "u32" | "u64" | "usize" => "a whole number, 0 or more",
        "i64" | "i128" => "a whole number",
        "f64" => "a number",
        "a boolean" => "true or false",
        "a sequence" => "a list in brackets",
        other => other,
    };
    format!("{found}, expected {expected}")
}

/// The path of the innermost value that holds the byte at `offset`.
fn path_at(table: &DeTable<'_>, path: &str, offset: usize) -> String {
    for (key, value) in table {
        let path = join(path, key.get_ref());
        match value.get_ref() {
            DeValue::Table(inner) => {
                let found = path_at(inner, &path, offset);
                if found != path || value.span().contains(&offset) {
                    return found;
                }
            }
            DeValue::Array(array) => {
                for (number, element) in array.iter().enumerate() {
                    let DeValue::Table(inner) = element.get_ref() else { continue };
                    let own = inner.get("name").and_then(|name| name.get_ref().as_str());
                    let label = element_path(&path, own, number);
                    let found = path_at(inner, &label, offset);
                    if found != label || element.span().contains(&offset) {
                        return found;
                    }
                }
                if value.span().contains(&offset) {
                    return path;
                }
            }
            _ if value.span().contains(&offset) => return path,
            _ => {}
        }
    }
    path.to_owned()
}
