//! From a request to its answer.

use bytes::Bytes;
use http_body_util::Full;
use hyper::header::{
    ALLOW, CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, HeaderValue, REFERRER_POLICY,
    X_CONTENT_TYPE_OPTIONS,
};
use hyper::{Method, Request, Response, StatusCode};

use super::{Site, page};
use crate::failure;
use crate::metrics;
use crate::state::StateError;

const TEXT: &str = "text/plain; charset=utf-8";
const HTML: &str = "text/html; charset=utf-8";
const JSON: &str = "application/json";

/// Answers a request. Only its method and path count.
pub(super) async fn answer<B>(site: &Site, request: &Request<B>) -> Response<Full<Bytes>> {
    if request.method() != Method::GET && request.method() != Method::HEAD {
        let mut refused = respond(StatusCode::METHOD_NOT_ALLOWED, TEXT, "only GET and HEAD\n");
        refused.headers_mut().insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
        return refused;
    }
    found(site, request.uri().path()).await.unwrap_or_else(|error| {
        let text = format!("{}\n", failure::chain(&error));
        respond(StatusCode::INTERNAL_SERVER_ERROR, TEXT, text)
    })
}

async fn found(site: &Site, path: &str) -> Result<Response<Full<Bytes>>, StateError> {
    Ok(match path {
        "/metrics" => respond(StatusCode::OK, metrics::CONTENT_TYPE, site.metrics().await?),
        "/healthz" => verdict("healthy", &site.unhealthy().await?),
        "/readyz" => verdict("ready", &site.unready().await?),
        "/api/status" => {
            let overview = serde_json::to_string(&site.overview().await?)
                .expect("plain structs with text keys always serialise to memory");
            respond(StatusCode::OK, JSON, overview)
        }
        "/" => {
            let mut page = respond(StatusCode::OK, HTML, page::page(&site.overview().await?));
            for (name, value) in [(CONTENT_SECURITY_POLICY, page::POLICY), (REFERRER_POLICY, "no-referrer")] {
                page.headers_mut().insert(name, HeaderValue::from_static(value));
            }
            page
        }
        _ => {
            respond(StatusCode::NOT_FOUND, TEXT, "there are /, /api/status, /metrics, /healthz and /readyz\n")
        }
    })
}

/// A probe's answer: a line for each reason against it.
fn verdict(word: &str, against: &[String]) -> Response<Full<Bytes>> {
    match against {
        [] => respond(StatusCode::OK, TEXT, format!("{word}\n")),
        against => {
            let lines: String = against.iter().map(|line| format!("{line}\n")).collect();
            respond(StatusCode::SERVICE_UNAVAILABLE, TEXT, format!("not {word}\n{lines}"))
        }
    }
}

fn respond(status: StatusCode, kind: &'static str, body: impl Into<Bytes>) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(body.into()));
    *response.status_mut() = status;
    for (name, value) in
        [(CONTENT_TYPE, kind), (CACHE_CONTROL, "no-store"), (X_CONTENT_TYPE_OPTIONS, "nosniff")]
    {
        response.headers_mut().insert(name, HeaderValue::from_static(value));
    }
    response
}
