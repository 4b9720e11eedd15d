//! The steps of the way, each with its way back.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::ground::{Ground, KUBE_PROXY_OFF, Object, Wish};
use super::{ServiceProof, Translator};
use crate::calico::names::{MANAGED_BY, OURS};
use crate::plan::{
    Action, Applicability, Condition, DataPlane, Guard, JsonPatch, ObjectRef, Step, StepId, Undo,
    Verification, pointer,
};

/// Annotation of a pod template by which `kubectl rollout restart` makes all pods anew.
const RESTARTED_AT: &str = "kubectl.kubernetes.io/restartedAt";
/// Label that names the run which made an object.
const RUN_LABEL: &str = "kubectl-calico/run";
/// Fields of FelixConfiguration.
const CLEANUP: &str = "bpfKubeProxyIptablesCleanupEnabled";
pub(super) const ENABLED: &str = "bpfEnabled";
const HEALTHZ_PORT: &str = "bpfKubeProxyHealthzPort";
/// A port that nobody else uses. Releases before v3.32 reject 0, which would mean that there is no such server.
const OTHER_HEALTHZ_PORT: u64 = 10258;
/// Seconds for an object that was changed to be seen so.
const AT_ONCE: u64 = 15;
/// Seconds that Felix may take on every node to act by a changed flag: it gets it within a second, waits 2 s and starts anew.
const SETTLE: u64 = 15;
/// Seconds for everything that does not grow with the cluster.
pub(super) const FIXED: u64 = 120;

impl Ground<'_> {
    /// Seconds for something that happens on one node after another.
    pub(super) fn one_by_one(&self) -> u64 {
        let nodes = u64::try_from(self.nodes).unwrap_or(u64::MAX);
        FIXED.saturating_add(self.per_node_seconds.saturating_mul(nodes))
    }

    pub(super) fn step(&self, id: &str, title: &str, action: Action, undo: Undo) -> Step {
        Step {
            id: StepId(id.to_owned()),
            title: title.to_owned(),
            node: None,
            action,
            guards: vec![Guard::SameCluster { uid: self.target.cluster_uid.clone() }],
            undo,
            verify: Vec::new(),
            after: Vec::new(),
            resolves: Vec::new(),
            applicability: Applicability::Ask,
        }
    }

    fn agent(&self) -> &Object {
        &self.objects.agent
    }

    pub(super) fn on(&self, is: DataPlane, within_seconds: u64) -> Verification {
        let agent = self.agent().name.clone();
        let operator = self.objects.status();
        Verification { condition: Condition::OnDataPlane { agent, is, operator }, within_seconds }
    }

    /// That the object is as this change makes it; none for what is no change of one object.
    pub(super) fn patched(action: &Action) -> Option<Verification> {
        let Action::Patch { object, uid, patch, .. } = action else { return None };
        let (object, uid, patch) = (object.clone(), uid.clone(), patch.clone());
        let condition = Condition::Patched { object, uid, patch };
        Some(Verification { condition, within_seconds: AT_ONCE })
    }

    /// That the rules of a kube-proxy that runs are where they were; none where there are none, or where Felix may have removed
    /// them before. Not demanded once eBPF is on: whoever took it back for want of them would leave nobody to serve Services.
    fn kept(&self) -> Option<Verification> {
        let nodes = &self.objects.rules.shown;
        if nodes.is_empty() || self.done.kube_proxy || self.done.bpf {
            return None;
        }
        let (agent, nodes) = (self.agent().name.clone(), nodes.clone());
        let condition = Condition::KubeProxyRulesKept { agent, nodes };
        Some(Verification { condition, within_seconds: FIXED })
    }

    /// That Felix removed the rules of a kube-proxy that is off; none where it removes them on no node.
    fn gone(&self) -> Option<Verification> {
        let except = self.objects.rules.left.clone();
        if except.len() >= self.nodes {
            return None;
        }
        let condition = Condition::KubeProxyRulesGone { agent: self.agent().name.clone(), except };
        Some(Verification { condition, within_seconds: FIXED })
    }

    pub(super) fn rolled_out(
        &self,
        workload: &ObjectRef,
        variables: BTreeMap<String, String>,
    ) -> Verification {
        let condition = Condition::RolledOut { workload: workload.clone(), variables };
        Verification { condition, within_seconds: self.one_by_one() }
    }

    fn proof(&self, name: &str, by: Translator) -> ServiceProof {
        ServiceProof { name: name.to_owned(), by, ..self.proof.clone() }
    }

    /// That everything a proof made is gone.
    fn cleared(&self) -> Verification {
        let namespace = self.proof.agent.namespace.clone();
        let condition = Condition::ProofCleared { namespace, run: self.run.0.clone() };
        Verification { condition, within_seconds: 60 }
    }

    /// Proves Services, and nothing else.
    pub(super) fn prove(&self, id: &str, title: &str, by: Translator) -> Step {
        let undo = Undo::NotNeeded { why: "it changes nothing that stays".to_owned() };
        let action = Action::ProveServices { proof: self.proof(id, by) };
        let applicability = Applicability::Safe;
        Step { verify: vec![self.cleared()], applicability, ..self.step(id, title, action, undo) }
    }

    /// The first step: proves Services as things are. Its way back is the last of all, and proves them once more.
    pub(super) fn prove_before(&self, back_by: Translator) -> Step {
        let title = "prove that Services answer as things are";
        let again = Action::ProveServices { proof: self.proof("proof-back", back_by) };
        let undo = Undo::By { action: Box::new(again), verify: vec![self.cleared()] };
        Step { undo, ..self.prove("proof-before", title, Translator::Any) }
    }

    /// calico-node is told where the API server is: behind kube-proxy's address nobody answers once it is gone.
    pub(super) fn endpoint(&self, wish: &Wish) -> Step {
        let (told, untold) = self.endpoint_map(wish);
        let (mut actions, mut back) = (vec![told], vec![untold]);
        let mut verify = Vec::new();
        let mut verify_back = Vec::new();
        if self.objects.is_operator() {
            let host = wish.endpoint.host.clone();
            let variables = BTreeMap::from([
                ("KUBERNETES_SERVICE_HOST".to_owned(), host),
                ("KUBERNETES_SERVICE_PORT".to_owned(), wish.endpoint.port.to_string()),
            ]);
            verify.push(self.rolled_out(&self.agent().name, variables));
            // It remembers what the ConfigMap said until it is started anew.
            if let Some(operator) = &self.objects.operator {
                back.push(Action::RestartPods { workload: operator.name.clone() });
                verify_back.push(self.rolled_out(&operator.name, BTreeMap::new()));
            }
            verify_back.push(self.rolled_out(&self.agent().name, self.variables_now()));
        } else {
            for workload in [self.agent()].into_iter().chain(&self.objects.companions) {
                let (restart, undone) = self.restart(workload);
                actions.push(restart);
                back.push(undone);
                verify.push(self.rolled_out(&workload.name, BTreeMap::new()));
                verify_back.push(self.rolled_out(&workload.name, BTreeMap::new()));
            }
        }
        let condition = Condition::EndpointInUse {
            agent: self.agent().name.clone(),
            host: wish.endpoint.host.clone(),
            port: wish.endpoint.port,
        };
        verify.push(Verification { condition, within_seconds: FIXED });
        let title = format!("have Calico reach the API server at {}", wish.endpoint);
        let undo =
            Undo::By { action: Box::new(Action::Sequence { actions: back }), verify: verify_back };
        let action = Action::Sequence { actions };
        Step { verify, ..self.step("endpoint", &title, action, undo) }
    }

    /// The variables that DaemonSet calico-node has now; an empty value stands for none.
    fn variables_now(&self) -> BTreeMap<String, String> {
        let mut all = BTreeMap::new();
        let containers = self.agent().at("/spec/template/spec/containers");
        let env = containers.and_then(Value::as_array).into_iter().flatten();
        let env: Vec<&Value> =
            env.flat_map(|it| it["env"].as_array().into_iter().flatten()).collect();
        for name in ["KUBERNETES_SERVICE_HOST", "KUBERNETES_SERVICE_PORT"] {
            let is = env.iter().find(|it| it["name"] == name);
            let value = is.and_then(|it| it["value"].as_str()).unwrap_or_default();
            all.insert(name.to_owned(), value.to_owned());
        }
        all
    }

    fn endpoint_map(&self, wish: &Wish) -> (Action, Action) {
        let data = json!({
            "KUBERNETES_SERVICE_HOST": wish.endpoint.host,
            "KUBERNETES_SERVICE_PORT": wish.endpoint.port.to_string(),
        });
        let object = self.objects.endpoint_map_name();
        if let Some(found) = &self.objects.endpoint_map {
            let mut changes = Changes::of(found);
            for (key, value) in data.as_object().into_iter().flatten() {
                changes.set(&pointer(&["data", key]), Some(value.clone()));
            }
            return changes.actions();
        }
        let manifest = json!({
            "apiVersion": "v1", "kind": "ConfigMap",
            "metadata": {
                "name": object.name, "namespace": object.namespace,
                "labels": { MANAGED_BY: OURS, RUN_LABEL: self.run.0 },
            },
            "data": data,
        });
        let back = Action::DeleteCreated { object: object.clone(), manifest: manifest.clone() };
        (Action::Create { object, manifest }, back)
    }

    pub(super) fn restart(&self, workload: &Object) -> (Action, Action) {
        let mut changes = Changes::of(workload);
        let path = pointer(&["spec", "template", "metadata", "annotations", RESTARTED_AT]);
        changes.set(&path, Some(json!(format!("{:.0}", self.taken))));
        changes.actions()
    }

    /// What keeps Felix and kube-proxy out of each other's way while both run.
    pub(super) fn coexistence(&self) -> Vec<(&'static str, Value)> {
        let mut fields = vec![(CLEANUP, json!(false))];
        if self.objects.has_felix_field(HEALTHZ_PORT) {
            fields.push((HEALTHZ_PORT, json!(OTHER_HEALTHZ_PORT)));
        }
        fields
    }

    /// FelixConfiguration with these fields, and as it is now.
    fn felix(&self, fields: &[(&str, Value)]) -> (Action, Action) {
        let mut changes = Changes::of(&self.objects.felix);
        for (field, value) in fields {
            changes.set(&pointer(&["spec", field]), Some(value.clone()));
        }
        changes.actions()
    }

    /// Of an operator install: the flags alone. The operator owns the switch itself.
    pub(super) fn coexist(&self) -> Step {
        let (action, back) = self.felix(&self.coexistence());
        let is = if self.done.bpf { DataPlane::Bpf } else { DataPlane::Tables };
        let with = |change: &Action| Self::patched(change).into_iter().chain([self.on(is, FIXED)]);
        let verify = with(&action).chain(self.kept()).collect();
        let verify_back = with(&back).collect();
        let undo = Undo::By { action: Box::new(back), verify: verify_back };
        let title = "have Felix leave kube-proxy's rules alone";
        Step { verify, ..self.step("coexist", title, action, undo) }
    }

    /// Time for Felix to act by the flags on every node, before kube-proxy comes back.
    pub(super) fn settle(&self) -> Step {
        let on = self.on(DataPlane::Bpf, FIXED);
        let action = Action::Hold { condition: on.condition.clone(), seconds: SETTLE };
        let undo = Undo::NotNeeded { why: "it changes nothing".to_owned() };
        let applicability = Applicability::Safe;
        let title = "give every Felix the time to take it over";
        Step { verify: vec![on], applicability, ..self.step("settle", title, action, undo) }
    }

    /// BPF on. Of a manifest install one change does all: each one restarts Felix everywhere.
    pub(super) fn bpf_on(&self) -> Step {
        let (action, back) = match &self.objects.installation {
            Some(installation) if self.objects.is_operator() => {
                let mut changes = Changes::of(installation);
                changes.set("/spec/calicoNetwork/linuxDataplane", Some(json!("BPF")));
                // Releases up to v3.27 reject it together with BPF; later ones take it, and none needs it to be there.
                changes.actions()
            }
            _ => {
                let mut fields = vec![(ENABLED, json!(true))];
                fields.extend(self.coexistence());
                self.felix(&fields)
            }
        };
        let mut verify = vec![self.on(DataPlane::Bpf, self.one_by_one())];
        let mut verify_back = vec![self.on(DataPlane::Tables, self.one_by_one())];
        if self.objects.is_operator() {
            let agent = &self.agent().name;
            verify.push(self.rolled_out(agent, BTreeMap::new()));
            verify_back.push(self.rolled_out(agent, BTreeMap::new()));
        }
        let undo = Undo::By { action: Box::new(back), verify: verify_back };
        Step { verify, ..self.step("bpf-on", "switch eBPF on", action, undo) }
    }

    /// kube-proxy off, by a node selector that no node fulfils. Its way back is proven before anything else is taken back.
    pub(super) fn kube_proxy_off(&self, kube_proxy: &Object) -> Step {
        let mut changes = Changes::of(kube_proxy);
        let path = pointer(&["spec", "template", "spec", "nodeSelector", KUBE_PROXY_OFF]);
        changes.set(&path, Some(json!("true")));
        let (action, back) = changes.actions();
        let proof = self.proof("proof-kube-proxy", Translator::KubeProxy);
        let back = Action::Sequence { actions: vec![back, Action::ProveServices { proof }] };
        let verify_back = vec![self.rolled_out(&kube_proxy.name, BTreeMap::new()), self.cleared()];
        let undo = Undo::By { action: Box::new(back), verify: verify_back };
        let gone = Condition::NoPods { workload: kube_proxy.name.clone() };
        let verify = vec![
            Verification { condition: gone, within_seconds: FIXED },
            self.on(DataPlane::Bpf, AT_ONCE.max(FIXED)),
        ];
        Step { verify, ..self.step("kube-proxy-off", "stop kube-proxy", action, undo) }
    }

    /// That kube-proxy stays away: whatever manages the cluster may put it back.
    pub(super) fn watch(&self, kube_proxy: &Object, seconds: u64) -> Step {
        let condition = Condition::NoPods { workload: kube_proxy.name.clone() };
        let verify = vec![Verification { condition: condition.clone(), within_seconds: AT_ONCE }];
        let undo = Undo::NotNeeded { why: "it changes nothing".to_owned() };
        let title = "see that nobody puts kube-proxy back";
        let action = Action::Hold { condition, seconds };
        let applicability = Applicability::Safe;
        Step { verify, applicability, ..self.step("watch", title, action, undo) }
    }

    /// The flags of coexistence back to what they were before, and where they were so before, back to Felix's defaults.
    pub(super) fn cleanup_on(&self) -> Step {
        let felix = &self.objects.felix;
        let now = |field: &str| felix.at(&pointer(&["spec", field])).cloned();
        // As the object will be by then.
        let mut changes = Changes::of(felix);
        for (field, set) in self.coexistence() {
            let before = now(field).filter(|it| *it != set);
            changes.change(&pointer(&["spec", field]), Some(set), before);
        }
        let (action, back) = changes.actions();
        let on = self.on(DataPlane::Bpf, FIXED);
        // Felix starts anew on every node, and nothing tells when the last one has. kube-proxy comes back after this, and does
        // not notice when somebody removes a part of its rules.
        let hold = Action::Hold { condition: on.condition.clone(), seconds: SETTLE };
        let back = Action::Sequence { actions: vec![back, hold] };
        let done = self.gone().or(Self::patched(&action));
        let verify = [on.clone()].into_iter().chain(done).collect();
        let undo = Undo::By { action: Box::new(back), verify: vec![on] };
        let title = "have Felix remove kube-proxy's rules";
        Step { verify, ..self.step("cleanup-on", title, action, undo) }
    }
}

/// Changes of one object, and what takes them back.
pub(super) struct Changes<'a> {
    object: &'a Object,
    patch: JsonPatch,
    back: JsonPatch,
}

impl<'a> Changes<'a> {
    pub(super) fn of(object: &'a Object) -> Self {
        Self { object, patch: JsonPatch::default(), back: JsonPatch::default() }
    }

    /// `to` instead of what stands there now.
    pub(super) fn set(&mut self, path: &str, to: Option<Value>) {
        let from = self.object.at(path).cloned();
        self.change(path, from, to);
    }

    pub(super) fn change(&mut self, path: &str, from: Option<Value>, to: Option<Value>) {
        if from == to {
            return;
        }
        self.patch = std::mem::take(&mut self.patch).change(path, from.clone(), to.clone());
        self.back = std::mem::take(&mut self.back).change(path, to, from);
    }

    pub(super) fn actions(self) -> (Action, Action) {
        let of = |patch: JsonPatch| Action::Patch {
            object: self.object.name.clone(),
            uid: self.object.uid(),
            patch,
            subresource: None,
        };
        (of(self.patch), of(self.back))
    }
}
