//! CloudTrail records as Interflow lines.
//!
//! The original stands byte for byte under the vendor object, and nothing is put into it; the
//! normalised fields beside it are copies of its values, still escaped. Events of Insights and
//! aggregated events, which sum up many calls, have no outcome of their own, so none is written.

use memchr::{memchr, memmem, memrchr};

use super::line::Line;
use super::{Content, Header, InterflowSettings, SettingsError};
use crate::encode::cloudtrail::Event;
use crate::encode::{Encoder, Origin, push_in_one_line, text};
use crate::record::cloudtrail::{FREE_FORM, field};
use crate::record::{Record, Span, json};

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
    "srcip",
    "srcip_type",
    "srcip_version",
    "srcip_host",
    "srcip_username",
    "srcip_usersid",
    "user",
    "event_id",
    "_id",
    "event_name",
    "event_source",
    "service",
    "event_type",
    "event_category",
    "event_status",
    "event",
    "login_type",
    "login_result",
    "cloud",
    "user_agent",
    "dstip_host",
    "s3",
];

/// What CloudTrail writes for the name of a user whose sign-in failed.
const HIDDEN: &[u8] = b"HIDDEN_DUE_TO_SECURITY_REASONS";

/// Encodes the records of a [`CloudTrailDecoder`](crate::decode::cloudtrail::CloudTrailDecoder).
#[derive(Clone, Debug)]
pub struct CloudTrailEncoder {
    header: Header,
    free_form_as_strings: bool,
}

impl CloudTrailEncoder {
    /// An encoder with these settings.
    ///
    /// # Errors
    ///
    /// When the vendor object's name is empty or that of another member.
    pub fn new(settings: &InterflowSettings) -> Result<Self, SettingsError> {
        let content = Content { msg_class: "cloudtrail", category: "paas" };
        let header = Header::new(&content, settings, MEMBERS)?;
        Ok(CloudTrailEncoder { header, free_form_as_strings: settings.free_form_as_strings })
    }

    fn push_original(&self, record: &Record<'_>, out: &mut Vec<u8>) {
        let raw = record.raw();
        let mut copied = 0;
        if self.free_form_as_strings {
            let mut spans = FREE_FORM.map(|field| record.span(field).unwrap_or_default());
            spans.sort_unstable_by_key(|span| span.start);
            for Span { start, end } in spans {
                let (start, end) = (start as usize, end as usize);
                // Absent, or already of the one type that the string form leaves.
                if start == end || matches!(raw[start], b'"' | b'n') {
                    continue;
                }
                push_in_one_line(record, &raw[copied..start], out);
                json::push_as_string(out, &raw[start..end]);
                copied = end;
            }
        }
        push_in_one_line(record, &raw[copied..], out);
    }
}

impl Encoder for CloudTrailEncoder {
    fn encode(&self, record: &Record<'_>, origin: &Origin, out: &mut Vec<u8>) {
        let event = Event::new(record);
        self.header.begin(event.time, origin, out);
        let mut line = Line { raw: record.raw(), spans: record.spans(), out };
        push_source(record, &mut line);
        push_user(record, &mut line);
        push_event(&event, origin, &mut line);
        push_surroundings(record, &mut line);
        self.header.push_place(origin, out);
        self.push_original(record, out);
        out.extend_from_slice(b"}\n");
    }
}

fn push_source(record: &Record<'_>, line: &mut Line<'_, '_>) {
    let Some(source) = text(record, field::SOURCE_IP_ADDRESS) else {
        return;
    };
    if !line.push_srcip(source) && !source.starts_with(b"AWS Internal") {
        // A service's host name; "AWS Internal" names no host.
        line.push_given(b",\"srcip_host\":\"", Some(source), b"\"");
    }
}

fn push_user(record: &Record<'_>, line: &mut Line<'_, '_>) {
    let name = user_name(record);
    let id = text(record, field::USER_PRINCIPAL_ID);
    line.push_given(b",\"srcip_username\":\"", name, b"\"");
    line.push_given(b",\"srcip_usersid\":\"", id, b"\"");
    line.push_nested(b",\"user\":", |line| {
        line.push_given(b",\"name\":\"", name, b"\"");
        line.push_given(b",\"id\":\"", id, b"\"");
        line.push_given(b",\"domain\":\"", text(record, field::USER_ACCOUNT_ID), b"\"");
    });
}

/// The best name for who acted: each kind of identity fills other fields.
fn user_name<'a>(record: &Record<'a>) -> Option<&'a [u8]> {
    let get = |field| text(record, field);
    let user_type = get(field::USER_TYPE);
    get(field::USER_NAME)
        .filter(|name| *name != HIDDEN)
        .or_else(|| get(field::USER_ON_BEHALF_OF_ID).filter(|_| user_type == Some(b"IdentityCenterUser")))
        .or_else(|| get(field::SESSION_ISSUER_USER_NAME))
        .or_else(|| role_session(get(field::USER_ARN)?))
        .or_else(|| (user_type == Some(b"Root")).then_some(&b"root"[..]))
        .or_else(|| get(field::USER_INVOKED_BY))
        .or_else(|| get(field::USER_PRINCIPAL_ID))
}

/// The session of `arn:aws:sts::111122223333:assumed-role/ROLE/SESSION`.
fn role_session(arn: &[u8]) -> Option<&[u8]> {
    memmem::find(arn, b":assumed-role")?;
    let session = &arn[memrchr(b'/', arn)? + 1..];
    (!session.is_empty()).then_some(session)
}

fn push_event(event: &Event<'_>, origin: &Origin, line: &mut Line<'_, '_>) {
    line.push_given(b",\"event_id\":\"", event.id, b"\"");
    match event.id {
        Some(id) => line.push_given(b",\"_id\":\"", Some(id), b"\""),
        None => line.push_given(b",\"_id\":\"", Some(&origin.record_id()), b"\""),
    }
    line.push_given(b",\"event_name\":\"", event.name, b"\"");
    line.push_given(b",\"event_source\":\"", event.source, b"\"");
    line.push_given(b",\"service\":\"", event.source.and_then(service), b"\"");
    line.push_given(b",\"event_type\":\"", event.event_type, b"\"");
    line.push_given(b",\"event_category\":\"", event.category, b"\"");
    line.push_given(b",\"event_status\":\"", event.outcome, b"\"");
    line.push_nested(b",\"event\":", |line| {
        line.push_given(b",\"action\":\"", event.name, b"\"");
        line.push_given(b",\"type\":\"", event.event_type, b"\"");
        line.push_given(b",\"category\":\"", event.category, b"\"");
        line.push_given(b",\"outcome\":\"", event.outcome, b"\"");
        line.push_given(b",\"reason\":\"", event.reason, b"\"");
    });
    if event.name == Some(b"ConsoleLogin") {
        line.push(b",\"login_type\":\"aws_console\"");
        line.push_given(b",\"login_result\":\"", event.outcome, b"\"");
    }
}

/// `iam` of `iam.amazonaws.com`.
fn service(source: &[u8]) -> Option<&[u8]> {
    let service = &source[..memchr(b'.', source).unwrap_or(source.len())];
    (!service.is_empty()).then_some(service)
}

fn push_surroundings(record: &Record<'_>, line: &mut Line<'_, '_>) {
    let region = text(record, field::AWS_REGION);
    let account = [field::RECIPIENT_ACCOUNT_ID, field::USER_ACCOUNT_ID, field::ACCOUNT_ID]
        .into_iter()
        .find_map(|field| text(record, field));
    line.push_nested(b",\"cloud\":", |line| {
        line.push_given(b",\"region\":\"", region, b"\"");
        line.push_given(b",\"account\":{\"id\":\"", account, b"\"}");
    });
    line.push_given(b",\"user_agent\":{\"original\":\"", text(record, field::USER_AGENT), b"\"}");
    line.push_given(b",\"dstip_host\":\"", text(record, field::TLS_HOST), b"\"");
}

#[cfg(test)]
mod tests;
