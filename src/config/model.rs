//! What a configuration means: every setting present, checked and of its own type.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use chrono::{DateTime, Utc};

use super::file_pattern::FilePattern;
use crate::encode::Encoding;
use crate::encode::cef::CefSettings;
use crate::filter::Filter;
use crate::layout::Layout;
use crate::pattern::PrefixPattern;
use crate::prices::Prices;
use crate::record::LogType;

/// The whole configuration of one instance.
#[derive(Clone, Debug)]
pub struct Config {
    /// The files it was read from.
    pub files: Vec<PathBuf>,
    /// Where the state lives; one instance owns it.
    pub state_dir: PathBuf,
    /// Where records go.
    pub sink: SinkConfig,
    /// All sources, enabled ones and others, in the order of the files.
    pub sources: Vec<SourceConfig>,
    /// How long history files are kept.
    pub history: Duration,
    /// Over how long the closings of many leaves are spread.
    pub close_spread: Duration,
    /// Name of this instance, the host name by default; the state is bound to it.
    pub instance: String,
    /// Where the age identity lies that opens encrypted secrets, where the file tells.
    pub identity_file: Option<PathBuf>,
    /// Bounds of memory and concurrency.
    pub limits: Limits,
    /// Metrics, health and status page.
    pub http: HttpConfig,
    /// What is accepted but deserves a word (overlapping sources and the like).
    pub warnings: Vec<String>,
}

/// Bounds of memory and concurrency, for the whole instance.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// LIST requests under way at once.
    pub list_concurrency: usize,
    /// GET requests under way at once.
    pub get_concurrency: usize,
    /// Encoded bytes between the collectors and the committer.
    pub buffer_bytes: usize,
    /// A longer record goes to the dead-letter file.
    pub max_record_bytes: usize,
    /// An object that inflates to more is quarantined.
    pub max_object_bytes: u64,
    /// An object that inflates to more than this many times its size is quarantined.
    pub max_inflate_ratio: u64,
    /// A Parquet object that needs more bytes of pages at a time is quarantined.
    pub max_page_bytes: u64,
    /// A commit is due this long after its first record.
    pub commit_every: Duration,
    /// A commit is due when it holds this many bytes.
    pub commit_bytes: usize,
    /// A commit is due when it holds this many state operations; at most 120.
    pub commit_operations: usize,
    /// A connection stands within this time, TLS included.
    pub connect_timeout: Duration,
    /// An answer begins within this time.
    pub first_byte_timeout: Duration,
    /// A body that sends nothing for this long is broken off, and goes on with another GET.
    pub stall_timeout: Duration,
    /// How long one object may take in one sweep; the next sweep goes on where it was left.
    pub object_timeout: Duration,
    /// GETs for one object and sweep.
    pub get_attempts: u32,
}

/// Metrics, health and status page of the daemon, over HTTP.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HttpConfig {
    /// Where it listens; `None`: nowhere.
    pub listen: Option<SocketAddr>,
    /// Connections at once.
    pub max_connections: usize,
    /// For a request to arrive, and as long again for its answer to be taken.
    pub request_timeout: Duration,
    /// A source is asked with one LIST when it was not asked for this long; zero: never.
    pub check_every: Duration,
}

/// The sink's kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SinkType {
    /// Segments in a folder, exactly once.
    File,
    /// Standard output, at least once.
    Stdout,
}

/// What happens to a segment at rotation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Compression {
    /// Nothing.
    None,
    /// gzip.
    Gzip,
    /// Zstandard.
    Zstd,
}

/// The `[sink]` table.
#[derive(Clone, Debug)]
pub struct SinkConfig {
    /// Kind of the sink.
    pub sink_type: SinkType,
    /// Folder of the file sink; set exactly when `sink_type` is `File`.
    pub path: Option<PathBuf>,
    /// Form of the records.
    pub encoder: &'static Encoding,
    /// About CEF lines.
    pub cef: CefSettings,
    /// A segment of this size is finished.
    pub rotate_size: u64,
    /// A segment of this age is finished.
    pub rotate_every: Duration,
    /// Compression at rotation.
    pub compression: Compression,
    /// Finished segments older than this are deleted; `None` leaves them to the reader.
    pub keep_age: Option<Duration>,
    /// The oldest finished segments beyond this total are deleted; `None` leaves them.
    pub keep_size: Option<u64>,
    /// Below this much free space the sink counts as down.
    pub min_free: u64,
    /// `once` gives up when the sink has been down this long.
    pub sink_timeout: Duration,
    /// Where malformed records go; `dead-letter.ndjson` in the state directory by default.
    pub dead_letter_path: PathBuf,
}

/// How far back a source begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Start {
    /// This long before the first sweep.
    Ago(Duration),
    /// At this instant.
    At(DateTime<Utc>),
    /// Everything there is.
    All,
}

/// How objects are told apart from plain text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FileType {
    /// By the first bytes.
    Auto,
    /// Always gzip.
    Gzip,
    /// Never compressed.
    Text,
    /// Always Parquet.
    Parquet,
}

/// Whether keys of a prefix rise with the time they were written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyOrder {
    /// They do: floors are kept.
    Time,
    /// They do not: open prefixes are listed in full.
    None,
}

/// What happens to an object whose ETag changed after it was collected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnOverwrite {
    /// Warned of and counted.
    Ignore,
    /// Collected again as a new object.
    Collect,
}

/// Free-form parts of a record in Interflow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FreeForm {
    /// As they are.
    Object,
    /// As compact JSON strings.
    String,
}

/// Where the objects lie.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BucketLocation {
    /// A bucket of S3 or a compatible store.
    S3(String),
    /// A local directory (`file:///…`).
    Dir(PathBuf),
}

impl BucketLocation {
    /// The bucket as it stands in records and reports.
    pub fn name(&self) -> String {
        match self {
            BucketLocation::S3(name) => name.clone(),
            BucketLocation::Dir(path) => format!("file://{}", path.display()),
        }
    }
}

/// One `[[source]]`.
#[derive(Clone, Debug)]
pub struct SourceConfig {
    /// Its identity: letters, digits, `-`, `_`, `.`.
    pub name: String,
    /// Whether it is swept.
    pub enabled: bool,
    /// Free text.
    pub description: String,
    /// What its objects hold.
    pub log_type: LogType,
    /// Where they lie.
    pub bucket: BucketLocation,
    /// The completed pattern, in the source's time zone.
    pub pattern: PrefixPattern,
    /// The layout that completed or recognised the pattern.
    pub layout: Option<Layout>,
    /// Full match on the whole key.
    pub file_pattern: FilePattern,
    /// gzip or text.
    pub file_type: FileType,
    /// How often it is swept.
    pub recurrence: Duration,
    /// How long the daemon waits before the first sweep.
    pub startup_delay: Duration,
    /// A random part of this is added to the daemon's waits.
    pub jitter: Duration,
    /// How far back the first sweep goes.
    pub start: Start,
    /// How long after its time a prefix stays open.
    pub lateness: Duration,
    /// Ages at which closed prefixes are listed once more.
    pub recheck: Vec<Duration>,
    /// How long a complete discovery is trusted.
    pub discover_every: Duration,
    /// How often an open-ended prefix with time order is compared in full.
    pub reconcile_every: Duration,
    /// The zone of the pattern's date variables.
    pub timezone: chrono_tz::Tz,
    /// Whether floors are kept.
    pub key_order: KeyOrder,
    /// What an overwritten object means.
    pub on_overwrite: OnOverwrite,
    /// Sweeps after which a refused object is quarantined.
    pub max_attempts: u32,
    /// Records per second; 0 is no bound.
    pub eps_throttle: u64,
    /// Objects that one sweep begins.
    pub max_objects_per_sweep: Option<u64>,
    /// Records after which a sweep begins no object.
    pub max_records_per_sweep: Option<u64>,
    /// The time after which a sweep begins nothing.
    pub max_sweep_duration: Option<Duration>,
    /// What its requests cost.
    pub prices: Prices,
    /// LIST requests in an hour above which there is a warning.
    pub list_budget_per_hour: Option<u64>,
    /// Name of the object that holds the original record.
    pub vendor_object: String,
    /// Form of free-form parts.
    pub free_form: FreeForm,
    /// Whether flow rows with log status NODATA or SKIPDATA are kept.
    pub keep_nodata: bool,
    /// Request headers of WAF records whose values are hidden.
    pub mask_headers: Vec<String>,
    /// Where a `jsonl` record tells its time: a dotted path.
    pub timestamp_field: Option<String>,
    /// Which records are kept.
    pub filter: Filter,
    /// Stellar Cyber tenant id.
    pub tenantid: Option<String>,
    /// Tenant name.
    pub tenant_name: Option<String>,
    /// Written into every record as `cust_id`, in Interflow.
    pub cust_id: Option<String>,
    /// Keys per LIST page.
    pub list_page_size: u16,
    /// How to reach the bucket.
    pub access: Access,
}

/// How a bucket is reached.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Access {
    /// Region; found by environment, profile, instance and bucket when not set.
    pub region: Option<String>,
    /// Another S3 endpoint.
    pub endpoint_url: Option<String>,
    /// Whether the environment named it: a profile may leave out such ones.
    pub endpoint_of_environment: bool,
    /// Whether `endpoint_url` may be plain HTTP on another machine.
    pub allow_http: bool,
    /// Bucket in the path instead of the host name.
    pub path_style: bool,
    /// FIPS endpoints, of S3 and STS.
    pub use_fips: bool,
    /// Dual-stack endpoints, of S3 and STS.
    pub dual_stack: bool,
    /// Which addresses of a host are used.
    pub ip_version: IpVersion,
    /// We pay for the requests, not the bucket's owner.
    pub requester_pays: bool,
    /// The account that must own the bucket.
    pub expected_bucket_owner: Option<String>,
    /// Certificates trusted beside the system's: a file, or a folder of them.
    pub ca_bundle: Option<PathBuf>,
    /// Credentials, or those that take on the first role.
    pub credentials: Credentials,
    /// Roles to take on.
    pub roles: Option<Roles>,
    /// Another STS endpoint.
    pub sts_endpoint_url: Option<String>,
    /// The way out.
    pub proxy: Proxy,
}

/// Which addresses of a host are used.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum IpVersion {
    /// All.
    #[default]
    Auto,
    /// IPv4.
    V4,
    /// IPv6.
    V6,
}

/// Who we are for the bucket.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Credentials {
    /// Environment, shared configuration files, web identity, container, instance: the first that
    /// has any.
    #[default]
    Default,
    /// An access key.
    Static {
        /// Access key id.
        access_key_id: String,
        /// Its secret.
        secret_access_key: Secret,
        /// For temporary credentials.
        session_token: Option<Secret>,
    },
    /// A named profile of the shared configuration files.
    Profile(String),
    /// A token in a file, which the first role of [`Access::roles`] is taken on with.
    WebIdentity(PathBuf),
}

/// Roles, each taken on with the credentials of the one before.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Roles {
    /// At least one ARN.
    pub arns: Vec<String>,
    /// The session's name in the logs of the accounts.
    pub session_name: String,
    /// How long the credentials hold; an hour by STS when not set.
    pub duration: Option<Duration>,
    /// What the last role asks for.
    pub external_id: Option<Secret>,
}

/// The proxies of a source. Addresses of this machine and of instance metadata are never asked
/// through one.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Proxy {
    /// Whether the configuration names the proxy, not the environment.
    pub is_configured: bool,
    /// For `http://` addresses.
    pub http: Option<ProxyServer>,
    /// For `https://` addresses, with CONNECT.
    pub https: Option<ProxyServer>,
    /// Hosts, domains and networks that are asked directly, separated by commas.
    pub no_proxy: Option<String>,
}

/// One proxy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProxyServer {
    /// `http://host:port` or `https://host:port`, without user and password.
    pub url: String,
    /// User and password, as they are: not percent-encoded.
    pub login: Option<(String, Secret)>,
}

/// A text that is never shown: `Debug` prints `[secret]`, and there is no `Display`.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// Wraps a secret text.
    pub fn new(text: String) -> Self {
        Secret(text)
    }

    /// The text itself, for the one call that needs it.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("[secret]")
    }
}
