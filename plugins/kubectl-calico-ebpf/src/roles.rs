//! `--print-rbac`: what each verb asks of the API server.

use common::verbs::rbac::{
    exec, installation, kube_system, lease_of_ours, node_pods, our_lease, rule,
};
use serde_json::{Value, json};

/// Objects of these names.
fn named(group: &str, resource: &str, names: &[&str]) -> Value {
    json!({ "apiGroups": [group], "resources": [resource], "resourceNames": names, "verbs": ["get"] })
}

/// Everything that requirements are judged by, but for what nodes show.
fn situation() -> Vec<Value> {
    let mut rules = vec![
        rule(&[""], &["nodes", "pods", "services"], &["list"]),
        kube_system(),
        rule(&["discovery.k8s.io"], &["endpointslices"], &["list"]),
        named(
            "",
            "configmaps",
            &[
                "calico-config",
                "cluster-info",
                "kube-proxy",
                "kube-root-ca.crt",
                "kubeadm-config",
                "kubernetes-services-endpoint",
            ],
        ),
        named("apps", "daemonsets", &["calico-node", "canal", "kube-proxy"]),
        named(
            "apps",
            "deployments",
            &["calico-kube-controllers", "calico-typha", "tigera-operator"],
        ),
        rule(&["crd.projectcalico.org", "projectcalico.org"], &["felixconfigurations"], &["list"]),
        named("operator.tigera.io", "installations", &["default"]),
        rule(&["operator.tigera.io"], &["tigerastatuses"], &["list"]),
        named(
            "apiextensions.k8s.io",
            "customresourcedefinitions",
            &[
                "felixconfigurations.crd.projectcalico.org",
                "felixconfigurations.projectcalico.org",
                "installations.operator.tigera.io",
            ],
        ),
        rule(
            &["admissionregistration.k8s.io"],
            &["mutatingwebhookconfigurations", "validatingwebhookconfigurations"],
            &["list"],
        ),
        rule(&["apiregistration.k8s.io"], &["apiservices"], &["list"]),
    ];
    rules.extend(installation());
    rules
}

/// `preflight`.
pub(crate) fn preflight() -> Vec<Value> {
    let mut rules = situation();
    rules.push(exec());
    // A node that is named.
    rules.push(rule(&[""], &["nodes"], &["get"]));
    rules
}

/// `preflight --load-test`.
pub(crate) fn load_test() -> Vec<Value> {
    [preflight(), node_pods()].concat()
}

/// `endpoint discover`.
pub(crate) fn discover() -> Vec<Value> {
    situation()
}

/// `endpoint discover --probe`.
pub(crate) fn discover_from_hosts() -> Vec<Value> {
    [situation(), vec![exec()], node_pods()].concat()
}

/// `endpoint test`.
pub(crate) fn test() -> Vec<Value> {
    preflight()
}

/// `endpoint test --probe`.
pub(crate) fn test_from_hosts() -> Vec<Value> {
    load_test()
}

/// `status` and `kube-proxy status`: nothing is changed.
pub(crate) fn status() -> Vec<Value> {
    let mut rules = preflight();
    // Whether a run is changing the cluster.
    rules.push(our_lease(&["get"]));
    rules
}

/// `enable`, and with it `disable`, `rollback` and `resume`: what is changed on the way there is changed on the way back.
pub(crate) fn enable() -> Vec<Value> {
    let mut rules = situation();
    // Who answers at the endpoint is told from the nodes' hosts.
    rules.extend(node_pods());
    rules.extend([
        exec(),
        our_lease(&["get"]),
        // The pods and the Service that are proven with, and pods of the operator that are to read the endpoint anew.
        rule(&[""], &["pods"], &["create", "delete", "get", "list"]),
        rule(&[""], &["services"], &["create", "delete", "list"]),
        rule(&["discovery.k8s.io"], &["endpointslices"], &["create", "delete", "get", "list"]),
        rule(&[""], &["configmaps"], &["create", "delete", "get", "list", "patch"]),
        rule(&["apps"], &["daemonsets", "deployments"], &["get", "patch"]),
        rule(
            &["crd.projectcalico.org", "projectcalico.org"],
            &["felixconfigurations"],
            &["get", "patch"],
        ),
        rule(&["operator.tigera.io"], &["installations"], &["get", "patch"]),
        rule(&["operator.tigera.io"], &["tigerastatuses"], &["get"]),
    ]);
    rules.extend(lease_of_ours());
    rules
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn looking_asks_for_no_right_to_change() {
        for rules in [preflight(), discover(), test()] {
            let text: String = rules.iter().map(ToString::to_string).collect();
            for verb in ["delete", "patch", "update", "\"*\"", "secrets"] {
                assert!(!text.contains(verb), "{verb} in {text}");
            }
        }
        assert!(load_test().iter().any(|it| it.to_string().contains("delete")));
    }
}
