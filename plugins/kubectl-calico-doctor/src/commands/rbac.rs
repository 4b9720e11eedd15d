//! `--print-rbac`: exactly what a verb asks of the API server, as a ClusterRole.

use common::execute::lease;
use serde_json::{Value, json};

/// The verbs that ask for anything.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verb {
    /// Also what collect asks for.
    Check,
    /// Check and collect with `--probe`.
    Probe,
    Status,
    Fix,
    Sweep,
    /// What `fix` asks for, too: it goes on with such a plan, and looks again.
    Resume,
    Undo,
}

/// The role, and its binding when a user is named, as YAML documents.
pub(crate) fn role(verb: Verb, user: Option<&str>) -> String {
    let name = match verb {
        Verb::Check => "kubectl-calico-doctor-check",
        Verb::Probe => "kubectl-calico-doctor-probe",
        Verb::Status => "kubectl-calico-doctor-status",
        Verb::Fix => "kubectl-calico-doctor-fix",
        Verb::Sweep => "kubectl-calico-doctor-sweep",
        Verb::Resume => "kubectl-calico-doctor-resume",
        Verb::Undo => "kubectl-calico-doctor-undo",
    };
    let mut text = common::report::yaml(&json!({
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "ClusterRole",
        "metadata": { "name": name },
        "rules": rules(verb),
    }));
    if let Some(user) = user {
        text.push_str("---\n");
        text.push_str(&common::report::yaml(&json!({
            "apiVersion": "rbac.authorization.k8s.io/v1",
            "kind": "ClusterRoleBinding",
            "metadata": { "name": format!("{name}-{}", object_name(user)) },
            "roleRef": { "apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": name },
            "subjects": [{ "apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": user }],
        })));
    }
    text
}

fn rule(groups: &[&str], resources: &[&str], verbs: &[&str]) -> Value {
    json!({ "apiGroups": groups, "resources": resources, "verbs": verbs })
}

fn rules(verb: Verb) -> Vec<Value> {
    let mut rules = match verb {
        Verb::Sweep => return sweeping(),
        Verb::Undo => return undoing(),
        // How nodes are now is not told by what happened.
        Verb::Status => looking(&["nodes", "pods", "serviceaccounts"]),
        Verb::Check | Verb::Probe | Verb::Fix | Verb::Resume => {
            looking(&["nodes", "pods", "events", "serviceaccounts"])
        }
    };
    if verb == Verb::Probe {
        rules.extend(node_pods());
    }
    if matches!(verb, Verb::Fix | Verb::Resume) {
        // The verification reads the CA by a list with a field selector, which resourceNames covers.
        rules.push(json!({ "apiGroups": [""], "resources": ["configmaps"], "resourceNames": ["kube-root-ca.crt"], "verbs": ["list"] }));
        rules.push(rule(&["apps"], &["daemonsets"], &["get"]));
        // The CNI plugin's fresh token.
        rules.push(rule(&[""], &["serviceaccounts/token"], &["create"]));
        rules.extend(lease_of_ours());
        rules.extend(node_pods());
    }
    rules
}

/// What making, using and deleting node pods takes beyond looking.
fn node_pods() -> Vec<Value> {
    vec![
        rule(&[""], &["nodes"], &["get"]),
        rule(&[""], &["pods"], &["create", "delete", "get", "watch"]),
        // Without exec, or where the API server cannot reach the kubelet.
        rule(&[""], &["pods/log"], &["get"]),
        // When a kubelet was heard of last.
        rule(&["coordination.k8s.io"], &["leases"], &["get"]),
    ]
}

fn sweeping() -> Vec<Value> {
    vec![
        rule(&[""], &["pods"], &["delete", "list"]),
        rule(&["coordination.k8s.io"], &["leases"], &["delete", "list"]),
    ]
}

fn looking(lists: &[&str]) -> Vec<Value> {
    vec![
        rule(&[""], lists, &["list"]),
        json!({ "apiGroups": [""], "resources": ["namespaces"], "resourceNames": ["kube-system"], "verbs": ["get"] }),
        json!({ "apiGroups": [""], "resources": ["configmaps"], "resourceNames": ["kube-root-ca.crt"], "verbs": ["get"] }),
        json!({ "apiGroups": ["coordination.k8s.io"], "resources": ["leases"], "resourceNames": ["kubectl-calico"], "verbs": ["get"] }),
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
        // The probe runs in calico-node's own pod. Older API servers ask for "get" on the upgraded connection.
        rule(&[""], &["pods/exec"], &["create", "get"]),
        json!({ "nonResourceURLs": ["/version", "/apis", "/openid/v1/jwks"], "verbs": ["get"] }),
    ]
}

/// What keeps two runs apart. A creation has no name that a rule could state.
fn lease_of_ours() -> Vec<Value> {
    vec![
        rule(&["coordination.k8s.io"], &["leases"], &["create"]),
        json!({ "apiGroups": ["coordination.k8s.io"], "resources": ["leases"], "resourceNames": [lease::NAME], "verbs": ["delete", "get", "update"] }),
    ]
}

/// `undo` looks at nothing but what it takes back.
fn undoing() -> Vec<Value> {
    let mut rules = vec![
        json!({ "apiGroups": [""], "resources": ["namespaces"], "resourceNames": ["kube-system"], "verbs": ["get"] }),
        // Where calico-node runs, there its node pods may run.
        rule(&[""], &["pods"], &["list"]),
        rule(&[""], &["pods/exec"], &["create", "get"]),
    ];
    rules.extend(lease_of_ours());
    rules.extend(node_pods());
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

    #[test]
    fn check_asks_for_no_right_to_change() {
        let text = [role(Verb::Check, None), role(Verb::Status, None)].concat();
        for verb in ["delete", "patch", "update", "\"*\"", "secrets"] {
            assert!(!text.contains(verb), "{verb} in {text}");
        }
        assert!(role(Verb::Fix, None).contains("delete"));
        // Taking back needs no token.
        assert!(!role(Verb::Undo, None).contains("serviceaccounts"));
    }

    #[test]
    fn a_hostile_user_name_stays_a_value() {
        let text = role(Verb::Check, Some("Jane: {x}\n- evil"));
        let documents: Vec<Value> =
            text.split("---\n").map(|one| common::yaml::from_str(one).unwrap()).collect();
        assert_eq!(documents[1]["subjects"][0]["name"], "Jane: {x}\n- evil");
        assert_eq!(
            documents[1]["metadata"]["name"],
            "kubectl-calico-doctor-check-jane---x----evil"
        );
    }
}
