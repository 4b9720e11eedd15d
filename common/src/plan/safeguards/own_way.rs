//! CAL-GRD-013: we ourselves reach the API server through Calico.

use super::{Safeguard, Service, Situation, Verdict, judged, told};
use crate::findings::{Code, Evidence};
use crate::snapshot::Gap;

pub(super) const GUARD: Safeguard = Safeguard {
    code: Code("CAL-GRD-013"),
    title: "this program reaches the API server through the cluster's own network",
    explain: "The kubeconfig's server is an address or a name of a Service: a ClusterIP, which only works inside the cluster (are you in \
a pod?), or an external address that the cluster itself announces, which Calico's BGP may do. Taking Calico off a node may \
cut that way in the middle of the work. Use a kubeconfig that names a control-plane node or a load balancer outside of it.",
    run,
};

fn run(situation: &Situation<'_>) -> Verdict {
    judged(evidence(situation))
}

fn evidence(situation: &Situation<'_>) -> Result<Vec<Evidence>, Gap> {
    let server = &situation.intent.server;
    let host = host(server);
    let inside = ["kubernetes", "kubernetes.default"].contains(&host.as_str())
        || host.starts_with("kubernetes.default.svc");
    if inside {
        return Ok(vec![Evidence::new(format!("server {server}"), "is a name inside the cluster")]);
    }
    let services = told(&situation.circumstances.services)?;
    let at = |service: &Service| {
        let name = format!("{}/{}", service.metadata.namespace, service.metadata.name);
        if service.spec.cluster_ips.iter().any(|it| same(it, &host)) {
            return Some(format!("is the ClusterIP of Service {name}"));
        }
        service
            .outside()
            .any(|it| same(it, &host))
            .then(|| format!("is an external address of Service {name}"))
    };
    let line = |what: String| Evidence::new(format!("server {server}"), what);
    Ok(services.iter().filter_map(at).map(line).collect())
}

/// The host of a URL, without port and without the brackets of an IPv6 address.
fn host(server: &str) -> String {
    let rest = server.split_once("://").map_or(server, |(_, rest)| rest);
    let authority = rest.split(['/', '?']).next().unwrap_or(rest);
    let authority = authority.rsplit('@').next().unwrap_or(authority);
    let host = match authority.strip_prefix('[') {
        Some(six) => six.split(']').next().unwrap_or(six),
        None => authority.split(':').next().unwrap_or(authority),
    };
    host.trim_end_matches('.').to_ascii_lowercase()
}

/// Addresses are compared as such: one IPv6 address has many spellings.
fn same(one: &str, host: &str) -> bool {
    use core::net::IpAddr;
    match (one.parse::<IpAddr>(), host.parse::<IpAddr>()) {
        (Ok(one), Ok(host)) => one == host,
        _ => one.eq_ignore_ascii_case(host),
    }
}

#[cfg(test)]
mod tests {
    use super::super::fixtures::{Scene, forbidden, named};
    use super::*;
    use crate::snapshot::Known;

    fn says(server: &str) -> Option<String> {
        let mut scene = Scene::new();
        let mut service =
            Service { metadata: named("default", "kubernetes"), ..Service::default() };
        service.spec.cluster_ips = vec!["10.96.0.1".into(), "fd00::1".into()];
        let mut vip = Service { metadata: named("infra", "api-vip"), ..Service::default() };
        vip.status.load_balancer.ingress.push(super::super::circumstances::Ingress {
            ip: "203.0.113.9".into(),
            hostname: String::new(),
        });
        scene.circumstances.services = Known::Known(vec![service, vip]);
        scene.intent.server = server.into();
        scene.says("CAL-GRD-013")
    }

    #[test]
    fn a_way_through_the_cluster_blocks() {
        assert_eq!(
            says("https://10.96.0.1:443").unwrap(),
            "server https://10.96.0.1:443: is the ClusterIP of Service default/kubernetes"
        );
        assert!(says("https://[fd00:0::1]:443").is_some());
        assert!(says("https://203.0.113.9:6443/").unwrap().contains("infra/api-vip"));
        assert!(says("https://kubernetes.default.svc.cluster.local").is_some());
    }

    #[test]
    fn a_way_from_outside_does_not() {
        assert_eq!(says("https://192.0.2.1:6443"), None);
        assert_eq!(says("https://kubernetes.example.org:6443"), None);
        assert_eq!(says("https://10.96.0.10:6443"), None);
        let mut unseen = Scene::new();
        unseen.circumstances.services = forbidden();
        assert_eq!(unseen.says("CAL-GRD-013").unwrap(), "unknown: forbidden");
    }
}
