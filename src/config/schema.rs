//! The JSON schema of the configuration, from the structs that read it.
//!
//! For one file: what may stand in another one, such as `state_dir`, is not required. `x-minimum`
//! is the least of a duration, which JSON schema has no word for.

use schemars::generate::SchemaSettings;
use serde_json::{Map, Value, json};

use super::raw::RawConfig;

/// The schema (draft 2020-12) of one file of the configuration.
pub fn schema() -> Value {
    let generator = SchemaSettings::draft2020_12().into_generator();
    let mut schema = generator.into_root_schema_for::<RawConfig>().to_value();
    without_null(&mut schema);
    if let Some(definitions) = schema.get_mut("$defs").and_then(Value::as_object_mut) {
        let mut defaults = definitions.get("Source").cloned().unwrap_or_default();
        defaults["description"] =
            json!("Any setting of a source, for all sources that do not set it themselves.");
        table(&mut defaults, "properties").remove("name");
        definitions.insert("Defaults".to_owned(), defaults);
        if let Some(source) = definitions.get_mut("Source") {
            source["required"] = json!(["name"]);
        }
    }
    table(&mut schema, "properties").insert(
        "defaults".to_owned(),
        json!({
            "$ref": "#/$defs/Defaults",
            "description": "Any setting of a source, for all sources that do not set it themselves."
        }),
    );
    schema
}

fn table<'v>(value: &'v mut Value, key: &str) -> &'v mut Map<String, Value> {
    let value = &mut value[key];
    if !value.is_object() {
        *value = json!({});
    }
    value.as_object_mut().expect("it was made an object")
}

/// TOML has no null: a setting that is not set is not there.
fn without_null(value: &mut Value) {
    match value {
        Value::Array(values) => values.iter_mut().for_each(without_null),
        Value::Object(object) => {
            if let Some(Value::Array(types)) = object.get_mut("type") {
                types.retain(|name| name != "null");
                if let [only] = &types[..] {
                    let only = only.clone();
                    object.insert("type".to_owned(), only);
                }
            }
            if let Some(Value::Array(forms)) = object.get_mut("anyOf") {
                forms.retain(|form| *form != json!({"type": "null"}));
                if let [Value::Object(only)] = &forms[..] {
                    let only = only.clone();
                    object.remove("anyOf");
                    object.extend(only);
                }
            }
            object.values_mut().for_each(without_null);
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}
