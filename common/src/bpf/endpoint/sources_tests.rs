//! Clusters of several kinds, and what is found in each.

use serde_json::json;

use super::*;
use crate::bpf::requirements::fixtures::{node, situation, snapshot, unknown};
use crate::snapshot::Snapshot;

fn slices(addresses: &[&str]) -> Known<Vec<Value>> {
    let endpoints = json!([{ "addresses": addresses }]);
    Known::Known(vec![json!({"ports": [{"name": "https", "port": 6443}], "endpoints": endpoints})])
}

fn service(address: &str) -> Known<Vec<Value>> {
    Known::Known(vec![json!({"metadata": {"name": "kubernetes"}, "spec": {"clusterIP": address}})])
}

fn shown(discovery: &Discovery) -> Vec<String> {
    let show = |it: &Candidate| {
        let sources: Vec<_> = it.sources.iter().map(|it| format!("{it:?}")).collect();
        let end = if it.rejected.is_some() { " rejected" } else { "" };
        format!("{} {}{end}", it.endpoint, sources.join(","))
    };
    discovery.candidates.iter().map(show).collect()
}

fn by_operator(image: &str) -> (Snapshot, Known<Value>) {
    let mut snapshot = snapshot();
    if let Known::Known(install) = &mut snapshot.install {
        install.method = InstallMethod::Operator;
    }
    let containers = json!([{ "image": image }]);
    let operator = json!({"spec": {"template": {"spec": {"containers": containers}}}});
    (snapshot, Known::Known(operator))
}

#[test]
fn sources_are_ranked_and_the_same_endpoint_is_one() {
    let snapshot = snapshot();
    let mut it = situation(&snapshot);
    it.kubeadm_config = Known::Known(
        json!({"data": {"ClusterConfiguration": "controlPlaneEndpoint: k8s.example\n"}}),
    );
    it.cluster_info = Known::Known(
        json!({"data": {"kubeconfig": "clusters:\n- cluster: {server: 'https://10.0.0.10:6443'}\n"}}),
    );
    it.api_server_slices = slices(&["10.0.0.10"]);
    it.services = service("10.96.0.1");
    let found = discover(&it, None, "https://bastion.example");
    assert_eq!(
        shown(&found),
        [
            "10.0.0.10:6443 KubeProxy,ClusterInfo,ApiServers",
            "k8s.example:6443 Kubeadm",
            "bastion.example:443 Kubeconfig",
        ]
    );
    assert!(found.candidates[1].caveats[0].contains("resolver"));
    assert!(found.candidates[2].caveats.iter().any(|it| it.contains("outside")));
    assert_eq!(found.best().unwrap().caveats, [""; 0]);
}

#[test]
fn what_is_set_already_and_what_is_given_come_first() {
    let snapshot = snapshot();
    let mut it = situation(&snapshot);
    let data = json!({"KUBERNETES_SERVICE_HOST": "10.0.0.99", "KUBERNETES_SERVICE_PORT": "6443"});
    it.endpoint_config = Known::Known(json!({ "data": data }));
    let given: Endpoint = "10.0.0.77:443".parse().unwrap();
    let found = discover(&it, Some(&given), "");
    assert_eq!(shown(&found)[..2], ["10.0.0.77:443 Given", "10.0.0.99:6443 Existing"]);
    it.endpoint_config = Known::Known(json!({"data": {"KUBERNETES_SERVICE_HOST": "10.0.0.99"}}));
    assert_eq!(shown(&discover(&it, None, "")), ["10.0.0.10:6443 KubeProxy"]);
}

#[test]
fn services_are_no_endpoints() {
    let snapshot = snapshot();
    let mut it = situation(&snapshot);
    it.services = service("10.0.0.10");
    let found = discover(&it, None, "https://kubernetes.default.svc:443");
    assert_eq!(
        shown(&found),
        ["10.0.0.10:6443 KubeProxy rejected", "kubernetes.default.svc:443 Kubeconfig rejected"]
    );
    assert!(found.best().is_none());
    it.services = service("10.0.0.1");
    assert!(discover(&it, None, "").best().is_some(), "another address");
}

#[test]
fn one_of_several_api_servers_is_none() {
    let mut snapshot = snapshot();
    let mut it = situation(&snapshot);
    it.kube_proxy_config = Known::Absent;
    it.api_server_slices = slices(&["10.0.0.1", "10.0.0.2"]);
    let found = discover(&it, None, "");
    assert_eq!(
        shown(&found),
        ["10.0.0.1:6443 ApiServers rejected", "10.0.0.2:6443 ApiServers rejected"]
    );
    it.api_server_slices = slices(&["10.0.0.1"]);
    assert!(discover(&it, None, "").best().is_some());
    // kube-proxy depends on it: it may be used, but it is one of two.
    let mut third = node("node3", "10.0.0.10");
    for node in [&mut third, &mut snapshot.nodes.items[0]] {
        node.metadata.labels.insert("node-role.kubernetes.io/control-plane".into(), String::new());
    }
    snapshot.nodes.items.push(third);
    let found = discover(&situation(&snapshot), None, "");
    assert!(found.best().unwrap().caveats[0].contains("node3 alone"));
}

#[test]
fn this_machine_itself_depends_on_who_is_told() {
    let local = Known::Known(
        json!({"data": {"kubeconfig.conf": "clusters:\n- cluster: {server: 'https://127.0.0.1:6443'}\n"}}),
    );
    let of = |snapshot: &Snapshot, operator: Known<Value>| {
        let mut it = situation(snapshot);
        it.kube_proxy_config = local.clone();
        it.operator = operator;
        discover(&it, None, "")
    };
    let (snapshot, operator) = by_operator("quay.io/tigera/operator:v1.40.3");
    assert!(of(&snapshot, operator).best().is_none());
    assert!(of(&snapshot, Known::Absent).best().is_none(), "which one it is, is not known");
    let (_, operator) = by_operator("quay.io/tigera/operator:v1.42.0");
    assert!(of(&snapshot, operator).best().unwrap().caveats[0].contains("every node"));
    let manifest = crate::bpf::requirements::fixtures::snapshot();
    assert!(of(&manifest, Known::Absent).best().is_some());
}

#[test]
fn a_name_with_an_operator_that_waits_for_dns_is_told() {
    let of = |image: &str| {
        let (snapshot, operator) = by_operator(image);
        let mut it = situation(&snapshot);
        it.operator = operator;
        let given: Endpoint = "k8s.example:6443".parse().unwrap();
        discover(&it, Some(&given), "").candidates[0].caveats[0].clone()
    };
    assert!(of("x/operator:v1.40.3").contains("take an address"));
    assert!(of("x/operator:v1.38.7").contains("resolver"));
}

#[test]
fn what_could_not_be_read_is_told() {
    let snapshot = snapshot();
    let mut it = situation(&snapshot);
    it.kube_proxy_config = unknown();
    it.kubeadm_config = Known::Known(json!({"data": {"ClusterConfiguration": ": : ["}}));
    it.cluster_info = Known::Known(json!({"data": {"kubeconfig": "clusters: 5"}}));
    let found = discover(&it, None, "https://10.0.0.10:6443/k8s/clusters/c-1");
    assert_eq!(found.gaps.len(), 1);
    assert_eq!(found.candidates, []);
}
