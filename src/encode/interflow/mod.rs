//! Interflow-style NDJSON: one JSON object per line, flat normalised fields beside the original
//! record.
//!
//! One file per log type maps its fields; here is what all of them share: the settings, the
//! header of a line, addresses, ids, and the rule that blank fields are left out. Names and
//! values follow Stellar Cyber's public Interflow pages where those tell; the name of the vendor
//! object is this project's choice.

mod address;
pub mod cloudtrail;
pub mod jsonl;
pub(super) mod line;
pub mod vpcflow;
pub mod waf;

use std::sync::Arc;

use super::{EncodeSettings, Encoder, Origin, SettingsError};
use crate::record::{LogType, json, waf as waf_fields};
use line::push_number;

/// What a user may choose about Interflow lines.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InterflowSettings {
    /// Name of the member that holds the original record.
    pub vendor_object: String,
    /// Whether `requestParameters`, `responseElements`, `additionalEventData` and
    /// `serviceEventDetails` of CloudTrail are written as strings, because their free keys explode
    /// an index mapping.
    pub free_form_as_strings: bool,
    /// Request headers of WAF records whose values are masked; upper and lower case are the same.
    pub mask_headers: Vec<String>,
    /// Where the time of a `jsonl` record stands: a dotted path. Without one, and where it tells
    /// no time, a record has the time at which it is written.
    pub timestamp_field: Option<String>,
    /// Tenant id of every line; left out when `None` or blank.
    pub tenantid: Option<String>,
    /// Tenant name of every line; left out when `None` or blank.
    pub tenant_name: Option<String>,
    /// Customer id of every line; left out when `None` or blank.
    pub cust_id: Option<String>,
    /// Name of the collecting instance; left out when `None` or blank.
    pub engid_name: Option<String>,
}

impl Default for InterflowSettings {
    fn default() -> Self {
        InterflowSettings {
            vendor_object: "aws".to_owned(),
            free_form_as_strings: false,
            mask_headers: waf_fields::SECRET_HEADERS.map(str::to_owned).to_vec(),
            timestamp_field: None,
            tenantid: None,
            tenant_name: None,
            cust_id: None,
            engid_name: None,
        }
    }
}

pub(super) fn build(log_type: LogType, settings: &EncodeSettings) -> Result<Arc<dyn Encoder>, SettingsError> {
    encoder(log_type, &settings.interflow)
}

/// The encoder of a log type.
///
/// # Errors
///
/// When the vendor object's name is empty or that of another member.
pub fn encoder(log_type: LogType, settings: &InterflowSettings) -> Result<Arc<dyn Encoder>, SettingsError> {
    Ok(match log_type {
        LogType::CloudTrail => Arc::new(cloudtrail::CloudTrailEncoder::new(settings)?),
        LogType::VpcFlow => Arc::new(vpcflow::VpcFlowEncoder::new(settings)?),
        LogType::Waf => Arc::new(waf::WafEncoder::new(settings)?),
        LogType::Jsonl => Arc::new(jsonl::JsonlEncoder::new(settings)?),
    })
}

/// Every member that a line of a log type may have beside the vendor object.
pub fn members(log_type: LogType) -> &'static [&'static str] {
    match log_type {
        LogType::CloudTrail => cloudtrail::MEMBERS,
        LogType::VpcFlow => vpcflow::MEMBERS,
        LogType::Waf => waf::MEMBERS,
        LogType::Jsonl => jsonl::MEMBERS,
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
            ("cust_id", &settings.cust_id),
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

    /// Begins a line: its times, and what is the same for all records. A record that tells no
    /// time has that of writing.
    fn begin(&self, time: Option<i64>, origin: &Origin, out: &mut Vec<u8>) {
        let mut digits = itoa::Buffer::new();
        let time = time.map_or(origin.write_digits(), |time| digits.format(time).as_bytes());
        self.begin_at([time, b""], origin, out);
    }

    /// Like [`Header::begin`] with the digits of the time, in two pieces.
    #[inline]
    fn begin_at(&self, time: [&[u8]; 2], origin: &Origin, out: &mut Vec<u8>) {
        out.extend_from_slice(b"{\"timestamp\":");
        time.iter().for_each(|digits| out.extend_from_slice(digits));
        out.extend_from_slice(b",\"write_time\":");
        out.extend_from_slice(origin.write_digits());
        out.extend_from_slice(&self.common);
    }

    /// Appends where the record came from, and the name of the vendor object, whose value
    /// follows.
    fn push_place(&self, origin: &Origin, out: &mut Vec<u8>) {
        out.extend_from_slice(b",\"s3\":{");
        out.extend_from_slice(origin.members());
        out.extend_from_slice(b",\"record\":");
        push_number(out, i64::try_from(origin.ordinal).unwrap_or(i64::MAX));
        out.push(b'}');
        out.extend_from_slice(&self.vendor);
    }
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
            cust_id: Some("7".to_owned()),
            ..Default::default()
        };
        let header = Header::new(&CONTENT, &settings, &[]).unwrap();
        let line = format!("{{\"x\":0{}}}", String::from_utf8(header.common).unwrap());
        let line: serde_json::Value = serde_json::from_str(&line).unwrap();
        assert_eq!((&line["tenant_name"], &line["cust_id"]), (&"a \"b\"".into(), &"7".into()));
        assert_eq!(line.get("tenantid"), None);
        assert_eq!(line.get("engid_name"), None);
    }
}
