//! The columns of rows of text: told once by an object's header, the same for all of its rows.

use super::Field;

/// One column.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Column {
    /// Its name as in a text header, words joined by hyphens: `pkt-srcaddr`.
    pub name: String,
    /// The same in camel case, as a member of a JSON object: `pktSrcaddr`.
    pub member: String,
    /// What begins this member after another one: `,"pktSrcaddr":`.
    pub lead: String,
    /// The field that the log type knows it as; `None` for a column it does not know.
    pub field: Option<Field>,
}

/// The columns of one object, in the order of its rows, and where each field stands among them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Columns {
    list: Vec<Column>,
    /// Indexed by [`Field`]; [`ABSENT`] for a field that the rows do not have.
    places: Vec<u16>,
}

const ABSENT: u16 = u16::MAX;

/// Why a row of names is no header.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ColumnsError {
    /// Something that no column is called.
    #[error("{name:?} is no name of a column")]
    Name {
        /// The word.
        name: String,
    },
    /// Two columns of one name.
    #[error("the column {name:?} stands twice in the header")]
    Twice {
        /// The name.
        name: String,
    },
    /// More columns than a table of fields can have.
    #[error("the header has {count} columns, more than {}", Columns::MOST)]
    TooMany {
        /// How many there are.
        count: usize,
    },
}

impl Columns {
    /// More columns than this are no header. AWS knows about a hundred.
    pub const MOST: usize = 1_000;

    /// The columns of a header; `known` are the log type's names, indexed by [`Field`].
    /// Underscores, which Parquet columns have in place of hyphens, are read as hyphens.
    ///
    /// # Errors
    ///
    /// When a word is no name (letters, digits, `-`, `_`, `.` and at least one of the first two),
    /// when two names are the same in camel case, or when there are too many.
    pub fn new<'a>(names: impl Iterator<Item = &'a str>, known: &[&str]) -> Result<Self, ColumnsError> {
        let mut columns = Columns { list: Vec::new(), places: vec![ABSENT; known.len()] };
        let mut names = names.fuse();
        for name in names.by_ref().take(Self::MOST) {
            columns.add(name, known)?;
        }
        // a header may be as long as a record: what is too much of it is not held
        let count = columns.list.len() + names.count();
        if count > Self::MOST {
            return Err(ColumnsError::TooMany { count });
        }
        columns.refuse_twins()?;
        Ok(columns)
    }

    fn add(&mut self, name: &str, known: &[&str]) -> Result<(), ColumnsError> {
        let spelled = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
        let member = camel_case(name);
        if member.is_empty() || !name.bytes().all(spelled) {
            return Err(ColumnsError::Name { name: name.chars().take(80).collect() });
        }
        let name = name.replace('_', "-");
        let field = known.iter().position(|known| **known == name).and_then(|at| u8::try_from(at).ok());
        if let Some(field) = field {
            self.places[usize::from(field)] = u16::try_from(self.list.len()).unwrap_or(ABSENT);
        }
        self.list.push(Column { name, lead: format!(",\"{member}\":"), member, field: field.map(Field) });
        Ok(())
    }

    fn refuse_twins(&self) -> Result<(), ColumnsError> {
        let mut members: Vec<_> = self.list.iter().map(|column| &column.member).collect();
        members.sort_unstable();
        match members.windows(2).find(|pair| pair[0] == pair[1]) {
            Some(pair) => {
                let twin = self.list.iter().find(|column| column.member == *pair[0]);
                Err(ColumnsError::Twice { name: twin.map(|column| column.name.clone()).unwrap_or_default() })
            }
            None => Ok(()),
        }
    }

    /// The columns in the order of the rows.
    pub fn list(&self) -> &[Column] {
        &self.list
    }

    /// The place of a field among the columns.
    #[inline]
    pub fn place(&self, field: Field) -> Option<usize> {
        let place = *self.places.get(usize::from(field.0))?;
        (place != ABSENT).then_some(usize::from(place))
    }

    /// The place of the column of this name, words joined by hyphens.
    pub fn named(&self, name: &str) -> Option<usize> {
        self.list.iter().position(|column| column.name == name)
    }
}

/// `next-hop-az-id` and `next_hop_az_id` as `nextHopAzId`.
fn camel_case(name: &str) -> String {
    let mut words = name.split(['-', '_', '.']).filter(|word| !word.is_empty());
    let mut camel = words.next().unwrap_or_default().to_owned();
    for word in words {
        camel.extend(word.chars().take(1).map(|first| first.to_ascii_uppercase()));
        camel.extend(word.chars().skip(1));
    }
    camel
}

#[cfg(test)]
mod tests {
    use super::*;

    const KNOWN: &[&str] = &["version", "account-id", "instance-tag-2"];

    fn columns(header: &str) -> Result<Columns, ColumnsError> {
        Columns::new(header.split(' '), KNOWN)
    }

    #[test]
    fn columns_have_names_members_and_fields() {
        let columns = columns("account_id new-column version instance-tag-2").unwrap();
        let list: Vec<_> =
            columns.list().iter().map(|c| (&*c.name, &*c.member, c.field.map(|field| field.0))).collect();
        assert_eq!(
            list,
            [
                ("account-id", "accountId", Some(1)),
                ("new-column", "newColumn", None),
                ("version", "version", Some(0)),
                ("instance-tag-2", "instanceTag2", Some(2)),
            ]
        );
        assert_eq!([0, 1, 2, 3].map(|field| columns.place(Field(field))), [Some(2), Some(0), Some(3), None]);
        assert_eq!((columns.named("new-column"), columns.named("newColumn")), (Some(1), None));
    }

    #[test]
    fn other_rows_are_no_header() {
        let many = vec!["x"; Columns::MOST + 1].join(" ");
        for (name, header, want) in [
            ("a dash", "version -", "\"-\" is no name of a column"),
            ("an address", "version 10.0.0.1/8", "\"10.0.0.1/8\" is no name of a column"),
            ("two blanks", "version  account-id", "\"\" is no name of a column"),
            ("a quote", "version a\"b", "\"a\\\"b\" is no name of a column"),
            ("twins", "version account-id version", "the column \"version\" stands twice in the header"),
            ("twins in camel case", "a-b a_b", "the column \"a-b\" stands twice in the header"),
            ("too many", &many, "the header has 1001 columns, more than 1000"),
        ] {
            assert_eq!(columns(header).unwrap_err().to_string(), want, "{name}");
        }
    }

    #[test]
    fn names_beyond_the_most_are_counted_only() {
        let names: Vec<_> = (0..Columns::MOST).map(|number| format!("c{number}")).collect();
        let names = names.iter().map(String::as_str);
        assert_eq!(Columns::new(names.clone(), KNOWN).unwrap().list().len(), Columns::MOST);
        let more = names.chain(["-", "c0", "a\"b"]);
        assert_eq!(Columns::new(more, KNOWN), Err(ColumnsError::TooMany { count: Columns::MOST + 3 }));
    }
}
