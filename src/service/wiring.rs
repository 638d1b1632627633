//! From the configuration to the settings of the rooms; nothing else knows both.

use std::sync::Arc;

use chrono::{DateTime, Utc};
use tokio_util::sync::CancellationToken;

use super::Source;
use crate::aws::Timeouts;
use crate::bucket::Bucket;
use crate::bucket::metered::RequestCounts;
use crate::clock::{Clock, SystemClock};
use crate::collect::CollectSettings;
use crate::commit::CommitSettings;
use crate::config::{self, Config, FileType, FreeForm, Limits, SinkConfig, SinkType, SourceConfig};
use crate::decode::DecodeSettings;
use crate::decode::inflate::{self, InflateLimits};
use crate::encode::interflow::InterflowSettings;
use crate::encode::mask::HeaderMask;
use crate::encode::{EncodeSettings, Encoder, SettingsError};
use crate::marker;
use crate::retry::Backoff;
use crate::sink::file::{Compression, FileSink, FileSinkSettings};
use crate::sink::stdout::StdoutSink;
use crate::sink::{Sink, SinkError};
use crate::state::rebuild::KnownSource;
use crate::state::{SourceKey, State};
use crate::sweep::{self, Mode, SweepContext, SweepLimits};

/// The time-outs of requests by the limits.
pub fn timeouts(limits: &Limits) -> Timeouts {
    Timeouts {
        connect: limits.connect_timeout,
        first_byte: limits.first_byte_timeout,
        // the client watches bodies too, and must not be the stricter one
        stalled: limits.stall_timeout,
    }
}

/// A source as it is configured, for changes of its markers.
pub fn configured(source: &SourceConfig) -> marker::Configured<'_> {
    marker::Configured { name: &source.name, bucket: source.bucket.name(), pattern: &source.pattern }
}

/// The encoder of a source of `whole`.
pub(super) fn encoder(source: &SourceConfig, whole: &Config) -> Result<Arc<dyn Encoder>, SettingsError> {
    let interflow = InterflowSettings {
        vendor_object: source.vendor_object.clone(),
        free_form_as_strings: source.free_form == FreeForm::String,
        mask_headers: source.mask_headers.clone(),
        timestamp_field: source.timestamp_field.clone(),
        tenantid: source.tenantid.clone(),
        tenant_name: source.tenant_name.clone(),
        cust_id: source.cust_id.clone(),
        engid_name: Some(whole.instance.clone()),
    };
    let settings = EncodeSettings { interflow, cef: whole.sink.cef.clone() };
    whole.sink.encoder.encoder(source.log_type, &settings)
}

/// When the committer commits, and whether it gives up on a sink that is down.
pub(super) fn commit_settings(config: &Config, give_up: bool) -> CommitSettings {
    CommitSettings {
        every: config.limits.commit_every,
        bytes: config.limits.commit_bytes,
        operations: config.limits.commit_operations,
        buffer_bytes: config.limits.buffer_bytes,
        sink_timeout: give_up.then_some(config.sink.sink_timeout),
    }
}

/// How objects of a source are collected.
pub(super) fn collect_settings(config: &Config, source: &SourceConfig, key: SourceKey) -> CollectSettings {
    let limits = &config.limits;
    CollectSettings {
        source_name: source.name.clone(),
        source: key,
        log_type: source.log_type,
        file_type: match source.file_type {
            FileType::Auto => inflate::FileType::Auto,
            FileType::Gzip => inflate::FileType::Gzip,
            FileType::Text => inflate::FileType::Text,
            FileType::Parquet => inflate::FileType::Parquet,
        },
        filter: source.filter.clone(),
        mask: HeaderMask::new(&source.mask_headers),
        decode: DecodeSettings { max_record_bytes: limits.max_record_bytes, keep_nodata: source.keep_nodata },
        inflate: InflateLimits {
            max_object_bytes: limits.max_object_bytes,
            max_ratio: limits.max_inflate_ratio,
        },
        spool_dir: config.state_dir.clone(),
        max_page_bytes: limits.max_page_bytes,
        backoff: Backoff::default(),
        stall_timeout: limits.stall_timeout,
        object_timeout: limits.object_timeout,
        get_attempts: limits.get_attempts,
    }
}

/// The sink; nothing of it is touched yet.
pub(super) fn sink(sink: &SinkConfig) -> Result<Box<dyn Sink>, SinkError> {
    match (sink.sink_type, &sink.path) {
        (SinkType::File, Some(path)) => {
            let settings = FileSinkSettings {
                path: path.clone(),
                rotate_size: sink.rotate_size,
                rotate_every: sink.rotate_every,
                compression: match sink.compression {
                    config::Compression::None => Compression::None,
                    config::Compression::Gzip => Compression::Gzip,
                    config::Compression::Zstd => Compression::Zstd,
                },
                keep_age: sink.keep_age,
                keep_size: sink.keep_size,
                min_free: sink.min_free,
            };
            // The age of segments is real time, also in a replay.
            Ok(Box::new(FileSink::new(settings, Arc::new(SystemClock))))
        }
        (SinkType::File | SinkType::Stdout, _) => Ok(Box::new(StdoutSink::stdout())),
    }
}

/// What the configuration tells a rebuild of the state.
pub(super) fn known_sources(config: &Config, now: DateTime<Utc>) -> Vec<KnownSource> {
    let known = |source: &SourceConfig| KnownSource {
        name: source.name.clone(),
        pattern: source.pattern.clone(),
        record: sweep::open::open(None, source, 1, now).0,
        recheck: source.recheck.clone(),
    };
    config.sources.iter().map(known).collect()
}

/// What the sweeps of all sources share.
#[derive(Clone)]
pub struct Shared {
    /// The stored state.
    pub state: Arc<dyn State>,
    /// Tells the time.
    pub clock: Arc<dyn Clock>,
    /// Bounds.
    pub limits: Arc<SweepLimits>,
}

impl Shared {
    /// What one sweep of a source needs; `bucket` is as [`Source::metered`] returns it.
    pub(super) fn context(
        &self,
        config: &Config,
        source: &Source,
        (bucket, counts): (Arc<dyn Bucket>, Arc<RequestCounts>),
        stop: CancellationToken,
        mode: Mode,
    ) -> SweepContext {
        SweepContext {
            progress: source.progress.clone(),
            config: source.config.clone(),
            bucket,
            counts,
            state: self.state.clone(),
            clock: self.clock.clone(),
            limits: self.limits.clone(),
            close_spread: config.close_spread,
            keep_history: config.history,
            state_dir: config.state_dir.clone(),
            stop,
            mode,
        }
    }
}
