//! `--print-rbac`: exactly what a verb asks of the API server, as a ClusterRole.

use crate::execute::lease;
use serde_json::{Value, json};

/// The role `name`, and its binding when a user is named, as YAML documents.
pub fn role(name: &str, rules: &[Value], user: Option<&str>) -> String {
    let mut text = crate::report::yaml(&json!({
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "ClusterRole",
        "metadata": { "name": name },
        "rules": rules,
    }));
    if let Some(user) = user {
        text.push_str("---\n");
        text.push_str(&crate::report::yaml(&json!({
            "apiVersion": "rbac.authorization.k8s.io/v1",
            "kind": "ClusterRoleBinding",
            "metadata": { "name": format!("{name}-{}", object_name(user)) },
            "roleRef": { "apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": name },
            "subjects": [{ "apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": user }],
        })));
    }
    text
}

/// One rule.
pub fn rule(groups: &[&str], resources: &[&str], verbs: &[&str]) -> Value {
    json!({ "apiGroups": groups, "resources": resources, "verbs": verbs })
}

/// `check` and `collect`.
pub fn check() -> Vec<Value> {
    let mut rules = looking(&["nodes", "pods", "events", "serviceaccounts"]);
    // Whether a run of ours is changing the cluster.
    rules.push(our_lease(&["get"]));
    rules
}

/// `check` and `collect` with `--probe`.
pub fn probe() -> Vec<Value> {
    [looking(&["nodes", "pods", "events", "serviceaccounts"]), node_pods()].concat()
}

/// `status`. How nodes are now is not told by what happened.
pub fn status() -> Vec<Value> {
    looking(&["nodes", "pods", "serviceaccounts"])
}

/// `fix`, and `resume`, which goes on with such a plan and looks again.
pub fn fix() -> Vec<Value> {
    let mut rules = probe();
    rules.push(rule(&["apps"], &["daemonsets"], &["get"]));
    // The CNI plugin's fresh token.
    rules.push(rule(&[""], &["serviceaccounts/token"], &["create"]));
    rules.extend(lease_of_ours());
    rules
}

/// What making, using and deleting node pods takes beyond looking.
pub fn node_pods() -> Vec<Value> {
    // Where commands cannot be run in pods, what they print comes by log.
    [pods_on_nodes(), vec![rule(&[""], &["pods/log"], &["get"])]].concat()
}

/// The same where scripts say so little that it fits into a pod's termination message.
fn pods_on_nodes() -> Vec<Value> {
    vec![
        rule(&[""], &["nodes"], &["get"]),
        rule(&[""], &["pods"], &["create", "delete", "get", "watch"]),
        // When a kubelet was heard of last. Leases of kubelets have the names of their nodes.
        rule(&["coordination.k8s.io"], &["leases"], &["get"]),
    ]
}

/// `sweep`.
pub fn sweep() -> Vec<Value> {
    vec![
        rule(&[""], &["pods"], &["delete", "list"]),
        rule(&["coordination.k8s.io"], &["leases"], &["delete", "list"]),
    ]
}

/// What looking at a cluster and its nodes takes; `lists` are the core kinds that are listed.
pub fn looking(lists: &[&str]) -> Vec<Value> {
    let mut rules = vec![
        rule(&[""], lists, &["list"]),
        kube_system(),
        json!({ "apiGroups": [""], "resources": ["configmaps"], "resourceNames": ["kube-root-ca.crt"], "verbs": ["get"] }),
        exec(),
        // Versions and API groups are shown to everybody (system:discovery).
        json!({ "nonResourceURLs": ["/openid/v1/jwks"], "verbs": ["get"] }),
    ];
    rules.extend(installation());
    rules
}

/// How Calico is installed.
pub fn installation() -> Vec<Value> {
    vec![
        rule(&["apps"], &["daemonsets", "deployments"], &["list"]),
        rule(
            &["crd.projectcalico.org", "projectcalico.org"],
            &["clusterinformations", "ippools"],
            &["list"],
        ),
        json!({
            "apiGroups": ["apiextensions.k8s.io"],
            "resources": ["customresourcedefinitions"],
            "resourceNames": ["clusterinformations.projectcalico.org"],
            "verbs": ["get"],
        }),
    ]
}

/// Verbs of `calico-ipam` that count addresses.
pub fn addresses() -> Vec<Value> {
    let groups = ["crd.projectcalico.org", "projectcalico.org"];
    let kinds = ["ipamblocks", "ipamconfigs", "ipamconfigurations", "ipreservations"];
    [vec![kube_system(), rule(&groups, &kinds, &["list"])], installation()].concat()
}

/// Verbs of `calico-ipam` that judge who has them.
pub fn addresses_and_owners() -> Vec<Value> {
    let groups = ["crd.projectcalico.org", "projectcalico.org"];
    let kinds = ["blockaffinities", "ipamhandles", "kubecontrollersconfigurations"];
    let owners = [
        rule(&groups, &kinds, &["list"]),
        rule(&[""], &["namespaces", "nodes", "pods", "services"], &["list"]),
        our_lease(&["get"]),
    ];
    [addresses(), owners.to_vec()].concat()
}

/// Verbs of `calico-ipam` that change what is stored, and what they look at before.
pub fn change_addresses() -> Vec<Value> {
    let groups = ["crd.projectcalico.org", "projectcalico.org"];
    let changes = [
        rule(&groups, &["ipamblocks"], &["get", "update"]),
        rule(&groups, &["ipamhandles"], &["create", "delete", "get", "update"]),
        rule(&groups, &["clusterinformations"], &["get"]),
        // Who would show that an address is used, immediately before it is released.
        rule(&[""], &["nodes", "pods", "services"], &["get"]),
    ];
    [addresses_and_owners(), changes.to_vec(), lease_of_ours()].concat()
}

/// `undo` of these.
pub fn undo_addresses() -> Vec<Value> {
    let groups = ["crd.projectcalico.org", "projectcalico.org"];
    let mut rules = vec![
        kube_system(),
        rule(&groups, &["ipamblocks"], &["get", "update"]),
        rule(&groups, &["ipamhandles"], &["create", "delete", "get", "update"]),
        // What an earlier run left.
        rule(&[""], &["pods"], &["list"]),
        our_lease(&["get"]),
    ];
    rules.extend(lease_of_ours());
    rules
}

/// The cluster's identity.
pub fn kube_system() -> Value {
    json!({ "apiGroups": [""], "resources": ["namespaces"], "resourceNames": ["kube-system"], "verbs": ["get"] })
}

/// Commands in pods. The request is a GET that is upgraded, so "get" it is; servers from 1.35 on ask for "create" as well.
pub fn exec() -> Value {
    rule(&[""], &["pods/exec"], &["create", "get"])
}

/// The right to do this to the Lease that keeps two runs apart.
pub fn our_lease(verbs: &[&str]) -> Value {
    json!({ "apiGroups": ["coordination.k8s.io"], "resources": ["leases"], "resourceNames": [lease::NAME], "verbs": verbs })
}

/// What keeps two runs apart. A creation has no name that a rule could state. The right to read is one of [`node_pods`].
pub fn lease_of_ours() -> Vec<Value> {
    vec![rule(&["coordination.k8s.io"], &["leases"], &["create"]), our_lease(&["delete", "update"])]
}

/// `undo` looks at nothing but what it takes back.
pub fn undo() -> Vec<Value> {
    let mut rules = vec![
        kube_system(),
        // What an earlier run left.
        rule(&[""], &["pods"], &["list"]),
        exec(),
    ];
    rules.extend(lease_of_ours());
    rules.extend(pods_on_nodes());
    rules
}

/// A user's name as part of an object's name: what is not allowed there becomes a dash.
fn object_name(user: &str) -> String {
    let lower = user.to_ascii_lowercase();
    let name: String = lower
        .chars()
        .map(|c| if c.is_ascii_alphanumeric() || c == '.' { c } else { '-' })
        .collect();
    let name = name.trim_matches(['-', '.']);
    if name.is_empty() { "user".to_owned() } else { name.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(rules: &[Value]) -> String {
        role("test", rules, None)
    }

    #[test]
    fn check_asks_for_no_right_to_change() {
        let text_of_both = [text(&check()), text(&status())].concat();
        for verb in ["delete", "patch", "update", "\"*\"", "secrets"] {
            assert!(!text_of_both.contains(verb), "{verb} in {text_of_both}");
        }
        assert!(text(&fix()).contains("delete"));
        // Taking back needs no token.
        assert!(!text(&undo()).contains("serviceaccounts"));
    }

    #[test]
    fn a_hostile_user_name_stays_a_value() {
        let text = role("kubectl-calico-doctor-check", &check(), Some("Jane: {x}\n- evil"));
        let documents: Vec<Value> =
            text.split("---\n").map(|one| crate::yaml::from_str(one).unwrap()).collect();
        assert_eq!(documents[1]["subjects"][0]["name"], "Jane: {x}\n- evil");
        assert_eq!(
            documents[1]["metadata"]["name"],
            "kubectl-calico-doctor-check-jane---x----evil"
        );
    }
}
