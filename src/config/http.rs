//! The `[http]` table: where metrics, health and status page are answered.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use toml::Spanned;

use super::check::{MINUTE, SECOND, small};
use super::error::Problem;
use super::model::HttpConfig;
use super::raw::{RawHttp, Set};
use super::table::Table;

/// Checks the table, or gives the defaults where there is none.
pub(super) fn check_http(raw: &Set<RawHttp>) -> Result<HttpConfig, Problem> {
    let none = RawHttp::default();
    let (raw, at) = raw.as_ref().map_or((&none, 0..0), |raw| (raw.get_ref(), raw.span()));
    let table = Table::new("http", at);
    Ok(HttpConfig {
        listen: raw.listen.as_ref().map(|value| listen(&table, value)).transpose()?,
        max_connections: small(table.number("max_connections", &raw.max_connections, 16, (1, 1_000))?),
        request_timeout: table.duration("request_timeout", &raw.request_timeout, 10 * SECOND, SECOND)?,
        check_every: table.duration("check_every", &raw.check_every, 5 * MINUTE, Duration::ZERO)?,
    })
}

/// A port alone is one of this machine: other machines reach only what is written out.
fn listen(table: &Table, value: &Spanned<String>) -> Result<SocketAddr, Problem> {
    let text = value.get_ref().trim();
    let address = match (text.parse::<u16>(), text.strip_prefix("localhost:")) {
        (Ok(port), _) => Some(SocketAddr::from((Ipv4Addr::LOCALHOST, port))),
        (Err(_), Some(port)) => port.parse().ok().map(|port: u16| (Ipv4Addr::LOCALHOST, port).into()),
        (Err(_), None) => text.parse().ok(),
    };
    address.ok_or_else(|| {
        let allowed = "a port of this machine (\"9184\"), or an IP address and a port (\"127.0.0.1:9184\", \
                       \"[::1]:9184\"; \"0.0.0.0:9184\" for other machines too)";
        table.not_allowed("listen", value, allowed)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn other_machines_reach_only_what_is_written_out() {
        for (text, want) in [
            ("9184", Some("127.0.0.1:9184")),
            (" 9184 ", Some("127.0.0.1:9184")),
            ("0", Some("127.0.0.1:0")),
            ("localhost:9184", Some("127.0.0.1:9184")),
            ("127.0.0.1:9184", Some("127.0.0.1:9184")),
            ("[::1]:9184", Some("[::1]:9184")),
            ("0.0.0.0:9184", Some("0.0.0.0:9184")),
            (":9184", None),
            ("65536", None),
            ("127.0.0.1", None),
            ("localhost", None),
            ("example.org:80", None),
            ("", None),
        ] {
            let typed: RawHttp = toml::from_str(&format!("listen = {text:?}")).unwrap();
            let listen = typed.listen.as_ref().unwrap();
            let found = super::listen(&Table::new("http", 0..0), listen);
            let found = found.map(|address| address.to_string()).map_err(|problem| problem.reason);
            match want {
                Some(want) => assert_eq!(found.as_deref(), Ok(want), "{text:?}"),
                None => assert!(found.unwrap_err().contains("0.0.0.0:9184"), "{text:?}"),
            }
        }
    }
}
