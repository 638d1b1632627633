//! The way out: `[source.proxy]`, or the environment variables that other programs read too.
//!
//! User and password are kept as they are; whoever puts them into an address encodes them. What
//! cannot be understood is an error and never a way past the proxy.

use toml::Spanned;

use super::access::secret_text;
use super::environment;
use super::error::Problem;
use super::model::{Proxy, ProxyServer, Secret};
use super::raw::{RawProxy, RawSource};
use super::table::Table;
use super::texts::Texts;

/// The proxies of a source: those that it names, else those of the environment.
pub(super) fn proxy(table: &Table, raw: &RawSource, texts: &Texts) -> Result<Proxy, Problem> {
    let Some(typed) = &raw.proxy else { return from_environment(table) };
    let at = Table::new(table.setting("proxy"), typed.span());
    let raw = typed.get_ref();
    if let Some(domain) = &raw.domain {
        let reason = "is for NTLM, which signs connections with an outdated hash and is not spoken here; let the \
                      proxy accept Basic for this user, or run a local proxy that speaks NTLM and name it in `url`";
        return Err(at.wrong("domain", domain, reason));
    }
    let no_proxy = raw.no_proxy.as_ref().map(|rules| rules.get_ref().0.join(","));
    let url = at.required("url", &raw.url, "\"http://proxy.example.net:3128\"")?;
    let address = secret_text(&at, "url", url, texts)?;
    let mut server = parse(address.expose()).map_err(|reason| at.wrong("url", url, reason))?;
    if let Some(login) = login(&at, raw, texts)? {
        if server.login.is_some() {
            let reason = "holds a user, and `user` stands beside it; keep one of them";
            return Err(at.wrong("url", url, reason));
        }
        server.login = Some(login);
    }
    Ok(Proxy { is_configured: true, http: Some(server.clone()), https: Some(server), no_proxy })
}

fn login(table: &Table, raw: &RawProxy, texts: &Texts) -> Result<Option<(String, Secret)>, Problem> {
    match (&raw.user, &raw.password) {
        (None, None) => Ok(None),
        (Some(user), Some(password)) => {
            table.text("user", &raw.user)?;
            if user.get_ref().contains(':') {
                return Err(table.wrong("user", user, "holds a colon, which ends the user in Basic"));
            }
            Ok(Some((user.get_ref().clone(), secret_text(table, "password", password, texts)?)))
        }
        (Some(user), None) => Err(alone(table, "user", user, "password")),
        (None, Some(password)) => Err(alone(table, "password", password, "user")),
    }
}

fn alone<T>(table: &Table, key: &str, value: &Spanned<T>, missing: &str) -> Problem {
    table.wrong(key, value, format!("stands without `{missing}`; give both or none"))
}

/// What HTTP_PROXY, HTTPS_PROXY, ALL_PROXY and NO_PROXY say, in lower case first.
fn from_environment(table: &Table) -> Result<Proxy, Problem> {
    let all = from_variables(table, ["all_proxy", "ALL_PROXY"])?;
    Ok(Proxy {
        is_configured: false,
        http: from_variables(table, ["http_proxy", "HTTP_PROXY"])?.or_else(|| all.clone()),
        https: from_variables(table, ["https_proxy", "HTTPS_PROXY"])?.or(all),
        no_proxy: ["no_proxy", "NO_PROXY"].into_iter().find_map(environment),
    })
}

fn from_variables(table: &Table, names: [&str; 2]) -> Result<Option<ProxyServer>, Problem> {
    for name in names {
        let Some(text) = environment(name).filter(|text| !text.trim().is_empty()) else { continue };
        // the variable may leave the scheme out
        let text = if text.contains("://") { text } else { format!("http://{text}") };
        return parse(text.trim()).map(Some).map_err(|reason| {
            let reason = format!("the environment variable {name}: {reason}");
            Problem::new(table.at.clone(), table.setting("proxy"), reason)
        });
    }
    Ok(None)
}

/// `http[s]://[user:password@]host[:port][/]`; user and password may be percent-encoded. No
/// message quotes the text: it may hold a password.
fn parse(text: &str) -> Result<ProxyServer, String> {
    let rule = "expected an address such as \"http://proxy.example.net:3128\"";
    let (scheme, rest) = text.split_once("://").ok_or(rule)?;
    let scheme = scheme.to_ascii_lowercase();
    if scheme.starts_with("socks") {
        return Err("SOCKS proxies are not spoken here; name one that takes HTTP CONNECT".to_owned());
    }
    if scheme != "http" && scheme != "https" {
        return Err(rule.to_owned());
    }
    let (login, place) = match rest.rsplit_once('@') {
        Some((login, place)) => (Some(login), place),
        None => (None, rest),
    };
    let place = place.strip_suffix('/').unwrap_or(place);
    let (host, port) = match place.rsplit_once(':') {
        Some((host, port)) if !port.contains(']') => (host, Some(port)),
        _ => (place, None),
    };
    if host.is_empty() {
        return Err(format!("has a port or nothing where the host belongs; {rule}"));
    }
    if port.is_some_and(|port| port.parse::<u16>().map_or(true, |port| port == 0)) {
        return Err(format!("has no port between 1 and 65535 behind the colon; {rule}"));
    }
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"-._[]:".contains(&byte);
    if !host.bytes().all(allowed) {
        return Err(format!("has a host with characters that no host has; {rule}"));
    }
    let login = match login.map(|login| login.split_once(':')) {
        None => None,
        Some(Some((user, password))) if !user.is_empty() && !password.is_empty() => {
            Some((percent_decode(user)?, Secret::new(percent_decode(password)?)))
        }
        Some(_) => return Err("has a user without password, or a password without user".to_owned()),
    };
    Ok(ProxyServer { url: format!("{scheme}://{place}"), login })
}

/// Undoes `%XX`; a `%` that no two hexadecimal digits follow stands for itself.
fn percent_decode(text: &str) -> Result<String, String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [first, tail @ ..] = rest {
        let digit = |at: usize| tail.get(at).and_then(|byte| char::from(*byte).to_digit(16));
        match (first, digit(0), digit(1)) {
            (b'%', Some(high), Some(low)) => {
                bytes.push((high * 16 + low) as u8);
                rest = &tail[2..];
            }
            (byte, _, _) => {
                bytes.push(*byte);
                rest = tail;
            }
        }
    }
    String::from_utf8(bytes).map_err(|_| "has a user or password that is not UTF-8".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_taken_apart() {
        for (text, url, login) in [
            ("http://proxy:3128", "http://proxy:3128", None),
            ("HTTPS://proxy.example.net/", "https://proxy.example.net", None),
            ("http://[::1]:8080", "http://[::1]:8080", None),
            ("http://[2001:db8::1]", "http://[2001:db8::1]", None),
            ("http://u:p@proxy:1", "http://proxy:1", Some(("u", "p"))),
            ("http://u%40d:p%3Aq%2F@proxy:1", "http://proxy:1", Some(("u@d", "p:q/"))),
            ("http://u:p@s/s#w%@proxy:1", "http://proxy:1", Some(("u", "p@s/s#w%"))),
        ] {
            let login = login.map(|(user, word)| (user.to_owned(), Secret::new(word.to_owned())));
            assert_eq!(parse(text), Ok(ProxyServer { url: url.to_owned(), login }), "{text}");
        }
    }

    #[test]
    fn what_is_no_proxy_is_refused_and_not_quoted() {
        for text in [
            "",
            "hush",
            "ftp://hush:1",
            "socks5://hush:1",
            "http://",
            "http://:3128",
            "http://hush:",
            "http://hush:0",
            "http://hush:70000",
            "http://hush:12x",
            "http://hush x:1",
            "http://hush@proxy:1",
            "http://hush:@proxy:1",
            "http://:hush@proxy:1",
            "http://hush:%ff@proxy:1",
        ] {
            let reason = parse(text).expect_err(text);
            assert!(!reason.contains("hush"), "{reason}");
        }
    }
}
