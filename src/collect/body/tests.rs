//! Bodies that break off, stall, end early and go on too long, from a bucket in memory: what
//! comes out is the object, whatever it took.

use std::sync::Mutex;

use async_trait::async_trait;
use chrono::DateTime;
use futures_util::TryStreamExt as _;

use super::*;
use crate::bucket::{ListPage, ListRequest};
use crate::testing::{Call, Fault, FaultyBucket, MemoryBucket, When};

const MINUTE: Duration = Duration::from_secs(60);

struct Rig {
    memory: MemoryBucket,
    faulty: FaultyBucket<MemoryBucket>,
    object: ObjectRef,
    fetch: Fetch,
}

fn bytes() -> Bytes {
    (0..200_000_u32).map(|number| (number % 251) as u8).collect()
}

impl Rig {
    fn new() -> Self {
        let memory = MemoryBucket::new("acme");
        let etag = memory.put("k", bytes(), DateTime::UNIX_EPOCH);
        let object = ObjectRef {
            bucket: "acme".into(),
            key: "k".into(),
            etag,
            size: 200_000,
            last_modified: DateTime::UNIX_EPOCH,
            archived: false,
        };
        let faulty = FaultyBucket::new(memory.clone(), "acme");
        let fetch = Fetch {
            bucket: Arc::new(faulty.clone()),
            budget: GetBudget::new(4),
            stall_timeout: MINUTE,
            backoff: Backoff { first: Duration::from_secs(1), longest: Duration::from_secs(1) },
            random: || 1.0,
        };
        Rig { memory, faulty, object, fetch }
    }

    /// What came, and the error that ended it.
    async fn read(&self) -> (Vec<u8>, Option<BucketError>) {
        let mut body = self.fetch.clone().body(&self.object);
        let mut read = Vec::new();
        loop {
            match body.try_next().await {
                Ok(Some(chunk)) => read.extend_from_slice(&chunk),
                Ok(None) => return (read, None),
                Err(error) => return (read, Some(error)),
            }
        }
    }

    /// The first bytes that the GETs asked for.
    fn asked(&self) -> Vec<u64> {
        let gets = self.memory.log().into_iter().filter_map(|call| match call {
            Call::Get(get) => Some(get),
            Call::List(_) => None,
        });
        gets.inspect(|get| assert_eq!(get.if_match, self.object.etag)).map(|get| get.from).collect()
    }
}

#[tokio::test(start_paused = true)]
async fn a_body_goes_on_where_it_broke_off() {
    let cut = Fault::CutBody;
    let stall = |after| Fault::StallBody(after, 60 * MINUTE);
    let fail = Fault::Fail(Class::Transient);
    for (name, faults, asked, seconds) in [
        ("nothing happens", vec![], vec![0], 0),
        ("a cut", vec![(1, cut(70_000))], vec![0, 70_000], 1),
        ("a cut before the first byte", vec![(1, cut(0))], vec![0, 0], 1),
        ("a cut before the last byte", vec![(1, cut(199_999))], vec![0, 199_999], 1),
        ("three cuts", vec![(1, cut(5)), (2, cut(5)), (3, cut(9))], vec![0, 5, 10, 19], 3),
        ("a stall", vec![(1, stall(100))], vec![0, 100], 61),
        ("a stall and a cut", vec![(1, stall(9)), (2, cut(1))], vec![0, 9, 10], 62),
        ("a refused one comes in between", vec![(1, cut(7)), (2, fail.clone())], vec![0, 7], 2),
        ("the first one is refused", vec![(1, fail)], vec![0], 1),
        (
            "asked to wait",
            vec![(1, cut(7)), (2, Fault::RetryAfter(MINUTE))],
            vec![0, 7],
            61, // one second of our own, and the minute
        ),
    ] {
        let rig = Rig::new();
        let gets = asked.len().max(faults.len() + 1) as u32;
        for (number, fault) in faults {
            rig.faulty.on_get(When::Nth(number), fault);
        }
        let began = tokio::time::Instant::now();
        let (read, error) = rig.read().await;
        assert!(error.is_none(), "{name}: {error:?}");
        assert!(read == bytes(), "{name}: {} bytes", read.len());
        assert_eq!((rig.asked(), rig.fetch.budget.made()), (asked, gets), "{name}");
        assert_eq!(began.elapsed().as_secs(), seconds, "{name}");
    }
}

#[tokio::test(start_paused = true)]
async fn what_cannot_go_on_is_told_after_the_bytes_that_came() {
    let overwrite = |rig: &Rig| {
        let memory = rig.memory.clone();
        Fault::before(move || drop(memory.put("k", "other", DateTime::UNIX_EPOCH)))
    };
    let delete = |rig: &Rig| {
        let memory = rig.memory.clone();
        Fault::before(move || assert!(memory.delete("k")))
    };
    for (name, second, gets, class) in [
        ("overwritten", &overwrite as &dyn Fn(&Rig) -> Fault, 2, Class::Replaced),
        ("deleted", &delete, 2, Class::Gone),
        ("archived", &|_| Fault::Fail(Class::Archived), 2, Class::Archived),
        ("unreachable", &|_| Fault::Fail(Class::Unreachable), 2, Class::Unreachable),
        ("the rest is refused: the whole will tell", &|_| Fault::Fail(Class::Object), 2, Class::Transient),
        ("it breaks off again and again", &|_| Fault::CutBody(0), 4, Class::Transient),
    ] {
        let rig = Rig::new();
        rig.faulty.on_get(When::Nth(1), Fault::CutBody(70_000));
        rig.faulty.on_get(When::Always, second(&rig));
        let (read, error) = rig.read().await;
        assert!(read == bytes()[..70_000], "{name}: {} bytes", read.len());
        let class_told = error.map(|error| error.class);
        assert_eq!((class_told, rig.fetch.budget.made()), (Some(class), gets), "{name}");
    }
}

/// Bodies that end well after `has` bytes, whatever was listed; a range past them is refused.
struct Sized {
    has: u64,
    asked: Mutex<Vec<u64>>,
}

#[async_trait]
impl Bucket for Sized {
    async fn list(&self, _: &ListRequest) -> Result<ListPage, BucketError> {
        Ok(ListPage::default())
    }

    async fn get(&self, request: &GetRequest) -> Result<Body, BucketError> {
        self.asked.lock().unwrap().push(request.from);
        if request.from > 0 && request.from >= self.has {
            return Err(BucketError::get(Class::Object, &"acme".into(), request, "InvalidRange"));
        }
        let left = (self.has - request.from) as usize;
        Ok(stream::iter(vec![Ok(Bytes::from(vec![7; left])), Ok(Bytes::new())]).boxed())
    }
}

#[tokio::test(start_paused = true)]
async fn a_body_is_held_against_the_listed_size() {
    for (name, has, read, asked, class) in [
        ("as listed", 100, 100, vec![0], None),
        ("one short: there is no rest", 99, 99, vec![0, 99], Some(Class::Transient)),
        ("nothing at all", 0, 0, vec![0, 0, 0, 0], Some(Class::Transient)),
        ("one too many", 101, 100, vec![0], Some(Class::Content)),
        ("far too many", 1000, 100, vec![0], Some(Class::Content)),
    ] {
        let mut rig = Rig::new();
        rig.object.size = 100;
        let bucket = Arc::new(Sized { has, asked: Mutex::default() });
        rig.fetch.bucket = bucket.clone();
        let (bytes, error) = rig.read().await;
        assert_eq!((bytes.len(), error.map(|error| error.class)), (read, class), "{name}");
        assert_eq!(*bucket.asked.lock().unwrap(), asked, "{name}");
    }
}

#[tokio::test(start_paused = true)]
async fn an_error_after_the_last_byte_is_not_passed_over() {
    let rig = Rig::new();
    rig.faulty.on_get(When::Nth(1), Fault::CutBody(200_000));
    let (read, error) = rig.read().await;
    assert_eq!((read.len(), error.map(|error| error.class)), (200_000, Some(Class::Transient)));
    assert_eq!(rig.asked(), [0], "nothing is left to ask for");
}

#[tokio::test(start_paused = true)]
async fn no_get_is_sent_before_the_first_byte_is_wanted() {
    let rig = Rig::new();
    let body = rig.fetch.clone().body(&rig.object);
    assert_eq!((rig.fetch.budget.made(), rig.asked().len()), (0, 0));
    drop(body);
}
