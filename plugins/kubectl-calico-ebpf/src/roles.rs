//! What each verb asks of the API server: the roles that `--print-rbac` prints.

use common::verbs::rbac::{
    check, exec, installation, kube_system, lease_of_ours, node_pods, our_lease, rule,
};
use serde_json::Value;

/// What looking at the data plane of a cluster takes.
fn looking() -> Vec<Value> {
    let mut rules = vec![
        kube_system(),
        exec(),
        rule(&[""], &["nodes", "pods", "services"], &["list"]),
        rule(&["apps"], &["daemonsets", "deployments"], &["get", "list"]),
        rule(&["crd.projectcalico.org", "projectcalico.org"], &["felixconfigurations"], &["list"]),
        rule(&["operator.tigera.io"], &["installations"], &["get"]),
        rule(&["operator.tigera.io"], &["tigerastatuses"], &["get", "list"]),
        rule(&[""], &["configmaps"], &["get"]),
        rule(&["discovery.k8s.io"], &["endpointslices"], &["get", "list"]),
        rule(&["apiextensions.k8s.io"], &["customresourcedefinitions"], &["get"]),
        rule(&["apiregistration.k8s.io"], &["apiservices"], &["list"]),
        rule(
            &["admissionregistration.k8s.io"],
            &["mutatingwebhookconfigurations", "validatingwebhookconfigurations"],
            &["list"],
        ),
    ];
    rules.extend(installation());
    rules
}

/// `status` and `kube-proxy status`: nothing is changed.
pub(crate) fn status() -> Vec<Value> {
    let mut rules = looking();
    // Whether a run is changing the cluster.
    rules.push(our_lease(&["get"]));
    rules
}

/// `enable`, and with it `disable`, `rollback` and `resume`: what is changed on the way there is changed on the way back.
pub(crate) fn enable() -> Vec<Value> {
    let mut rules = [check(), looking(), node_pods()].concat();
    rules.extend([
        rule(&[""], &["configmaps"], &["create", "delete", "patch"]),
        rule(&["apps"], &["daemonsets", "deployments"], &["patch"]),
        rule(
            &["crd.projectcalico.org", "projectcalico.org"],
            &["felixconfigurations"],
            &["get", "patch"],
        ),
        rule(&["operator.tigera.io"], &["installations"], &["patch"]),
        // The Service that is proven with.
        rule(&[""], &["services"], &["create", "delete"]),
        rule(&["discovery.k8s.io"], &["endpointslices"], &["create", "delete"]),
    ]);
    rules.extend(lease_of_ours());
    rules
}
