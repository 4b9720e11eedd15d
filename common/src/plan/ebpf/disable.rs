//! The way back where no journal of the way there is known: from what is seen, to what Calico does unless it is told otherwise.
//! Where there is one, the run is taken back instead, and everything is what it was before.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::Translator;
use super::enable::plan;
use super::ground::{Ground, KUBE_PROXY_OFF, Object};
use super::steps::{Changes, ENABLED, FIXED};
use crate::calico::names::{MANAGED_BY, OURS};
use crate::plan::{Action, Condition, DataPlane, Plan, Step, Undo, Verification, pointer};

/// Key of the node selector by which Calico's documentation stops kube-proxy.
const DOCUMENTED_KEY: &str = "non-calico";

/// kube-proxy back, then eBPF off, then what was set on the way.
pub fn plan_disable(ground: &Ground<'_>) -> Plan {
    let mut steps = back_to_kube_proxy(ground);
    let by = match ground.objects.kube_proxy {
        Some(_) => Translator::KubeProxy,
        None => Translator::Any,
    };
    if ground.is_on() {
        steps.push(ground.bpf_off());
        steps.push(ground.prove("proof-off", "prove that Services answer without eBPF", by));
    }
    steps.extend(ground.flags_off());
    let mut left_out = Vec::new();
    if let Some(map) = &ground.objects.endpoint_map {
        if map.at("/metadata/labels").is_some_and(|it| it[MANAGED_BY] == OURS) {
            steps.push(ground.endpoint_off(map));
        } else {
            left_out.push(format!(
                "ConfigMap {}/{} stays: it does no harm, and somebody else made it",
                map.name.namespace, map.name.name
            ));
        }
    }
    plan(ground, steps, left_out)
}

/// kube-proxy serves beside eBPF again.
pub fn plan_kube_proxy_on(ground: &Ground<'_>) -> Plan {
    plan(ground, back_to_kube_proxy(ground), Vec::new())
}

fn back_to_kube_proxy(ground: &Ground<'_>) -> Vec<Step> {
    let Some(kube_proxy) = ground.objects.kube_proxy.as_ref().filter(|_| ground.done.kube_proxy)
    else {
        return Vec::new();
    };
    let mut steps = Vec::new();
    if ground.is_on() && !ground.done.coexistence {
        steps.push(ground.coexist());
        steps.push(ground.settle());
    }
    steps.push(ground.kube_proxy_on(kube_proxy));
    let title = "prove that kube-proxy serves a new Service";
    steps.push(ground.prove("proof-kube-proxy", title, Translator::KubeProxy));
    steps
}

impl Ground<'_> {
    /// Whether eBPF is on somewhere, or meant to be.
    fn is_on(&self) -> bool {
        self.done.bpf || self.is_meant()
    }

    fn is_meant(&self) -> bool {
        let dataplane = self.objects.installation.as_ref();
        let dataplane = dataplane.and_then(|it| it.text("/spec/calicoNetwork/linuxDataplane"));
        dataplane == Some("BPF")
            || self.objects.felix.at(&pointer(&["spec", ENABLED])) == Some(&json!(true))
    }

    fn kube_proxy_on(&self, kube_proxy: &Object) -> Step {
        let mut changes = Changes::of(kube_proxy);
        for key in [KUBE_PROXY_OFF, DOCUMENTED_KEY] {
            changes.set(&pointer(&["spec", "template", "spec", "nodeSelector", key]), None);
        }
        let (action, back) = changes.actions();
        let gone = Condition::NoPods { workload: kube_proxy.name.clone() };
        let verify_back = vec![Verification { condition: gone, within_seconds: FIXED }];
        let undo = Undo::By { action: Box::new(back), verify: verify_back };
        let verify = vec![self.rolled_out(&kube_proxy.name, BTreeMap::new())];
        Step { verify, ..self.step("kube-proxy-on", "start kube-proxy", action, undo) }
    }

    fn bpf_off(&self) -> Step {
        let (action, back) = match self.objects.installation.as_ref() {
            Some(installation) if self.objects.is_operator() => {
                let mut changes = Changes::of(installation);
                changes.set("/spec/calicoNetwork/linuxDataplane", Some(json!("Iptables")));
                // The operator refuses one without the other, and then does nothing at all.
                let bootstrap = "/spec/calicoNetwork/bpfNetworkBootstrap";
                if installation.text(bootstrap) == Some("Enabled") {
                    changes.set(bootstrap, Some(json!("Disabled")));
                }
                changes.actions()
            }
            _ => {
                let mut changes = Changes::of(&self.objects.felix);
                changes.set(&pointer(&["spec", ENABLED]), Some(json!(false)));
                changes.actions()
            }
        };
        let verify = vec![self.on(DataPlane::Tables, self.one_by_one())];
        let verify_back = vec![self.on(DataPlane::Bpf, self.one_by_one())];
        let undo = Undo::By { action: Box::new(back), verify: verify_back };
        Step { verify, ..self.step("bpf-off", "switch eBPF off", action, undo) }
    }

    /// What was set for coexistence, by an earlier run or by this one on its way, back to Felix's defaults; none when nothing is.
    fn flags_off(&self) -> Option<Step> {
        let felix = &self.objects.felix;
        let now = |field: &str| felix.at(&pointer(&["spec", field])).cloned();
        let sets = self.done.kube_proxy && self.is_on() && !self.done.coexistence;
        let coexists = !self.done.kube_proxy || self.is_on();
        let by_then = |field: &'static str, set: Value| {
            let is = if sets { Some(set) } else { now(field) };
            is.map(|is| (field, is))
        };
        let set: Vec<(&str, Value)> =
            self.coexistence().into_iter().filter_map(|(field, set)| by_then(field, set)).collect();
        if set.is_empty() || !coexists {
            return None;
        }
        let mut changes = Changes::of(felix);
        for (field, is) in set {
            changes.change(&pointer(&["spec", field]), Some(is), None);
        }
        let (action, back) = changes.actions();
        let off = self.on(DataPlane::Tables, FIXED);
        let with =
            |change: &Action| Self::patched(change).into_iter().chain([off.clone()]).collect();
        let verify = with(&action);
        let verify_back = with(&back);
        let undo = Undo::By { action: Box::new(back), verify: verify_back };
        let title = "remove what was set for eBPF";
        Some(Step { verify, ..self.step("flags-off", title, action, undo) })
    }

    /// Calico reaches the API server by its Service again.
    fn endpoint_off(&self, map: &Object) -> Step {
        let manifest = json!({
            "metadata": { "labels": { MANAGED_BY: OURS } },
            "data": map.at("/data").cloned().unwrap_or(Value::Null),
        });
        let mut actions = vec![Action::DeleteCreated { object: map.name.clone(), manifest }];
        let mut verify = Vec::new();
        if let Some(operator) =
            self.objects.operator.as_ref().filter(|_| self.objects.is_operator())
        {
            actions.push(Action::RestartPods { workload: operator.name.clone() });
            verify.push(self.rolled_out(&operator.name, BTreeMap::new()));
        } else {
            for workload in [&self.objects.agent].into_iter().chain(&self.objects.companions) {
                actions.push(self.restart(workload).0);
            }
        }
        verify.push(self.rolled_out(&self.objects.agent.name, self.by_service()));
        let undo = Undo::Impossible { why: "enable makes it anew".to_owned() };
        let title = "have Calico reach the API server by its Service";
        let action = Action::Sequence { actions };
        Step { verify, ..self.step("endpoint-off", title, action, undo) }
    }

    /// What the operator writes into calico-node's environment when nobody tells it where the API server is: its own, which is
    /// that of Service default/kubernetes. A manifest install writes nothing.
    fn by_service(&self) -> BTreeMap<String, String> {
        let is_service = |it: &&super::ProofTarget| it.service.starts_with("default/kubernetes:");
        let service = self.proof.targets.iter().find(is_service);
        let service = service.filter(|_| self.objects.is_operator());
        let host =
            |it: &super::ProofTarget| ("KUBERNETES_SERVICE_HOST".to_owned(), it.address.clone());
        service.map(host).into_iter().collect()
    }
}
