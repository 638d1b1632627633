//! SDK errors to failure classes: S3's error code decides, then the HTTP status, then what kind
//! of error the SDK made of it.
//!
//! The message holds S3's own code and text, the status and the request id. The SDK's error is
//! not kept as a source: its `Debug` form would print whole responses.

use std::time::Duration;

use aws_credential_types::provider::error::CredentialsError;
use aws_sdk_s3::config::http::HttpResponse;
use aws_sdk_s3::error::{ProvideErrorMetadata, SdkError};
use aws_smithy_runtime_api::client::result::DispatchFailure;
use chrono::{DateTime, Utc};

use super::advice::before_answer as before;
use super::tls;
use crate::failure::{self, Class};

/// What was asked of the bucket: the same answer can mean different things.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operation {
    /// ListObjectsV2.
    List,
    /// GetObject.
    Get,
}

/// What a failed request means.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// What follows from it.
    pub class: Class,
    /// S3's error code, where S3 answered.
    pub code: Option<String>,
    /// Where the bucket lies, where S3 answered that it lies elsewhere.
    pub bucket_region: Option<String>,
    /// S3's code and text, or what went wrong on the way.
    pub message: String,
    /// The `Retry-After` header, in seconds or as a date.
    pub retry_after: Option<Duration>,
    /// `code`, or that of the table in [`super::advice`] for an answer without one and for none
    /// at all.
    pub known_as: String,
    /// The clock of whoever answered.
    pub date: Option<DateTime<Utc>>,
    /// Whether the request itself was sent: `false` where there were no credentials to sign it
    /// with, or no request to be made of the settings.
    pub was_sent: bool,
}

/// S3's error codes: the class for LIST and the one for GET. Codes that are not here are
/// decided by their HTTP status.
const CODES: &[(&str, Class, Class)] = {
    use Class::*;
    &[
        // the store is busy or had an accident
        ("BandwidthLimitExceeded", Transient, Transient),
        ("ClientDisconnected", Transient, Transient),
        ("ConditionalRequestConflict", Transient, Transient),
        ("IncompleteBody", Transient, Transient),
        ("InternalError", Transient, Transient),
        ("InternalFailure", Transient, Transient),
        ("KMS.ThrottlingException", Transient, Transient),
        ("OperationAborted", Transient, Transient),
        ("PriorRequestNotComplete", Transient, Transient),
        ("RequestLimitExceeded", Transient, Transient),
        ("RequestThrottled", Transient, Transient),
        ("RequestThrottledException", Transient, Transient),
        ("RequestTimeout", Transient, Transient),
        ("RequestTimeoutException", Transient, Transient),
        ("ServiceUnavailable", Transient, Transient),
        ("SlowDown", Transient, Transient),
        ("Throttling", Transient, Transient),
        ("ThrottlingException", Transient, Transient),
        ("TooManyRequests", Transient, Transient),
        ("TooManyRequestsException", Transient, Transient),
        // who we are
        ("AccountProblem", Unreachable, Unreachable),
        ("AllAccessDisabled", Unreachable, Unreachable),
        ("CredentialsNotSupported", Unreachable, Unreachable),
        ("ExpiredToken", Unreachable, Unreachable),
        ("InvalidAccessKeyId", Unreachable, Unreachable),
        ("InvalidClientTokenId", Unreachable, Unreachable),
        ("InvalidPayer", Unreachable, Unreachable),
        ("InvalidSecurity", Unreachable, Unreachable),
        ("InvalidToken", Unreachable, Unreachable),
        ("MissingSecurityHeader", Unreachable, Unreachable),
        ("NotSignedUp", Unreachable, Unreachable),
        ("RequestExpired", Unreachable, Unreachable),
        ("RequestTimeTooSkewed", Unreachable, Unreachable),
        ("SignatureDoesNotMatch", Unreachable, Unreachable),
        ("TokenRefreshRequired", Unreachable, Unreachable),
        ("UnrecognizedClientException", Unreachable, Unreachable),
        // where the bucket is
        ("AuthorizationHeaderMalformed", Unreachable, Unreachable),
        ("IllegalLocationConstraintException", Unreachable, Unreachable),
        ("InvalidAccessPoint", Unreachable, Unreachable),
        ("InvalidBucketName", Unreachable, Unreachable),
        ("NoSuchAccessPoint", Unreachable, Unreachable),
        ("NoSuchBucket", Unreachable, Unreachable),
        ("PermanentRedirect", Unreachable, Unreachable),
        ("Redirect", Unreachable, Unreachable),
        ("TemporaryRedirect", Unreachable, Unreachable),
        // one object, or one leaf
        ("AccessDenied", Unreachable, Object),
        ("AccessForbidden", Unreachable, Object),
        ("Forbidden", Unreachable, Object),
        ("InvalidObjectState", Unreachable, Archived),
        ("InvalidRange", Unreachable, Object),
        ("KeyTooLongError", Unreachable, Object),
        ("NoSuchKey", Unreachable, Gone),
        ("NoSuchVersion", Unreachable, Gone),
        ("NotFound", Unreachable, Gone),
        ("PreconditionFailed", Unreachable, Replaced),
    ]
};

/// The class of an answer by its error code and HTTP status.
///
/// A 404 that names no code was not written by S3 (a proxy, a wrong endpoint): for GET it is
/// [`Class::Object`], since [`Class::Gone`] would settle an object that nobody has seen missing.
pub fn classify(operation: Operation, code: Option<&str>, status: Option<u16>) -> Class {
    let by_operation = |list, get| match operation {
        Operation::List => list,
        Operation::Get => get,
    };
    if let Some((_, list, get)) = CODES.iter().find(|(known, _, _)| Some(*known) == code) {
        return by_operation(*list, *get);
    }
    match status {
        None | Some(..=299 | 408 | 425 | 429 | 500..) => Class::Transient,
        Some(300..=399 | 401 | 407) => Class::Unreachable,
        Some(412) => by_operation(Class::Unreachable, Class::Replaced),
        // KMS.DisabledException and its kin, and whatever S3 will refuse an object for tomorrow
        Some(400..=499) => by_operation(Class::Unreachable, Class::Object),
    }
}

/// What an SDK error means for `operation`.
pub fn refusal<E>(operation: Operation, error: &SdkError<E, HttpResponse>) -> Refusal
where
    E: ProvideErrorMetadata + std::error::Error + 'static,
{
    let refusal = |class, code: &str, message| Refusal {
        class,
        code: None,
        bucket_region: None,
        message,
        retry_after: None,
        known_as: code.to_owned(),
        date: None,
        was_sent: code != before::BAD_REQUEST,
    };
    if let Some(failure) = identity_failure(error) {
        let message = format!("no credentials: {}", failure.words);
        return Refusal { was_sent: false, ..refusal(failure.class, &failure.code, message) };
    }
    let cause = std::error::Error::source(error);
    let text = cause.map_or_else(|| error.to_string(), failure::chain);
    if let Some(advice) = tls::advice(error) {
        let code = match connection_code(&text) {
            before::NO_CONNECTION => before::TLS,
            code => code,
        };
        return refusal(Class::Unreachable, code, format!("no TLS connection: {text}; {advice}"));
    }
    if text.contains(PROXY_REFUSED) {
        let advice = "the proxy asks for another user and password: see `proxy` or HTTPS_PROXY";
        return refusal(
            Class::Unreachable,
            before::PROXY_REFUSED,
            format!("no connection: {text}; {advice}"),
        );
    }
    match error {
        SdkError::ServiceError(context) => answered(operation, context.err(), context.raw()),
        SdkError::TimeoutError(_) => {
            refusal(Class::Transient, before::TIMEOUT, format!("no answer in time: {text}"))
        }
        SdkError::ResponseError(context) => {
            let status = context.raw().status().as_u16();
            let message = format!("unreadable answer (HTTP {status}): {text}");
            refusal(Class::Transient, &format!("HTTP {status}"), message)
        }
        SdkError::DispatchFailure(failure) if failure.is_user() => {
            refusal(Class::Unreachable, before::BAD_REQUEST, text)
        }
        SdkError::DispatchFailure(failure) if is_unsent(failure) => match operation {
            Operation::List => refusal(Class::Unreachable, before::BAD_REQUEST, text),
            // its listing was sent: whatever changed meanwhile, it is not the object's fault
            Operation::Get => refusal(Class::Transient, before::BAD_REQUEST, text),
        },
        SdkError::DispatchFailure(failure) if failure.is_timeout() => {
            refusal(Class::Transient, before::TIMEOUT, format!("no answer in time: {text}"))
        }
        SdkError::DispatchFailure(_) => {
            refusal(Class::Transient, connection_code(&text), format!("no connection: {text}"))
        }
        SdkError::ConstructionFailure(_) => match operation {
            Operation::List => refusal(Class::Unreachable, before::BAD_REQUEST, text),
            Operation::Get => refusal(Class::Object, before::BAD_REQUEST, text),
        },
        // the SDK may add kinds; another request does no harm and is bounded
        _ => refusal(Class::Transient, before::NO_CONNECTION, text),
    }
}

/// Whether no connection was tried: what the SDK refuses of an endpoint, an ARN or a signature it tells
/// as a failure of no kind. So it does with errors of the HTTP client that it does not know.
fn is_unsent(failure: &DispatchFailure) -> bool {
    let of_client = || {
        let first = failure.as_connector_error().and_then(std::error::Error::source);
        std::iter::successors(first, |error| error.source()).any(|error| error.is::<hyper::Error>())
    };
    failure.is_other() && failure.as_other().is_none() && !of_client()
}

/// Why there is no connection, as far as the texts of the connectors tell: their errors are of
/// no public type.
fn connection_code(text: &str) -> &'static str {
    let says = |words: &[&str]| words.iter().any(|word| text.contains(word));
    if says(&["tunnel error: failed to create underlying connection: tcp"]) {
        before::PROXY_UNREACHABLE
    } else if says(&["tunnel error: failed to create underlying connection: dns"]) {
        before::PROXY_UNKNOWN
    } else if says(&["proxy authorization", "tunnel error: unsuccessful"]) {
        before::PROXY_REFUSED
    } else if says(&["dns error", "invalid dns name", "failed to lookup address"]) {
        before::NAME_UNKNOWN
    } else if says(&["invalid peer certificate", "UnknownIssuer", "NotValidForName"]) {
        before::CERTIFICATE
    } else if says(&["corrupt message", "InvalidContentType", "received fatal alert", "peer is incompatible"])
    {
        before::TLS
    } else {
        before::NO_CONNECTION
    }
}

/// What the HTTP client says when a proxy answers CONNECT with 407.
const PROXY_REFUSED: &str = "proxy authorization required";

/// What an answer of S3 means.
fn answered<E: ProvideErrorMetadata>(operation: Operation, error: &E, raw: &HttpResponse) -> Refusal {
    let class = classify(operation, error.code(), Some(raw.status().as_u16()));
    let mut message = answer(error, raw);
    let region = raw.headers().get("x-amz-bucket-region").filter(|_| class == Class::Unreachable);
    if let Some(region) = region {
        message.push_str(&format!("; the bucket lies in region {region}"));
    }
    if class != Class::Transient && is_version_two_only(error) {
        message.push_str(
            "; this store seems to know signature version 2 only: s3sweep signs with version 4, which the store \
             must allow",
        );
    }
    let headers = raw.headers();
    Refusal {
        class,
        code: error.code().map(str::to_owned),
        bucket_region: region.map(str::to_owned),
        message,
        retry_after: retry_after(headers.get("retry-after"), headers.get("date")),
        known_as: code_of(error, raw.status().as_u16()),
        date: headers.get("date").and_then(|date| Some(DateTime::parse_from_rfc2822(date).ok()?.to_utc())),
        was_sent: true,
    }
}

/// Code, text, status and request id of an answer.
fn answer<E: ProvideErrorMetadata>(error: &E, raw: &HttpResponse) -> String {
    let status = raw.status().as_u16();
    // some stores send an empty one
    let text = error.message().filter(|text| !text.trim().is_empty());
    let mut message = match (error.code(), text) {
        (Some(code), Some(text)) => format!("{code}: {text} (HTTP {status}"),
        (Some(code), None) => format!("{code} (HTTP {status}"),
        (None, Some(text)) => format!("{text} (HTTP {status}"),
        (None, None) => format!("an answer without an error code (HTTP {status}"),
    };
    if let Some(id) = raw.headers().get("x-amz-request-id").or_else(|| raw.headers().get("x-amzn-requestid"))
    {
        message.push_str(&format!(", request {id}"));
    }
    message.push(')');
    message
}

/// A failed request to another service than S3, in words.
pub(super) fn describe<E>(error: &SdkError<E, HttpResponse>) -> String
where
    E: ProvideErrorMetadata + std::error::Error + 'static,
{
    match error {
        SdkError::ServiceError(context) => answer(context.err(), context.raw()),
        error => {
            let text = std::error::Error::source(error).map_or_else(|| error.to_string(), failure::chain);
            match tls::advice(error) {
                Some(advice) => format!("{text}; {advice}"),
                None => text,
            }
        }
    }
}

/// The code that the table of advice knows an answer by. S3 refuses a GET for want of
/// kms:Decrypt with AccessDenied, and only the text tells.
fn code_of<E: ProvideErrorMetadata>(error: &E, status: u16) -> String {
    match error.code() {
        _ if is_version_two_only(error) => before::VERSION_TWO.to_owned(),
        Some("AccessDenied") if error.message().is_some_and(|text| text.contains("kms:")) => {
            "KMS.AccessDenied".to_owned()
        }
        // the SDK's own word for a 404 without a body
        None | Some("NotFound") => format!("HTTP {status}"),
        Some(code) => code.to_owned(),
    }
}

/// Whether a store complains of the kind of our signature, in the words that stores have for it.
fn is_version_two_only<E: ProvideErrorMetadata>(error: &E) -> bool {
    const COMPLAINTS: &[&str] = &[
        "unsupported authorization type",
        "authorization type is not supported",
        "authorization mechanism you have provided is not supported",
        "only signature version 2",
        "signature version 4 is not supported",
        "unsupported signature version",
        "aws4-hmac-sha256 is not supported",
    ];
    let text = error.message().unwrap_or_default().to_lowercase();
    COMPLAINTS.iter().any(|complaint| text.contains(complaint))
}

/// Why there are no credentials.
#[derive(Debug, thiserror::Error)]
#[error("{words}")]
pub(super) struct NotGiven {
    /// What happened, with the place that was asked.
    pub words: String,
    /// The code in the table of [`super::advice`], where it says more than that there are none.
    pub code: Option<String>,
}

/// What STS refuses has codes of its own in the table: its `AccessDenied` is about a role.
pub(super) fn code_of_sts(code: &str) -> String {
    match code {
        "AccessDenied" | "AccessDeniedException" | "HTTP 403" => before::ROLE_REFUSED.to_owned(),
        "ExpiredTokenException" => "ExpiredToken".to_owned(),
        code => code.to_owned(),
    }
}

/// A failure to find or fetch credentials.
struct IdentityFailure {
    class: Class,
    words: String,
    code: String,
}

/// What is known of a failure to find or fetch credentials; `None` when it is another failure.
fn identity_failure(error: &(dyn std::error::Error + 'static)) -> Option<IdentityFailure> {
    let mut cause = Some(error);
    while let Some(error) = cause {
        if let Some(identity) = error.downcast_ref::<CredentialsError>() {
            let class = match identity {
                CredentialsError::ProviderTimedOut(_) => Class::Transient,
                _ => Class::Unreachable,
            };
            let cause = error.source();
            let code =
                cause.and_then(|cause| cause.downcast_ref::<NotGiven>()).and_then(|not| not.code.clone());
            return Some(IdentityFailure {
                class,
                words: cause.map_or_else(|| identity.to_string(), failure::chain),
                code: code.unwrap_or_else(|| before::NO_CREDENTIALS.to_owned()),
            });
        }
        cause = error.source();
    }
    None
}

/// A `Retry-After` header: seconds, or a date that is read against the answer's own `Date`.
fn retry_after(value: Option<&str>, date: Option<&str>) -> Option<Duration> {
    let value = value?.trim();
    if let Ok(seconds) = value.parse() {
        return Some(Duration::from_secs(seconds));
    }
    let until = DateTime::parse_from_rfc2822(value).ok()?;
    let now = DateTime::parse_from_rfc2822(date?).ok()?;
    Some((until - now).to_std().unwrap_or_default())
}

#[cfg(test)]
mod tests;
