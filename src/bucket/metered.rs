//! Counts the requests that a bucket is asked: LIST and GET are what a sweep costs.
//!
//! Every request is counted when it is sent, those that fail included, since S3 bills them too.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use async_trait::async_trait;
use chrono::{DateTime, Utc};

use super::{Body, Bucket, BucketError, GetRequest, ListPage, ListRequest, Signer};

/// How many requests were sent. Shared, and safe to read while requests are under way.
#[derive(Debug, Default)]
pub struct RequestCounts {
    list: AtomicU64,
    get: AtomicU64,
}

impl RequestCounts {
    /// LIST requests so far, one per page.
    pub fn list(&self) -> u64 {
        self.list.load(Ordering::Relaxed)
    }

    /// GET requests so far.
    pub fn get(&self) -> u64 {
        self.get.load(Ordering::Relaxed)
    }

    /// Counts one LIST.
    pub fn count_list(&self) {
        self.list.fetch_add(1, Ordering::Relaxed);
    }

    /// Counts one GET.
    pub fn count_get(&self) {
        self.get.fetch_add(1, Ordering::Relaxed);
    }

    /// Begins again at zero.
    pub fn reset(&self) {
        self.list.store(0, Ordering::Relaxed);
        self.get.store(0, Ordering::Relaxed);
    }
}

/// A bucket whose requests are counted.
#[derive(Debug)]
pub struct Metered<B> {
    inner: B,
    counts: Arc<RequestCounts>,
    /// Repeats of the inner bucket, LIST and GET, that are counted or older than this.
    repeats: [AtomicU64; 2],
}

impl<B: Bucket> Metered<B> {
    /// Counts the requests to `inner` in `counts`.
    pub fn new(inner: B, counts: Arc<RequestCounts>) -> Self {
        let repeats = repeats_of(&inner).map(AtomicU64::new);
        Metered { inner, counts, repeats }
    }

    /// Where the requests are counted.
    pub fn counts(&self) -> &Arc<RequestCounts> {
        &self.counts
    }

    /// Counts what was sent again since the last time.
    fn count_repeats(&self) {
        let now = repeats_of(&self.inner);
        let [lists, gets] = [0, 1].map(|of| {
            let before = self.repeats[of].fetch_max(now[of], Ordering::Relaxed);
            now[of].saturating_sub(before)
        });
        (0..lists).for_each(|_| self.counts.count_list());
        (0..gets).for_each(|_| self.counts.count_get());
    }
}

/// Repeats so far, LIST and GET.
fn repeats_of(bucket: &impl Bucket) -> [u64; 2] {
    bucket.repeats().map_or([0; 2], |repeats| [repeats.list(), repeats.get()])
}

#[async_trait]
impl<B: Bucket> Bucket for Metered<B> {
    async fn list(&self, request: &ListRequest) -> Result<ListPage, BucketError> {
        self.counts.count_list();
        let page = self.inner.list(request).await;
        self.count_repeats();
        page
    }

    async fn get(&self, request: &GetRequest) -> Result<Body, BucketError> {
        self.counts.count_get();
        let body = self.inner.get(request).await;
        self.count_repeats();
        body
    }

    async fn signer(&self, known: Option<Signer>) -> Option<Signer> {
        self.inner.signer(known).await
    }

    fn may_be_unfinished(&self, last_modified: DateTime<Utc>) -> bool {
        self.inner.may_be_unfinished(last_modified)
    }
}

#[cfg(all(test, feature = "testing"))]
mod tests {
    use super::*;
    use crate::testing::MemoryBucket;

    #[tokio::test]
    async fn failed_requests_count_too() {
        let bucket = Metered::new(MemoryBucket::new("acme"), Arc::default());
        let request = ListRequest { page_size: 10, ..ListRequest::default() };
        bucket.list(&request).await.expect("an empty bucket lists");
        let missing = GetRequest { key: "nothing".into(), if_match: "e".into(), from: 0 };
        assert!(bucket.get(&missing).await.is_err());
        assert!(bucket.get(&missing).await.is_err());
        assert_eq!((bucket.counts().list(), bucket.counts().get()), (1, 2));
        bucket.counts().reset();
        assert_eq!((bucket.counts().list(), bucket.counts().get()), (0, 0));
    }
}
