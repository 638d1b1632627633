//! What was typed: every setting there is, each optional, each with its place.
//!
//! The structs are the one list of settings: [`super::names`] reads the names from them, and
//! [`super::schema`] the schema, from which docs/configuration.md is written. A setting's doc
//! comment is what users read there. Tests hold defaults, words and bounds against what the code
//! does with them.

use schemars::JsonSchema;

use super::forms::{DurationText, Typed};
pub(super) use super::forms::{RawScalar, RawSecret, RawSize, RawStart, RawTexts};
use crate::encode::ENCODINGS;
use crate::encode::cef::{DOMAIN_KEYS, Outcome};
use crate::prices::Prices;
use crate::record::LogType;
use crate::record::waf::SECRET_HEADERS;

/// A setting that may be missing.
pub(super) type Set<T> = Option<Typed<T>>;

/// All files together, `[defaults]` already merged into the sources.
#[derive(Debug, serde::Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(title = "s3sweep.toml", description = "The configuration of s3sweep.")]
pub(super) struct RawConfig {
    /// Where s3sweep keeps what is settled. One process owns it. Required.
    pub state_dir: Set<String>,
    /// How long the ledgers of closed prefixes are kept; longer than the longest `recheck`.
    #[schemars(with = "Option<DurationText>", extend("default" = "400D", "x-minimum" = "1D"))]
    pub history: Set<String>,
    /// Over how long the closings of many leaves are spread.
    #[schemars(with = "Option<DurationText>", extend("default" = "30M", "x-minimum" = "0M"))]
    pub close_spread: Set<String>,
    /// The name of this instance in the state; a state of another name needs `--adopt-state`. The host
    /// name if not set.
    pub instance: Set<String>,
    /// The age identity that opens encrypted secrets; `$S3SWEEP_IDENTITY_FILE` if not set.
    pub identity_file: Set<String>,
    /// Where records go. Required.
    pub sink: Set<RawSink>,
    /// Bounds of memory, requests and time.
    pub limits: Set<RawLimits>,
    /// Metrics, health and status page of `run`.
    pub http: Set<RawHttp>,
    /// What is collected. At least one.
    #[serde(default)]
    pub source: Vec<Typed<RawSource>>,
}

/// Where records go, and in which form.
#[derive(Debug, serde::Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "Sink")]
pub(super) struct RawSink {
    /// Segments in a folder, or standard output.
    #[serde(rename = "type")]
    #[schemars(extend("default" = "file", "enum" = ["file", "stdout"]))]
    pub sink_type: Set<String>,
    /// The folder of the segments. Required unless `type` is "stdout".
    pub path: Set<String>,
    /// The form of the records: Interflow-style JSON, ArcSight's CEF, or the original record.
    #[schemars(extend("default" = ENCODINGS[0].word, "enum" = encoders()))]
    pub encoder: Set<String>,
    /// With the encoder "cef": the key of Device Domain.
    #[schemars(extend("default" = DOMAIN_KEYS[0], "enum" = DOMAIN_KEYS))]
    pub device_domain_key: Set<String>,
    /// With the encoder "cef": Event Outcome is the error code, or just Success or Failure.
    #[schemars(extend("default" = Outcome::ErrorCode.word(), "enum" = Outcome::ALL.map(Outcome::word)))]
    pub event_outcome: Set<String>,
    /// A segment of this size is finished.
    #[schemars(extend("default" = "256MiB", "minimum" = 1_u64 << 10, "maximum" = 1_u64 << 40))]
    pub rotate_size: Set<RawSize>,
    /// A segment of this age is finished.
    #[schemars(with = "Option<DurationText>", extend("default" = "1M", "x-minimum" = "1S"))]
    pub rotate_every: Set<String>,
    /// How a finished segment is compressed.
    #[schemars(extend("default" = "none", "enum" = ["none", "gzip", "zstd"]))]
    pub compression: Set<String>,
    /// Finished segments of this age are deleted, but only when a next segment is finished: while no
    /// records come, they stay. If not set, they are the reader's to delete.
    #[schemars(with = "Option<DurationText>", extend("x-minimum" = "1M"))]
    pub keep_age: Set<String>,
    /// The oldest finished segments beyond this total are deleted when a next segment is finished. If
    /// not set, none are.
    #[schemars(extend("minimum" = 1_u64 << 20, "maximum" = 1_u64 << 50))]
    pub keep_size: Set<RawSize>,
    /// With less free space than this, the sink counts as down.
    #[schemars(extend("default" = "256MiB", "minimum" = 0, "maximum" = 1_u64 << 50))]
    pub min_free: Set<RawSize>,
    /// `once` gives up, with exit code 5, when the sink has been down this long.
    #[schemars(with = "Option<DurationText>", extend("default" = "5M", "x-minimum" = "1S"))]
    pub sink_timeout: Set<String>,
    /// The file for malformed records; `dead-letter.ndjson` in `state_dir` if not set.
    pub dead_letter_path: Set<String>,
}

/// The words of `encoder`.
fn encoders() -> Vec<&'static str> {
    ENCODINGS.iter().map(|encoding| encoding.word).collect()
}

/// Bounds of memory, requests and time.
#[derive(Debug, Default, serde::Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "Limits")]
pub(super) struct RawLimits {
    /// LIST requests under way at once.
    #[schemars(extend("default" = 8, "minimum" = 1, "maximum" = 1_000))]
    pub list_concurrency: Set<u64>,
    /// GET requests under way at once.
    #[schemars(extend("default" = 16, "minimum" = 1, "maximum" = 1_000))]
    pub get_concurrency: Set<u64>,
    /// Bytes of encoded records held in memory, over all objects.
    #[schemars(extend("default" = "22MiB", "minimum" = 64_u64 << 10, "maximum" = 64_u64 << 30))]
    pub buffer_bytes: Set<RawSize>,
    /// A longer record goes to the dead-letter file.
    #[schemars(extend("default" = "16MiB", "minimum" = 1_u64 << 10, "maximum" = 1_u64 << 30))]
    pub max_record_bytes: Set<RawSize>,
    /// An object that is larger, inflated, is quarantined.
    #[schemars(extend("default" = "16GiB", "minimum" = 1_u64 << 10, "maximum" = 1_u64 << 50))]
    pub max_object_bytes: Set<RawSize>,
    /// An object that inflates to more than this many times its size is quarantined.
    #[schemars(extend("default" = 1_000, "minimum" = 2, "maximum" = 1_000_000))]
    pub max_inflate_ratio: Set<u64>,
    /// Footer and pages of one Parquet object held in memory at once; an object that needs more is quarantined.
    #[schemars(extend("default" = "128MiB", "minimum" = 64_u64 << 10, "maximum" = 64_u64 << 30))]
    pub max_page_bytes: Set<RawSize>,
    /// The age at which a commit is due.
    #[schemars(with = "Option<DurationText>", extend("default" = "1S", "x-minimum" = "1S"))]
    pub commit_every: Set<String>,
    /// The bytes at which a commit is due.
    #[schemars(extend("default" = "8MiB", "minimum" = 64_u64 << 10, "maximum" = 4_u64 << 30))]
    pub commit_bytes: Set<RawSize>,
    /// The state operations at which a commit is due, one or more for each settled object.
    #[schemars(extend("default" = 120, "minimum" = 1, "maximum" = 120))]
    pub commit_operations: Set<u64>,
    /// The longest wait for a connection, TLS included.
    #[schemars(with = "Option<DurationText>", extend("default" = "5S", "x-minimum" = "1S"))]
    pub connect_timeout: Set<String>,
    /// The longest wait for an answer to begin.
    #[schemars(with = "Option<DurationText>", extend("default" = "30S", "x-minimum" = "1S"))]
    pub first_byte_timeout: Set<String>,
    /// After this long without a byte, a body is fetched on with another GET.
    #[schemars(with = "Option<DurationText>", extend("default" = "30S", "x-minimum" = "1S"))]
    pub stall_timeout: Set<String>,
    /// The longest time for one object in one sweep; the next sweep goes on from there. It begins with the
    /// first new record; Parquet is fetched whole first, which has to fit in.
    #[schemars(with = "Option<DurationText>", extend("default" = "1H", "x-minimum" = "1S"))]
    pub object_timeout: Set<String>,
    /// The most GETs for one object in one sweep.
    #[schemars(extend("default" = 4, "minimum" = 1, "maximum" = 100))]
    pub get_attempts: Set<u64>,
}

/// Metrics, health and status page of `run`, over HTTP.
#[derive(Debug, Default, serde::Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "Http")]
pub(super) struct RawHttp {
    /// The address to answer at: a port of this machine alone ("9184"), or an IP address and a port.
    /// Whoever reaches it may read, so an address of other machines ("0.0.0.0:9184") is to be written
    /// out. If not set, nothing listens.
    pub listen: Set<String>,
    /// Connections at once; others wait.
    #[schemars(extend("default" = 16, "minimum" = 1, "maximum" = 1_000))]
    pub max_connections: Set<u64>,
    /// The longest time for a request to arrive; its answer is to be taken in as long again.
    #[schemars(with = "Option<DurationText>", extend("default" = "10S", "x-minimum" = "1S"))]
    pub request_timeout: Set<String>,
    /// A source that was not asked for this long is asked with one LIST, so that what is told of its
    /// state is not older. "0M": never.
    #[schemars(with = "Option<DurationText>", extend("default" = "5M", "x-minimum" = "0M"))]
    pub check_every: Set<String>,
}

/// The words of `file_type` that this build knows.
fn file_types() -> &'static [&'static str] {
    let all = &["auto", "gzip", "text", "parquet"];
    if cfg!(feature = "parquet") { all } else { &all[..3] }
}

/// One input: a bucket, a prefix pattern, a log type.
#[derive(Debug, serde::Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "Source")]
pub(super) struct RawSource {
    /// Its identity: 1 to 100 letters, digits, `-`, `_` or `.`. Required.
    #[schemars(extend("pattern" = r"^[A-Za-z0-9._-]{1,100}$"))]
    pub name: Set<String>,
    /// Whether it is swept.
    #[schemars(extend("default" = true))]
    pub enabled: Set<bool>,
    /// A note for people.
    #[schemars(extend("default" = ""))]
    pub description: Set<String>,
    /// What its objects hold. Required.
    #[schemars(extend("enum" = LogType::ALL.map(LogType::word)))]
    pub log_type: Set<String>,
    /// The name of the bucket or the ARN of an access point; or a directory, `file:///PATH`. Required.
    pub bucket: Set<String>,
    /// The prefix pattern, with date variables and wildcards (prefix-patterns.md). Required.
    pub prefix: Set<String>,
    /// A regular expression that an object's whole key must match. Each log type has its own default.
    pub file_pattern: Set<String>,
    /// How an object is packed: told by its first bytes, or always the same.
    #[schemars(extend("default" = "auto", "enum" = file_types()))]
    pub file_type: Set<String>,
    /// How often the source is swept: whole minutes.
    #[schemars(with = "Option<DurationText>", extend("default" = "5M", "x-minimum" = "1M"))]
    pub recurrence: Set<String>,
    /// How long `run` waits before the first sweep; no longer than `recurrence`.
    #[schemars(with = "Option<DurationText>", extend("default" = "0M", "x-minimum" = "0M"))]
    pub startup_delay: Set<String>,
    /// A random part of this is added to each wait of `run`; no longer than `recurrence`.
    #[schemars(with = "Option<DurationText>", extend("default" = "0M", "x-minimum" = "0M"))]
    pub jitter: Set<String>,
    /// How far back the first sweep goes: a duration, a date, an instant, or "all".
    #[schemars(extend("default" = "1D"))]
    pub start: Set<RawStart>,
    /// How long after its time a prefix stays open for late files.
    #[schemars(with = "Option<DurationText>", extend("default" = "1H", "x-minimum" = "0M"))]
    pub lateness: Set<String>,
    /// The ages at which a closed prefix is listed once more. An empty list: never.
    #[schemars(with = "Option<Vec<DurationText>>", extend("default" = ["1D", "7D", "30D"], "x-minimum" = "1M"))]
    pub recheck: Set<Vec<Typed<String>>>,
    /// How long known leaves are trusted before wildcards are looked up again. "0M": each sweep looks.
    #[schemars(with = "Option<DurationText>", extend("default" = "15M", "x-minimum" = "0M"))]
    pub discover_every: Set<String>,
    /// How often an open-ended prefix with `key_order = "time"` is listed in full.
    #[schemars(with = "Option<DurationText>", extend("default" = "1D", "x-minimum" = "1M"))]
    pub reconcile_every: Set<String>,
    /// The time zone of the dates in `prefix`.
    #[schemars(extend("default" = "UTC"))]
    pub timezone: Set<String>,
    /// Whether keys rise with time, so that listing can start after a floor. "time" for CloudTrail's
    /// layout if not set, else "none".
    #[schemars(extend("enum" = ["time", "none"]))]
    pub key_order: Set<String>,
    /// What happens to an object that changed after it was collected: it is counted with a warning, or
    /// collected as a new one.
    #[schemars(extend("default" = "ignore", "enum" = ["ignore", "collect"]))]
    pub on_overwrite: Set<String>,
    /// The sweeps after which an object that cannot be read is quarantined.
    #[schemars(extend("default" = 5, "minimum" = 1, "maximum" = 1_000_000))]
    pub max_attempts: Set<u64>,
    /// Records per second that go to the sink; 0 is no limit. Other collectors have 5,000.
    #[schemars(extend("default" = 0, "minimum" = 0, "maximum" = 1_000_000_000))]
    pub eps_throttle: Set<u64>,
    /// Objects that one sweep collects; the next one goes on. 0 is no limit.
    #[schemars(extend("default" = 0, "minimum" = 0, "maximum" = 1_000_000_000))]
    pub max_objects_per_sweep: Set<u64>,
    /// Records after which a sweep begins no object; the next one goes on. 0 is no limit.
    #[schemars(extend("default" = 0, "minimum" = 0, "maximum" = 1_000_000_000_000_u64))]
    pub max_records_per_sweep: Set<u64>,
    /// The time after which a sweep begins no object and no listing; the next one goes on. "0M": no limit.
    #[schemars(with = "Option<DurationText>", extend("default" = "0M", "x-minimum" = "0M"))]
    pub max_sweep_duration: Set<String>,
    /// USD for 1,000 LIST requests, for the costs that are told.
    #[schemars(extend("default" = Prices::default().list, "minimum" = 0, "maximum" = 1_000))]
    pub list_price: Set<f64>,
    /// USD for 1,000 GET requests, for the costs that are told.
    #[schemars(extend("default" = Prices::default().get, "minimum" = 0, "maximum" = 1_000))]
    pub get_price: Set<f64>,
    /// LIST requests of the source in an hour above which there is a warning; 0 is no limit.
    #[schemars(extend("default" = 0, "minimum" = 0, "maximum" = 1_000_000_000))]
    pub list_budget_per_hour: Set<u64>,
    /// The name of the object that holds the original record, in Interflow.
    #[schemars(extend("default" = "aws", "pattern" = "^[A-Za-z0-9_-]+$"))]
    pub vendor_object: Set<String>,
    /// Objects whose fields AWS does not define, in Interflow: as they are, or as strings of JSON.
    #[schemars(extend("default" = "object", "enum" = ["object", "string"]))]
    pub free_form: Set<String>,
    /// Log type "vpcflow": keeps rows without data (log-status NODATA and SKIPDATA).
    #[schemars(extend("default" = false))]
    pub keep_nodata: Set<bool>,
    /// Log type "waf": request headers whose values are replaced by `REDACTED`.
    #[schemars(extend("default" = SECRET_HEADERS))]
    pub mask_headers: Set<Vec<Typed<String>>>,
    /// Log type "jsonl": the field with a record's time, as a dotted path. If not set, a record has the
    /// time at which it is written.
    pub timestamp_field: Set<String>,
    /// Written into every record as `tenantid`, in Interflow.
    pub tenantid: Set<String>,
    /// Written into every record as `tenant_name`, in Interflow.
    pub tenant_name: Set<String>,
    /// Written into every record as `cust_id`, in Interflow.
    pub cust_id: Set<String>,
    /// Keys asked for with one LIST request.
    #[schemars(extend("default" = 1_000, "minimum" = 1, "maximum" = 1_000))]
    pub list_page_size: Set<u64>,
    /// The region to ask first. If not set: AWS_REGION, the profile, the instance; then the bucket's own
    /// region is followed.
    #[schemars(extend("pattern" = "^[A-Za-z0-9-]+$"))]
    pub region: Set<String>,
    /// The address of another S3 store than AWS; `$AWS_ENDPOINT_URL_S3`, `$AWS_ENDPOINT_URL`, then the
    /// profile's if not set.
    #[schemars(extend("pattern" = "^https?://"))]
    pub endpoint_url: Set<String>,
    /// Allows `http://` to another machine.
    #[schemars(extend("default" = false))]
    pub allow_http: Set<bool>,
    /// Writes the bucket's name into the path, not the host name.
    #[schemars(extend("default" = false))]
    pub path_style: Set<bool>,
    /// Uses the FIPS endpoints of S3 and STS.
    #[schemars(extend("default" = false))]
    pub use_fips: Set<bool>,
    /// Uses endpoints that have IPv6 addresses too.
    #[schemars(extend("default" = false))]
    pub dual_stack: Set<bool>,
    /// Pays for the requests in place of the bucket's owner.
    #[schemars(extend("default" = false))]
    pub requester_pays: Set<bool>,
    /// Refuses a bucket of any other account than this one.
    #[schemars(extend("pattern" = "^[0-9]{12}$"))]
    pub expected_bucket_owner: Set<String>,
    /// Certificates to trust beside the system's, PEM or DER, a file or a folder; `$AWS_CA_BUNDLE` if not
    /// set.
    pub ca_bundle: Set<String>,
    /// Which addresses are used; "6" needs `dual_stack` on AWS.
    #[schemars(extend("default" = "auto", "enum" = ["auto", "4", "6"]))]
    pub ip_version: Set<String>,
    /// Who asks. If not set: environment, shared AWS files, web identity, container or instance, the first
    /// that has credentials.
    pub credentials: Set<RawCredentials>,
    /// The way out. If not set: HTTPS_PROXY, HTTP_PROXY, ALL_PROXY and NO_PROXY.
    pub proxy: Set<RawProxy>,
    /// Keeps only records that match one of these rules.
    pub include: Set<Vec<Typed<RawRule>>>,
    /// Leaves out records that match one of these rules.
    pub exclude: Set<Vec<Typed<RawRule>>>,
}

/// A rule over the fields of a record: a condition of its own, several under `all`, or both.
#[derive(Debug, serde::Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "Rule", extend("required" = ["name"]))]
pub(super) struct RawRule {
    /// The name under which reports count it. Required.
    #[schemars(extend("pattern" = r"^[A-Za-z0-9._-]+$"))]
    pub name: Set<String>,
    /// The field, as a dotted path (docs/records.md).
    pub field: Set<String>,
    /// The value it has.
    pub equals: Set<RawScalar>,
    /// The values it may have.
    #[schemars(length(min = 1))]
    pub one_of: Set<Vec<RawScalar>>,
    /// What it begins with.
    pub prefix: Set<String>,
    /// A regular expression that matches somewhere in it.
    pub regex: Set<String>,
    /// A network it lies in, or a list of them.
    pub cidr: Set<RawTexts>,
    /// Whether the record has the field.
    pub exists: Set<bool>,
    /// More conditions, all of which must hold.
    pub all: Set<Vec<Typed<RawCondition>>>,
}

/// One condition of a rule: a field and exactly one test.
#[derive(Debug, Default, serde::Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "Condition", extend("required" = ["field"], "minProperties" = 2, "maxProperties" = 2))]
pub(super) struct RawCondition {
    /// The field, as a dotted path (docs/records.md). Required.
    pub field: Set<String>,
    /// The value it has.
    pub equals: Set<RawScalar>,
    /// The values it may have.
    #[schemars(length(min = 1))]
    pub one_of: Set<Vec<RawScalar>>,
    /// What it begins with.
    pub prefix: Set<String>,
    /// A regular expression that matches somewhere in it.
    pub regex: Set<String>,
    /// A network it lies in, or a list of them.
    pub cidr: Set<RawTexts>,
    /// Whether the record has the field.
    pub exists: Set<bool>,
}

/// Who asks S3: an access key, a profile or a token, and roles that are assumed with it.
#[derive(Debug, Default, serde::Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "Credentials")]
pub(super) struct RawCredentials {
    /// The id of an access key.
    pub access_key_id: Set<String>,
    /// The secret of the access key.
    pub secret_access_key: Set<RawSecret>,
    /// The session token of a temporary access key.
    pub session_token: Set<RawSecret>,
    /// A profile of the shared AWS files.
    pub profile: Set<String>,
    /// A file with an OIDC token, with which the first role is assumed.
    pub web_identity_token_file: Set<String>,
    /// The ARN of a role to assume, or a list in which each role assumes the next.
    pub role_arn: Set<RawTexts>,
    /// The session's name in the accounts' CloudTrail.
    #[schemars(extend("default" = "s3sweep", "pattern" = r"^[A-Za-z0-9_+=,.@-]{2,64}$"))]
    pub role_session_name: Set<String>,
    /// How long a session lasts; at most 12H, and 1H where a role assumes another. If not set, AWS decides.
    #[schemars(with = "Option<DurationText>", extend("x-minimum" = "15M"))]
    pub role_duration: Set<String>,
    /// The external id that the last role asks for.
    pub external_id: Set<RawSecret>,
    /// The address of another STS, such as an interface endpoint.
    #[schemars(extend("pattern" = "^https?://"))]
    pub sts_endpoint_url: Set<String>,
}

/// An HTTP proxy, asked with CONNECT.
#[derive(Debug, Default, serde::Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "Proxy", extend("required" = ["url"]))]
pub(super) struct RawProxy {
    /// Its address; a user and password in it make it a secret. Required.
    pub url: Set<RawSecret>,
    /// The user, for Basic; needs `password`.
    pub user: Set<String>,
    /// The password, for Basic; needs `user`.
    pub password: Set<RawSecret>,
    /// Hosts, domains (`.example.org`) and networks that are asked directly.
    pub no_proxy: Set<RawTexts>,
    /// Refused: NTLM.
    #[schemars(skip)]
    pub domain: Set<String>,
}
