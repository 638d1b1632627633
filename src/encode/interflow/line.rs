//! Appends members to a line, without a tree and without copies in between.

/// Appends a whole number.
pub(in crate::encode) fn push_number(out: &mut Vec<u8>, number: i64) {
    out.extend_from_slice(itoa::Buffer::new().format(number).as_bytes());
}

/// `,"name":`, which begins a member; `name` needs no escapes.
///
/// One piece, since a line has some fifty members and each piece costs a look at the room left.
macro_rules! member {
    ($name:literal) => {
        concat!(",\"", $name, "\":")
    };
}
pub(super) use member;

/// `,"name":"`, which begins a member that is a text.
macro_rules! text_member {
    ($name:literal) => {
        concat!(",\"", $name, "\":\"")
    };
}
pub(super) use text_member;

/// Appends a [`member!`], whose value follows.
#[inline(always)]
pub(super) fn push_name(out: &mut Vec<u8>, member: &'static str) {
    out.extend_from_slice(member.as_bytes());
}

/// Appends a [`text_member!`] with its text, escaped already; nothing for `None`.
#[inline(always)]
pub(super) fn push_text(out: &mut Vec<u8>, member: &'static str, body: Option<&[u8]>) {
    let Some(body) = body else { return };
    out.extend_from_slice(member.as_bytes());
    out.extend_from_slice(body);
    out.push(b'"');
}

/// Appends a [`member!`] that is an object of [`text_member!`]s, those that have a text; nothing
/// when none has.
#[inline(always)]
pub(super) fn push_object<const N: usize>(
    out: &mut Vec<u8>,
    member: &'static str,
    members: [(&'static str, Option<&[u8]>); N],
) {
    push_nested(out, member, |out| {
        for (member, body) in members {
            push_text(out, member, body);
        }
    });
}

/// Appends a [`member!`] that is an object of what `push_members` appends, each member with a
/// comma before it; nothing when that is nothing.
#[inline(always)]
pub(super) fn push_nested(out: &mut Vec<u8>, member: &'static str, push_members: impl FnOnce(&mut Vec<u8>)) {
    let before = out.len();
    push_name(out, member);
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
        push_text(&mut out, text_member!("a"), Some(b"x\\n"));
        push_text(&mut out, text_member!("b"), None);
        let texts = [
            (text_member!("d"), None),
            (text_member!("e"), Some(&b"y"[..])),
            (text_member!("f"), Some(b"z")),
        ];
        push_object(&mut out, member!("c"), texts);
        push_object(&mut out, member!("g"), [(text_member!("h"), None)]);
        push_nested(&mut out, member!("i"), |out| {
            push_object(out, member!("j"), [(text_member!("k"), None)])
        });
        push_nested(&mut out, member!("l"), |out| {
            push_object(out, member!("m"), [(text_member!("n"), Some(b"1"))]);
        });
        assert_eq!(
            String::from_utf8(out).unwrap(),
            r#","a":"x\n","c":{"e":"y","f":"z"},"l":{"m":{"n":"1"}}"#
        );
    }
}
