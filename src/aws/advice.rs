//! What a failed request means and what to do next: the one table behind `check` and
//! `docs/errors.md`.
//!
//! S3's own codes come from its API reference, those of KMS from the error codes of Decrypt.

/// What a request had reached when it failed; the stages stand in the order of the way.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Stage {
    /// The name of the endpoint's host.
    Dns,
    /// The proxy, or what stands in its place.
    Proxy,
    /// A connection.
    Connection,
    /// Encryption and the server's certificate.
    Tls,
    /// Who we are.
    Credentials,
    /// The time in the signature.
    Clock,
    /// Which bucket, and where it is.
    Bucket,
    /// What we may do there.
    Permission,
    /// One object.
    Object,
    /// The key that encrypts objects.
    Kms,
    /// The store is busy.
    Load,
}

impl Stage {
    /// The word that `check` shows.
    pub fn word(self) -> &'static str {
        match self {
            Stage::Dns => "dns",
            Stage::Proxy => "proxy",
            Stage::Connection => "connection",
            Stage::Tls => "tls",
            Stage::Credentials => "credentials",
            Stage::Clock => "clock",
            Stage::Bucket => "bucket",
            Stage::Permission => "permission",
            Stage::Object => "object",
            Stage::Kms => "kms",
            Stage::Load => "load",
        }
    }
}

/// One row of the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Advice {
    /// S3's error code; `HTTP` and the status for an answer without one; one of the words of
    /// [`before_answer`] when no answer came.
    pub code: &'static str,
    /// How far the request came.
    pub stage: Stage,
    /// What it means.
    pub meaning: &'static str,
    /// What to do next.
    pub next: &'static str,
}

const fn row(code: &'static str, stage: Stage, meaning: &'static str, next: &'static str) -> Advice {
    Advice { code, stage, meaning, next }
}

/// Codes of our own: for requests that nobody answered, and for answers whose code says too little.
pub mod before_answer {
    /// No provider had credentials, or the one that was asked failed.
    pub const NO_CREDENTIALS: &str = "NoCredentials";
    /// STS refused a role.
    pub const ROLE_REFUSED: &str = "STS.AccessDenied";
    /// The answer complains of the kind of the signature.
    pub const VERSION_TWO: &str = "SignatureVersion4Refused";
    /// The host's name is unknown.
    pub const NAME_UNKNOWN: &str = "NameUnknown";
    /// The name of the proxy's host is unknown.
    pub const PROXY_UNKNOWN: &str = "ProxyNameUnknown";
    /// Nobody listens where the proxy should be.
    pub const PROXY_UNREACHABLE: &str = "ProxyUnreachable";
    /// The proxy refused the tunnel.
    pub const PROXY_REFUSED: &str = "ProxyRefused";
    /// The certificate is not trusted, or not for this host.
    pub const CERTIFICATE: &str = "CertificateRefused";
    /// The other side does not speak TLS, or not a version we take.
    pub const TLS: &str = "TlsFailed";
    /// Nobody listens, or a connection broke.
    pub const NO_CONNECTION: &str = "NoConnection";
    /// Nothing came in time.
    pub const TIMEOUT: &str = "NoAnswerInTime";
    /// The request cannot be made of these settings.
    pub const BAD_REQUEST: &str = "SettingsRefused";
}

/// The table: first what fails before S3 answers, then S3's codes, then bare statuses.
pub const TABLE: &[Advice] = {
    use Stage::*;
    use before_answer as before;
    &[
        row(
            before::NAME_UNKNOWN,
            Dns,
            "The host name of the endpoint, or of the proxy, has no address.",
            "Correct `region`, `endpoint_url` or the proxy's address; check that this machine resolves names (`getent hosts NAME`).",
        ),
        row(
            before::PROXY_UNKNOWN,
            Proxy,
            "The proxy's host name has no address.",
            "Correct the host in the proxy's address (`url` in [source.proxy], else HTTPS_PROXY); check that this machine resolves names (`getent hosts NAME`); without a proxy remove the setting.",
        ),
        row(
            before::PROXY_UNREACHABLE,
            Proxy,
            "Nobody listens where the proxy should be.",
            "Correct the proxy's host and port (`url` in [source.proxy], else HTTPS_PROXY); see whether the proxy runs, and whether a firewall lets this machine reach it; without a proxy remove the setting.",
        ),
        row(
            before::PROXY_REFUSED,
            Proxy,
            "The proxy answered, and refused the tunnel to S3.",
            "Correct the proxy's user and password (`user` and `password` in [source.proxy], else in HTTPS_PROXY), or ask its operator to allow CONNECT to this host on port 443; to go without it add the host to `no_proxy`.",
        ),
        row(
            before::NO_CONNECTION,
            Connection,
            "Nobody listens at this address, or the connection broke before an answer came.",
            "Correct `endpoint_url`, or the proxy's host and port (in the configuration, else HTTPS_PROXY and HTTP_PROXY); see whether a firewall lets this machine out to port 443.",
        ),
        row(
            before::TIMEOUT,
            Connection,
            "No connection or no answer came in time: packets are dropped on the way, or the other side hangs.",
            "See whether a firewall lets this machine out to port 443, whether a proxy is needed, and whether a VPC endpoint for S3 (for STS, where a role is named) covers this subnet.",
        ),
        row(
            before::CERTIFICATE,
            Tls,
            "The server's certificate is not signed by an authority that is trusted here, has expired, or names another host.",
            "Add the authority of the inspecting proxy or private store to `ca_bundle`, use the host name that the certificate names, or have it renewed.",
        ),
        row(
            before::TLS,
            Tls,
            "The other side does not speak TLS 1.2 or later.",
            "Correct `endpoint_url`: http:// for a store without TLS, and the port that speaks TLS for https://.",
        ),
        row(
            before::NO_CREDENTIALS,
            Credentials,
            "No provider gave credentials: the settings, the environment, the shared files, a container or an instance role.",
            "Set [source.credentials], give this machine an instance role, or set AWS_PROFILE or AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY for the service.",
        ),
        row(
            before::ROLE_REFUSED,
            Credentials,
            "STS does not let this identity take on the role.",
            "Name the identity in the role's trust policy, and allow it sts:AssumeRole on the role in its own; compare `external_id` with the sts:ExternalId of the trust policy, letter by letter.",
        ),
        row(
            before::BAD_REQUEST,
            Bucket,
            "No request can be made of these settings.",
            "Correct what the message names: `region`, `bucket`, `endpoint_url`, `use_fips` or `dual_stack` (or the environment's and the profile's words for them), a key or token with characters that no header has, `ca_bundle` or the proxy.",
        ),
        row(
            "InvalidAccessKeyId",
            Credentials,
            "The access key id does not exist: mistyped, deleted, or of another partition or store.",
            "Correct `access_key_id` in [source.credentials], or what the profile, the environment or the instance gives: the line says whose key it was. `aws sts get-caller-identity` with the same key tells whether it exists. A key that begins with ASIA needs its `session_token`.",
        ),
        row(
            "SignatureDoesNotMatch",
            Credentials,
            "The access key id exists, and the secret access key is not its own.",
            "Correct `secret_access_key` in [source.credentials], or what the profile or the environment gives: the whole of it, without quotes or blanks around it, from the same pair as `access_key_id`.",
        ),
        row(
            "ExpiredToken",
            Credentials,
            "The temporary credentials have expired.",
            "Take new ones, or better a provider that renews them itself: a profile, a role, or an instance role instead of a pasted session token.",
        ),
        row(
            "InvalidToken",
            Credentials,
            "The session token is malformed, or not of this access key.",
            "Copy `session_token` again, with the key and the secret that came with it; leave it out for a long-lived key (AKIA).",
        ),
        row(
            "TokenRefreshRequired",
            Credentials,
            "The session token must be renewed.",
            "Take new temporary credentials.",
        ),
        row(
            "InvalidClientTokenId",
            Credentials,
            "STS does not know the access key that takes on the role.",
            "Correct `access_key_id`, or what the profile, the environment or the instance gives; a key that begins with ASIA needs its `session_token`.",
        ),
        row(
            "InvalidIdentityToken",
            Credentials,
            "STS does not accept the web identity token.",
            "See that the file of `web_identity_token_file` (else AWS_WEB_IDENTITY_TOKEN_FILE) is renewed, and that the account's OIDC provider has the token's issuer and audience.",
        ),
        row(
            before::VERSION_TWO,
            Credentials,
            "The store refuses signature version 4: it seems to know version 2 only.",
            "Have the store's operator allow version 4 (AWS4-HMAC-SHA256), or put a gateway before it that takes version 4; s3sweep signs with no other.",
        ),
        row(
            "AccountProblem",
            Credentials,
            "AWS has a problem with the account of the key, often an unpaid bill.",
            "Ask the owner of the account to contact AWS support.",
        ),
        row(
            "RequestTimeTooSkewed",
            Clock,
            "The clock of this machine differs from S3's by more than 15 minutes.",
            "Set this machine's clock by NTP (`timedatectl set-ntp true`, or chrony).",
        ),
        row(
            "RequestExpired",
            Clock,
            "The request's time lies too far back: a slow network, or a clock that is late.",
            "Set this machine's clock by NTP (`timedatectl set-ntp true`, or chrony).",
        ),
        row(
            "NoSuchBucket",
            Bucket,
            "There is no bucket of this name at this endpoint.",
            "Correct `bucket`: the name alone, without s3:// or a path; for another store than AWS correct `endpoint_url` too. `aws s3 ls` shows the buckets of the account.",
        ),
        row(
            "InvalidBucketName",
            Bucket,
            "No bucket can have this name.",
            "Correct `bucket`: 3 to 63 lower-case letters, digits, dots and hyphens, or an access point's ARN or alias.",
        ),
        row(
            "PermanentRedirect",
            Bucket,
            "The bucket lies in another region or at another endpoint.",
            "Set `region` to the bucket's own (the answer names it, or: aws s3api get-bucket-location --bucket NAME).",
        ),
        row(
            "AuthorizationHeaderMalformed",
            Bucket,
            "The signature is for another region than the bucket's, or the store takes another signature than version 4.",
            "Set `region` to the bucket's own; a store that knows signature version 2 only cannot be read.",
        ),
        row(
            "IllegalLocationConstraintException",
            Bucket,
            "The bucket lies in a region that this endpoint does not serve.",
            "Set `region` to the bucket's own.",
        ),
        row(
            "AllAccessDisabled",
            Bucket,
            "AWS has disabled all access to the bucket.",
            "Ask the owner of the bucket to contact AWS support.",
        ),
        row(
            "AccessDenied",
            Permission,
            "The identity is known and may not do this: no policy allows it, or one denies it.",
            "Add the statement below to the identity's policy; for a bucket of another account the bucket's policy must allow it too (`s3sweep init --policy`). Look for a Deny, a VPC endpoint policy and service control policies as well.",
        ),
        row(
            "InvalidPayer",
            Permission,
            "The bucket's owner has the requester pay, or this identity may not.",
            "Set `requester_pays = true`.",
        ),
        row(
            "NoSuchKey",
            Object,
            "The object was deleted since it was listed.",
            "Nothing, when a lifecycle rule deletes objects; otherwise find out who does, before s3sweep has collected them.",
        ),
        row(
            "PreconditionFailed",
            Object,
            "The object was overwritten since it was listed.",
            "Run the check again; `on_overwrite` says what s3sweep does with such objects.",
        ),
        row(
            "InvalidObjectState",
            Object,
            "The object lies in an archive storage class (Glacier) and must be restored before it can be read.",
            "Restore it (aws s3api restore-object), or begin later with `start`; keep lifecycle rules from archiving objects younger than `recheck`.",
        ),
        row(
            "KMS.DisabledException",
            Kms,
            "The KMS key that encrypts the object is disabled.",
            "Ask the owner of the key to enable it (aws kms enable-key); until then nothing that it encrypts can be read.",
        ),
        row(
            "KMS.NotFoundException",
            Kms,
            "The KMS key that encrypts the object is not there.",
            "Look whether its deletion can be cancelled (aws kms cancel-key-deletion); the objects are lost with it.",
        ),
        row(
            "KMS.KMSInvalidStateException",
            Kms,
            "The KMS key is in a state that allows no decryption, such as pending deletion.",
            "Ask the owner of the key to cancel its deletion and enable it.",
        ),
        row(
            "KMS.InvalidKeyUsageException",
            Kms,
            "The KMS key is not for encryption.",
            "Ask the owner of the bucket which key it encrypts with.",
        ),
        row(
            "KMS.ThrottlingException",
            Kms,
            "KMS is asked too often.",
            "Nothing: s3sweep tries again. If it lasts, enable S3 Bucket Keys on the bucket or raise the KMS quota.",
        ),
        row(
            "KMS.AccessDenied",
            Kms,
            "The identity may read the object and may not decrypt it with its KMS key.",
            "Add the statement below to the identity's policy; for a key of another account the key's policy must allow it too (`s3sweep init --policy`).",
        ),
        row(
            "SlowDown",
            Load,
            "S3 asks for fewer requests.",
            "Nothing: s3sweep tries again, more slowly. If it lasts, lower `get_concurrency` and `list_concurrency` in [limits].",
        ),
        row(
            "InternalError",
            Load,
            "S3 had an accident.",
            "Nothing: s3sweep tries again. If it lasts, look at the AWS Health Dashboard.",
        ),
        row(
            "ServiceUnavailable",
            Load,
            "S3 cannot answer now.",
            "Nothing: s3sweep tries again. If it lasts, look at the AWS Health Dashboard.",
        ),
        row(
            "HTTP 301",
            Bucket,
            "The bucket lies in another region or at another endpoint.",
            "Set `region` to the bucket's own (the answer names it, or: aws s3api get-bucket-location --bucket NAME).",
        ),
        row(
            "HTTP 400",
            Bucket,
            "The request was refused as malformed, without an S3 error code.",
            "Correct `endpoint_url`, `region` and `path_style`; a proxy in between may have changed the request.",
        ),
        row(
            "HTTP 401",
            Credentials,
            "Somebody who is not S3 asks for a login: a proxy, a gateway, or another service at this address.",
            "Correct `endpoint_url`; if a gateway stands before the store, take the address that speaks S3.",
        ),
        row(
            "HTTP 403",
            Permission,
            "Refused without an S3 error code: a proxy, a firewall or a gateway on the way, or a store that tells no more.",
            "Ask the operator of the proxy to allow this host; then compare the identity's policy with `s3sweep init --policy`.",
        ),
        row(
            "HTTP 404",
            Bucket,
            "Not found, without an S3 error code: what answers at this address is no S3 store, or wants another address style.",
            "Correct `endpoint_url`, and try `path_style = true`.",
        ),
        row(
            "HTTP 405",
            Bucket,
            "The method is not allowed: what answers at this address is no S3 store.",
            "Correct `endpoint_url`.",
        ),
        row("HTTP 407", Proxy, "A proxy asks for a login.", "Set the proxy's user and password."),
        row(
            "HTTP 429",
            Load,
            "The store, or a gateway before it, asks for fewer requests.",
            "Nothing: s3sweep tries again, more slowly. If it lasts, lower `get_concurrency` and `list_concurrency` in [limits].",
        ),
        row(
            "HTTP 500",
            Load,
            "The store had an accident.",
            "Nothing: s3sweep tries again. If it lasts, ask the store's operator.",
        ),
        row(
            "HTTP 502",
            Load,
            "A gateway on the way got no good answer from the store.",
            "Nothing: s3sweep tries again. If it lasts, ask the operator of the proxy or the store.",
        ),
        row(
            "HTTP 503",
            Load,
            "The store cannot answer now.",
            "Nothing: s3sweep tries again. If it lasts, lower `get_concurrency` and `list_concurrency` in [limits].",
        ),
    ]
};

/// What is known about a code; `None` for one that the table does not have.
pub fn advice(code: &str) -> Option<&'static Advice> {
    TABLE.iter().find(|row| row.code == code)
}

/// What is known about the code that a message names as a word of its own; an S3 code says more than
/// a bare status, a longer code more than a part of it.
pub fn named_in(message: &str) -> Option<&'static Advice> {
    let is_word =
        |letter: Option<char>| letter.is_some_and(|letter| letter.is_alphanumeric() || letter == '_');
    let names = |code: &str| {
        message.match_indices(code).any(|(at, _)| {
            let (before, after) = (&message[..at], &message[at + code.len()..]);
            !is_word(before.chars().next_back()) && !is_word(after.chars().next())
        })
    };
    let named = TABLE.iter().filter(|row| names(row.code));
    named.max_by_key(|row| (!row.code.starts_with("HTTP "), row.code.len()))
}

/// The table as `docs/errors.md` has it.
pub fn markdown() -> String {
    let mut text = String::from("| code | stage | what it means | what to do |\n|---|---|---|---|\n");
    for Advice { code, stage, meaning, next } in TABLE {
        text.push_str(&format!("| `{code}` | {} | {meaning} | {next} |\n", stage.word()));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_code_is_found_in_a_message() {
        for row in TABLE {
            let message = format!("LIST s3://acme/x: {}: some text (HTTP 418)", row.code);
            assert_eq!(named_in(&message).map(|found| found.code), Some(row.code));
        }
        for (message, want) in [
            ("AccessDenied: Access Denied (HTTP 403, request id 1)", Some("AccessDenied")),
            ("KMS.AccessDenied: no kms:Decrypt (HTTP 400)", Some("KMS.AccessDenied")),
            ("unreadable answer (HTTP 503)", Some("HTTP 503")),
            ("NotAccessDenied or AccessDeniedNot, HTTP 4030", None),
            ("", None),
        ] {
            assert_eq!(named_in(message).map(|found| found.code), want, "{message}");
        }
    }

    #[test]
    fn each_code_stands_in_the_table_once_and_fits_a_cell() {
        let mut codes: Vec<_> = TABLE.iter().map(|row| row.code).collect();
        let all = codes.len();
        codes.sort_unstable();
        codes.dedup();
        assert_eq!(codes.len(), all);
        for row in TABLE {
            let cells = [row.code, row.meaning, row.next];
            assert!(cells.iter().all(|cell| !cell.contains(['|', '\n']) && !cell.is_empty()), "{row:?}");
            assert!(row.meaning.ends_with('.') && row.next.ends_with('.'), "{row:?}");
        }
    }
}
