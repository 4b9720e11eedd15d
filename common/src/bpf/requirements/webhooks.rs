//! Webhooks that must answer before a write is done, and need for that what the change may break.
//!
//! When Services do not work, such a webhook cannot be asked, and what it guards cannot be written: not even the way back.

use std::collections::BTreeMap;

use serde_json::Value;

use super::{Findings, Grade, Requirement, Situation};
use crate::bpf::text;
use crate::snapshot::{InstallMethod, Known};

/// The way back must not need what the change may break.
pub(super) static WEBHOOKS: Requirement = Requirement {
    id: "webhooks",
    title: "no webhook that could block the way back",
    essential: true,
    judge: webhooks,
};

/// A write of the way back.
struct Write {
    group: &'static str,
    version: &'static str,
    resource: &'static str,
    /// Empty for cluster-wide objects.
    namespace: String,
}

/// Whether a webhook is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Asked {
    No,
    Perhaps,
    Yes,
}

fn writes(situation: &Situation<'_>) -> Vec<Write> {
    let install = situation.snapshot.install.known();
    let namespace = situation.endpoint_namespace().known().cloned().unwrap_or_default();
    let (group, version) = match crate::bpf::felix_group(situation.snapshot) {
        Known::Known(group) => group,
        _ => (crate::calico::names::CRD_GROUP, "v1"),
    };
    let mut all = vec![
        Write {
            group: "apps",
            version: "v1",
            resource: "daemonsets",
            namespace: "kube-system".into(),
        },
        Write { group: "", version: "v1", resource: "configmaps", namespace },
        Write { group, version, resource: "felixconfigurations", namespace: String::new() },
        Write { group: "", version: "v1", resource: "pods", namespace: "kube-system".into() },
    ];
    if install.is_some_and(|it| it.method == InstallMethod::Operator) {
        all.push(Write {
            group: "operator.tigera.io",
            version: "v1",
            resource: "installations",
            namespace: String::new(),
        });
    }
    all
}

fn webhooks(situation: &Situation<'_>, findings: &mut Findings) {
    let configurations = match &situation.webhooks {
        Known::Known(all) => all,
        Known::Absent => return,
        Known::Unknown(gap) => return findings.unknown(gap),
    };
    let writes = writes(situation);
    let mut none = true;
    for configuration in configurations {
        let hooks = configuration.get("webhooks").and_then(Value::as_array);
        for hook in hooks.into_iter().flatten().filter(|it| must_answer(it) && is_within(it)) {
            let asked = |write: &Write| (is_asked(situation, hook, write), write.resource);
            let worst = writes.iter().map(asked).max_by_key(|(asked, _)| *asked);
            let Some((asked, resource)) = worst.filter(|(asked, _)| *asked != Asked::No) else {
                continue;
            };
            none = false;
            let name = text(hook, "/name").unwrap_or("without a name");
            let of = text(configuration, "/metadata/name").unwrap_or_default();
            let service = format!(
                "{}/{}",
                text(hook, "/clientConfig/service/namespace").unwrap_or_default(),
                text(hook, "/clientConfig/service/name").unwrap_or_default()
            );
            let remedy = "exempt namespaces kube-system, calico-system and tigera-operator and Calico's kinds, or set failurePolicy: Ignore for the time of the change";
            let (grade, verb) = match asked {
                Asked::Yes => (Grade::Blocker, "must answer"),
                _ => (Grade::Warning, "may have to answer"),
            };
            let reason = format!(
                "webhook {name} of {of} (Service {service}) {verb} before {resource} can be written, also on the way back when Services fail"
            );
            findings.cluster(grade, reason, remedy);
        }
    }
    if none {
        findings.cluster(Grade::Fine, "none is asked that needs Services", "");
    }
}

/// `Fail` is what is meant when nothing is said.
fn must_answer(hook: &Value) -> bool {
    text(hook, "/failurePolicy") != Some("Ignore")
}

/// Whether the webhook is a Service of the cluster; one with a URL is reached in another way.
fn is_within(hook: &Value) -> bool {
    hook.pointer("/clientConfig/service").is_some_and(Value::is_object)
}

fn is_asked(situation: &Situation<'_>, hook: &Value, write: &Write) -> Asked {
    let rules = hook.get("rules").and_then(Value::as_array);
    if !rules.into_iter().flatten().any(|rule| matches(rule, write)) {
        return Asked::No;
    }
    let by_namespace = match (write.namespace.as_str(), hook.get("namespaceSelector")) {
        // A selector of namespaces does not keep cluster-wide objects out.
        ("", _) | (_, None) => Asked::Yes,
        (namespace, Some(selector)) => selects(selector, &labels(situation, namespace)),
    };
    let is_set = |it: &str| {
        let value = hook.get(it);
        value.is_some_and(|it| {
            !it.is_null() && *it != serde_json::json!({}) && *it != serde_json::json!([])
        })
    };
    if by_namespace == Asked::Yes && (is_set("objectSelector") || is_set("matchConditions")) {
        return Asked::Perhaps;
    }
    by_namespace
}

fn matches(rule: &Value, write: &Write) -> bool {
    let has = |field: &str, wanted: &[&str]| {
        let values = rule.get(field).and_then(Value::as_array);
        values.into_iter().flatten().filter_map(Value::as_str).any(|it| wanted.contains(&it))
    };
    let scope = text(rule, "/scope").unwrap_or("*");
    let in_scope = match scope {
        "Cluster" => write.namespace.is_empty(),
        "Namespaced" => !write.namespace.is_empty(),
        _ => true,
    };
    in_scope
        && has("operations", &["*", "CREATE", "UPDATE", "DELETE"])
        && has("apiGroups", &["*", write.group])
        && has("apiVersions", &["*", write.version])
        && has("resources", &["*", "*/*", write.resource])
}

/// Labels of a namespace, and whether these are all.
fn labels(situation: &Situation<'_>, namespace: &str) -> (BTreeMap<String, String>, bool) {
    let found = situation.snapshot.namespaces.items.iter().find(|it| it.metadata.name == namespace);
    if let Some(it) = found {
        return (it.metadata.labels.clone(), true);
    }
    // Every namespace has this one.
    let name = ("kubernetes.io/metadata.name".to_owned(), namespace.to_owned());
    (BTreeMap::from([name]), false)
}

fn selects(selector: &Value, (labels, whole): &(BTreeMap<String, String>, bool)) -> Asked {
    let unknown = |key: &str| !*whole && !labels.contains_key(key);
    let mut asked = Asked::Yes;
    let equal = selector.get("matchLabels").and_then(Value::as_object);
    for (key, value) in equal.into_iter().flatten() {
        asked = asked.min(match labels.get(key) {
            Some(it) if value == it.as_str() => Asked::Yes,
            None if unknown(key) => Asked::Perhaps,
            _ => Asked::No,
        });
    }
    let expressions = selector.get("matchExpressions").and_then(Value::as_array);
    for it in expressions.into_iter().flatten() {
        let key = text(it, "/key").unwrap_or_default();
        let values = it.get("values").and_then(Value::as_array);
        let own = labels.get(key);
        let listed = || {
            values.into_iter().flatten().any(|value| own.is_some_and(|own| value == own.as_str()))
        };
        let holds = match text(it, "/operator").unwrap_or_default() {
            _ if unknown(key) => None,
            "In" => Some(listed()),
            "NotIn" => Some(!listed()),
            "Exists" => Some(own.is_some()),
            "DoesNotExist" => Some(own.is_none()),
            _ => None,
        };
        asked = asked.min(match holds {
            Some(true) => Asked::Yes,
            Some(false) => Asked::No,
            None => Asked::Perhaps,
        });
    }
    asked
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::fixtures::{grade_of_cluster as grade, situation, snapshot};
    use super::*;

    /// A webhook that is asked about everything and must answer, and what a test makes of it.
    fn of(change: impl FnOnce(&mut Value)) -> String {
        let mut hook = json!({
            "name": "all.example.org",
            "clientConfig": {"service": {"namespace": "guard", "name": "guard"}},
            "rules": [{"operations": ["*"], "apiGroups": ["*"], "apiVersions": ["*"], "resources": ["*/*"]}],
        });
        change(&mut hook);
        let snapshot = snapshot();
        let mut it = situation(&snapshot);
        it.webhooks =
            Known::Known(vec![json!({"metadata": {"name": "guard"}, "webhooks": [hook]})]);
        grade(&it, "webhooks")
    }

    fn only(hook: &mut Value, group: &str, resource: &str) {
        hook["rules"][0]["apiGroups"] = json!([group]);
        hook["rules"][0]["resources"] = json!([resource]);
    }

    #[test]
    fn one_that_must_answer_about_the_way_back_blocks() {
        assert_eq!(of(|_| ()), "blocker");
        assert_eq!(of(|it| it["failurePolicy"] = json!("Fail")), "blocker");
        assert_eq!(of(|it| only(it, "apps", "daemonsets")), "blocker");
        assert_eq!(of(|it| only(it, "crd.projectcalico.org", "*")), "blocker");
    }

    #[test]
    fn one_that_need_not_answer_or_is_elsewhere_does_not() {
        assert_eq!(of(|it| it["failurePolicy"] = json!("Ignore")), "fine");
        assert_eq!(
            of(|it| it["clientConfig"] = json!({"url": "https://guard.example.org"})),
            "fine"
        );
        assert_eq!(of(|it| only(it, "", "secrets")), "fine");
        assert_eq!(of(|it| only(it, "batch", "*")), "fine");
        assert_eq!(of(|it| only(it, "apps", "daemonsets/status")), "fine");
        assert_eq!(of(|it| it["rules"][0]["operations"] = json!(["CONNECT"])), "fine");
    }

    #[test]
    fn selectors_of_namespaces_are_judged() {
        let selected = |selector: Value| {
            of(|it| {
                only(it, "apps", "daemonsets");
                it["namespaceSelector"] = selector;
            })
        };
        let expression = |key: &str, operator: &str, values: Value| json!({"matchExpressions": [{"key": key, "operator": operator, "values": values}]});
        let name = "kubernetes.io/metadata.name";
        assert_eq!(selected(expression(name, "NotIn", json!(["kube-system"]))), "fine");
        assert_eq!(selected(expression(name, "In", json!(["shop"]))), "fine");
        assert_eq!(selected(expression(name, "NotIn", json!(["shop"]))), "blocker");
        assert_eq!(selected(expression("guarded", "Exists", json!([]))), "warning");
        assert_eq!(selected(json!({"matchLabels": {"guarded": "yes"}})), "warning");
        assert_eq!(selected(json!({})), "blocker");
        // It keeps out no cluster-wide object.
        let all = of(|it| it["namespaceSelector"] = expression(name, "In", json!(["shop"])));
        assert_eq!(all, "blocker");
    }

    #[test]
    fn conditions_cannot_be_judged() {
        assert_eq!(of(|it| it["objectSelector"] = json!({"matchLabels": {"a": "b"}})), "warning");
        assert_eq!(of(|it| it["matchConditions"] = json!([{"name": "x"}])), "warning");
        assert_eq!(of(|it| it["objectSelector"] = json!({})), "blocker");
    }
}
