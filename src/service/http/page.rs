//! The status page: one HTML page that needs nothing else, neither scripts nor files.
//!
//! Its policy forbids all but its own style, so that nothing a key or an answer of S3 says can load
//! or run anything.

use chrono::{DateTime, Utc};

use super::chart;
use super::html::Html;
use super::overview::{Condition, ObjectTrouble, Overview, SourceOverview};
use super::words::{grouped, instant, span};

/// What the page may load: the style of this hash. A test holds it against the style.
pub(super) const POLICY: &str = "default-src 'none'; style-src 'sha256-FQMf+UTU44vDLu901ByqBeVehcNYglRY/YdrN/707Bo='; \
     base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/// Sources that are shown; `/api/status` has all.
const SHOWN: usize = 200;

const STYLE: &str = include_str!("page.css");

/// Shows how everything stands.
pub(super) fn page(overview: &Overview) -> String {
    let mut html = Html::default();
    html.raw("<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">");
    html.raw("<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">");
    html.raw("<meta http-equiv=\"refresh\" content=\"30\"><title>")
        .text(title(overview))
        .raw("</title><style>");
    html.raw(STYLE).raw("</style></head>\n<body><header><h1>s3sweep <span>").text(&overview.instance);
    html.raw("</span></h1><p>").text(summary(overview)).raw("</p></header>\n<main>");
    let mut sources: Vec<_> = overview.sources.iter().collect();
    sources.sort_by(|a, b| a.state.cmp(&b.state).then_with(|| a.name.cmp(&b.name)));
    for source in sources.iter().take(SHOWN) {
        show(&mut html, source, overview.now);
    }
    if sources.len() > SHOWN {
        html.raw("<p>").text(format!("{} more sources are not shown.", sources.len() - SHOWN)).raw("</p>");
    }
    html.raw("</main>\n<footer><p>As of ").text(overview.now.format("%F %T UTC").to_string());
    html.raw("; made anew every 30 seconds. Version ").text(overview.version).raw(", started ");
    html.text(instant(overview.started, overview.now));
    html.raw(".</p><p><a href=\"/api/status\">The same as JSON</a>, <a href=\"/metrics\">metrics</a></p></footer></body></html>\n");
    html.done()
}

/// What is wrong first: a tab shows only the beginning.
fn title(overview: &Overview) -> String {
    let bad = overview.sources.iter().filter(|source| is_bad(source.state)).count();
    match bad {
        0 => format!("s3sweep {}", overview.instance),
        bad => format!("({bad}) s3sweep {}", overview.instance),
    }
}

fn is_bad(condition: Condition) -> bool {
    match condition {
        Condition::Unreachable | Condition::Failing => true,
        Condition::Paused | Condition::Starting | Condition::Ok => false,
    }
}

fn summary(overview: &Overview) -> String {
    let all =
        [Condition::Unreachable, Condition::Failing, Condition::Paused, Condition::Starting, Condition::Ok];
    let count = |condition| overview.sources.iter().filter(|source| source.state == condition).count();
    let parts: Vec<_> = all
        .into_iter()
        .map(|condition| (count(condition), condition))
        .filter(|(count, _)| *count > 0)
        .map(|(count, condition)| format!("{count} {}", condition.word()))
        .collect();
    let health = match (overview.healthy, overview.ready) {
        (false, _) => "not healthy: a source is not listed",
        (true, false) => "healthy, not ready yet",
        (true, true) => "healthy",
    };
    let sources = if overview.sources.len() == 1 { "source" } else { "sources" };
    match parts.is_empty() {
        true => "No source is enabled.".to_owned(),
        false => format!("{} {sources}: {}; {health}.", overview.sources.len(), parts.join(", ")),
    }
}

fn show(html: &mut Html, source: &SourceOverview, now: DateTime<Utc>) {
    html.raw("<section id=\"source-").text(&source.name).raw("\"><h2>").text(&source.name);
    html.raw(match source.state {
        Condition::Unreachable | Condition::Failing => " <span class=\"state bad\">",
        Condition::Paused | Condition::Starting => " <span class=\"state idle\">",
        Condition::Ok => " <span class=\"state good\">",
    });
    html.text(source.state.word()).raw("</span></h2>");
    if let Some(since) = source.since {
        html.raw("<p>Since ").text(instant(since, now)).raw("</p>");
    }
    if let Some(reason) = &source.reason {
        html.raw("<p class=\"reason\">").text(reason).raw("</p>");
    }
    if let Some(meaning) = source.meaning {
        html.raw("<p>").prose(meaning).raw("</p>");
    }
    if let Some(next_step) = source.next_step {
        html.raw("<p class=\"next\"><b>What to do:</b> ").prose(next_step).raw("</p>");
    }
    facts(html, source, now);
    if !source.recent.is_empty() {
        chart::draw(html, &source.recent, now);
    }
    if source.leaves > 1 {
        worst_leaves(html, source);
    }
    objects(html, "Waiting to be tried again", source.waiting, &source.waiting_objects, now);
    objects(html, "In the quarantine", source.quarantined, &source.quarantined_objects, now);
    html.raw("</section>\n");
}

fn facts(html: &mut Html, source: &SourceOverview, now: DateTime<Utc>) {
    let at = |at: Option<DateTime<Utc>>, none: &str| at.map_or(none.to_owned(), |at| instant(at, now));
    let spent = &source.requests_24h;
    let next = match source.sweeping_since {
        Some(since) => format!("under way for {}", span((now - since).num_seconds())),
        None => at(
            source.next_sweep,
            if source.state == Condition::Paused { "when it is resumed" } else { "at once" },
        ),
    };
    html.raw("<dl>");
    for (name, value) in [
        ("Lag", source.lag_seconds.map_or("no object yet".to_owned(), span)),
        ("Last sweep", at(source.last_sweep, "none yet")),
        ("Next sweep", next),
        ("Asked last", at(source.asked_at, "not yet")),
        ("Leaves", grouped(source.leaves as u64)),
        ("Objects waiting", grouped(source.waiting)),
        ("In the quarantine", grouped(source.quarantined)),
        (
            "Requests in 24 hours",
            format!("{} LIST, {} GET: {:.4} USD", grouped(spent.list), grouped(spent.get), spent.cost_usd),
        ),
        ("Pattern", source.pattern.clone()),
        ("Bucket", source.bucket.clone()),
    ] {
        html.raw("<div><dt>").text(name).raw("</dt><dd>").text(value).raw("</dd></div>");
    }
    html.raw("</dl>");
}

fn worst_leaves(html: &mut Html, source: &SourceOverview) {
    html.raw("<h3>Leaves that lag most</h3><ul>");
    for leaf in &source.worst_leaves {
        html.raw("<li>").text(span(leaf.lag_seconds)).raw(": <code>").text(&leaf.leaf).raw("</code></li>");
    }
    html.raw("</ul>");
}

fn objects(html: &mut Html, title: &str, count: u64, objects: &[ObjectTrouble], now: DateTime<Utc>) {
    if count == 0 {
        return;
    }
    html.raw("<details open><summary>").text(format!("{title}: {}", grouped(count))).raw("</summary><ul>");
    for object in objects {
        html.raw("<li><code>").text(&object.key).raw("</code><br>").text(&object.class).raw(": ");
        html.text(&object.reason).raw("; tried ");
        html.text(if object.attempts == 1 {
            "once".to_owned()
        } else {
            format!("{} times", object.attempts)
        });
        html.text(match object.retry_at {
            Some(at) if at > now => format!(", again from {}", instant(at, now)),
            Some(_) => ", again with the next sweep".to_owned(),
            None => String::new(),
        });
        html.raw("<br><b>What to do:</b> ").prose(object.next_step).raw("</li>");
    }
    if count > objects.len() as u64 {
        html.raw("<li>").text(format!("and {} more", grouped(count - objects.len() as u64))).raw("</li>");
    }
    html.raw("</ul></details>");
}

#[cfg(test)]
mod tests {
    use sha2::{Digest as _, Sha256};

    use super::*;

    /// RFC 4648, of whole groups and a last one of two bytes, as 32 bytes are.
    fn base64(bytes: &[u8]) -> String {
        const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
        let letters = bytes.chunks(3).flat_map(|group| {
            let bits = group.iter().fold(0_u32, |bits, byte| bits << 8 | u32::from(*byte))
                << (8 * (3 - group.len()));
            (0..=group.len()).map(move |at| char::from(LETTERS[(bits >> (18 - 6 * at)) as usize & 63]))
        });
        letters.chain("=".repeat((3 - bytes.len() % 3) % 3).chars()).collect()
    }

    #[test]
    fn the_policy_allows_the_style_of_the_page_and_nothing_else() {
        assert_eq!(base64(b"any carnal pleas"), "YW55IGNhcm5hbCBwbGVhcw==");
        assert_eq!(base64(b"any carnal pleasu"), "YW55IGNhcm5hbCBwbGVhc3U=");
        let hash = format!("'sha256-{}'", base64(&Sha256::digest(STYLE)));
        assert!(POLICY.contains(&format!("style-src {hash};")), "the style has the hash {hash}");
        assert!(!STYLE.contains("url(") && !STYLE.contains('<'), "it loads nothing and ends nowhere else");
    }
}
