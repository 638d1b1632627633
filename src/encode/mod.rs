//! From a record to the bytes of one line. Encoders are pure: record in, bytes out.

pub mod cef;
mod cloudtrail;
pub mod interflow;
pub mod mask;
mod origin;
pub mod raw;

use std::fmt;
use std::sync::Arc;

use crate::record::{Field, LogType, Record, json};
use cef::CefSettings;
use interflow::InterflowSettings;
pub use origin::Origin;

/// Turns records into lines.
pub trait Encoder: Send + Sync {
    /// Appends exactly one line for `record` to `out`, ending in the only newline of it.
    fn encode(&self, record: &Record<'_>, origin: &Origin, out: &mut Vec<u8>);
}

/// A text field of a JSON record that says something, still escaped.
fn text<'a>(record: &Record<'a>, field: Field) -> Option<&'a [u8]> {
    json::filled_string(record.get(field)?)
}

/// Appends the bytes of a JSON record, or a piece of them, with spaces for line breaks.
fn push_in_one_line(record: &Record<'_>, piece: &[u8], out: &mut Vec<u8>) {
    match record.shape().is_compact {
        true => out.extend_from_slice(piece),
        false => json::push_one_line(out, piece),
    }
}

/// A form that records can be written in.
pub struct Encoding {
    /// The word of the configuration.
    pub word: &'static str,
    build: Build,
}

type Build = fn(LogType, &EncodeSettings) -> Result<Arc<dyn Encoder>, SettingsError>;

/// All encodings; the first is the default. A new one is a file beside this one and a line here.
pub static ENCODINGS: &[Encoding] = &[
    Encoding { word: "interflow", build: interflow::build },
    Encoding { word: "cef", build: cef::build },
    Encoding { word: "raw", build: raw::build },
];

impl Encoding {
    /// The encoder of a log type's records.
    ///
    /// # Errors
    ///
    /// When the settings contradict the log type's lines, or this version has no mapping of it.
    pub fn encoder(
        &self,
        log_type: LogType,
        settings: &EncodeSettings,
    ) -> Result<Arc<dyn Encoder>, SettingsError> {
        (self.build)(log_type, settings)
    }
}

impl fmt::Debug for Encoding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word)
    }
}

impl PartialEq for Encoding {
    fn eq(&self, other: &Self) -> bool {
        self.word == other.word
    }
}

/// What a user may choose about lines, each encoding for itself.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct EncodeSettings {
    /// About Interflow lines.
    pub interflow: InterflowSettings,
    /// About CEF lines.
    pub cef: CefSettings,
}

/// A setting that lines cannot be written with.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SettingsError {
    /// The vendor object has no name.
    #[error("vendor_object is empty: give the name of the member that holds the original record")]
    EmptyVendorObject,
    /// The vendor object would stand twice in a line.
    #[error(
        "vendor_object {name:?} is a field that every line may have: choose another name, such as \"aws\""
    )]
    ReservedVendorObject {
        /// The name given.
        name: String,
    },
    /// The log type is not mapped to the encoding.
    #[error("the encoder {encoding} has no mapping of the log type {} in this version", .log_type.word())]
    NoMapping {
        /// The encoding's word.
        encoding: &'static str,
        /// The log type.
        log_type: LogType,
    },
}
