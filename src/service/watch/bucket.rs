//! A bucket that tells how its requests are answered.

use std::sync::Arc;

use async_trait::async_trait;
use chrono::{DateTime, Utc};

use super::Standing;
use crate::bucket::{Body, Bucket, BucketError, GetRequest, ListPage, ListRequest, Signer};
use crate::metrics::{GET_REQUESTS, LIST_REQUESTS};

/// Notes the answers of a bucket in what is known of its source.
pub(in crate::service) struct Watched {
    inner: Arc<dyn Bucket>,
    standing: Arc<Standing>,
}

impl Watched {
    /// Watches the requests to `inner`.
    pub fn new(inner: Arc<dyn Bucket>, standing: Arc<Standing>) -> Self {
        Watched { inner, standing }
    }
}

#[async_trait]
impl Bucket for Watched {
    async fn list(&self, request: &ListRequest) -> Result<ListPage, BucketError> {
        let page = self.inner.list(request).await;
        self.standing.answered(&LIST_REQUESTS, page.is_ok());
        match &page {
            Ok(_) => self.standing.listed(request),
            Err(error) => self.standing.refused(request, error),
        }
        page
    }

    async fn get(&self, request: &GetRequest) -> Result<Body, BucketError> {
        let body = self.inner.get(request).await;
        self.standing.answered(&GET_REQUESTS, body.is_ok());
        body
    }

    async fn signer(&self, known: Option<Signer>) -> Option<Signer> {
        self.inner.signer(known).await
    }

    fn may_be_unfinished(&self, last_modified: DateTime<Utc>) -> bool {
        self.inner.may_be_unfinished(last_modified)
    }
}
