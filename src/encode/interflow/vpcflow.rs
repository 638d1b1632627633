//! VPC flow rows as Interflow lines.
//!
//! A row tells of one direction, so what came back (`inbytes_*`) is never written. What the
//! normalised fields hold whole is not said twice; every other cell stands under the vendor
//! object, by its column's name in camel case, as does a value that does not fit its field (an
//! address that is none, a port that is no number), so that nothing is lost.

use std::net::IpAddr;

use super::line::push_number;
use super::{Content, Header, InterflowSettings, SettingsError, address};
use crate::encode::{Encoder, Origin};
use crate::record::vpcflow as field;
use crate::record::{Field, Record, json};

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
    "start_time",
    "end_time",
    "duration",
    "srcip",
    "srcip_type",
    "srcip_version",
    "srcip_original",
    "srcport",
    "dstip",
    "dstip_type",
    "dstip_version",
    "dstip_original",
    "dstport",
    "proto",
    "proto_name",
    "outpkts_delta",
    "totalpackets",
    "outbytes_total",
    "totalbytes",
    "action",
    "direction",
    "end_reason",
    "tcp_flags_name",
    "s3",
];

/// Numbers of more digits may not fit 64 bits.
const MAX_DIGITS: usize = 18;
/// Seconds of more digits are beyond the year 9999.
const MAX_TIME_DIGITS: usize = 11;

/// Encodes the rows of a [`VpcFlowDecoder`](crate::decode::vpcflow::VpcFlowDecoder).
#[derive(Clone, Debug)]
pub struct VpcFlowEncoder {
    header: Header,
}

impl VpcFlowEncoder {
    /// An encoder with these settings.
    ///
    /// # Errors
    ///
    /// When the vendor object's name is empty or that of another member.
    pub fn new(settings: &InterflowSettings) -> Result<Self, SettingsError> {
        let content = Content { msg_class: "vpcflow", category: "paas" };
        Ok(VpcFlowEncoder { header: Header::new(&content, settings, MEMBERS)? })
    }
}

impl Encoder for VpcFlowEncoder {
    fn encode(&self, record: &Record<'_>, origin: &Origin, out: &mut Vec<u8>) {
        let mut row = Row { record, out, unfit: 0, is_plain: json::is_plain(record.raw()) };
        row.push_times(&self.header, origin);
        row.push_address(&SOURCE);
        row.push_address(&DESTINATION);
        row.push_protocol();
        row.push_counts();
        row.push_verdict();
        self.header.push_place(origin, row.out);
        row.push_vendor_object();
        row.out.extend_from_slice(b"}\n");
    }
}

/// One row on its way to a line.
struct Row<'r, 'o> {
    record: &'r Record<'r>,
    out: &'o mut Vec<u8>,
    /// Bits of the fields whose values did not fit; they go to the vendor object as texts.
    unfit: u128,
    /// No value of the row needs an escape.
    is_plain: bool,
}

/// The fields and members of one end of a flow.
struct End {
    address: Field,
    packet_address: Field,
    port: Field,
    ip: &'static [u8],
    /// What follows a private and a public address, of version 4 and of version 6.
    known: [[&'static [u8]; 2]; 2],
    ip_version: &'static [u8],
    original: &'static [u8],
    port_member: &'static [u8],
}

const SOURCE: End = End {
    address: field::SRCADDR,
    packet_address: field::PKT_SRCADDR,
    port: field::SRCPORT,
    ip: b",\"srcip\":\"",
    known: [
        [
            b"\",\"srcip_type\":\"private\",\"srcip_version\":4",
            b"\",\"srcip_type\":\"public\",\"srcip_version\":4",
        ],
        [
            b"\",\"srcip_type\":\"private\",\"srcip_version\":6",
            b"\",\"srcip_type\":\"public\",\"srcip_version\":6",
        ],
    ],
    ip_version: b",\"srcip_version\":",
    original: b",\"srcip_original\":\"",
    port_member: b",\"srcport\":",
};

const DESTINATION: End = End {
    address: field::DSTADDR,
    packet_address: field::PKT_DSTADDR,
    port: field::DSTPORT,
    ip: b",\"dstip\":\"",
    known: [
        [
            b"\",\"dstip_type\":\"private\",\"dstip_version\":4",
            b"\",\"dstip_type\":\"public\",\"dstip_version\":4",
        ],
        [
            b"\",\"dstip_type\":\"private\",\"dstip_version\":6",
            b"\",\"dstip_type\":\"public\",\"dstip_version\":6",
        ],
    ],
    ip_version: b",\"dstip_version\":",
    original: b",\"dstip_original\":\"",
    port_member: b",\"dstport\":",
};

impl End {
    /// What follows an address: the quote, its reach and its version.
    #[inline(always)]
    fn known(&self, address: IpAddr) -> &'static [u8] {
        self.known[usize::from(address.is_ipv6())][usize::from(!address::is_private(address))]
    }
}

impl<'r> Row<'r, '_> {
    /// The value of a field as `fit` reads it; one that does not fit is kept for the vendor
    /// object.
    #[inline]
    fn read<T>(&mut self, field: Field, fit: impl FnOnce(&'r [u8]) -> Option<T>) -> Option<T> {
        let read = fit(self.record.get(field)?);
        if read.is_none() {
            self.unfit |= 1 << field.0;
        }
        read
    }

    #[inline(always)]
    fn push(&mut self, bytes: &[u8]) {
        self.out.extend_from_slice(bytes);
    }

    /// Appends `name` and the value; nothing when there is none.
    #[inline(always)]
    fn push_member(&mut self, name: &[u8], value: Option<&[u8]>) {
        if let Some(value) = value {
            self.push(name);
            self.push_value(value);
        }
    }

    /// Appends a value of the row. Nearly all are short: a copy of 16 bytes that is cut back costs
    /// less than one of any length.
    #[inline(always)]
    fn push_value(&mut self, value: &[u8]) {
        let raw = self.record.raw();
        let at = (value.as_ptr() as usize).wrapping_sub(raw.as_ptr() as usize);
        match raw.get(at..).and_then(<[u8]>::first_chunk::<16>) {
            Some(chunk) if value.len() <= chunk.len() => {
                let end = self.out.len() + value.len();
                self.out.extend_from_slice(chunk);
                self.out.truncate(end);
            }
            _ => self.push(value),
        }
    }

    fn push_times(&mut self, header: &Header, origin: &Origin) {
        let start = self.read(field::START, seconds);
        let end = self.read(field::END, seconds);
        match start.or(end) {
            Some(seconds) => header.begin_at([seconds, zeros(seconds)], origin, self.out),
            None => header.begin(None, origin, self.out),
        }
        self.push(b",\"_id\":\"");
        self.push(&origin.record_id());
        self.push(b"\"");
        self.push_millis(b",\"start_time\":", start);
        self.push_millis(b",\"end_time\":", end);
        if let (Some(start), Some(end)) = (start.map(digits), end.map(digits))
            && start <= end
        {
            self.push(b",\"duration\":");
            push_number(self.out, (end - start) * 1_000);
        }
    }

    /// Appends `name` and the milliseconds of the digits of [`seconds`].
    #[inline(always)]
    fn push_millis(&mut self, name: &[u8], time: Option<&[u8]>) {
        let Some(seconds) = time else { return };
        self.push(name);
        self.push_value(seconds);
        self.push(zeros(seconds));
    }

    #[inline(always)]
    fn push_address(&mut self, end: &End) {
        let typed = self.read(end.address, ip);
        if let Some((text, address)) = typed {
            self.push(end.ip);
            self.push_value(text);
            self.push(end.known(address));
        } else if let Some(version) = self.told_version() {
            self.push(end.ip_version);
            self.push(&[b'0' + version]);
        }
        let packet = self.record.get(end.packet_address).and_then(ip);
        if let Some((text, _)) = packet.filter(|(text, _)| self.record.get(end.address) != Some(text)) {
            self.push(end.original);
            self.push(text);
            self.push(b"\"");
        }
        let port = self.read(end.port, integer);
        self.push_member(end.port_member, port);
    }

    /// The version of the addresses as the row tells it; an EFA row tells none.
    fn told_version(&self) -> Option<u8> {
        match self.record.get(field::TYPE)? {
            b"IPv4" => Some(4),
            b"IPv6" => Some(6),
            _ => None,
        }
    }

    fn push_protocol(&mut self) {
        let Some(number) = self.read(field::PROTOCOL, integer) else { return };
        self.push(b",\"proto\":");
        self.push_value(number);
        self.push(b",\"proto_name\":\"");
        self.push(protocol_name(number));
        self.push(b"\"");
    }

    fn push_counts(&mut self) {
        let packets = self.read(field::PACKETS, integer);
        self.push_member(b",\"outpkts_delta\":", packets);
        self.push_member(b",\"totalpackets\":", packets);
        let bytes = self.read(field::BYTES, integer);
        self.push_member(b",\"outbytes_total\":", bytes);
        self.push_member(b",\"totalbytes\":", bytes);
    }

    fn push_verdict(&mut self) {
        match self.record.get(field::ACTION) {
            Some(b"ACCEPT") => self.push(b",\"action\":\"allow\""),
            Some(b"REJECT") => self.push(b",\"action\":\"block\""),
            _ => {}
        }
        match self.record.get(field::FLOW_DIRECTION) {
            Some(b"ingress") => self.push(b",\"direction\":\"inbound\""),
            Some(b"egress") => self.push(b",\"direction\":\"outbound\""),
            _ => {}
        }
        if let Some(reason) = self.record.get(field::REJECT_REASON) {
            self.push(b",\"end_reason\":");
            push_text(self.out, reason);
        }
        if let Some(flags) = self.record.get(field::TCP_FLAGS).and_then(number).filter(|flags| *flags > 0) {
            self.push_flags(flags);
        }
    }

    /// The names of the flags, which AWS combines over the whole interval of the row.
    fn push_flags(&mut self, flags: i64) {
        const NAMES: [(i64, &[u8]); 6] =
            [(2, b"SYN"), (16, b"ACK"), (1, b"FIN"), (4, b"RST"), (8, b"PSH"), (32, b"URG")];
        let mut before: &[u8] = b",\"tcp_flags_name\":\"";
        for (_, name) in NAMES.iter().filter(|(bit, _)| flags & bit != 0) {
            self.push(std::mem::replace(&mut before, b"|"));
            self.push(name);
        }
        if before == b"|" {
            self.push(b"\"");
        }
    }

    /// The cells that no normalised field holds whole.
    fn push_vendor_object(&mut self) {
        let open = self.out.len();
        for (column, value) in self.record.cells() {
            let kept = column.field.map_or(Kept::Text, kept);
            if kept == Kept::Unfit && column.field.is_none_or(|field| self.unfit >> field.0 & 1 == 0) {
                continue;
            }
            self.push(column.lead.as_bytes());
            match kept {
                Kept::Number if integer(value).is_some() => self.push_value(value),
                Kept::Tag => push_text(self.out, &field::percent_decoded(value)),
                _ if self.is_plain => {
                    self.push(b"\"");
                    self.push_value(value);
                    self.push(b"\"");
                }
                Kept::Number | Kept::Text | Kept::Unfit => push_text(self.out, value),
            }
        }
        if self.out.len() == open {
            self.push(b"{");
        }
        // The comma before the first member becomes the brace.
        self.out[open] = b'{';
        self.push(b"}");
    }
}

/// What the vendor object has of a field.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kept {
    /// Only a value that did not fit its normalised field.
    Unfit,
    /// The value as a number, or as a text when it is none.
    Number,
    /// The value.
    Text,
    /// The value, which is percent-encoded.
    Tag,
}

fn kept(field: Field) -> Kept {
    match field {
        field::SRCADDR | field::DSTADDR | field::SRCPORT | field::DSTPORT | field::PROTOCOL => Kept::Unfit,
        field::PACKETS | field::BYTES | field::START | field::END => Kept::Unfit,
        field::VERSION | field::TCP_FLAGS | field::TRAFFIC_PATH | field::ENCRYPTION_STATUS => Kept::Number,
        field::PACKETS_LOST_NO_ROUTE
        | field::PACKETS_LOST_BLACKHOLE
        | field::PACKETS_LOST_MTU_EXCEEDED
        | field::PACKETS_LOST_TTL_EXPIRED => Kept::Number,
        tag if field::is_tag(tag) => Kept::Tag,
        _ => Kept::Text,
    }
}

/// A whole number as JSON writes it, so that it can be copied.
fn integer(value: &[u8]) -> Option<&[u8]> {
    let written = value == b"0" || value.first().is_some_and(|first| matches!(first, b'1'..=b'9'));
    (written && value.len() <= MAX_DIGITS && value.iter().all(u8::is_ascii_digit)).then_some(value)
}

fn number(value: &[u8]) -> Option<i64> {
    integer(value).map(digits)
}

/// The number that the digits of an [`integer`] are.
fn digits(integer: &[u8]) -> i64 {
    integer.iter().fold(0, |sum, digit| sum * 10 + i64::from(digit - b'0'))
}

/// The digits of seconds since 1970.
fn seconds(value: &[u8]) -> Option<&[u8]> {
    integer(value).filter(|digits| digits.len() <= MAX_TIME_DIGITS)
}

/// What makes milliseconds of the digits of [`seconds`].
fn zeros(seconds: &[u8]) -> &'static [u8] {
    if seconds == b"0" { b"" } else { b"000" }
}

fn ip(value: &[u8]) -> Option<(&[u8], IpAddr)> {
    Some((value, address::parse(value)?))
}

/// The keyword of a protocol number, in small letters (IANA, "Protocol Numbers"); the number
/// itself for others.
pub(in crate::encode) fn protocol_name(number: &[u8]) -> &[u8] {
    match number {
        b"1" => b"icmp",
        b"2" => b"igmp",
        b"4" => b"ipv4",
        b"6" => b"tcp",
        b"17" => b"udp",
        b"41" => b"ipv6",
        b"47" => b"gre",
        b"50" => b"esp",
        b"51" => b"ah",
        b"58" => b"ipv6-icmp",
        b"89" => b"ospf",
        b"103" => b"pim",
        b"112" => b"vrrp",
        b"115" => b"l2tp",
        b"132" => b"sctp",
        other => other,
    }
}

/// Appends a text, valid UTF-8, as a JSON string.
fn push_text(out: &mut Vec<u8>, text: &[u8]) {
    out.push(b'"');
    json::push_escaped(out, text);
    out.push(b'"');
}

#[cfg(test)]
mod tests;
