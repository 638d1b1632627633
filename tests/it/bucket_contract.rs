//! One contract for every bucket: the fake in memory, a directory, and S3 over HTTP, ours and
//! Ceph's.
//!
//! Each check runs against all of them; what only S3 has stands in `s3_only`.

mod places;
mod s3_only;

use std::collections::BTreeSet;

use bytes::Bytes;
use chrono::TimeDelta;
use futures_util::TryStreamExt;
use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::TestRunner;
use s3sweep::bucket::{Bucket, BucketError, GetRequest, ListRequest, ObjectRef};
use s3sweep::clock::{Clock as _, SystemClock};
use s3sweep::failure::Class;

use places::{Place, written};

/// What a listing gave in all its pages.
#[derive(Debug, Default, PartialEq)]
struct Listing {
    keys: Vec<String>,
    folders: Vec<String>,
    pages: usize,
}

/// Lists all pages and checks what holds for each: its size, and that keys and folders rise.
async fn list(bucket: &dyn Bucket, request: &ListRequest) -> Result<(Listing, Vec<ObjectRef>), BucketError> {
    let mut request = request.clone();
    let (mut listing, mut objects) = (Listing::default(), Vec::new());
    loop {
        let page = bucket.list(&request).await?;
        let entries = page.objects.len() + page.folders.len();
        assert!(entries <= usize::from(request.page_size), "{entries} on a page of {}", request.page_size);
        assert!(entries > 0 || page.next.is_none(), "an empty page that is not the last");
        listing.pages += 1;
        listing.keys.extend(page.objects.iter().map(|object| object.key.clone()));
        listing.folders.extend(page.folders);
        objects.extend(page.objects);
        request.token = page.next;
        if request.token.is_none() {
            break;
        }
    }
    for names in [&listing.keys, &listing.folders] {
        assert!(names.windows(2).all(|pair| pair[0].as_bytes() < pair[1].as_bytes()), "must rise: {names:?}");
    }
    Ok((listing, objects))
}

async fn keys(bucket: &dyn Bucket, request: &ListRequest) -> Vec<String> {
    list(bucket, request).await.expect("the bucket lists").0.keys
}

async fn read(bucket: &dyn Bucket, object: &ObjectRef, from: u64) -> Result<Vec<u8>, BucketError> {
    let request = GetRequest { key: object.key.clone(), if_match: object.etag.clone(), from };
    let chunks: Vec<Bytes> = bucket.get(&request).await?.try_collect().await?;
    Ok(chunks.concat())
}

fn page_of(page_size: u16) -> ListRequest {
    ListRequest { page_size, ..ListRequest::default() }
}

fn under(prefix: &str) -> ListRequest {
    ListRequest { prefix: prefix.into(), ..page_of(1000) }
}

fn class_of<T>(result: Result<T, BucketError>) -> Option<Class> {
    result.err().map(|error| error.class)
}

/// Keys that some encoding on the way could spoil.
fn awkward_keys(any_key: bool) -> Vec<String> {
    let names = [
        "plain",
        "a+b",
        "a b",
        " lead",
        "trail ",
        "a%b",
        "a%2Bb",
        "a%20b",
        "100%",
        "k=v",
        "a&b",
        "a?b",
        "a#b",
        "a<b>\"c'",
        "é",
        "e\u{301}",
        "日本",
        "🦀",
        "\u{10FFFF}",
        "~",
        "a\u{1}b",
        "a\nb",
        "a\rb",
        "a\tb",
        "a\u{7f}b",
        "a\\b",
        "a;b:c@d,e$f!",
        "*",
        "[x]{y}",
        "...",
        "a\u{feff}b",
        "\u{fffd}",
        "year=/2020",
        "deep/er/and/deep",
    ];
    let odd = ["/lead", "a//b", "//", "tail/", "x/./y", "x/../y", "plain/below"];
    let mut keys: Vec<String> =
        names.iter().flat_map(|name| [name.to_string(), format!("in/{name}")]).collect();
    if any_key {
        keys.extend(odd.map(String::from));
    }
    keys
}

async fn awkward_keys_survive(place: Place) {
    let keys: BTreeSet<String> = awkward_keys(place.any_key).into_iter().collect();
    for key in &keys {
        (place.put)(key, key.as_bytes());
    }
    let (listing, objects) = list(&*place.bucket, &page_of(7)).await.expect("lists");
    assert_eq!(listing.keys, Vec::from_iter(keys.iter().cloned()));
    for object in &objects {
        let bytes = read(&*place.bucket, object, 0).await.unwrap_or_else(|error| panic!("{error}"));
        assert_eq!(bytes, object.key.as_bytes(), "{:?}", object.key);
    }
    for key in &keys {
        let with_prefix = self::keys(&*place.bucket, &under(key)).await;
        let expected: Vec<_> = keys.iter().filter(|other| other.starts_with(&**key)).cloned().collect();
        assert_eq!(with_prefix, expected, "prefix {key:?}");
        let after = ListRequest { start_after: Some(key.clone()), ..page_of(1000) };
        let expected: Vec<_> = keys.iter().filter(|other| *other > key).cloned().collect();
        assert_eq!(self::keys(&*place.bucket, &after).await, expected, "start after {key:?}");
    }
}

async fn pages_of_any_size_give_all_keys(place: Place) {
    let mut all: Vec<String> =
        (0..2510).map(|number| format!("log/{}/{number:05}.gz", number / 400)).collect();
    all.extend((0..40).map(|number| format!("log-{number:02}")));
    for key in &all {
        (place.put)(key, b"x");
    }
    all.sort();
    for size in [1000, 333, 61] {
        let (listing, _) = list(&*place.bucket, &page_of(size)).await.expect("lists");
        assert_eq!(listing.keys, all, "pages of {size}");
        assert_eq!(listing.pages, all.len().div_ceil(usize::from(size)), "pages of {size}");
    }
    // as many keys as a page takes: one page, and no token to an empty one
    let exact = ListRequest { prefix: "log/0/".into(), ..page_of(400) };
    let (listing, _) = list(&*place.bucket, &exact).await.expect("lists");
    assert_eq!((listing.keys.len(), listing.pages), (400, 1));
}

async fn listed_objects_say_what_they_are(place: Place) {
    (place.put)("logs/a", b"12345");
    let (_, objects) = list(&*place.bucket, &page_of(10)).await.expect("lists");
    let [object] = &objects[..] else { panic!("one object was put: {objects:?}") };
    assert_eq!((&*object.key, object.size, object.archived), ("logs/a", 5, false));
    assert!(!object.etag.is_empty() && !object.etag.contains('"'), "{object:?}");
    assert_eq!(*object.bucket, *place.name);
    if place.sets_times {
        assert_eq!(object.last_modified, written());
    } else {
        assert!((SystemClock.now() - object.last_modified).abs() < TimeDelta::minutes(1), "{object:?}");
    }
}

async fn start_after_is_exclusive(place: Place) {
    for key in ["a", "b/1", "b/2", "b0", "c"] {
        (place.put)(key, b"x");
    }
    for (name, prefix, after, expected) in [
        ("a key", "", "b/1", vec!["b/2", "b0", "c"]),
        ("no such key", "", "b/1x", vec!["b/2", "b0", "c"]),
        ("a folder", "", "b/", vec!["b/1", "b/2", "b0", "c"]),
        ("a folder's name", "", "b", vec!["b/1", "b/2", "b0", "c"]),
        ("past a folder", "", "b/~", vec!["b0", "c"]),
        ("before all", "", " ", vec!["a", "b/1", "b/2", "b0", "c"]),
        ("empty", "", "", vec!["a", "b/1", "b/2", "b0", "c"]),
        ("the last key", "", "c", vec![]),
        ("past all", "", "~", vec![]),
        ("before the prefix", "b/", "a", vec!["b/1", "b/2"]),
        ("within the prefix", "b/", "b/1", vec!["b/2"]),
        ("past the prefix", "b/", "b0", vec![]),
        ("a prefix that is no folder", "b", "b/2", vec!["b0"]),
    ] {
        for page_size in [1, 1000] {
            let request =
                ListRequest { prefix: prefix.into(), start_after: Some(after.into()), ..page_of(page_size) };
            assert_eq!(keys(&*place.bucket, &request).await, expected, "{name}, pages of {page_size}");
        }
    }
}

async fn prefixes_are_strings(place: Place) {
    for key in ["logs/app-1/x", "logs/app-2", "logs/app/y", "logs/apple", "logs2"] {
        (place.put)(key, b"x");
    }
    for (prefix, expected) in [
        ("logs/app-", vec!["logs/app-1/x", "logs/app-2"]),
        ("logs/app", vec!["logs/app-1/x", "logs/app-2", "logs/app/y", "logs/apple"]),
        ("logs/app/", vec!["logs/app/y"]),
        ("logs/app/y", vec!["logs/app/y"]),
        ("logs/app/y/", vec![]),
        ("logs", vec!["logs/app-1/x", "logs/app-2", "logs/app/y", "logs/apple", "logs2"]),
        ("/", vec![]),
        ("logs//", vec![]),
        ("Logs", vec![]),
        ("none/such", vec![]),
    ] {
        assert_eq!(keys(&*place.bucket, &under(prefix)).await, expected, "{prefix}");
    }
}

async fn folders_are_grouped(place: Place) {
    for key in ["top", "a/1", "a/b/2", "a/b/3", "a-b/4", "a0", "z/y/x/w"] {
        (place.put)(key, b"x");
    }
    for (prefix, files, folders) in [
        ("", vec!["a0", "top"], vec!["a-b/", "a/", "z/"]),
        ("a", vec!["a0"], vec!["a-b/", "a/"]),
        ("a/", vec!["a/1"], vec!["a/b/"]),
        ("a/b", vec![], vec!["a/b/"]),
        ("z/", vec![], vec!["z/y/"]),
        ("top/", vec![], vec![]),
    ] {
        for page_size in [1, 2, 1000] {
            let request = ListRequest { prefix: prefix.into(), by_folder: true, ..page_of(page_size) };
            let (listing, _) = list(&*place.bucket, &request).await.expect("lists");
            assert_eq!(
                (listing.keys, listing.folders),
                (to_strings(&files), to_strings(&folders)),
                "{prefix}"
            );
        }
    }
}

fn to_strings(names: &[&str]) -> Vec<String> {
    names.iter().map(|name| name.to_string()).collect()
}

async fn more_than_a_thousand_folders_come(place: Place) {
    let folders: Vec<String> = (0..1203).map(|number| format!("org/{number:012}/")).collect();
    for folder in &folders {
        (place.put)(&format!("{folder}CloudTrail/x"), b"x");
    }
    for page_size in [1000, 97] {
        let request = ListRequest { prefix: "org/".into(), by_folder: true, ..page_of(page_size) };
        let (listing, objects) = list(&*place.bucket, &request).await.expect("lists");
        assert_eq!((listing.folders, objects), (folders.clone(), vec![]));
        assert_eq!(listing.pages, folders.len().div_ceil(usize::from(page_size)));
    }
}

async fn reads_are_pinned_to_the_listed_object(place: Place) {
    (place.put)("k", b"first");
    let (_, objects) = list(&*place.bucket, &page_of(1)).await.expect("lists");
    assert_eq!(read(&*place.bucket, &objects[0], 0).await.expect("the ETag holds"), b"first");
    (place.put)("k", b"second one");
    assert_eq!(class_of(read(&*place.bucket, &objects[0], 0).await), Some(Class::Replaced));
    assert_eq!(class_of(read(&*place.bucket, &objects[0], 2).await), Some(Class::Replaced), "with a range");
    let (_, fresh) = list(&*place.bucket, &page_of(1)).await.expect("lists");
    assert_ne!(fresh[0].etag, objects[0].etag);
    assert_eq!(read(&*place.bucket, &fresh[0], 0).await.expect("the ETag holds"), b"second one");
    (place.delete)("k");
    let error = read(&*place.bucket, &fresh[0], 0).await.expect_err("it was deleted");
    assert_eq!((error.class, error.operation, &*error.key), (Class::Gone, "GET", "k"));
    (place.put)("k/below", b"x");
    assert_eq!(class_of(read(&*place.bucket, &fresh[0], 0).await), Some(Class::Gone), "now a folder");
}

async fn ranges_begin_where_asked(place: Place) {
    let bytes: Vec<u8> = (0..700_000_u32).map(|number| (number % 251) as u8).collect();
    (place.put)("big", &bytes);
    (place.put)("empty", b"");
    let (_, objects) = list(&*place.bucket, &page_of(10)).await.expect("lists");
    let [big, empty] = &objects[..] else { panic!("two objects were put") };
    for from in [0, 1, 65_536, 500_001, 699_999] {
        let read = read(&*place.bucket, big, from as u64).await.expect("reads");
        assert!(read == bytes[from..], "from {from}: {} bytes", read.len());
    }
    for from in [700_000, 700_001, u64::MAX / 2] {
        assert_eq!(class_of(read(&*place.bucket, big, from).await), Some(Class::Object), "from {from}");
    }
    assert_eq!(read(&*place.bucket, empty, 0).await.expect("reads"), b"");
    assert_eq!(class_of(read(&*place.bucket, empty, 1).await), Some(Class::Object));
}

async fn an_empty_bucket_lists(place: Place) {
    for by_folder in [false, true] {
        let request = ListRequest { by_folder, ..page_of(10) };
        let (listing, objects) = list(&*place.bucket, &request).await.expect("lists");
        assert_eq!((listing, objects), (Listing { pages: 1, ..Listing::default() }, vec![]));
    }
}

/// What a listing must give, by the shortest code that says it.
fn model(keys: &BTreeSet<String>, request: &ListRequest) -> (Vec<String>, Vec<String>) {
    let after = request.start_after.as_deref();
    let (mut files, mut folders) = (Vec::new(), BTreeSet::new());
    for key in keys {
        let Some(rest) = key.strip_prefix(&*request.prefix) else { continue };
        if after.is_some_and(|after| &**key <= after) {
            continue;
        }
        match rest.split_once('/').filter(|_| request.by_folder) {
            Some((name, _)) => drop(folders.insert(format!("{}{name}/", request.prefix))),
            None => files.push(key.clone()),
        }
    }
    (files, folders.into_iter().collect())
}

/// A key of few different characters, so that prefixes and folders coincide often.
fn some_key() -> impl Strategy<Value = String> {
    proptest::string::string_regex("[ab/+é.0-]{1,6}").expect("the expression is valid")
}

fn some_request() -> impl Strategy<Value = ListRequest> {
    let text = || proptest::string::string_regex("[ab/+é.0-]{0,4}").expect("the expression is valid");
    (text(), proptest::option::of(text()), any::<bool>(), 1..5_u16).prop_map(
        |(prefix, start_after, by_folder, page_size)| ListRequest {
            prefix,
            // stores differ on start-after together with a delimiter, and no sweep asks for both
            start_after: start_after.filter(|_| !by_folder),
            by_folder,
            token: None,
            page_size,
        },
    )
}

/// The keys that can lie in one directory: no odd segments, no file that is a folder as well.
fn paths_only(keys: BTreeSet<String>) -> BTreeSet<String> {
    let odd = |key: &String| key.split('/').any(|segment| matches!(segment, "" | "." | ".."));
    let keys: BTreeSet<String> = keys.into_iter().filter(|key| !odd(key)).collect();
    let is_folder = |key: &String| keys.iter().any(|other| other.starts_with(&format!("{key}/")));
    keys.iter().filter(|key| !is_folder(key)).cloned().collect()
}

async fn listings_match_the_model(make: impl AsyncFn() -> Option<Place>) {
    let mut runner = TestRunner::default();
    let cases =
        (proptest::collection::btree_set(some_key(), 0..30), proptest::collection::vec(some_request(), 12));
    for _ in 0..24 {
        let (keys, requests) = cases.new_tree(&mut runner).expect("no value is rejected").current();
        let Some(place) = make().await else { return };
        let keys = if place.any_key { keys } else { paths_only(keys) };
        for key in &keys {
            (place.put)(key, b"x");
        }
        for request in requests {
            let (listing, _) = list(&*place.bucket, &request).await.expect("lists");
            let expected = model(&keys, &request);
            assert_eq!((listing.keys, listing.folders), expected, "{request:?} of {keys:?}");
        }
    }
}

macro_rules! contract {
    ($($check:ident)*) => {
        contract!(@ memory memory_place $($check)*);
        contract!(@ dir dir_place $($check)*);
        contract!(@ s3 s3_place $($check)*);
        contract!(@ radosgw radosgw_place $($check)*);
    };
    (@ $kind:ident $make:ident $($check:ident)*) => {
        mod $kind {
            $(
                #[tokio::test(flavor = "multi_thread")]
                async fn $check() {
                    if let Some(place) = super::places::$make().await {
                        super::$check(place).await;
                    }
                }
            )*

            #[tokio::test(flavor = "multi_thread")]
            async fn listings_match_the_model() {
                super::listings_match_the_model(super::places::$make).await;
            }
        }
    };
}

contract! {
    awkward_keys_survive
    pages_of_any_size_give_all_keys
    listed_objects_say_what_they_are
    start_after_is_exclusive
    prefixes_are_strings
    folders_are_grouped
    more_than_a_thousand_folders_come
    reads_are_pinned_to_the_listed_object
    ranges_begin_where_asked
    an_empty_bucket_lists
}
