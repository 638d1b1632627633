//! ArcSight's Common Event Format: one line of header and `key=value` pairs per record.
//!
//! A log type is a [`Mapping`]: what its header says, and a table of keys. Here is what all of
//! them share: how a row of the table becomes a pair, and the settings. Keys, types and lengths
//! are those of the CEF implementation standard, version 27; fields that say nothing are left
//! out, and each key stands once.

pub mod cloudtrail;
mod text;
pub mod vpcflow;
pub mod waf;

use std::net::IpAddr;
use std::sync::Arc;

use super::interflow::line::push_number;
use super::mask::HeaderMask;
use super::{EncodeSettings, Encoder, Origin, SettingsError};
use crate::record::{Field, LogType, Record, json, time};
use text::{EXTENSION, HEADER, push_said};

/// The keys that may hold ArcSight's Device Domain, which has none of its own in CEF.
pub const DOMAIN_KEYS: [&str; 3] = ["deviceDnsDomain", "deviceNtDomain", "deviceDomain"];

/// What a user may choose about CEF lines.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CefSettings {
    /// The key of Device Domain, one of [`DOMAIN_KEYS`].
    pub device_domain_key: &'static str,
    /// What Event Outcome says.
    pub outcome: Outcome,
}

impl Default for CefSettings {
    fn default() -> Self {
        CefSettings { device_domain_key: DOMAIN_KEYS[0], outcome: Outcome::ErrorCode }
    }
}

/// What Event Outcome says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The error code where there is one, else `Success` or `Failure`, as ArcSight's own
    /// connector does.
    ErrorCode,
    /// `Success` or `Failure`.
    Plain,
}

impl Outcome {
    /// All of them; the first is the default.
    pub const ALL: [Outcome; 2] = [Outcome::ErrorCode, Outcome::Plain];

    /// The word of the configuration.
    pub fn word(self) -> &'static str {
        match self {
            Outcome::ErrorCode => "error_code",
            Outcome::Plain => "plain",
        }
    }
}

/// How the records of one log type become lines.
#[derive(Debug)]
pub struct Mapping {
    header: fn(&Record<'_>, &mut Header<'_>),
    /// The keys in the order of the line.
    pub rows: &'static [Row],
}

/// One key of the extension.
#[derive(Debug)]
pub struct Row {
    /// ArcSight's name of the field.
    pub name: &'static str,
    /// The key.
    pub key: &'static str,
    /// What the key's label says, where it is one of the custom fields.
    pub label: Option<&'static str>,
    /// Longest value in bytes of UTF-8, before escaping; 0 for numbers and addresses.
    pub limit: usize,
    /// Where the value comes from: the first of these that gives one.
    pub from: &'static [Field],
    form: Form,
}

/// What a row makes of a field.
#[derive(Clone, Copy, Debug)]
enum Form {
    /// A text as it is; of any other JSON its compact form.
    Text,
    /// As `Text`, under the key that the settings name.
    Domain,
    /// A time in epoch milliseconds.
    Time,
    /// A time in any form, as Interflow reads it, in epoch milliseconds.
    AnyTime,
    /// Seconds of the epoch, written as milliseconds.
    Seconds,
    /// A whole number that is not negative and fits 64 bits, as it is written.
    Integer,
    /// The number of a port, 65535 at most.
    Port,
    /// A number, as it is written; it may stand in a text.
    Number,
    /// An IPv4 address.
    Ipv4,
    /// An IPv6 address.
    Ipv6,
    /// The name of a host: a text that is no address, and not `AWS Internal`.
    Host,
    /// `AWS Internal`, with or without a number behind it.
    Service,
    /// What this function appends.
    Own(fn(&Record<'_>, &Context<'_>, &mut Vec<u8>)),
}

/// What a value may depend on beside the record.
struct Context<'a> {
    origin: &'a Origin,
    settings: &'a CefSettings,
    mask: &'a HeaderMask,
}

/// Appends header fields, in their order, each cut to its length.
struct Header<'a>(&'a mut Vec<u8>);

impl Header<'_> {
    fn push(&mut self, limit: usize, write: impl FnOnce(&mut Vec<u8>)) {
        let start = self.0.len();
        write(self.0);
        text::finish(self.0, start, limit, HEADER);
        self.0.push(b'|');
    }

    fn product(&mut self, write: impl FnOnce(&mut Vec<u8>)) {
        self.push(63, write);
    }

    fn version(&mut self, write: impl FnOnce(&mut Vec<u8>)) {
        self.push(31, write);
    }

    fn class_id(&mut self, write: impl FnOnce(&mut Vec<u8>)) {
        self.push(1023, write);
    }

    fn name(&mut self, write: impl FnOnce(&mut Vec<u8>)) {
        self.push(512, write);
    }

    /// Appends the severity, 0 to 10.
    fn severity(&mut self, severity: u8) {
        push_number(self.0, severity.into());
        self.0.push(b'|');
    }
}

/// Encodes the records of one log type.
#[derive(Clone, Debug)]
pub struct CefEncoder {
    mapping: &'static Mapping,
    settings: CefSettings,
    /// What is hidden of WAF records.
    mask: HeaderMask,
}

impl CefEncoder {
    /// An encoder with these settings.
    pub fn new(mapping: &'static Mapping, settings: &CefSettings, mask: HeaderMask) -> Self {
        CefEncoder { mapping, settings: settings.clone(), mask }
    }
}

pub(super) fn build(log_type: LogType, settings: &EncodeSettings) -> Result<Arc<dyn Encoder>, SettingsError> {
    let mapping = mapping(log_type).ok_or(SettingsError::NoMapping { encoding: "cef", log_type })?;
    let mask = HeaderMask::new(&settings.interflow.mask_headers);
    Ok(Arc::new(CefEncoder::new(mapping, &settings.cef, mask)))
}

/// The mapping of a log type; `None` where there is none.
pub fn mapping(log_type: LogType) -> Option<&'static Mapping> {
    match log_type {
        LogType::CloudTrail => Some(&cloudtrail::MAPPING),
        LogType::VpcFlow => Some(&vpcflow::MAPPING),
        LogType::Waf => Some(&waf::MAPPING),
        LogType::Jsonl => None,
    }
}

impl Encoder for CefEncoder {
    fn encode(&self, record: &Record<'_>, origin: &Origin, out: &mut Vec<u8>) {
        out.extend_from_slice(b"CEF:0|Amazon|");
        (self.mapping.header)(record, &mut Header(out));
        let context = Context { origin, settings: &self.settings, mask: &self.mask };
        let start = out.len();
        for row in self.mapping.rows {
            let before = out.len();
            if before > start {
                out.push(b' ');
            }
            if !row.push(record, &context, out) {
                out.truncate(before);
            }
        }
        out.push(b'\n');
    }
}

impl Row {
    /// Appends the pair, and the pair of its label; `false` when there is no value.
    fn push(&self, record: &Record<'_>, context: &Context<'_>, out: &mut Vec<u8>) -> bool {
        let key = match self.form {
            Form::Domain => context.settings.device_domain_key,
            _ => self.key,
        };
        out.extend_from_slice(key.as_bytes());
        out.push(b'=');
        let start = out.len();
        match self.form {
            Form::Own(push) => push(record, context, out),
            form => {
                let plain = record.columns().is_some();
                let values = self.from.iter().filter_map(|field| record.get(*field));
                for raw in values {
                    form.push(raw, plain, self.limit, out);
                    if out.len() > start {
                        break;
                    }
                }
            }
        }
        if out.len() == start {
            return false;
        }
        text::finish(out, start, self.limit, EXTENSION);
        if let Some(label) = self.label {
            for part in [" ", key, "Label=", label] {
                out.extend_from_slice(part.as_bytes());
            }
        }
        true
    }
}

impl Form {
    /// Appends what the form makes of a raw value, not yet cut or escaped; nothing when the value
    /// is not of the form. `plain` tells a text as it is from a JSON value.
    fn push(self, raw: &[u8], plain: bool, limit: usize, out: &mut Vec<u8>) {
        if let Form::Text | Form::Domain = self {
            return match plain {
                true => out.extend_from_slice(raw),
                false => push_said(out, raw, limit),
            };
        }
        // What has other forms is short and has no escapes.
        let text = if plain { raw } else { json::filled_string(raw).unwrap_or(raw) };
        let number = || whole_number(text);
        let address = || std::str::from_utf8(text).ok()?.parse::<IpAddr>().ok();
        let internal = text.starts_with(b"AWS Internal");
        let is_text = plain || json::filled_string(raw).is_some();
        let fits = match self {
            Form::Time => {
                time::epoch_millis(text).into_iter().for_each(|millis| push_number(out, millis));
                return;
            }
            Form::AnyTime => {
                time::any_epoch_millis(raw).into_iter().for_each(|millis| push_number(out, millis));
                return;
            }
            Form::Seconds => {
                let millis = number().and_then(|seconds| seconds.checked_mul(1_000));
                millis.into_iter().for_each(|millis| push_number(out, millis));
                return;
            }
            Form::Integer => number().is_some(),
            Form::Port => number().is_some_and(|port| port <= i64::from(u16::MAX)),
            Form::Number => is_double(text),
            Form::Ipv4 => address().is_some_and(|address| address.is_ipv4()),
            Form::Ipv6 => address().is_some_and(|address| address.is_ipv6()),
            Form::Host => is_text && !internal && address().is_none(),
            Form::Service => is_text && internal,
            Form::Text | Form::Domain | Form::Own(_) => false,
        };
        if fits && plain {
            out.extend_from_slice(raw);
        } else if fits {
            push_said(out, raw, limit);
        }
    }
}

/// What digits alone tell.
fn whole_number(text: &[u8]) -> Option<i64> {
    let digits = text.iter().all(u8::is_ascii_digit);
    std::str::from_utf8(text).ok().filter(|_| digits)?.parse().ok()
}

/// Whether a text is a decimal number (`1.10`, but not `1e3` or `inf`).
fn is_double(text: &[u8]) -> bool {
    let plain = text.iter().all(|byte| byte.is_ascii_digit() || matches!(byte, b'.' | b'-'));
    let number = std::str::from_utf8(text).ok().and_then(|text| text.parse::<f64>().ok());
    plain && number.is_some_and(f64::is_finite)
}

#[cfg(test)]
mod tests;
