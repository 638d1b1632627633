//! What s3sweep needs of a bucket: pages of keys in byte order, and one object's bytes.
//!
//! Every implementation passes one contract suite. A page or body is complete or an error,
//! never a part that looks whole.

pub mod dir;
pub mod metered;
pub mod s3;

use async_trait::async_trait;
use bytes::Bytes;
use chrono::{DateTime, Utc};
use futures_util::stream::BoxStream;
use std::sync::Arc;

use self::metered::RequestCounts;
use crate::aws::advice::before_answer::BAD_REQUEST;
use crate::aws::{self, Timeouts};
use crate::config::{Access, BucketLocation};
use crate::failure::Class;

pub use crate::aws::Signer;

/// Makes the bucket that a source's location and access settings name. No request is sent to
/// the bucket; for S3, region and credentials are looked for as the settings say, and `timeouts`
/// are those of its requests.
///
/// Fails with [`Class::Unreachable`] when the certificates of `ca_bundle` or the proxy cannot be used.
pub async fn open(
    location: &BucketLocation,
    access: &Access,
    timeouts: Timeouts,
) -> Result<Arc<dyn Bucket>, BucketError> {
    let name: Arc<str> = location.name().into();
    match location {
        BucketLocation::Dir(path) => Ok(Arc::new(dir::DirBucket::new(path, name))),
        BucketLocation::S3(_) => match aws::connect(access, timeouts).await {
            Ok(connection) => Ok(Arc::new(s3::S3Bucket::new(connection, name))),
            Err(error) => Err(BucketError {
                class: Class::Unreachable,
                operation: "OPEN",
                bucket: name,
                key: String::new(),
                message: error.to_string(),
                retry_after: None,
                answer: Some(Box::new(Answer { code: BAD_REQUEST.to_owned(), date: None, was_sent: false })),
            }),
        },
    }
}

/// An object as a listing shows it; its identity is bucket, key and ETag.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ObjectRef {
    /// Name of the bucket, or the `file://` address of the directory.
    pub bucket: Arc<str>,
    /// The key, UTF-8, at most 1,024 bytes in S3.
    pub key: String,
    /// The entity tag without its quotes.
    pub etag: String,
    /// Stored size in bytes.
    pub size: u64,
    /// When the object was written, by the bucket's clock.
    pub last_modified: DateTime<Utc>,
    /// Whether the object lies in an archive storage class and must be restored before a GET.
    pub archived: bool,
}

/// One LIST request.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ListRequest {
    /// Only keys that begin with this; empty lists the whole bucket.
    pub prefix: String,
    /// Exclusive: a key equal to this is not returned. Ignored when `token` is set.
    pub start_after: Option<String>,
    /// With `true`, keys are grouped at the first `/` after the prefix.
    pub by_folder: bool,
    /// Continues an earlier page.
    pub token: Option<String>,
    /// Keys and folders per page, 1 to 1,000.
    pub page_size: u16,
}

/// One page of a listing: keys rise in byte order within a page and from page to page.
#[derive(Clone, Debug, Default)]
pub struct ListPage {
    /// The objects of this page.
    pub objects: Vec<ObjectRef>,
    /// With `by_folder`: the common prefixes, each ending in `/`.
    pub folders: Vec<String>,
    /// Keys that are not UTF-8: they can be neither named nor asked for, and are left out.
    pub not_utf8: u64,
    /// The token of the next page; `None` on the last one.
    pub next: Option<String>,
    /// The bucket's clock when it answered, where it tells.
    pub date: Option<DateTime<Utc>>,
}

/// Most keys and folders that one page can hold, by the S3 API.
pub const MAX_PAGE_SIZE: u16 = 1000;

impl ListRequest {
    /// The page size within 1 and [`MAX_PAGE_SIZE`]; S3 itself takes a larger one for 1,000.
    pub fn keys_per_page(&self) -> u16 {
        self.page_size.clamp(1, MAX_PAGE_SIZE)
    }
}

/// One GET request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GetRequest {
    /// The object's key.
    pub key: String,
    /// The ETag that the listing showed; another one on the object is [`Class::Replaced`].
    pub if_match: String,
    /// First byte wanted; 0 for the whole object.
    pub from: u64,
}

/// The bytes of an object as they arrive. A cut body is an error, never an early end.
pub type Body = BoxStream<'static, Result<Bytes, BucketError>>;

/// A bucket or a directory that acts as one.
#[async_trait]
pub trait Bucket: Send + Sync {
    /// Returns one page of keys in byte order.
    ///
    /// Cancel safe: dropping the future abandons the request.
    async fn list(&self, request: &ListRequest) -> Result<ListPage, BucketError>;

    /// Begins to read one object. Fails with [`Class::Replaced`] when the ETag is another one,
    /// [`Class::Gone`] when the object is not there, [`Class::Object`] when `from` is not 0 and
    /// lies at or past the object's end.
    async fn get(&self, request: &GetRequest) -> Result<Body, BucketError>;

    /// Requests that were sent again within a call, the first one having been refused for
    /// credentials that could be renewed or a region that could be followed. They come on top of
    /// one per call; `None` where no request is ever sent again.
    fn repeats(&self) -> Option<&RequestCounts> {
        None
    }

    /// Who signs the requests; `None` where nobody does, or no credentials were found. Nothing is
    /// asked of the bucket, and of STS only whose a key is that `known`, an answer of before, is not
    /// about.
    ///
    /// Cancel safe.
    async fn signer(&self, known: Option<Signer>) -> Option<Signer> {
        let _ = known;
        None
    }

    /// Whether damage in an object that was written then may be a write that is still going on:
    /// the bucket's own clock tells, whatever time a sweep is for. True for no object of S3, where
    /// an object appears whole.
    fn may_be_unfinished(&self, last_modified: DateTime<Utc>) -> bool {
        let _ = last_modified;
        false
    }
}

#[async_trait]
impl<B: Bucket + ?Sized> Bucket for Arc<B> {
    async fn list(&self, request: &ListRequest) -> Result<ListPage, BucketError> {
        (**self).list(request).await
    }

    async fn get(&self, request: &GetRequest) -> Result<Body, BucketError> {
        (**self).get(request).await
    }

    fn repeats(&self) -> Option<&RequestCounts> {
        (**self).repeats()
    }

    async fn signer(&self, known: Option<Signer>) -> Option<Signer> {
        (**self).signer(known).await
    }

    fn may_be_unfinished(&self, last_modified: DateTime<Utc>) -> bool {
        (**self).may_be_unfinished(last_modified)
    }
}

/// A request to a bucket that failed.
#[derive(Debug, thiserror::Error)]
#[error("{operation} {}{bucket}/{key}: {message}", scheme(bucket))]
pub struct BucketError {
    /// What follows from it.
    pub class: Class,
    /// `LIST`, `GET`, or `OPEN` for [`open`].
    pub operation: &'static str,
    /// The bucket that was asked.
    pub bucket: Arc<str>,
    /// The key, or the prefix of a LIST.
    pub key: String,
    /// What happened, with S3's own error code where there is one.
    pub message: String,
    /// How long the bucket asks us to wait before the next request.
    pub retry_after: Option<std::time::Duration>,
    /// What is known about the refusal; `None` where the bucket is a directory, and for what
    /// was found wrong in a good answer.
    pub answer: Option<Box<Answer>>,
}

/// A refusal, for those who explain it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// S3's error code, or that of [`crate::aws::advice`] where nobody answered or without one.
    pub code: String,
    /// The clock of whoever answered.
    pub date: Option<DateTime<Utc>>,
    /// Whether the bucket was asked at all.
    pub was_sent: bool,
}

impl BucketError {
    /// A failed LIST of `bucket`.
    pub fn list(class: Class, bucket: &Arc<str>, request: &ListRequest, message: impl Into<String>) -> Self {
        Self::at("LIST", class, bucket, request.prefix.clone(), message.into())
    }

    /// A failed GET from `bucket`.
    pub fn get(class: Class, bucket: &Arc<str>, request: &GetRequest, message: impl Into<String>) -> Self {
        Self::at("GET", class, bucket, request.key.clone(), message.into())
    }

    fn at(operation: &'static str, class: Class, bucket: &Arc<str>, key: String, message: String) -> Self {
        BucketError {
            class,
            operation,
            bucket: bucket.clone(),
            key,
            message,
            retry_after: None,
            answer: None,
        }
    }
}

/// What stands before the bucket's name; a directory's name brings its own scheme.
fn scheme(bucket: &str) -> &'static str {
    if bucket.starts_with("file://") { "" } else { "s3://" }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_name_the_address_once() {
        let request = ListRequest { prefix: "logs/".into(), ..ListRequest::default() };
        for (bucket, text) in [
            ("acme", "LIST s3://acme/logs/: no such bucket"),
            ("file:///srv/acme", "LIST file:///srv/acme/logs/: no such bucket"),
        ] {
            let error = BucketError::list(Class::Unreachable, &bucket.into(), &request, "no such bucket");
            assert_eq!(error.to_string(), text);
        }
    }

    #[test]
    fn page_sizes_stay_within_what_s3_takes() {
        for (asked, given) in [(0, 1), (1, 1), (1000, 1000), (1001, 1000)] {
            let request = ListRequest { page_size: asked, ..ListRequest::default() };
            assert_eq!(request.keys_per_page(), given, "{asked}");
        }
    }
}
