//! From inflated bytes to records: one file per log type.
//!
//! Decoders are pull parsers over a window of bytes: they know no reader and no clock. They hold
//! no record, so memory is bounded by the window, which the caller grows up to
//! `max_record_bytes`.

pub mod cloudtrail;
pub mod fields;
pub mod grammar;
pub mod inflate;
pub mod json_lines;
#[cfg(feature = "parquet")]
pub mod parquet;
pub mod scan;
#[cfg(any(test, feature = "testing"))]
pub mod testing;
pub mod vpcflow;

use crate::record::{LogType, Record};
use json_lines::JsonLinesDecoder;

/// What a decoder found at the start of the window. `consumed` counts the bytes of the window
/// that are done with; a record's bytes lie within them.
#[derive(Debug)]
pub enum Step<'w> {
    /// One record.
    Record {
        /// The record, a view over the window.
        record: Record<'w>,
        /// Bytes done with, this record included.
        consumed: usize,
    },
    /// Bytes that should be a record and are none; the object goes on after them.
    Malformed {
        /// The bytes, as far as they are at hand (empty when longer than `max_record_bytes`).
        raw: &'w [u8],
        /// Why: a lower-case fragment.
        reason: String,
        /// Bytes done with.
        consumed: usize,
    },
    /// One record that is left out by rule; it counts as a record of the object.
    Dropped {
        /// Bytes done with, this record included.
        consumed: usize,
    },
    /// The window ends within something: drop `consumed` bytes, add more at its end, call again.
    /// Never returned when `eof` was told.
    More {
        /// Bytes done with; may be 0.
        consumed: usize,
    },
    /// The object is complete. Returned only when `eof` was told.
    End,
}

/// Damage that ends the object: what follows cannot be split into records.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{reason} at byte {offset} of the window")]
pub struct Damage {
    /// A lower-case fragment: "expected ',' or ']' after a record".
    pub reason: String,
    /// Where, counted from the start of the window of this call.
    pub offset: usize,
}

/// Splits the inflated bytes of one object into records.
pub trait Decoder: Send {
    /// Looks at the unconsumed bytes of the object; `eof` tells that no more will come.
    ///
    /// Never panics, whatever the bytes. Progress is guaranteed: a call either consumes bytes,
    /// ends, or asks for more.
    fn next<'w>(&'w mut self, window: &'w [u8], eof: bool) -> Result<Step<'w>, Damage>;
}

/// The version of a log type's decoder, stored with the progress of an object: raised when the
/// same bytes would be split in another way.
pub fn version(log_type: LogType) -> u16 {
    match log_type {
        // 2: blanks around rows, and rows of nothing else
        LogType::VpcFlow => 2,
        // 2: a broken record ends where the next event begins
        // 3: though more than the longest record follows it
        LogType::CloudTrail => 3,
        LogType::Waf | LogType::Jsonl => 1,
    }
}

/// What a user may choose about decoding.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DecodeSettings {
    /// A longer record goes to the dead-letter file.
    pub max_record_bytes: usize,
    /// Whether flow rows without traffic, or whose traffic was not recorded (NODATA and
    /// SKIPDATA), are records; else they are dropped.
    pub keep_nodata: bool,
}

impl Default for DecodeSettings {
    fn default() -> Self {
        DecodeSettings { max_record_bytes: 16 << 20, keep_nodata: false }
    }
}

/// The decoder of a log type; `None` for one that this version only knows by name.
pub fn decoder(log_type: LogType, settings: &DecodeSettings) -> Option<Box<dyn Decoder>> {
    match log_type {
        LogType::CloudTrail => Some(Box::new(cloudtrail::CloudTrailDecoder::new(settings.max_record_bytes))),
        LogType::VpcFlow => Some(Box::new(vpcflow::VpcFlowDecoder::new(settings))),
        LogType::Waf => {
            Some(Box::new(JsonLinesDecoder::new(&json_lines::WAF_FIELDS, settings.max_record_bytes)))
        }
        LogType::Jsonl => {
            Some(Box::new(JsonLinesDecoder::new(&json_lines::NO_FIELDS, settings.max_record_bytes)))
        }
    }
}
