//! Interflow-style NDJSON: one JSON object per line, flat normalised fields beside the original
//! record.
//!
//! One file per log type maps its fields; here is what all of them share: the settings, the
//! header of a line, addresses, ids, and the rule that blank fields are left out. Names and
//! values follow Stellar Cyber's public Interflow pages where those tell; the name of the vendor
//! object is this project's choice.

mod address;
pub mod cloudtrail;
pub(super) mod line;

use std::sync::Arc;

use super::{EncodeSettings, Encoder, Origin, SettingsError};
use crate::record::{LogType, json};
use cloudtrail::CloudTrailEncoder;

/// What a user may choose about Interflow lines.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InterflowSettings {
    /// Name of the member that holds the original record.
    pub vendor_object: String,
    /// Whether `requestParameters`, `responseElements`, `additionalEventData` and
    /// `serviceEventDetails` are written as strings, because their free keys explode an index
    /// mapping. It is the one change ever made to an original record.
    pub free_form_as_strings: bool,
    /// Tenant id of every line; left out when `None` or blank.
    pub tenantid: Option<String>,
    /// Tenant name of every line; left out when `None` or blank.
    pub tenant_name: Option<String>,
    /// Name of the collecting instance; left out when `None` or blank.
    pub engid_name: Option<String>,
}

impl Default for InterflowSettings {
    fn default() -> Self {
        InterflowSettings {
            vendor_object: "aws".to_owned(),
            free_form_as_strings: false,
            tenantid: None,
            tenant_name: None,
            engid_name: None,
        }
    }
}

pub(super) fn build(log_type: LogType, settings: &EncodeSettings) -> Result<Arc<dyn Encoder>, SettingsError> {
    match log_type {
        LogType::CloudTrail => Ok(Arc::new(CloudTrailEncoder::new(&settings.interflow)?)),
        LogType::VpcFlow | LogType::Waf | LogType::Jsonl => {
            Err(SettingsError::NoMapping { encoding: "interflow", log_type })
        }
    }
}

/// Every member that a line of the log type may have beside the vendor object; `None` where there
/// is no mapping.
pub fn members(log_type: LogType) -> Option<&'static [&'static str]> {
    match log_type {
        LogType::CloudTrail => Some(cloudtrail::MEMBERS),
        LogType::VpcFlow | LogType::Waf | LogType::Jsonl => None,
    }
}

/// `msg_class` and the parts of `msg_origin` that differ between log types.
struct Content {
    msg_class: &'static str,
    category: &'static str,
}

/// The bytes of a line that are the same for all records of a source.
#[derive(Clone, Debug)]
struct Header {
    /// From the comma after `write_time` to the end of the tenant.
    common: Vec<u8>,
    /// From the comma to the colon of the vendor object.
    vendor: Vec<u8>,
}

impl Header {
    /// `reserved` are the members that the log type's lines may have.
    fn new(
        content: &Content,
        settings: &InterflowSettings,
        reserved: &[&str],
    ) -> Result<Self, SettingsError> {
        let name = settings.vendor_object.as_str();
        if name.is_empty() {
            return Err(SettingsError::EmptyVendorObject);
        }
        if reserved.contains(&name) {
            return Err(SettingsError::ReservedVendorObject { name: name.to_owned() });
        }
        let mut common = format!(
            concat!(
                r#","msg_class":"{}","msg_origin":{{"source":"cloudtrail","vendor":"aws","category":"{}","#,
                r#""processor":{{"type":"log_collector","name":"cloudtrail"}}}}"#
            ),
            content.msg_class, content.category
        )
        .into_bytes();
        for (name, value) in [
            ("tenantid", &settings.tenantid),
            ("tenant_name", &settings.tenant_name),
            ("engid_name", &settings.engid_name),
        ] {
            if let Some(value) = value.as_deref().filter(|value| !matches!(*value, "" | "-")) {
                common.push(b',');
                json::push_string(&mut common, name);
                common.push(b':');
                json::push_string(&mut common, value);
            }
        }
        let mut vendor = vec![b','];
        json::push_string(&mut vendor, name);
        vendor.push(b':');
        Ok(Header { common, vendor })
    }
}

/// An id of a record that has none of its own: the same for the same bucket, key and ordinal in
/// every run, 32 hexadecimal digits (FNV-1a of 128 bits).
pub(super) fn place_id(origin: &Origin<'_>) -> [u8; 32] {
    const BASIS: u128 = 0x6c62_272e_07bb_0142_62b8_2175_6295_c58d;
    const PRIME: u128 = 0x0000_0000_0100_0000_0000_0000_0000_013b;
    let ordinal = origin.ordinal.to_be_bytes();
    // No key or bucket has a NUL, so the parts cannot run into each other.
    let parts: [&[u8]; 5] = [origin.bucket.as_bytes(), &[0], origin.key.as_bytes(), &[0], &ordinal];
    let hash = parts
        .iter()
        .flat_map(|part| part.iter())
        .fold(BASIS, |hash, byte| (hash ^ u128::from(*byte)).wrapping_mul(PRIME));
    let mut digits = [0; 32];
    for (at, digit) in digits.iter_mut().enumerate() {
        let nibble = (hash >> (124 - 4 * at)) as u8 & 15;
        *digit = b"0123456789abcdef"[usize::from(nibble)];
    }
    digits
}

#[cfg(test)]
mod tests {
    use super::*;

    const CONTENT: Content = Content { msg_class: "cloudtrail", category: "paas" };

    #[test]
    fn settings_are_judged() {
        for (name, vendor_object, refused) in [
            ("ours", "aws", false),
            ("another", "cloudtrail", false),
            ("odd but possible", "a\"b\\c\n", false),
            ("empty", "", true),
            ("a field of the line", "user", true),
        ] {
            let settings =
                InterflowSettings { vendor_object: vendor_object.to_owned(), ..Default::default() };
            assert_eq!(Header::new(&CONTENT, &settings, &["user"]).is_err(), refused, "{name}");
        }
    }

    #[test]
    fn blank_settings_are_left_out() {
        let settings = InterflowSettings {
            tenantid: Some(String::new()),
            tenant_name: Some("a \"b\"".to_owned()),
            ..Default::default()
        };
        let header = Header::new(&CONTENT, &settings, &[]).unwrap();
        let line = format!("{{\"x\":0{}}}", String::from_utf8(header.common).unwrap());
        let line: serde_json::Value = serde_json::from_str(&line).unwrap();
        assert_eq!(line["tenant_name"], "a \"b\"");
        assert_eq!(line.get("tenantid"), None);
        assert_eq!(line.get("engid_name"), None);
    }

    #[test]
    fn place_ids_tell_places_apart() {
        let origin = |bucket, key, ordinal| Origin { bucket, key, ordinal, write_time: 0 };
        let id = place_id(&origin("b", "k", 0));
        assert_eq!(id, place_id(&Origin { write_time: 9, ..origin("b", "k", 0) }), "the time is no part");
        assert!(id.iter().all(u8::is_ascii_hexdigit));
        for other in [origin("b", "k", 1), origin("b", "k2", 0), origin("b2", "k", 0), origin("bk", "", 0)] {
            assert_ne!(id, place_id(&other), "{other:?}");
        }
    }
}
