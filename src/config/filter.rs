//! From what was typed to what it means: the include and exclude rules of a source.

use std::fmt::Display;

use regex::Regex;
use toml::Spanned;

use super::error::{Problem, hint};
use super::forms::Typed;
use super::raw::{RawCondition, RawRule, RawSource, Set};
use super::table::Table;
use super::tree::element_path;
use crate::filter::{Condition, FieldPath, Filter, NOT_INCLUDED, Rule, Test};
use crate::record::LogType;

const TESTS: &str = "`equals`, `one_of`, `prefix`, `regex`, `cidr` or `exists`";

/// Checks the rules of one source; the first problem is returned.
pub(super) fn check_filter(table: &Table, raw: &RawSource, log_type: LogType) -> Result<Filter, Problem> {
    let mut names = Vec::new();
    let mut rules = |list: &str, raw: &Set<Vec<Typed<RawRule>>>| {
        let raw = raw.iter().flat_map(|rules| rules.get_ref().iter().enumerate());
        raw.map(|(number, raw)| check_rule(table, list, number, raw, log_type, &mut names))
            .collect::<Result<Vec<_>, _>>()
    };
    Ok(Filter { include: rules("include", &raw.include)?, exclude: rules("exclude", &raw.exclude)? })
}

fn check_rule(
    source: &Table,
    list: &str,
    number: usize,
    raw: &Spanned<RawRule>,
    log_type: LogType,
    names: &mut Vec<String>,
) -> Result<Rule, Problem> {
    let (at, raw) = (raw.span(), raw.get_ref());
    let typed = raw.name.as_ref().map(|name| name.get_ref().as_str());
    let table = Table::new(element_path(&source.setting(list), typed, number), at);
    let name = rule_name(&table, raw, names)?;
    let own = RawCondition {
        field: raw.field.clone(),
        equals: raw.equals.clone(),
        one_of: raw.one_of.clone(),
        prefix: raw.prefix.clone(),
        regex: raw.regex.clone(),
        cidr: raw.cidr.clone(),
        exists: raw.exists.clone(),
    };
    let mut conditions = Vec::new();
    if !own.is_empty() {
        conditions.push(condition(&table, &own, log_type)?);
    }
    for (number, raw) in raw.all.iter().flat_map(|all| all.get_ref().iter().enumerate()) {
        let table = Table::new(element_path(&table.setting("all"), None, number), raw.span());
        conditions.push(condition(&table, raw.get_ref(), log_type)?);
    }
    if conditions.is_empty() {
        let reason = format!("asks for nothing: give it a `field` and one of {TESTS}");
        return Err(Problem::new(table.at.clone(), table.path.clone(), reason));
    }
    Ok(Rule { name, conditions })
}

fn rule_name(table: &Table, raw: &RawRule, names: &mut Vec<String>) -> Result<String, Problem> {
    let name = table.required("name", &raw.name, "\"describe-calls\"")?;
    let text = name.get_ref();
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
    if text.is_empty() || !text.bytes().all(allowed) || text == NOT_INCLUDED {
        let rule = format!("letters (a-z, A-Z), digits, `-`, `_` or `.`, and not \"{NOT_INCLUDED}\"");
        return Err(table.not_allowed("name", name, rule));
    }
    if names.contains(text) {
        return Err(table.wrong("name", name, format!("two rules of this source are called \"{text}\"")));
    }
    names.push(text.clone());
    Ok(text.clone())
}

impl RawCondition {
    fn is_empty(&self) -> bool {
        self.field.is_none() && self.tests() == 0
    }

    /// How many tests were typed.
    fn tests(&self) -> usize {
        let typed = [
            self.equals.is_some(),
            self.one_of.is_some(),
            self.prefix.is_some(),
            self.regex.is_some(),
            self.cidr.is_some(),
            self.exists.is_some(),
        ];
        typed.into_iter().filter(|typed| *typed).count()
    }
}

fn condition(table: &Table, raw: &RawCondition, log_type: LogType) -> Result<Condition, Problem> {
    let typed = table.required("field", &raw.field, "\"eventName\"")?;
    let field = FieldPath::find(log_type, typed.get_ref()).ok_or_else(|| {
        let reason = format!(
            "records of log type {} have no field \"{}\"{}",
            log_type.word(),
            typed.get_ref(),
            hint(typed.get_ref(), names(log_type))
        );
        table.wrong("field", typed, reason)
    })?;
    if raw.tests() != 1 {
        let reason = format!("has {} tests: give it exactly one of {TESTS}", raw.tests());
        return Err(Problem::new(table.at.clone(), table.path.clone(), reason));
    }
    let test = test(table, raw)?;
    Ok(Condition { field, test })
}

/// The fields that a name may have been meant for.
fn names(log_type: LogType) -> impl Iterator<Item = &'static str> {
    let more = log_type.more_paths().iter().map(|path| path.trim_end_matches(".*"));
    log_type.paths().iter().copied().chain(more)
}

/// The one test that was typed.
fn test(table: &Table, raw: &RawCondition) -> Result<Test, Problem> {
    if let Some(value) = &raw.equals {
        return Ok(Test::OneOf(vec![value.get_ref().0.clone()]));
    }
    if let Some(values) = &raw.one_of {
        filled(table, "one_of", values, values.get_ref())?;
        return Ok(Test::OneOf(values.get_ref().iter().map(|value| value.0.clone()).collect()));
    }
    if let Some(prefix) = &raw.prefix {
        return Ok(Test::Prefix(prefix.get_ref().clone()));
    }
    if let Some(regex) = &raw.regex {
        let parsed = Regex::new(regex.get_ref());
        return parsed.map(Test::Regex).map_err(|error| table.wrong("regex", regex, one_line(&error)));
    }
    if let Some(networks) = &raw.cidr {
        filled(table, "cidr", networks, &networks.get_ref().0)?;
        let parse = |text: &String| {
            text.parse()
                .map_err(|error| table.wrong("cidr", networks, format!("\"{text}\" is not allowed: {error}")))
        };
        return networks.get_ref().0.iter().map(parse).collect::<Result<_, _>>().map(Test::Cidr);
    }
    Ok(Test::Exists(raw.exists.as_ref().is_none_or(|exists| *exists.get_ref())))
}

fn filled<T, U>(table: &Table, key: &str, value: &Spanned<T>, list: &[U]) -> Result<(), Problem> {
    if list.is_empty() { Err(table.wrong(key, value, "is empty: no record would match")) } else { Ok(()) }
}

/// The last line of the error of an expression says what is wrong; those before it draw it.
fn one_line(error: &impl Display) -> String {
    let text = error.to_string();
    let last = text.lines().last().unwrap_or_default();
    format!("is no regular expression: {}", last.trim_start_matches("error: "))
}
