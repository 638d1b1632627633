//! From what was typed to what it means: one source.

use std::path::PathBuf;
use std::time::Duration;

use toml::Spanned;

use super::access::check_access;
use super::check::{DAY, HOUR, MINUTE};
use super::error::{Problem, nearest};
use super::file_pattern::FilePattern;
use super::filter::check_filter;
use super::model::{BucketLocation, FileType, FreeForm, KeyOrder, OnOverwrite, SourceConfig, Start};
use super::raw::{RawSource, Set};
use super::table::Table;
use super::texts::Texts;
use super::units::{parse_start, show_duration};
use crate::layout;
use crate::pattern::PrefixPattern;
use crate::prices::Prices;
use crate::record::LogType;
use crate::record::waf::SECRET_HEADERS;

/// Top-level fields of an Interflow record that the vendor's object must not replace.
const INTERFLOW_FIELDS: [&str; 61] = [
    "_id",
    "action",
    "appid_name",
    "cloud",
    "cust_id",
    "direction",
    "dstip",
    "dstip_host",
    "dstip_original",
    "dstip_type",
    "dstip_version",
    "dstport",
    "duration",
    "end_reason",
    "end_time",
    "engid",
    "engid_name",
    "event",
    "event_category",
    "event_id",
    "event_name",
    "event_source",
    "event_status",
    "event_type",
    "host",
    "http",
    "login_result",
    "login_type",
    "msg_class",
    "msg_origin",
    "outbytes_total",
    "outpkts_delta",
    "proto",
    "proto_name",
    "request_url",
    "rule",
    "s3",
    "service",
    "srcip",
    "srcip_geo",
    "srcip_geo_source",
    "srcip_host",
    "srcip_original",
    "srcip_type",
    "srcip_usersid",
    "srcip_username",
    "srcip_version",
    "srcport",
    "start_time",
    "tags",
    "tcp_flags_name",
    "tenant_name",
    "tenantid",
    "timestamp",
    "tls",
    "totalbytes",
    "totalpackets",
    "url",
    "user",
    "user_agent",
    "write_time",
];

const LONGEST_NAME: usize = 100;
/// Objects of a sweep, or records of a second, that a bound may name.
const MOST_OBJECTS: u64 = 1_000_000_000;
/// Records of a sweep that a bound may name.
const MOST_RECORDS: u64 = 1_000_000_000_000;

/// Checks one source; the first problem is returned.
pub(super) fn check_source(
    table: &Table,
    raw: &RawSource,
    texts: &Texts,
    warnings: &mut Vec<String>,
) -> Result<SourceConfig, Problem> {
    let name = name(table, raw)?;
    let log_type = log_type(table, raw)?;
    let timezone = timezone(table, raw)?;
    let typed = pattern(table, raw)?;
    let completed = layout::complete(log_type, typed);
    let pattern = completed.pattern.in_timezone(timezone);
    let key_order = key_order(table, raw, &pattern, completed.layout)?;
    if completed.layout.is_some() && timezone != chrono_tz::UTC {
        warnings.push(format!(
            "source \"{name}\": `timezone` is {timezone}, but AWS writes the dates of this layout in UTC"
        ));
    }
    Ok(SourceConfig {
        enabled: raw.enabled.as_ref().is_none_or(|enabled| *enabled.get_ref()),
        description: raw.description.as_ref().map(|text| text.get_ref().clone()).unwrap_or_default(),
        bucket: bucket(table, raw)?,
        file_pattern: file_pattern(table, raw, log_type)?,
        file_type: file_type(table, raw)?,
        recurrence: recurrence(table, raw)?,
        startup_delay: wait(table, raw, "startup_delay", &raw.startup_delay)?,
        jitter: wait(table, raw, "jitter", &raw.jitter)?,
        start: start(table, raw)?,
        lateness: table.duration("lateness", &raw.lateness, HOUR, Duration::ZERO)?,
        recheck: recheck(table, raw)?,
        discover_every: table.duration("discover_every", &raw.discover_every, 15 * MINUTE, Duration::ZERO)?,
        reconcile_every: table.duration("reconcile_every", &raw.reconcile_every, DAY, MINUTE)?,
        on_overwrite: on_overwrite(table, raw)?,
        max_attempts: u32::try_from(table.number("max_attempts", &raw.max_attempts, 5, (1, 1_000_000))?)
            .unwrap_or(u32::MAX),
        eps_throttle: table.number("eps_throttle", &raw.eps_throttle, 0, (0, MOST_OBJECTS))?,
        max_objects_per_sweep: bound(
            table,
            "max_objects_per_sweep",
            &raw.max_objects_per_sweep,
            MOST_OBJECTS,
        )?,
        max_records_per_sweep: bound(
            table,
            "max_records_per_sweep",
            &raw.max_records_per_sweep,
            MOST_RECORDS,
        )?,
        max_sweep_duration: Some(table.duration(
            "max_sweep_duration",
            &raw.max_sweep_duration,
            Duration::ZERO,
            Duration::ZERO,
        )?)
        .filter(|most| !most.is_zero()),
        prices: prices(table, raw)?,
        list_budget_per_hour: bound(table, "list_budget_per_hour", &raw.list_budget_per_hour, MOST_OBJECTS)?,
        vendor_object: vendor_object(table, raw)?,
        free_form: free_form(table, raw)?,
        keep_nodata: raw.keep_nodata.as_ref().is_some_and(|keep| *keep.get_ref()),
        mask_headers: mask_headers(table, raw)?,
        timestamp_field: timestamp_field(table, raw, &name, log_type, warnings)?,
        filter: check_filter(table, raw, log_type)?,
        tenantid: table.text("tenantid", &raw.tenantid)?,
        tenant_name: table.text("tenant_name", &raw.tenant_name)?,
        cust_id: table.text("cust_id", &raw.cust_id)?,
        list_page_size: u16::try_from(table.number(
            "list_page_size",
            &raw.list_page_size,
            1_000,
            (1, 1_000),
        )?)
        .unwrap_or(1_000),
        access: check_access(table, raw, texts)?,
        name,
        log_type,
        layout: completed.layout,
        pattern,
        timezone,
        key_order,
    })
}

fn name(table: &Table, raw: &RawSource) -> Result<String, Problem> {
    let name = table.required("name", &raw.name, "\"prod-cloudtrail\"")?;
    let text = name.get_ref();
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
    let folder = text.bytes().all(|byte| byte == b'.');
    if folder || text.len() > LONGEST_NAME || !text.bytes().all(allowed) {
        let rule = format!("1 to {LONGEST_NAME} letters (a-z, A-Z), digits, `-`, `_` or `.`");
        return Err(table.not_allowed("name", name, rule));
    }
    Ok(text.clone())
}

fn log_type(table: &Table, raw: &RawSource) -> Result<LogType, Problem> {
    let value = table.required("log_type", &raw.log_type, "\"cloudtrail\"")?;
    let words = LogType::ALL.map(|log_type| (log_type.word(), log_type));
    table.one_word("log_type", value, &words)
}

fn timezone(table: &Table, raw: &RawSource) -> Result<chrono_tz::Tz, Problem> {
    let Some(zone) = &raw.timezone else { return Ok(chrono_tz::UTC) };
    zone.get_ref().parse().map_err(|_| {
        let names = chrono_tz::TZ_VARIANTS.iter().map(|zone| zone.name());
        let hint = nearest(zone.get_ref(), names)
            .map(|near| format!(", did you mean \"{near}\"?"))
            .unwrap_or_default();
        table.not_allowed("timezone", zone, format!("a zone such as \"UTC\" or \"Europe/Berlin\"{hint}"))
    })
}

fn pattern(table: &Table, raw: &RawSource) -> Result<PrefixPattern, Problem> {
    let prefix = table.required("prefix", &raw.prefix, "\"AWSLogs/*/CloudTrail/us-east-1\"")?;
    PrefixPattern::parse(prefix.get_ref()).map_err(|error| table.wrong("prefix", prefix, error.to_string()))
}

fn key_order(
    table: &Table,
    raw: &RawSource,
    pattern: &PrefixPattern,
    layout: Option<layout::Layout>,
) -> Result<KeyOrder, Problem> {
    let default = match layout {
        Some(layout) if layout.keys_rise_with_time() => KeyOrder::Time,
        _ => KeyOrder::None,
    };
    let order = table.word(
        "key_order",
        &raw.key_order,
        default,
        &[("time", KeyOrder::Time), ("none", KeyOrder::None)],
    )?;
    match &raw.key_order {
        Some(value) if order == KeyOrder::Time && !pattern.is_range() && wildcard_among_dates(pattern) => {
            let reason = format!(
                "\"time\" contradicts `{}`, where a wildcard stands among the dates, so that keys do not rise \
                 with time; write \"none\"",
                table.setting("prefix")
            );
            Err(table.wrong("key_order", value, reason))
        }
        _ => Ok(order),
    }
}

/// Whether a wildcard stands between the first and the last date variable. The shown form of a
/// pattern has its variables in braces and its literal braces and stars behind a backslash.
fn wildcard_among_dates(pattern: &PrefixPattern) -> bool {
    let shown = pattern.to_string();
    let (mut escaped, mut in_dates, mut star_since) = (false, false, false);
    for letter in shown.chars() {
        match letter {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            '{' if in_dates && star_since => return true,
            '{' => in_dates = true,
            '*' => star_since = in_dates,
            _ => {}
        }
    }
    false
}

fn bucket(table: &Table, raw: &RawSource) -> Result<BucketLocation, Problem> {
    let value = table.required("bucket", &raw.bucket, "\"acme-trail\"")?;
    let text = value.get_ref().as_str();
    let rule = "the name of a bucket, or a directory as \"file:///srv/mirror\"";
    if let Some(path) = text.strip_prefix("file://") {
        if !path.starts_with('/') {
            return Err(table.not_allowed("bucket", value, format!("{rule}; the path is absolute")));
        }
        return Ok(BucketLocation::Dir(PathBuf::from(path)));
    }
    if let Some(rest) = text.strip_prefix("s3://") {
        let name = rest.split('/').next().unwrap_or_default();
        return Err(table.not_allowed("bucket", value, format!("{rule}; here: \"{name}\"")));
    }
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
    let name = (3..=255).contains(&text.len()) && text.bytes().all(allowed);
    if let Some((_, name)) = text.split_once(":s3:::").filter(|_| text.starts_with("arn:")) {
        let name = name.split('/').next().unwrap_or_default();
        return Err(table.not_allowed("bucket", value, format!("{rule}; here: \"{name}\"")));
    }
    let access_point =
        text.starts_with("arn:") && text.contains("accesspoint") && !text.contains(char::is_whitespace);
    if !name && !access_point {
        return Err(table.not_allowed("bucket", value, rule));
    }
    Ok(BucketLocation::S3(text.to_owned()))
}

/// Whether this build reads Parquet.
const PARQUET: bool = cfg!(feature = "parquet");

/// What the objects of a log type are called.
fn default_file_pattern(log_type: LogType) -> &'static str {
    match log_type {
        LogType::CloudTrail => r".*\.json\.gz",
        // Objects in Parquet end in `.log.parquet`, or in `.parquet` where another tool wrote them.
        LogType::VpcFlow if PARQUET => r".*\.(log\.gz|parquet)",
        LogType::VpcFlow => r".*\.log\.gz",
        // what WAF writes itself; what Firehose writes: STREAM-VERSION-TIME-UUID, the stream's name
        // beginning as WAF asks
        LogType::Waf => r".*(\.log(\.gz)?|aws-waf-logs-[^/]*[0-9a-f]{12}(\.gz)?)",
        LogType::Jsonl => ".*",
    }
}

fn file_pattern(table: &Table, raw: &RawSource, log_type: LogType) -> Result<FilePattern, Problem> {
    let Some(value) = &raw.file_pattern else {
        return FilePattern::parse(default_file_pattern(log_type))
            .map_err(|reason| Problem::new(table.at.clone(), table.setting("file_pattern"), reason));
    };
    FilePattern::parse(value.get_ref()).map_err(|reason| {
        table.not_allowed("file_pattern", value, format!("a regular expression over the whole key; {reason}"))
    })
}

fn file_type(table: &Table, raw: &RawSource) -> Result<FileType, Problem> {
    let words = [
        ("auto", FileType::Auto),
        ("gzip", FileType::Gzip),
        ("text", FileType::Text),
        ("parquet", FileType::Parquet),
    ];
    let words = if PARQUET { &words[..] } else { &words[..3] };
    table.word("file_type", &raw.file_type, FileType::Auto, words)
}

fn recurrence(table: &Table, raw: &RawSource) -> Result<Duration, Problem> {
    let Some(value) = &raw.recurrence else { return Ok(5 * MINUTE) };
    let rule = "whole minutes, hours or days, at least 1M, such as \"5M\", \"1H\" or \"1D\"";
    match table.one_duration("recurrence", value, Duration::ZERO) {
        Ok(duration) if duration >= MINUTE && duration.as_secs().is_multiple_of(60) => Ok(duration),
        _ => Err(table.not_allowed("recurrence", value, rule)),
    }
}

/// What comes before a sweep is no longer than a recurrence.
fn wait(table: &Table, raw: &RawSource, key: &str, value: &Set<String>) -> Result<Duration, Problem> {
    let Some(value) = value else { return Ok(Duration::ZERO) };
    let (wait, recurrence) = (table.one_duration(key, value, Duration::ZERO)?, recurrence(table, raw)?);
    if wait > recurrence {
        let (setting, shown) = (table.setting("recurrence"), show_duration(recurrence));
        let reason = format!("contradicts `{setting}`, which is {shown}: it is no longer than that");
        return Err(table.wrong(key, value, reason));
    }
    Ok(wait)
}

fn prices(table: &Table, raw: &RawSource) -> Result<Prices, Problem> {
    let price = |key, value: &Set<f64>, default| match value {
        Some(value) if !(0.0..=1000.0).contains(value.get_ref()) => {
            Err(table.not_allowed(key, value, "USD for 1,000 requests, from 0 to 1000"))
        }
        Some(value) => Ok(*value.get_ref()),
        None => Ok(default),
    };
    let default = Prices::default();
    Ok(Prices {
        list: price("list_price", &raw.list_price, default.list)?,
        get: price("get_price", &raw.get_price, default.get)?,
    })
}

fn start(table: &Table, raw: &RawSource) -> Result<Start, Problem> {
    let Some(value) = &raw.start else { return Ok(Start::Ago(DAY)) };
    let text = value.get_ref().0.as_str();
    parse_start(text).ok_or_else(|| {
        let typed = Spanned::new(value.span(), text);
        let rule =
            "a duration (\"1D\"), a date (\"2026-01-31\"), an instant (\"2026-01-31T10:00:00Z\") or \"all\"";
        table.not_allowed("start", &typed, rule)
    })
}

/// The ages, rising, each once.
fn recheck(table: &Table, raw: &RawSource) -> Result<Vec<Duration>, Problem> {
    let Some(ages) = &raw.recheck else { return Ok(vec![DAY, 7 * DAY, 30 * DAY]) };
    let mut durations = Vec::new();
    for age in ages.get_ref() {
        durations.push(table.one_duration("recheck", age, MINUTE)?);
    }
    durations.sort();
    durations.dedup();
    Ok(durations)
}

fn on_overwrite(table: &Table, raw: &RawSource) -> Result<OnOverwrite, Problem> {
    let words = [("ignore", OnOverwrite::Ignore), ("collect", OnOverwrite::Collect)];
    table.word("on_overwrite", &raw.on_overwrite, OnOverwrite::Ignore, &words)
}

fn free_form(table: &Table, raw: &RawSource) -> Result<FreeForm, Problem> {
    let words = [("object", FreeForm::Object), ("string", FreeForm::String)];
    table.word("free_form", &raw.free_form, FreeForm::Object, &words)
}

/// The names of the headers, as typed.
fn mask_headers(table: &Table, raw: &RawSource) -> Result<Vec<String>, Problem> {
    let Some(names) = &raw.mask_headers else { return Ok(SECRET_HEADERS.map(str::to_owned).to_vec()) };
    // RFC 9110: a field name is a token
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
    for name in names.get_ref() {
        if name.get_ref().is_empty() || !name.get_ref().bytes().all(allowed) {
            return Err(table.not_allowed("mask_headers", name, "names of headers, such as \"Cookie\""));
        }
    }
    Ok(names.get_ref().iter().map(|name| name.get_ref().clone()).collect())
}

fn timestamp_field(
    table: &Table,
    raw: &RawSource,
    name: &str,
    log_type: LogType,
    warnings: &mut Vec<String>,
) -> Result<Option<String>, Problem> {
    let field = table.text("timestamp_field", &raw.timestamp_field)?;
    match (&raw.timestamp_field, log_type) {
        (None, LogType::Jsonl) => warnings.push(format!(
            "source \"{name}\": without `timestamp_field` its records have the time at which they are written"
        )),
        (Some(value), LogType::CloudTrail | LogType::VpcFlow | LogType::Waf) => {
            let reason = format!(
                "contradicts `log_type` = \"{}\", whose records tell their time in a field of their own; it is \
                 for \"jsonl\"",
                log_type.word()
            );
            return Err(table.wrong("timestamp_field", value, reason));
        }
        (None, _) | (Some(_), LogType::Jsonl) => {}
    }
    Ok(field)
}

fn vendor_object(table: &Table, raw: &RawSource) -> Result<String, Problem> {
    let Some(value) = &raw.vendor_object else { return Ok("aws".to_owned()) };
    let text = value.get_ref();
    if text.is_empty() || !text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte)) {
        return Err(table.not_allowed(
            "vendor_object",
            value,
            "letters, digits, `-` and `_`, such as \"aws\"",
        ));
    }
    if INTERFLOW_FIELDS.contains(&text.as_str()) {
        let reason = format!("\"{text}\" is a field of every Interflow record; choose another name");
        return Err(table.wrong("vendor_object", value, reason));
    }
    Ok(text.clone())
}

/// A bound of each sweep; 0 is none.
fn bound(table: &Table, key: &str, value: &Set<u64>, most: u64) -> Result<Option<u64>, Problem> {
    Ok(Some(table.number(key, value, 0, (0, most))?).filter(|bound| *bound > 0))
}
