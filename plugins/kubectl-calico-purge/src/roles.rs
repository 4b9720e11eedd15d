//! What each verb asks of the API server: the roles that `--print-rbac` prints.

use common::verbs::rbac::{
    check, exec, fix, installation, kube_system, lease_of_ours, node_pods, our_lease, probe, rule,
};
use serde_json::Value;

/// `node`: the repairs are the doctor's. Felix's settings tell which mode is in use.
pub(crate) fn node() -> Vec<Value> {
    let mut rules = fix();
    rules.push(rule(
        &["crd.projectcalico.org", "projectcalico.org"],
        &["felixconfigurations"],
        &["list"],
    ));
    rules
}

/// `node --all-state`.
pub(crate) fn all_state() -> Vec<Value> {
    let mut rules = sandboxes();
    rules.extend([
        rule(&[""], &["services"], &["list"]),
        rule(&["policy"], &["poddisruptionbudgets"], &["list"]),
        rule(&["crd.projectcalico.org", "projectcalico.org"], &["felixconfigurations"], &["list"]),
        rule(&["operator.tigera.io"], &["installations"], &["list"]),
        rule(&["helm.cattle.io"], &["helmcharts"], &["list"]),
        rule(&["apps"], &["daemonsets"], &["get"]),
    ]);
    rules.extend(leaving());
    rules
}

/// What a node that Calico leaves, and its pods, are told.
fn leaving() -> Vec<Value> {
    vec![
        rule(&[""], &["nodes", "nodes/status"], &["patch"]),
        rule(&["apps"], &["daemonsets"], &["patch"]),
        rule(&[""], &["pods/eviction"], &["create"]),
    ]
}

/// `sandboxes`: work on a host and nothing else.
pub(crate) fn sandboxes() -> Vec<Value> {
    [probe(), lease_of_ours()].concat()
}

/// `pods`.
pub(crate) fn pods() -> Vec<Value> {
    let mut rules = vec![
        kube_system(),
        rule(&[""], &["pods"], &["delete", "get", "list"]),
        our_lease(&["get"]),
    ];
    rules.extend(lease_of_ours());
    rules
}

/// `pods --stuck`: what keeps a pod is looked for as `check` does.
pub(crate) fn stuck_pods() -> Vec<Value> {
    let mut rules = check();
    rules.push(rule(&[""], &["pods"], &["delete", "get"]));
    // That a node is gone is looked at again before its pods are forgotten.
    rules.push(rule(&[""], &["nodes"], &["get"]));
    rules.extend(lease_of_ours());
    rules
}

/// `leftovers`.
pub(crate) fn leftovers() -> Vec<Value> {
    let mut rules = vec![rule(&[""], &["nodes", "pods"], &["list"]), kube_system(), exec()];
    rules.extend(installation());
    rules.extend(node_pods());
    rules
}

/// `leftovers --remove`.
pub(crate) fn removing_leftovers() -> Vec<Value> {
    let mut rules = leftovers();
    // Annotations, and the condition.
    rules.push(rule(&[""], &["nodes", "nodes/status"], &["patch"]));
    rules.extend(lease_of_ours());
    rules
}

/// `undo`, of any run of this plugin.
pub(crate) fn undo() -> Vec<Value> {
    let mut rules = common::verbs::rbac::undo();
    rules.extend([
        rule(&[""], &["nodes", "nodes/status"], &["patch"]),
        rule(&["apps"], &["daemonsets"], &["get", "patch"]),
    ]);
    rules
}

/// `resume`, of any run of this plugin.
pub(crate) fn resume() -> Vec<Value> {
    [fix(), leaving()].concat()
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use super::*;

    /// The words that print a role, and its rules.
    type Role = (&'static str, fn() -> Vec<Value>);

    const ALL: [Role; 9] = [
        ("node", node),
        ("node --all-state", all_state),
        ("sandboxes", sandboxes),
        ("leftovers", leftovers),
        ("leftovers --remove", removing_leftovers),
        ("pods", pods),
        ("pods --stuck", stuck_pods),
        ("undo", undo),
        ("resume", resume),
    ];

    /// `create pods/eviction; patch daemonsets.apps, nodes`: the rights that do not only read.
    fn changes(rules: &[Value]) -> String {
        let mut all: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
        let words = |rule: &Value, key: &str| -> Vec<String> {
            let all = rule[key].as_array().into_iter().flatten();
            all.filter_map(|it| it.as_str().map(str::to_owned)).collect()
        };
        for rule in rules {
            for verb in words(rule, "verbs") {
                if ["get", "list", "watch"].contains(&verb.as_str()) {
                    continue;
                }
                all.entry(verb).or_default().extend(words(rule, "resources"));
            }
        }
        let line = |(verb, what): (String, BTreeSet<String>)| {
            format!("{verb} {}", what.into_iter().collect::<Vec<_>>().join(", "))
        };
        all.into_iter().map(line).collect::<Vec<_>>().join("; ")
    }

    #[test]
    fn the_document_says_what_each_verb_may_change() {
        let document = include_str!("../../../docs/purge.md");
        for (words, rules) in ALL {
            let row = format!("| `{words}` | {} |", changes(&rules()));
            assert!(document.contains(&row), "docs/purge.md lacks:\n{row}");
        }
    }

    fn text(rules: &[Value]) -> String {
        rules.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn a_scan_asks_for_no_right_to_change_but_its_own_pods() {
        assert_eq!(changes(&leftovers()), "create pods, pods/exec; delete pods");
        assert!(changes(&removing_leftovers()).contains("patch nodes"));
    }

    #[test]
    fn tokens_are_made_only_where_credentials_may_be_repaired() {
        for rules in [all_state(), sandboxes(), pods(), stuck_pods(), removing_leftovers(), undo()]
        {
            assert!(!text(&rules).contains("serviceaccounts/token"));
        }
        assert!(text(&node()).contains("serviceaccounts/token"));
        assert!(text(&resume()).contains("serviceaccounts/token"));
    }
}
