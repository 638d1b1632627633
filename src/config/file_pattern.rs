//! The regular expression that a key must match as a whole to be collected.

use std::fmt;

use regex::{Regex, RegexBuilder};

/// A regular expression over the whole key.
#[derive(Clone)]
pub struct FilePattern {
    typed: String,
    regex: Regex,
}

impl FilePattern {
    /// Reads an expression; the error says what is wrong with it. The syntax is that of the
    /// `regex` crate; `.` also matches a line break, which S3 allows in keys.
    pub fn parse(typed: &str) -> Result<Self, String> {
        // alone first: `a)|(b` would become valid within the group below
        build(typed)?;
        // the second form is for a comment of `(?x)` that swallows the end of the first one
        let regex = build(&format!("^(?:{typed})$")).or_else(|_| build(&format!("^(?:{typed}\n)$")))?;
        Ok(FilePattern { typed: typed.to_owned(), regex })
    }

    /// Whether the expression matches the whole key.
    pub fn is_match(&self, key: &str) -> bool {
        self.regex.is_match(key)
    }

    /// The expression as it was typed.
    pub fn as_str(&self) -> &str {
        &self.typed
    }
}

impl fmt::Debug for FilePattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.typed)
    }
}

/// The regex crate's messages draw the expression with a mark below, over several lines; its
/// last line is what is wrong.
fn build(expression: &str) -> Result<Regex, String> {
    RegexBuilder::new(expression).dot_matches_new_line(true).build().map_err(|error| {
        let text = error.to_string();
        let last = text.lines().last().unwrap_or_default();
        last.strip_prefix("error: ").unwrap_or(last).to_owned()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_whole_key_must_match() {
        for (case, pattern, key, want) in [
            ("plain", r".*\.json\.gz", "a/b.json.gz", true),
            ("rest behind", r".*\.json\.gz", "a/b.json.gz.tmp", false),
            ("rest before", r"b\.gz", "a/b.gz", false),
            ("alternatives are one group", "a|b/.*", "b/c", true),
            ("shorter alternative first", "a|ab", "ab", true),
            ("a line break in the key", ".*gz", "a\nb.gz", true),
            ("an open comment", "(?x) a .* # all of a", "abc", true),
        ] {
            assert_eq!(FilePattern::parse(pattern).unwrap().is_match(key), want, "{case}");
        }
    }

    #[test]
    fn a_wrong_expression_is_named() {
        assert!(FilePattern::parse("*.gz").unwrap_err().contains("repetition operator missing expression"));
        assert!(FilePattern::parse("a)|(b").is_err());
        assert!(FilePattern::parse("((a{1000}){1000}){1000}").is_err());
    }
}
