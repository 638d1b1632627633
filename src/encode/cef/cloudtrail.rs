//! CloudTrail in CEF: the mapping of the ArcSight SmartConnector guide for CloudTrail.
//!
//! The guide leaves severity, the labels and Device Version open; those, and where names stand
//! that are no addresses, are this project's choice.

use super::text::push_said;
use super::{Context, Form, Header, Mapping, Outcome, Row};
use crate::encode::cloudtrail::Event;
use crate::encode::text;
use crate::record::cloudtrail::field;
use crate::record::{Field, Record, json};

/// The mapping of CloudTrail records.
pub const MAPPING: Mapping = Mapping { header, rows: ROWS };

const ROWS: &[Row] = &[
    Row {
        form: Form::Time,
        ..row("Device Receipt Time", "rt", 0, &[field::EVENT_TIME, field::TIME_WINDOW_START])
    },
    row("Destination User ID", "duid", 1023, &[field::RECIPIENT_ACCOUNT_ID, field::ACCOUNT_ID]),
    Row {
        label: Some("creationDate"),
        form: Form::Time,
        ..row("Device Custom Date 1", "deviceCustomDate1", 0, &[field::SESSION_CREATION_DATE])
    },
    Row {
        label: Some("eventVersion"),
        form: Form::Number,
        ..row("Device Custom Floating Point 1", "cfp1", 0, &[field::EVENT_VERSION])
    },
    Row {
        label: Some("requestParameters"),
        ..row("Device Custom String 1", "cs1", 4000, &[field::REQUEST_PARAMETERS])
    },
    Row {
        label: Some("responseElements"),
        ..row("Device Custom String 2", "cs2", 4000, &[field::RESPONSE_ELEMENTS])
    },
    Row {
        label: Some("mfaAuthenticated"),
        ..row("Device Custom String 3", "cs3", 4000, &[field::SESSION_MFA])
    },
    Row { form: Form::Domain, ..row("Device Domain", "deviceDnsDomain", 255, &[field::AWS_REGION]) },
    Row { form: Form::Own(push_outcome), ..row("Event Outcome", "outcome", 63, &[field::ERROR_CODE]) },
    row("File ID", "fileId", 1023, &[field::USER_PRINCIPAL_ID]),
    row("File Path", "filePath", 1023, &[field::USER_ARN]),
    row("File Permission", "filePermission", 1023, &[field::USER_ACCESS_KEY_ID]),
    row("File Type", "fileType", 1023, &[field::USER_TYPE]),
    row("Message", "msg", 1023, &[field::ERROR_MESSAGE]),
    row("Old File Hash", "oldFileHash", 255, &[field::SESSION_ISSUER_ACCOUNT_ID]),
    row("Old File ID", "oldFileId", 1023, &[field::SESSION_ISSUER_PRINCIPAL_ID]),
    row("Old File Name", "oldFileName", 1023, &[field::SESSION_ISSUER_USER_NAME]),
    row("Old File Path", "oldFilePath", 1023, &[field::SESSION_ISSUER_ARN]),
    row("Old File Type", "oldFileType", 1023, &[field::SESSION_ISSUER_TYPE]),
    row("Reason", "reason", 1023, &[field::ERROR_CODE, field::INSIGHT_ERROR_CODE]),
    row("Request Client Application", "requestClientApplication", 1023, &[field::USER_AGENT]),
    Row { form: Form::Ipv4, ..row("Source Address", "src", 0, &[field::SOURCE_IP_ADDRESS]) },
    Row {
        label: Some("Source IPv6 Address"),
        form: Form::Ipv6,
        ..row("Device Custom IPv6 Address 2", "c6a2", 0, &[field::SOURCE_IP_ADDRESS])
    },
    Row { form: Form::Host, ..row("Source Host Name", "shost", 1023, &[field::SOURCE_IP_ADDRESS]) },
    Row {
        form: Form::Service,
        ..row("Source Service Name", "sourceServiceName", 1023, &[field::SOURCE_IP_ADDRESS])
    },
    row("Source Process Name", "sproc", 1023, &[field::USER_INVOKED_BY]),
    row("Source User ID", "suid", 1023, &[field::USER_ACCOUNT_ID]),
    row("Source User Name", "suser", 1023, &[field::USER_NAME]),
    // Last, because it is always there: blanks at the end of a line would get lost.
    Row {
        form: Form::Own(push_id),
        ..row("Device Payload ID", "devicePayloadId", 128, &[field::EVENT_ID, field::AGGREGATED_EVENT_ID])
    },
];

const fn row(name: &'static str, key: &'static str, limit: usize, from: &'static [Field]) -> Row {
    Row { name, key, label: None, limit, from, form: Form::Text }
}

fn header(record: &Record<'_>, header: &mut Header<'_>) {
    let event = Event::new(record);
    let push = |body: &[u8], out: &mut Vec<u8>| out.extend_from_slice(json::unescape(body).as_bytes());
    let name = event.name.or(event.event_type).unwrap_or(b"CloudTrail");
    header.product(|out| push(event.source.unwrap_or(b"CloudTrail"), out));
    let version = record.get(field::EVENT_VERSION).filter(|version| !json::is_blank(version));
    header.version(|out| push_said(out, version.unwrap_or(b"\"unknown\""), 31));
    header.class_id(|out| {
        push(name, out);
        if event.outcome.is_some() {
            out.push(b':');
            push_outcome_of(&event, Outcome::ErrorCode, record, out);
        }
    });
    header.name(|out| push(name, out));
    header.severity(severity(&event, record));
}

/// 3 for what went well or has no outcome, 5 for what failed, 6 for what was not allowed, 8 for a
/// failed sign-in as root.
fn severity(event: &Event<'_>, record: &Record<'_>) -> u8 {
    let has = |word: &str| {
        text(record, field::ERROR_CODE)
            .is_some_and(|code| memchr::memmem::find(code, word.as_bytes()).is_some())
    };
    let root = text(record, field::USER_TYPE) == Some(b"Root");
    match event.outcome {
        Some(b"failure") if event.name == Some(b"ConsoleLogin") && root => 8,
        Some(b"failure") if has("AccessDenied") || has("Unauthorized") => 6,
        Some(b"failure") => 5,
        _ => 3,
    }
}

fn push_outcome(record: &Record<'_>, context: &Context<'_>, out: &mut Vec<u8>) {
    push_outcome_of(&Event::new(record), context.settings.outcome, record, out);
}

fn push_outcome_of(event: &Event<'_>, form: Outcome, record: &Record<'_>, out: &mut Vec<u8>) {
    let start = out.len();
    match event.outcome {
        None => {}
        Some(b"success") => out.extend_from_slice(b"Success"),
        Some(_) => {
            if let (Outcome::ErrorCode, Some(code)) = (form, record.get(field::ERROR_CODE)) {
                push_said(out, code, 1023);
            }
            if out.len() == start {
                out.extend_from_slice(b"Failure");
            }
        }
    }
}

/// The event's id, or one made of the record's place, so that a receiver can tell repeats.
fn push_id(record: &Record<'_>, context: &Context<'_>, out: &mut Vec<u8>) {
    match Event::new(record).id {
        Some(id) => out.extend_from_slice(json::unescape(id).as_bytes()),
        None => out.extend_from_slice(&context.origin.record_id()),
    }
}
