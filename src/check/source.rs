//! One source: the way to its bucket, then each leaf with one LIST and one GET.

use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use futures_util::stream::{self, StreamExt as _};
use regex::Regex;

use super::refusal::{self, code_of, stage, was_sent};
use super::{Certificate, Certificates, Fault, Line, Options, SourceFindings, Status, worst};
use crate::aws;
use crate::aws::advice::Stage;
use crate::bucket::{Bucket, BucketError, GetRequest, ListPage, ListRequest, ObjectRef};
use crate::config::{BucketLocation, Config, KeyOrder, SourceConfig};
use crate::failure;
use crate::layout::{self, Layout};
use crate::pattern::{Discovery, FolderQuery, Leaf};
use crate::policy;
use crate::prices;
use crate::sweep::discover::discover_leaves;

/// Skew beyond this is worth a word; S3 refuses a quarter of an hour.
const SKEW: TimeDelta = TimeDelta::minutes(5);
/// Pages of one prefix that are looked at for its newest object.
const PAGES: usize = 10;
/// Names shown of what the bucket has instead.
const SHOWN: usize = 5;

/// All lines about one source; `all` are the sources that are checked with it.
pub(super) async fn findings(
    mut source: SourceConfig,
    bucket: Result<Arc<dyn Bucket>, BucketError>,
    config: &Config,
    all: &[SourceConfig],
    options: Options<'_>,
) -> SourceFindings {
    let mut lines =
        vec![Line::ok("configuration", format!("{} in {}", source.pattern, source.bucket.name()))];
    lines.extend(left_out(&source, all));
    let (mut leaves, mut certificates) = (0, None);
    match bucket {
        Err(error) => lines.push(refusal::line("bucket", &source, &error)),
        Ok(bucket) => {
            // what is told of the way is that of the requests; where the profile's endpoint cannot be
            // used there is no bucket
            if matches!(source.bucket, BucketLocation::S3(_))
                && let Ok(endpoint) = aws::endpoint(&source.access).await
            {
                source.access.endpoint_url = endpoint;
            }
            let checked =
                Checked { source: &source, bucket: &*bucket, options, lists: config.limits.list_concurrency };
            if options.certificates && matches!(checked.source.bucket, BucketLocation::S3(_)) {
                certificates = checked.certificates(&mut lines).await;
            }
            if checked.way(&mut lines).await {
                leaves = checked.leaves(&mut lines).await;
                if checked.source.pattern.step().is_some() {
                    lines.push(checked.idle(leaves));
                }
            }
        }
    }
    let status = worst(&lines);
    let summary = summary(&lines, leaves, status);
    SourceFindings { name: source.name, status, summary, leaves, lines, certificates }
}

/// One line for people: the first of the worst lines, or what was seen to work.
fn summary(lines: &[Line], leaves: usize, status: Status) -> String {
    let bad: Vec<_> = lines.iter().filter(|line| line.status != Status::Ok).collect();
    match bad.iter().find(|line| line.status == status) {
        None => format!("LIST and GET work in {}", counted(leaves as u64, "leaf", "leaves")),
        Some(first) => {
            let code = first.code.as_ref().map_or_else(String::new, |code| format!(" ({code})"));
            let more = match bad.len() {
                1 => String::new(),
                more => format!(", and {} more", more - 1),
            };
            format!("{} {}{code}{more}", first.check, status.word())
        }
    }
}

/// A warning when the events of global services (IAM, STS, CloudFront) are left out: they are
/// logged in us-east-1 (CloudTrail user guide, "About global service events").
fn left_out(source: &SourceConfig, all: &[SourceConfig]) -> Option<Line> {
    let takes = |source: &SourceConfig| {
        if source.layout != Some(Layout::CloudTrail) {
            return None;
        }
        let shown = source.pattern.to_string();
        let before = shown.split("/{YYYY}").next()?;
        let region = before.rsplit('/').next()?;
        let whole = format!("^{}$", regex::escape(region).replace(r"\*", ".*"));
        Some(Regex::new(&whole).is_ok_and(|region| region.is_match("us-east-1")))
    };
    let covered = |other: &SourceConfig| other.bucket == source.bucket && takes(other) == Some(true);
    if takes(source)? || all.iter().any(covered) {
        return None;
    }
    let detail =
        "the pattern leaves out us-east-1, where CloudTrail logs global services such as IAM and STS";
    Some(
        Line::new("coverage", Status::Warning, Fault::Configuration, detail).next(
            "Write `*` for the region, or add a source for us-east-1 unless another collector takes it.",
        ),
    )
}

/// A source with its bucket.
struct Checked<'a> {
    source: &'a SourceConfig,
    bucket: &'a dyn Bucket,
    options: Options<'a>,
    lists: usize,
}

/// What a look at one prefix found.
struct Seen {
    prefix: String,
    matching: usize,
    newest: Option<ObjectRef>,
    pages: usize,
    is_whole: bool,
}

impl Checked<'_> {
    /// The way to the bucket, by one LIST of one key. Returns whether it stands.
    async fn way(&self, lines: &mut Vec<Line>) -> bool {
        let prefix = policy::literal_part(&self.source.pattern);
        let request = ListRequest { page_size: 1, ..list(prefix) };
        let answer = self.bucket.list(&request).await;
        if matches!(self.source.bucket, BucketLocation::Dir(_)) {
            return match answer {
                Ok(_) => true,
                Err(error) => {
                    lines.push(
                        refusal::line("list", self.source, &error)
                            .next("Correct `bucket`, or the rights of the directory."),
                    );
                    false
                }
            };
        }
        let (date, failed) = match &answer {
            Ok(page) => (page.date, None),
            Err(error) => (error.answer.as_ref().and_then(|answer| answer.date), Some(error)),
        };
        lines.extend(self.passed(failed).await);
        let is_clock = failed.is_some_and(|error| stage(error) == Some(Stage::Clock));
        lines.extend(date.and_then(|date| self.skew(date, is_clock)));
        match failed {
            None => true,
            Some(error) => {
                let line = refusal::line("list", self.source, error);
                lines.push(match stage(error) {
                    Some(Stage::Credentials) if was_sent(error) => self.signed(line).await,
                    Some(Stage::Permission) if code_of(error) == Some("AccessDenied") => {
                        self.spelt(line, error)
                    }
                    _ => line,
                });
                false
            }
        }
    }

    /// The same line with a word about the bucket's name: S3 refuses the bucket of somebody else as it
    /// refuses our own. Once a LIST was answered the name is right.
    fn spelt(&self, line: Line, error: &BucketError) -> Line {
        let owner = refusal::other_owner(self.source);
        let see = if owner.is_some() { "See then" } else { "See first" };
        let bucket = self.source.bucket.name();
        let spelt =
            format!("{see} that `bucket` is spelt right: `{bucket}` may be the bucket of somebody else.");
        let policies = refusal::known(error).map(|advice| advice.next.to_owned());
        line.next(owner.into_iter().chain([spelt]).chain(policies).collect::<Vec<_>>().join(" "))
    }

    /// The same line with the key that was refused, and where it came from.
    async fn signed(&self, line: Line) -> Line {
        match aws::identity(&self.source.access, self.options.timeouts).await {
            Ok(identity) => {
                let key = format!("access key {} by {}", identity.access_key_id, identity.provider);
                Line { detail: format!("{} Signed with {key}.", line.detail), ..line }
            }
            // what is said already is enough
            Err(_) => line,
        }
    }

    /// The stages that a request had behind it.
    async fn passed(&self, failed: Option<&BucketError>) -> Vec<Line> {
        if failed.is_some_and(|error| !was_sent(error)) {
            return Vec::new();
        }
        let end = failed.and_then(stage).unwrap_or(Stage::Credentials);
        // S3 may refuse for other reasons before it looks at the signature
        let is_known = failed.is_none_or(|error| code_of(error) == Some("AccessDenied"));
        let region = self.source.access.region.as_deref().unwrap_or("the region found");
        let aws = format!("S3 in {region}");
        let host = self.source.access.endpoint_url.as_deref().unwrap_or(&aws);
        let plain = host.starts_with("http://");
        let proxy = if plain { &self.source.access.proxy.http } else { &self.source.access.proxy.https };
        let mut lines = vec![match proxy {
            None => (Stage::Dns, format!("{host} has an address")),
            Some(proxy) => {
                let text =
                    format!("{} is set, but for this machine's own addresses and `no_proxy`", proxy.url);
                (Stage::Proxy, text)
            }
        }];
        if !plain {
            lines.push((Stage::Tls, format!("{host} speaks TLS, with a certificate that is trusted")));
        }
        lines.retain(|(stage, _)| failed.is_none() || *stage < end);
        if is_known {
            lines.push((Stage::Credentials, format!("accepted: {}", self.who().await)));
        }
        lines.into_iter().map(|(stage, detail)| Line::ok(stage.word(), detail)).collect()
    }

    /// Where the credentials come from and whose they are, without any secret.
    async fn who(&self) -> String {
        match aws::identity(&self.source.access, self.options.timeouts).await {
            Ok(identity) => identity.to_string(),
            Err(error) => format!("the credentials of the request ({})", failure::chain(&error)),
        }
    }

    /// What the server shows; a line where it shows nothing.
    async fn certificates(&self, lines: &mut Vec<Line>) -> Option<Certificates> {
        let name = self.source.bucket.name();
        match aws::server_certificates(&self.source.access, &name, self.options.timeouts).await {
            Ok(shown) => {
                let chain = shown.chain.into_iter();
                let chain = chain.map(|one| Certificate { sha256: one.sha256, pem: one.pem }).collect();
                Some(Certificates {
                    server: shown.server,
                    proxy: shown.proxy,
                    distrust: shown.distrust,
                    chain,
                })
            }
            Err(error) => {
                let detail = format!("no certificates to show: {}", failure::chain(&error));
                lines.push(Line::new("certificates", Status::Warning, Fault::Source, detail));
                None
            }
        }
    }

    /// How far our clock is from the bucket's.
    fn skew(&self, date: DateTime<Utc>, is_refused: bool) -> Option<Line> {
        let skew = self.options.clock.now() - date;
        let seconds = skew.num_seconds();
        let side = if seconds < 0 { "behind" } else { "ahead of" };
        let text = format!("this machine is {} s {side} the bucket's clock", seconds.abs());
        if skew.abs() <= SKEW {
            return (!is_refused).then(|| Line::ok("clock", text));
        }
        let line = Line::new("clock", Status::Warning, Fault::Source, text);
        Some(line.next("Set this machine's clock by NTP (`timedatectl set-ntp true`, or chrony)."))
    }

    /// Every leaf; returns how many there are.
    async fn leaves(&self, lines: &mut Vec<Line>) -> usize {
        let (leaves, failures) =
            discover_leaves(&self.source.pattern, self.lists, |query| self.folders(query)).await;
        lines.extend(failures.iter().map(|error| refusal::line("discover", self.source, error)));
        if leaves.is_empty() && failures.is_empty() {
            let lead = policy::literal_part(&self.source.pattern);
            lines.push(self.nothing(&lead, "no account or region in the bucket matches the pattern").await);
        }
        let found: Vec<Vec<Line>> =
            stream::iter(&leaves).map(|leaf| self.leaf(leaf)).buffered(self.lists).collect().await;
        lines.extend(found.into_iter().flatten());
        leaves.len()
    }

    async fn folders(&self, query: FolderQuery) -> Result<Vec<Discovery>, BucketError> {
        let mut request = ListRequest { by_folder: true, ..list(query.prefix()) };
        let mut found = Vec::new();
        loop {
            let page = self.bucket.list(&request).await?;
            found.extend(page.folders.iter().filter_map(|folder| query.accept(folder)));
            if page.next.is_none() {
                return Ok(found);
            }
            request.token = page.next;
        }
    }

    async fn leaf(&self, leaf: &Leaf) -> Vec<Line> {
        let name = leaf.name();
        let mut lines = Vec::new();
        match self.look(leaf).await {
            Err(error) => lines.push(refusal::line("list", self.source, &error).of(&name)),
            Ok(seen) => {
                lines.extend(self.open_ended(&seen).map(|line| line.of(&name)));
                match &seen.newest {
                    Some(newest) => {
                        let objects = counted(seen.matching as u64, "matching object", "matching objects");
                        let text = format!("{objects} below {}", seen.prefix);
                        lines.push(Line::ok("list", text).of(&name));
                        lines.push(self.get(newest).await.of(&name));
                    }
                    None => {
                        let what = format!("no matching object below {} and before it", seen.prefix);
                        lines.push(self.nothing(leaf.head(), &what).await.of(&name));
                    }
                }
            }
        }
        lines
    }

    /// The prefix of now, and where it has no matching object, the one before, of yesterday and of
    /// a week ago.
    async fn look(&self, leaf: &Leaf) -> Result<Seen, BucketError> {
        let now = self.options.clock.now();
        let own = leaf.time_of(now);
        let mut times = vec![own, leaf.previous(own)];
        times.extend([1, 7].map(|days| leaf.time_of(now - TimeDelta::days(days))));
        times.dedup();
        let mut first = None;
        for time in times {
            let seen = self.look_at(leaf, &leaf.prefix(time).literal).await?;
            if seen.newest.is_some() {
                return Ok(seen);
            }
            first.get_or_insert(seen);
        }
        Ok(first.expect("there is a prefix of now"))
    }

    async fn look_at(&self, leaf: &Leaf, prefix: &str) -> Result<Seen, BucketError> {
        let mut seen =
            Seen { prefix: prefix.to_owned(), matching: 0, newest: None, pages: 0, is_whole: false };
        let mut request = ListRequest { page_size: self.source.list_page_size, ..list(prefix) };
        while seen.pages < PAGES {
            let page = self.bucket.list(&request).await?;
            seen.pages += 1;
            for object in page.objects.into_iter().filter(|object| self.matches(leaf, object)) {
                seen.matching += 1;
                // an object that can be read tells more than a newer one in an archive
                let rank = |object: &ObjectRef| (!object.archived, object.last_modified);
                if seen.newest.as_ref().is_none_or(|newest| rank(newest) <= rank(&object)) {
                    seen.newest = Some(object);
                }
            }
            match page.next {
                Some(token) => request.token = Some(token),
                None => {
                    seen.is_whole = true;
                    break;
                }
            }
        }
        Ok(seen)
    }

    fn matches(&self, leaf: &Leaf, object: &ObjectRef) -> bool {
        object.size > 0
            && leaf.prefix_of_key(&object.key).is_some()
            && !layout::is_digest(self.source.log_type, &object.key)
            && self.source.file_pattern.is_match(&object.key)
    }

    /// One GET, broken off after its first bytes.
    async fn get(&self, object: &ObjectRef) -> Line {
        let request = GetRequest { key: object.key.clone(), if_match: object.etag.clone(), from: 0 };
        let first = match self.bucket.get(&request).await {
            Ok(mut body) => body.next().await.transpose(),
            Err(error) => Err(error),
        };
        match first {
            Ok(Some(_)) => Line::ok("get", format!("the first bytes of {}", object.key)),
            Ok(None) => {
                let detail = format!("{} is empty, and was listed with {} bytes", object.key, object.size);
                let line = Line::new("get", Status::Failed, Fault::Source, detail);
                line.next("Ask the store's operator: its listing and its objects contradict each other.")
            }
            Err(error) => refusal::line("get", self.source, &error),
        }
    }

    /// What an idle source with so many leaves costs, and whether that is within its budget.
    fn idle(&self, leaves: usize) -> Line {
        let source = self.source;
        let calls = prices::idle_lists_per_hour(leaves as u64, source.recurrence);
        let detail = format!(
            "at least {} an hour, {:.2} USD in 30 days: one for {} {}",
            lists(calls),
            source.prices.cost(calls, 0) * 24.0 * 30.0,
            if leaves == 1 { "the one leaf".to_owned() } else { format!("each of {leaves} leaves") },
            every(source.recurrence)
        );
        match source.list_budget_per_hour {
            Some(budget) if calls > budget => {
                let detail = format!("{detail}; `list_budget_per_hour` is {budget}");
                Line::new("cost", Status::Warning, Fault::Configuration, detail)
                    .next("Raise `recurrence` or the budget, or let `prefix` match fewer leaves.")
            }
            Some(_) | None => Line::ok("cost", detail),
        }
    }

    /// What an open-ended pattern costs, by what was seen of it.
    fn open_ended(&self, seen: &Seen) -> Option<Line> {
        if self.source.pattern.step().is_some() {
            return None;
        }
        let again = match self.source.key_order {
            KeyOrder::Time => self.source.reconcile_every,
            KeyOrder::None => self.source.recurrence,
        };
        let day = Duration::from_secs(86_400).as_secs_f64();
        let calls = (seen.pages as f64 * day / again.as_secs_f64().max(1.0)).ceil() as u64;
        let cost = self.source.prices.cost(calls, 0);
        let least = if seen.is_whole { "" } else { "at least " };
        let detail = format!(
            "the pattern has no date and never closes: all of it is listed {}, {least}{} each time, \
             {least}{calls} a day for {cost:.2} USD",
            every(again),
            lists(seen.pages as u64)
        );
        let line = Line::new("cost", Status::Warning, Fault::Configuration, detail);
        Some(line.next(
            "Add the dates to `prefix` ({YYYY}/{mm}/{dd}) where the keys have them, or raise `recurrence`.",
        ))
    }

    /// A warning that nothing was found, with what the bucket has instead.
    async fn nothing(&self, place: &str, what: &str) -> Line {
        let folder = &place[..place.rfind('/').map_or(0, |slash| slash + 1)];
        let mut shown = String::new();
        for place in [folder, ""] {
            let request = ListRequest { by_folder: true, page_size: 100, ..list(place) };
            // only a hint: where it is refused there is none
            let Ok(page) = self.bucket.list(&request).await else { continue };
            let names = names(&page);
            if !names.is_empty() {
                let place = if place.is_empty() { "the bucket's root" } else { place };
                shown = format!("; {place} has {names}");
                break;
            }
        }
        let line = Line::new("list", Status::Warning, Fault::Source, format!("{what}{shown}"));
        line.next("Correct `prefix` or `file_pattern` if logs are there already (`s3sweep expand` shows what a pattern means); otherwise wait for the first.")
    }
}

/// A number and what it counts.
pub(super) fn counted(number: u64, one: &str, many: &str) -> String {
    format!("{number} {}", if number == 1 { one } else { many })
}

fn lists(number: u64) -> String {
    counted(number, "LIST request", "LIST requests")
}

/// How often, in whole minutes.
fn every(time: Duration) -> String {
    match time.as_secs() / 60 {
        1 => "every minute".to_owned(),
        minutes => format!("every {minutes} minutes"),
    }
}

fn names(page: &ListPage) -> String {
    let mut names: Vec<_> = page.folders.iter().map(String::as_str).collect();
    names.extend(page.objects.iter().map(|object| object.key.as_str()));
    let more = names.len() > SHOWN;
    names.truncate(SHOWN);
    names.join(", ") + if more { ", …" } else { "" }
}

fn list(prefix: impl Into<String>) -> ListRequest {
    ListRequest { prefix: prefix.into(), page_size: crate::bucket::MAX_PAGE_SIZE, ..ListRequest::default() }
}
