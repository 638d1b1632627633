//! The forms that a value may be typed in, where TOML's own types do not say it: how each is read
//! and how the schema describes it.

use std::borrow::Cow;
use std::fmt;
use std::ops::{Deref, DerefMut};

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::{self, Deserialize, Deserializer, MapAccess, Visitor};

/// A value with its place in the file.
#[derive(Clone, Debug, serde::Deserialize)]
#[serde(transparent)]
pub(super) struct Typed<T>(toml::Spanned<T>);

impl<T> Typed<T> {
    /// What was not typed, but stands for what would be at this place.
    pub fn at(place: std::ops::Range<usize>, value: T) -> Self {
        Typed(toml::Spanned::new(place, value))
    }
}

impl<T> Deref for Typed<T> {
    type Target = toml::Spanned<T>;
    fn deref(&self) -> &Self::Target {
        &self.0
    }
}

impl<T> DerefMut for Typed<T> {
    fn deref_mut(&mut self) -> &mut Self::Target {
        &mut self.0
    }
}

/// The place is no part of what is typed.
impl<T: JsonSchema> JsonSchema for Typed<T> {
    fn schema_name() -> Cow<'static, str> {
        T::schema_name()
    }
    fn schema_id() -> Cow<'static, str> {
        T::schema_id()
    }
    fn inline_schema() -> bool {
        T::inline_schema()
    }
    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        T::json_schema(generator)
    }
}

/// Describes a form in place, wherever it is used.
macro_rules! form {
    ($form:ty, $name:literal, $schema:tt) => {
        impl JsonSchema for $form {
            fn schema_name() -> Cow<'static, str> {
                $name.into()
            }
            fn inline_schema() -> bool {
                true
            }
            fn json_schema(_: &mut SchemaGenerator) -> Schema {
                json_schema!($schema)
            }
        }
    };
}

/// In the schema only: a text that is a duration.
pub(super) struct DurationText;
form!(DurationText, "Duration", { "type": "string", "pattern": r"^\s*[0-9]+\s*[SMHDsmhd]\s*$" });

/// A text, number or boolean, as the text it is compared by.
#[derive(Clone, Debug)]
pub(super) struct RawScalar(pub String);

form!(RawScalar, "Scalar", { "type": ["string", "integer", "boolean"] });

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

form!(RawTexts, "Texts", { "anyOf": [{ "type": "string" }, { "type": "array", "items": { "type": "string" } }] });

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

/// A size: text with a unit, or a plain number of bytes.
#[derive(Clone, Debug)]
pub(super) enum RawSize {
    Text(String),
    Bytes(u64),
}

form!(RawSize, "Size", {
    "type": ["string", "integer"],
    "pattern": r"^\s*[0-9]+\s*(([KMGTkmgt][iI]?)?[bB])?\s*$",
    "minimum": 0
});

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

form!(RawStart, "Start", { "type": "string" });

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

form!(RawSecret, "Secret", {
    "anyOf": [
        { "type": "string" },
        {
            "type": "object",
            "properties": {
                "env": { "type": "string", "description": "The name of an environment variable that holds it." },
                "file": { "type": "string", "description": "The path of a file that holds it." },
                "age": { "type": "string", "description": "The secret encrypted with age, armoured." },
                "age_file": { "type": "string", "description": "The path of a file of the secret encrypted with age, armoured." }
            },
            "additionalProperties": false,
            "minProperties": 1,
            "maxProperties": 1
        }
    ]
});

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
