//! Records of any other log as Interflow lines: the time, the place, and the original.

use super::{Content, Header, InterflowSettings, SettingsError};
use crate::encode::{Encoder, Origin, push_in_one_line};
use crate::record::{Record, time, walk};

/// Every member that a line may have beside the vendor object.
pub(super) const MEMBERS: &[&str] = &[
    "timestamp",
    "write_time",
    "msg_class",
    "msg_origin",
    "tenantid",
    "tenant_name",
    "cust_id",
    "engid_name",
    "_id",
    "s3",
];

/// Encodes records whose fields nobody knows but for the one that tells the time.
#[derive(Clone, Debug)]
pub struct JsonlEncoder {
    header: Header,
    timestamp_field: Option<String>,
}

impl JsonlEncoder {
    /// An encoder with these settings.
    ///
    /// # Errors
    ///
    /// When the vendor object's name is empty or that of another member.
    pub fn new(settings: &InterflowSettings) -> Result<Self, SettingsError> {
        let content = Content { msg_class: "jsonl", category: "paas" };
        let header = Header::new(&content, settings, MEMBERS)?;
        Ok(JsonlEncoder { header, timestamp_field: settings.timestamp_field.clone() })
    }

    fn time(&self, record: &Record<'_>) -> Option<i64> {
        time::any_epoch_millis(walk::at_path(record.raw(), self.timestamp_field.as_deref()?)?)
    }
}

impl Encoder for JsonlEncoder {
    fn encode(&self, record: &Record<'_>, origin: &Origin, out: &mut Vec<u8>) {
        self.header.begin(self.time(record), origin, out);
        out.extend_from_slice(b",\"_id\":\"");
        out.extend_from_slice(&origin.record_id());
        out.push(b'"');
        self.header.push_place(origin, out);
        push_in_one_line(record, record.raw(), out);
        out.extend_from_slice(b"}\n");
    }
}

#[cfg(test)]
mod tests {
    use std::sync::LazyLock;

    use serde_json::{Value, json};

    use super::*;

    static ORIGIN: LazyLock<Origin> = LazyLock::new(|| Origin::new("b", "k", "e").at(2, 1_700_000_000_123));

    fn encode(timestamp_field: Option<&str>, record: &str) -> Value {
        let settings = InterflowSettings {
            timestamp_field: timestamp_field.map(str::to_owned),
            tenant_name: Some("acme".to_owned()),
            ..Default::default()
        };
        let mut line = Vec::new();
        let encoder = JsonlEncoder::new(&settings).unwrap();
        encoder.encode(&Record::new(record.as_bytes(), &[]), &ORIGIN, &mut line);
        assert_eq!(line.iter().position(|byte| *byte == b'\n'), Some(line.len() - 1));
        serde_json::from_slice(&line).unwrap()
    }

    #[test]
    fn a_whole_line() {
        let line = encode(Some("service.time"), "{\"service\":{\"time\":1688990793},\n \"x\":null}");
        let want = json!({
            "timestamp": 1_688_990_793_000_i64, "write_time": 1_700_000_000_123_i64, "msg_class": "jsonl",
            "msg_origin": {"source": "cloudtrail", "vendor": "aws", "category": "paas",
                "processor": {"type": "log_collector", "name": "cloudtrail"}},
            "tenant_name": "acme", "_id": line["_id"], "s3": {"bucket": "b", "key": "k", "record": 2},
            "aws": {"service": {"time": 1_688_990_793}, "x": null},
        });
        assert_eq!(line, want);
        assert_eq!(line["_id"].as_str().map(str::len), Some(32));
    }

    #[test]
    fn times() {
        for (name, field, record, want) in [
            ("text", Some("t"), r#"{"t":"2023-07-10T14:06:33+02:00"}"#, Some(1_688_990_793_000_i64)),
            ("milliseconds", Some("t"), r#"{"t":1688990793001}"#, Some(1_688_990_793_001)),
            ("seconds as text", Some("t"), r#"{"t":"1688990793.5"}"#, Some(1_688_990_793_500)),
            ("below", Some("a.t"), r#"{"a":{"t":1}}"#, Some(1_000)),
            ("a name with a dot", Some("a.t"), r#"{"a.t":2,"a":{"t":1}}"#, Some(2_000)),
            ("absent", Some("t"), "{}", None),
            ("no time", Some("t"), r#"{"t":"soon"}"#, None),
            ("not asked for", None, r#"{"timestamp":1}"#, None),
        ] {
            let line = encode(field, record);
            assert_eq!(line["timestamp"], want.unwrap_or(ORIGIN.write_time()), "{name}");
        }
    }
}
