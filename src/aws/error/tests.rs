//! Codes, statuses and errors without an answer, each with its class.

use super::*;
use Class::*;
use aws_sdk_s3::error::ErrorMetadata;
use aws_smithy_runtime_api::http::StatusCode;
use aws_smithy_types::body::SdkBody;

#[test]
fn codes_come_first_then_the_status() {
    for (name, code, status, list, get) in [
        ("missing key", Some("NoSuchKey"), 404, Unreachable, Gone),
        ("missing bucket", Some("NoSuchBucket"), 404, Unreachable, Unreachable),
        ("404 of somebody else", None, 404, Unreachable, Object),
        ("wrong key id", Some("InvalidAccessKeyId"), 403, Unreachable, Unreachable),
        ("wrong secret", Some("SignatureDoesNotMatch"), 403, Unreachable, Unreachable),
        ("old token", Some("ExpiredToken"), 400, Unreachable, Unreachable),
        ("refused", Some("AccessDenied"), 403, Unreachable, Object),
        ("refused without a code", None, 403, Unreachable, Object),
        ("other region", Some("PermanentRedirect"), 301, Unreachable, Unreachable),
        ("other region without a code", None, 301, Unreachable, Unreachable),
        ("region in signature", Some("AuthorizationHeaderMalformed"), 400, Unreachable, Unreachable),
        ("disabled key", Some("KMS.DisabledException"), 400, Unreachable, Object),
        ("missing KMS key", Some("KMS.NotFoundException"), 400, Unreachable, Object),
        ("busy KMS", Some("KMS.ThrottlingException"), 400, Transient, Transient),
        ("archived", Some("InvalidObjectState"), 403, Unreachable, Archived),
        ("other ETag", Some("PreconditionFailed"), 412, Unreachable, Replaced),
        ("other ETag without a code", None, 412, Unreachable, Replaced),
        ("past the end", Some("InvalidRange"), 416, Unreachable, Object),
        ("slow down", Some("SlowDown"), 503, Transient, Transient),
        ("request timeout", Some("RequestTimeout"), 400, Transient, Transient),
        ("internal", Some("InternalError"), 500, Transient, Transient),
        ("gateway", None, 502, Transient, Transient),
        ("unknown code of a gateway", Some("Overload"), 504, Transient, Transient),
        ("throttled", None, 429, Transient, Transient),
        ("error within a 200", Some("InternalError"), 200, Transient, Transient),
        ("proxy wants a login", None, 407, Unreachable, Unreachable),
        ("unknown 4xx", Some("SomethingNew"), 400, Unreachable, Object),
    ] {
        assert_eq!(classify(Operation::List, code, Some(status)), list, "LIST, {name}");
        assert_eq!(classify(Operation::Get, code, Some(status)), get, "GET, {name}");
    }
    assert_eq!(classify(Operation::List, None, None), Transient);
}

#[test]
fn each_code_stands_in_the_table_once() {
    let mut codes: Vec<_> = CODES.iter().map(|(code, _, _)| *code).collect();
    let all = codes.len();
    codes.sort_unstable();
    codes.dedup();
    assert_eq!(codes.len(), all);
}

#[test]
fn no_listing_is_ever_about_one_object() {
    for (code, list, _) in CODES {
        assert!(matches!(list, Transient | Unreachable), "{code}");
    }
}

#[test]
fn retry_after_is_seconds_or_a_date() {
    let date = Some("Mon, 10 Jul 2023 11:45:00 GMT");
    for (name, value, date, wait) in [
        ("none", None, date, None),
        ("seconds", Some("7"), date, Some(7)),
        ("date", Some("Mon, 10 Jul 2023 11:45:30 GMT"), date, Some(30)),
        ("past date", Some("Mon, 10 Jul 2023 11:44:30 GMT"), date, Some(0)),
        ("date without a clock", Some("Mon, 10 Jul 2023 11:45:30 GMT"), None, None),
        ("nonsense", Some("soon"), date, None),
        ("negative", Some("-3"), date, None),
    ] {
        assert_eq!(retry_after(value, date), wait.map(Duration::from_secs), "{name}");
    }
}

#[derive(Debug, thiserror::Error)]
#[error("service error")]
struct Answer(ErrorMetadata);

impl ProvideErrorMetadata for Answer {
    fn meta(&self) -> &ErrorMetadata {
        &self.0
    }
}

fn answer(
    status: u16,
    code: &str,
    headers: &[(&'static str, &'static str)],
) -> SdkError<Answer, HttpResponse> {
    let status = StatusCode::try_from(status).expect("statuses of this table are valid");
    let mut raw = HttpResponse::new(status, SdkBody::from("<secret/>"));
    for (name, value) in headers {
        raw.headers_mut().insert(*name, *value);
    }
    let meta = ErrorMetadata::builder().code(code).message("S3's own words").build();
    SdkError::service_error(Answer(meta), raw)
}

#[test]
fn messages_carry_code_text_and_region() {
    let error =
        answer(301, "PermanentRedirect", &[("x-amz-bucket-region", "eu-west-1"), ("x-amz-request-id", "R1")]);
    let refusal = refusal(Operation::List, &error);
    assert_eq!(
        refusal.message,
        "PermanentRedirect: S3's own words (HTTP 301, request R1); the bucket lies in region eu-west-1"
    );
    assert_eq!(refusal.class, Unreachable);
}

#[test]
fn a_store_without_version_four_is_told() {
    for (text, want) in [
        ("Unsupported Authorization Type", true),
        ("The authorization mechanism you have provided is not supported.", true),
        ("Access Denied", false),
    ] {
        let status = StatusCode::try_from(400).expect("a status");
        let meta = ErrorMetadata::builder().code("InvalidArgument").message(text).build();
        let error = SdkError::service_error(Answer(meta), HttpResponse::new(status, SdkBody::empty()));
        let told = refusal(Operation::List, &error).message;
        assert_eq!(told.contains("signature version 2 only"), want, "{told}");
    }
}

#[test]
fn retry_after_is_honoured() {
    let refusal = refusal(Operation::Get, &answer(503, "SlowDown", &[("retry-after", "12")]));
    assert_eq!((refusal.class, refusal.retry_after), (Transient, Some(Duration::from_secs(12))));
}

#[test]
fn errors_without_an_answer_are_told_apart() {
    use aws_sdk_s3::error::ConnectorError;
    type Error = SdkError<Answer, HttpResponse>;
    let io = || Box::new(std::io::Error::other("refused")) as Box<dyn std::error::Error + Send + Sync>;
    let lost = CredentialsError::not_loaded("no providers in chain provided credentials");
    let slow = CredentialsError::provider_timed_out(Duration::from_secs(5));
    for (name, error, class) in [
        ("timeout", Error::timeout_error(io()), Transient),
        ("connection refused", Error::dispatch_failure(ConnectorError::io(io())), Transient),
        ("connect timeout", Error::dispatch_failure(ConnectorError::timeout(io())), Transient),
        ("bad endpoint", Error::dispatch_failure(ConnectorError::user(io())), Unreachable),
        ("no credentials", Error::dispatch_failure(ConnectorError::other(lost.into(), None)), Unreachable),
        ("slow provider", Error::dispatch_failure(ConnectorError::other(slow.into(), None)), Transient),
        ("bad request", Error::construction_failure(io()), Unreachable),
    ] {
        assert_eq!(refusal(Operation::List, &error).class, class, "{name}");
    }
}

#[test]
fn an_empty_message_leaves_no_gap() {
    let status = StatusCode::try_from(404).expect("a status");
    let meta = ErrorMetadata::builder().code("NoSuchBucket").message("").build();
    let error = SdkError::service_error(Answer(meta), HttpResponse::new(status, SdkBody::empty()));
    assert_eq!(refusal(Operation::List, &error).message, "NoSuchBucket (HTTP 404)");
}
