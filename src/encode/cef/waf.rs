//! WAF records in CEF. ArcSight's guides have no table for them: the mapping is this project's.
//! Of the request's headers only host and client are in it, and those only where they are not
//! hidden.

use super::text::push_said;
use super::{Context, Form, Header, Mapping, Row};
use crate::encode::interflow::waf::{RequestHeaders, record_id};
use crate::encode::text;
use crate::record::waf::field;
use crate::record::{Field, Record, json, walk};

/// The mapping of WAF records.
pub const MAPPING: Mapping = Mapping { header, rows: ROWS };

/// The longest `externalId`; longer ids, as CloudFront's are, go to `deviceExternalId`.
const EXTERNAL_ID: usize = 40;

const ROWS: &[Row] = &[
    Row { form: Form::AnyTime, ..row("Device Receipt Time", "rt", 0, &[field::TIMESTAMP]) },
    row("Device Action", "act", 63, &[field::ACTION]),
    Row { form: Form::Ipv4, ..row("Source Address", "src", 0, &[field::CLIENT_IP]) },
    Row {
        label: Some("Source IPv6 Address"),
        form: Form::Ipv6,
        ..row("Device Custom IPv6 Address 2", "c6a2", 0, &[field::CLIENT_IP])
    },
    Row {
        form: Form::Own(push_url),
        ..row(
            "Request URL",
            "request",
            1023,
            &[field::SCHEME, field::HOST, field::URI, field::ARGS, field::FRAGMENT],
        )
    },
    row("Request Method", "requestMethod", 1023, &[field::HTTP_METHOD]),
    Row {
        form: Form::Own(push_client),
        ..row("Request Client Application", "requestClientApplication", 1023, &[field::HEADERS])
    },
    Row {
        form: Form::Own(push_host),
        ..row("Destination Host Name", "dhost", 1023, &[field::HOST, field::HEADERS])
    },
    Row { label: Some("webaclId"), ..row("Device Custom String 1", "cs1", 4000, &[field::WEB_ACL_ID]) },
    Row {
        label: Some("labels"),
        form: Form::Own(push_labels),
        ..row("Device Custom String 2", "cs2", 4000, &[field::LABELS])
    },
    Row {
        label: Some("httpSourceId"),
        ..row("Device Custom String 3", "cs3", 4000, &[field::HTTP_SOURCE_ID])
    },
    Row {
        label: Some("httpSourceName"),
        ..row("Device Custom String 4", "cs4", 4000, &[field::HTTP_SOURCE_NAME])
    },
    Row {
        form: Form::Own(push_short_id),
        ..row("External ID", "externalId", EXTERNAL_ID, &[field::REQUEST_ID])
    },
    Row {
        form: Form::Own(push_long_id),
        ..row("Device External ID", "deviceExternalId", 255, &[field::REQUEST_ID])
    },
    row("Reason", "reason", 1023, &[field::TERMINATING_RULE_TYPE]),
    // Last and always there, as in every mapping.
    Row {
        form: Form::Own(push_id),
        ..row(
            "Device Payload ID",
            "devicePayloadId",
            128,
            &[field::REQUEST_ID, field::WEB_ACL_ID, field::TIMESTAMP],
        )
    },
];

const fn row(name: &'static str, key: &'static str, limit: usize, from: &'static [Field]) -> Row {
    Row { name, key, label: None, limit, from, form: Form::Text }
}

fn header(record: &Record<'_>, header: &mut Header<'_>) {
    let action = text(record, field::ACTION).unwrap_or(b"unknown");
    let rule = text(record, field::TERMINATING_RULE_ID).unwrap_or(b"unknown");
    let version = record.get(field::FORMAT_VERSION).filter(|version| !json::is_blank(version));
    header.product(|out| out.extend_from_slice(b"AWS WAF"));
    header.version(|out| push_said(out, version.unwrap_or(b"\"unknown\""), 31));
    header.class_id(|out| push(rule, out));
    header.name(|out| {
        push(action, out);
        out.push(b' ');
        push(rule, out);
    });
    header.severity(if matches!(action, b"ALLOW" | b"COUNT") { 3 } else { 5 });
}

/// Appends the text of an escaped body.
fn push(body: &[u8], out: &mut Vec<u8>) {
    out.extend_from_slice(json::unescape(body).as_bytes());
}

fn host<'a>(record: &Record<'a>, context: &Context<'_>) -> &'a [u8] {
    let of_header = || record.bytes(RequestHeaders::of(record, context.mask).host);
    text(record, field::HOST).unwrap_or_else(of_header)
}

/// As in Interflow: without scheme and host in records that do not tell the scheme.
fn push_url(record: &Record<'_>, context: &Context<'_>, out: &mut Vec<u8>) {
    let Some(path) = text(record, field::URI) else { return };
    if let (Some(scheme), host @ [_, ..]) = (text(record, field::SCHEME), host(record, context)) {
        push(scheme, out);
        out.extend_from_slice(b"://");
        push(host, out);
    }
    push(path, out);
    for (mark, part) in [(b'?', field::ARGS), (b'#', field::FRAGMENT)] {
        if let Some(part) = text(record, part) {
            out.push(mark);
            push(part, out);
        }
    }
}

fn push_host(record: &Record<'_>, context: &Context<'_>, out: &mut Vec<u8>) {
    push(host(record, context), out);
}

fn push_client(record: &Record<'_>, context: &Context<'_>, out: &mut Vec<u8>) {
    push(record.bytes(RequestHeaders::of(record, context.mask).user_agent), out);
}

/// The names of the labels, with commas between them.
fn push_labels(record: &Record<'_>, _: &Context<'_>, out: &mut Vec<u8>) {
    let start = out.len();
    walk::each_name(record, field::LABELS, |name| {
        if let Some(name) = json::filled_string(name) {
            if out.len() > start {
                out.push(b',');
            }
            push(name, out);
        }
    });
}

fn push_short_id(record: &Record<'_>, _: &Context<'_>, out: &mut Vec<u8>) {
    push_id_if(record, |length| length <= EXTERNAL_ID, out);
}

fn push_long_id(record: &Record<'_>, _: &Context<'_>, out: &mut Vec<u8>) {
    push_id_if(record, |length| length > EXTERNAL_ID, out);
}

fn push_id_if(record: &Record<'_>, fits: fn(usize) -> bool, out: &mut Vec<u8>) {
    let id = json::unescape(text(record, field::REQUEST_ID).unwrap_or_default());
    if fits(id.len()) {
        out.extend_from_slice(id.as_bytes());
    }
}

/// As in Interflow, so that a receiver can tell repeats.
fn push_id(record: &Record<'_>, context: &Context<'_>, out: &mut Vec<u8>) {
    out.extend_from_slice(&record_id(record, context.origin));
}
