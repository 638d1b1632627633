//! How a bucket is reached: endpoint, credentials, secrets from the environment and from files.

use std::path::PathBuf;
use std::time::Duration;

use toml::Spanned;

use super::check::HOUR;
use super::environment;
use super::error::Problem;
use super::files::{SECRET_LIMIT, read_bounded, without_line_break};
use super::forms::Typed;
use super::model::{Access, Credentials, IpVersion, Roles, Secret};
use super::proxy::proxy;
use super::raw::{RawCredentials, RawSecret, RawSource, Set};
use super::table::Table;
use super::texts::Texts;

/// The shortest and the longest time that STS gives credentials for.
const SESSIONS: (Duration, Duration) = (Duration::from_secs(900), Duration::from_secs(12 * 3_600));
/// The session's name in the accounts' logs when none is set.
const SESSION_NAME: &str = "s3sweep";

/// Checks the access settings of one source.
pub(super) fn check_access(table: &Table, raw: &RawSource, texts: &Texts) -> Result<Access, Problem> {
    let sts_is_named =
        raw.credentials.as_ref().is_some_and(|typed| typed.get_ref().sts_endpoint_url.is_some());
    if !sts_is_named {
        // whoever asks STS reads it again
        address_of_environment(table, "credentials.sts_endpoint_url", "AWS_ENDPOINT_URL_STS", raw)?;
    }
    let credentials = match &raw.credentials {
        Some(typed) => {
            let table = Table::new(table.setting("credentials"), typed.span());
            who(&table, typed.get_ref(), texts, is_set(&raw.allow_http))?
        }
        None => Who::default(),
    };
    let typed = address(table, "endpoint_url", &raw.endpoint_url, is_set(&raw.allow_http))?;
    let of_environment = match typed {
        None => address_of_environment(table, "endpoint_url", "AWS_ENDPOINT_URL_S3", raw)?,
        Some(_) => None,
    };
    for (key, value) in [("use_fips", &raw.use_fips), ("dual_stack", &raw.dual_stack)] {
        of_aws_alone(table, key, value, raw, of_environment.is_some())?;
    }
    Ok(Access {
        region: region(table, raw)?,
        endpoint_of_environment: of_environment.is_some(),
        endpoint_url: typed.or(of_environment),
        allow_http: is_set(&raw.allow_http),
        path_style: is_set(&raw.path_style),
        use_fips: is_set(&raw.use_fips),
        dual_stack: is_set(&raw.dual_stack),
        ip_version: ip_version(table, raw)?,
        requester_pays: is_set(&raw.requester_pays),
        expected_bucket_owner: expected_bucket_owner(table, raw)?,
        ca_bundle: ca_bundle(table, raw, texts)?,
        credentials: credentials.base,
        roles: credentials.roles,
        sts_endpoint_url: credentials.sts_endpoint_url,
        proxy: proxy(table, raw, texts)?,
    })
}

fn is_set(value: &Set<bool>) -> bool {
    value.as_ref().is_some_and(|value| *value.get_ref())
}

/// Refuses a kind of AWS's own endpoints where another one is named.
fn of_aws_alone(
    table: &Table,
    key: &str,
    value: &Set<bool>,
    raw: &RawSource,
    of_environment: bool,
) -> Result<(), Problem> {
    let Some(typed) = value.as_ref().filter(|typed| *typed.get_ref()) else { return Ok(()) };
    let reason = match (raw.endpoint_url.is_some(), of_environment) {
        (true, _) => "contradicts `endpoint_url`: it chooses among the endpoints of AWS; keep one of them",
        (false, true) => {
            "contradicts AWS_ENDPOINT_URL_S3 or AWS_ENDPOINT_URL of the environment: it chooses among the \
             endpoints of AWS; unset the variable, or set AWS_IGNORE_CONFIGURED_ENDPOINT_URLS=true"
        }
        (false, false) => return Ok(()),
    };
    Err(table.wrong(key, typed, reason))
}

fn ip_version(table: &Table, raw: &RawSource) -> Result<IpVersion, Problem> {
    let words = [("auto", IpVersion::Auto), ("4", IpVersion::V4), ("6", IpVersion::V6)];
    let version = table.word("ip_version", &raw.ip_version, IpVersion::Auto, &words)?;
    match &raw.ip_version {
        Some(value) if version == IpVersion::V6 && raw.endpoint_url.is_none() && !is_set(&raw.dual_stack) => {
            let reason = "needs `dual_stack = true`: the other endpoints of S3 have no IPv6 addresses";
            Err(table.wrong("ip_version", value, reason))
        }
        _ => Ok(version),
    }
}

fn expected_bucket_owner(table: &Table, raw: &RawSource) -> Result<Option<String>, Problem> {
    let Some(value) = &raw.expected_bucket_owner else { return Ok(None) };
    let text = value.get_ref();
    if text.len() != 12 || !text.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(table.not_allowed("expected_bucket_owner", value, "the 12 digits of an account id"));
    }
    Ok(Some(text.clone()))
}

/// The setting, or what AWS_CA_BUNDLE names, as for other AWS tools.
fn ca_bundle(table: &Table, raw: &RawSource, texts: &Texts) -> Result<Option<PathBuf>, Problem> {
    table.text("ca_bundle", &raw.ca_bundle)?;
    Ok(match &raw.ca_bundle {
        Some(path) => Some(texts.resolve(path.span().start, path.get_ref())),
        None => environment("AWS_CA_BUNDLE").filter(|path| !path.is_empty()).map(PathBuf::from),
    })
}

fn region(table: &Table, raw: &RawSource) -> Result<Option<String>, Problem> {
    let Some(value) = &raw.region else { return Ok(None) };
    let text = value.get_ref();
    if text.is_empty() || !text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-') {
        return Err(table.not_allowed("region", value, "a region such as \"us-east-1\""));
    }
    Ok(Some(text.clone()))
}

/// Why an address is none of a store, or of STS.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum EndpointFlaw {
    /// Credentials stand within it: it must be quoted nowhere, since they would stand in logs.
    Login,
    /// It has no scheme of HTTP, or no host.
    NoAddress,
    /// It is plain HTTP to another machine, which is not allowed.
    Plain,
}

impl EndpointFlaw {
    /// What to write instead.
    pub fn reason(self) -> &'static str {
        match self {
            EndpointFlaw::Login => {
                "holds a user or password; write them in `credentials` and the address without"
            }
            EndpointFlaw::NoAddress => "is no address that begins with http:// or https://",
            EndpointFlaw::Plain => {
                "is not encrypted: anyone on the way can read and change the logs; write https://, or \
                 `allow_http = true` in the source"
            }
        }
    }
}

/// Looks at an endpoint: `http://` or `https://` and a host; the former to other machines only where
/// that is allowed.
pub(crate) fn endpoint_flaw(text: &str, allow_http: bool) -> Option<EndpointFlaw> {
    let host = text.strip_prefix("https://").or_else(|| text.strip_prefix("http://"));
    let authority = host.unwrap_or(text).split(['/', '?', '#']).next().unwrap_or_default();
    // wherever it stands: in a mistyped address nothing tells where a password ends
    if text.contains('@') {
        return Some(EndpointFlaw::Login);
    }
    if host.is_none() || authority.is_empty() || text.contains(char::is_whitespace) {
        return Some(EndpointFlaw::NoAddress);
    }
    let is_plain = text.starts_with("http://") && !allow_http && !is_loopback(authority);
    is_plain.then_some(EndpointFlaw::Plain)
}

/// An endpoint as it was typed.
fn address(
    table: &Table,
    key: &str,
    value: &Set<String>,
    allow_http: bool,
) -> Result<Option<String>, Problem> {
    let Some(value) = value else { return Ok(None) };
    match endpoint_flaw(value.get_ref(), allow_http) {
        None => Ok(Some(value.get_ref().clone())),
        Some(EndpointFlaw::NoAddress) => {
            let rule = "an address that begins with http:// or https://, such as \"https://s3.example.net\"";
            Err(table.not_allowed(key, value, rule))
        }
        Some(flaw) => Err(table.wrong(key, value, flaw.reason())),
    }
}

/// The endpoint that a variable of AWS's tools names, or AWS_ENDPOINT_URL, which is for all services.
/// The same rules hold for it: the environment makes no plain HTTP of what was encrypted.
fn address_of_environment(
    table: &Table,
    key: &str,
    variable: &str,
    raw: &RawSource,
) -> Result<Option<String>, Problem> {
    let is_ignored = environment("AWS_IGNORE_CONFIGURED_ENDPOINT_URLS")
        .is_some_and(|value| value.eq_ignore_ascii_case("true"));
    let is_local = raw.bucket.as_ref().is_some_and(|bucket| bucket.get_ref().starts_with("file:"));
    if is_ignored || is_local {
        return Ok(None);
    }
    for name in [variable, "AWS_ENDPOINT_URL"] {
        let Some(text) = environment(name).filter(|text| !text.is_empty()) else { continue };
        let typed = Some(Typed::at(table.at.clone(), text));
        return address(table, key, &typed, is_set(&raw.allow_http)).map_err(|_| {
            let reason = format!(
                "the environment variable {name} is no address of https:// without user and password; plain http:// \
                 to another machine needs `allow_http = true` in the source"
            );
            Problem::new(table.at.clone(), table.setting(key), reason)
        });
    }
    Ok(None)
}

/// Whether `host`, `host:port` or `[v6]:port` is this machine.
fn is_loopback(authority: &str) -> bool {
    let host = match authority.strip_prefix('[') {
        Some(six) => six.split(']').next(),
        None => authority.split(':').next(),
    };
    host.is_some_and(|host| {
        host.eq_ignore_ascii_case("localhost")
            || host.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback())
    })
}

/// The `credentials` table.
#[derive(Default)]
struct Who {
    base: Credentials,
    roles: Option<Roles>,
    sts_endpoint_url: Option<String>,
}

fn who(table: &Table, raw: &RawCredentials, texts: &Texts, allow_http: bool) -> Result<Who, Problem> {
    contradictions(table, raw)?;
    Ok(Who {
        base: base(table, raw, texts)?,
        roles: roles(table, raw, texts)?,
        sts_endpoint_url: address(table, "sts_endpoint_url", &raw.sts_endpoint_url, allow_http)?,
    })
}

fn base(table: &Table, raw: &RawCredentials, texts: &Texts) -> Result<Credentials, Problem> {
    if let Some(profile) = table.text("profile", &raw.profile)? {
        return Ok(Credentials::Profile(profile));
    }
    if let Some(path) = &raw.web_identity_token_file {
        table.text("web_identity_token_file", &raw.web_identity_token_file)?;
        return Ok(Credentials::WebIdentity(texts.resolve(path.span().start, path.get_ref())));
    }
    let Some(access_key_id) = table.text("access_key_id", &raw.access_key_id)? else {
        return Ok(Credentials::Default);
    };
    let secret = table.required("secret_access_key", &raw.secret_access_key, "{ env = \"NAME\" }")?;
    Ok(Credentials::Static {
        access_key_id,
        secret_access_key: secret_text(table, "secret_access_key", secret, texts)?,
        session_token: match &raw.session_token {
            Some(token) => Some(secret_text(table, "session_token", token, texts)?),
            None => None,
        },
    })
}

fn roles(table: &Table, raw: &RawCredentials, texts: &Texts) -> Result<Option<Roles>, Problem> {
    let Some(arns) = &raw.role_arn else { return Ok(None) };
    // not quoted: what is no ARN may be anything, a secret too
    let is_role = |arn: &String| arn.starts_with("arn:") && arn.contains(":iam:") && arn.contains(":role/");
    if arns.get_ref().0.is_empty() || !arns.get_ref().0.iter().all(is_role) {
        let reason = "expected the ARN of a role, such as \"arn:aws:iam::111122223333:role/logs\", or a list \
                      of them, each taken on with the one before";
        return Err(table.wrong("role_arn", arns, reason));
    }
    let duration = match &raw.role_duration {
        Some(value) => Some(role_duration(table, value, arns.get_ref().0.len())?),
        None => None,
    };
    Ok(Some(Roles {
        arns: arns.get_ref().0.clone(),
        session_name: session_name(table, &raw.role_session_name)?,
        duration,
        external_id: match &raw.external_id {
            Some(id) => Some(secret_text(table, "external_id", id, texts)?),
            None => None,
        },
    }))
}

/// AWS: 15 minutes to 12 hours, and at most one hour for a role taken on with another one.
fn role_duration(table: &Table, value: &Spanned<String>, roles: usize) -> Result<Duration, Problem> {
    let duration = table.one_duration("role_duration", value, SESSIONS.0)?;
    if duration > SESSIONS.1 {
        return Err(table.not_allowed("role_duration", value, "a duration from 15M to 12H"));
    }
    if roles > 1 && duration > HOUR {
        let reason = "contradicts `role_arn`: AWS gives chained roles one hour at most; write \"1H\" or less";
        return Err(table.wrong("role_duration", value, reason));
    }
    Ok(duration)
}

fn session_name(table: &Table, value: &Set<String>) -> Result<String, Problem> {
    let Some(value) = value else { return Ok(SESSION_NAME.to_owned()) };
    let text = value.get_ref();
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"_+=,.@-".contains(&byte);
    if !(2..=64).contains(&text.len()) || !text.bytes().all(allowed) {
        let rule = "2 to 64 letters, digits and _+=,.@-";
        return Err(table.not_allowed("role_session_name", value, rule));
    }
    Ok(text.clone())
}

/// Refuses settings that exclude or need each other, naming both.
fn contradictions(table: &Table, raw: &RawCredentials) -> Result<(), Problem> {
    fn at<T>(key: &'static str, value: &Set<T>) -> Option<(&'static str, std::ops::Range<usize>)> {
        value.as_ref().map(|value| (key, value.span()))
    }
    let key_id = at("access_key_id", &raw.access_key_id);
    let secret = at("secret_access_key", &raw.secret_access_key);
    let token = at("session_token", &raw.session_token);
    let profile = at("profile", &raw.profile);
    let web = at("web_identity_token_file", &raw.web_identity_token_file);
    let role = at("role_arn", &raw.role_arn);
    let name = at("role_session_name", &raw.role_session_name);
    let duration = at("role_duration", &raw.role_duration);
    let external = at("external_id", &raw.external_id);
    let excluded = [
        (&profile, &key_id),
        (&profile, &secret),
        (&profile, &token),
        (&web, &profile),
        (&web, &key_id),
        (&web, &secret),
        (&web, &token),
    ];
    for (one, other) in excluded {
        if let (Some((one, _)), Some((key, place))) = (one, other) {
            let reason = format!("`{one}` and `{key}` contradict each other; keep one of them");
            return Err(Problem::new(place.clone(), table.setting(key), reason));
        }
    }
    let needed = [
        (&key_id, &secret, "secret_access_key"),
        (&secret, &key_id, "access_key_id"),
        (&token, &key_id, "access_key_id"),
        (&web, &role, "role_arn"),
        (&name, &role, "role_arn"),
        (&duration, &role, "role_arn"),
        (&external, &role, "role_arn"),
    ];
    for (one, other, missing) in needed {
        if let (Some((key, place)), None) = (one, other) {
            let reason = format!("stands without `{missing}`; give both or none");
            return Err(Problem::new(place.clone(), table.setting(key), reason));
        }
    }
    let is_one_role = raw.role_arn.as_ref().is_some_and(|arns| arns.get_ref().0.len() < 2);
    match (&web, &external) {
        (Some(_), Some((key, place))) if is_one_role => {
            let reason = "contradicts `web_identity_token_file`: a role that is taken on with a token asks for \
                          no external id";
            Err(Problem::new(place.clone(), table.setting(key), reason))
        }
        _ => Ok(()),
    }
}

/// Fetches a secret from where it lies. One line break at the end of a file is not part of it.
pub(super) fn secret_text(
    table: &Table,
    key: &str,
    value: &Spanned<RawSecret>,
    texts: &Texts,
) -> Result<Secret, Problem> {
    let text = match value.get_ref() {
        RawSecret::Text(text) => text.clone(),
        RawSecret::Env(name) => environment(name).ok_or_else(|| {
            table.wrong(key, value, format!("the environment variable {name} is not set, or not UTF-8"))
        })?,
        RawSecret::File(path) => {
            let path = texts.resolve(value.span().start, path);
            let text = read_bounded(&path, SECRET_LIMIT).map_err(|error| {
                table.wrong(key, value, format!("cannot read {}: {error}", path.display()))
            })?;
            without_line_break(&text).to_owned()
        }
        // opened before anything is checked
        RawSecret::Age(_) | RawSecret::AgeFile(_) => {
            return Err(table.wrong(key, value, "is encrypted and was not opened"));
        }
    };
    if text.is_empty() {
        return Err(table.wrong(key, value, "is empty"));
    }
    Ok(Secret::new(text))
}
