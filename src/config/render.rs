//! The whole effective configuration, as `config show` prints it.
//!
//! What is printed is a configuration again: loaded, it means the same, but for secrets, which
//! stand there as `[secret]`.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;
use serde_json::Value;

use super::model::{
    Access, BucketLocation, Compression, Config, Credentials, FileType, FreeForm, IpVersion, KeyOrder,
    OnOverwrite, Proxy, SinkType, SourceConfig,
};
use super::units::{show_duration, show_size, show_start};
use crate::filter::{Condition, Rule, Test};

const HIDDEN: &str = "[secret]";

#[derive(Serialize)]
struct Shown {
    state_dir: String,
    instance: String,
    history: String,
    close_spread: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    identity_file: Option<String>,
    sink: ShownSink,
    limits: ShownLimits,
    http: ShownHttp,
    source: Vec<ShownSource>,
}

#[derive(Serialize)]
struct ShownSink {
    #[serde(rename = "type")]
    sink_type: &'static str,
    encoder: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    device_domain_key: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    event_outcome: Option<&'static str>,
    sink_timeout: String,
    dead_letter_path: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    path: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    rotate_size: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    rotate_every: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    compression: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    keep_age: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    keep_size: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    min_free: Option<String>,
}

#[derive(Serialize)]
struct ShownLimits {
    list_concurrency: usize,
    get_concurrency: usize,
    buffer_bytes: String,
    max_record_bytes: String,
    max_object_bytes: String,
    max_inflate_ratio: u64,
    max_page_bytes: String,
    commit_every: String,
    commit_bytes: String,
    commit_operations: usize,
    connect_timeout: String,
    first_byte_timeout: String,
    stall_timeout: String,
    object_timeout: String,
    get_attempts: u32,
}

#[derive(Serialize)]
struct ShownHttp {
    #[serde(skip_serializing_if = "Option::is_none")]
    listen: Option<String>,
    max_connections: usize,
    request_timeout: String,
    check_every: String,
}

#[derive(Serialize)]
struct ShownSource {
    name: String,
    enabled: bool,
    description: String,
    log_type: &'static str,
    bucket: String,
    prefix: String,
    file_pattern: String,
    file_type: &'static str,
    recurrence: String,
    startup_delay: String,
    jitter: String,
    start: String,
    lateness: String,
    recheck: Vec<String>,
    discover_every: String,
    reconcile_every: String,
    timezone: &'static str,
    key_order: &'static str,
    on_overwrite: &'static str,
    max_attempts: u32,
    eps_throttle: u64,
    max_objects_per_sweep: u64,
    max_records_per_sweep: u64,
    max_sweep_duration: String,
    list_price: f64,
    get_price: f64,
    list_budget_per_hour: u64,
    vendor_object: String,
    free_form: &'static str,
    keep_nodata: bool,
    mask_headers: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    timestamp_field: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tenantid: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tenant_name: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    cust_id: Option<String>,
    list_page_size: u16,
    #[serde(skip_serializing_if = "Option::is_none")]
    region: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    endpoint_url: Option<String>,
    allow_http: bool,
    path_style: bool,
    use_fips: bool,
    dual_stack: bool,
    ip_version: &'static str,
    requester_pays: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    expected_bucket_owner: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    ca_bundle: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    credentials: Option<ShownCredentials>,
    #[serde(skip_serializing_if = "Option::is_none")]
    proxy: Option<ShownProxy>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    include: Vec<ShownRule>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    exclude: Vec<ShownRule>,
}

#[derive(Serialize)]
struct ShownRule {
    name: String,
    all: Vec<ShownCondition>,
}

#[derive(Default, Serialize)]
struct ShownCondition {
    field: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    one_of: Option<Vec<String>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    prefix: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    regex: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    cidr: Option<Vec<String>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    exists: Option<bool>,
}

#[derive(Default, Serialize)]
struct ShownCredentials {
    #[serde(skip_serializing_if = "Option::is_none")]
    access_key_id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    secret_access_key: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    session_token: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    profile: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    web_identity_token_file: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    role_arn: Option<Vec<String>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    role_session_name: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    role_duration: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    external_id: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    sts_endpoint_url: Option<String>,
}

#[derive(Default, Serialize)]
struct ShownProxy {
    #[serde(skip_serializing_if = "Option::is_none")]
    url: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    user: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    password: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    no_proxy: Option<String>,
}

impl Config {
    /// The whole effective configuration as TOML: defaults filled in, patterns completed,
    /// secrets as `[secret]`.
    pub fn render(&self) -> String {
        toml::to_string(&shown(self)).expect("structs of text, numbers and tables can be written as TOML")
    }

    /// The same as one JSON object.
    pub fn render_json(&self) -> String {
        serde_json::to_string_pretty(&shown(self))
            .expect("structs of text, numbers and tables can be written as JSON")
    }
}

impl Config {
    /// The settings, but for those of sources, that mean something else in `other`: by their paths.
    pub fn settings_apart(&self, other: &Config) -> Vec<String> {
        let (these, those) = (settings(self), settings(other));
        let differs = |path: &&String| these.get(*path) != those.get(*path);
        let paths: BTreeSet<&String> = these.keys().chain(those.keys()).filter(differs).collect();
        paths.into_iter().cloned().collect()
    }
}

impl SourceConfig {
    /// Whether all settings mean the same, secrets included.
    pub fn means_the_same(&self, other: &SourceConfig) -> bool {
        value_of(&shown_source(self)) == value_of(&shown_source(other)) && self.access == other.access
    }
}

/// All settings but those of sources, by their paths.
fn settings(config: &Config) -> BTreeMap<String, Value> {
    let mut found = BTreeMap::new();
    let Value::Object(top) = value_of(&Shown { source: Vec::new(), ..shown(config) }) else { return found };
    for (name, value) in top {
        match value {
            Value::Object(table) => {
                found.extend(table.into_iter().map(|(key, value)| (format!("{name}.{key}"), value)));
            }
            value => {
                found.insert(name, value);
            }
        }
    }
    found
}

fn value_of(shown: &impl Serialize) -> Value {
    serde_json::to_value(shown).expect("structs of text, numbers and tables can be written as JSON")
}

fn shown(config: &Config) -> Shown {
    Shown {
        state_dir: config.state_dir.display().to_string(),
        instance: config.instance.clone(),
        history: show_duration(config.history),
        close_spread: show_duration(config.close_spread),
        identity_file: config.identity_file.as_ref().map(|path| path.display().to_string()),
        sink: shown_sink(config),
        limits: shown_limits(config),
        http: ShownHttp {
            listen: config.http.listen.map(|address| address.to_string()),
            max_connections: config.http.max_connections,
            request_timeout: show_duration(config.http.request_timeout),
            check_every: show_duration(config.http.check_every),
        },
        source: config.sources.iter().map(shown_source).collect(),
    }
}

fn shown_sink(config: &Config) -> ShownSink {
    let sink = &config.sink;
    let files = sink.sink_type == SinkType::File;
    let cef = sink.encoder.word == "cef";
    ShownSink {
        sink_type: match sink.sink_type {
            SinkType::File => "file",
            SinkType::Stdout => "stdout",
        },
        encoder: sink.encoder.word,
        device_domain_key: cef.then_some(sink.cef.device_domain_key),
        event_outcome: cef.then_some(sink.cef.outcome.word()),
        sink_timeout: show_duration(sink.sink_timeout),
        dead_letter_path: sink.dead_letter_path.display().to_string(),
        path: sink.path.as_ref().map(|path| path.display().to_string()),
        rotate_size: files.then(|| show_size(sink.rotate_size)),
        rotate_every: files.then(|| show_duration(sink.rotate_every)),
        compression: files.then_some(match sink.compression {
            Compression::None => "none",
            Compression::Gzip => "gzip",
            Compression::Zstd => "zstd",
        }),
        keep_age: sink.keep_age.map(show_duration),
        keep_size: sink.keep_size.map(show_size),
        min_free: files.then(|| show_size(sink.min_free)),
    }
}

fn shown_limits(config: &Config) -> ShownLimits {
    let limits = &config.limits;
    ShownLimits {
        list_concurrency: limits.list_concurrency,
        get_concurrency: limits.get_concurrency,
        buffer_bytes: show_size(limits.buffer_bytes as u64),
        max_record_bytes: show_size(limits.max_record_bytes as u64),
        max_object_bytes: show_size(limits.max_object_bytes),
        max_inflate_ratio: limits.max_inflate_ratio,
        max_page_bytes: show_size(limits.max_page_bytes),
        commit_every: show_duration(limits.commit_every),
        commit_bytes: show_size(limits.commit_bytes as u64),
        commit_operations: limits.commit_operations,
        connect_timeout: show_duration(limits.connect_timeout),
        first_byte_timeout: show_duration(limits.first_byte_timeout),
        stall_timeout: show_duration(limits.stall_timeout),
        object_timeout: show_duration(limits.object_timeout),
        get_attempts: limits.get_attempts,
    }
}

fn shown_source(source: &SourceConfig) -> ShownSource {
    ShownSource {
        name: source.name.clone(),
        enabled: source.enabled,
        description: source.description.clone(),
        log_type: source.log_type.word(),
        bucket: match &source.bucket {
            BucketLocation::S3(name) => name.clone(),
            BucketLocation::Dir(path) => format!("file://{}", path.display()),
        },
        prefix: source.pattern.to_string(),
        file_pattern: source.file_pattern.as_str().to_owned(),
        file_type: match source.file_type {
            FileType::Auto => "auto",
            FileType::Gzip => "gzip",
            FileType::Text => "text",
            FileType::Parquet => "parquet",
        },
        recurrence: show_duration(source.recurrence),
        startup_delay: show_duration(source.startup_delay),
        jitter: show_duration(source.jitter),
        start: show_start(source.start),
        lateness: show_duration(source.lateness),
        recheck: source.recheck.iter().copied().map(show_duration).collect(),
        discover_every: show_duration(source.discover_every),
        reconcile_every: show_duration(source.reconcile_every),
        timezone: source.timezone.name(),
        key_order: match source.key_order {
            KeyOrder::Time => "time",
            KeyOrder::None => "none",
        },
        on_overwrite: match source.on_overwrite {
            OnOverwrite::Ignore => "ignore",
            OnOverwrite::Collect => "collect",
        },
        max_attempts: source.max_attempts,
        eps_throttle: source.eps_throttle,
        max_objects_per_sweep: source.max_objects_per_sweep.unwrap_or_default(),
        max_records_per_sweep: source.max_records_per_sweep.unwrap_or_default(),
        max_sweep_duration: show_duration(source.max_sweep_duration.unwrap_or_default()),
        list_price: source.prices.list,
        get_price: source.prices.get,
        list_budget_per_hour: source.list_budget_per_hour.unwrap_or_default(),
        vendor_object: source.vendor_object.clone(),
        free_form: match source.free_form {
            FreeForm::Object => "object",
            FreeForm::String => "string",
        },
        keep_nodata: source.keep_nodata,
        mask_headers: source.mask_headers.clone(),
        timestamp_field: source.timestamp_field.clone(),
        tenantid: source.tenantid.clone(),
        tenant_name: source.tenant_name.clone(),
        cust_id: source.cust_id.clone(),
        list_page_size: source.list_page_size,
        region: source.access.region.clone(),
        endpoint_url: source.access.endpoint_url.clone(),
        allow_http: source.access.allow_http,
        path_style: source.access.path_style,
        use_fips: source.access.use_fips,
        dual_stack: source.access.dual_stack,
        ip_version: match source.access.ip_version {
            IpVersion::Auto => "auto",
            IpVersion::V4 => "4",
            IpVersion::V6 => "6",
        },
        requester_pays: source.access.requester_pays,
        expected_bucket_owner: source.access.expected_bucket_owner.clone(),
        ca_bundle: source.access.ca_bundle.as_ref().map(|path| path.display().to_string()),
        credentials: shown_credentials(&source.access),
        proxy: shown_proxy(&source.access.proxy),
        include: source.filter.include.iter().map(shown_rule).collect(),
        exclude: source.filter.exclude.iter().map(shown_rule).collect(),
    }
}

fn shown_rule(rule: &Rule) -> ShownRule {
    ShownRule { name: rule.name.clone(), all: rule.conditions.iter().map(shown_condition).collect() }
}

fn shown_condition(condition: &Condition) -> ShownCondition {
    let mut shown = ShownCondition { field: condition.field.to_string(), ..ShownCondition::default() };
    match &condition.test {
        Test::OneOf(texts) => shown.one_of = Some(texts.clone()),
        Test::Prefix(prefix) => shown.prefix = Some(prefix.clone()),
        Test::Regex(regex) => shown.regex = Some(regex.as_str().to_owned()),
        Test::Cidr(networks) => shown.cidr = Some(networks.iter().map(ToString::to_string).collect()),
        Test::Exists(exists) => shown.exists = Some(*exists),
    }
    shown
}

/// `None` where the default chain is used as it is.
fn shown_credentials(access: &Access) -> Option<ShownCredentials> {
    let mut shown =
        ShownCredentials { sts_endpoint_url: access.sts_endpoint_url.clone(), ..ShownCredentials::default() };
    if let Some(roles) = &access.roles {
        shown.role_arn = Some(roles.arns.clone());
        shown.role_session_name = Some(roles.session_name.clone());
        shown.role_duration = roles.duration.map(show_duration);
        shown.external_id = roles.external_id.as_ref().map(|_| HIDDEN);
    }
    match &access.credentials {
        Credentials::Default if access.roles.is_none() && access.sts_endpoint_url.is_none() => return None,
        Credentials::Default => {}
        Credentials::Static { access_key_id, secret_access_key: _, session_token } => {
            shown.access_key_id = Some(access_key_id.clone());
            shown.secret_access_key = Some(HIDDEN);
            shown.session_token = session_token.as_ref().map(|_| HIDDEN);
        }
        Credentials::Profile(profile) => shown.profile = Some(profile.clone()),
        Credentials::WebIdentity(path) => shown.web_identity_token_file = Some(path.display().to_string()),
    }
    Some(shown)
}

/// Proxies of the environment are not shown: loaded again, they would be found there again.
fn shown_proxy(proxy: &Proxy) -> Option<ShownProxy> {
    let server = proxy.https.as_ref().filter(|_| proxy.is_configured)?;
    Some(ShownProxy {
        url: Some(server.url.clone()),
        user: server.login.as_ref().map(|(user, _)| user.clone()),
        password: server.login.as_ref().map(|_| HIDDEN),
        no_proxy: proxy.no_proxy.clone(),
    })
}
