//! From what was typed to what it means: the top of the file, the sink and the limits.

use std::path::PathBuf;
use std::time::Duration;

use super::error::Problem;
use super::http::check_http;
use super::model::{Compression, Config, FreeForm, Limits, SinkConfig, SinkType, SourceConfig};
use super::overlap::overlapping_sources;
use super::raw::{RawConfig, RawLimits, RawSink, RawSource, Set};
use super::source::check_source;
use super::table::Table;
use super::texts::Texts;
use super::tree::source_label;
use crate::encode::cef::{CefSettings, DOMAIN_KEYS, Outcome};
use crate::encode::interflow::InterflowSettings;
use crate::encode::{ENCODINGS, EncodeSettings, Encoding};

pub(super) const SECOND: Duration = Duration::from_secs(1);
pub(super) const MINUTE: Duration = Duration::from_secs(60);
pub(super) const HOUR: Duration = Duration::from_secs(3_600);
pub(super) const DAY: Duration = Duration::from_secs(86_400);

/// With progress of all objects in flight on top, a batch of the state holds no more.
const MOST_OPERATIONS: u64 = 120;

const KIB: u64 = 1 << 10;
const MIB: u64 = 1 << 20;
const GIB: u64 = 1 << 30;
const TIB: u64 = 1 << 40;

/// Checks everything; the first problem of each table is returned, so that one run shows most of
/// what there is to mend.
pub(super) fn check(raw: &RawConfig, texts: &Texts) -> Result<Config, Vec<Problem>> {
    let mut problems = Vec::new();
    let mut warnings = Vec::new();
    let top = Table::new("", 0..0);
    let state_dir = keep(state_dir(&top, raw, texts), &mut problems);
    let times = keep(times(&top, raw), &mut problems);
    let sink = keep(sink(&top, raw, texts, state_dir.as_ref()), &mut problems);
    let limits = keep(limits(&raw.limits), &mut problems);
    let http = keep(check_http(&raw.http), &mut problems);
    let instance = keep(instance(&top, raw), &mut problems);
    let identity_file = keep(identity_file(&top, raw, texts), &mut problems);
    let mut sources = Vec::new();
    for (number, source) in raw.source.iter().enumerate() {
        let name = source.get_ref().name.as_ref().map(|name| name.get_ref().as_str());
        let table = Table::new(source_label(name, number), source.span());
        let checked = check_source(&table, source.get_ref(), texts, &mut warnings);
        let mapped = checked.and_then(|checked| refuse_unmapped(&table, source.get_ref(), checked, &sink));
        let mapped = keep(mapped, &mut problems);
        warnings
            .extend(mapped.as_ref().zip(sink.as_ref()).and_then(|(source, sink)| unwritten(source, sink)));
        sources.extend(mapped);
    }
    problems.extend(duplicate_names(raw, texts));
    problems.extend(times.and_then(|(history, _)| forgotten_rechecks(raw, &sources, history)));
    if raw.source.is_empty() {
        let reason = "there is no source; add a [[source]] table with name, log_type, bucket and prefix";
        problems.push(Problem::new(0..0, "source", reason));
    }
    match (state_dir, times, sink, limits.zip(http), instance.zip(identity_file)) {
        (
            Some(state_dir),
            Some((history, close_spread)),
            Some(sink),
            Some((limits, http)),
            Some((instance, identity_file)),
        ) if problems.is_empty() => {
            warnings.extend(overlapping_sources(&sources));
            let files = texts.files().iter().map(|file| file.path.clone()).collect();
            Ok(Config {
                files,
                state_dir,
                sink,
                sources,
                history,
                close_spread,
                instance,
                identity_file,
                limits,
                http,
                warnings,
            })
        }
        _ => Err(problems),
    }
}

fn keep<T>(result: Result<T, Problem>, problems: &mut Vec<Problem>) -> Option<T> {
    result.map_err(|problem| problems.push(problem)).ok()
}

fn state_dir(top: &Table, raw: &RawConfig, texts: &Texts) -> Result<PathBuf, Problem> {
    let value = top.required("state_dir", &raw.state_dir, "\"/var/lib/s3sweep\"")?;
    top.text("state_dir", &raw.state_dir)?;
    Ok(texts.resolve(value.span().start, value.get_ref()))
}

fn times(top: &Table, raw: &RawConfig) -> Result<(Duration, Duration), Problem> {
    let history = top.duration("history", &raw.history, 400 * DAY, DAY)?;
    let close_spread = top.duration("close_spread", &raw.close_spread, 30 * MINUTE, Duration::ZERO)?;
    Ok((history, close_spread))
}

/// An encoder need not know every log type.
fn refuse_unmapped(
    table: &Table,
    raw: &RawSource,
    source: SourceConfig,
    sink: &Option<SinkConfig>,
) -> Result<SourceConfig, Problem> {
    let encoder = sink.as_ref().map(|sink| sink.encoder.encoder(source.log_type, &EncodeSettings::default()));
    match (encoder, &raw.log_type) {
        (Some(Err(error)), Some(typed)) => {
            Err(table.wrong("log_type", typed, format!("contradicts `sink.encoder`: {error}")))
        }
        _ => Ok(source),
    }
}

/// A warning of settings that only Interflow lines have a place for.
fn unwritten(source: &SourceConfig, sink: &SinkConfig) -> Option<String> {
    let interflow = "interflow";
    let encoder = sink.encoder.word;
    let default = InterflowSettings::default();
    let chosen = [
        ("tenantid", source.tenantid.is_some()),
        ("tenant_name", source.tenant_name.is_some()),
        ("cust_id", source.cust_id.is_some()),
        ("vendor_object", source.vendor_object != default.vendor_object),
        ("free_form", source.free_form != FreeForm::Object),
    ];
    let names: Vec<_> =
        chosen.iter().filter(|(_, is_chosen)| *is_chosen).map(|(name, _)| format!("`{name}`")).collect();
    (encoder != interflow && !names.is_empty()).then(|| {
        format!(
            "source \"{}\": nothing is written of {}: `sink.encoder` is \"{encoder}\", and only \
             \"{interflow}\" has a place for it",
            source.name,
            names.join(", ")
        )
    })
}

/// A recheck compares with the history, which must still be there.
fn forgotten_rechecks(raw: &RawConfig, sources: &[SourceConfig], history: Duration) -> Option<Problem> {
    let longest = sources.iter().flat_map(|source| source.recheck.last().map(|age| (age, &source.name)));
    let (_, name) = longest.filter(|(age, _)| **age >= history).max()?;
    let at = raw.history.as_ref().map_or(0..0, |value| value.span());
    let reason = format!(
        "history and the longest recheck of source \"{name}\" contradict each other: \
         a recheck compares with the history, so keep it longer than that"
    );
    Some(Problem::new(at, "history", reason))
}

fn instance(top: &Table, raw: &RawConfig) -> Result<String, Problem> {
    Ok(top.text("instance", &raw.instance)?.unwrap_or_else(super::host_name))
}

fn identity_file(top: &Table, raw: &RawConfig, texts: &Texts) -> Result<Option<PathBuf>, Problem> {
    let path = top.text("identity_file", &raw.identity_file)?;
    let at = raw.identity_file.as_ref().map_or(0, |value| value.span().start);
    Ok(path.map(|path| texts.resolve(at, &path)))
}

fn sink(
    top: &Table,
    raw: &RawConfig,
    texts: &Texts,
    state_dir: Option<&PathBuf>,
) -> Result<SinkConfig, Problem> {
    let sink = top.required("sink", &raw.sink, "{ type = \"file\", path = \"/var/log/s3sweep\" }")?;
    let table = Table::new("sink", sink.span());
    let sink = sink.get_ref();
    let sink_type = table.word(
        "type",
        &sink.sink_type,
        SinkType::File,
        &[("file", SinkType::File), ("stdout", SinkType::Stdout)],
    )?;
    let path = match sink_type {
        SinkType::File => {
            let path = table.required("path", &sink.path, "\"/var/log/s3sweep\"")?;
            table.text("path", &sink.path)?;
            Some(texts.resolve(path.span().start, path.get_ref()))
        }
        SinkType::Stdout => {
            refuse_file_settings(&table, sink)?;
            None
        }
    };
    let words: Vec<_> = ENCODINGS.iter().map(|encoding| (encoding.word, encoding)).collect();
    let encoder = table.word("encoder", &sink.encoder, &ENCODINGS[0], &words)?;
    let compression = table.word(
        "compression",
        &sink.compression,
        Compression::None,
        &[("none", Compression::None), ("gzip", Compression::Gzip), ("zstd", Compression::Zstd)],
    )?;
    let keep_age = match &sink.keep_age {
        Some(age) => Some(table.one_duration("keep_age", age, MINUTE)?),
        None => None,
    };
    let keep_size = table.size("keep_size", &sink.keep_size, 0, (MIB, 1024 * TIB))?;
    table.text("dead_letter_path", &sink.dead_letter_path)?;
    let dead_letter_path = match &sink.dead_letter_path {
        Some(path) => texts.resolve(path.span().start, path.get_ref()),
        None => state_dir.cloned().unwrap_or_default().join("dead-letter.ndjson"),
    };
    Ok(SinkConfig {
        sink_type,
        path,
        encoder,
        cef: cef(&table, sink, encoder)?,
        rotate_size: table.size("rotate_size", &sink.rotate_size, 256 * MIB, (KIB, TIB))?,
        rotate_every: table.duration("rotate_every", &sink.rotate_every, MINUTE, SECOND)?,
        compression,
        keep_age,
        keep_size: sink.keep_size.is_some().then_some(keep_size),
        min_free: table.size("min_free", &sink.min_free, 256 * MIB, (0, 1024 * TIB))?,
        sink_timeout: table.duration("sink_timeout", &sink.sink_timeout, 5 * MINUTE, SECOND)?,
        dead_letter_path,
    })
}

/// The settings of CEF lines; with another encoder they contradict it.
fn cef(table: &Table, sink: &RawSink, encoder: &Encoding) -> Result<CefSettings, Problem> {
    let typed = [("device_domain_key", &sink.device_domain_key), ("event_outcome", &sink.event_outcome)];
    for (key, value) in typed {
        if let Some(value) = value.as_ref().filter(|_| encoder.word != "cef") {
            let reason = format!(
                "contradicts `sink.encoder` = \"{}\": it is about CEF; remove one of them",
                encoder.word
            );
            return Err(table.wrong(key, value, reason));
        }
    }
    let default = CefSettings::default();
    let keys = DOMAIN_KEYS.map(|key| (key, key));
    let outcomes = Outcome::ALL.map(|outcome| (outcome.word(), outcome));
    Ok(CefSettings {
        device_domain_key: table.word(
            "device_domain_key",
            &sink.device_domain_key,
            default.device_domain_key,
            &keys,
        )?,
        outcome: table.word("event_outcome", &sink.event_outcome, default.outcome, &outcomes)?,
    })
}

/// stdout has no files: what speaks of them contradicts it.
fn refuse_file_settings(table: &Table, sink: &RawSink) -> Result<(), Problem> {
    let places = [
        ("path", sink.path.as_ref().map(|v| v.span())),
        ("rotate_size", sink.rotate_size.as_ref().map(|v| v.span())),
        ("rotate_every", sink.rotate_every.as_ref().map(|v| v.span())),
        ("compression", sink.compression.as_ref().map(|v| v.span())),
        ("keep_age", sink.keep_age.as_ref().map(|v| v.span())),
        ("keep_size", sink.keep_size.as_ref().map(|v| v.span())),
        ("min_free", sink.min_free.as_ref().map(|v| v.span())),
    ];
    for (key, at) in places {
        if let Some(at) = at {
            let reason = "contradicts `sink.type` = \"stdout\", which writes no files; remove one of them";
            return Err(Problem::new(at, table.setting(key), reason));
        }
    }
    Ok(())
}

fn limits(raw: &Set<RawLimits>) -> Result<Limits, Problem> {
    let none = RawLimits::default();
    let (raw, at) = raw.as_ref().map_or((&none, 0..0), |raw| (raw.get_ref(), raw.span()));
    let table = Table::new("limits", at);
    let max_record = table.size("max_record_bytes", &raw.max_record_bytes, 16 * MIB, (KIB, GIB))?;
    Ok(Limits {
        list_concurrency: small(table.number("list_concurrency", &raw.list_concurrency, 8, (1, 1_000))?),
        get_concurrency: small(table.number("get_concurrency", &raw.get_concurrency, 16, (1, 1_000))?),
        buffer_bytes: small(table.size("buffer_bytes", &raw.buffer_bytes, 22 * MIB, (64 * KIB, 64 * GIB))?),
        max_record_bytes: small(max_record),
        max_object_bytes: table.size(
            "max_object_bytes",
            &raw.max_object_bytes,
            16 * GIB,
            (KIB, 1024 * TIB),
        )?,
        max_inflate_ratio: table.number(
            "max_inflate_ratio",
            &raw.max_inflate_ratio,
            1_000,
            (2, 1_000_000),
        )?,
        max_page_bytes: table.size("max_page_bytes", &raw.max_page_bytes, 128 * MIB, (64 * KIB, 64 * GIB))?,
        commit_every: table.duration("commit_every", &raw.commit_every, SECOND, SECOND)?,
        commit_bytes: small(table.size("commit_bytes", &raw.commit_bytes, 8 * MIB, (64 * KIB, 4 * GIB))?),
        commit_operations: small(table.number(
            "commit_operations",
            &raw.commit_operations,
            MOST_OPERATIONS,
            (1, MOST_OPERATIONS),
        )?),
        connect_timeout: table.duration("connect_timeout", &raw.connect_timeout, 5 * SECOND, SECOND)?,
        first_byte_timeout: table.duration(
            "first_byte_timeout",
            &raw.first_byte_timeout,
            30 * SECOND,
            SECOND,
        )?,
        stall_timeout: table.duration("stall_timeout", &raw.stall_timeout, 30 * SECOND, SECOND)?,
        object_timeout: table.duration("object_timeout", &raw.object_timeout, HOUR, SECOND)?,
        get_attempts: u32::try_from(table.number("get_attempts", &raw.get_attempts, 4, (1, 100))?)
            .unwrap_or(u32::MAX),
    })
}

/// All bounds above fit 64 bits; on a smaller machine they end at what it can address.
pub(super) fn small(number: u64) -> usize {
    usize::try_from(number).unwrap_or(usize::MAX)
}

/// Two sources of one name: the second is reported, with the place of the first.
fn duplicate_names(raw: &RawConfig, texts: &Texts) -> Vec<Problem> {
    let names: Vec<_> = raw.source.iter().filter_map(|source| source.get_ref().name.as_ref()).collect();
    let mut problems = Vec::new();
    for (number, name) in names.iter().enumerate() {
        if let Some(first) = names[..number].iter().find(|first| first.get_ref() == name.get_ref()) {
            let reason = format!(
                "two sources are called \"{}\"; the first stands in {}; names are identities, give each its own",
                name.get_ref(),
                texts.place(first.span().start)
            );
            problems.push(Problem::new(name.span(), format!("source.{}.name", name.get_ref()), reason));
        }
    }
    problems
}
