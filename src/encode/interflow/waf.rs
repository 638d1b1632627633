//! AWS WAF records as Interflow lines.
//!
//! The original stands byte for byte under the vendor object, but for the values of secret
//! request headers, which are hidden. The normalised fields beside it are copies of its values,
//! still escaped.

use memchr::memchr_iter;

use super::line::Line;
use super::{Content, Header, InterflowSettings, SettingsError};
use crate::encode::mask::{HeaderMask, Hidden};
use crate::encode::origin::IdHash;
use crate::encode::text;
use crate::encode::{Encoder, Origin};
use crate::record::{Record, Span, json, time, waf::field, walk};

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
    "srcip_geo",
    "srcip_geo_source",
    "dstip_host",
    "action",
    "event",
    "event_id",
    "_id",
    "event_name",
    "rule",
    "request_url",
    "url",
    "http",
    "user_agent",
    "tls",
    "service",
    "cloud",
    "tags",
    "s3",
];

/// Encodes the records of a decoder with the [fields of WAF](crate::record::waf::PATHS).
#[derive(Clone, Debug)]
pub struct WafEncoder {
    header: Header,
    mask: HeaderMask,
}

impl WafEncoder {
    /// An encoder with these settings.
    ///
    /// # Errors
    ///
    /// When the vendor object's name is empty or that of another member.
    pub fn new(settings: &InterflowSettings) -> Result<Self, SettingsError> {
        let content = Content { msg_class: "aws_waf", category: "waf" };
        let header = Header::new(&content, settings, MEMBERS)?;
        Ok(WafEncoder { header, mask: HeaderMask::new(&settings.mask_headers) })
    }
}

impl Encoder for WafEncoder {
    fn encode(&self, record: &Record<'_>, origin: &Origin, out: &mut Vec<u8>) {
        let headers = RequestHeaders::of(record, &self.mask);
        match record.get(field::TIMESTAMP) {
            Some(millis) if is_recent_millis(millis) => self.header.begin_at([millis, b""], origin, out),
            time => self.header.begin(time.and_then(time::any_epoch_millis), origin, out),
        }
        let mut line = Line { raw: record.raw(), spans: record.spans(), out };
        push_client(&mut line);
        push_verdict(&mut line);
        push_ids(record, origin, &mut line);
        push_request(&headers, &mut line);
        push_web_acl(&mut line);
        push_labels(record, line.out);
        self.header.push_place(origin, line.out);
        headers.hidden.push_one_line(record, line.out);
        line.push(b"}\n");
    }
}

/// Whether a raw value is a time as AWS writes it in digits: milliseconds between the years 2001
/// and 2286, which need not be read to be written.
#[inline(always)]
fn is_recent_millis(raw: &[u8]) -> bool {
    const DIGITS: usize = 13;
    raw.len() == DIGITS && raw[0] != b'0' && raw.iter().fold(true, |all, byte| all & byte.is_ascii_digit())
}

/// The headers that have a field of their own and are not hidden, still escaped; of several the
/// first. Empty where there is none.
pub(in crate::encode) struct RequestHeaders {
    pub host: Span,
    pub user_agent: Span,
    referer: Span,
    hidden: Hidden,
}

impl RequestHeaders {
    #[inline(always)]
    pub(in crate::encode) fn of(record: &Record<'_>, mask: &HeaderMask) -> Self {
        let [mut host, mut user_agent, mut referer] = [Span::default(); 3];
        let hidden = mask.judge(record, |name, value| {
            let place = match name.len() {
                4 if is_name(name, b"host") => &mut host,
                10 if is_name(name, b"user-agent") => &mut user_agent,
                7 if is_name(name, b"referer") => &mut referer,
                _ => return,
            };
            if *place == Span::default() {
                *place = walk::filled_body(record.raw(), value);
            }
        });
        RequestHeaders { host, user_agent, referer, hidden }
    }
}

/// Whether a header's name is `lower`, but for case. What the bit of case makes of other bytes is
/// no matter: a hyphen comes from a control character too, and no name has one.
#[inline(always)]
fn is_name<const N: usize>(name: &[u8], lower: &[u8; N]) -> bool {
    name.first_chunk().is_some_and(|name: &[u8; N]| name.map(|byte| byte | 0x20) == *lower)
}

fn push_client(line: &mut Line<'_, '_>) {
    let client = line.bytes(line.text(field::CLIENT_IP));
    line.push_srcip(client);
    line.push_text(
        b",\"srcip_geo\":{\"countryCode\":\"",
        line.text(field::COUNTRY),
        b"\"},\"srcip_geo_source\":\"aws_waf\"",
    );
}

/// What was done with the request, and by which rule.
fn push_verdict(line: &mut Line<'_, '_>) {
    /// An action in lower case, as Interflow writes them.
    macro_rules! known {
        ($action:literal) => {
            line.out.extend_from_slice(
                concat!(",\"action\":\"", $action, "\",\"event\":{\"action\":\"", $action, "\"}").as_bytes(),
            )
        };
    }
    let action = line.text(field::ACTION);
    match line.bytes(action) {
        b"ALLOW" => known!("allow"),
        b"BLOCK" => known!("block"),
        b"COUNT" => known!("count"),
        b"CAPTCHA" => known!("captcha"),
        b"CHALLENGE" => known!("challenge"),
        _ => {
            line.push_text(b",\"action\":\"", action, b"");
            line.push_text(b"\",\"event\":{\"action\":\"", action, b"\"}");
        }
    }
    let rule = line.text(field::TERMINATING_RULE_ID);
    line.push_text(b",\"event_name\":\"", rule, b"");
    line.push_text(b"\",\"rule\":{\"name\":\"", rule, b"\"}");
}

fn push_ids(record: &Record<'_>, origin: &Origin, line: &mut Line<'_, '_>) {
    line.push_text(b",\"event_id\":\"", line.text(field::REQUEST_ID), b"\"");
    line.push(b",\"_id\":\"");
    match id_hash(record) {
        Some(hash) => hash.pieces().iter().for_each(|piece| line.push(piece)),
        None => line.push(&origin.record_id()),
    }
    line.push(b"\"");
}

/// The id of a record. A request that several web ACLs see has a record of each, so its id alone
/// is none of a record.
pub(in crate::encode) fn record_id(record: &Record<'_>, origin: &Origin) -> [u8; 32] {
    id_hash(record).map_or_else(|| origin.record_id(), IdHash::digits)
}

/// What stands for a record with a request id.
#[inline(always)]
fn id_hash(record: &Record<'_>) -> Option<IdHash> {
    let request = text(record, field::REQUEST_ID)?;
    let [acl, time] =
        [field::WEB_ACL_ID, field::TIMESTAMP].map(|field| record.get(field).unwrap_or_default());
    Some(IdHash::new().with(request).with(acl).with(time))
}

fn push_request(headers: &RequestHeaders, line: &mut Line<'_, '_>) {
    let [own, path, query] = [field::HOST, field::URI, field::ARGS].map(|field| line.text(field));
    let host = if own == Span::default() { headers.host } else { own };
    line.push_text(b",\"dstip_host\":\"", host, b"\"");
    if path != Span::default() {
        line.push(b",\"request_url\":\"");
        push_url(host, line);
        line.push(b"\"");
    }
    line.push_nested(b",\"url\":", |line| {
        line.push_text(b",\"path\":\"", path, b"\"");
        line.push_text(b",\"query\":\"", query, b"\"");
    });
    line.push_nested(b",\"http\":", |line| {
        line.push_nested(b",\"request\":", |line| {
            line.push_text(b",\"method\":\"", line.text(field::HTTP_METHOD), b"\"");
            line.push_text(b",\"referrer\":\"", headers.referer, b"\"");
        });
        line.push_text(b",\"version\":\"", line.text(field::HTTP_VERSION), b"\"");
    });
    line.push_text(b",\"user_agent\":{\"original\":\"", headers.user_agent, b"\"}");
    line.push_text(b",\"tls\":{\"client\":{\"ja3\":\"", line.text(field::JA3_FINGERPRINT), b"\"}}");
    line.push_text(b",\"service\":\"", line.text(field::HTTP_SOURCE_NAME), b"\"");
}

/// Without scheme and host in records that do not tell the scheme (older ones).
fn push_url(host: Span, line: &mut Line<'_, '_>) {
    let scheme = line.text(field::SCHEME);
    if scheme != Span::default() && host != Span::default() {
        line.push_piece(scheme);
        line.push_text(b"://", host, b"");
    }
    line.push_piece(line.text(field::URI));
    line.push_text(b"?", line.text(field::ARGS), b"");
    line.push_text(b"#", line.text(field::FRAGMENT), b"");
}

/// Account and region of `arn:aws:wafv2:REGION:ACCOUNT:SCOPE/webacl/NAME/ID`. The ARN of a web
/// ACL for CloudFront names the region that holds it, its scope is `global`; a web ACL of WAF
/// Classic has an id and no ARN.
fn push_web_acl(line: &mut Line<'_, '_>) {
    const USUAL: &[u8] = b"arn:aws:wafv2:";
    let id = line.text(field::WEB_ACL_ID);
    let arn = line.bytes(id);
    if !arn.starts_with(b"arn:") {
        return;
    }
    let mut start = match arn.starts_with(USUAL) {
        true => USUAL.len(),
        false => memchr_iter(b':', arn).nth(2).map_or(arn.len(), |colon| colon + 1),
    };
    // the next part of the ARN, up to a colon or its end
    let mut part = || {
        let rest = &arn[start..];
        let length = rest.iter().position(|byte| *byte == b':').unwrap_or(rest.len());
        let from = id.start + start as u32;
        start = arn.len().min(start + length + 1);
        Span { start: from, end: from + length as u32 }
    };
    let [region, account] = [(); 2].map(|()| part());
    let is_global = arn[start..].starts_with(b"global/");
    line.push_nested(b",\"cloud\":", |line| {
        match is_global {
            true => line.push(b",\"region\":\"global\""),
            false => line.push_text(b",\"region\":\"", region, b"\""),
        }
        line.push_text(b",\"account\":{\"id\":\"", account, b"\"}");
    });
}

/// The names of the labels that rules gave to the request.
fn push_labels(record: &Record<'_>, out: &mut Vec<u8>) {
    let before = out.len();
    out.extend_from_slice(b",\"tags\":");
    let open = out.len();
    walk::each_name(record, field::LABELS, |name| {
        if json::filled_string(name).is_some() {
            out.push(b',');
            out.extend_from_slice(name);
        }
    });
    if out.len() == open {
        out.truncate(before);
        return;
    }
    // The comma before the first label becomes the bracket.
    out[open] = b'[';
    out.push(b']');
}

#[cfg(test)]
mod tests;
