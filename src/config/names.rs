//! The names of the settings of a table, read from the struct that holds them.
//!
//! Serde hands the field names of a struct to the deserializer; the one here keeps them and
//! stops. So a setting is declared once, and a mistyped one can be answered with the nearest.

use serde::de::value::Error;
use serde::de::{Deserialize, Deserializer, Error as _, Visitor};
use serde::forward_to_deserialize_any;

/// The settings of a table, as they are typed.
pub(super) fn names_of<'de, T: Deserialize<'de>>() -> &'static [&'static str] {
    let mut names: &'static [&'static str] = &[];
    // always an error: the deserializer has no value to give
    let _ = T::deserialize(Listener { names: &mut names });
    names
}

struct Listener<'a> {
    names: &'a mut &'static [&'static str],
}

impl<'de> Deserializer<'de> for Listener<'_> {
    type Error = Error;

    fn deserialize_any<V: Visitor<'de>>(self, _: V) -> Result<V::Value, Error> {
        Err(Error::custom("no value"))
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        fields: &'static [&'static str],
        _: V,
    ) -> Result<V::Value, Error> {
        *self.names = fields;
        Err(Error::custom("no value"))
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf option
        unit unit_struct newtype_struct seq tuple tuple_struct map enum identifier ignored_any
    }
}

#[cfg(test)]
mod tests {
    use super::super::raw::{RawSink, RawSource};
    use super::*;

    #[test]
    fn names_are_those_that_are_typed() {
        assert!(names_of::<RawSource>().contains(&"recurrence"));
        assert_eq!(names_of::<RawSink>()[0], "type");
        assert_eq!(names_of::<String>(), &[] as &[&str]);
    }
}
