//! Steps through the values of JSON that a decoder found valid, without checking it again.
//!
//! In: a raw value. Out: slices of it. Other bytes give other slices or fewer of them; nothing
//! here fails on them.

use memchr::memchr3;

use super::json;

/// A place in a raw value.
#[derive(Clone, Copy, Debug)]
pub struct Walk<'a> {
    rest: &'a [u8],
}

impl<'a> Walk<'a> {
    /// Before the first byte of `raw`.
    pub fn new(raw: &'a [u8]) -> Self {
        Walk { rest: raw }
    }

    /// Steps into the object (`{`) or list (`[`) at hand; `false`, and nothing else, when there
    /// is none.
    pub fn open(&mut self, bracket: u8) -> bool {
        let is_there = self.first() == Some(bracket);
        if is_there {
            self.rest = &self.rest[1..];
        }
        is_there
    }

    /// Passes over a name or a whole value; at the end of an object or list steps out of it and
    /// returns `None`.
    pub fn pass(&mut self) -> Option<&'a [u8]> {
        let length = match self.first()? {
            b'}' | b']' => {
                self.rest = &self.rest[1..];
                return None;
            }
            b'"' => json::string_length(self.rest),
            b'{' => container_length(self.rest, b'{', b'}'),
            b'[' => container_length(self.rest, b'[', b']'),
            _ => self.rest.iter().position(|byte| is_between(*byte) || matches!(byte, b'}' | b']'))?,
        };
        let (value, rest) = self.rest.split_at_checked(length)?;
        self.rest = rest;
        Some(value)
    }

    /// The first byte of what comes next.
    fn first(&mut self) -> Option<u8> {
        while let Some((first, rest)) = self.rest.split_first() {
            if !is_between(*first) {
                return Some(*first);
            }
            self.rest = rest;
        }
        None
    }
}

fn is_between(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\n' | b'\r' | b',' | b':')
}

fn container_length(raw: &[u8], open: u8, close: u8) -> usize {
    let (mut at, mut depth) = (0, 0usize);
    while let Some(found) = raw.get(at..).and_then(|rest| memchr3(b'"', open, close, rest)) {
        at += found;
        match raw[at] {
            b'"' => {
                at += json::string_length(&raw[at..]);
                continue;
            }
            byte if byte == open => depth += 1,
            _ => depth = depth.saturating_sub(1),
        }
        at += 1;
        if depth == 0 {
            return at;
        }
    }
    raw.len()
}

/// Calls `visit` with the values of the named members of each object in a raw list; of twins the
/// last counts. Elements of other types are passed over.
pub fn each_object<'a, const N: usize>(
    list: &'a [u8],
    names: [&str; N],
    mut visit: impl FnMut([Option<&'a [u8]>; N]),
) {
    let mut walk = Walk::new(list);
    if !walk.open(b'[') {
        return;
    }
    loop {
        if !walk.open(b'{') {
            match walk.pass() {
                Some(_) => continue,
                None => return,
            }
        }
        let mut values = [None; N];
        while let Some(name) = walk.pass() {
            let value = walk.pass();
            if let Some(place) = names.iter().position(|wanted| is_name(name, wanted)) {
                values[place] = value;
            }
        }
        visit(values);
    }
}

/// The raw value at a dotted path below a raw object. A member whose own name has dots is found
/// too: at each step the whole rest of the path is tried first.
pub fn at_path<'a>(object: &'a [u8], path: &str) -> Option<&'a [u8]> {
    let (step, below) = path.split_once('.').unwrap_or((path, ""));
    let (mut whole, mut first) = (None, None);
    let mut walk = Walk::new(object);
    if !walk.open(b'{') {
        return None;
    }
    while let Some(name) = walk.pass() {
        let value = walk.pass();
        if is_name(name, path) {
            whole = value;
        } else if !below.is_empty() && is_name(name, step) {
            first = value;
        }
    }
    whole.or_else(|| at_path(first?, below))
}

fn is_name(raw: &[u8], name: &str) -> bool {
    json::string_body(raw).is_some_and(|body| json::body_is(body, name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_stepped_through() {
        let raw = br#" { "a" : [1, {"b":"]\"}"}, []] , "c":-1.5e3,"d":{"e":[{}]},"f":null}"#;
        let mut walk = Walk::new(raw);
        assert!(!walk.open(b'['));
        assert!(walk.open(b'{'));
        assert_eq!(walk.pass(), Some(&b"\"a\""[..]));
        let mut inside = walk;
        assert!(inside.open(b'['));
        for want in [&b"1"[..], br#"{"b":"]\"}"}"#, b"[]"] {
            assert_eq!(inside.pass(), Some(want));
        }
        assert_eq!(inside.pass(), None);
        assert_eq!(inside.pass(), Some(&b"\"c\""[..]), "after the end of the list");
        for want in [r#"[1, {"b":"]\"}"}, []]"#, "\"c\"", "-1.5e3", "\"d\"", r#"{"e":[{}]}"#, "\"f\"", "null"]
        {
            assert_eq!(walk.pass(), Some(want.as_bytes()));
        }
        assert_eq!((walk.pass(), walk.pass()), (None, None));
    }

    #[test]
    fn named_members_of_each_object() {
        for (name, list, want) in [
            ("plain", r#"[{"name":"a","value":"b"},{"name":"c"}]"#, "a=b c="),
            ("order and others", r#"[ {"x":{"name":1},"value":"b", "name":"a"} ]"#, "a=b"),
            ("twins", r#"[{"name":"a","name":"c"}]"#, "c="),
            ("escaped", r#"[{"n\u0061me":"a"}]"#, "a="),
            ("other elements", r#"[1,[{"name":"no"}],"x",null,{"name":"a"}]"#, "a="),
            ("empty", "[]", ""),
            ("no list", r#"{"name":"a"}"#, ""),
            ("null", "null", ""),
            ("cut", r#"[{"name":"a""#, "a="),
        ] {
            let mut seen = Vec::new();
            each_object(list.as_bytes(), ["name", "value"], |values| {
                let texts = values.map(|raw| raw.and_then(json::string_body).unwrap_or_default());
                seen.push(texts.map(String::from_utf8_lossy).join("="));
            });
            assert_eq!(seen.join(" "), want, "{name}");
        }
    }

    #[test]
    fn paths_are_followed() {
        let object =
            br#"{"a":{"b":{"c":1},"b.c":2},"x.y":3,"x":{"y":4},"l":[{"a":1}],"t":5,"t":6,"u\u0076":7}"#;
        for (path, want) in [
            ("a.b.c", Some("2")),
            ("a.b", Some(r#"{"c":1}"#)),
            ("x.y", Some("3")),
            ("t", Some("6")),
            ("uv", Some("7")),
            ("l.a", None),
            ("t.a", None),
            ("A", None),
            ("", None),
            ("a.", None),
            (".", None),
        ] {
            assert_eq!(at_path(object, path), want.map(str::as_bytes), "{path}");
        }
        assert_eq!(at_path(b"[1]", "a"), None);
    }

    #[test]
    fn other_bytes_do_no_harm() {
        for raw in
            [&b"{"[..], b"{\"", b"{\"a", b"{\"a\":", b"{\"a\\", b"[[[", b"]", b"", b"{{\"a\":1", b"[}{"]
        {
            at_path(raw, "a.b");
            each_object(raw, ["a"], |_| {});
        }
    }
}
