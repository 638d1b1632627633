//! Policies of the least, and encrypted secrets.

use super::*;

#[test]
fn policies_are_the_least_that_works() {
    let folder = tempfile::tempdir().unwrap();
    let source = "log_type = \"cloudtrail\"\nregion = \"eu-west-1\"\nbucket = \"aws-controltower-logs\"\n\
                  prefix = \"OU-ID/AWSLogs/OU-ID/*/CloudTrail/*\"";
    let path = configuration(folder.path(), source);
    let output = s3sweep().args(["init", "--policy", "-c", &path]).output().unwrap();
    let policies = json(&output);
    let own = &policies["identity_policies"]["the machine's own"];
    let statements = own["Statement"].as_array().unwrap();
    let actions: Vec<_> = statements.iter().map(|statement| statement["Action"].as_str().unwrap()).collect();
    assert_eq!(actions, ["s3:ListBucket", "s3:GetObject", "kms:Decrypt"]);
    assert_eq!(statements[0]["Condition"]["StringLike"]["s3:prefix"], "o-*");
    assert_eq!(
        statements[1]["Resource"],
        "arn:aws:s3:::aws-controltower-logs/o-*/AWSLogs/o-*/*/CloudTrail/*/*"
    );
    let shared = &policies["bucket_policies"]["aws-controltower-logs"];
    for statement in shared["Statement"].as_array().unwrap() {
        assert!(statement["Principal"]["AWS"].as_str().unwrap().starts_with("arn:aws:iam::CHANGE_ME:role/"));
    }
    let key = &policies["kms_key_policies"]["aws-controltower-logs"]["Statement"][0];
    assert_eq!((key["Action"].as_str(), key["Resource"].as_str()), (Some("kms:Decrypt"), Some("*")));
    for document in [own, shared] {
        assert_eq!(document["Version"], "2012-10-17");
    }
}

/// The action and the last part of the resource of each statement.
fn allowed(document: &Value) -> Vec<String> {
    let statements = document["Statement"].as_array().unwrap().iter();
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    statements
        .map(|one| format!("{} {}", text(&one["Action"]), text(&one["Resource"]).rsplit(':').next().unwrap()))
        .collect()
}

#[test]
fn each_identity_is_allowed_what_it_does_itself() {
    let folder = tempfile::tempdir().unwrap();
    let role = |name: &str| format!("arn:aws:iam::111122223333:role/{name}");
    let source = |name: &str, credentials: &str| {
        format!(
            "[[source]]\nname = \"{name}\"\nlog_type = \"jsonl\"\nbucket = \"acme\"\nregion = \"eu-west-1\"\n\
             prefix = \"{name}/\"\ntimestamp_field = \"t\"\ncredentials = {{ {credentials} }}\n"
        )
    };
    let text = [
        "state_dir = \"state\"\nsink = { path = \"out\" }\n".to_owned(),
        source(
            "one",
            &format!("profile = \"audit\", role_arn = [\"{}\", \"{}\"]", role("hop"), role("logs")),
        ),
        source(
            "two",
            &format!("profile = \"audit\", role_arn = [\"{}\", \"{}\"]", role("hop"), role("logs")),
        ),
        source("three", "access_key_id = \"AKIDEXAMPLE\", secret_access_key = \"hush\""),
        source("four", &format!("web_identity_token_file = \"/run/token\", role_arn = \"{}\"", role("web"))),
    ];
    let path = folder.path().join("s3sweep.toml");
    std::fs::write(&path, text.concat()).unwrap();
    let output = s3sweep().args(["init", "--policy", "-c", path.to_str().unwrap()]).output().unwrap();
    let policies = json(&output);
    let identities = policies["identity_policies"].as_object().unwrap();
    let of = |name: &str| allowed(&identities[name]);
    assert_eq!(of("profile audit"), ["sts:AssumeRole role/hop"]);
    assert_eq!(of(&role("hop")), ["sts:AssumeRole role/logs"]);
    let read = |name: &str| format!("s3:GetObject acme/{name}*");
    let (list, decrypt) = ("s3:ListBucket acme", "kms:Decrypt key/CHANGE_ME");
    assert_eq!(of(&role("logs")), [list, list, &read("one"), &read("two"), decrypt]);
    assert_eq!(of("access key AKIDEXAMPLE"), [list, &read("three"), decrypt]);
    assert_eq!(of(&role("web")), [list, &read("four"), decrypt]);
    assert_eq!(identities.len(), 5, "a token is of nobody: {identities:?}");

    // the bucket lets in those who read it, each to what it reads
    let shared = policies["bucket_policies"]["acme"]["Statement"].as_array().unwrap();
    let readers = |name: &str| -> Vec<&str> {
        let reads = |one: &&Value| one["Resource"].as_str().unwrap().contains(&format!("/{name}"));
        shared.iter().filter(reads).map(|one| one["Principal"]["AWS"].as_str().unwrap()).collect()
    };
    assert_eq!((readers("one"), readers("four")), (vec![&*role("logs")], vec![&*role("web")]));
    let key = policies["kms_key_policies"]["acme"]["Statement"].as_array().unwrap();
    assert_eq!(key.len(), 3, "{key:?}");
}

#[test]
fn secrets_are_encrypted_and_opened_again() {
    let folder = tempfile::tempdir().unwrap();
    let identity = folder.path().join("identity");
    let encrypt = |args: &[&str], secret: &str| {
        let mut child = s3sweep()
            .args(["secret", "encrypt"])
            .args(args)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        child.stdin.take().unwrap().write_all(secret.as_bytes()).unwrap();
        let output = child.wait_with_output().unwrap();
        no_secret(&output);
        output
    };
    let identity = identity.to_str().unwrap();
    assert_eq!(encrypt(&[], SECRET).status.code(), Some(2), "for nobody");
    assert_eq!(encrypt(&["--identity", identity], SECRET).status.code(), Some(2), "no such identity");
    assert_eq!(encrypt(&["--identity", identity, "--create"], "\n").status.code(), Some(2), "empty");
    let first = encrypt(&["--identity", identity, "--create"], &format!("{SECRET}\n"));
    assert_eq!(first.status.code(), Some(0), "{}", String::from_utf8_lossy(&first.stderr));
    let second = encrypt(&["--identity", identity], TOKEN);
    std::fs::write(folder.path().join("token.age"), &second.stdout).unwrap();

    // the signed request tells whether the secrets were opened: the token stands in it as it is
    let seen = Arc::new(std::sync::Mutex::new(String::new()));
    let heads = seen.clone();
    let server = Answers::start(move |head| {
        heads.lock().unwrap().push_str(head);
        match head.contains("list-type=2") {
            true => page(),
            false => answer(200, "{}"),
        }
    });
    let encrypted = at(&server.url(), JSONL)
        .replace(&format!("\"{SECRET}\""), &format!("{{ age = \"\"\"\n{}\"\"\" }}", out(&first)))
        .replace(&format!("\"{TOKEN}\""), "{ age_file = \"token.age\" }");
    let path = configuration(folder.path(), &encrypted);
    let check = |named: bool| {
        let mut command = s3sweep();
        if named {
            command.env("S3SWEEP_IDENTITY_FILE", identity);
        }
        command.args(["check", "--output", "json", "-c", &path]).output().unwrap()
    };
    let closed = check(false);
    assert_eq!(closed.status.code(), Some(2));
    let text = json(&closed)["lines"][0]["detail"].to_string();
    assert!(
        text.contains("source.main.credentials.secret_access_key") && text.contains("identity_file"),
        "{text}"
    );
    let opened = check(true);
    assert_eq!(opened.status.code(), Some(0), "{:#}", json(&opened));
    assert!(seen.lock().unwrap().contains(&format!("x-amz-security-token: {TOKEN}")));

    // the setting comes before the variable, and a file for all eyes is warned of
    let other = folder.path().join("other");
    std::fs::write(&other, "nothing").unwrap();
    let text = std::fs::read_to_string(&path).unwrap();
    std::fs::write(&path, format!("identity_file = \"other\"\n{text}")).unwrap();
    assert_eq!(check(true).status.code(), Some(2));
    std::fs::copy(identity, &other).unwrap();
    std::fs::set_permissions(&other, Permissions::from_mode(0o644)).unwrap();
    let findings = json(&check(false));
    assert_eq!(findings["exit_code"], 0);
    let chmod = format!("chmod o-rwx {}", other.display());
    assert!(
        lines(&findings).iter().any(|line| line["detail"].as_str().unwrap().contains(&chmod)),
        "{findings:#}"
    );
}
