//! The least that AWS must allow for a configuration to work: policies as JSON. Pure.
//!
//! What cannot be known from a configuration stands as `CHANGE_ME`: account and role that
//! s3sweep runs as, and the KMS keys.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::config::{BucketLocation, Config, SourceConfig};
use crate::pattern::PrefixPattern;

/// What stands where only the operator knows.
const UNKNOWN: &str = "CHANGE_ME";

/// All policies of a configuration: `identity_policy` for the identity that s3sweep runs as, or
/// for the role that it takes on, and
/// for buckets of another account `bucket_policies` and `kms_key_policies` by bucket. Sources of
/// directories and disabled ones need none.
pub fn policies(config: &Config) -> Value {
    let mut buckets: BTreeMap<(&str, &str), Vec<&SourceConfig>> = BTreeMap::new();
    for source in config.sources.iter().filter(|source| source.enabled) {
        if let BucketLocation::S3(name) = &source.bucket {
            let region = source.access.region.as_deref().unwrap_or(UNKNOWN);
            buckets.entry((name, region)).or_default().push(source);
        }
    }
    let (mut identity, mut bucket_policies, mut key_policies) = (Vec::new(), json!({}), json!({}));
    for ((name, region), sources) in &buckets {
        let own: Vec<_> = statements(name, region, sources);
        let role = principal(region, sources);
        let named = |statement: &Value| {
            let mut statement = statement.clone();
            statement["Principal"] = json!({ "AWS": role });
            statement
        };
        bucket_policies[*name] = document(own.iter().map(named).collect());
        // in a key's own policy the key is the only resource there is
        let mut decrypt = named(&decrypt_statement(None, region));
        decrypt["Resource"] = json!("*");
        key_policies[*name] = document(vec![decrypt]);
        identity.extend(sources.iter().filter_map(|source| assume_statement(source)));
        identity.extend(own);
        identity.push(decrypt_statement(None, region));
    }
    let mut seen = Vec::new();
    identity.retain(|statement| {
        let is_new = !seen.contains(statement);
        seen.push(statement.clone());
        is_new
    });
    json!({
        "identity_policy": document(identity),
        "bucket_policies": bucket_policies,
        "kms_key_policies": key_policies,
    })
}

fn document(statements: Vec<Value>) -> Value {
    json!({ "Version": "2012-10-17", "Statement": statements })
}

/// ListBucket and GetObject for all sources of one bucket.
fn statements(bucket: &str, region: &str, sources: &[&SourceConfig]) -> Vec<Value> {
    let mut list: Vec<Value> =
        sources.iter().map(|source| list_statement(bucket, region, &source.pattern)).collect();
    let mut get: Vec<Value> =
        sources.iter().map(|source| get_statement(bucket, region, &source.pattern)).collect();
    list.dedup();
    get.dedup();
    list.into_iter().chain(get).collect()
}

/// Allows to list what a pattern needs listed: everything below its literal part, since
/// wildcards and dates are found by listing.
pub fn list_statement(bucket: &str, region: &str, pattern: &PrefixPattern) -> Value {
    let lead = literal_part(pattern);
    let mut statement =
        json!({ "Effect": "Allow", "Action": "s3:ListBucket", "Resource": bucket_arn(bucket, region) });
    if !lead.is_empty() {
        statement["Condition"] = json!({ "StringLike": { "s3:prefix": format!("{}*", escaped(&lead)) } });
    }
    statement
}

/// Allows to read the objects that a pattern matches, dates open.
pub fn get_statement(bucket: &str, region: &str, pattern: &PrefixPattern) -> Value {
    let objects = match bucket.starts_with("arn:") {
        true => format!("{bucket}/object"),
        false => bucket_arn(bucket, region),
    };
    json!({
        "Effect": "Allow",
        "Action": "s3:GetObject",
        "Resource": format!("{objects}/{}", object_pattern(pattern)),
    })
}

/// Allows to decrypt with `key`, or with a key that the operator fills in, by way of S3 only.
pub fn decrypt_statement(key: Option<&str>, region: &str) -> Value {
    let unknown = || format!("arn:{}:kms:{region}:{UNKNOWN}:key/{UNKNOWN}", partition(region));
    json!({
        "Effect": "Allow",
        "Action": "kms:Decrypt",
        "Resource": key.map_or_else(unknown, str::to_owned),
        "Condition": { "StringEquals": { "kms:ViaService": format!("s3.{region}.{}", domain(region)) } },
    })
}

/// Who reads the bucket: the last role that a source takes on, else the operator's to fill in.
fn principal(region: &str, sources: &[&SourceConfig]) -> String {
    let roles = sources.iter().filter_map(|source| source.access.roles.as_ref());
    let role = roles.filter_map(|roles| roles.arns.last()).next().cloned();
    role.unwrap_or_else(|| unknown_role(region))
}

/// Allows to take on the roles of a source; `None` where it takes on none.
pub fn assume_statement(source: &SourceConfig) -> Option<Value> {
    let roles = source.access.roles.as_ref()?;
    Some(json!({ "Effect": "Allow", "Action": "sts:AssumeRole", "Resource": roles.arns }))
}

fn unknown_role(region: &str) -> String {
    format!("arn:{}:iam::{UNKNOWN}:role/{UNKNOWN}", partition(region))
}

fn bucket_arn(bucket: &str, region: &str) -> String {
    match bucket.starts_with("arn:") {
        true => bucket.to_owned(),
        false => format!("arn:{}:s3:::{bucket}", partition(region)),
    }
}

fn partition(region: &str) -> &'static str {
    match region.split('-').next() {
        Some("cn") => "aws-cn",
        Some("us") if region.starts_with("us-gov-") => "aws-us-gov",
        _ => "aws",
    }
}

fn domain(region: &str) -> &'static str {
    if partition(region) == "aws-cn" { "amazonaws.com.cn" } else { "amazonaws.com" }
}

/// What all keys of a pattern begin with: its text before the first wildcard or date.
pub fn literal_part(pattern: &PrefixPattern) -> String {
    let shown = pattern.to_string();
    let mut literal = String::new();
    for (number, segment) in shown.split('/').enumerate() {
        if segment == "OU-ID" {
            literal.push_str(if number > 0 { "/o-" } else { "o-" });
            break;
        }
        if number > 0 {
            literal.push('/');
        }
        let (text, whole) = leading_text(segment);
        literal.push_str(&text);
        if !whole {
            break;
        }
    }
    if literal == "/" { String::new() } else { literal }
}

/// The text of a segment before its first wildcard or date, and whether that is all of it.
fn leading_text(segment: &str) -> (String, bool) {
    let (mut text, mut letters) = (String::new(), segment.chars());
    while let Some(letter) = letters.next() {
        match letter {
            '*' | '{' => return (text, false),
            '\\' => text.extend(letters.next()),
            _ => text.push(letter),
        }
    }
    (text, true)
}

/// The pattern as IAM has it, up to its first date: `*` for each wildcard, which crosses `/`
/// there, and one at the end.
fn object_pattern(pattern: &PrefixPattern) -> String {
    let shown = pattern.to_string();
    let mut text = String::new();
    for (number, segment) in shown.split('/').enumerate() {
        if number > 0 {
            text.push('/');
        }
        if segment == "OU-ID" {
            text.push_str("o-*");
            continue;
        }
        let mut rest = segment;
        loop {
            let (literal, whole) = leading_text(rest);
            text.push_str(&escaped(&literal));
            if whole {
                break;
            }
            let Some((at, mark)) = wildcard(rest) else { break };
            if mark == '{' {
                text.push('*');
                return text;
            }
            text.push('*');
            rest = &rest[at + 1..];
        }
    }
    match text.as_str() {
        "/" => "*".to_owned(),
        _ if text.ends_with('*') => text,
        _ => text + "*",
    }
}

/// Where the first wildcard or date of a segment begins.
fn wildcard(segment: &str) -> Option<(usize, char)> {
    let mut is_literal = false;
    segment.char_indices().find(|(_, letter)| {
        let found = !is_literal && matches!(letter, '*' | '{');
        is_literal = !is_literal && *letter == '\\';
        found
    })
}

/// Literal text within an IAM pattern, where `*`, `?` and `$` have a meaning.
fn escaped(literal: &str) -> String {
    let mut text = String::with_capacity(literal.len());
    for letter in literal.chars() {
        match letter {
            '*' | '?' | '$' => text.push_str(&format!("${{{letter}}}")),
            _ => text.push(letter),
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pattern(text: &str) -> PrefixPattern {
        PrefixPattern::parse(text).expect("a pattern of this table is valid")
    }

    #[test]
    fn patterns_become_prefixes_and_resources() {
        for (typed, prefix, object) in [
            ("AWSLogs/*/CloudTrail/us-*/{YYYY}/{mm}/{dd}", "AWSLogs/", "AWSLogs/*/CloudTrail/us-*/*"),
            (
                "OU-ID/AWSLogs/OU-ID/*/CloudTrail/us-east-1/{YYYY}/{mm}/{dd}",
                "o-",
                "o-*/AWSLogs/o-*/*/CloudTrail/us-east-1/*",
            ),
            ("logs/OU-ID/x", "logs/o-", "logs/o-*/x*"),
            ("logs/year={YYYY}/x", "logs/year=", "logs/year=*"),
            ("logs/app-", "logs/app-", "logs/app-*"),
            ("*/x", "", "*/x*"),
            ("/", "", "*"),
            (r"cost$/a\*b?/*", "cost$/a*b?/", "cost${$}/a${*}b${?}/*"),
        ] {
            assert_eq!(literal_part(&pattern(typed)), prefix, "{typed}");
            assert_eq!(object_pattern(&pattern(typed)), object, "{typed}");
        }
    }

    #[test]
    fn partitions_have_their_own_names() {
        let whole = pattern("/");
        for (region, arn, service) in [
            ("eu-west-1", "arn:aws:s3:::b", "s3.eu-west-1.amazonaws.com"),
            ("us-gov-west-1", "arn:aws-us-gov:s3:::b", "s3.us-gov-west-1.amazonaws.com"),
            ("cn-north-1", "arn:aws-cn:s3:::b", "s3.cn-north-1.amazonaws.com.cn"),
        ] {
            let list = list_statement("b", region, &whole);
            assert_eq!(list["Resource"], arn);
            assert!(list.get("Condition").is_none(), "the whole bucket needs no prefix");
            let decrypt = decrypt_statement(None, region);
            assert_eq!(decrypt["Condition"]["StringEquals"]["kms:ViaService"], service);
        }
        let point = "arn:aws:s3:eu-west-1:111122223333:accesspoint/logs";
        assert_eq!(list_statement(point, "eu-west-1", &whole)["Resource"], point);
        assert_eq!(get_statement(point, "eu-west-1", &whole)["Resource"], format!("{point}/object/*"));
    }
}
