//! Which proxy a request goes through: Go's rules, which are kubectl's.
//!
//! A kubeconfig's `proxy-url` is always used. Otherwise `HTTPS_PROXY` (for an http server `HTTP_PROXY`) is used unless
//! `NO_PROXY` matches the *server*. Entries of `NO_PROXY` that make no sense are passed over, never an error.

use std::net::IpAddr;

use ipnet::IpNet;

/// The variables that decide, as values.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct ProxyVariables {
    pub(super) https: Option<String>,
    pub(super) http: Option<String>,
    pub(super) bypass: Option<String>,
}

impl ProxyVariables {
    /// Those of this process; upper case goes first.
    pub(super) fn from_environment() -> Self {
        let read = |upper: &str, lower: &str| {
            [upper, lower]
                .iter()
                .find_map(|name| std::env::var(name).ok().filter(|it| !it.is_empty()))
        };
        Self {
            https: read("HTTPS_PROXY", "https_proxy"),
            http: read("HTTP_PROXY", "http_proxy"),
            bypass: read("NO_PROXY", "no_proxy"),
        }
    }

    /// The proxy for `server`, as an URL; none for a direct connection.
    pub(super) fn proxy_for(&self, server: &http::Uri) -> Option<String> {
        let is_https = server.scheme_str() != Some("http");
        let proxy = if is_https { self.https.as_ref() } else { self.http.as_ref() }?;
        let port = server.port_u16().unwrap_or(if is_https { 443 } else { 80 });
        if bypasses(self.bypass.as_deref().unwrap_or_default(), server.host()?, port) {
            return None;
        }
        Some(if proxy.contains("://") { proxy.clone() } else { format!("http://{proxy}") })
    }
}

/// True when a connection to `host:port` goes past the proxy.
fn bypasses(no_proxy: &str, host: &str, port: u16) -> bool {
    let host = host.trim().trim_start_matches('[').trim_end_matches(']').to_ascii_lowercase();
    let address: Option<IpAddr> = host.parse().ok();
    if host == "localhost" || address.is_some_and(is_loopback) {
        return true;
    }
    let mut entries = no_proxy.split(',').map(|entry| entry.trim().to_ascii_lowercase());
    entries.any(|entry| entry_matches(&entry, &host, address, port))
}

fn is_loopback(address: IpAddr) -> bool {
    address.to_canonical().is_loopback()
}

fn entry_matches(entry: &str, host: &str, address: Option<IpAddr>, port: u16) -> bool {
    if entry.is_empty() {
        return false;
    }
    if entry == "*" {
        return true;
    }
    if let Ok(network) = entry.parse::<IpNet>() {
        return address.is_some_and(|address| network.contains(&address));
    }
    let Some((name, wanted_port)) = split_port(entry) else { return false };
    if wanted_port.is_some_and(|wanted| wanted != port.to_string()) {
        return false;
    }
    if let Ok(wanted) = name.parse::<IpAddr>() {
        return address == Some(wanted);
    }
    let name = name.strip_prefix('*').filter(|rest| rest.starts_with('.')).unwrap_or(name);
    match name.strip_prefix('.') {
        Some(_) => host.ends_with(name),
        None => host == name || host.strip_suffix(name).is_some_and(|rest| rest.ends_with('.')),
    }
}

/// Name and port of an entry; none when it has no name.
fn split_port(entry: &str) -> Option<(&str, Option<&str>)> {
    if let Some(rest) = entry.strip_prefix('[') {
        let (name, rest) = rest.split_once(']')?;
        return (!name.is_empty()).then_some((name, rest.strip_prefix(':')));
    }
    match entry.split_once(':') {
        // More than one colon without brackets: an IPv6 address.
        Some((_, rest)) if rest.contains(':') => Some((entry, None)),
        Some((name, port)) => (!name.is_empty()).then_some((name, Some(port))),
        None => Some((entry, None)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn proxy(no_proxy: &str, server: &str) -> Option<String> {
        let variables = ProxyVariables {
            https: Some("proxy.corp:3128".into()),
            http: None,
            bypass: Some(no_proxy.into()),
        };
        variables.proxy_for(&server.parse().unwrap())
    }

    #[test]
    fn no_proxy_is_matched_against_the_server() {
        let table = [
            // (NO_PROXY, server, is the proxy used)
            ("", "https://10.1.2.3:6443", true),
            ("", "https://127.0.0.1:6443", false),
            ("", "https://localhost:6443", false),
            ("", "https://[::1]:6443", false),
            ("*", "https://10.1.2.3:6443", false),
            ("10.0.0.0/8", "https://10.1.2.3:6443", false),
            ("10.0.0.0/8", "https://11.1.2.3:6443", true),
            ("10.1.2.3", "https://10.1.2.3:6443", false),
            ("10.1.2.3:6443", "https://10.1.2.3:6443", false),
            ("10.1.2.3:443", "https://10.1.2.3:6443", true),
            ("10.1.2.3:443", "https://10.1.2.3", false),
            ("corp", "https://api.corp", false),
            ("corp", "https://apicorp", true),
            ("api.corp", "https://api.corp:6443", false),
            (".corp", "https://api.corp", false),
            (".corp", "https://corp", true),
            ("*.corp", "https://api.corp", false),
            ("*.corp", "https://corp", true),
            ("API.Corp", "https://api.corp", false),
            ("fd00::/8", "https://[fd00::1]:6443", false),
            ("fd00::1", "https://[fd00::1]:6443", false),
            ("[fd00::1]:6443", "https://[fd00::1]:6443", false),
            // What is senseless is passed over, and the rest still counts.
            ("a,b,", "https://10.1.2.3:6443", true),
            ("a,,10.1.2.3", "https://10.1.2.3:6443", false),
            ("localhost, 10.0.0.0/8,", "https://10.1.2.3:6443", false),
            ("<local>,a b,10.0.0.0/8:443,:80,[,10.1.2.3", "https://10.1.2.3:6443", false),
            ("10.0.0.0/8:443", "https://10.1.2.3:443", true),
        ];
        for (no_proxy, server, used) in table {
            let expected = used.then(|| "http://proxy.corp:3128".to_owned());
            assert_eq!(proxy(no_proxy, server), expected, "NO_PROXY={no_proxy} {server}");
        }
    }

    #[test]
    fn the_scheme_of_the_server_chooses_the_variable() {
        let variables = ProxyVariables {
            https: Some("socks5://s:1".into()),
            http: Some("http://h:2".into()),
            bypass: None,
        };
        let of = |server: &str| variables.proxy_for(&server.parse().unwrap());
        assert_eq!(of("https://a"), Some("socks5://s:1".into()));
        assert_eq!(of("http://a"), Some("http://h:2".into()));
        let none = ProxyVariables { http: Some("http://h:2".into()), ..Default::default() };
        assert_eq!(none.proxy_for(&"https://a".parse().unwrap()), None);
    }
}
