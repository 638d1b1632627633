//! `check`: whether a configuration works, and what to do where it does not.

use serde::Serialize;

use super::exit::Exit;
use super::instance;
use super::output::{Output, OutputArgs, print_lines};
use crate::bucket;
use crate::check::{self, Certificates, Fault, Findings, Line, Options, Status};
use crate::clock::SystemClock;
use crate::config::{Config, ConfigError};
use crate::service;
use crate::service::socket::protocol::Request;

/// Check configuration, credentials, LIST and GET, per leaf
///
/// Looks at the configuration, the state directory and the sink, then for each enabled source at
/// the way to its bucket (name, proxy, TLS, credentials, clock) and for each leaf at one LIST and
/// the first bytes of its newest object. Each line is ok, warning or failed, with what to do next;
/// docs/errors.md has all error codes. Changes nothing, and may run beside the daemon.
///
/// One line per source, with those that are not ok below it; all of them with -v.
#[derive(Clone, Debug, clap::Args)]
#[command(after_long_help = "Examples:
  s3sweep check -c s3sweep.toml
  s3sweep check -c s3sweep.toml --source prod-cloudtrail -v")]
pub struct CheckArgs {
    /// Show the certificates of each source's server, with their SHA-256 fingerprints
    ///
    /// They come as the server sends them, through the proxy where one is used; what is trusted
    /// does not change. Compare the fingerprint with the one that the server's operator tells
    /// before the certificate goes into `ca_bundle`.
    #[arg(long)]
    pub show_certificate: bool,

    /// In which form the result is written.
    #[command(flatten)]
    pub output: OutputArgs,
}

#[derive(Serialize)]
struct Shown<'a> {
    exit_code: u8,
    #[serde(flatten)]
    findings: &'a Findings,
}

pub(super) async fn check(
    args: &CheckArgs,
    load: impl FnOnce() -> anyhow::Result<Config>,
    verbose: bool,
) -> anyhow::Result<Exit> {
    let findings = match load() {
        Ok(config) => {
            let findings = look(&config, args.show_certificate).await;
            tell_daemon(&config, &findings).await;
            findings
        }
        Err(error) if error.is::<ConfigError>() => {
            let line = Line::new("configuration", Status::Failed, Fault::Configuration, format!("{error:#}"));
            Findings::new(vec![line.next("Correct it there.")], Vec::new())
        }
        Err(error) => return Err(error),
    };
    let exit = exit_of(&findings);
    match args.output.output {
        Output::Table => print_lines(table(&findings, verbose))?,
        Output::Json => {
            let shown = Shown { exit_code: exit.code(), findings: &findings };
            print_lines([serde_json::to_string(&shown)?])?;
        }
    }
    Ok(exit)
}

async fn look(config: &Config, certificates: bool) -> Findings {
    let timeouts = service::timeouts(&config.limits);
    let mut sources = Vec::new();
    for source in config.sources.iter().filter(|source| source.enabled) {
        let bucket = bucket::open(&source.bucket, &source.access, timeouts).await;
        sources.push((source.clone(), bucket));
    }
    let options = Options { timeouts, clock: &SystemClock, certificates };
    check::check(config, sources, options).await
}

/// A daemon asks the sources that are well once itself: its status page then says so too.
async fn tell_daemon(config: &Config, findings: &Findings) {
    let well = findings.sources.iter().filter(|source| source.status != Status::Failed);
    let requests: Vec<_> = well.map(|source| Request::Checked { source: source.name.clone() }).collect();
    let Ok(Some(daemon)) = instance::daemon(config) else { return };
    let telling = tokio::task::spawn_blocking(move || {
        for request in requests {
            if let Err(error) = daemon.ask(request) {
                // of another version, or with other sources
                tracing::debug!(%error, "the daemon does not take what was found");
            }
        }
    });
    // the findings are the same, whoever hears of them
    let _ = telling.await;
}

fn exit_of(findings: &Findings) -> Exit {
    match findings.fault() {
        None => Exit::Success,
        Some(Fault::Configuration) => Exit::Usage,
        Some(Fault::Source) => Exit::Unreachable,
        Some(Fault::State) => Exit::State,
        Some(Fault::Sink) => Exit::Sink,
    }
}

/// The findings for people.
fn table(findings: &Findings, verbose: bool) -> Vec<String> {
    let own = findings.lines.iter().map(|line| line.status).max().unwrap_or(Status::Ok);
    let mut text = vec![format!("{:<8} this machine: configuration, state and sink", own.word())];
    details(&findings.lines, verbose, &mut text);
    for source in &findings.sources {
        text.push(format!("{:<8} {}: {}", source.status.word(), source.name, source.summary));
        details(&source.lines, verbose, &mut text);
        if let Some(shown) = &source.certificates {
            certificates(shown, &mut text);
        }
    }
    text
}

fn certificates(shown: &Certificates, text: &mut Vec<String>) {
    let way = shown.proxy.as_ref().map_or_else(String::new, |proxy| format!(" through {proxy}"));
    let trust =
        shown.distrust.as_ref().map_or_else(|| "trusted".to_owned(), |why| format!("not trusted: {why}"));
    text.push(format!("  certificates of {}{way}, {trust}", shown.server));
    for certificate in &shown.chain {
        text.push(format!("    SHA-256 {}", certificate.sha256));
        text.extend(certificate.pem.lines().map(|line| format!("    {line}")));
    }
}

fn details(lines: &[Line], verbose: bool, text: &mut Vec<String>) {
    // a missing permission is somebody's
    let names_who = lines.iter().any(|line| line.statement.is_some());
    let is_shown =
        |line: &&Line| verbose || line.status != Status::Ok || (names_who && line.check == "credentials");
    for line in lines.iter().filter(is_shown) {
        let leaf = line.leaf.as_ref().map_or_else(String::new, |leaf| format!("{leaf}: "));
        text.push(format!("  {:<8} {:<13} {leaf}{}", line.status.word(), line.check, line.detail));
        if let Some(next) = &line.next {
            text.push(format!("           {:<13} {next}", "next:"));
        }
        if let Some(statement) = &line.statement {
            text.push(format!("           {:<13} {statement}", "statement:"));
        }
    }
}
