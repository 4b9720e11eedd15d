//! What Felix was told: by its environment, by FelixConfigurations, and by whom.

use serde_json::Value;

use super::{Findings, Grade, Requirement, Situation};
use crate::bpf::text;
use crate::snapshot::{Gap, GapReason, InstallMethod, Known};

/// The environment wins over all that is stored.
pub(super) static VARIABLE: Requirement = Requirement {
    id: "felix-variable",
    title: "no FELIX_BPFENABLED in calico-node's environment",
    essential: true,
    judge: variable,
};

/// The operator refuses to go on when somebody else wrote its field.
pub(super) static ANNOTATION: Requirement = Requirement {
    id: "operator-annotation",
    title: "bpfEnabled as the operator wrote it",
    essential: true,
    judge: annotation,
};

/// Nodes that are told otherwise.
pub(super) static OVERRIDES: Requirement = Requirement {
    id: "overrides",
    title: "no FelixConfiguration that tells some nodes otherwise",
    essential: false,
    judge: overrides,
};

/// Felix panics without some bits.
pub(super) static MARK_MASK: Requirement = Requirement {
    id: "mark-mask",
    title: "packet marks that leave room for those of eBPF",
    essential: false,
    judge: mark_mask,
};

/// They are not supported.
pub(super) static FLOATING_ADDRESSES: Requirement = Requirement {
    id: "floating-ips",
    title: "no floating IPs",
    essential: false,
    judge: floating_addresses,
};

/// Annotation in which the operator keeps what it wrote.
pub(super) const OPERATOR_ANNOTATION: &str = "operator.tigera.io/bpfEnabled";

/// A variable of calico-node's container as its DaemonSet says it; absent when it is not set.
pub(super) fn environment(situation: &Situation<'_>, name: &str) -> Known<String> {
    situation.calico_node.as_ref().and_then(|set| {
        let containers = set.pointer("/spec/template/spec/containers").and_then(Value::as_array);
        let mut variables = containers
            .into_iter()
            .flatten()
            .filter(|it| text(it, "/name") == Some("calico-node"))
            .filter_map(|it| it.get("env")?.as_array())
            .flatten();
        let found = variables.rfind(|it| text(it, "/name") == Some(name));
        match found {
            None => Known::Absent,
            Some(it) if it.get("valueFrom").is_some() => Known::Unknown(Gap::new(
                "cluster/daemonsets.apps.json",
                GapReason::NotAsked,
                format!("{name} of calico-node comes from elsewhere"),
            )),
            Some(it) => Known::Known(text(it, "/value").unwrap_or_default().to_owned()),
        }
    })
}

/// What FelixConfigurations say in field `field` for a node (or for the cluster, of the one called `default`).
pub(super) fn stored<'s>(
    situation: &'s Situation<'_>,
    node: Option<&str>,
    field: &str,
) -> Known<&'s Value> {
    let of = |name: &str| {
        situation.felix_named(name).and_then(|it| {
            let value = it.pointer(&format!("/spec/{field}")).filter(|it| !it.is_null());
            Known::from_option(value)
        })
    };
    match node.map(|name| of(&format!("node.{name}"))) {
        Some(own @ (Known::Known(_) | Known::Unknown(_))) => own,
        _ => of("default"),
    }
}

fn variable(situation: &Situation<'_>, findings: &mut Findings) {
    match environment(situation, "FELIX_BPFENABLED") {
        Known::Absent if situation.calico_node == Known::Absent => {}
        Known::Absent => findings.cluster(Grade::Fine, "it is not set", ""),
        Known::Known(value) if value.is_empty() => findings.cluster(Grade::Fine, "it is empty", ""),
        Known::Known(value) => findings.cluster(
            Grade::Blocker,
            format!("DaemonSet calico-node sets FELIX_BPFENABLED={value}, which no FelixConfiguration can change"),
            "set the same value as bpfEnabled in FelixConfiguration default, then take the variable out of the DaemonSet",
        ),
        Known::Unknown(gap) => findings.unknown(&gap),
    }
}

fn annotation(situation: &Situation<'_>, findings: &mut Findings) {
    match situation.snapshot.install.as_ref().map(|it| it.method) {
        Known::Known(InstallMethod::Operator) => {}
        Known::Known(InstallMethod::Manifest) => {
            return findings.cluster(Grade::Fine, "there is no operator", "");
        }
        Known::Absent => return,
        Known::Unknown(gap) => return findings.unknown(&gap),
    }
    let default = match situation.felix_named("default") {
        Known::Known(it) => it,
        Known::Absent => return findings.cluster(Grade::Fine, "nothing is set yet", ""),
        Known::Unknown(gap) => return findings.unknown(&gap),
    };
    let written = default
        .pointer("/metadata/annotations")
        .and_then(|it| it.get(OPERATOR_ANNOTATION)?.as_str())
        .map(str::to_ascii_lowercase);
    let set = default.pointer("/spec/bpfEnabled").and_then(Value::as_bool);
    if written == set.map(|it| it.to_string()) {
        return findings.cluster(Grade::Fine, "the field is as the operator wrote it", "");
    }
    let shown = |it: Option<String>| it.unwrap_or_else(|| "nothing".to_owned());
    let reason = format!(
        "FelixConfiguration default has bpfEnabled: {}, and the operator wrote {}: it refuses to go on until they agree",
        shown(set.map(|it| it.to_string())),
        shown(written),
    );
    let remedy = match set {
        Some(set) => format!(
            "kubectl annotate felixconfiguration default {OPERATOR_ANNOTATION}={set} --overwrite, if the field is right"
        ),
        None => format!("kubectl annotate felixconfiguration default {OPERATOR_ANNOTATION}-"),
    };
    findings.cluster(Grade::Blocker, reason, &remedy);
}

fn overrides(situation: &Situation<'_>, findings: &mut Findings) {
    let all = match &situation.felix {
        Known::Known(all) => all,
        Known::Absent => return,
        Known::Unknown(gap) => return findings.unknown(gap),
    };
    let mut none = true;
    for it in all {
        let name = text(it, "/metadata/name").unwrap_or_default();
        let fields = it.get("spec").and_then(Value::as_object).into_iter().flatten();
        let own: Vec<&str> =
            fields.map(|(key, _)| key.as_str()).filter(|it| it.starts_with("bpf")).collect();
        if name == "default" || own.is_empty() {
            continue;
        }
        none = false;
        let reason = format!("FelixConfiguration {name} sets {}", own.join(", "));
        let remedy =
            "check that these nodes are to differ; their own value wins over the cluster's";
        findings.cluster(Grade::Warning, reason, remedy);
    }
    if none {
        findings.cluster(Grade::Fine, "no node is told otherwise", "");
    }
}

/// Bits of packet marks that Calico's programs use whatever the mask says.
const BITS: u64 = 0x1ff0_0000;

fn mark_mask(situation: &Situation<'_>, findings: &mut Findings) {
    let mut bad = false;
    for (field, name) in [
        ("iptablesMarkMask", "FELIX_IPTABLESMARKMASK"),
        ("nftablesMarkMask", "FELIX_NFTABLESMARKMASK"),
    ] {
        let mask = match environment(situation, name) {
            Known::Known(value) => number(&value),
            Known::Unknown(gap) => {
                findings.unknown(&gap);
                return;
            }
            Known::Absent => match stored(situation, None, field) {
                Known::Known(value) => value.as_u64().or_else(|| value.as_str().and_then(number)),
                Known::Absent => continue,
                Known::Unknown(gap) => {
                    findings.unknown(&gap);
                    return;
                }
            },
        };
        if let Some(mask) = mask.filter(|mask| mask & BITS != BITS) {
            bad = true;
            findings.cluster(
                Grade::Blocker,
                format!("{field} is {mask:#x}: it lacks bits of {BITS:#x}, without which Felix panics on eBPF"),
                "take the field out (its default is 0xffff0000), or add these bits to it",
            );
        }
    }
    if !bad && situation.calico_node.known().is_some() {
        findings.cluster(Grade::Fine, "the marks leave room", "");
    }
}

fn number(text: &str) -> Option<u64> {
    match text.trim().to_ascii_lowercase().strip_prefix("0x") {
        Some(digits) => u64::from_str_radix(digits, 16).ok(),
        None => text.trim().parse().ok(),
    }
}

fn floating_addresses(situation: &Situation<'_>, findings: &mut Findings) {
    match stored(situation, None, "floatingIPs") {
        Known::Known(value) if value == "Enabled" => findings.cluster(
            Grade::Blocker,
            "FelixConfiguration default has floatingIPs: Enabled, which eBPF does not have",
            "give the pods that have floating IPs another way in, then take the field out",
        ),
        Known::Unknown(gap) => findings.unknown(&gap),
        Known::Absent if situation.felix == Known::Absent => {}
        _ => findings.cluster(Grade::Fine, "they are not in use", ""),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::fixtures::{grade_of_cluster as grade, situation, snapshot};
    use super::*;

    fn felix(name: &str, annotations: &Value, spec: &Value) -> Value {
        json!({"metadata": {"name": name, "annotations": annotations}, "spec": spec})
    }

    #[test]
    fn a_variable_that_is_set_blocks() {
        let snapshot = snapshot();
        let mut it = situation(&snapshot);
        let mut of = |container: &str, variable: &Value| {
            it.calico_node = Known::Known(json!({"spec": {"template": {"spec": {"containers": [
                {"name": container, "env": [variable]}]}}}}));
            grade(&it, "felix-variable")
        };
        let on = json!({"name": "FELIX_BPFENABLED", "value": "true"});
        assert_eq!(of("calico-node", &on), "blocker");
        assert_eq!(of("flexvol", &on), "fine");
        assert_eq!(
            of("calico-node", &json!({"name": "FELIX_BPFLOGLEVEL", "value": "off"})),
            "fine"
        );
        let from = json!({"name": "FELIX_BPFENABLED", "valueFrom": {"configMapKeyRef": {}}});
        assert_eq!(of("calico-node", &from), "unknown");
    }

    #[test]
    fn what_somebody_else_wrote_blocks_the_operator_only() {
        let mut snapshot = snapshot();
        let mut of = |method, annotations: Value, spec: Value| {
            if let Known::Known(install) = &mut snapshot.install {
                install.method = method;
            }
            let mut it = situation(&snapshot);
            it.felix = Known::Known(vec![felix("default", &annotations, &spec)]);
            grade(&it, "operator-annotation")
        };
        let operator = InstallMethod::Operator;
        let on = json!({"bpfEnabled": true});
        assert_eq!(of(operator, json!({}), on.clone()), "blocker");
        assert_eq!(of(operator, json!({OPERATOR_ANNOTATION: "false"}), on.clone()), "blocker");
        assert_eq!(of(operator, json!({OPERATOR_ANNOTATION: "true"}), json!({})), "blocker");
        assert_eq!(of(operator, json!({OPERATOR_ANNOTATION: "true"}), on.clone()), "fine");
        assert_eq!(of(operator, json!({}), json!({})), "fine");
        assert_eq!(of(InstallMethod::Manifest, json!({}), on), "fine");
    }

    #[test]
    fn overrides_are_those_of_some_nodes() {
        let snapshot = snapshot();
        let mut it = situation(&snapshot);
        let mut of = |name: &str, spec: Value| {
            it.felix = Known::Known(vec![felix(name, &json!({}), &spec)]);
            grade(&it, "overrides")
        };
        assert_eq!(of("node.node1", json!({"bpfEnabled": false})), "warning");
        assert_eq!(
            of("workers", json!({"nodeSelector": "all()", "bpfLogLevel": "Debug"})),
            "warning"
        );
        assert_eq!(of("node.node1", json!({"mtuIfacePattern": "x"})), "fine");
        assert_eq!(of("default", json!({"bpfEnabled": false})), "fine");
    }

    #[test]
    fn a_mask_without_the_bits_blocks() {
        let snapshot = snapshot();
        let mut it = situation(&snapshot);
        let mut of = |spec: Value| {
            it.felix = Known::Known(vec![felix("default", &json!({}), &spec)]);
            grade(&it, "mark-mask")
        };
        assert_eq!(of(json!({"iptablesMarkMask": 0x0fff_0000_u64})), "blocker");
        assert_eq!(of(json!({"nftablesMarkMask": 0xff00_0000_u64})), "blocker");
        assert_eq!(of(json!({"iptablesMarkMask": 0xffff_0000_u64})), "fine");
        assert_eq!(of(json!({"iptablesMarkMask": 0x1ff0_0000_u64})), "fine");
        assert_eq!(of(json!({})), "fine");
    }

    #[test]
    fn floating_addresses_that_are_on_block() {
        let snapshot = snapshot();
        let mut it = situation(&snapshot);
        let mut of = |spec: Value| {
            it.felix = Known::Known(vec![felix("default", &json!({}), &spec)]);
            grade(&it, "floating-ips")
        };
        assert_eq!(of(json!({"floatingIPs": "Enabled"})), "blocker");
        assert_eq!(of(json!({"floatingIPs": "Disabled"})), "fine");
        assert_eq!(of(json!({})), "fine");
    }
}
