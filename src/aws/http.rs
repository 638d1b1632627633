//! The HTTP client of all requests: which certificates and addresses it takes, and which requests
//! go through a proxy.
//!
//! This machine and the metadata of instances and containers are always asked directly: a proxy
//! has other ones of its own, and would be shown our credentials. No other machine is asked over plain
//! HTTP unless that is allowed, whoever named it.

use std::net::IpAddr;

use aws_sdk_s3::config::SharedHttpClient;
use aws_smithy_http_client::proxy::ProxyConfig;
use aws_smithy_http_client::tls::{Provider, TlsContext, rustls_provider::CryptoMode};
use aws_smithy_http_client::{Builder, Connector};
use aws_smithy_runtime_api::client::dns::{DnsFuture, ResolveDns, ResolveDnsError};
use aws_smithy_runtime_api::client::http::{
    HttpClient, HttpConnector, HttpConnectorFuture, HttpConnectorSettings, SharedHttpConnector,
};
use aws_smithy_runtime_api::client::orchestrator::HttpRequest;
use aws_smithy_runtime_api::client::result::ConnectorError;
use aws_smithy_runtime_api::client::runtime_components::RuntimeComponents;

use super::{ClientError, tls};
use crate::config::{Access, IpVersion, Proxy, ProxyServer};

/// The client that `access` describes. Reads `ca_bundle`.
pub(super) fn client(access: &Access) -> Result<SharedHttpClient, ClientError> {
    let trust = tls::trust(access)?;
    let rules = access.proxy.no_proxy.as_deref();
    let through = |server: &ProxyServer, plain: bool| proxy_config(server, plain, rules);
    let make = |proxy: Option<ProxyConfig>| one(trust.clone(), access.ip_version, proxy);
    let http = access.proxy.http.as_ref().map(|server| through(server, true)).transpose()?;
    let https = access.proxy.https.as_ref().map(|server| through(server, false)).transpose()?;
    let allow_http = access.allow_http;
    Ok(SharedHttpClient::new(Routed { direct: make(None), http: make(http), https: make(https), allow_http }))
}

/// A client whose requests all take the same way.
fn one(trust: TlsContext, addresses: IpVersion, proxy: Option<ProxyConfig>) -> SharedHttpClient {
    Builder::new().build_with_connector_fn(move |settings, components| {
        let mut builder = Connector::builder();
        builder.set_connector_settings(settings.cloned());
        builder.set_sleep_impl(components.and_then(RuntimeComponents::sleep_impl));
        builder.set_proxy_config(proxy.clone());
        let builder = builder.tls_provider(Provider::Rustls(CryptoMode::AwsLc)).tls_context(trust.clone());
        match addresses {
            IpVersion::Auto => builder.build(),
            version => builder.build_with_resolver(Resolver(version)),
        }
    })
}

/// A proxy as the HTTP client takes it. User and password must be percent-encoded for it: one that
/// it cannot read it leaves out, and asks directly.
fn proxy_config(server: &ProxyServer, plain: bool, rules: Option<&str>) -> Result<ProxyConfig, ClientError> {
    let made = match plain {
        true => ProxyConfig::http(server.url.as_str()),
        false => ProxyConfig::https(server.url.as_str()),
    };
    // the address is without user and password: the error may quote it
    let mut config = made.map_err(|error| ClientError::Proxy(error.to_string()))?;
    if let Some((user, password)) = &server.login {
        config = config.with_basic_auth(percent_encode(user), percent_encode(password.expose()));
    }
    Ok(match rules {
        Some(rules) => config.no_proxy(rules),
        None => config,
    })
}

/// All bytes but letters, digits and `-._~` as `%XX` (RFC 3986, unreserved characters).
pub(super) fn percent_encode(text: &str) -> String {
    let mut encoded = String::with_capacity(text.len() * 3);
    for byte in text.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => {
                encoded.push(char::from(byte));
            }
            _ => encoded.push_str(&format!("%{byte:02X}")),
        }
    }
    encoded
}

/// Which way a request takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Way {
    /// Past any proxy.
    Direct,
    /// Through the proxy for `http://`.
    Http,
    /// Through the proxy for `https://`.
    Https,
}

impl Way {
    /// The way of a request to `url`, before the rules of `no_proxy`.
    pub fn of(url: &str) -> Self {
        match (host(url), url.get(..6).is_some_and(|scheme| scheme.eq_ignore_ascii_case("https:"))) {
            (Some(host), _) if is_near(host) => Way::Direct,
            (_, true) => Way::Https,
            (_, false) => Way::Http,
        }
    }

    /// The proxy on this way.
    pub fn server(self, proxy: &Proxy) -> Option<&ProxyServer> {
        match self {
            Way::Direct => None,
            Way::Http => proxy.http.as_ref(),
            Way::Https => proxy.https.as_ref(),
        }
    }
}

/// Chooses the client of each request by its address.
#[derive(Debug)]
struct Routed<T> {
    direct: T,
    http: T,
    https: T,
    /// Whether other machines are asked over plain HTTP.
    allow_http: bool,
}

impl HttpClient for Routed<SharedHttpClient> {
    fn http_connector(
        &self,
        settings: &HttpConnectorSettings,
        components: &RuntimeComponents,
    ) -> SharedHttpConnector {
        SharedHttpConnector::new(Routed {
            direct: self.direct.http_connector(settings, components),
            http: self.http.http_connector(settings, components),
            https: self.https.http_connector(settings, components),
            allow_http: self.allow_http,
        })
    }
}

impl HttpConnector for Routed<SharedHttpConnector> {
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        match Way::of(request.uri()) {
            Way::Direct => self.direct.call(request),
            Way::Http if !self.allow_http => {
                let host = host(request.uri()).unwrap_or_default();
                // some providers of credentials keep the error to themselves
                tracing::warn!(host, "not asked over plain HTTP, which needs allow_http");
                let text = format!(
                    "{host} would be asked over plain HTTP, which is not encrypted; name an address of https:// or \
                     set `allow_http = true` in the source"
                );
                HttpConnectorFuture::ready(Err(ConnectorError::user(text.into())))
            }
            Way::Http => self.http.call(request),
            Way::Https => self.https.call(request),
        }
    }
}

/// The host of a URL, without port and brackets.
pub(super) fn host(url: &str) -> Option<&str> {
    let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
    let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
    let place = authority.rsplit_once('@').map_or(authority, |(_, place)| place);
    match place.strip_prefix('[') {
        Some(six) => six.split(']').next(),
        None => place.split(':').next(),
    }
}

/// Whether a host is this machine, or an address where AWS serves the metadata and credentials of
/// instances (169.254.169.254, fd00:ec2::254), tasks (169.254.170.2) and pods (169.254.170.23,
/// fd00:ec2::23).
fn is_near(host: &str) -> bool {
    match host.parse() {
        Ok(IpAddr::V4(address)) => address.is_loopback() || address.is_link_local(),
        Ok(IpAddr::V6(address)) => address.is_loopback() || address.segments()[..2] == [0xfd00, 0xec2],
        // the names below `localhost` are this machine too (RFC 6761, 6.3): buckets in the host name
        Err(_) => host.rsplit('.').next().is_some_and(|last| last.eq_ignore_ascii_case("localhost")),
    }
}

/// Gives only the addresses of one version.
#[derive(Clone, Debug)]
struct Resolver(IpVersion);

impl ResolveDns for Resolver {
    fn resolve_dns<'a>(&'a self, name: &'a str) -> DnsFuture<'a> {
        DnsFuture::new(async move {
            let all = tokio::net::lookup_host((name, 0)).await.map_err(ResolveDnsError::new)?;
            let addresses: Vec<_> = all.map(|address| address.ip()).filter(|ip| self.0.takes(ip)).collect();
            match addresses.is_empty() {
                false => Ok(addresses),
                true => {
                    let text = format!("{name} has no address that `ip_version` allows");
                    Err(ResolveDnsError::new(std::io::Error::other(text)))
                }
            }
        })
    }
}

impl IpVersion {
    /// Whether an address is of this version.
    pub(super) fn takes(self, address: &IpAddr) -> bool {
        match self {
            IpVersion::Auto => true,
            IpVersion::V4 => address.is_ipv4(),
            IpVersion::V6 => address.is_ipv6(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_near_is_never_asked_through_a_proxy() {
        for (url, way) in [
            ("http://127.0.0.1:9000", Way::Direct),
            ("https://LOCALHOST/", Way::Direct),
            ("http://acme.localhost:9000/", Way::Direct),
            ("http://acmelocalhost", Way::Http),
            ("http://[::1]:9000/x", Way::Direct),
            ("http://127.1.2.3", Way::Direct),
            ("http://user:word@localhost:1", Way::Direct),
            ("http://169.254.169.254/latest/api/token", Way::Direct),
            ("http://169.254.170.2/v2/credentials", Way::Direct),
            ("http://169.254.170.23/v1/credentials", Way::Direct),
            ("http://[fd00:ec2::254]/latest", Way::Direct),
            ("http://[fd00:ec2::23]/v1", Way::Direct),
            ("http://10.0.0.1:9000", Way::Http),
            ("http://[2001:db8::1]:9000", Way::Http),
            ("https://localhost.example.com", Way::Https),
            ("HTTPS://example.com/localhost", Way::Https),
            ("https://s3.eu-west-1.amazonaws.com", Way::Https),
            ("", Way::Http),
        ] {
            assert_eq!(Way::of(url), way, "{url}");
        }
    }

    #[test]
    fn logins_are_encoded() {
        assert_eq!(percent_encode("a-Z_0.9~"), "a-Z_0.9~");
        assert_eq!(percent_encode("p@s/s:w#%?é "), "p%40s%2Fs%3Aw%23%25%3F%C3%A9%20");
    }
}
