//! Which records of a source go on: include and exclude rules over the fields of a record.
//!
//! A record is kept when it matches any include rule, or there is none, and no exclude rule. A
//! rule matches when all its conditions hold. Records are read by the fields that their decoder
//! noted; nothing is parsed into a tree.

mod network;
mod path;

use std::net::IpAddr;

use regex::Regex;

use crate::record::Record;
pub use network::Network;
pub use path::FieldPath;

/// What stands for a rule's name where a record matched no include rule.
pub const NOT_INCLUDED: &str = "not_included";

/// The rules of one source; without any it keeps every record.
#[derive(Clone, Debug, Default)]
pub struct Filter {
    /// Of these one must match, where there are any.
    pub include: Vec<Rule>,
    /// Of these none may match.
    pub exclude: Vec<Rule>,
}

/// Conditions that hold together.
#[derive(Clone, Debug)]
pub struct Rule {
    /// Its name in reports.
    pub name: String,
    /// All must hold; at least one.
    pub conditions: Vec<Condition>,
}

/// One field and what is asked of it.
#[derive(Clone, Debug)]
pub struct Condition {
    /// The field.
    pub field: FieldPath,
    /// What is asked.
    pub test: Test,
}

/// What is asked of a field's text: a string's text, a number or word as it is written, an object
/// or list as compact JSON. A field that is absent or `null` has none; one below a list has as many
/// as the list has elements, of which one must do.
#[derive(Clone, Debug)]
pub enum Test {
    /// It is one of these; case counts.
    OneOf(Vec<String>),
    /// It begins so; case counts.
    Prefix(String),
    /// The expression matches somewhere in it.
    Regex(Regex),
    /// It is an address in one of these networks.
    Cidr(Vec<Network>),
    /// Whether there is one.
    Exists(bool),
}

impl Filter {
    /// The number of what leaves the record out, for [`Filter::name`]; `None` when it is kept.
    /// Of several exclude rules that match the first counts.
    pub fn leaves_out(&self, record: &Record<'_>) -> Option<usize> {
        if !self.include.is_empty() && !self.include.iter().any(|rule| rule.matches(record)) {
            return Some(0);
        }
        self.exclude.iter().position(|rule| rule.matches(record)).map(|number| number + 1)
    }

    /// The name of an exclude rule by its number from 1, [`NOT_INCLUDED`] for any other number.
    pub fn name(&self, number: usize) -> &str {
        let rule = number.checked_sub(1).and_then(|number| self.exclude.get(number));
        rule.map_or(NOT_INCLUDED, |rule| &rule.name)
    }
}

impl Rule {
    fn matches(&self, record: &Record<'_>) -> bool {
        self.conditions.iter().all(|condition| condition.holds(record))
    }
}

impl Condition {
    fn holds(&self, record: &Record<'_>) -> bool {
        match &self.test {
            Test::OneOf(texts) => self.field.any_text(record, &|text| texts.iter().any(|one| one == text)),
            Test::Prefix(prefix) => self.field.any_text(record, &|text| text.starts_with(prefix.as_str())),
            Test::Regex(regex) => self.field.any_text(record, &|text| regex.is_match(text)),
            Test::Cidr(networks) => self.field.any_text(record, &|text| {
                let address = text.parse::<IpAddr>();
                address.is_ok_and(|address| networks.iter().any(|network| network.contains(address)))
            }),
            Test::Exists(wanted) => self.field.any_text(record, &|_| true) == *wanted,
        }
    }
}

#[cfg(test)]
mod tests;
