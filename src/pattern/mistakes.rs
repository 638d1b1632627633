//! The mistakes people make in patterns, and what they meant.

use std::ops::Range;

use super::parse::{Found, Piece, read};
use super::time::{Step, Variable};

/// A mistake: the character it begins at, what is wrong, and the edits that mend it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Mistake {
    pub at: usize,
    pub reason: String,
    edits: Vec<(Range<usize>, String)>,
}

impl Mistake {
    fn new(range: Range<usize>, reason: String, text: impl Into<String>) -> Self {
        Mistake { at: range.start, reason, edits: vec![(range, text.into())] }
    }

    fn without_edit(at: usize, reason: String) -> Self {
        Mistake { at, reason, edits: Vec::new() }
    }

    pub fn lone_backslash(at: usize) -> Self {
        Self::new(at..at + 1, "the backslash at the end makes no character literal".to_owned(), "\\\\")
    }

    pub fn double_star(at: usize, length: usize) -> Self {
        let stars = "*".repeat(length);
        let reason =
            format!("{stars} is no wildcard, * stands for a part of one segment and never crosses /");
        Self::new(at..at + length, reason, "*")
    }

    /// A brace that nothing closes; `rest` is what follows it.
    pub fn open_brace(at: usize, rest: &[char]) -> Self {
        let name: String = rest.iter().take_while(|c| c.is_alphanumeric()).collect();
        if let Some(variable) = Variable::from_name(&name) {
            let end = at + 1 + name.len();
            return Self::new(at..end, format!("the {{ before {name} has no }}"), spelt(variable, false));
        }
        Self::new(at..at + 1, "the { begins no date variable; a brace itself is \\{".to_owned(), "\\{")
    }

    /// A variable whose name is none; `meant` is the one it looks like.
    pub fn misspelt(at: usize, length: usize, name: &str, slashes: bool, meant: Option<Variable>) -> Self {
        let written = if slashes { format!("//{name}//") } else { format!("{{{name}}}") };
        match meant {
            Some(variable) => {
                let reason = format!("{written} is no date variable, {} is", spelt(variable, slashes));
                Self::new(at..at + length, reason, spelt(variable, slashes))
            }
            None => {
                let known = Variable::ALL.map(Variable::name).join(" ");
                let reason = format!("{written} is no date variable ({known}); a brace itself is \\{{");
                Self::new(at..at + 1, reason, "\\{")
            }
        }
    }

    /// The variable that a wrong name was probably meant to be.
    pub fn lookalike(name: &str) -> Option<Variable> {
        let name = name.trim();
        if let Some(variable) = Variable::from_name(name) {
            return Some(variable);
        }
        let meant = match name.to_ascii_lowercase().as_str() {
            "yyyy" | "yyy" | "yy" | "y" | "year" => "YYYY",
            "mm" | "month" | "mon" => "mm",
            "dd" | "day" => "dd",
            "d" => "d",
            "hh" | "hour" => "HH",
            "h" => "H",
            "min" | "minute" => "MM",
            _ => return None,
        };
        Variable::from_name(meant)
    }
}

/// A variable as it is written.
fn spelt(variable: Variable, slashes: bool) -> String {
    if slashes { format!("//{}//", variable.name()) } else { format!("{{{}}}", variable.name()) }
}

/// The text with all edits made, when that is a pattern.
pub(super) fn correct(text: &str, mistakes: &[Mistake]) -> Option<String> {
    // A correction may bring the next mistake to light; more than a few rounds are guesswork.
    const ROUNDS: usize = 4;
    let mut corrected = edited(text, mistakes)?;
    for _ in 0..ROUNDS {
        match read(&corrected) {
            Ok(_) => return Some(corrected),
            Err(next) => corrected = edited(&corrected, &next)?,
        }
    }
    None
}

/// Makes the edits from left to right, leaving out those that overlap; `None` without any.
fn edited(text: &str, mistakes: &[Mistake]) -> Option<String> {
    let mut edits: Vec<_> = mistakes.iter().flat_map(|mistake| &mistake.edits).collect();
    edits.sort_by_key(|(range, _)| (range.start, range.end));
    let chars: Vec<char> = text.chars().collect();
    let mut result = String::new();
    let mut done = 0;
    for (range, replacement) in &edits {
        if range.start < done || range.end > chars.len() {
            continue;
        }
        result.extend(&chars[done..range.start]);
        result.push_str(replacement);
        done = range.end;
    }
    result.extend(&chars[done..]);
    if result.is_empty() {
        // Nothing but slashes: the root.
        result.push('/');
    }
    (!edits.is_empty() && result != text).then_some(result)
}

/// Finds what the scan let pass.
pub(super) fn find_mistakes(chars: &[char], pieces: &[Found], mistakes: &mut Vec<Mistake>) {
    if chars.is_empty() {
        let reason = "the pattern is empty; the whole bucket is /".to_owned();
        mistakes.push(Mistake::new(0..0, reason, "/"));
        return;
    }
    leading_slash(pieces, mistakes);
    bare_year(pieces, mistakes);
    lost_slashes(pieces, mistakes);
    // A mistake above can take away the variable whose absence would be reported.
    if mistakes.is_empty() {
        missing_coarser(pieces, mistakes);
    }
    endless_number(pieces, mistakes);
    too_long(pieces, mistakes);
}

fn leading_slash(pieces: &[Found], mistakes: &mut Vec<Mistake>) {
    let slashes = pieces.iter().take_while(|found| found.plain() == Some('/')).count();
    if slashes > 0 {
        let reason = "keys do not begin with a slash (only / alone is the bucket root)".to_owned();
        mistakes.push(Mistake::new(0..slashes, reason, ""));
    }
}

/// Letters and digits that stand together, none of them escaped.
struct Word {
    text: String,
    /// Places in the list of pieces.
    pieces: Range<usize>,
}

fn words(pieces: &[Found]) -> Vec<Word> {
    let is_letter =
        |found: &Found| matches!(found.piece, Piece::Char { value, .. } if value.is_alphanumeric());
    let mut words = Vec::new();
    let mut start = 0;
    for run in pieces.chunk_by(|a, b| is_letter(a) && is_letter(b)) {
        let range = start..start + run.len();
        start = range.end;
        let text: Option<String> = run.iter().map(Found::plain).collect();
        if let Some(text) = text.filter(|_| run.iter().all(is_letter)) {
            words.push(Word { text, pieces: range });
        }
    }
    words
}

/// The characters of some pieces.
fn span(pieces: &[Found], range: &Range<usize>) -> Range<usize> {
    let start = pieces.get(range.start).map_or(0, |found| found.start);
    let end = pieces.get(range.end.saturating_sub(1)).map_or(start, |found| found.end);
    start..end.max(start)
}

/// Whether the pattern writes a variable between slashes.
fn uses_slashes(pieces: &[Found]) -> bool {
    pieces.iter().any(|found| matches!(found.piece, Piece::Date { slashes: true, .. }))
}

/// How many unescaped slashes stand side by side, beginning at a piece.
fn slashes_from<'p>(pieces: impl Iterator<Item = &'p Found>) -> usize {
    pieces.take_while(|found| found.plain() == Some('/')).count()
}

/// `YYYY` without slashes or braces of its own; what follows it in the same manner is mended
/// with it.
fn bare_year(pieces: &[Found], mistakes: &mut Vec<Mistake>) {
    let slashes = uses_slashes(pieces);
    let mut edits = Vec::new();
    let mut year: Option<(usize, String)> = None;
    let mut next = 0;
    for word in words(pieces) {
        let whole =
            |at: Option<usize>| at.and_then(|at| pieces.get(at)).is_none_or(|f| f.plain() == Some('/'));
        let alone = whole(word.pieces.start.checked_sub(1)) && whole(Some(word.pieces.end));
        let variable = match next {
            0 if word.text == "YYYY" || (word.text == "yyyy" && alone) => Variable::from_name("YYYY"),
            0 => None,
            _ => bare_unit(&word.text, Step::ALL.get(next).copied()),
        };
        let Some(variable) = variable else { continue };
        let range = span(pieces, &word.pieces);
        // Half a pair of slashes: `/YYYY//`.
        let closing = slashes_from(pieces[word.pieces.end..].iter());
        let end = if closing >= 2 && closing % 2 == 0 { range.end + 2 } else { range.end };
        year.get_or_insert((range.start, word.text));
        edits.push((range.start..end, spelt(variable, slashes)));
        next += 1;
    }
    if let Some((at, name)) = year {
        let reason =
            format!("{name} has neither braces nor two slashes on each side, so it is no date variable");
        mistakes.push(Mistake { at, reason, edits });
    }
}

/// The variable of a unit that a word spells, in either case.
fn bare_unit(word: &str, unit: Option<Step>) -> Option<Variable> {
    let mut variables = Variable::ALL.into_iter().filter(|variable| Some(variable.unit) == unit);
    variables.find(|variable| variable.name().eq_ignore_ascii_case(word))
}

/// The name of a variable right behind a variable between slashes, with some of its own
/// slashes missing: `//YYYY//mm//`, `//YYYY////mm`. A folder `/mm/` is none of these.
fn lost_slashes(pieces: &[Found], mistakes: &mut Vec<Mistake>) {
    for word in words(pieces) {
        let Some(variable) = Variable::from_name(&word.text) else { continue };
        let before = slashes_from(pieces[..word.pieces.start].iter().rev());
        let after = slashes_from(pieces[word.pieces.end..].iter());
        let left = (word.pieces.start - before).checked_sub(1).and_then(|at| pieces.get(at));
        if !left.is_some_and(|found| matches!(found.piece, Piece::Date { slashes: true, .. })) {
            continue;
        }
        let range = span(pieces, &word.pieces);
        let edit = match (before, after) {
            (0 | 1, 2..) => (range.start..range.start, "//".to_owned()),
            (2.., 0 | 1) => (range.end..range.end + after, "//".to_owned()),
            _ => continue,
        };
        let reason = format!("{} lacks slashes of its own, as in {}", word.text, spelt(variable, true));
        mistakes.push(Mistake { at: range.start, reason, edits: vec![edit] });
    }
}

fn missing_coarser(pieces: &[Found], mistakes: &mut Vec<Mistake>) {
    let dates = || {
        pieces.iter().filter_map(|found| match found.piece {
            Piece::Date { variable, slashes } => Some((*found, variable, slashes)),
            Piece::Char { .. } | Piece::Star => None,
        })
    };
    let present = |unit: Step| dates().any(|(_, variable, _)| variable.unit == unit);
    let lacking = |variable: Variable| {
        Step::ALL[..variable.unit.index()].iter().copied().filter(|unit| !present(*unit))
    };
    let Some((first, variable, slashes)) =
        dates().find(|(_, variable, _)| lacking(*variable).next().is_some())
    else {
        return;
    };
    let written = spelt(variable, slashes);

    let hour = dates().position(|(_, variable, _)| variable.unit == Step::Hour).unwrap_or(usize::MAX);
    let minute = dates().enumerate().find(|(_, (_, variable, _))| variable.unit == Step::Minute);
    if let Some((at, (found, minute, slashes))) = minute
        && !present(Step::Month)
        && present(Step::Year)
        && at < hour
    {
        let month = Variable { unit: Step::Month, padded: minute.padded };
        let (month, minute) = (spelt(month, slashes), spelt(minute, slashes));
        mistakes.push(Mistake::new(
            found.start..found.end,
            format!("{minute} is the minute, the month is {month}"),
            month,
        ));
        return;
    }

    let mut edits = Vec::new();
    let mut bare = None;
    for unit in lacking(variable) {
        // The name may stand there as plain text: `///YYYY///mm///dd//`.
        let word = words(pieces).into_iter().find(|word| {
            let behind =
                pieces.iter().position(|found| matches!(found.piece, Piece::Date { .. })).unwrap_or(0);
            word.pieces.start > behind && Variable::from_name(&word.text).is_some_and(|v| v.unit == unit)
        });
        if let Some(word) = word
            && let Some(named) = Variable::from_name(&word.text)
        {
            let range = span(pieces, &word.pieces);
            bare.get_or_insert((range.start, word.text, spelt(named, slashes)));
            edits.push((range, spelt(named, slashes)));
        }
    }
    mistakes.push(match bare {
        Some((at, name, right)) => {
            let reason =
                format!("{name} is plain text here, the date variable is {right}, which {written} needs");
            Mistake { at, reason, edits }
        }
        None => {
            let names: Vec<_> = lacking(variable).map(|unit| coarser_name(unit, slashes)).collect();
            let reason = format!("{written} needs {} somewhere in the pattern", names.join(" and "));
            Mistake::without_edit(first.start, reason)
        }
    });
}

/// The padded variable of a unit, as it is written.
fn coarser_name(unit: Step, slashes: bool) -> String {
    spelt(Variable { unit, padded: true }, slashes)
}

/// A number of one or two digits followed by another digit: nobody could tell where it ends.
fn endless_number(pieces: &[Found], mistakes: &mut Vec<Mistake>) {
    for pair in pieces.windows(2) {
        let Piece::Date { variable, slashes } = pair[0].piece else { continue };
        let digit = match pair[1].piece {
            Piece::Date { .. } => true,
            Piece::Char { value, .. } => value.is_ascii_digit(),
            Piece::Star => false,
        };
        if variable.padded || !digit {
            continue;
        }
        let padded = coarser_name(variable.unit, slashes);
        let reason = format!(
            "where {} ends cannot be told before another digit; put a character between them, or pad it",
            spelt(variable, slashes)
        );
        mistakes.push(Mistake::new(pair[0].start..pair[0].end, reason, padded));
    }
}

fn too_long(pieces: &[Found], mistakes: &mut Vec<Mistake>) {
    /// The longest key of S3, in bytes.
    const LONGEST: usize = 1024;
    let mut length = 0;
    for found in pieces {
        length += match found.piece {
            Piece::Char { value, .. } => value.len_utf8(),
            Piece::Date { variable, .. } if variable.padded => variable.width(),
            Piece::Date { .. } => 1,
            Piece::Star => 0,
        };
        if length > LONGEST {
            let reason = format!("no key has the more than {LONGEST} bytes that this pattern needs");
            mistakes.push(Mistake::without_edit(found.start, reason));
            return;
        }
    }
}
