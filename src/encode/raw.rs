//! The original record, one per line.
//!
//! Line breaks between the tokens of a JSON record become spaces; nothing else is changed. This
//! is what parsers of AWS's own records read, QRadar's for CloudTrail among them.

use std::sync::Arc;

use super::{EncodeSettings, Encoder, Origin, SettingsError};
use crate::record::{LogType, Record, json};

/// Encodes the records of any log type.
#[derive(Clone, Copy, Debug)]
pub struct RawEncoder;

pub(super) fn build(_: LogType, _: &EncodeSettings) -> Result<Arc<dyn Encoder>, SettingsError> {
    Ok(Arc::new(RawEncoder))
}

impl Encoder for RawEncoder {
    fn encode(&self, record: &Record<'_>, _: &Origin<'_>, out: &mut Vec<u8>) {
        json::push_one_line(out, record.raw());
        out.push(b'\n');
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_line_and_else_the_original() {
        let raw = b"{ \"a\" :\r\n\t\"\\u0061\\n\", \"n\": 1.50e+2,\n \"b\": {} }";
        let mut out = b"before\n".to_vec();
        let origin = Origin { bucket: "b", key: "k", ordinal: 0, write_time: 0 };
        RawEncoder.encode(&Record::new(raw, &[]), &origin, &mut out);
        let want = "before\n{ \"a\" :  \t\"\\u0061\\n\", \"n\": 1.50e+2,  \"b\": {} }\n";
        assert_eq!(String::from_utf8(out).unwrap(), want);
    }
}
