//! AWS WAF records as Interflow lines.
//!
//! The original stands byte for byte under the vendor object, but for the values of secret
//! request headers, which are hidden. The normalised fields beside it are copies of its values,
//! still escaped.

use super::line::{member, push_name, push_nested, push_object, push_text, text_member};
use super::{Content, Header, InterflowSettings, SettingsError, push_srcip};
use crate::encode::mask::{HeaderMask, push_hiding};
use crate::encode::origin::IdHash;
use crate::encode::text;
use crate::encode::{Encoder, Origin};
use crate::record::{Record, json, time, waf::field, walk};

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
        let time = record.get(field::TIMESTAMP).and_then(time::any_epoch_millis);
        self.header.begin(time, origin, out);
        push_client(record, out);
        push_verdict(record, out);
        push_ids(record, origin, out);
        push_request(record, &headers, out);
        push_web_acl(record, out);
        push_labels(record, out);
        self.header.push_place(origin, out);
        push_hiding(&headers.hidden, record, out);
        out.extend_from_slice(b"}\n");
    }
}

/// The headers that have a field of their own and are not hidden, still escaped; of several the
/// first.
#[derive(Default)]
pub(in crate::encode) struct RequestHeaders<'a> {
    pub host: Option<&'a [u8]>,
    pub user_agent: Option<&'a [u8]>,
    referer: Option<&'a [u8]>,
    /// The values that are hidden, raw, in their order.
    hidden: Vec<&'a [u8]>,
}

impl<'a> RequestHeaders<'a> {
    pub(in crate::encode) fn of(record: &Record<'a>, mask: &HeaderMask) -> Self {
        let mut headers = RequestHeaders::default();
        let list = record.get(field::HEADERS).unwrap_or_default();
        walk::each_object(list, ["name", "value"], |[name, value]| {
            let (Some(name), Some(value)) = (name.and_then(json::string_body), value) else { return };
            if mask.hides(name) {
                headers.hidden.push(value);
                return;
            }
            let place = match name.len() {
                4 if name.eq_ignore_ascii_case(b"host") => &mut headers.host,
                10 if name.eq_ignore_ascii_case(b"user-agent") => &mut headers.user_agent,
                7 if name.eq_ignore_ascii_case(b"referer") => &mut headers.referer,
                _ => return,
            };
            *place = place.or_else(|| json::filled_string(value));
        });
        headers
    }
}

fn push_client(record: &Record<'_>, out: &mut Vec<u8>) {
    if let Some(client) = text(record, field::CLIENT_IP) {
        push_srcip(client, out);
    }
    if let Some(country) = text(record, field::COUNTRY) {
        push_object(out, member!("srcip_geo"), [(text_member!("countryCode"), Some(country))]);
        push_text(out, text_member!("srcip_geo_source"), Some(b"aws_waf"));
    }
}

/// What was done with the request, and by which rule.
fn push_verdict(record: &Record<'_>, out: &mut Vec<u8>) {
    let action = text(record, field::ACTION).map(lower_case);
    push_text(out, text_member!("action"), action);
    push_object(out, member!("event"), [(text_member!("action"), action)]);
    let rule = text(record, field::TERMINATING_RULE_ID);
    push_text(out, text_member!("event_name"), rule);
    push_object(out, member!("rule"), [(text_member!("name"), rule)]);
}

/// The known actions in lower case, as Interflow writes them; others as they are.
fn lower_case(action: &[u8]) -> &[u8] {
    match action {
        b"ALLOW" => b"allow",
        b"BLOCK" => b"block",
        b"COUNT" => b"count",
        b"CAPTCHA" => b"captcha",
        b"CHALLENGE" => b"challenge",
        other => other,
    }
}

fn push_ids(record: &Record<'_>, origin: &Origin, out: &mut Vec<u8>) {
    push_text(out, text_member!("event_id"), text(record, field::REQUEST_ID));
    push_text(out, text_member!("_id"), Some(&record_id(record, origin)));
}

/// The id of a record. A request that several web ACLs see has a record of each, so its id alone
/// is none of a record.
pub(in crate::encode) fn record_id(record: &Record<'_>, origin: &Origin) -> [u8; 32] {
    let Some(request) = text(record, field::REQUEST_ID) else { return origin.record_id() };
    let [acl, time] = [field::WEB_ACL_ID, field::TIMESTAMP].map(|field| record.get(field));
    let hash = [request, acl.unwrap_or_default(), time.unwrap_or_default()]
        .into_iter()
        .fold(IdHash::new(), IdHash::with);
    hash.digits()
}

fn push_request(record: &Record<'_>, headers: &RequestHeaders<'_>, out: &mut Vec<u8>) {
    let get = |field| text(record, field);
    let host = get(field::HOST).or(headers.host);
    push_text(out, text_member!("dstip_host"), host);
    push_url(record, host, out);
    push_object(
        out,
        member!("url"),
        [(text_member!("path"), get(field::URI)), (text_member!("query"), get(field::ARGS))],
    );
    let (method, referer) = (get(field::HTTP_METHOD), headers.referer);
    let version = get(field::HTTP_VERSION);
    push_nested(out, member!("http"), |out| {
        push_object(
            out,
            member!("request"),
            [(text_member!("method"), method), (text_member!("referrer"), referer)],
        );
        push_text(out, text_member!("version"), version);
    });
    push_object(out, member!("user_agent"), [(text_member!("original"), headers.user_agent)]);
    let ja3 = get(field::JA3_FINGERPRINT);
    push_nested(out, member!("tls"), |out| push_object(out, member!("client"), [(text_member!("ja3"), ja3)]));
    push_text(out, text_member!("service"), get(field::HTTP_SOURCE_NAME));
}

fn push_url(record: &Record<'_>, host: Option<&[u8]>, out: &mut Vec<u8>) {
    let Some(parts) = url_parts(record, host) else { return };
    push_name(out, member!("request_url"));
    out.push(b'"');
    parts.iter().for_each(|part| out.extend_from_slice(part));
    out.push(b'"');
}

/// The URL of the request in parts, still escaped, absent ones empty; without scheme and host in
/// records that do not tell the scheme (older ones). `None` without a path.
pub(in crate::encode) fn url_parts<'a>(record: &Record<'a>, host: Option<&'a [u8]>) -> Option<[&'a [u8]; 8]> {
    let path = text(record, field::URI)?;
    let site: [&[u8]; 3] = match (text(record, field::SCHEME), host) {
        (Some(scheme), Some(host)) => [scheme, b"://", host],
        _ => [b""; 3],
    };
    let behind = |mark: &'static [u8], part| text(record, part).map_or([&b""[..]; 2], |part| [mark, part]);
    let [query, fragment] = [behind(b"?", field::ARGS), behind(b"#", field::FRAGMENT)];
    Some([site[0], site[1], site[2], path, query[0], query[1], fragment[0], fragment[1]])
}

/// Account and region of `arn:aws:wafv2:REGION:ACCOUNT:SCOPE/webacl/NAME/ID`. The ARN of a web
/// ACL for CloudFront names the region that holds it, its scope is `global`; a web ACL of WAF
/// Classic has an id and no ARN.
fn push_web_acl(record: &Record<'_>, out: &mut Vec<u8>) {
    let Some(arn) = text(record, field::WEB_ACL_ID).filter(|id| id.starts_with(b"arn:")) else { return };
    let mut parts = arn.splitn(6, |byte| *byte == b':').skip(3);
    let mut part = || parts.next().filter(|part| !part.is_empty());
    let (region, account, web_acl) = (part(), part(), part());
    let is_global = web_acl.is_some_and(|name| name.starts_with(b"global/"));
    push_nested(out, member!("cloud"), |out| {
        push_text(out, text_member!("region"), if is_global { Some(b"global") } else { region });
        push_object(out, member!("account"), [(text_member!("id"), account)]);
    });
}

/// The names of the labels that rules gave to the request.
fn push_labels(record: &Record<'_>, out: &mut Vec<u8>) {
    let before = out.len();
    push_name(out, member!("tags"));
    let open = out.len();
    walk::each_object(record.get(field::LABELS).unwrap_or_default(), ["name"], |[name]| {
        if let Some(name) = name.filter(|name| json::filled_string(name).is_some()) {
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
