//! A refused request as a line: what it means, what to do, and the statement that is missing.

use serde_json::Value;

use super::{Fault, Line, Status};
use crate::aws::advice::{Advice, Stage, advice, before_answer as before};
use crate::bucket::BucketError;
use crate::config::SourceConfig;
use crate::failure::{self, Class};
use crate::policy;

/// Where an operator looks when the table does not know a code.
const UNKNOWN: &str =
    "Look the code up in S3's list of error responses, and ask the store's operator with the request id.";

/// What is known about a refusal.
pub(super) fn known(error: &BucketError) -> Option<&'static Advice> {
    code_of(error).and_then(advice)
}

/// How far the request came; `None` for what the table does not know.
pub(super) fn stage(error: &BucketError) -> Option<Stage> {
    known(error).map(|advice| advice.stage)
}

/// The code of the answer, or of what stood in its place.
pub(super) fn code_of(error: &BucketError) -> Option<&str> {
    error.answer.as_ref().map(|answer| answer.code.as_str())
}

/// Whether anything was sent at all.
pub(super) fn was_sent(error: &BucketError) -> bool {
    error.answer.as_ref().is_some_and(|answer| answer.was_sent)
}

/// The line of a request that failed.
pub(super) fn line(check: &'static str, source: &SourceConfig, error: &BucketError) -> Line {
    let known = known(error);
    let text = failure::chain(error);
    let (detail, next) = match known {
        Some(advice) => (format!("{text}. {}", advice.meaning), advice.next),
        None if error.class == Class::Transient => (text, "Run the check again; s3sweep itself tries again."),
        None => (text, UNKNOWN),
    };
    let next = match (code_of(error), other_owner(source)) {
        (Some("AccessDenied"), Some(owner)) => format!("{owner} {next}"),
        _ => next.to_owned(),
    };
    let check = known.map_or(check, |advice| named(check, advice.stage));
    let statement = known.and_then(|advice| missing(advice, source, error));
    let detail = match known.and_then(|advice| way(advice.stage, source, error)) {
        Some(way) => format!("{detail} {way}"),
        None => detail,
    };
    let detail = match &statement {
        Some(statement) => {
            format!("{detail} Missing action: {}.", statement["Action"].as_str().unwrap_or("?"))
        }
        None => detail,
    };
    // objects come and go, and archived ones are kept as failed by name
    let status = match error.class {
        Class::Archived | Class::Gone | Class::Replaced => Status::Warning,
        Class::Transient | Class::Content | Class::Object | Class::Unreachable => Status::Failed,
    };
    Line {
        code: code_of(error).map(str::to_owned),
        statement,
        ..Line::new(check, status, Fault::Source, detail).next(next)
    }
}

/// What to look at before any policy where the source names the bucket's owner: S3 refuses the bucket
/// of another one with `AccessDenied` too (user guide, "Verifying bucket ownership with bucket owner
/// condition").
pub(super) fn other_owner(source: &SourceConfig) -> Option<String> {
    let owner = source.access.expected_bucket_owner.as_ref()?;
    Some(format!(
        "See first that `expected_bucket_owner` ({owner}) is the account that owns the bucket: S3 refuses any other in the same words."
    ))
}

/// Where the request went, for those that did not arrive, or arrived where the bucket is not.
fn way(stage: Stage, source: &SourceConfig, error: &BucketError) -> Option<String> {
    let access = &source.access;
    let endpoint = access.endpoint_url.as_deref();
    let is_plain = endpoint.is_some_and(|url| url.starts_with("http://"));
    let proxy = if is_plain { &access.proxy.http } else { &access.proxy.https };
    let by = if access.proxy.is_configured { "[source.proxy]" } else { "the environment" };
    match (stage, proxy) {
        (Stage::Proxy, Some(proxy)) => Some(format!("The proxy is {}, by {by}.", proxy.url)),
        (Stage::Dns | Stage::Connection | Stage::Tls | Stage::Bucket, _) if was_sent(error) => {
            Some(match endpoint {
                Some(url) => format!("The endpoint is {url}."),
                None => format!(
                    "The endpoint is AWS's, of {}.",
                    access.region.as_deref().unwrap_or("the region found")
                ),
            })
        }
        _ => None,
    }
}

/// What the line is called: the stage, or the request where that says more.
fn named(check: &'static str, stage: Stage) -> &'static str {
    match stage {
        Stage::Permission | Stage::Object | Stage::Load => check,
        Stage::Dns
        | Stage::Proxy
        | Stage::Connection
        | Stage::Tls
        | Stage::Credentials
        | Stage::Clock
        | Stage::Bucket
        | Stage::Kms => stage.word(),
    }
}

/// The statement that would allow what was refused.
fn missing(advice: &Advice, source: &SourceConfig, error: &BucketError) -> Option<Value> {
    let region = source.access.region.as_deref().unwrap_or("us-east-1");
    match (advice.code, error.operation) {
        ("AccessDenied", "GET") => Some(policy::get_statement(&error.bucket, region, &source.pattern)),
        ("AccessDenied", _) => Some(policy::list_statement(&error.bucket, region, &source.pattern)),
        (before::ROLE_REFUSED, _) => refused_role(source, &error.message).map(policy::assume_statement),
        ("KMS.AccessDenied", _) => Some(policy::decrypt_statement(key_arn(&error.message), region)),
        _ => None,
    }
}

/// The role that an identity may not take on. With a token it is the role's trust policy that
/// decides, and no statement is missing.
fn refused_role<'a>(source: &'a SourceConfig, message: &str) -> Option<&'a str> {
    let arns = source.access.roles.iter().flat_map(|roles| &roles.arns);
    arns.map(String::as_str).find(|arn| message.contains(&format!("AssumeRole of {arn}:")))
}

/// The key that S3 names in its refusal.
fn key_arn(message: &str) -> Option<&str> {
    let at = message.find("arn:aws").filter(|at| message[*at..].contains(":kms:"))?;
    let mut words = message[at..].split(|letter: char| letter.is_whitespace() || "\",;()'".contains(letter));
    words.find(|word| word.contains(":kms:"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_key_is_taken_from_the_refusal() {
        let arn = "arn:aws:kms:eu-west-1:111122223333:key/1234abcd-12ab";
        for (text, want) in [
            (
                format!(
                    "User: arn:aws:iam::111122223333:user/s is not authorized to perform: kms:Decrypt on resource: {arn} because"
                ),
                Some(arn),
            ),
            (format!("on resource: \"{arn}\""), Some(arn)),
            ("kms:Decrypt is not allowed".to_owned(), None),
            ("User: arn:aws:iam::111122223333:user/s".to_owned(), None),
        ] {
            assert_eq!(key_arn(&text), want, "{text}");
        }
    }
}
