//! Where calico-node is to reach the API server: what the user says, else what is in use already, else what is found.

use common::bpf::{Endpoint, Situation, text};
use common::cli::{Failure, Kind};
use common::snapshot::Known;

/// `10.0.0.10:6443`, `[fd00::1]:6443`, `k8s.example:6443`
pub(crate) fn parse(word: &str) -> Result<Endpoint, String> {
    let wrong = || format!("{word:?} is no HOST:PORT");
    let (host, port) = word.rsplit_once(':').ok_or_else(wrong)?;
    let port = port.parse().ok().filter(|it| *it > 0).ok_or_else(wrong)?;
    let host = match host.strip_prefix('[').and_then(|it| it.strip_suffix(']')) {
        Some(inner) => inner,
        None if host.contains(':') => return Err(wrong()),
        None => host,
    };
    let is_fine = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | ':' | '%');
    if host.is_empty() || !host.chars().all(is_fine) {
        return Err(wrong());
    }
    Ok(Endpoint { host: host.to_owned(), port })
}

/// The one to use.
pub(crate) fn choose(
    situation: &Situation<'_>,
    given: Option<&Endpoint>,
) -> Result<Endpoint, Failure> {
    if let Some(given) = given {
        return Ok(given.clone());
    }
    if let Known::Known(map) = &situation.endpoint_config {
        let host = text(map, "/data/KUBERNETES_SERVICE_HOST").unwrap_or_default();
        let port = text(map, "/data/KUBERNETES_SERVICE_PORT").unwrap_or_default();
        return parse(&format!("{host}:{port}")).map_err(|why| {
            Failure::new(Kind::Refused, format!("ConfigMap kubernetes-services-endpoint: {why}"))
                .hint("correct it, or name an endpoint: --api-endpoint HOST:PORT")
        });
    }
    Err(Failure::new(
        Kind::Refused,
        "no address of the API server was found that does without kube-proxy",
    )
    .hint("name one: --api-endpoint HOST:PORT"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn endpoints_are_read_or_refused() {
        for word in ["10.0.0.10:6443", "[fd00::1]:6443", "k8s.example:443"] {
            assert_eq!(parse(word).unwrap().to_string(), word);
        }
        for word in
            ["10.0.0.10", ":1", "a:0", "a:x", "fd00::1:6443", "a b:1", "[]:1", "a:70000", "\n:1"]
        {
            assert!(parse(word).is_err(), "{word:?}");
        }
    }
}
