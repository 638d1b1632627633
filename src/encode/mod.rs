//! From a record to the bytes of one line. Encoders are pure: record in, bytes out.

pub mod interflow;
pub mod mask;

use crate::record::Record;

/// Where a record came from and when it is written.
#[derive(Clone, Copy, Debug)]
pub struct Origin<'a> {
    /// Name of the bucket.
    pub bucket: &'a str,
    /// Key of the object.
    pub key: &'a str,
    /// Ordinal of the record within the object, from 0.
    pub ordinal: u64,
    /// Now, in epoch milliseconds.
    pub write_time: i64,
}

/// Turns records into lines.
pub trait Encoder: Send + Sync {
    /// Appends exactly one line for `record` to `out`, ending in the only newline of it.
    fn encode(&self, record: &Record<'_>, origin: &Origin<'_>, out: &mut Vec<u8>);
}
