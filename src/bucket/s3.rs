//! A bucket of S3 or of a compatible store, over the AWS SDK.
//!
//! Pages come with their keys decoded and their ETags without quotes. A page that lacks what a
//! sweep relies on is an error, and so is a body that ends early. Whether keys rise is checked
//! by the caller, who sees all pages.

use std::borrow::Cow;
use std::sync::{Arc, OnceLock};

use async_trait::async_trait;
use aws_sdk_s3::Client;
use aws_sdk_s3::config::interceptors::BeforeDeserializationInterceptorContextRef;
use aws_sdk_s3::config::{ConfigBag, Intercept, RuntimeComponents};
use aws_sdk_s3::error::BoxError;
use aws_sdk_s3::operation::get_object::GetObjectOutput;
use aws_sdk_s3::operation::list_objects_v2::ListObjectsV2Output;
use aws_sdk_s3::primitives::ByteStream;
use aws_sdk_s3::types::{EncodingType, Object, ObjectStorageClass, RequestPayer};
use aws_smithy_runtime_api::client::interceptors::dyn_dispatch_hint;
use bytes::Bytes;
use chrono::{DateTime, Utc};
use futures_util::stream;

use super::metered::RequestCounts;
use super::{Answer, Body, Bucket, BucketError, GetRequest, ListPage, ListRequest, ObjectRef, Signer};
use crate::aws::Connection;
use crate::aws::error::{Operation, Refusal, refusal};
use crate::failure::{self, Class};

/// One bucket, by its name, access point alias or ARN.
#[derive(Clone, Debug)]
pub struct S3Bucket {
    connection: Arc<Connection>,
    name: Arc<str>,
    /// Requests that were sent again.
    repeats: Arc<RequestCounts>,
}

impl S3Bucket {
    /// The bucket `name` at the end of `connection`.
    pub fn new(connection: Connection, name: Arc<str>) -> Self {
        S3Bucket { connection: Arc::new(connection), name, repeats: Arc::default() }
    }

    /// Sends a request; once more when the refusal was about credentials that expired or about the
    /// bucket's region, and that could be mended.
    async fn mended<T, F>(
        &self,
        count_again: fn(&RequestCounts),
        send: impl Fn(Client) -> F,
    ) -> Result<T, Refusal>
    where
        F: Future<Output = Result<T, Refusal>>,
    {
        let token = self.connection.token().await;
        match send(self.connection.client()).await {
            Err(refusal) if self.connection.mend(&refusal, token.as_deref()).await => {
                count_again(&self.repeats);
                send(self.connection.client()).await
            }
            answer => answer,
        }
    }

    fn payer(&self) -> Option<RequestPayer> {
        self.connection.requester_pays.then_some(RequestPayer::Requester)
    }

    fn owner(&self) -> Option<String> {
        self.connection.expected_bucket_owner.clone()
    }

    /// Asks for one page; with it comes the answer's Date.
    async fn send_list(
        &self,
        client: Client,
        request: &ListRequest,
    ) -> Result<(ListObjectsV2Output, Option<DateTime<Utc>>), Refusal> {
        let date = DateHeader::default();
        let mut call = client
            .list_objects_v2()
            .bucket(&*self.name)
            .set_request_payer(self.payer())
            .set_expected_bucket_owner(self.owner())
            // without it XML could not carry keys with control characters
            .encoding_type(EncodingType::Url)
            .max_keys(i32::from(request.keys_per_page()))
            .prefix(&request.prefix);
        match &request.token {
            Some(token) => call = call.continuation_token(token),
            None => call = call.set_start_after(request.start_after.clone()),
        }
        if request.by_folder {
            call = call.delimiter("/");
        }
        let sent = call.customize().interceptor(date.clone()).send().await;
        let output = sent.map_err(|error| refusal(Operation::List, &error))?;
        Ok((output, date.0.get().copied()))
    }

    async fn send_get(&self, client: Client, request: &GetRequest) -> Result<GetObjectOutput, Refusal> {
        let mut call = client
            .get_object()
            .bucket(&*self.name)
            .key(&request.key)
            .set_request_payer(self.payer())
            .set_expected_bucket_owner(self.owner())
            .if_match(quoted(&request.if_match));
        if request.from > 0 {
            call = call.range(format!("bytes={}-", request.from));
        }
        call.send().await.map_err(|error| refusal(Operation::Get, &error))
    }

    /// Turns an answer into a page; the error is the class and what the answer lacks.
    fn page(&self, output: &ListObjectsV2Output) -> Result<ListPage, (Class, &'static str)> {
        let encoded = output.encoding_type() == Some(&EncodingType::Url);
        let mut page = ListPage::default();
        for object in output.contents() {
            match self.object(object, encoded)? {
                Some(object) => page.objects.push(object),
                None => page.not_utf8 += 1,
            }
        }
        for folder in output.common_prefixes() {
            let folder = folder.prefix().ok_or((Class::Transient, "a folder without its name"))?;
            page.folders.extend(decoded(folder, encoded));
        }
        let token = output.next_continuation_token().filter(|token| !token.is_empty());
        page.next = match (output.is_truncated(), token) {
            (Some(false), _) | (None, None) => None,
            // some compatible stores tell by the token alone that there is more
            (Some(true) | None, Some(token)) => Some(token.to_owned()),
            (Some(true), None) => {
                return Err((Class::Transient, "a page that is not the last one and has no token"));
            }
        };
        Ok(page)
    }

    /// One entry of a listing; `None` for a key that is not UTF-8.
    fn object(&self, object: &Object, encoded: bool) -> Result<Option<ObjectRef>, (Class, &'static str)> {
        let key = object.key().ok_or((Class::Transient, "an object without its key"))?;
        let Some(key) = decoded(key, encoded) else { return Ok(None) };
        // without an ETag no GET could be pinned to what was listed
        let etag = object.e_tag().ok_or((Class::Unreachable, "an object without its ETag"))?;
        let size = object.size().and_then(|size| u64::try_from(size).ok());
        let modified = object
            .last_modified()
            .and_then(|time| DateTime::from_timestamp(time.secs(), time.subsec_nanos()));
        let archived = matches!(
            object.storage_class(),
            Some(ObjectStorageClass::Glacier | ObjectStorageClass::DeepArchive)
        );
        Ok(Some(ObjectRef {
            bucket: self.name.clone(),
            key,
            etag: unquoted(etag).to_owned(),
            // one of no bytes would be settled without a GET
            size: size.ok_or((Class::Unreachable, "an object without its size"))?,
            last_modified: modified.ok_or((Class::Unreachable, "an object without its LastModified"))?,
            archived,
        }))
    }
}

#[async_trait]
impl Bucket for S3Bucket {
    async fn list(&self, request: &ListRequest) -> Result<ListPage, BucketError> {
        let sent = self.mended(RequestCounts::count_list, |client| self.send_list(client, request)).await;
        let (output, date) = sent.map_err(|refusal| {
            let retry_after = refusal.retry_after;
            let answer = Some(Box::new(answer_of(&refusal)));
            let error = BucketError::list(refusal.class, &self.name, request, refusal.message);
            BucketError { retry_after, answer, ..error }
        })?;
        let mut page = self.page(&output).map_err(|(class, lack)| {
            BucketError::list(class, &self.name, request, format!("the listing has {lack}"))
        })?;
        if page.next.is_some() && page.next == request.token {
            let message = "the listing does not go on: its token came again".to_owned();
            return Err(BucketError::list(Class::Unreachable, &self.name, request, message));
        }
        page.date = date;
        Ok(page)
    }

    async fn get(&self, request: &GetRequest) -> Result<Body, BucketError> {
        let sent = self.mended(RequestCounts::count_get, |client| self.send_get(client, request)).await;
        let output = sent.map_err(|refusal| {
            let retry_after = refusal.retry_after;
            let answer = Some(Box::new(answer_of(&refusal)));
            let error = BucketError::get(refusal.class, &self.name, request, refusal.message);
            BucketError { retry_after, answer, ..error }
        })?;
        // some compatible stores ignore If-Match
        if let Some(etag) = output.e_tag().map(unquoted).filter(|etag| *etag != request.if_match) {
            let message = format!("the ETag is {etag}, {} was listed", request.if_match);
            return Err(BucketError::get(Class::Replaced, &self.name, request, message));
        }
        Ok(self.body(request, output))
    }

    fn repeats(&self) -> Option<&RequestCounts> {
        Some(&self.repeats)
    }

    async fn signer(&self, known: Option<Signer>) -> Option<Signer> {
        self.connection.signer(known).await
    }
}

/// What is told of a refusal.
fn answer_of(refusal: &Refusal) -> Answer {
    Answer { code: refusal.known_as.clone(), date: refusal.date, was_sent: refusal.was_sent }
}

/// A body on its way.
struct Arrival {
    bucket: Arc<str>,
    request: GetRequest,
    bytes: ByteStream,
    /// Bytes at the front that were not asked for.
    skip: u64,
    /// Bytes that the answer announced and that did not come yet.
    missing: u64,
}

impl S3Bucket {
    fn body(&self, request: &GetRequest, output: GetObjectOutput) -> Body {
        // a store that ignores Range sends the whole object
        let ranged = output.content_range().is_some();
        let arrival = Arrival {
            bucket: self.name.clone(),
            request: request.clone(),
            skip: if ranged { 0 } else { request.from },
            missing: output.content_length().and_then(|length| u64::try_from(length).ok()).unwrap_or(0),
            bytes: output.body,
        };
        Box::pin(stream::try_unfold(arrival, |mut arrival| async move {
            Ok(arrival.next().await?.map(|chunk| (chunk, arrival)))
        }))
    }
}

impl Arrival {
    /// The next bytes that were asked for; `None` at the announced end.
    async fn next(&mut self) -> Result<Option<Bytes>, BucketError> {
        loop {
            let chunk = self.bytes.try_next().await;
            let chunk = chunk.map_err(|error| self.cut(&failure::chain(&error)))?;
            let Some(mut chunk) = chunk else {
                return match self.missing {
                    0 => Ok(None),
                    missing => Err(self.cut(&format!("{missing} bytes are missing"))),
                };
            };
            let length = chunk.len() as u64;
            self.missing = self.missing.saturating_sub(length);
            let skipped = self.skip.min(length);
            self.skip -= skipped;
            bytes::Buf::advance(&mut chunk, usize::try_from(skipped).unwrap_or(usize::MAX));
            if !chunk.is_empty() {
                return Ok(Some(chunk));
            }
        }
    }

    fn cut(&self, how: &str) -> BucketError {
        BucketError::get(Class::Transient, &self.bucket, &self.request, format!("the body was cut: {how}"))
    }
}

/// Takes the `Date` header from the answer that it is given to: the SDK's output lacks it.
#[derive(Clone, Debug, Default)]
struct DateHeader(Arc<OnceLock<DateTime<Utc>>>);

#[dyn_dispatch_hint]
impl Intercept for DateHeader {
    fn name(&self) -> &'static str {
        "DateHeader"
    }

    fn read_before_deserialization(
        &self,
        context: &BeforeDeserializationInterceptorContextRef<'_>,
        _components: &RuntimeComponents,
        _config: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        let date = context.response().headers().get("date");
        if let Some(Ok(date)) = date.map(DateTime::parse_from_rfc2822) {
            // a second answer cannot come: the SDK's retries are off
            self.0.get_or_init(|| date.to_utc());
        }
        Ok(())
    }
}

/// An ETag without its quotes; a weak one stays as it is.
fn unquoted(etag: &str) -> &str {
    etag.strip_prefix('"').and_then(|etag| etag.strip_suffix('"')).unwrap_or(etag)
}

/// The inverse of [`unquoted`].
fn quoted(etag: &str) -> String {
    if etag.starts_with("W/") { etag.to_owned() } else { format!("\"{etag}\"") }
}

/// A name of a listing as it is; `None`, with a warning, when it is not UTF-8.
fn decoded(name: &str, encoded: bool) -> Option<String> {
    if !encoded {
        return Some(name.to_owned());
    }
    match String::from_utf8(url_decode(name).into_owned()) {
        Ok(name) => Some(name),
        Err(_) => {
            tracing::warn!(key = name, "key is not UTF-8 and cannot be asked for, left out");
            None
        }
    }
}

/// Undoes the encoding of `encoding-type=url`: `%XX` is a byte, `+` a space, and a `%` that no
/// two hexadecimal digits follow stands for itself.
pub(crate) fn url_decode(text: &str) -> Cow<'_, [u8]> {
    if !text.contains(['%', '+']) {
        return Cow::Borrowed(text.as_bytes());
    }
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [first, tail @ ..] = rest {
        let digit = |at: usize| tail.get(at).and_then(|byte| char::from(*byte).to_digit(16));
        match (first, digit(0), digit(1)) {
            (b'%', Some(high), Some(low)) => {
                bytes.push((high * 16 + low) as u8);
                rest = &tail[2..];
                continue;
            }
            (b'+', _, _) => bytes.push(b' '),
            (byte, _, _) => bytes.push(*byte),
        }
        rest = tail;
    }
    Cow::Owned(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::aws::{self, Timeouts};
    use crate::config::Access;
    use aws_sdk_s3::primitives::DateTime as SdkDateTime;

    async fn bucket() -> S3Bucket {
        let access = Access { region: Some("us-east-1".into()), ..Access::default() };
        let connection = aws::connect(&access, Timeouts::default()).await.expect("no bundle, no proxy");
        S3Bucket::new(connection, "acme".into())
    }

    fn object(key: &str) -> aws_sdk_s3::types::builders::ObjectBuilder {
        Object::builder()
            .key(key)
            .e_tag("\"e1\"")
            .size(3)
            .last_modified(SdkDateTime::from_secs(1_688_989_512))
    }

    #[test]
    fn url_encoding_is_undone() {
        for (name, encoded, plain) in [
            ("plain", "a/b-c_d.e~f", "a/b-c_d.e~f"),
            ("plus is a space", "a+b", "a b"),
            ("encoded plus", "a%2Bb", "a+b"),
            ("encoded percent", "100%25", "100%"),
            ("either case", "%c3%A9", "é"),
            ("control character", "a%0Ab%01", "a\nb\u{1}"),
            ("beyond the BMP", "%F0%9F%A6%80", "🦀"),
            ("lone percent", "50%", "50%"),
            ("percent and one digit", "%4", "%4"),
            ("percent and no digits", "%zz%+", "%zz% "),
            ("empty", "", ""),
        ] {
            assert_eq!(url_decode(encoded), plain.as_bytes(), "{name}");
        }
    }

    #[test]
    fn keys_are_decoded_only_when_the_store_encoded_them() {
        assert_eq!(decoded("a+b%20c", true).as_deref(), Some("a b c"));
        assert_eq!(decoded("a+b%20c", false).as_deref(), Some("a+b%20c"));
        assert_eq!(decoded("%ff", true), None);
    }

    #[tokio::test]
    async fn keys_that_are_not_utf8_are_left_out_and_counted() {
        let output = ListObjectsV2Output::builder()
            .encoding_type(EncodingType::Url)
            .contents(object("a").build())
            .contents(object("b%ff").build());
        let page = bucket().await.page(&output.build()).expect("the objects are complete");
        assert_eq!((page.objects.len(), page.not_utf8), (1, 1));
    }

    #[test]
    fn etags_lose_and_regain_their_quotes() {
        for (raw, bare) in [("\"abc-2\"", "abc-2"), ("W/\"abc\"", "W/\"abc\"")] {
            assert_eq!(unquoted(raw), bare);
            assert_eq!(quoted(bare), raw);
        }
        assert_eq!(unquoted("abc"), "abc");
        assert_eq!(unquoted("\""), "\"");
    }

    #[tokio::test]
    async fn archive_classes_are_told_apart() {
        for (class, archived) in [
            (ObjectStorageClass::Glacier, true),
            (ObjectStorageClass::DeepArchive, true),
            (ObjectStorageClass::GlacierIr, false),
            (ObjectStorageClass::Standard, false),
            (ObjectStorageClass::IntelligentTiering, false),
        ] {
            let output = ListObjectsV2Output::builder()
                .contents(object("k").storage_class(class.clone()).build())
                .build();
            let page = bucket().await.page(&output).expect("the object is complete");
            assert_eq!(page.objects[0].archived, archived, "{class:?}");
        }
    }

    #[tokio::test]
    async fn incomplete_pages_are_errors() {
        let bucket = bucket().await;
        let page = |output: ListObjectsV2Output| bucket.page(&output).map(|page| page.next);
        let cut = ListObjectsV2Output::builder().is_truncated(true);
        assert_eq!(page(cut.clone().build()).map_err(|(class, _)| class), Err(Class::Transient));
        assert_eq!(
            page(cut.clone().next_continuation_token("").build()).map_err(|(class, _)| class),
            Err(Class::Transient)
        );
        assert_eq!(page(cut.next_continuation_token("t").build()), Ok(Some("t".into())));
        let modified = SdkDateTime::from_secs(0);
        for (name, lacking) in [
            ("no ETag", Object::builder().key("k").size(3).last_modified(modified)),
            ("no time", Object::builder().key("k").size(3).e_tag("e")),
            ("no size", Object::builder().key("k").e_tag("e").last_modified(modified)),
            ("a size below zero", object("k").size(-1)),
        ] {
            let output = ListObjectsV2Output::builder().contents(lacking.build()).build();
            assert_eq!(page(output).map_err(|(class, _)| class), Err(Class::Unreachable), "{name}");
        }
    }

    /// A store that leaves out IsTruncated has more where it gives a token.
    #[tokio::test]
    async fn a_token_is_followed_unless_the_page_is_the_last() {
        let bucket = bucket().await;
        for (is_truncated, token, next) in [
            (None, Some("t"), Some("t")),
            (None, Some(""), None),
            (None, None, None),
            (Some(false), Some("t"), None),
            (Some(false), None, None),
        ] {
            let output = ListObjectsV2Output::builder()
                .set_is_truncated(is_truncated)
                .set_next_continuation_token(token.map(str::to_owned));
            let page = bucket.page(&output.build()).expect("a whole page");
            assert_eq!(page.next.as_deref(), next, "{is_truncated:?} {token:?}");
        }
    }
}
