//! The least that AWS must allow for a configuration to work: policies as JSON. Pure.
//!
//! What cannot be known from a configuration stands as `CHANGE_ME`: account and role that
//! s3sweep runs as, and the KMS keys.

use serde_json::{Map, Value, json};

use crate::config::{BucketLocation, Config, Credentials, SourceConfig};
use crate::pattern::PrefixPattern;

/// What stands where only the operator knows.
const UNKNOWN: &str = "CHANGE_ME";

/// All policies of a configuration: `identity_policies` has one for each identity, by its name, and
/// each allows what that identity itself does: the one that s3sweep runs as takes on a role, a role
/// the next one, and the last of them reads. For buckets of another account `bucket_policies` and
/// `kms_key_policies` by bucket. Sources of directories and disabled ones need none.
pub fn policies(config: &Config) -> Value {
    let (mut identities, mut buckets, mut keys) =
        (Documents::default(), Documents::default(), Documents::default());
    for source in config.sources.iter().filter(|source| source.enabled) {
        let BucketLocation::S3(name) = &source.bucket else { continue };
        let region = source.access.region.as_deref().unwrap_or(UNKNOWN);
        let reader = reader(source, &mut identities);
        let own =
            [list_statement(name, region, &source.pattern), get_statement(name, region, &source.pattern)];
        let decrypt = decrypt_statement(None, region);
        let role = source.access.roles.as_ref().and_then(|roles| roles.arns.last());
        let role = role.cloned().unwrap_or_else(|| unknown_role(region));
        let named = |statement: &Value| {
            let mut statement = statement.clone();
            statement["Principal"] = json!({ "AWS": role });
            statement
        };
        // in a key's own policy the key is the only resource there is
        let mut of_key = named(&decrypt);
        of_key["Resource"] = json!("*");
        keys.allow(name, of_key);
        for statement in &own {
            buckets.allow(name, named(statement));
        }
        for statement in own.into_iter().chain([decrypt]) {
            identities.allow(&reader, statement);
        }
    }
    json!({
        "identity_policies": identities.into_value(),
        "bucket_policies": buckets.into_value(),
        "kms_key_policies": keys.into_value(),
    })
}

/// Who reads the bucket of a source. Those before it are allowed to take on the one after them.
fn reader(source: &SourceConfig, identities: &mut Documents) -> String {
    let mut own = match &source.access.credentials {
        Credentials::Default => Some("the machine's own".to_owned()),
        Credentials::Static { access_key_id, .. } => Some(format!("access key {access_key_id}")),
        Credentials::Profile(name) => Some(format!("profile {name}")),
        // whoever has the token is let in by the role's trust policy
        Credentials::WebIdentity(_) => None,
    };
    for arn in source.access.roles.iter().flat_map(|roles| &roles.arns) {
        if let Some(before) = own.replace(arn.clone()) {
            identities.allow(&before, assume_statement(arn));
        }
    }
    // a token stands with a role
    own.unwrap_or_default()
}

/// Policies by name, each with its statements, none of them twice.
#[derive(Default)]
struct Documents(Vec<(String, Vec<Value>)>);

impl Documents {
    fn allow(&mut self, name: &str, statement: Value) {
        let at = self.0.iter().position(|(known, _)| known == name).unwrap_or_else(|| {
            self.0.push((name.to_owned(), Vec::new()));
            self.0.len() - 1
        });
        let statements = &mut self.0[at].1;
        if !statements.contains(&statement) {
            statements.push(statement);
        }
    }

    fn into_value(self) -> Value {
        let document = |statements| json!({ "Version": "2012-10-17", "Statement": statements });
        let all = self.0.into_iter().map(|(name, statements)| (name, document(in_order(statements))));
        Value::Object(all.collect::<Map<_, _>>())
    }
}

/// Statements by their action, in the order in which the actions are needed.
fn in_order(mut statements: Vec<Value>) -> Vec<Value> {
    let actions = ["sts:AssumeRole", "s3:ListBucket", "s3:GetObject", "kms:Decrypt"];
    statements.sort_by_key(|statement| actions.iter().position(|action| statement["Action"] == *action));
    statements
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

/// Allows to take on a role.
pub fn assume_statement(arn: &str) -> Value {
    json!({ "Effect": "Allow", "Action": "sts:AssumeRole", "Resource": arn })
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
