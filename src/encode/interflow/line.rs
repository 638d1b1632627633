//! Appends members to a line, without a tree and without copies in between.

/// Appends a whole number.
#[inline(always)]
pub(in crate::encode) fn push_number(out: &mut Vec<u8>, number: i64) {
    let mut digits = [0; 20];
    let mut at = digits.len();
    let mut rest = number.unsigned_abs();
    loop {
        at -= 1;
        digits[at] = b'0' + (rest % 10) as u8;
        rest /= 10;
        if rest == 0 {
            break;
        }
    }
    if number < 0 {
        out.push(b'-');
    }
    out.extend_from_slice(&digits[at..]);
}

/// Appends `,"name":"body"`; nothing for `None`. `name` needs no escapes, `body` is escaped
/// already.
#[inline(always)]
pub(super) fn push_text(out: &mut Vec<u8>, name: &str, body: Option<&[u8]>) {
    let Some(body) = body else { return };
    out.reserve(name.len() + body.len() + 6);
    push_name(out, name);
    out.push(b'"');
    out.extend_from_slice(body);
    out.push(b'"');
}

/// Appends `,"name":`.
#[inline(always)]
pub(super) fn push_name(out: &mut Vec<u8>, name: &str) {
    out.extend_from_slice(b",\"");
    out.extend_from_slice(name.as_bytes());
    out.extend_from_slice(b"\":");
}

/// Appends `,"name":{…}` with the members that have a body; nothing when none has.
#[inline(always)]
pub(super) fn push_object(out: &mut Vec<u8>, name: &str, members: &[(&str, Option<&[u8]>)]) {
    push_nested(out, name, |out| {
        for (name, body) in members {
            push_text(out, name, *body);
        }
    });
}

/// Appends `,"name":{…}` with what `push_members` appends, each member with a comma before it;
/// nothing when that is nothing.
pub(super) fn push_nested(out: &mut Vec<u8>, name: &str, push_members: impl FnOnce(&mut Vec<u8>)) {
    let before = out.len();
    push_name(out, name);
    let open = out.len();
    push_members(out);
    if out.len() == open {
        out.truncate(before);
        return;
    }
    // The comma before the first member becomes the brace.
    out[open] = b'{';
    out.push(b'}');
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers() {
        for number in [0, 7, 10, -1, 1_688_990_793_000, i64::MAX, i64::MIN] {
            let mut out = Vec::new();
            push_number(&mut out, number);
            assert_eq!(String::from_utf8(out).unwrap(), number.to_string());
        }
    }

    #[test]
    fn members() {
        let mut out = Vec::new();
        push_text(&mut out, "a", Some(b"x\\n"));
        push_text(&mut out, "b", None);
        push_object(&mut out, "c", &[("d", None), ("e", Some(b"y")), ("f", Some(b"z"))]);
        push_object(&mut out, "g", &[("h", None)]);
        push_nested(&mut out, "i", |out| push_object(out, "j", &[("k", None)]));
        push_nested(&mut out, "l", |out| push_object(out, "m", &[("n", Some(b"1"))]));
        assert_eq!(
            String::from_utf8(out).unwrap(),
            r#","a":"x\n","c":{"e":"y","f":"z"},"l":{"m":{"n":"1"}}"#
        );
    }
}
