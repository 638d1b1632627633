//! How a bucket is reached: endpoint, credentials, secrets from the environment and from files.

use toml::Spanned;

use super::environment;
use super::error::Problem;
use super::files::{SECRET_LIMIT, read_bounded};
use super::model::{Access, Credentials, Secret};
use super::raw::{RawCredentials, RawSecret, RawSource, Set};
use super::table::Table;
use super::texts::Texts;

/// Checks the access settings of one source. Those that this version does not act on are
/// refused: an operator who set them relies on them.
pub(super) fn check_access(table: &Table, raw: &RawSource, texts: &Texts) -> Result<Access, Problem> {
    refuse_not_yet(table, raw)?;
    Ok(Access {
        region: region(table, raw)?,
        endpoint_url: endpoint_url(table, raw)?,
        path_style: raw.path_style.as_ref().is_some_and(|value| *value.get_ref()),
        credentials: credentials(table, raw, texts)?,
    })
}

fn refuse_not_yet(table: &Table, raw: &RawSource) -> Result<(), Problem> {
    let switches = [
        ("use_fips", &raw.use_fips),
        ("dual_stack", &raw.dual_stack),
        ("requester_pays", &raw.requester_pays),
    ];
    for (key, value) in switches {
        match value {
            Some(value) if *value.get_ref() => return Err(table.not_yet(key, value)),
            _ => {}
        }
    }
    for (key, value) in [("expected_bucket_owner", &raw.expected_bucket_owner), ("ca_bundle", &raw.ca_bundle)]
    {
        if let Some(value) = value {
            return Err(table.not_yet(key, value));
        }
    }
    match &raw.ip_version {
        Some(value) if value.get_ref() != "auto" => return Err(table.not_yet("ip_version", value)),
        _ => {}
    }
    match &raw.proxy {
        Some(proxy) => Err(table.not_yet("proxy", proxy)),
        None => Ok(()),
    }
}

fn region(table: &Table, raw: &RawSource) -> Result<Option<String>, Problem> {
    let Some(value) = &raw.region else { return Ok(None) };
    let text = value.get_ref();
    if text.is_empty() || !text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-') {
        return Err(table.not_allowed("region", value, "a region such as \"us-east-1\""));
    }
    Ok(Some(text.clone()))
}

/// `http://` or `https://` and a host. Credentials within the address are refused without
/// quoting it: they would stand in logs.
fn endpoint_url(table: &Table, raw: &RawSource) -> Result<Option<String>, Problem> {
    let Some(value) = &raw.endpoint_url else { return Ok(None) };
    let text = value.get_ref();
    let host = text.strip_prefix("https://").or_else(|| text.strip_prefix("http://"));
    let authority = host.unwrap_or(text).split(['/', '?', '#']).next().unwrap_or_default();
    if authority.contains('@') {
        let reason = "holds a user or password; write them in `credentials` and the address without";
        return Err(table.wrong("endpoint_url", value, reason));
    }
    if host.is_none() || authority.is_empty() || text.contains(char::is_whitespace) {
        let rule = "an address that begins with http:// or https://, such as \"https://s3.example.net\"";
        return Err(table.not_allowed("endpoint_url", value, rule));
    }
    Ok(Some(text.clone()))
}

fn credentials(table: &Table, raw: &RawSource, texts: &Texts) -> Result<Credentials, Problem> {
    let Some(typed) = &raw.credentials else { return Ok(Credentials::Default) };
    let table = Table::new(table.setting("credentials"), typed.span());
    let raw = typed.get_ref();
    for (key, value) in [("role_arn", &raw.role_arn), ("role_session_name", &raw.role_session_name)] {
        if let Some(value) = value {
            return Err(table.not_yet(key, value));
        }
    }
    if let Some(value) = &raw.external_id {
        return Err(table.not_yet("external_id", value));
    }
    contradictions(&table, raw)?;
    if let Some(profile) = table.text("profile", &raw.profile)? {
        return Ok(Credentials::Profile(profile));
    }
    let Some(access_key_id) = table.text("access_key_id", &raw.access_key_id)? else {
        return Ok(Credentials::Default);
    };
    let secret = table.required("secret_access_key", &raw.secret_access_key, "{ env = \"NAME\" }")?;
    Ok(Credentials::Static {
        access_key_id,
        secret_access_key: secret_text(&table, "secret_access_key", secret, texts)?,
        session_token: match &raw.session_token {
            Some(token) => Some(secret_text(&table, "session_token", token, texts)?),
            None => None,
        },
    })
}

/// Refuses settings that exclude or need each other, naming both.
fn contradictions(table: &Table, raw: &RawCredentials) -> Result<(), Problem> {
    fn at<T>(value: &Set<T>) -> Option<std::ops::Range<usize>> {
        value.as_ref().map(Spanned::span)
    }
    let parts = [
        ("access_key_id", at(&raw.access_key_id)),
        ("secret_access_key", at(&raw.secret_access_key)),
        ("session_token", at(&raw.session_token)),
    ];
    for (key, place) in parts {
        let Some(place) = place else { continue };
        if raw.profile.is_some() {
            let reason = format!("`profile` and `{key}` contradict each other; keep one of them");
            return Err(Problem::new(place, table.setting(key), reason));
        }
        let partner = if key == "access_key_id" { "secret_access_key" } else { "access_key_id" };
        let alone = match partner {
            "access_key_id" => raw.access_key_id.is_none(),
            _ => raw.secret_access_key.is_none(),
        };
        if alone {
            let reason = format!("stands without `{partner}`; give both or none");
            return Err(Problem::new(place, table.setting(key), reason));
        }
    }
    Ok(())
}

/// Fetches a secret from where it lies. One line break at the end of a file is not part of it.
fn secret_text(
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
            let text = text.strip_suffix('\n').unwrap_or(&text);
            text.strip_suffix('\r').unwrap_or(text).to_owned()
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
