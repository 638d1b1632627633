//! One record as it stands in an object: its bytes and where its known fields lie in them.
//!
//! A decoder makes records, filters and encoders read them; nobody builds a tree.

pub mod cloudtrail;
pub mod columns;
mod fields;
pub mod json;
pub mod time;
pub mod vpcflow;
pub mod waf;
pub mod walk;

pub(crate) use fields::fields;

use columns::{Column, Columns};

/// The kind of log an object holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum LogType {
    /// AWS CloudTrail: `{"Records":[…]}`.
    CloudTrail,
    /// VPC flow logs.
    VpcFlow,
    /// AWS WAF logs.
    Waf,
    /// Any log of one JSON object per line.
    Jsonl,
}

impl LogType {
    /// All log types, in the order of the documentation.
    pub const ALL: [LogType; 4] = [LogType::CloudTrail, LogType::VpcFlow, LogType::Waf, LogType::Jsonl];

    /// The word of the configuration.
    pub fn word(self) -> &'static str {
        match self {
            LogType::CloudTrail => "cloudtrail",
            LogType::VpcFlow => "vpcflow",
            LogType::Waf => "waf",
            LogType::Jsonl => "jsonl",
        }
    }

    /// The log type that [`LogType::word`] names.
    pub fn from_word(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|log_type| log_type.word() == word)
    }
}

impl LogType {
    /// The dotted paths of the fields that a record of this type may have, indexed by [`Field`].
    pub fn paths(self) -> &'static [&'static str] {
        match self {
            LogType::CloudTrail => cloudtrail::PATHS,
            LogType::VpcFlow => vpcflow::NAMES,
            LogType::Waf => waf::PATHS,
            LogType::Jsonl => &[],
        }
    }

    /// Further paths that records of this type may have, which decoders do not note: filters find
    /// them by a walk. `.*` at the end of one stands for itself and any path below.
    pub fn more_paths(self) -> &'static [&'static str] {
        match self {
            LogType::CloudTrail => cloudtrail::MORE_PATHS,
            LogType::Waf => waf::MORE_PATHS,
            LogType::VpcFlow | LogType::Jsonl => &[],
        }
    }

    /// The fields of [`LogType::paths`] that are objects with members of any name.
    pub fn free_form(self) -> &'static [Field] {
        match self {
            LogType::CloudTrail => &cloudtrail::FREE_FORM,
            LogType::VpcFlow | LogType::Waf | LogType::Jsonl => &[],
        }
    }
}

/// Where a field's raw value lies within the record's bytes; empty means absent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Span {
    /// First byte of the value.
    pub start: u32,
    /// First byte after the value.
    pub end: u32,
}

/// A field that a log type knows: its place in the log type's table of paths.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Field(pub u8);

/// One record: a view over the bytes of one record and the ranges of its fields.
#[derive(Clone, Copy, Debug)]
pub struct Record<'a> {
    raw: &'a [u8],
    spans: &'a [Span],
    lists: &'a [NamedList],
    columns: Option<&'a Columns>,
    shape: Shape,
}

/// An element of a list, `{"name":"…"}` or `{"name":"…","value":"…"}` to the byte, with no escape
/// in the name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Named {
    /// What stands between the quotes of the name.
    pub name: Span,
    /// The raw value, its quotes included; empty where there is none.
    pub value: Span,
}

/// A field that is a list of nothing but [`Named`] elements, as a decoder noted it.
#[derive(Clone, Debug, Default)]
pub struct NamedList {
    /// Where the list lies; empty while none is noted.
    pub place: Span,
    /// Its elements, in their order.
    pub elements: Vec<Named>,
}

/// What is known of the form of a JSON record.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Shape {
    /// No blank, and so no line break, is between its tokens.
    pub is_compact: bool,
    /// A known field came twice in one object; of twins the last one is noted.
    pub has_twins: bool,
}

impl<'a> Record<'a> {
    /// A JSON record over `raw`; `spans` is indexed by [`Field`].
    pub fn new(raw: &'a [u8], spans: &'a [Span]) -> Self {
        Record { raw, spans, lists: &[], columns: None, shape: Shape::default() }
    }

    /// The same with what is known of its form.
    pub fn with_shape(self, shape: Shape) -> Self {
        Record { shape, ..self }
    }

    /// The same with lists whose elements are known.
    pub fn with_lists(self, lists: &'a [NamedList]) -> Self {
        Record { lists, ..self }
    }

    /// The elements of a field, `None` when they are not known: the field is absent, or no list, or
    /// one of other elements too. [`walk`] finds those.
    #[inline]
    pub fn named(&self, field: Field) -> Option<&'a [Named]> {
        let place = self.span(field)?;
        let list = self.lists.iter().find(|list| list.place == place)?;
        Some(&list.elements)
    }

    /// What is known of the form of a JSON record.
    pub fn shape(&self) -> Shape {
        self.shape
    }

    /// A row of text over `raw`; `spans` is indexed by the place among `columns`, and empty where
    /// the row has nothing to say (`-`).
    pub fn of_row(raw: &'a [u8], spans: &'a [Span], columns: &'a Columns) -> Self {
        Record { raw, spans, lists: &[], columns: Some(columns), shape: Shape::default() }
    }

    /// The record's bytes exactly as they stand in the object: valid UTF-8 and, for JSON log
    /// types, one valid JSON object.
    pub fn raw(&self) -> &'a [u8] {
        self.raw
    }

    /// The raw value of a field, `None` when the record does not have it: a JSON value with its
    /// quotes and escapes, `null` included; of a row of text the plain value, never `-`.
    #[inline]
    pub fn get(&self, field: Field) -> Option<&'a [u8]> {
        self.value(self.span(field)?)
    }

    /// Where the raw value of a field lies within [`Record::raw`], `None` when the record does
    /// not have it.
    #[inline]
    pub fn span(&self, field: Field) -> Option<Span> {
        let place = match self.columns {
            None => usize::from(field.0),
            Some(columns) => columns.place(field)?,
        };
        let span = *self.spans.get(place)?;
        (span.start < span.end).then_some(span)
    }

    /// Where the fields of a JSON record lie, indexed by [`Field`]; none for a row of text.
    #[inline]
    pub fn spans(&self) -> &'a [Span] {
        if self.columns.is_none() { self.spans } else { &[] }
    }

    /// The columns of the object, `None` for a JSON record: its values are plain text exactly
    /// when there are columns.
    pub fn columns(&self) -> Option<&'a Columns> {
        self.columns
    }

    /// The columns of a row that have a value, known or not, in the row's order; none for a JSON
    /// record.
    pub fn cells(&self) -> impl Iterator<Item = (&'a Column, &'a [u8])> + use<'a> {
        let record = *self;
        let columns = self.columns.map(Columns::list).unwrap_or_default();
        columns
            .iter()
            .zip(self.spans)
            .filter(|(_, span)| span.start < span.end)
            .filter_map(move |(column, span)| Some((column, record.value(*span)?)))
    }

    /// The bytes at a place within [`Record::raw`], none where it has none.
    pub fn bytes(&self, span: Span) -> &'a [u8] {
        self.value(span).unwrap_or_default()
    }

    fn value(&self, span: Span) -> Option<&'a [u8]> {
        self.raw.get(span.start as usize..span.end as usize)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SPANS: [Span; 3] =
        [Span { start: 0, end: 1 }, Span { start: 2, end: 2 }, Span { start: 4, end: 7 }];

    #[test]
    fn fields_of_rows_are_found_by_their_columns() {
        let columns = Columns::new(["b", "new", "a"].into_iter(), &["a", "b", "c", "new-too"]).unwrap();
        let record = Record::of_row(b"1 - xyz", &SPANS, &columns);
        let got = [0, 1, 2, 3].map(|field| record.get(Field(field)));
        assert_eq!(got, [Some(&b"xyz"[..]), Some(b"1"), None, None]);
        let cells: Vec<_> = record.cells().map(|(column, value)| (&*column.name, value)).collect();
        assert_eq!(cells, [("b", &b"1"[..]), ("a", b"xyz")], "a dash is no value");
    }

    #[test]
    fn fields_of_json_are_found_by_their_number() {
        let record = Record::new(b"1 - xyz", &SPANS);
        let got = [0, 1, 2, 3].map(|field| record.get(Field(field)));
        assert_eq!(got, [Some(&b"1"[..]), None, Some(b"xyz"), None]);
        assert_eq!((record.cells().count(), record.columns()), (0, None));
    }
}
