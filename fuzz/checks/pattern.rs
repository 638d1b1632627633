//! Any text as a prefix pattern, any other as keys.

use chrono::DateTime;

use s3sweep::pattern::{Discovery, Leaf, PrefixPattern, expand, just_before};

/// The first line is the pattern; all other lines are keys, or folders that a listing tells.
///
/// A text is a pattern that comes back from its normal form, or a mistake whose correction is a
/// pattern. Leaves can be asked about any key.
pub fn check(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let (first, keys) = text.split_once('\n').unwrap_or((text, text));
    for text in [first, text] {
        match PrefixPattern::parse(text) {
            Ok(pattern) => check_pattern(&pattern, keys),
            Err(error) => {
                assert!((1..=text.chars().count().max(1)).contains(&error.column), "{error}");
                assert!(!error.reason.is_empty());
                if let Some(corrected) = &error.corrected {
                    let pattern = PrefixPattern::parse(corrected).expect("a correction is a pattern");
                    check_pattern(&pattern, keys);
                }
            }
        }
    }
    for key in keys.lines() {
        if let Some(bound) = just_before(key) {
            assert!(bound.as_str() < key, "the bound lies before");
        }
    }
}

fn check_pattern(pattern: &PrefixPattern, keys: &str) {
    let normal = pattern.to_string();
    assert_eq!(PrefixPattern::parse(&normal).as_ref(), Ok(pattern), "the normal form is {normal:?}");

    let (from, to) = (DateTime::UNIX_EPOCH, DateTime::from_timestamp(90_000, 0).expect("a day later"));
    let mut before = None;
    for prefix in expand(pattern, from, to).take(30) {
        assert!(prefix.name.starts_with(&prefix.literal));
        assert!(before.is_none_or(|before| before < prefix.time), "oldest first");
        before = Some(prefix.time);
    }

    let mut waiting = vec![pattern.discovery()];
    let mut steps = 0;
    while let Some(discovery) = waiting.pop() {
        match discovery {
            Discovery::Leaf(leaf) => check_leaf(pattern, &leaf, keys),
            Discovery::Folders(query) => {
                for folder in keys.lines().flat_map(folders) {
                    steps += 1;
                    if steps < 50 {
                        waiting.extend(query.accept(folder));
                    }
                }
            }
        }
    }
}

/// All folders of a key, with the slash at their end.
fn folders(key: &str) -> impl Iterator<Item = &str> {
    key.match_indices('/').map(|(at, _)| &key[..=at])
}

fn check_leaf(pattern: &PrefixPattern, leaf: &Leaf, keys: &str) {
    assert_eq!(pattern.leaf(leaf.head()).as_ref(), Some(leaf), "a leaf comes back from its head");
    for at in [0, 951_782_400, 4_102_444_799] {
        let at = DateTime::from_timestamp(at, 0).expect("in range");
        let prefix = leaf.prefix(leaf.time_of(at));
        assert!(prefix.literal.starts_with(leaf.head()));
        leaf.prefix_of_key(&prefix.name);
    }
    for key in keys.lines().chain([keys, leaf.head()]) {
        let Some(time) = leaf.prefix_of_key(key) else { continue };
        let prefix = leaf.prefix(time);
        assert!(key.starts_with(&prefix.literal), "{key:?} belongs to {prefix:?}");
        assert_eq!(leaf.previous(leaf.next(time)), time);
    }
    if let Some(dates) = leaf.dates() {
        dates.latest();
        for name in keys.lines().flat_map(|key| folders(key).chain([key])) {
            dates.accept(name);
        }
    }
}
