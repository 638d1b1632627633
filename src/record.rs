//! One record as it stands in an object: its bytes and where its known fields lie in them.
//!
//! A decoder makes records, filters and encoders read them; nobody builds a tree.

pub mod cloudtrail;
pub mod json;
pub mod time;

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
            LogType::VpcFlow | LogType::Waf | LogType::Jsonl => &[],
        }
    }

    /// The fields among them that are objects with members of any name.
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
}

impl<'a> Record<'a> {
    /// A record over `raw`; `spans` is indexed by [`Field`].
    pub fn new(raw: &'a [u8], spans: &'a [Span]) -> Self {
        Record { raw, spans }
    }

    /// The record's bytes exactly as they stand in the object: valid UTF-8 and, for JSON log
    /// types, one valid JSON object.
    pub fn raw(&self) -> &'a [u8] {
        self.raw
    }

    /// The raw value of a field (a JSON value with its quotes and escapes, `null` included),
    /// `None` when the record does not have it.
    pub fn get(&self, field: Field) -> Option<&'a [u8]> {
        let span = self.span(field)?;
        self.raw.get(span.start as usize..span.end as usize)
    }

    /// Where the raw value of a field lies within [`Record::raw`], `None` when the record does
    /// not have it.
    pub fn span(&self, field: Field) -> Option<Span> {
        let span = *self.spans.get(usize::from(field.0))?;
        (span.start < span.end).then_some(span)
    }
}
