//! Whether two sources can collect the same object: a key that both patterns match.
//!
//! Each pattern is read as a row of steps over the letters of a key; two patterns overlap when
//! some key leads through both to their ends. All pairs of steps are visited once, so the cost is
//! the product of two lengths.

use std::collections::HashSet;

use super::model::SourceConfig;

/// One warning per pair of enabled sources whose patterns overlap in one bucket.
pub(super) fn overlapping_sources(sources: &[SourceConfig]) -> Vec<String> {
    let enabled: Vec<_> = sources.iter().filter(|source| source.enabled).collect();
    let steps: Vec<_> = enabled.iter().map(|source| steps(&source.pattern.to_string())).collect();
    let mut warnings = Vec::new();
    for (second, b) in enabled.iter().enumerate() {
        for (first, a) in enabled[..second].iter().enumerate() {
            let one_bucket = a.bucket == b.bucket && a.access.endpoint_url == b.access.endpoint_url;
            if one_bucket && meet(&steps[first], &steps[second]) {
                warnings.push(format!(
                    "sources \"{}\" and \"{}\" overlap in bucket {}: an object that matches both `{}` and `{}` \
                     is collected twice",
                    a.name,
                    b.name,
                    a.bucket.name(),
                    a.pattern,
                    b.pattern
                ));
            }
        }
    }
    warnings
}

/// What one letter of a key may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Letter {
    Is(char),
    Digit,
    /// Of an organisation id.
    LowerOrDigit,
    NoSlash,
    Any,
}

/// One step: exactly one letter, or (`many`) any number of them.
#[derive(Clone, Copy, Debug)]
struct Step {
    letter: Letter,
    many: bool,
}

impl Letter {
    fn allows(self, letter: char) -> bool {
        match self {
            Letter::Is(own) => own == letter,
            Letter::Digit => letter.is_ascii_digit(),
            Letter::LowerOrDigit => letter.is_ascii_lowercase() || letter.is_ascii_digit(),
            Letter::NoSlash => letter != '/',
            Letter::Any => true,
        }
    }

    /// Whether some letter is allowed by both.
    fn meets(self, other: Letter) -> bool {
        match (self, other) {
            (Letter::Is(own), other) | (other, Letter::Is(own)) => other.allows(own),
            // all other classes hold the digits
            _ => true,
        }
    }
}

/// The steps of a pattern in its shown form. A pattern is a string prefix: anything may follow.
fn steps(shown: &str) -> Vec<Step> {
    let mut steps = Vec::new();
    let segments = shown.split('/').collect::<Vec<_>>();
    for (number, segment) in segments.iter().enumerate() {
        if number > 0 {
            steps.push(Step { letter: Letter::Is('/'), many: false });
        }
        if *segment == "OU-ID" {
            steps.extend(['o', '-'].map(|letter| Step { letter: Letter::Is(letter), many: false }));
            steps.push(Step { letter: Letter::LowerOrDigit, many: true });
        } else {
            segment_steps(segment, &mut steps);
        }
    }
    steps.push(Step { letter: Letter::Any, many: true });
    steps
}

fn segment_steps(segment: &str, steps: &mut Vec<Step>) {
    let one = |letter| Step { letter, many: false };
    let mut letters = segment.chars();
    while let Some(letter) = letters.next() {
        match letter {
            '\\' => steps.extend(letters.next().map(|literal| one(Letter::Is(literal)))),
            '*' => steps.push(Step { letter: Letter::NoSlash, many: true }),
            '{' => {
                let variable: String = letters.by_ref().take_while(|letter| *letter != '}').collect();
                steps.extend(std::iter::repeat_n(one(Letter::Digit), variable.len().max(1)));
                if variable.len() == 1 {
                    steps.push(Step { letter: Letter::Digit, many: true });
                }
            }
            literal => steps.push(one(Letter::Is(literal))),
        }
    }
}

fn meet(a: &[Step], b: &[Step]) -> bool {
    let mut seen = HashSet::from([(0, 0)]);
    let mut open = vec![(0, 0)];
    while let Some((i, j)) = open.pop() {
        if i == a.len() && j == b.len() {
            return true;
        }
        let (step_a, step_b) = (a.get(i), b.get(j));
        let mut go = |next: (usize, usize)| {
            if seen.insert(next) {
                open.push(next);
            }
        };
        // a step of many letters may take none
        if step_a.is_some_and(|step| step.many) {
            go((i + 1, j));
        }
        if step_b.is_some_and(|step| step.many) {
            go((i, j + 1));
        }
        if let (Some(step_a), Some(step_b)) = (step_a, step_b)
            && step_a.letter.meets(step_b.letter)
        {
            go((if step_a.many { i } else { i + 1 }, if step_b.many { j } else { j + 1 }));
        }
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_overlap_when_a_key_matches_both() {
        for (a, b, want) in [
            (
                "AWSLogs/*/CloudTrail/us-east-1/{YYYY}/{mm}/{dd}",
                "AWSLogs/*/CloudTrail/eu-west-1/{YYYY}",
                false,
            ),
            ("AWSLogs/*/CloudTrail/us-*", "AWSLogs/*/CloudTrail/us-east-1/{YYYY}/{mm}/{dd}", true),
            ("AWSLogs/OU-ID/*/CloudTrail", "AWSLogs/o-abcdefghij/1/CloudTrail", true),
            ("AWSLogs/OU-ID/*/CloudTrail", "AWSLogs/111122223333/CloudTrail", false),
            ("logs/app-", "logs/app-1", true),
            ("logs/{YYYY}", "logs/2024/x", true),
            ("logs/{YYYY}", "logs/year", false),
            ("a/{m}/x", "a/12/x", true),
            ("a/{mm}/x", "a/1/x", false),
            ("a/*/c", "a/b/b/c", false),
            (r"a/\*", "a/b", false),
            ("a", "b", false),
            ("", "anything", true),
        ] {
            assert_eq!(meet(&steps(a), &steps(b)), want, "{a} and {b}");
            assert_eq!(meet(&steps(b), &steps(a)), want, "{b} and {a}");
        }
    }

    #[test]
    fn long_patterns_with_many_wildcards_take_no_time() {
        let long = "*a".repeat(400);
        assert!(meet(&steps(&long), &steps(&long)));
    }
}
