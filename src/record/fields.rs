//! Tables of the fields that a log type knows: their names in the code, their paths in a record.

/// Numbers the fields in the order of the table.
macro_rules! fields {
    ($($name:ident = $path:literal,)*) => {
        /// The dotted path of each field, indexed by [`Field`](crate::record::Field).
        pub const PATHS: &[&str] = &[$($path),*];

        /// The fields by name.
        pub mod field {
            use crate::record::Field;

            #[allow(non_camel_case_types, clippy::upper_case_acronyms, reason = "only numbers the fields")]
            #[repr(u8)]
            enum Number { $($name),* }

            $(
                #[doc = concat!("`", $path, "`")]
                pub const $name: Field = Field(Number::$name as u8);
            )*
        }
    };
}

pub(crate) use fields;
