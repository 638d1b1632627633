//! What somebody reads who has got one thing wrong: each time the setting, its value and what to do.

use super::*;

/// A source of the bucket `acme-trail`, with the key that the server knows.
fn source(server: &S3Server) -> String {
    of_server(server, &format!("{TRAIL}\nprefix = \"AWSLogs/111122223333/CloudTrail/us-east-1\""))
}

/// What `check` writes for people; it fails for the source's sake.
async fn read(source: &str) -> String {
    let folder = tempfile::tempdir().unwrap();
    let path = configuration(folder.path(), source);
    let run = move || s3sweep().args(["check", "-c", &path]).output().unwrap();
    let output = tokio::task::spawn_blocking(run).await.unwrap();
    no_secret(&output);
    assert_eq!(output.status.code(), Some(3), "{}", out(&output));
    out(&output)
}

#[tokio::test(flavor = "multi_thread")]
async fn each_of_the_usual_mistakes_is_told_with_its_remedy() {
    let server = S3Server::start(["acme-trail"]).await.unwrap();
    let (well, url) = (source(&server), server.endpoint_url());
    let denied = ServerFault::Error { code: "AccessDenied", status: 403, retry_after: None };
    let nobody = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap();
    let proxied = |address: &str| {
        let text = well.replace(&format!("endpoint_url = \"{url}\"\n"), "");
        format!("{text}\n[source.proxy]\nurl = \"{address}\"")
    };
    let faulty = |asked| server.fail(asked, 1, denied.clone());
    let cases: [(&str, String, Option<Asked>, &[&str]); 7] = [
        (
            "wrong bucket",
            well.replace("\"acme-trail\"", "\"acme-trial\""),
            None,
            &[
                "s3://acme-trial/",
                "no bucket of this name",
                &format!("The endpoint is {url}."),
                "Correct `bucket`",
            ],
        ),
        (
            "wrong key",
            well.replace(server.access_key_id(), "AKIAMISTYPED"),
            None,
            &[
                "access key AKIAMISTYPED by the s3sweep configuration",
                "Correct `access_key_id` in [source.credentials]",
            ],
        ),
        (
            "wrong secret",
            well.replace(server.secret_access_key(), "mistyped"),
            None,
            &["the secret access key is not its own", "Correct `secret_access_key` in [source.credentials]"],
        ),
        (
            "no permission to list",
            well.clone(),
            Some(Asked::Lists),
            &[
                "Missing action: s3:ListBucket.",
                "`acme-trail` may be",
                "Add the statement below",
                "statement:",
            ],
        ),
        (
            "no permission to read",
            well.clone(),
            Some(Asked::Gets),
            &[
                "Missing action: s3:GetObject.",
                "Add the statement below",
                "statement:",
                "accepted: access key",
            ],
        ),
        (
            "nobody at the proxy",
            proxied(&format!("http://{nobody}")),
            None,
            &[
                "Nobody listens",
                &format!("The proxy is http://{nobody}, by [source.proxy]."),
                "host and port",
            ],
        ),
        (
            "a mistyped proxy",
            proxied(&format!("http://{}.invalid:3128", "x".repeat(64))),
            None,
            &["The proxy's host name has no address.", "by [source.proxy].", "Correct the host"],
        ),
    ];
    put_trail(&server, "111122223333", "us-east-1", SystemClock.now());
    for (case, source, fault, words) in cases {
        if let Some(asked) = fault {
            faulty(asked);
        }
        let text = read(&source).await;
        println!("{case}\n{text}");
        for word in words.iter().chain(&["next:"]) {
            assert!(text.contains(word), "{case}: {word:?} in {text}");
        }
        server.heal();
    }
    server.stop().await.unwrap();
}
