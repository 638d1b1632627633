//! The stored bytes of one object, by as many GETs as it takes.
//!
//! Where a body breaks off or stands still, the next GET asks for the bytes after those that
//! came, with the listed ETag: whoever reads the stream sees no seam. It ends well only at the
//! listed size. Dropping it abandons what is under way, so a stop or a deadline needs no word here.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use bytes::Bytes;
use futures_util::{StreamExt as _, stream};
use tracing::debug;

use crate::bucket::{Body, Bucket, BucketError, GetRequest, ObjectRef};
use crate::failure::Class;
use crate::retry::Backoff;

/// The GETs of one object in one sweep, counted over all its bodies.
#[derive(Clone, Debug)]
pub struct GetBudget {
    made: Arc<AtomicU32>,
    most: Arc<AtomicU32>,
    attempts: u32,
}

impl GetBudget {
    /// At most so many GETs.
    pub fn new(most: u32) -> Self {
        GetBudget { made: Arc::default(), most: Arc::new(AtomicU32::new(most)), attempts: most }
    }

    /// GETs made so far.
    pub fn made(&self) -> u32 {
        self.made.load(Ordering::Relaxed)
    }

    /// Whether no GET is left.
    pub fn is_spent(&self) -> bool {
        self.made() >= self.most.load(Ordering::Relaxed)
    }

    /// Counts anew: as many GETs as at first are left.
    pub fn renew(&self) {
        self.most.store(self.made().saturating_add(self.attempts), Ordering::Relaxed);
    }

    fn count(&self) {
        self.made.fetch_add(1, Ordering::Relaxed);
    }
}

/// How the bytes of an object are fetched.
#[derive(Clone)]
pub struct Fetch {
    /// Where it lies.
    pub bucket: Arc<dyn Bucket>,
    /// What is left of its GETs; one at least.
    pub budget: GetBudget,
    /// A body that sends nothing for this long is broken off.
    pub stall_timeout: Duration,
    /// Waits between GETs.
    pub backoff: Backoff,
    /// A number in `0.0..1.0`, for the jitter of the waits.
    pub random: fn() -> f64,
}

impl Fetch {
    /// The stored bytes of `object`, from the first. No GET is sent before the stream is polled.
    ///
    /// An error ends the stream: the GETs are spent, or another one from here on cannot help.
    /// [`Class::Transient`] then means that a GET of the whole object may; a body that is longer
    /// than listed is [`Class::Content`].
    pub fn body(self, object: &ObjectRef) -> Body {
        let request = GetRequest { key: object.key.clone(), if_match: object.etag.clone(), from: 0 };
        let arrival =
            Arrival { fetch: self, bucket: object.bucket.clone(), size: object.size, request, part: None };
        stream::try_unfold(arrival, |mut arrival| async move {
            Ok(arrival.next().await?.map(|bytes| (bytes, arrival)))
        })
        .boxed()
    }
}

/// A body on its way.
struct Arrival {
    fetch: Fetch,
    bucket: Arc<str>,
    /// Stored bytes as listed.
    size: u64,
    /// The GET under way or the next one; `from` follows the bytes that came.
    request: GetRequest,
    /// What the last GET brings.
    part: Option<Body>,
}

/// Why no bytes came.
enum Broken {
    /// Another GET may go on here.
    Here(BucketError),
    /// It may not.
    ForGood(BucketError),
}

impl From<BucketError> for Broken {
    fn from(error: BucketError) -> Self {
        if error.class == Class::Transient { Broken::Here(error) } else { Broken::ForGood(error) }
    }
}

impl Arrival {
    async fn next(&mut self) -> Result<Option<Bytes>, BucketError> {
        loop {
            let error = match self.bytes().await {
                Ok(bytes) => return Ok(bytes),
                Err(Broken::ForGood(error)) => return Err(error),
                Err(Broken::Here(error)) => error,
            };
            self.part = None;
            // An error after the last byte, such as a checksum that is wrong, leaves nothing to
            // go on with, and is none to be passed over.
            let is_whole = self.request.from >= self.size;
            if is_whole || self.fetch.budget.is_spent() {
                return Err(error);
            }
            let tries = self.fetch.budget.made();
            debug!(key = self.request.key, from = self.request.from, %error, tries, "the body goes on with another GET");
            let wait = self.fetch.backoff.wait(tries, error.retry_after, (self.fetch.random)());
            tokio::time::sleep(wait).await;
        }
    }

    /// The next bytes of the GET under way, which is begun where there is none.
    async fn bytes(&mut self) -> Result<Option<Bytes>, Broken> {
        let part = match &mut self.part {
            Some(part) => part,
            None => {
                let part = self.get().await?;
                self.part.insert(part)
            }
        };
        let Ok(bytes) = tokio::time::timeout(self.fetch.stall_timeout, part.next()).await else {
            let seconds = self.fetch.stall_timeout.as_secs();
            return Err(self.error(Class::Transient, format!("no byte of the body for {seconds} s")).into());
        };
        match bytes.transpose()? {
            Some(bytes) => Ok(Some(self.take(bytes)?)),
            None if self.request.from < self.size => {
                let message = format!("the body ends after {} of {} bytes", self.request.from, self.size);
                Err(self.error(Class::Transient, message).into())
            }
            None => Ok(None),
        }
    }

    async fn get(&mut self) -> Result<Body, Broken> {
        self.fetch.budget.count();
        self.fetch.bucket.get(&self.request).await.map_err(|error| match error.class {
            // A refusal of the rest alone (there is no such range) tells less than one of the
            // whole object, which keeps a refused, a changed and a shorter one apart.
            Class::Object if self.request.from > 0 => {
                let message = format!("nothing from byte {} on: {}", self.request.from, error.message);
                Broken::ForGood(BucketError { class: Class::Transient, message, ..error })
            }
            _ => error.into(),
        })
    }

    /// Bytes up to the listed size; what is beyond is refused with the next call.
    fn take(&mut self, mut bytes: Bytes) -> Result<Bytes, BucketError> {
        let left = self.size - self.request.from;
        if left == 0 && !bytes.is_empty() {
            let message = format!("the body goes on after the {} bytes that were listed", self.size);
            return Err(self.error(Class::Content, message));
        }
        if let Ok(left) = usize::try_from(left)
            && left < bytes.len()
        {
            let beyond = bytes.split_off(left);
            self.part = Some(stream::iter([Ok(beyond)]).boxed());
        }
        self.request.from += bytes.len() as u64;
        Ok(bytes)
    }

    fn error(&self, class: Class, message: String) -> BucketError {
        BucketError::get(class, &self.bucket, &self.request, message)
    }
}

#[cfg(test)]
mod tests;
