//! How a running instance stands, as JSON and as a page; the page in a real browser.

mod browser;

use std::time::Duration;

use s3sweep::failure::Class;
use s3sweep::service::socket::protocol::{Request, Response, SweepAction};
use s3sweep::testing::{Fault, When};
use serde_json::Value;

use crate::http::Shown;
use crate::needs::{Need, variable};
use crate::world::{at, trail_body, trail_key};
use browser::Browser;

const NOON: &str = "2026-06-02T12:00:00Z";

async fn status(shown: &Shown) -> Value {
    let answer = shown.get("/api/status").await;
    assert_eq!(answer.status, 200, "{}", answer.body);
    assert!(answer.head.contains("content-type: application/json"), "{}", answer.head);
    serde_json::from_str(&answer.body).unwrap()
}

async fn source(shown: &Shown) -> Value {
    status(shown).await["sources"][0].clone()
}

async fn minutes_later(shown: &Shown, minutes: u32) {
    shown.clock.set(at(&format!("2026-06-02T12:{minutes:02}:00Z")));
}

#[tokio::test]
async fn states_come_and_clear_with_the_first_good_sweep() {
    let shown = Shown::at(NOON, "").await;
    let first = status(&shown).await;
    assert_eq!((&first["ready"], &first["healthy"]), (&false.into(), &true.into()), "{first}");
    assert_eq!(source(&shown).await["state"], "starting");
    shown.put(0, "2026-06-02T11:30:00Z", 3);
    shown.sweep().await;
    let well = source(&shown).await;
    assert_eq!(
        (&well["state"], &well["since"], &well["lag_seconds"]),
        (&"ok".into(), &Value::Null, &1_800.into())
    );
    assert_eq!(well["recent"][0]["records"], 3, "{well}");
    assert!(well["requests_24h"]["cost_usd"].as_f64() > Some(0.0), "{well}");
    // one object is refused
    let refused = shown.put(0, "2026-06-02T12:01:00Z", 1);
    shown.bucket.on_get(When::key(&refused), Fault::Fail(Class::Object));
    for minute in [5, 10] {
        minutes_later(&shown, minute).await;
        shown.sweep().await;
    }
    let failing = source(&shown).await;
    assert_eq!((&failing["state"], &failing["waiting"]), (&"failing".into(), &1.into()), "{failing}");
    assert_eq!(failing["since"], "2026-06-02T12:05:00Z", "the first time");
    assert_eq!(failing["waiting_objects"][0]["key"], refused);
    assert!(failing["next_step"].as_str().unwrap().contains("s3sweep check"), "{failing}");
    // nothing can be listed
    shown.bucket.on_list(When::Always, Fault::Fail(Class::Unreachable));
    for minute in [15, 20] {
        minutes_later(&shown, minute).await;
        shown.sweep().await;
    }
    let unreachable = source(&shown).await;
    assert_eq!(unreachable["state"], "unreachable");
    assert_eq!(unreachable["since"], "2026-06-02T12:15:00Z");
    assert!(unreachable["reason"].as_str().unwrap().starts_with("LIST s3://acme-trail/"), "{unreachable}");
    shown.direct(SweepAction::Pause).await;
    assert_eq!(source(&shown).await["state"], "paused");
    shown.direct(SweepAction::Resume).await;
    shown.bucket.heal();
    minutes_later(&shown, 25).await;
    shown.sweep().await;
    let well = source(&shown).await;
    assert_eq!((&well["state"], &well["reason"]), (&"ok".into(), &Value::Null), "{well}");
    assert_eq!(well["recent"].as_array().unwrap().len(), 6);
    shown.end().await;
}

#[tokio::test]
async fn a_good_check_clears_the_state_and_a_bad_one_does_not() {
    let shown = Shown::at(NOON, "").await;
    let checked = || Request::Checked { source: "main".into() };
    shown.bucket.on_list(When::Always, Fault::Fail(Class::Unreachable));
    shown.sweep().await;
    minutes_later(&shown, 1).await;
    let Response::Done { text } = shown.control(checked()).await else { panic!("it is done") };
    assert!(text.starts_with("main: LIST "), "{text}");
    let still = source(&shown).await;
    assert_eq!((&still["state"], &still["since"]), (&"unreachable".into(), &NOON.into()), "{still}");
    shown.bucket.heal();
    shown.control(checked()).await;
    let well = source(&shown).await;
    assert_eq!((&well["state"], &well["asked_at"]), (&"ok".into(), &"2026-06-02T12:01:00Z".into()), "{well}");
    assert!(shown.get("/metrics").await.body.contains("s3sweep_source_up{source=\"main\"} 1"));
    shown.end().await;
}

/// A source that is swept once a day is asked in between.
#[tokio::test]
async fn what_is_told_is_five_minutes_old_at_most() {
    let shown = Shown::with(NOON, "", "recurrence = \"1D\"").await;
    let known = || shown.instance.watch().get("main").unwrap().known();
    let until = async |what: &str, done: &dyn Fn() -> bool| {
        let patience = tokio::time::timeout(Duration::from_secs(30), async {
            while !done() {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        });
        patience.await.unwrap_or_else(|_| panic!("it does not come to: {what}"));
    };
    let driving = async {
        until("a sweep", &|| known().sweeps == 1).await;
        let lists = source(&shown).await["requests_24h"]["list"].as_u64().unwrap();
        minutes_later(&shown, 4).await;
        tokio::time::sleep(Duration::from_secs(1)).await;
        assert_eq!(known().asked_at, Some(at(NOON)), "not yet");
        shown.bucket.on_list(When::Always, Fault::Fail(Class::Unreachable));
        minutes_later(&shown, 5).await;
        until("a check that fails", &|| known().unreachable.is_some()).await;
        assert_eq!(source(&shown).await["since"], "2026-06-02T12:05:00Z");
        shown.bucket.heal();
        minutes_later(&shown, 10).await;
        until("a check that is well", &|| known().unreachable.is_none()).await;
        let well = source(&shown).await;
        assert_eq!((&well["state"], &well["asked_at"]), (&"ok".into(), &"2026-06-02T12:10:00Z".into()));
        assert_eq!(well["requests_24h"]["list"], lists + 2, "one LIST each");
        assert_eq!(known().listed_at, Some(at(NOON)), "health counts sweeps alone");
    };
    tokio::select! {
        ended = shown.instance.run(&shown.roster) => panic!("nobody stops it: {ended:?}"),
        () = driving => {}
    }
    shown.end().await;
}

/// A source with everything that the page can show, and keys that would be markup.
async fn in_trouble() -> Shown {
    let shown = Shown::at(NOON, "").await;
    for minute in 0..12 {
        minutes_later(&shown, minute).await;
        shown.put(0, &format!("2026-06-02T12:{minute:02}:00Z"), usize::try_from(minute % 5 * 40).unwrap());
        shown.put(1, &format!("2026-06-02T0{}:00:00Z", minute % 10), 3);
        shown.sweep().await;
    }
    let folder = "AWSLogs/111122223333/CloudTrail/us-east-1/2026/06/02/";
    let markup = format!("{folder}<img src=x onerror=alert(1)>\"'&<script>alert(2)</script>.json.gz");
    shown.objects.put(&markup, trail_body(&["x".into()]), at("2026-06-02T12:00:00Z"));
    shown.bucket.on_get(When::key(&markup), Fault::Fail(Class::Object));
    let broken = trail_key(1, at("2026-06-02T12:03:00Z"), 9);
    shown.objects.put(&broken, "no JSON", at("2026-06-02T12:03:00Z"));
    minutes_later(&shown, 15).await;
    shown.sweep().await;
    minutes_later(&shown, 17).await;
    shown
}

#[tokio::test]
async fn the_page_says_all_without_scripts_or_other_files() {
    let shown = in_trouble().await;
    let page = shown.get("/").await;
    shown.end().await;
    assert_eq!(page.status, 200);
    for line in [
        "content-type: text/html; charset=utf-8",
        "content-security-policy: default-src 'none'; style-src 'sha256-",
        "referrer-policy: no-referrer",
        "cache-control: no-store",
    ] {
        assert!(page.head.contains(line), "{line} in {}", page.head);
    }
    for text in [
        "<span class=\"state bad\">failing</span>",
        "1 source: 1 failing; healthy.",
        "Since 2026-06-02 12:15:00 UTC (2 min ago)",
        "&lt;img src=x onerror=alert(1)&gt;&quot;&#39;&amp;&lt;script&gt;alert(2)&lt;/script&gt;.json.gz",
        "Waiting to be tried again: 1",
        "In the quarantine: 1",
        "s3sweep quarantine retry",
        "aria-label=\"Records of the last 13 sweeps; at most 163\"",
    ] {
        assert!(page.body.contains(text), "{text} in {}", page.body);
    }
    assert_eq!(page.body.matches("<rect").count(), 13, "a bar for each sweep");
    for text in ["<script", "<img", "<link", "src=\"", "style=\"", "http://", "https://"] {
        assert!(!page.body.contains(text), "{text} in {}", page.body);
    }
}

#[tokio::test]
async fn a_browser_shows_it_on_a_phone_in_light_and_dark() {
    let shown = in_trouble().await;
    let address = shown.address;
    let seen = tokio::task::spawn_blocking(move || {
        let browser = Browser::start()?;
        browser.scripts(false);
        for (width, scheme) in [(360, "light"), (360, "dark"), (1280, "light")] {
            look(&browser, &format!("http://{address}/"), width, scheme);
        }
        browser.prefers("light");
        let light = browser.value("getComputedStyle(document.body).backgroundColor");
        browser.prefers("dark");
        assert_ne!(light, browser.value("getComputedStyle(document.body).backgroundColor"));
        let process = browser.process;
        assert!(browser::is_there(process));
        drop(browser);
        assert!(!browser::is_there(process), "it goes with the test");
        Ok::<_, String>(())
    });
    let seen = seen.await.unwrap();
    shown.end().await;
    if let Err(why) = seen {
        Need::Chromium.is_missing(why);
    }
}

fn look(browser: &Browser, url: &str, width: u32, scheme: &str) {
    browser.width(width);
    browser.prefers(scheme);
    browser.open(url);
    let text = browser.text();
    for wanted in ["main failing", "What to do:", "<img src=x onerror=alert(1)>", "12:15:00 UTC", "Lag"] {
        assert!(text.contains(wanted), "{wanted} in {text}");
    }
    let wide = browser.value("document.documentElement.scrollWidth").as_u64().unwrap();
    assert!(wide <= u64::from(width), "{wide} pixels are shown on {width}");
    assert_eq!(browser.value("document.querySelectorAll('img, script, iframe, link').length"), 0);
    let bars = "[...document.querySelectorAll('rect')].filter(bar => bar.getBoundingClientRect().height > 0)";
    assert_eq!(browser.value(&format!("{bars}.length")), 13, "bars that are seen");
    assert_eq!(browser.value("getComputedStyle(document.querySelector('.state')).borderTopStyle"), "solid");
    let complaints = browser.complaints();
    // a browser asks for an icon by itself
    let complaints: Vec<_> = complaints.iter().filter(|text| !text.contains("favicon")).collect();
    assert!(complaints.is_empty(), "{complaints:?}");
    if let Some(folder) = variable::<String>("S3SWEEP_TESTS_PICTURES") {
        std::fs::write(format!("{folder}/{width}-{scheme}.base64"), browser.picture()).unwrap();
    }
}
