//! What was typed: every setting there is, each optional, each with its place.
//!
//! The structs are the one list of settings; [`super::names`] reads the names from them.

use std::fmt;

use serde::de::{self, Deserialize, Deserializer, MapAccess, Visitor};
use toml::Spanned;

/// A setting that may be missing.
pub(super) type Set<T> = Option<Spanned<T>>;

/// All files together, `[defaults]` already merged into the sources.
#[derive(Debug, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawConfig {
    pub state_dir: Set<String>,
    pub history: Set<String>,
    pub close_spread: Set<String>,
    pub instance: Set<String>,
    pub identity_file: Set<String>,
    pub sink: Set<RawSink>,
    pub limits: Set<RawLimits>,
    #[serde(default)]
    pub source: Vec<Spanned<RawSource>>,
}

/// `[sink]`.
#[derive(Debug, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawSink {
    #[serde(rename = "type")]
    pub sink_type: Set<String>,
    pub path: Set<String>,
    pub encoder: Set<String>,
    pub device_domain_key: Set<String>,
    pub event_outcome: Set<String>,
    pub rotate_size: Set<RawSize>,
    pub rotate_every: Set<String>,
    pub compression: Set<String>,
    pub keep_age: Set<String>,
    pub keep_size: Set<RawSize>,
    pub min_free: Set<RawSize>,
    pub sink_timeout: Set<String>,
    pub dead_letter_path: Set<String>,
}

/// `[limits]`.
#[derive(Debug, Default, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawLimits {
    pub list_concurrency: Set<u64>,
    pub get_concurrency: Set<u64>,
    pub buffer_bytes: Set<RawSize>,
    pub max_record_bytes: Set<RawSize>,
    pub max_object_bytes: Set<RawSize>,
    pub max_inflate_ratio: Set<u64>,
    pub max_page_bytes: Set<RawSize>,
    pub commit_every: Set<String>,
    pub commit_bytes: Set<RawSize>,
    pub commit_operations: Set<u64>,
    pub connect_timeout: Set<String>,
    pub first_byte_timeout: Set<String>,
    pub stall_timeout: Set<String>,
    pub object_timeout: Set<String>,
    pub get_attempts: Set<u64>,
}

/// `[[source]]`, and `[defaults]` but for the name.
#[derive(Debug, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawSource {
    pub name: Set<String>,
    pub enabled: Set<bool>,
    pub description: Set<String>,
    pub log_type: Set<String>,
    pub bucket: Set<String>,
    pub prefix: Set<String>,
    pub file_pattern: Set<String>,
    pub file_type: Set<String>,
    pub recurrence: Set<String>,
    pub start: Set<RawStart>,
    pub lateness: Set<String>,
    pub recheck: Set<Vec<Spanned<String>>>,
    pub discover_every: Set<String>,
    pub reconcile_every: Set<String>,
    pub timezone: Set<String>,
    pub key_order: Set<String>,
    pub on_overwrite: Set<String>,
    pub max_attempts: Set<u64>,
    pub eps_throttle: Set<u64>,
    pub vendor_object: Set<String>,
    pub free_form: Set<String>,
    pub keep_nodata: Set<bool>,
    pub mask_headers: Set<Vec<Spanned<String>>>,
    pub timestamp_field: Set<String>,
    pub tenantid: Set<String>,
    pub tenant_name: Set<String>,
    pub list_page_size: Set<u64>,
    pub region: Set<String>,
    pub endpoint_url: Set<String>,
    pub allow_http: Set<bool>,
    pub path_style: Set<bool>,
    pub use_fips: Set<bool>,
    pub dual_stack: Set<bool>,
    pub requester_pays: Set<bool>,
    pub expected_bucket_owner: Set<String>,
    pub ca_bundle: Set<String>,
    pub ip_version: Set<String>,
    pub credentials: Set<RawCredentials>,
    pub proxy: Set<RawProxy>,
    pub include: Set<Vec<Spanned<RawRule>>>,
    pub exclude: Set<Vec<Spanned<RawRule>>>,
}

/// `[[source.include]]` and `[[source.exclude]]`: a condition of its own, more of them, or both.
#[derive(Debug, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawRule {
    pub name: Set<String>,
    pub field: Set<String>,
    pub equals: Set<RawScalar>,
    pub one_of: Set<Vec<RawScalar>>,
    pub prefix: Set<String>,
    pub regex: Set<String>,
    pub cidr: Set<RawTexts>,
    pub exists: Set<bool>,
    pub all: Set<Vec<Spanned<RawCondition>>>,
}

/// One condition of a rule: a field and exactly one test.
#[derive(Debug, Default, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawCondition {
    pub field: Set<String>,
    pub equals: Set<RawScalar>,
    pub one_of: Set<Vec<RawScalar>>,
    pub prefix: Set<String>,
    pub regex: Set<String>,
    pub cidr: Set<RawTexts>,
    pub exists: Set<bool>,
}

/// A text, number or boolean, as the text it is compared by.
#[derive(Clone, Debug)]
pub(super) struct RawScalar(pub String);

impl<'de> Deserialize<'de> for RawScalar {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match toml::Value::deserialize(deserializer)? {
            toml::Value::String(text) => Ok(RawScalar(text)),
            toml::Value::Integer(number) => Ok(RawScalar(number.to_string())),
            toml::Value::Boolean(word) => Ok(RawScalar(word.to_string())),
            other => Err(de::Error::custom(format!(
                "expected a text, a whole number, true or false, not {}",
                other.type_str()
            ))),
        }
    }
}

/// A text, or a list of texts.
#[derive(Clone, Debug)]
pub(super) struct RawTexts(pub Vec<String>);

impl<'de> Deserialize<'de> for RawTexts {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match toml::Value::deserialize(deserializer)? {
            toml::Value::String(text) => Ok(RawTexts(vec![text])),
            other => other
                .try_into()
                .map(RawTexts)
                .map_err(|_| de::Error::custom("expected a text or a list of texts")),
        }
    }
}

/// `[source.credentials]`.
#[derive(Debug, Default, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawCredentials {
    pub access_key_id: Set<String>,
    pub secret_access_key: Set<RawSecret>,
    pub session_token: Set<RawSecret>,
    pub profile: Set<String>,
    pub web_identity_token_file: Set<String>,
    pub role_arn: Set<RawTexts>,
    pub role_session_name: Set<String>,
    pub role_duration: Set<String>,
    pub external_id: Set<RawSecret>,
    pub sts_endpoint_url: Set<String>,
}

/// `[source.proxy]`.
#[derive(Debug, Default, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawProxy {
    pub url: Set<RawSecret>,
    pub user: Set<String>,
    pub password: Set<RawSecret>,
    pub no_proxy: Set<RawTexts>,
    /// Refused: NTLM.
    pub domain: Set<String>,
}

/// A size: text with a unit, or a plain number of bytes.
#[derive(Clone, Debug)]
pub(super) enum RawSize {
    Text(String),
    Bytes(u64),
}

impl<'de> Deserialize<'de> for RawSize {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct SizeVisitor;
        impl Visitor<'_> for SizeVisitor {
            type Value = RawSize;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a size such as \"256MiB\" or a number of bytes")
            }
            fn visit_str<E: de::Error>(self, text: &str) -> Result<RawSize, E> {
                Ok(RawSize::Text(text.to_owned()))
            }
            fn visit_i64<E: de::Error>(self, number: i64) -> Result<RawSize, E> {
                u64::try_from(number)
                    .map(RawSize::Bytes)
                    .map_err(|_| E::invalid_value(de::Unexpected::Signed(number), &self))
            }
            fn visit_u64<E: de::Error>(self, number: u64) -> Result<RawSize, E> {
                Ok(RawSize::Bytes(number))
            }
        }
        deserializer.deserialize_any(SizeVisitor)
    }
}

/// A start: text, or a date or instant without quotes as TOML has them.
#[derive(Clone, Debug)]
pub(super) struct RawStart(pub String);

impl<'de> Deserialize<'de> for RawStart {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match toml::Value::deserialize(deserializer)? {
            toml::Value::String(text) => Ok(RawStart(text)),
            toml::Value::Datetime(instant) => Ok(RawStart(instant.to_string())),
            other => Err(de::Error::custom(format!(
                "expected a duration such as \"1D\", a date, an instant or \"all\", not {}",
                other.type_str()
            ))),
        }
    }
}

/// Where a secret comes from. `Debug` does not show it, and no message of this type quotes what
/// was typed.
#[derive(Clone)]
pub(super) enum RawSecret {
    /// The secret itself.
    Text(String),
    /// The name of an environment variable.
    Env(String),
    /// The path of a file.
    File(String),
    /// Armoured age text.
    Age(String),
    /// The path of a file of armoured age text.
    AgeFile(String),
}

impl fmt::Debug for RawSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[secret]")
    }
}

const SECRET_FORMS: &str = "expected a text in quotes, { env = \"NAME\" }, { file = \"PATH\" }, { age = \"TEXT\" } or { age_file = \"PATH\" }";

impl<'de> Deserialize<'de> for RawSecret {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct SecretVisitor;
        impl<'de> Visitor<'de> for SecretVisitor {
            type Value = RawSecret;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a text in quotes, { env = \"NAME\" }, { file = \"PATH\" }, { age = \"TEXT\" } or { age_file = \"PATH\" }")
            }
            fn visit_str<E: de::Error>(self, text: &str) -> Result<RawSecret, E> {
                Ok(RawSecret::Text(text.to_owned()))
            }
            // the visitor's own messages would quote the value
            fn visit_bool<E: de::Error>(self, _: bool) -> Result<RawSecret, E> {
                Err(E::custom(SECRET_FORMS))
            }
            fn visit_i64<E: de::Error>(self, _: i64) -> Result<RawSecret, E> {
                Err(E::custom(SECRET_FORMS))
            }
            fn visit_u64<E: de::Error>(self, _: u64) -> Result<RawSecret, E> {
                Err(E::custom(SECRET_FORMS))
            }
            fn visit_i128<E: de::Error>(self, _: i128) -> Result<RawSecret, E> {
                Err(E::custom(SECRET_FORMS))
            }
            fn visit_u128<E: de::Error>(self, _: u128) -> Result<RawSecret, E> {
                Err(E::custom(SECRET_FORMS))
            }
            fn visit_f64<E: de::Error>(self, _: f64) -> Result<RawSecret, E> {
                Err(E::custom(SECRET_FORMS))
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<RawSecret, A::Error> {
                let wrong = || de::Error::custom(SECRET_FORMS);
                let key = map.next_key::<String>().map_err(|_| wrong())?.ok_or_else(wrong)?;
                let value = map.next_value::<String>().map_err(|_| wrong())?;
                if map.next_key::<String>().map_err(|_| wrong())?.is_some() {
                    return Err(wrong());
                }
                match key.as_str() {
                    "env" => Ok(RawSecret::Env(value)),
                    "file" => Ok(RawSecret::File(value)),
                    "age" => Ok(RawSecret::Age(value)),
                    "age_file" => Ok(RawSecret::AgeFile(value)),
                    _ => Err(wrong()),
                }
            }
        }
        deserializer.deserialize_any(SecretVisitor)
    }
}
