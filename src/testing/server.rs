//! An S3 server inside the process: HTTP and signatures are real, objects lie in memory.
//!
//! It answers ListObjectsV2 and GetObject as S3 does, on a free loopback port, for one access
//! key. Connections are tasks of the server and end with it.

use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use chrono::{DateTime, Utc};
use hyper::header::{DATE, HeaderMap, HeaderName, HeaderValue, RETRY_AFTER};
use hyper::service::service_fn;
use hyper::{Request, StatusCode, body::Incoming, server::conn::http1};
use hyper_util::rt::TokioIo;
use s3s::auth::{S3Auth, SecretKey};
use s3s::config::{S3Config, StaticConfigProvider};
use s3s::dto::{
    CommonPrefix, ETag, ETagCondition, EncodingType, GetObjectInput, GetObjectOutput, ListObjectsV2Input,
    ListObjectsV2Output, Object, ObjectStorageClass, Range, StreamingBlob, Timestamp,
};
use s3s::service::{S3Service, S3ServiceBuilder};
use s3s::{S3, S3Error, S3ErrorCode, S3Request, S3Response, S3Result, s3_error};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{JoinHandle, JoinSet};
use tokio_util::sync::CancellationToken;

use super::memory::MemoryBucket;
use crate::bucket::metered::RequestCounts;
use crate::bucket::s3::url_decode;
use crate::bucket::{ListPage, ListRequest};

const ACCESS_KEY_ID: &str = "S3SWEEPTESTKEY";
const SECRET_ACCESS_KEY: &str = "s3sweep-test-secret";

/// Marks an answer that is not sent: its connection breaks.
const RESET: &str = "x-s3sweep-reset";

/// How long connections may take to end before they are cut.
const GRACE: Duration = Duration::from_secs(2);

/// Which requests a fault is for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Asked {
    /// All.
    Any,
    /// Every LIST.
    Lists,
    /// Every GET.
    Gets,
    /// LISTs whose prefix begins with this.
    Below(String),
    /// GETs of this key.
    Key(String),
}

impl Asked {
    fn fits(&self, request: &Asked) -> bool {
        match (self, request) {
            (Asked::Any, _) | (Asked::Lists, Asked::Below(_)) | (Asked::Gets, Asked::Key(_)) => true,
            (Asked::Below(prefix), Asked::Below(asked)) => asked.starts_with(prefix),
            (Asked::Key(key), Asked::Key(asked)) => key == asked,
            _ => false,
        }
    }
}

/// Runs when a request comes in.
#[derive(Clone)]
pub struct Hook(Arc<dyn Fn() + Send + Sync>);

impl std::fmt::Debug for Hook {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Hook(..)")
    }
}

/// What happens to a request instead of a good answer.
#[derive(Clone, Debug)]
pub enum ServerFault {
    /// Nothing: a good answer, so that a later request takes the next fault.
    Nothing,
    /// A hook runs before the good answer: to delete or overwrite an object in between.
    Before(Hook),
    /// The connection breaks before any header of the answer.
    Reset,
    /// An error answer.
    Error {
        /// S3's error code.
        code: &'static str,
        /// The HTTP status.
        status: u16,
        /// Seconds of a `Retry-After` header.
        retry_after: Option<u32>,
    },
    /// The connection breaks after so many bytes of the body of a GET.
    CutBody(usize),
    /// Nothing comes after so many bytes of the body of a GET.
    StallBody(usize),
    /// The body of a GET ends after so many bytes, although Content-Length announces all.
    ShortBody(usize),
    /// The body of a GET has so many bytes only, and Content-Length says so.
    TruncatedBody(usize),
    /// The body of a GET has a byte more than the object, and Content-Length says so.
    LongBody,
    /// A GET is answered with this Content-Encoding header, the bytes as they are.
    ContentEncoding(&'static str),
    /// A page holds its last key twice.
    RepeatedKey,
    /// The keys of a page come in reverse.
    Unsorted,
    /// A page is truncated, and has no token.
    NoToken,
    /// A page other than the first is truncated, and has the token again that it was asked for by.
    SameToken,
}

impl ServerFault {
    /// A hook that runs before the good answer.
    pub fn before(hook: impl Fn() + Send + Sync + 'static) -> Self {
        ServerFault::Before(Hook(Arc::new(hook)))
    }
}

/// A fault for some of the requests to come.
#[derive(Debug)]
struct Scripted {
    asked: Asked,
    times: usize,
    fault: ServerFault,
}

/// A running server. Dropping it stops it without waiting.
#[derive(Debug)]
pub struct S3Server {
    address: SocketAddr,
    shared: Arc<Shared>,
    stop: CancellationToken,
    task: Option<JoinHandle<io::Result<()>>>,
}

#[derive(Debug, Default)]
struct Shared {
    buckets: Mutex<BTreeMap<String, MemoryBucket>>,
    faults: Mutex<VecDeque<Scripted>>,
    delay: Mutex<Duration>,
    counts: Arc<RequestCounts>,
}

impl S3Server {
    /// Starts a server with these buckets, all empty. Bucket names follow S3's rules (3 to 63
    /// of `a-z 0-9 . -`).
    pub async fn start<N: Into<String>>(buckets: impl IntoIterator<Item = N>) -> io::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let address = listener.local_addr()?;
        let shared = Arc::new(Shared::default());
        let stop = CancellationToken::new();
        let mut builder = S3ServiceBuilder::new(Backend(shared.clone()));
        builder.set_auth(OneKey);
        // clients sign with the time of our Date header, which tests may set to any
        let mut config = S3Config::default();
        config.presigned_url_max_skew_time_secs = u32::MAX;
        builder.set_config(Arc::new(StaticConfigProvider::new(Arc::new(config))));
        #[allow(clippy::disallowed_methods, reason = "stop() awaits it, Drop cancels it")]
        let task = tokio::spawn(serve(listener, builder.build(), shared.clone(), stop.clone()));
        let server = S3Server { address, shared, stop, task: Some(task) };
        for name in buckets {
            server.bucket(&name.into());
        }
        Ok(server)
    }

    /// For `endpoint_url`; wants `path_style = true`.
    pub fn endpoint_url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// The one access key that the server knows.
    pub fn access_key_id(&self) -> &'static str {
        ACCESS_KEY_ID
    }

    /// Its secret.
    pub fn secret_access_key(&self) -> &'static str {
        SECRET_ACCESS_KEY
    }

    /// HTTP requests so far, refused ones included: those for an object count as GET, all
    /// others as LIST.
    pub fn counts(&self) -> &Arc<RequestCounts> {
        &self.shared.counts
    }

    /// The store behind the bucket `name`, which is made when it is not there.
    pub fn bucket(&self, name: &str) -> MemoryBucket {
        let mut buckets = lock(&self.shared.buckets);
        buckets.entry(name.to_owned()).or_insert_with(|| MemoryBucket::new(name)).clone()
    }

    /// Stores an object; returns its ETag without quotes.
    pub fn put(
        &self,
        bucket: &str,
        key: impl Into<String>,
        bytes: impl Into<Bytes>,
        last_modified: DateTime<Utc>,
    ) -> String {
        self.bucket(bucket).put(key, bytes, last_modified)
    }

    /// Removes an object; returns whether it was there.
    pub fn delete(&self, bucket: &str, key: &str) -> bool {
        self.bucket(bucket).delete(key)
    }

    /// Lets each request wait this long before it is answered.
    pub fn set_delay(&self, delay: Duration) {
        *lock(&self.shared.delay) = delay;
    }

    /// Queues a fault: each request with a valid signature takes one from the queue.
    pub fn fail_next(&self, fault: ServerFault) {
        self.fail(Asked::Any, 1, fault);
    }

    /// Queues a fault for the next `times` of these requests: each request takes the first fault
    /// in the queue that is for it. Requests with a wrong signature take none.
    pub fn fail(&self, asked: Asked, times: usize, fault: ServerFault) {
        lock(&self.shared.faults).push_back(Scripted { asked, times, fault });
    }

    /// Removes all faults.
    pub fn heal(&self) {
        lock(&self.shared.faults).clear();
    }

    /// Stops the server and waits for its connections; those that take longer than two seconds
    /// are cut. Fails when the listener failed or a connection panicked.
    pub async fn stop(mut self) -> io::Result<()> {
        self.stop.cancel();
        match self.task.take() {
            Some(task) => task.await.unwrap_or_else(|panic| Err(io::Error::other(panic))),
            None => Ok(()),
        }
    }
}

impl Drop for S3Server {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Accepts connections until told to stop, then waits for them.
async fn serve(
    listener: TcpListener,
    service: S3Service,
    shared: Arc<Shared>,
    stop: CancellationToken,
) -> io::Result<()> {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            () = stop.cancelled() => break,
            Some(ended) = connections.join_next() => ended.map_err(io::Error::other)?,
            accepted = listener.accept() => {
                let (stream, _) = accepted?;
                // without it each small answer waits for the client's delayed acknowledgement
                stream.set_nodelay(true)?;
                connections.spawn(connection(stream, service.clone(), shared.clone(), stop.clone()));
            }
        }
    }
    let ended = async {
        while let Some(ended) = connections.join_next().await {
            ended.map_err(io::Error::other)?;
        }
        Ok(())
    };
    // a stalled body would keep its connection for ever; dropping the set cuts it
    tokio::time::timeout(GRACE, ended).await.unwrap_or(Ok(()))
}

async fn connection(stream: TcpStream, service: S3Service, shared: Arc<Shared>, stop: CancellationToken) {
    let answer = service_fn(move |request: Request<Incoming>| {
        let (service, shared) = (service.clone(), shared.clone());
        async move {
            let object = request.uri().path().trim_start_matches('/').split_once('/');
            match object {
                Some((_, key)) if !key.is_empty() => shared.counts.count_get(),
                _ => shared.counts.count_list(),
            }
            let delay = *lock(&shared.delay);
            if !delay.is_zero() {
                tokio::time::sleep(delay).await;
            }
            let answer = service.call(request.map(s3s::Body::from)).await.map_err(io::Error::other)?;
            match answer.headers().contains_key(RESET) {
                true => Err(io::Error::other("reset on purpose")),
                false => Ok(answer),
            }
        }
    });
    let connection = http1::Builder::new().serve_connection(TokioIo::new(stream), answer);
    tokio::pin!(connection);
    // an error here is a client that went away or a body that was cut on purpose
    tokio::select! {
        _ = connection.as_mut() => {}
        () = stop.cancelled() => {
            connection.as_mut().graceful_shutdown();
            let _ = connection.await;
        }
    }
}

/// Knows one access key.
struct OneKey;

#[async_trait::async_trait]
impl S3Auth for OneKey {
    async fn get_secret_key(&self, access_key: &str) -> S3Result<SecretKey> {
        if access_key == ACCESS_KEY_ID {
            return Ok(SecretKey::from(SECRET_ACCESS_KEY));
        }
        Err(s3_error!(InvalidAccessKeyId, "the access key id is not known here"))
    }
}

struct Backend(Arc<Shared>);

impl Backend {
    fn bucket(&self, name: &str) -> S3Result<MemoryBucket> {
        let bucket = lock(&self.0.buckets).get(name).cloned();
        bucket.ok_or_else(|| s3_error!(NoSuchBucket, "the specified bucket does not exist"))
    }

    /// The fault of this request; one that is an error answer becomes it.
    fn fault(&self, request: &Asked) -> S3Result<ServerFault> {
        match self.next_fault(request) {
            ServerFault::Error { code, status, retry_after } => Err(refusal(code, status, retry_after)),
            ServerFault::Before(Hook(hook)) => {
                hook();
                Ok(ServerFault::Nothing)
            }
            ServerFault::Reset => {
                let mut error = s3_error!(InternalError, "not sent");
                error.set_headers(HeaderMap::from_iter([(
                    HeaderName::from_static(RESET),
                    HeaderValue::from_static("1"),
                )]));
                Err(error)
            }
            fault => Ok(fault),
        }
    }

    fn next_fault(&self, request: &Asked) -> ServerFault {
        let mut faults = lock(&self.0.faults);
        let Some(at) = faults.iter().position(|scripted| scripted.asked.fits(request)) else {
            return ServerFault::Nothing;
        };
        let scripted = &mut faults[at];
        scripted.times = scripted.times.saturating_sub(1);
        let (fault, is_spent) = (scripted.fault.clone(), scripted.times == 0);
        if is_spent {
            faults.remove(at);
        }
        fault
    }
}

/// An error answer.
fn refusal(code: &str, status: u16, retry_after: Option<u32>) -> S3Error {
    let code = S3ErrorCode::from_bytes(code.as_bytes()).unwrap_or(S3ErrorCode::InternalError);
    let mut error = S3Error::with_message(code, "a scripted failure");
    if let Ok(status) = StatusCode::from_u16(status) {
        error.set_status_code(status);
    }
    if let Some(seconds) = retry_after {
        error.set_headers(HeaderMap::from_iter([(RETRY_AFTER, HeaderValue::from(seconds))]));
    }
    error
}

#[async_trait::async_trait]
impl S3 for Backend {
    async fn list_objects_v2(
        &self,
        request: S3Request<ListObjectsV2Input>,
    ) -> S3Result<S3Response<ListObjectsV2Output>> {
        let input = request.input;
        let bucket = self.bucket(&input.bucket)?;
        let fault = self.fault(&Asked::Below(input.prefix.clone().unwrap_or_default()))?;
        if input.delimiter.as_deref().is_some_and(|delimiter| delimiter != "/") {
            return Err(s3_error!(NotImplemented, "the only delimiter here is /"));
        }
        let token = input.continuation_token.as_deref().map(url_decode);
        let asked = ListRequest {
            prefix: input.prefix.clone().unwrap_or_default(),
            start_after: input.start_after.clone(),
            by_folder: input.delimiter.is_some(),
            token: token.map(|token| String::from_utf8_lossy(&token).into_owned()),
            page_size: input.max_keys.map_or(Ok(1000), u16::try_from).unwrap_or(u16::MAX),
        };
        let page = bucket.page(&asked);
        let page =
            page.map_err(|error| S3Error::with_message(S3ErrorCode::InvalidArgument, error.message))?;
        let mut headers = HeaderMap::new();
        if let Some(date) = page.date {
            let date = date.format("%a, %d %b %Y %H:%M:%S GMT").to_string();
            headers.extend(HeaderValue::try_from(date).ok().map(|date| (DATE, date)));
        }
        Ok(S3Response::with_headers(spoilt(listing(input, page), &fault), headers))
    }

    async fn get_object(&self, request: S3Request<GetObjectInput>) -> S3Result<S3Response<GetObjectOutput>> {
        let input = request.input;
        let bucket = self.bucket(&input.bucket)?;
        let fault = self.fault(&Asked::Key(input.key.clone()))?;
        let object = bucket.object(&input.key);
        let object = object.ok_or_else(|| s3_error!(NoSuchKey, "the specified key does not exist"))?;
        let etag = ETag::Strong(object.etag);
        if let Some(ETagCondition::ETag(wanted)) = &input.if_match
            && !wanted.strong_cmp(&etag)
        {
            return Err(s3_error!(PreconditionFailed, "the precondition If-Match does not hold"));
        }
        if object.archived {
            return Err(s3_error!(InvalidObjectState, "the object is archived"));
        }
        let size = object.bytes.len();
        let (bytes, content_range) = match input.range {
            Some(range) => ranged(&object.bytes, range)?,
            None => (object.bytes, None),
        };
        let status = if content_range.is_some() { StatusCode::PARTIAL_CONTENT } else { StatusCode::OK };
        let bytes = match &fault {
            ServerFault::TruncatedBody(after) => bytes.slice(..bytes.len().min(*after)),
            ServerFault::LongBody => [&*bytes, b"\n"].concat().into(),
            _ => bytes,
        };
        let output = GetObjectOutput {
            content_encoding: match &fault {
                ServerFault::ContentEncoding(encoding) => Some((*encoding).to_owned()),
                _ => None,
            },
            content_length: i64::try_from(bytes.len()).ok(),
            content_range: content_range.map(|(first, last)| format!("bytes {first}-{last}/{size}")),
            body: Some(body(bytes, fault)),
            e_tag: Some(etag),
            last_modified: Some(timestamp(object.last_modified)),
            ..GetObjectOutput::default()
        };
        Ok(S3Response::with_status(output, status))
    }
}

/// The bytes of a range, and its first and last position.
fn ranged(bytes: &Bytes, range: Range) -> S3Result<(Bytes, Option<(u64, u64)>)> {
    let invalid = || s3_error!(InvalidRange, "the requested range is not satisfiable");
    let range = range.check(bytes.len() as u64).map_err(|_| invalid())?;
    let at = |position| usize::try_from(position).map_err(|_| invalid());
    Ok((bytes.slice(at(range.start)?..at(range.end)?), Some((range.start, range.end.saturating_sub(1)))))
}

/// How a body ends before its time.
enum End {
    Clean,
    Stalled,
    Cut,
}

/// A body, or one that does not come whole.
fn body(bytes: Bytes, fault: ServerFault) -> StreamingBlob {
    use futures_util::{StreamExt, stream};
    let (left, end) = match fault {
        ServerFault::CutBody(after) => (after, End::Cut),
        ServerFault::StallBody(after) => (after, End::Stalled),
        ServerFault::ShortBody(after) => (after, End::Clean),
        _ => (usize::MAX, End::Clean),
    };
    let end = if left < bytes.len() { end } else { End::Clean };
    let first = stream::iter([Ok(bytes.slice(..left.min(bytes.len())))]);
    StreamingBlob::wrap(first.chain(stream::once(async move {
        match end {
            End::Clean => Ok(Bytes::new()),
            End::Stalled => std::future::pending().await,
            End::Cut => {
                // lets the first part leave before the connection breaks
                tokio::time::sleep(Duration::from_millis(20)).await;
                Err(io::Error::other("cut on purpose"))
            }
        }
    })))
}

/// A page as a store should not write it.
fn spoilt(mut page: ListObjectsV2Output, fault: &ServerFault) -> ListObjectsV2Output {
    let contents = page.contents.get_or_insert_default();
    match fault {
        ServerFault::RepeatedKey => contents.extend(contents.last().cloned()),
        ServerFault::Unsorted => contents.reverse(),
        ServerFault::NoToken => {
            page.is_truncated = Some(true);
            page.next_continuation_token = None;
        }
        ServerFault::SameToken if page.continuation_token.is_some() => {
            page.is_truncated = Some(true);
            page.next_continuation_token = page.continuation_token.clone();
        }
        _ => {}
    }
    page
}

/// A page as S3 writes it.
fn listing(input: ListObjectsV2Input, page: ListPage) -> ListObjectsV2Output {
    let url = input.encoding_type.as_ref().is_some_and(|encoding| encoding.as_str() == EncodingType::URL);
    // the server library leaves the encoding that was asked for to us
    let name = |text: String| if url { url_encode(&text) } else { text };
    let objects = page.objects.into_iter().map(|object| Object {
        e_tag: Some(ETag::Strong(object.etag)),
        key: Some(name(object.key)),
        last_modified: Some(timestamp(object.last_modified)),
        size: i64::try_from(object.size).ok(),
        storage_class: Some(ObjectStorageClass::from_static(match object.archived {
            true => ObjectStorageClass::GLACIER,
            false => ObjectStorageClass::STANDARD,
        })),
        ..Object::default()
    });
    let contents: Vec<_> = objects.collect();
    let folders = page.folders.into_iter().map(|folder| CommonPrefix { prefix: Some(name(folder)) });
    let common_prefixes: Vec<_> = folders.collect();
    ListObjectsV2Output {
        key_count: i32::try_from(contents.len() + common_prefixes.len()).ok(),
        contents: Some(contents),
        common_prefixes: Some(common_prefixes),
        is_truncated: Some(page.next.is_some()),
        next_continuation_token: page.next.map(|token| url_encode(&token)),
        continuation_token: input.continuation_token,
        delimiter: input.delimiter.map(name),
        encoding_type: input.encoding_type,
        max_keys: input.max_keys.or(Some(1000)),
        name: Some(input.bucket),
        prefix: input.prefix.map(name),
        start_after: input.start_after.map(name),
        ..ListObjectsV2Output::default()
    }
}

/// Milliseconds, as S3 tells them.
fn timestamp(time: DateTime<Utc>) -> Timestamp {
    std::time::SystemTime::from(time).into()
}

/// The encoding of `encoding-type=url`: all bytes but letters, digits, `-_.~/` and the space,
/// which S3 writes as `+`.
fn url_encode(text: &str) -> String {
    let mut encoded = String::with_capacity(text.len() + 16);
    for byte in text.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' | b'/' => {
                encoded.push(char::from(byte));
            }
            b' ' => encoded.push('+'),
            _ => encoded.push_str(&format!("%{byte:02X}")),
        }
    }
    encoded
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn encoded_names_decode_to_themselves() {
        for text in ["", "a/b", "a+b %=é", "\u{1}\n\r\t", "🦀~._-", "%2B"] {
            let encoded = url_encode(text);
            assert!(encoded.is_ascii() && !encoded.contains(' '), "{encoded}");
            assert_eq!(url_decode(&encoded), text.as_bytes());
        }
    }

    #[tokio::test]
    async fn a_stopped_server_no_longer_listens() {
        let server = S3Server::start(["acme"]).await.expect("a loopback port is free");
        let address = server.address;
        assert!(TcpStream::connect(address).await.is_ok());
        server.stop().await.expect("nothing panicked");
        assert!(TcpStream::connect(address).await.is_err());
    }
}
