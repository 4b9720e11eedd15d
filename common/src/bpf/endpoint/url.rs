//! Endpoints in URLs and on command lines.

use core::net::IpAddr;
use std::str::FromStr;

use thiserror::Error;

use crate::bpf::Endpoint;

/// Why a text is no endpoint.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum EndpointError {
    /// It has no host.
    #[error("{0:?} has no host")]
    NoHost(String),
    /// Its port is none.
    #[error("{0:?} has no port from 1 to 65535")]
    Port(String),
    /// It is not https.
    #[error("{0:?} is not https")]
    Scheme(String),
    /// Calico can be told a host and a port only.
    #[error("{0:?} has a path, and Calico can be told a host and a port only")]
    Path(String),
    /// It holds what no host name has.
    #[error("{0:?} is neither an address nor a name")]
    Host(String),
}

/// An endpoint of `HOST:PORT`, `[ADDRESS]:PORT` or of an https URL, whose port is 443 unless it says another.
///
/// # Errors
/// When it is none.
pub fn parse_endpoint(text: &str) -> Result<Endpoint, EndpointError> {
    let whole = || text.to_owned();
    let text = text.trim();
    let (authority, usual_port) = match text.split_once("://") {
        Some(("https", rest)) => (rest.trim_end_matches('/'), Some(443)),
        Some(_) => return Err(EndpointError::Scheme(whole())),
        None => (text, None),
    };
    if authority.contains(['/', '?', '#']) {
        return Err(EndpointError::Path(whole()));
    }
    let (host, port) = match authority.strip_prefix('[') {
        Some(rest) => {
            let (host, port) = rest.split_once(']').ok_or_else(|| EndpointError::Host(whole()))?;
            (host, port.strip_prefix(':'))
        }
        // An address of IPv6 without brackets has no port.
        None if authority.matches(':').count() > 1 => (authority, None),
        None => authority.split_once(':').map_or((authority, None), |(it, port)| (it, Some(port))),
    };
    let port = match port {
        Some(port) => port.parse().ok(),
        None => usual_port,
    };
    let port = port.filter(|it| *it != 0).ok_or_else(|| EndpointError::Port(whole()))?;
    if host.is_empty() {
        return Err(EndpointError::NoHost(whole()));
    }
    if !is_host(host) {
        return Err(EndpointError::Host(whole()));
    }
    Ok(Endpoint { host: host.to_owned(), port })
}

/// An address, or a name of letters, digits, dots and dashes.
fn is_host(host: &str) -> bool {
    let is_name = |it: &str| {
        it.len() <= 253
            && it.split('.').all(|label| {
                !label.is_empty()
                    && label.len() <= 63
                    && label.chars().all(|c| c.is_ascii_alphanumeric() || c == '-' || c == '_')
                    && !label.starts_with('-')
            })
    };
    let looks_like_address =
        host.contains(':') || host.chars().all(|c| c.is_ascii_digit() || c == '.');
    if looks_like_address {
        host.parse::<IpAddr>().is_ok()
    } else {
        is_name(host.trim_end_matches('.'))
    }
}

impl FromStr for Endpoint {
    type Err = EndpointError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        parse_endpoint(text)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn of(text: &str) -> String {
        parse_endpoint(text).map_or_else(|error| error.to_string(), |it| it.to_string())
    }

    #[test]
    fn endpoints_are_read() {
        assert_eq!(of("10.0.0.1:6443"), "10.0.0.1:6443");
        assert_eq!(of("https://k8s.example"), "k8s.example:443");
        assert_eq!(of("https://[fd00::1]:6443/"), "[fd00::1]:6443");
        assert_eq!(of("[fd00::1]:6443"), "[fd00::1]:6443");
    }

    #[test]
    fn others_are_refused() {
        assert!(of("10.0.0.1").contains("port"));
        assert!(of("10.0.0.1:0").contains("port"));
        assert!(of("fd00::1").contains("port"));
        assert!(of("10.0.0.1:70000").contains("port"));
        assert!(of("http://10.0.0.1:80").contains("https"));
        assert!(of("https://rancher/k8s/clusters/c-1").contains("path"));
        assert!(of(":6443").contains("host"));
        assert!(of("10.0.0:6443").contains("neither"));
        assert!(of("a b:6443").contains("neither"));
        assert!(of("$(id):6443").contains("neither"));
        assert!(of("-v:6443").contains("neither"));
    }

    proptest! {
        #[test]
        fn what_is_read_is_safe_in_a_shell(text in "(https://|\\[|\\]|:|[a-z0-9.]{1,5}|'|\\$|-|/|ñ| ){0,12}") {
            if let Ok(endpoint) = parse_endpoint(&text) {
                let safe = |c: char| c.is_ascii_alphanumeric() || ".-_:".contains(c);
                prop_assert!(endpoint.host.chars().all(safe));
                prop_assert_eq!(parse_endpoint(&endpoint.to_string()), Ok(endpoint));
            }
        }
    }
}
