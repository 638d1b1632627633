//! What can go wrong with one object, leaf or source, and what follows from it.
//!
//! Every error of the rooms that touch the outside carries one [`Class`]; what happens next is
//! decided from the class alone, by exhaustive matches.

use std::fmt;

/// The class of a failure: one per rule of what happens next.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Class {
    /// Time-outs, 5xx, SlowDown, cut or stalled bodies: tried again with backoff.
    Transient,
    /// Bad gzip or bad JSON: one more GET, then quarantined in the same sweep.
    Content,
    /// This one object is refused (403, KMS): failed, quarantined after `max_attempts` sweeps.
    Object,
    /// The object lies in an archive storage class: failed by name, retried daily.
    Archived,
    /// The ETag changed since the object was listed.
    Replaced,
    /// The object is no longer there.
    Gone,
    /// A whole leaf or source refuses us or is not there: exit code 3, next sweep tries again.
    Unreachable,
}

impl Class {
    /// The word that stands in reports, state and logs.
    pub fn word(self) -> &'static str {
        match self {
            Class::Transient => "transient",
            Class::Content => "content",
            Class::Object => "object",
            Class::Archived => "archived",
            Class::Replaced => "replaced",
            Class::Gone => "gone",
            Class::Unreachable => "unreachable",
        }
    }

    /// The class that [`Class::word`] names; `None` for any other word.
    pub fn from_word(word: &str) -> Option<Self> {
        [
            Class::Transient,
            Class::Content,
            Class::Object,
            Class::Archived,
            Class::Replaced,
            Class::Gone,
            Class::Unreachable,
        ]
        .into_iter()
        .find(|class| class.word() == word)
    }

    /// Whether another request within the same sweep may succeed.
    pub fn is_retryable(self) -> bool {
        match self {
            Class::Transient | Class::Content => true,
            Class::Object | Class::Archived | Class::Replaced | Class::Gone | Class::Unreachable => false,
        }
    }
}

impl fmt::Display for Class {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}

/// Why an object was not collected, in the words a report shows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// What follows from it.
    pub class: Class,
    /// A lower-case fragment that completes "failed to collect the object: …".
    pub reason: String,
}

impl Failure {
    /// A failure of `class` for `reason`.
    pub fn new(class: Class, reason: impl Into<String>) -> Self {
        Failure { class, reason: reason.into() }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.class, self.reason)
    }
}

/// The text of an error with all its sources, each once, joined by `: `.
pub fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let cause_text = cause.to_string();
        if !text.ends_with(&cause_text) {
            text.push_str(": ");
            text.push_str(&cause_text);
        }
        source = cause.source();
    }
    text
}

/// What a panic said.
pub fn panic_text(panic: &(dyn std::any::Any + Send)) -> &str {
    let owned = || panic.downcast_ref::<String>().map(String::as_str);
    panic.downcast_ref::<&str>().copied().or_else(owned).unwrap_or("it said nothing")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_and_classes_are_one_to_one() {
        for class in [
            Class::Transient,
            Class::Content,
            Class::Object,
            Class::Archived,
            Class::Replaced,
            Class::Gone,
            Class::Unreachable,
        ] {
            assert_eq!(Class::from_word(class.word()), Some(class));
        }
        assert_eq!(Class::from_word("nonsense"), None);
    }

    #[test]
    fn a_panic_has_its_text() {
        let said = |panic: Box<dyn std::any::Any + Send>| panic_text(&*panic).to_owned();
        assert_eq!(said(Box::new("literal")), "literal");
        assert_eq!(said(Box::new("made".to_owned())), "made");
        assert_eq!(said(Box::new(7)), "it said nothing");
    }

    #[test]
    fn a_chain_names_each_cause_once() {
        #[derive(Debug, thiserror::Error)]
        #[error("failed to open the file")]
        struct Outer(#[source] std::io::Error);
        let error = Outer(std::io::Error::other("disk on fire"));
        assert_eq!(chain(&error), "failed to open the file: disk on fire");
    }
}
