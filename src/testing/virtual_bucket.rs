//! A bucket that computes its listing: 100 million keys cost no memory.
//!
//! Keys lie in CloudTrail's layout, evenly over accounts, regions, days and the minutes of a day,
//! and appear as the bucket's clock moves on. A page costs the keys on it and one binary search
//! per folder, whatever the number of keys before it.

use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use bytes::Bytes;
use chrono::{DateTime, NaiveDate, TimeDelta, Utc};
use futures_util::{StreamExt, stream};

use super::memory::{Start, etag};
use crate::bucket::{Body, Bucket, BucketError, GetRequest, ListPage, ListRequest, ObjectRef};
use crate::failure::Class;

const MINUTES_OF_DAY: u64 = 24 * 60;

/// How many keys a [`VirtualBucket`] has, and where.
#[derive(Clone, Debug)]
pub struct VirtualShape {
    /// Accounts, at most 1,000.
    pub accounts: u64,
    /// Regions of each account.
    pub regions: Vec<String>,
    /// The first day with keys.
    pub first_day: NaiveDate,
    /// Days with keys.
    pub days: u64,
    /// Keys per account, region and day, 1 to 1,440.
    pub keys_per_day: u64,
    /// How long after the time in its key an object appears.
    pub delivery: TimeDelta,
}

impl VirtualShape {
    /// 100 accounts in 17 regions, 81 keys per day in each for 730 days: 100.5 million.
    pub fn large(first_day: NaiveDate) -> Self {
        let regions = [
            "ap-northeast-1",
            "ap-northeast-2",
            "ap-northeast-3",
            "ap-south-1",
            "ap-southeast-1",
            "ap-southeast-2",
            "ca-central-1",
            "eu-central-1",
            "eu-north-1",
            "eu-west-1",
            "eu-west-2",
            "eu-west-3",
            "sa-east-1",
            "us-east-1",
            "us-east-2",
            "us-west-1",
            "us-west-2",
        ];
        VirtualShape {
            accounts: 100,
            regions: regions.map(str::to_owned).to_vec(),
            first_day,
            days: 730,
            keys_per_day: 81,
            delivery: TimeDelta::minutes(5),
        }
    }

    /// Keys once all days are over.
    pub fn keys(&self) -> u64 {
        self.accounts * self.regions.len() as u64 * self.days * self.keys_per_day
    }
}

/// A bucket whose objects all have the same bytes and whose keys follow from a
/// [`VirtualShape`]. Clones share the clock.
#[derive(Clone, Debug)]
pub struct VirtualBucket {
    name: Arc<str>,
    shape: Arc<VirtualShape>,
    body: Bytes,
    etag: String,
    clock: Arc<Mutex<DateTime<Utc>>>,
}

impl VirtualBucket {
    /// A bucket at the time `now`, whose objects are `body`.
    pub fn new(
        name: impl Into<Arc<str>>,
        mut shape: VirtualShape,
        body: impl Into<Bytes>,
        now: DateTime<Utc>,
    ) -> Self {
        // by byte order of the folders, which end in `/`
        shape.regions.sort_by_key(|region| format!("{region}/"));
        shape.regions.dedup();
        shape.keys_per_day = shape.keys_per_day.clamp(1, MINUTES_OF_DAY);
        let body = body.into();
        VirtualBucket {
            name: name.into(),
            etag: etag(&body),
            shape: Arc::new(shape),
            body,
            clock: Arc::new(Mutex::new(now)),
        }
    }

    /// Moves the clock: pages carry it as their date, and objects that are due appear.
    pub fn set_clock(&self, now: DateTime<Utc>) {
        *self.clock.lock().unwrap_or_else(PoisonError::into_inner) = now;
    }

    /// The keys at the bucket's present time.
    fn keys(&self) -> Keys<'_> {
        let now = *self.clock.lock().unwrap_or_else(PoisonError::into_inner);
        let mut keys = Keys { shape: &self.shape, now, per_leaf: u64::MAX };
        let due = |number: &u64| keys.modified(*number) <= now;
        keys.per_leaf = partition_point(self.shape.days * self.shape.keys_per_day, due);
        keys
    }

    /// Every object at the bucket's present time, in byte order.
    pub fn objects(&self) -> impl Iterator<Item = ObjectRef> + '_ {
        let keys = self.keys();
        (0..keys.len()).map(move |index| self.reference(&keys, index, keys.at(index)))
    }

    /// A page of the listing. Fails with [`Class::Unreachable`] on a token that is not this
    /// bucket's.
    fn page(&self, request: &ListRequest) -> Result<ListPage, BucketError> {
        let Some(start) = Start::of(request) else {
            let message = "InvalidArgument: the continuation token is incorrect";
            return Err(BucketError::list(Class::Unreachable, &self.name, request, message));
        };
        let after = request.start_after.as_deref().filter(|_| request.token.is_none());
        let keys = self.keys();
        let mut page = ListPage { date: Some(keys.now), ..ListPage::default() };
        let mut index = keys.seek(&start);
        let mut place = start;
        while index < keys.len() {
            let key = keys.at(index);
            let Some(rest) = key.strip_prefix(&*request.prefix) else { break };
            let slash = rest.find('/').filter(|_| request.by_folder);
            let folder = slash.map(|slash| key[..=request.prefix.len() + slash].to_owned());
            let next = match &folder {
                Some(folder) => Start::after_folder(folder),
                None => Start { key: key.clone().into(), included: false },
            };
            let next_index = if folder.is_some() { keys.seek(&next) } else { index + 1 };
            // S3 leaves out a folder that does not lie after start-after
            let is_passed =
                folder.as_deref().is_some_and(|folder| after.is_some_and(|after| folder <= after));
            if !is_passed {
                if page.objects.len() + page.folders.len() >= usize::from(request.keys_per_page()) {
                    page.next = Some(place.token());
                    break;
                }
                match folder {
                    Some(folder) => page.folders.push(folder),
                    None => page.objects.push(self.reference(&keys, index, key)),
                }
                place = next;
            }
            index = next_index;
        }
        Ok(page)
    }

    fn reference(&self, keys: &Keys<'_>, index: u64, key: String) -> ObjectRef {
        ObjectRef {
            bucket: self.name.clone(),
            key,
            etag: self.etag.clone(),
            size: self.body.len() as u64,
            last_modified: keys.modified(index % keys.per_leaf),
            archived: false,
        }
    }

    fn read(&self, request: &GetRequest) -> Result<Bytes, (Class, &'static str)> {
        let keys = self.keys();
        let index = keys.seek(&Start::at(&request.key));
        if index >= keys.len() || keys.at(index) != request.key {
            return Err((Class::Gone, "NoSuchKey: the specified key does not exist"));
        }
        if request.if_match != self.etag {
            return Err((Class::Replaced, "PreconditionFailed: the ETag is another one"));
        }
        let from = usize::try_from(request.from).unwrap_or(usize::MAX);
        if from > 0 && from >= self.body.len() {
            return Err((Class::Object, "InvalidRange: the requested range is not satisfiable"));
        }
        Ok(self.body.slice(from..))
    }
}

#[async_trait]
impl Bucket for VirtualBucket {
    async fn list(&self, request: &ListRequest) -> Result<ListPage, BucketError> {
        self.page(request)
    }

    async fn get(&self, request: &GetRequest) -> Result<Body, BucketError> {
        let bytes = self.read(request);
        let bytes = bytes.map_err(|(class, text)| BucketError::get(class, &self.name, request, text))?;
        Ok(stream::iter([Ok(bytes)]).boxed())
    }
}

/// The keys at one instant, by their position in byte order.
///
/// A leaf is one account and region, numbered in byte order; every leaf has the same times, so
/// position `i` is key `i % per_leaf` of leaf `i / per_leaf`.
struct Keys<'a> {
    shape: &'a VirtualShape,
    now: DateTime<Utc>,
    /// Keys of each leaf that have appeared.
    per_leaf: u64,
}

impl Keys<'_> {
    fn len(&self) -> u64 {
        self.shape.accounts * self.shape.regions.len() as u64 * self.per_leaf
    }

    /// The time in the key of this number within its leaf.
    fn time(&self, number: u64) -> DateTime<Utc> {
        let (day, slot) = (number / self.shape.keys_per_day, number % self.shape.keys_per_day);
        let minutes = day * MINUTES_OF_DAY + slot * MINUTES_OF_DAY / self.shape.keys_per_day;
        let first = self.shape.first_day.and_time(chrono::NaiveTime::MIN).and_utc();
        first + TimeDelta::minutes(i64::try_from(minutes).unwrap_or(0))
    }

    fn modified(&self, number: u64) -> DateTime<Utc> {
        self.time(number) + self.shape.delivery
    }

    /// The key at a position below [`Keys::len`].
    fn at(&self, index: u64) -> String {
        let (leaf, number) = (index / self.per_leaf, index % self.per_leaf);
        let regions = self.shape.regions.len() as u64;
        let (account, region) = (100_000_000_000 + leaf / regions, (leaf % regions) as usize);
        let region = &self.shape.regions[region];
        let time = self.time(number);
        let (day, stamp) = (time.format("%Y/%m/%d"), time.format("%Y%m%dT%H%MZ"));
        // any 16 letters or digits, as in real keys, others for each key
        let suffix = index.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ leaf;
        format!(
            "AWSLogs/{account}/CloudTrail/{region}/{day}/{account}_CloudTrail_{region}_{stamp}_{suffix:016x}.json.gz"
        )
    }

    /// The first position whose key lies at or past `start`.
    fn seek(&self, start: &Start<'_>) -> u64 {
        partition_point(self.len(), |index| {
            let key = self.at(*index);
            *key < *start.key || (*key == *start.key && !start.included)
        })
    }
}

/// The first number below `end` for which `is_before` does not hold, or `end`.
fn partition_point(end: u64, is_before: impl Fn(&u64) -> bool) -> u64 {
    let (mut low, mut high) = (0, end);
    while low < high {
        let middle = low + (high - low) / 2;
        if is_before(&middle) { low = middle + 1 } else { high = middle }
    }
    low
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::testing::MemoryBucket;

    fn at(text: &str) -> DateTime<Utc> {
        text.parse().expect("an instant")
    }

    /// Two accounts in three regions, one of them the beginning of another; amid the third day.
    fn small() -> VirtualBucket {
        let shape = VirtualShape {
            accounts: 2,
            regions: ["us-east-1", "us-east-10", "ap-south-1"].map(str::to_owned).to_vec(),
            first_day: at("2025-12-30T00:00:00Z").date_naive(),
            days: 4,
            keys_per_day: 5,
            delivery: TimeDelta::minutes(5),
        };
        VirtualBucket::new("acme", shape, "an object", at("2026-01-01T12:00:00Z"))
    }

    /// The same objects, stored.
    fn stored(bucket: &VirtualBucket) -> MemoryBucket {
        let memory = MemoryBucket::new("acme");
        for object in bucket.objects() {
            memory.put(object.key, bucket.body.clone(), object.last_modified);
        }
        memory.set_clock(Some(at("2026-01-01T12:00:00Z")));
        memory
    }

    #[test]
    fn objects_appear_with_time() {
        let bucket = small();
        // 5 + 5 + those at 0:00, 4:48 and 9:36 of the third day
        assert_eq!(bucket.objects().count(), 6 * 13);
        let times = [("2025-12-29T23:00:00Z", 0), ("2025-12-30T00:04:59Z", 0), ("2025-12-30T00:05:00Z", 6)];
        for (now, count) in times.into_iter().chain([("2027-01-01T00:00:00Z", 6 * 20)]) {
            bucket.set_clock(at(now));
            assert_eq!(bucket.objects().count(), count, "{now}");
        }
        assert_eq!(small().shape.keys(), 6 * 20);
        assert!(VirtualShape::large(NaiveDate::MIN).keys() >= 100_000_000);
    }

    #[tokio::test]
    async fn objects_are_read_as_they_are_stored() {
        let bucket = small();
        let memory = stored(&bucket);
        let object = bucket.objects().nth(17).expect("there are more");
        let read =
            |key: &str, if_match: &str, from| GetRequest { key: key.into(), if_match: if_match.into(), from };
        for request in [
            read(&object.key, &object.etag, 0),
            read(&object.key, &object.etag, 3),
            read(&object.key, &object.etag, 9),
            read(&object.key, "other", 0),
            read("AWSLogs/", &object.etag, 0),
            read("z", &object.etag, 0),
        ] {
            let outcome = |body: Result<Body, BucketError>| async move {
                match body {
                    Ok(body) => Ok(body.map(|part| part.expect("whole")).collect::<Vec<_>>().await.concat()),
                    Err(error) => Err(error.class),
                }
            };
            let ours = outcome(bucket.get(&request).await).await;
            assert_eq!(ours, outcome(memory.get(&request).await).await, "{request:?}");
        }
    }

    /// `key` cut at a folder, anywhere or nowhere, sometimes with another letter behind.
    fn near(key: &str, cut: prop::sample::Index, behind: &str) -> String {
        let folders: Vec<_> = key.match_indices('/').map(|(at, _)| at + 1).collect();
        let end = match cut.index(4) {
            0 => key.len(),
            1 => cut.index(key.len() + 1),
            _ => folders[cut.index(folders.len())],
        };
        format!("{}{behind}", &key[..end])
    }

    /// A prefix, and a text to start after that often lies below it.
    fn prefix_and_start() -> impl Strategy<Value = (String, Option<String>)> {
        let keys: Vec<_> = small().objects().map(|object| object.key).collect();
        let key = prop::sample::select(keys);
        let cut = any::<prop::sample::Index>();
        let behind = prop::sample::select(vec!["", "", "", "", "/", "0", "1", "Z", "~", "\u{1}"]);
        let text = (cut, behind);
        (key.clone(), prop::option::of(key), text.clone(), prop::option::of(text)).prop_map(
            |(key, other, (cut, behind), start)| {
                let start = start.map(|(cut, behind)| near(other.as_ref().unwrap_or(&key), cut, behind));
                (near(&key, cut, behind), start)
            },
        )
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(600))]
        #[test]
        fn it_lists_what_a_stored_bucket_lists(
            (prefix, start_after) in prefix_and_start(),
            by_folder: bool,
            page_size in 1_u16..20,
        ) {
            let bucket = small();
            let memory = stored(&bucket);
            let mut request = ListRequest { prefix, start_after, by_folder, token: None, page_size };
            loop {
                let ours = bucket.page(&request).expect("a token of this bucket");
                let theirs = memory.page(&request).expect("the same token");
                prop_assert_eq!(&ours.objects, &theirs.objects, "{:?}", request);
                prop_assert_eq!(&ours.folders, &theirs.folders, "{:?}", request);
                prop_assert_eq!(&ours.next, &theirs.next, "{:?}", request);
                prop_assert_eq!(ours.date, theirs.date);
                match ours.next {
                    Some(token) => request.token = Some(token),
                    None => break,
                }
            }
        }
    }
}
