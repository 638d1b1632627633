//! A bucket whose calls fail as a script says: by their number, or by what they ask.
//!
//! Faults are tried in the order they were added; the first that fits a call is used for it.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use futures_util::{StreamExt, stream};

use crate::bucket::{Body, Bucket, BucketError, GetRequest, ListPage, ListRequest, Signer};
use crate::failure::Class;

/// Tells from a call's number and its key, or the prefix of a LIST, whether a fault is for it.
pub type CallMatcher = Box<dyn Fn(u64, &str) -> bool + Send>;

/// Which calls a fault is for. LIST and GET are numbered apart, from 1.
pub enum When {
    /// The call with this number.
    Nth(u64),
    /// Every call.
    Always,
    /// Calls for which this is true.
    Matches(CallMatcher),
}

impl When {
    /// All calls for one key, or for one prefix of a LIST.
    pub fn key(key: impl Into<String>) -> Self {
        let key = key.into();
        When::Matches(Box::new(move |_, asked| asked == key))
    }

    /// All calls with a number in `numbers`.
    pub fn numbers(numbers: impl std::ops::RangeBounds<u64> + Send + 'static) -> Self {
        When::Matches(Box::new(move |number, _| numbers.contains(&number)))
    }

    fn fits(&self, number: u64, key: &str) -> bool {
        match self {
            When::Nth(wanted) => *wanted == number,
            When::Always => true,
            When::Matches(matches) => matches(number, key),
        }
    }
}

/// What happens to a call.
#[derive(Clone)]
pub enum Fault {
    /// It fails: `Gone` for a 404, `Replaced` for a 412, `Transient` for a 503.
    Fail(Class),
    /// It fails and asks to wait.
    RetryAfter(Duration),
    /// It is answered after a pause.
    Delay(Duration),
    /// GET: the body breaks off after so many bytes, transiently.
    CutBody(u64),
    /// GET: the body stands still after so many bytes, and breaks off after the pause.
    StallBody(u64, Duration),
    /// LIST: the objects of the page come in reverse.
    Unsorted,
    /// LIST: the page claims to be the last one.
    DropToken,
    /// A hook runs before the call: to delete or overwrite an object between LIST and GET.
    Before(Arc<dyn Fn() + Send + Sync>),
}

impl Fault {
    /// A hook that runs before the call.
    pub fn before(hook: impl Fn() + Send + Sync + 'static) -> Self {
        Fault::Before(Arc::new(hook))
    }
}

impl fmt::Debug for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Fault::Fail(class) => write!(f, "Fail({class})"),
            Fault::RetryAfter(wait) => write!(f, "RetryAfter({wait:?})"),
            Fault::Delay(pause) => write!(f, "Delay({pause:?})"),
            Fault::CutBody(after) => write!(f, "CutBody({after})"),
            Fault::StallBody(after, pause) => write!(f, "StallBody({after}, {pause:?})"),
            Fault::Unsorted => f.write_str("Unsorted"),
            Fault::DropToken => f.write_str("DropToken"),
            Fault::Before(_) => f.write_str("Before(..)"),
        }
    }
}

#[derive(Default)]
struct Script {
    calls: u64,
    faults: Vec<(When, Fault)>,
}

impl Script {
    /// Counts one call and finds its fault.
    fn next(&mut self, key: &str) -> Option<Fault> {
        self.calls += 1;
        let number = self.calls;
        self.faults.iter().find(|(when, _)| when.fits(number, key)).map(|(_, fault)| fault.clone())
    }
}

/// A bucket with scripted faults. Clones share the script.
#[derive(Clone)]
pub struct FaultyBucket<B> {
    inner: B,
    name: Arc<str>,
    lists: Arc<Mutex<Script>>,
    gets: Arc<Mutex<Script>>,
}

impl<B: Bucket> FaultyBucket<B> {
    /// `inner` without any fault yet; errors name the bucket `name`.
    pub fn new(inner: B, name: impl Into<Arc<str>>) -> Self {
        FaultyBucket { inner, name: name.into(), lists: Arc::default(), gets: Arc::default() }
    }

    /// Adds a fault of LIST calls.
    pub fn on_list(&self, when: When, fault: Fault) -> &Self {
        self.lists.lock().unwrap_or_else(PoisonError::into_inner).faults.push((when, fault));
        self
    }

    /// Adds a fault of GET calls.
    pub fn on_get(&self, when: When, fault: Fault) -> &Self {
        self.gets.lock().unwrap_or_else(PoisonError::into_inner).faults.push((when, fault));
        self
    }

    /// Removes all faults and numbers calls from 1 again.
    pub fn heal(&self) {
        for script in [&self.lists, &self.gets] {
            *script.lock().unwrap_or_else(PoisonError::into_inner) = Script::default();
        }
    }

    fn next(&self, script: &Mutex<Script>, key: &str) -> Option<Fault> {
        script.lock().unwrap_or_else(PoisonError::into_inner).next(key)
    }
}

#[async_trait]
impl<B: Bucket> Bucket for FaultyBucket<B> {
    async fn list(&self, request: &ListRequest) -> Result<ListPage, BucketError> {
        let fault = self.next(&self.lists, &request.prefix);
        match &fault {
            Some(Fault::Fail(class)) => {
                return Err(BucketError::list(*class, &self.name, request, "a scripted failure"));
            }
            Some(Fault::RetryAfter(wait)) => {
                let error = BucketError::list(Class::Transient, &self.name, request, "SlowDown: scripted");
                return Err(BucketError { retry_after: Some(*wait), ..error });
            }
            Some(Fault::Delay(pause)) => tokio::time::sleep(*pause).await,
            Some(Fault::Before(hook)) => hook(),
            Some(Fault::Unsorted | Fault::DropToken | Fault::CutBody(_) | Fault::StallBody(..)) | None => {}
        }
        let mut page = self.inner.list(request).await?;
        match fault {
            Some(Fault::Unsorted) => page.objects.reverse(),
            Some(Fault::DropToken) => page.next = None,
            _ => {}
        }
        Ok(page)
    }

    async fn get(&self, request: &GetRequest) -> Result<Body, BucketError> {
        let cut = BucketError::get(Class::Transient, &self.name, request, "the body was cut, as scripted");
        let (after, pause) = match self.next(&self.gets, &request.key) {
            Some(Fault::Fail(class)) => {
                return Err(BucketError::get(class, &self.name, request, "a scripted failure"));
            }
            Some(Fault::RetryAfter(wait)) => {
                let error = BucketError::get(Class::Transient, &self.name, request, "SlowDown: scripted");
                return Err(BucketError { retry_after: Some(wait), ..error });
            }
            Some(Fault::Delay(pause)) => {
                tokio::time::sleep(pause).await;
                return self.inner.get(request).await;
            }
            Some(Fault::Before(hook)) => {
                hook();
                return self.inner.get(request).await;
            }
            Some(Fault::CutBody(after)) => (after, Duration::ZERO),
            Some(Fault::StallBody(after, pause)) => (after, pause),
            Some(Fault::Unsorted | Fault::DropToken) | None => return self.inner.get(request).await,
        };
        Ok(cut_body(self.inner.get(request).await?, after, pause, cut))
    }

    async fn signer(&self, known: Option<Signer>) -> Option<Signer> {
        self.inner.signer(known).await
    }

    fn may_be_unfinished(&self, last_modified: DateTime<Utc>) -> bool {
        self.inner.may_be_unfinished(last_modified)
    }
}

/// The first `left` bytes of a body, a pause, and an error. A shorter body comes whole and
/// then breaks off too.
fn cut_body(body: Body, left: u64, pause: Duration, cut: BucketError) -> Body {
    stream::unfold(Some((body, left, cut)), move |state| async move {
        let (mut body, left, cut) = state?;
        let chunk = if left == 0 { None } else { body.next().await };
        match chunk {
            Some(Ok(mut chunk)) => {
                chunk.truncate(usize::try_from(left).unwrap_or(usize::MAX));
                let left = left - chunk.len() as u64;
                Some((Ok(chunk), Some((body, left, cut))))
            }
            Some(Err(error)) => Some((Err(error), None)),
            None => {
                if !pause.is_zero() {
                    tokio::time::sleep(pause).await;
                }
                Some((Err(cut), None))
            }
        }
    })
    .boxed()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::MemoryBucket;
    use futures_util::TryStreamExt;

    fn bucket() -> (MemoryBucket, FaultyBucket<MemoryBucket>, GetRequest) {
        let memory = MemoryBucket::new("acme");
        memory.put("a", "", DateTime::UNIX_EPOCH);
        let if_match = memory.put("b", vec![7; 100_000], DateTime::UNIX_EPOCH);
        let faulty = FaultyBucket::new(memory.clone(), "acme");
        (memory, faulty, GetRequest { key: "b".into(), if_match, from: 0 })
    }

    #[tokio::test]
    async fn calls_fail_by_number_and_by_key() {
        let (_, bucket, get) = bucket();
        bucket
            .on_get(When::Nth(2), Fault::Fail(Class::Gone))
            .on_list(When::key("no/"), Fault::RetryAfter(Duration::from_secs(3)));
        for (number, class) in [(1, None), (2, Some(Class::Gone)), (3, None)] {
            assert_eq!(bucket.get(&get).await.err().map(|error| error.class), class, "GET {number}");
        }
        let mut list = ListRequest { page_size: 9, ..ListRequest::default() };
        assert!(bucket.list(&list).await.is_ok());
        list.prefix = "no/".into();
        let error = bucket.list(&list).await.expect_err("scripted");
        assert_eq!(error.retry_after, Some(Duration::from_secs(3)));
        bucket.heal();
        assert!(bucket.list(&list).await.is_ok());
    }

    #[tokio::test]
    async fn pages_are_spoilt() {
        let (_, bucket, _) = bucket();
        bucket.on_list(When::Nth(1), Fault::Unsorted).on_list(When::Nth(2), Fault::DropToken);
        let list = ListRequest { page_size: 2, ..ListRequest::default() };
        let page = bucket.list(&list).await.expect("lists");
        assert_eq!(page.objects.first().map(|object| &*object.key), Some("b"));
        let list = ListRequest { page_size: 1, ..list };
        assert_eq!(bucket.list(&list).await.expect("lists").next, None);
        assert!(bucket.list(&list).await.expect("lists").next.is_some());
    }

    #[tokio::test]
    async fn hooks_run_before_the_call() {
        let (memory, bucket, get) = bucket();
        let inner = memory.clone();
        bucket.on_get(When::Nth(1), Fault::before(move || assert!(inner.delete("b"))));
        assert_eq!(bucket.get(&get).await.err().map(|error| error.class), Some(Class::Gone));
    }

    #[tokio::test(start_paused = true)]
    async fn bodies_break_off_where_the_script_says() {
        let (_, bucket, get) = bucket();
        let pause = Duration::from_secs(30);
        bucket.on_get(When::Nth(1), Fault::CutBody(70_000)).on_get(When::Nth(2), Fault::StallBody(10, pause));
        for (wanted, waited) in [(70_000, Duration::ZERO), (10, pause)] {
            let began = tokio::time::Instant::now();
            let mut body = bucket.get(&get).await.expect("begins");
            let mut arrived = 0;
            let error = loop {
                match body.try_next().await {
                    Ok(Some(chunk)) => arrived += chunk.len(),
                    Ok(None) => panic!("a cut body must not end well"),
                    Err(error) => break error,
                }
            };
            assert_eq!((arrived, error.class), (wanted, Class::Transient));
            assert_eq!(began.elapsed(), waited);
        }
    }
}
