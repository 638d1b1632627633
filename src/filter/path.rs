//! Where in a record a condition looks.

use std::fmt;

use crate::record::walk::Walk;
use crate::record::{Field, LogType, Record, json, vpcflow};

/// A field of a log type, or a member below one whose members AWS leaves open
/// (`requestParameters.bucketName`). A path goes through lists: it leads to a member of each of
/// their elements.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FieldPath {
    path: String,
    /// The field that the decoder noted; `None` where the path begins at the record itself.
    field: Option<Field>,
    below: Vec<String>,
}

impl FieldPath {
    /// The field at a dotted path; `None` when records of the log type have no such field.
    pub fn find(log_type: LogType, path: &str) -> Option<Self> {
        let paths = log_type.paths();
        let whole = path.split('.').all(|step| !step.is_empty());
        if !whole || !is_known(log_type, path) {
            return None;
        }
        let noted = paths.iter().enumerate().filter_map(|(number, known)| Some((number, rest(path, known)?)));
        let nearest = noted.min_by_key(|(_, below)| below.len());
        let (field, below) = match nearest {
            Some((number, below)) => (Some(Field(u8::try_from(number).ok()?)), below),
            None => (None, path),
        };
        let below = below.split('.').filter(|step| !step.is_empty()).map(str::to_owned).collect();
        Some(FieldPath { path: path.to_owned(), field, below })
    }

    /// Whether a text of the field fits; `false` where it is absent or `null`, and has none.
    pub(super) fn any_text(&self, record: &Record<'_>, fits: &dyn Fn(&str) -> bool) -> bool {
        let value = match self.field {
            Some(field) => record.get(field),
            None => Some(record.raw()),
        };
        match (value, self.field) {
            (None, _) => false,
            (Some(value), Some(field)) if record.columns().is_some() && vpcflow::is_tag(field) => {
                fits(&String::from_utf8_lossy(&vpcflow::percent_decoded(value)))
            }
            (Some(value), _) if record.columns().is_some() => fits(&String::from_utf8_lossy(value)),
            (Some(value), _) => any_below(value, &self.below, fits),
        }
    }
}

fn is_known(log_type: LogType, path: &str) -> bool {
    let paths = log_type.paths();
    let mut open = log_type.free_form().iter().filter_map(|field| paths.get(usize::from(field.0)));
    let mut more = log_type.more_paths().iter();
    log_type == LogType::Jsonl
        || paths.contains(&path)
        || open.any(|open| rest(path, open).is_some())
        || more.any(|more| match more.strip_suffix(".*") {
            Some(open) => rest(path, open).is_some(),
            None => *more == path,
        })
}

/// What of a path lies below another: nothing where they are the same, `None` where it lies
/// elsewhere.
fn rest<'p>(path: &'p str, above: &str) -> Option<&'p str> {
    let rest = path.strip_prefix(above)?;
    if rest.is_empty() { Some(rest) } else { rest.strip_prefix('.') }
}

/// Whether a text at these steps below a raw value fits.
fn any_below(value: &[u8], steps: &[String], fits: &dyn Fn(&str) -> bool) -> bool {
    let Some((step, below)) = steps.split_first() else {
        return json::text(value).is_some_and(|text| fits(&text));
    };
    let mut elements = Walk::new(value);
    if elements.open(b'[') {
        return std::iter::from_fn(|| elements.pass()).any(|element| any_below(element, steps, fits));
    }
    json::member(value, step).is_some_and(|member| any_below(member, below, fits))
}

impl fmt::Display for FieldPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.path)
    }
}
