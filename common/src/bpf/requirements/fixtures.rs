//! An ordinary cluster that lacks nothing, for the tests of requirements; tests change a part of it.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde_json::{Value, json};

use super::{Grade, Situation, Subject, judge};
use crate::bpf::BpfFacts;
use crate::calico::{IpPool, IpPoolSpec};
use crate::slim::{Metadata, Node, NodeAddress, NodeCondition, Pod};
use crate::snapshot::{
    Coverage, Flavour, Gap, GapReason, Install, InstallMethod, Known, Listing, Snapshot,
    SnapshotBuilder,
};

/// node1 (10.0.0.1) and node2 (10.0.0.2), Calico v3.28.4 by manifest, VXLAN.
pub(crate) fn snapshot() -> Snapshot {
    let mut snapshot = SnapshotBuilder::new().finish(Timestamp::UNIX_EPOCH);
    snapshot.flavour = Known::Known(Flavour::CrdV1);
    snapshot.install = Known::Known(Install {
        method: InstallMethod::Manifest,
        namespace: "kube-system".into(),
        daemon_set: "calico-node".into(),
        version: Some("v3.28.4".into()),
        encapsulation: None,
        cni_service_account: "calico-cni-plugin".into(),
        cni_config_dir: "/etc/cni/net.d".into(),
        cni_bin_dir: "/opt/cni/bin".into(),
        namespaces: vec!["kube-system".into()],
    });
    snapshot.nodes = whole(vec![node("node1", "10.0.0.1"), node("node2", "10.0.0.2")]);
    let agents =
        ["node1", "node2"].map(|name| pod("kube-system", &format!("calico-node-{name}"), name));
    snapshot.pods = whole(agents.into());
    let spec = IpPoolSpec {
        cidr: "10.244.0.0/16".into(),
        vxlan_mode: "Always".into(),
        ..Default::default()
    };
    snapshot.ip_pools = whole(vec![IpPool { metadata: named("", "default"), spec }]);
    snapshot
}

pub(crate) fn whole<T>(items: Vec<T>) -> Listing<T> {
    Listing { items, coverage: Coverage::All, gap: None, at: None }
}

pub(crate) fn named(namespace: &str, name: &str) -> Metadata {
    Metadata { namespace: namespace.into(), name: name.into(), ..Default::default() }
}

pub(crate) fn node(name: &str, address: &str) -> Node {
    let mut node = Node { metadata: named("", name), ..Default::default() };
    node.status.addresses =
        vec![NodeAddress { kind: "InternalIP".into(), address: address.into() }];
    node.status.node_info.kernel_version = "6.1.0-18-amd64".into();
    node.status.node_info.operating_system = "linux".into();
    node.status.node_info.architecture = "amd64".into();
    let ready = NodeCondition { kind: "Ready".into(), status: "True".into(), ..Default::default() };
    node.status.conditions = vec![ready];
    node
}

/// A pod of calico-node, or whatever a test makes of it.
pub(crate) fn pod(namespace: &str, name: &str, node: &str) -> Pod {
    let mut pod = Pod { metadata: named(namespace, name), ..Default::default() };
    pod.metadata.labels.insert("k8s-app".into(), "calico-node".into());
    pod.spec.node_name = node.into();
    pod.spec.containers = vec![crate::slim::Container {
        name: "calico-node".into(),
        image: "docker.io/calico/node:v3.28.4".into(),
    }];
    pod.status.phase = "Running".into();
    pod
}

/// What the script prints on an ordinary node, section by section.
pub(crate) fn sections(address: &str) -> BTreeMap<&'static str, String> {
    BTreeMap::from([
        ("vantage", "calico-node".to_owned()),
        ("kernel", "Linux version 6.1.0-18-amd64 (x@y) (gcc-12) #1 SMP".to_owned()),
        ("machine", "x86_64".to_owned()),
        ("btf", "yes".to_owned()),
        ("mounts", "29 23 0:26 / /sys/fs/bpf rw - bpf bpf rw\n30 23 0:27 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw".to_owned()),
        ("sysctl", "kernel/unprivileged_bpf_disabled=2\nnet/core/bpf_jit_harden=0".to_owned()),
        ("lockdown", "[none] integrity confidentiality".to_owned()),
        ("kconfig", "CONFIG_BPF_SYSCALL=y".to_owned()),
        ("endpoint", "10.96.0.1\n443".to_owned()),
        ("felix-variable", String::new()),
        ("readiness", String::new()),
        ("ip-link", r#"[{"ifname":"lo"},{"ifname":"eth0","flags":["UP"],"mtu":1500}]"#.to_owned()),
        ("ip-addr", format!(r#"[{{"ifname":"eth0","addr_info":[{{"local":"{address}"}}]}}]"#)),
        ("ip-route.v4", r#"[{"dst":"default","dev":"eth0"}]"#.to_owned()),
        ("ip-route.v6", "[]".to_owned()),
        ("programs", String::new()),
        ("program-links", String::new()),
        ("pins", String::new()),
        ("nat.v4", "absent".to_owned()),
        ("nat.v6", "absent".to_owned()),
        ("rules.nft.v4", ":KUBE-SERVICES - [0:0]".to_owned()),
        ("rules.legacy.v4", String::new()),
        ("nft-kube-proxy", String::new()),
        ("listeners", String::new()),
        ("ipvs", String::new()),
    ])
}

pub(crate) fn facts(name: &str, sections: &BTreeMap<&'static str, String>) -> BpfFacts {
    let text: String = sections
        .iter()
        .map(|(id, text)| {
            let end = if text.is_empty() { "" } else { "\n" };
            format!("@@{id} rc=0 ms=1\n{text}{end}@@end\n")
        })
        .collect();
    BpfFacts::from_scan(name, text.as_bytes())
}

pub(crate) fn situation(snapshot: &Snapshot) -> Situation<'_> {
    let object = |name: &str| json!({"metadata": {"name": name}});
    let calico_node = json!({"metadata": {"name": "calico-node"}, "spec": {"template": {"spec": {"containers": [
        {"name": "calico-node", "image": "docker.io/calico/node:v3.28.4", "env": [{"name": "DATASTORE_TYPE", "value": "kubernetes"}]}]}}}});
    let proxy =
        "apiVersion: kubeproxy.config.k8s.io/v1alpha1\nkind: KubeProxyConfiguration\nmode: \"\"\n";
    let kubeconfig = "clusters:\n- cluster:\n    server: https://10.0.0.10:6443\n  name: default\n";
    Situation {
        felix: Known::Known(vec![json!({"metadata": {"name": "default"}, "spec": {}})]),
        calico_node: Known::Known(calico_node),
        daemon_sets: Known::Known(Vec::new()),
        kube_proxy: Known::Known(
            json!({"metadata": {"name": "kube-proxy", "namespace": "kube-system"}}),
        ),
        kube_proxy_config: Known::Known(
            json!({"data": {"config.conf": proxy, "kubeconfig.conf": kubeconfig}}),
        ),
        kube_controllers: Known::Known(object("calico-kube-controllers")),
        services: Known::Known(Vec::new()),
        api_server_slices: Known::Known(Vec::new()),
        webhooks: Known::Known(Vec::new()),
        api_services: Known::Known(Vec::new()),
        nodes: BTreeMap::from([
            ("node1".to_owned(), Known::Known(facts("node1", &sections("10.0.0.1")))),
            ("node2".to_owned(), Known::Known(facts("node2", &sections("10.0.0.2")))),
        ]),
        ..nothing_there(snapshot)
    }
}

fn of(snapshot: &Snapshot, what: impl Fn() -> Known<Value>) -> Situation<'_> {
    let list = || what().map(|_| Vec::new());
    Situation {
        snapshot,
        felix: list(),
        felix_fields: what().map(|_| std::collections::BTreeSet::new()),
        installation: what(),
        installation_fields: what().map(|_| std::collections::BTreeSet::new()),
        tigera_status: list(),
        operator: what(),
        calico_node: what(),
        typha: what(),
        kube_controllers: what(),
        calico_config: what(),
        endpoint_config: what(),
        daemon_sets: what().map(|_| Vec::new()),
        kube_proxy: what(),
        kube_proxy_config: what(),
        kubeadm_config: what(),
        cluster_info: what(),
        root_ca: what(),
        services: list(),
        api_server_slices: list(),
        webhooks: list(),
        api_services: list(),
        nodes: BTreeMap::new(),
    }
}

fn nothing_there(snapshot: &Snapshot) -> Situation<'_> {
    of(snapshot, || Known::Absent)
}

/// Nothing could be read, and node1 could not be asked.
pub(crate) fn nothing_known(snapshot: &Snapshot) -> Situation<'_> {
    let mut it = of(snapshot, unknown);
    it.nodes.insert("node1".to_owned(), unknown());
    it
}

pub(crate) fn unknown<T>() -> Known<T> {
    Known::Unknown(Gap::new("x", GapReason::Forbidden, "forbidden"))
}

/// The same node, but that one section says this.
pub(crate) fn with_section(
    situation: &mut Situation<'_>,
    node: &str,
    section: &'static str,
    text: &str,
) {
    let address = if node == "node1" { "10.0.0.1" } else { "10.0.0.2" };
    let mut all = sections(address);
    all.insert(section, text.to_owned());
    situation.nodes.insert(node.to_owned(), Known::Known(facts(node, &all)));
}

/// The worst grade that a requirement has on a node.
pub(crate) fn grade(situation: &Situation<'_>, id: &str, node: &str) -> String {
    worst(situation, id, &Subject::Node(node.to_owned()))
}

/// The worst grade that a requirement has of the cluster as a whole.
pub(crate) fn grade_of_cluster(situation: &Situation<'_>, id: &str) -> String {
    worst(situation, id, &Subject::Cluster)
}

fn worst(situation: &Situation<'_>, id: &str, subject: &Subject) -> String {
    let rank = |grade: &Grade| match grade {
        Grade::Fine => 0,
        Grade::Info => 1,
        Grade::Warning => 2,
        Grade::Unknown(_) => 3,
        Grade::Blocker => 4,
    };
    let found = judge(situation);
    let of = found.iter().filter(|it| it.requirement.id == id && it.subject == *subject);
    let worst = of.map(|it| rank(&it.grade)).max();
    match worst {
        None => "nothing",
        Some(0) => "fine",
        Some(1) => "info",
        Some(2) => "warning",
        Some(3) => "unknown",
        Some(_) => "blocker",
    }
    .to_owned()
}
