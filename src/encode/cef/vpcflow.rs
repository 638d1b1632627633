//! VPC flow rows in CEF. ArcSight's guides have no table for them: the mapping is this project's.

use super::{Context, Form, Header, Mapping, Row};
use crate::encode::interflow::vpcflow::protocol_name;
use crate::record::vpcflow as field;
use crate::record::{Field, Record};

/// The mapping of VPC flow rows.
pub const MAPPING: Mapping = Mapping { header, rows: ROWS };

const ROWS: &[Row] = &[
    Row { form: Form::Seconds, ..row("Device Receipt Time", "rt", 0, &[field::END, field::START]) },
    Row { form: Form::Seconds, ..row("Start Time", "start", 0, &[field::START]) },
    Row { form: Form::Seconds, ..row("End Time", "end", 0, &[field::END]) },
    row("Device Action", "act", 63, &[field::ACTION]),
    Row { form: Form::Ipv4, ..row("Source Address", "src", 0, &[field::SRCADDR]) },
    Row {
        label: Some("Source IPv6 Address"),
        form: Form::Ipv6,
        ..row("Device Custom IPv6 Address 2", "c6a2", 0, &[field::SRCADDR])
    },
    Row { form: Form::Port, ..row("Source Port", "spt", 0, &[field::SRCPORT]) },
    Row { form: Form::Ipv4, ..row("Destination Address", "dst", 0, &[field::DSTADDR]) },
    Row {
        label: Some("Destination IPv6 Address"),
        form: Form::Ipv6,
        ..row("Device Custom IPv6 Address 3", "c6a3", 0, &[field::DSTADDR])
    },
    Row { form: Form::Port, ..row("Destination Port", "dpt", 0, &[field::DSTPORT]) },
    Row { form: Form::Own(push_protocol), ..row("Transport Protocol", "proto", 31, &[field::PROTOCOL]) },
    Row { form: Form::Integer, ..row("Bytes Out", "out", 0, &[field::BYTES]) },
    Row {
        label: Some("packets"),
        form: Form::Integer,
        ..row("Device Custom Number 1", "cn1", 0, &[field::PACKETS])
    },
    Row {
        label: Some("packets-lost-no-route"),
        form: Form::Integer,
        ..row("Device Custom Number 2", "cn2", 0, &[field::PACKETS_LOST_NO_ROUTE])
    },
    Row {
        label: Some("packets-lost-blackhole"),
        form: Form::Integer,
        ..row("Device Custom Number 3", "cn3", 0, &[field::PACKETS_LOST_BLACKHOLE])
    },
    Row {
        form: Form::Own(push_direction),
        ..row("Device Direction", "deviceDirection", 0, &[field::FLOW_DIRECTION])
    },
    row("Device External ID", "deviceExternalId", 255, &[field::INTERFACE_ID, field::TGW_ATTACHMENT_ID]),
    row("Destination User ID", "duid", 1023, &[field::ACCOUNT_ID]),
    Row { label: Some("vpc-id"), ..row("Device Custom String 1", "cs1", 4000, &[field::VPC_ID]) },
    Row { label: Some("subnet-id"), ..row("Device Custom String 2", "cs2", 4000, &[field::SUBNET_ID]) },
    Row { label: Some("instance-id"), ..row("Device Custom String 3", "cs3", 4000, &[field::INSTANCE_ID]) },
    Row { label: Some("tgw-id"), ..row("Device Custom String 4", "cs4", 4000, &[field::TGW_ID]) },
    Row {
        label: Some("tgw-src-vpc-id"),
        ..row("Device Custom String 5", "cs5", 4000, &[field::TGW_SRC_VPC_ID])
    },
    Row {
        label: Some("tgw-dst-vpc-id"),
        ..row("Device Custom String 6", "cs6", 4000, &[field::TGW_DST_VPC_ID])
    },
    row("Reason", "reason", 1023, &[field::REJECT_REASON]),
    // Last and always there, as in every mapping.
    Row { form: Form::Own(push_id), ..row("Device Payload ID", "devicePayloadId", 128, &[]) },
];

const fn row(name: &'static str, key: &'static str, limit: usize, from: &'static [Field]) -> Row {
    Row { name, key, label: None, limit, from, form: Form::Text }
}

fn header(record: &Record<'_>, header: &mut Header<'_>) {
    let action = record.get(field::ACTION);
    let (name, severity): (&[u8], u8) = match action {
        Some(b"ACCEPT") => (b"Flow accepted", 3),
        Some(b"REJECT") => (b"Flow rejected", 5),
        _ => (b"Flow", 3),
    };
    let class_id = action.or_else(|| record.get(field::LOG_STATUS)).unwrap_or(b"unknown");
    header.product(|out| out.extend_from_slice(b"VPC Flow Logs"));
    header.version(|out| out.extend_from_slice(record.get(field::VERSION).unwrap_or(b"unknown")));
    header.class_id(|out| out.extend_from_slice(class_id));
    header.name(|out| out.extend_from_slice(name));
    header.severity(severity);
}

fn push_protocol(record: &Record<'_>, _: &Context<'_>, out: &mut Vec<u8>) {
    if let Some(number) = record.get(field::PROTOCOL) {
        out.extend_from_slice(protocol_name(number));
    }
}

/// 0 for inbound, 1 for outbound.
fn push_direction(record: &Record<'_>, _: &Context<'_>, out: &mut Vec<u8>) {
    match record.get(field::FLOW_DIRECTION) {
        Some(b"ingress") => out.push(b'0'),
        Some(b"egress") => out.push(b'1'),
        _ => {}
    }
}

/// A row has no id: this one is made of its place, so that a receiver can tell repeats.
fn push_id(_: &Record<'_>, context: &Context<'_>, out: &mut Vec<u8>) {
    out.extend_from_slice(&context.origin.record_id());
}
