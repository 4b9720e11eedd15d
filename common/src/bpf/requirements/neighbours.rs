//! Others who have a say in how packets go: caches of DNS on the nodes, and meshes.

use core::net::IpAddr;

use ipnet::IpNet;
use serde_json::Value;

use super::settings::stored;
use super::{Findings, Grade, Requirement, Situation};
use crate::bpf::text;
use crate::slim::DaemonSet;
use crate::snapshot::{Gap, GapReason, Known};

/// Calico would translate what the cache is to get.
pub(super) static NODE_LOCAL_DNS: Requirement = Requirement {
    id: "node-local-dns",
    title: "a node-local DNS cache that is left alone",
    essential: false,
    judge: node_local_dns,
};

/// Meshes must see the address of the Service.
pub(super) static MESH: Requirement = Requirement {
    id: "mesh",
    title: "Services that are translated after a mesh has seen them",
    essential: false,
    judge: mesh,
};

/// Annotation of a Service that is not to be translated.
const LEFT_ALONE: &str = "projectcalico.org/natExcludeService";

fn runs(situation: &Situation<'_>, is_it: impl Fn(&DaemonSet) -> bool) -> Known<bool> {
    situation
        .daemon_sets
        .as_ref()
        .map(|all| all.iter().any(|it| it.status.desired_number_scheduled > 0 && is_it(it)))
}

fn node_local_dns(situation: &Situation<'_>, findings: &mut Findings) {
    let is_cache = |it: &DaemonSet| {
        let label = it.metadata.labels.get("k8s-app");
        it.metadata.name == "node-local-dns" || label.is_some_and(|it| it == "node-local-dns")
    };
    match runs(situation, is_cache) {
        Known::Known(true) => {}
        Known::Known(false) => return findings.cluster(Grade::Fine, "there is none", ""),
        Known::Absent => return,
        Known::Unknown(gap) => return findings.unknown(&gap),
    }
    let services = match &situation.services {
        Known::Known(services) => services,
        Known::Absent => return,
        Known::Unknown(gap) => return findings.unknown(gap),
    };
    let dns = services.iter().find(|it| {
        text(it, "/metadata/namespace") == Some("kube-system")
            && text(it, "/metadata/labels/k8s-app") == Some("kube-dns")
    });
    let Some(dns) = dns else {
        let why = "the Service of the cluster's DNS was not found";
        return findings.unknown(&Gap::new("cluster/services.json", GapReason::NotAsked, why));
    };
    let annotated =
        dns.pointer("/metadata/annotations").and_then(|it| it.get(LEFT_ALONE)?.as_str());
    if annotated == Some("true") {
        return findings.cluster(Grade::Fine, format!("the DNS Service has {LEFT_ALONE}"), "");
    }
    let excluded = match stored(situation, None, "bpfExcludeCIDRsFromNAT") {
        Known::Known(value) => value.as_array().cloned().unwrap_or_default(),
        Known::Absent => Vec::new(),
        Known::Unknown(gap) => return findings.unknown(&gap),
    };
    let address: Option<IpAddr> = text(dns, "/spec/clusterIP").and_then(|it| it.parse().ok());
    let covers = |it: &Value| {
        let range: Option<IpNet> = it.as_str().and_then(|it| it.parse().ok());
        range.is_some_and(|range| address.is_some_and(|it| range.contains(&it)))
    };
    if excluded.iter().any(covers) {
        return findings.cluster(Grade::Fine, "bpfExcludeCIDRsFromNAT covers the DNS Service", "");
    }
    let name = text(dns, "/metadata/name").unwrap_or("kube-dns");
    findings.cluster(
        Grade::Blocker,
        "DaemonSet node-local-dns caches DNS on the nodes, and eBPF would pass it by, or make it ask itself",
        &format!("kubectl -n kube-system annotate service {name} {LEFT_ALONE}=true (from v3.28; before, bpfExcludeCIDRsFromNAT)"),
    );
}

fn mesh(situation: &Situation<'_>, findings: &mut Findings) {
    let pods = match situation.snapshot.pods.get() {
        Known::Known(pods) => pods,
        Known::Absent => {
            let gap = Gap::new("cluster/pods.json", GapReason::NotAsked, "pods were not read");
            return findings.unknown(&gap);
        }
        Known::Unknown(gap) => return findings.unknown(&gap),
    };
    let runs_it = |container: &str| {
        pods.iter().filter(|it| !it.is_finished()).any(|pod| {
            let all = pod.spec.containers.iter().chain(&pod.spec.init_containers);
            all.into_iter().any(|it| it.name == container)
        })
    };
    let ambient = match runs(situation, |it| it.metadata.name == "ztunnel") {
        Known::Known(ambient) => ambient,
        Known::Absent => false,
        Known::Unknown(gap) => return findings.unknown(&gap),
    };
    let found = match (runs_it("istio-proxy") || ambient, runs_it("linkerd-proxy")) {
        (true, _) => "Istio",
        (false, true) => "Linkerd",
        (false, false) => return findings.cluster(Grade::Fine, "there is none", ""),
    };
    let set = |field: &str, value: &str| {
        stored(situation, None, field).known().is_some_and(|it| **it == value)
    };
    let late = set("bpfConnectTimeLoadBalancing", "Disabled")
        && set("bpfHostNetworkedNATWithoutCTLB", "Enabled");
    if !late {
        findings.cluster(
            Grade::Warning,
            format!("{found} is in use, and must see the addresses of Services before eBPF translates them"),
            "set bpfConnectTimeLoadBalancing: Disabled and bpfHostNetworkedNATWithoutCTLB: Enabled in FelixConfiguration default",
        );
    } else if ambient {
        let reason = "Istio is in ambient mode, whose traffic Calico's policies do not see on eBPF";
        findings.cluster(Grade::Warning, reason, "");
    } else {
        findings.cluster(
            Grade::Fine,
            format!("{found} sees Services before they are translated"),
            "",
        );
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::fixtures::{grade_of_cluster as grade, named, pod, situation, snapshot};
    use super::*;

    fn set(name: &str, desired: i64) -> DaemonSet {
        let mut set = DaemonSet { metadata: named("kube-system", name), ..Default::default() };
        set.status.desired_number_scheduled = desired;
        set
    }

    fn felix(spec: &Value) -> Known<Vec<Value>> {
        Known::Known(vec![json!({"metadata": {"name": "default"}, "spec": spec})])
    }

    #[test]
    fn a_cache_blocks_until_it_is_left_alone() {
        let snapshot = snapshot();
        let mut it = situation(&snapshot);
        let dns = |annotations: Value| {
            let metadata = json!({"namespace": "kube-system", "name": "kube-dns", "labels": {"k8s-app": "kube-dns"}, "annotations": annotations});
            Known::Known(vec![json!({"metadata": metadata, "spec": {"clusterIP": "10.96.0.10"}})])
        };
        it.daemon_sets = Known::Known(vec![set("node-local-dns", 2)]);
        it.services = dns(json!({}));
        assert_eq!(grade(&it, "node-local-dns"), "blocker");
        it.felix = felix(&json!({"bpfExcludeCIDRsFromNAT": ["10.96.0.10/32"]}));
        assert_eq!(grade(&it, "node-local-dns"), "fine");
        it.felix = felix(&json!({"bpfExcludeCIDRsFromNAT": ["10.97.0.0/16", "nonsense"]}));
        assert_eq!(grade(&it, "node-local-dns"), "blocker");
        it.services = dns(json!({LEFT_ALONE: "true"}));
        assert_eq!(grade(&it, "node-local-dns"), "fine");
        it.services = Known::Known(Vec::new());
        assert_eq!(grade(&it, "node-local-dns"), "unknown");
        it.daemon_sets = Known::Known(vec![set("node-local-dns", 0), set("dns", 2)]);
        assert_eq!(grade(&it, "node-local-dns"), "fine");
    }

    #[test]
    fn a_mesh_must_see_services_first() {
        let mut snapshot = snapshot();
        let mut meshed = pod("shop", "web-1", "node1");
        meshed.spec.containers[0].name = "istio-proxy".into();
        snapshot.pods.items.push(meshed);
        let mut it = situation(&snapshot);
        assert_eq!(grade(&it, "mesh"), "warning");
        it.felix = felix(
            &json!({"bpfConnectTimeLoadBalancing": "Disabled", "bpfHostNetworkedNATWithoutCTLB": "Enabled"}),
        );
        assert_eq!(grade(&it, "mesh"), "fine");
        it.daemon_sets = Known::Known(vec![set("ztunnel", 2)]);
        assert_eq!(grade(&it, "mesh"), "warning");
    }

    #[test]
    fn a_proxy_of_another_kind_is_no_mesh() {
        let mut snapshot = snapshot();
        let mut other = pod("shop", "istio-proxy-docs", "node1");
        other.spec.containers[0].name = "nginx".into();
        snapshot.pods.items.push(other);
        assert_eq!(grade(&situation(&snapshot), "mesh"), "fine");
    }
}
