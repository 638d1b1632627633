//! A bucket in memory that counts and logs the requests it is asked.
//!
//! Clones share one store. A page costs the keys on it and one tree search per folder, whatever
//! the size of the bucket.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use bytes::Bytes;
use chrono::{DateTime, TimeDelta, Utc};
use futures_util::{StreamExt, stream};

use crate::bucket::metered::RequestCounts;
use crate::bucket::{Body, Bucket, BucketError, GetRequest, ListPage, ListRequest, ObjectRef};
use crate::failure::Class;

/// Bytes per piece of a body: small enough that most objects of a test come in several.
const CHUNK_BYTES: usize = 64 * 1024;
/// As in a directory ([`crate::bucket::dir`]).
const YOUNG: TimeDelta = TimeDelta::minutes(1);

/// An object of a [`MemoryBucket`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredObject {
    /// Its bytes.
    pub bytes: Bytes,
    /// A hash of the bytes, without quotes.
    pub etag: String,
    /// When it was put.
    pub last_modified: DateTime<Utc>,
    /// Whether a GET is refused until it is restored.
    pub archived: bool,
}

/// One request as it came in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Call {
    /// A LIST.
    List(ListRequest),
    /// A GET.
    Get(GetRequest),
}

/// A bucket in memory.
#[derive(Clone, Debug)]
pub struct MemoryBucket {
    name: Arc<str>,
    store: Arc<Mutex<Store>>,
    counts: Arc<RequestCounts>,
}

#[derive(Debug, Default)]
struct Store {
    objects: BTreeMap<String, StoredObject>,
    clock: Option<DateTime<Utc>>,
    log: Vec<Call>,
    grows: bool,
}

impl MemoryBucket {
    /// An empty bucket without a clock: its pages have no date.
    pub fn new(name: impl Into<Arc<str>>) -> Self {
        MemoryBucket { name: name.into(), store: Arc::default(), counts: Arc::default() }
    }

    fn store(&self) -> MutexGuard<'_, Store> {
        self.store.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Stores an object, in place of an older one with this key; returns its ETag. The same
    /// bytes have the same ETag, as in S3.
    pub fn put(
        &self,
        key: impl Into<String>,
        bytes: impl Into<Bytes>,
        last_modified: DateTime<Utc>,
    ) -> String {
        let bytes = bytes.into();
        let etag = etag(&bytes);
        let object = StoredObject { bytes, etag: etag.clone(), last_modified, archived: false };
        self.store().objects.insert(key.into(), object);
        etag
    }

    /// Removes an object; returns whether it was there.
    pub fn delete(&self, key: &str) -> bool {
        self.store().objects.remove(key).is_some()
    }

    /// Moves an object to an archive class or restores it; returns whether it was there.
    pub fn set_archived(&self, key: &str, archived: bool) -> bool {
        let mut store = self.store();
        let object = store.objects.get_mut(key);
        object.map(|object| object.archived = archived).is_some()
    }

    /// Sets the clock that pages carry as their date; `None` for none.
    pub fn set_clock(&self, now: Option<DateTime<Utc>>) {
        self.store().clock = now;
    }

    /// The clock as it was set.
    pub fn clock(&self) -> Option<DateTime<Utc>> {
        self.store().clock
    }

    /// Whether objects younger than a minute, by the clock that was set, may still be written, as
    /// files of a directory are.
    pub fn set_grows(&self, grows: bool) {
        self.store().grows = grows;
    }

    /// The object at `key`.
    pub fn object(&self, key: &str) -> Option<StoredObject> {
        self.store().objects.get(key).cloned()
    }

    /// All keys, in byte order.
    pub fn keys(&self) -> Vec<String> {
        self.store().objects.keys().cloned().collect()
    }

    /// The number of objects.
    pub fn len(&self) -> usize {
        self.store().objects.len()
    }

    /// Whether there is no object.
    pub fn is_empty(&self) -> bool {
        self.store().objects.is_empty()
    }

    /// The bucket's name.
    pub fn name(&self) -> &Arc<str> {
        &self.name
    }

    /// The requests so far, those that failed included.
    pub fn counts(&self) -> &Arc<RequestCounts> {
        &self.counts
    }

    /// The requests in the order they came.
    pub fn log(&self) -> Vec<Call> {
        self.store().log.clone()
    }

    /// Forgets the log and begins the counts again at zero.
    pub fn forget_requests(&self) {
        self.store().log.clear();
        self.counts.reset();
    }

    /// A page of the listing, neither counted nor logged. Fails with [`Class::Unreachable`] on a
    /// token that is not this bucket's.
    pub fn page(&self, request: &ListRequest) -> Result<ListPage, BucketError> {
        let Some(start) = Start::of(request) else {
            let message = "InvalidArgument: the continuation token is incorrect";
            return Err(BucketError::list(Class::Unreachable, &self.name, request, message));
        };
        let after = request.start_after.as_deref().filter(|_| request.token.is_none());
        let store = self.store();
        let mut page = ListPage { date: store.clock, ..ListPage::default() };
        let mut keys = store.objects.range::<str, _>(start.bound());
        let mut place = start;
        while let Some((key, object)) = keys.next() {
            let Some(rest) = key.strip_prefix(&*request.prefix) else { break };
            let slash = rest.find('/').filter(|_| request.by_folder);
            let folder = slash.map(|slash| &key[..=request.prefix.len() + slash]);
            let skip = folder.map(Start::after_folder);
            if let Some(skip) = &skip {
                keys = store.objects.range::<str, _>(skip.bound());
            }
            // S3 leaves out a folder that does not lie after start-after
            if folder.is_some_and(|folder| after.is_some_and(|after| folder <= after)) {
                continue;
            }
            if page.objects.len() + page.folders.len() >= usize::from(request.keys_per_page()) {
                page.next = Some(place.token());
                break;
            }
            match folder {
                Some(folder) => page.folders.push(folder.to_owned()),
                None => page.objects.push(self.reference(key, object)),
            }
            place = skip.unwrap_or_else(|| Start::after(key));
        }
        Ok(page)
    }

    fn reference(&self, key: &str, object: &StoredObject) -> ObjectRef {
        ObjectRef {
            bucket: self.name.clone(),
            key: key.to_owned(),
            etag: object.etag.clone(),
            size: object.bytes.len() as u64,
            last_modified: object.last_modified,
            archived: object.archived,
        }
    }

    fn read(&self, request: &GetRequest) -> Result<Bytes, (Class, &'static str)> {
        let object = self.object(&request.key);
        let object = object.ok_or((Class::Gone, "NoSuchKey: the specified key does not exist"))?;
        if object.etag != request.if_match {
            return Err((Class::Replaced, "PreconditionFailed: the ETag is another one"));
        }
        if object.archived {
            return Err((Class::Archived, "InvalidObjectState: the object is archived"));
        }
        let from = usize::try_from(request.from).unwrap_or(usize::MAX);
        if from > 0 && from >= object.bytes.len() {
            return Err((Class::Object, "InvalidRange: the requested range is not satisfiable"));
        }
        Ok(object.bytes.slice(from..))
    }
}

#[async_trait]
impl Bucket for MemoryBucket {
    async fn list(&self, request: &ListRequest) -> Result<ListPage, BucketError> {
        self.counts.count_list();
        self.store().log.push(Call::List(request.clone()));
        self.page(request)
    }

    async fn get(&self, request: &GetRequest) -> Result<Body, BucketError> {
        self.counts.count_get();
        self.store().log.push(Call::Get(request.clone()));
        let bytes = self.read(request);
        let mut bytes = bytes.map_err(|(class, text)| BucketError::get(class, &self.name, request, text))?;
        let chunks = std::iter::from_fn(move || {
            let next = bytes.split_to(bytes.len().min(CHUNK_BYTES));
            (!next.is_empty()).then_some(Ok(next))
        });
        Ok(stream::iter(chunks).boxed())
    }

    fn may_be_unfinished(&self, last_modified: DateTime<Utc>) -> bool {
        let store = self.store();
        store.grows && store.clock.is_none_or(|now| now - last_modified < YOUNG)
    }
}

/// Where a page begins: keys greater than `key`, or equal to it when `included`.
pub(super) struct Start<'k> {
    pub(super) key: Cow<'k, str>,
    pub(super) included: bool,
}

impl<'k> Start<'k> {
    /// At a key.
    pub(super) fn at(key: &'k str) -> Self {
        Start { key: key.into(), included: true }
    }

    /// After a key.
    pub(super) fn after(key: &'k str) -> Self {
        Start { key: key.into(), included: false }
    }

    /// `None` for a token that no page gave out.
    pub(super) fn of(request: &'k ListRequest) -> Option<Self> {
        match (&request.token, &request.start_after) {
            (Some(token), _) => match token.split_at_checked(1)? {
                ("=", key) => Some(Start::at(key)),
                (">", key) => Some(Start::after(key)),
                _ => None,
            },
            (None, Some(after)) if *after >= request.prefix => Some(Start::after(after)),
            (None, _) => Some(Start::at(&request.prefix)),
        }
    }

    /// After all keys of `folder`, which ends in `/`: at the text with the next byte, `0`.
    pub(super) fn after_folder(folder: &str) -> Self {
        let key = format!("{}0", folder.strip_suffix('/').unwrap_or(folder)).into();
        Start { key, included: true }
    }

    fn bound(&self) -> (Bound<&str>, Bound<&str>) {
        let first = if self.included { Bound::Included(&*self.key) } else { Bound::Excluded(&*self.key) };
        (first, Bound::Unbounded)
    }

    pub(super) fn token(&self) -> String {
        format!("{}{}", if self.included { '=' } else { '>' }, self.key)
    }
}

/// FNV-1a over the bytes, with their number: stable, and other for other test data.
pub(super) fn etag(bytes: &[u8]) -> String {
    let hash = bytes.iter().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3)
    });
    format!("{hash:016x}{:08x}", bytes.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn requests_are_counted_and_logged() {
        let bucket = MemoryBucket::new("acme");
        let etag = bucket.put("a/b", "x", DateTime::UNIX_EPOCH);
        bucket.set_clock(Some(DateTime::UNIX_EPOCH));
        let list = ListRequest { prefix: "a/".into(), page_size: 5, ..ListRequest::default() };
        let get = GetRequest { key: "a/b".into(), if_match: etag, from: 0 };
        let page = bucket.clone().list(&list).await.expect("lists");
        assert_eq!(page.date, Some(DateTime::UNIX_EPOCH));
        assert!(bucket.get(&get).await.is_ok());
        assert!(bucket.set_archived("a/b", true));
        assert_eq!(bucket.get(&get).await.err().map(|error| error.class), Some(Class::Archived));
        assert_eq!((bucket.counts().list(), bucket.counts().get()), (1, 2));
        assert_eq!(bucket.log(), [Call::List(list), Call::Get(get.clone()), Call::Get(get)]);
        bucket.forget_requests();
        assert_eq!((bucket.counts().list(), bucket.log().len()), (0, 0));
    }

    #[test]
    fn a_foreign_token_is_refused() {
        for token in ["", "x", "é"] {
            let request = ListRequest { token: Some(token.into()), page_size: 1, ..ListRequest::default() };
            let error = MemoryBucket::new("acme").page(&request).expect_err("no page gave it out");
            assert_eq!(error.class, Class::Unreachable, "{token:?}");
        }
    }

    #[test]
    fn folders_are_skipped_without_reading_them() {
        let bucket = MemoryBucket::new("acme");
        for number in 0..1000 {
            bucket.put(format!("f{}/{number}", number % 2), "", DateTime::UNIX_EPOCH);
        }
        bucket.put("f0", "", DateTime::UNIX_EPOCH);
        bucket.put("f00", "", DateTime::UNIX_EPOCH);
        let mut request = ListRequest { by_folder: true, page_size: 1, ..ListRequest::default() };
        let mut seen = Vec::new();
        loop {
            let page = bucket.page(&request).expect("lists");
            seen.extend(page.objects.into_iter().map(|object| object.key));
            seen.extend(page.folders);
            request.token = page.next;
            if request.token.is_none() {
                break;
            }
        }
        assert_eq!(seen, ["f0", "f0/", "f00", "f1/"]);
    }
}
