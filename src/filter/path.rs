//! Where in a record a condition looks.

use std::borrow::Cow;
use std::fmt;

use crate::record::{Field, LogType, Record, json};

/// A field of a log type, or a member below one whose members AWS leaves open
/// (`requestParameters.bucketName`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FieldPath {
    path: String,
    /// `None` where all members are open: the record itself.
    field: Option<Field>,
    below: Vec<String>,
}

impl FieldPath {
    /// The field at a dotted path; `None` when records of the log type have no such field.
    pub fn find(log_type: LogType, path: &str) -> Option<Self> {
        let paths = log_type.paths();
        let known = |path: &str| paths.iter().position(|known| *known == path);
        if let Some(number) = known(path) {
            let field = Field(u8::try_from(number).ok()?);
            return Some(FieldPath { path: path.to_owned(), field: Some(field), below: Vec::new() });
        }
        let open = log_type.free_form().iter().find_map(|field| {
            let below = path.strip_prefix(paths.get(usize::from(field.0))?)?.strip_prefix('.')?;
            Some((Some(*field), below))
        });
        let (field, below) = match open {
            Some(found) => found,
            None if log_type == LogType::Jsonl => (None, path),
            None => return None,
        };
        let below: Vec<_> = below.split('.').map(str::to_owned).collect();
        let whole = below.iter().all(|step| !step.is_empty());
        whole.then(|| FieldPath { path: path.to_owned(), field, below })
    }

    /// The text of the field in a record; `None` where it is absent or `null`.
    pub(super) fn text<'a>(&self, record: &Record<'a>) -> Option<Cow<'a, str>> {
        let value = match self.field {
            Some(field) => record.get(field)?,
            None => record.raw(),
        };
        if record.columns().is_some() {
            return Some(String::from_utf8_lossy(value));
        }
        json::text(self.below.iter().try_fold(value, |value, step| json::member(value, step))?)
    }
}

impl fmt::Display for FieldPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.path)
    }
}
