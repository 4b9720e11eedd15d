//! A cluster in a box: the objects that the way to eBPF changes, an operator, Felix and kube-proxy that do at once what they are
//! told, and a watcher that notes every moment at which nobody serves Services. Whoever acts on it can be made to die.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use jiff::Timestamp;
use serde_json::{Value, json};
use tokio::sync::Notify;

use super::super::{
    GuardFailure, ObserveError, Operations, PerformError, Performed, Prepared, Underway,
};
use crate::bpf::{BpfFacts, Endpoint};
use crate::plan::ebpf::{
    Done, Ground, KUBE_PROXY_OFF, Object, Objects, ProxyRules, ServiceProof, Translator, Wish,
    named, plan_disable, plan_enable,
};
use crate::plan::{
    Action, Aim, Condition, Guard, ObjectRef, Observed, Plan, PlanId, Target, describe,
};
use crate::snapshot::{InstallMethod, Known};

pub(super) const NEVER: usize = usize::MAX;
pub(super) const RUN: &str = "01RUN";
/// Address of Service kubernetes.
const CLUSTER_IP: &str = "10.96.0.1";
const ENDPOINT: &str = "10.0.0.10";
const MAP: &str = "kubernetes-services-endpoint";

/// The cluster.
pub(super) struct World {
    method: InstallMethod,
    objects: Mutex<BTreeMap<String, Value>>,
    /// What the operator remembers of the ConfigMap.
    remembered: Mutex<Option<String>>,
    /// Whether kube-proxy's rules are there. It writes them when it starts, and does not notice when somebody removes them.
    rules: AtomicBool,
    /// Whether kube-proxy ran when it was last looked at.
    ran: AtomicBool,
    /// What Felix does about them once eBPF is on.
    pub(super) felix: Mutex<Felix>,
    /// Moments at which something was as it must never be.
    pub(super) alarms: Mutex<Vec<String>>,
    /// The so-many-th proof fails, counted from 1; 0 for none.
    pub(super) proof_fails: AtomicUsize,
    proofs: AtomicUsize,
    pub(super) kill_at: AtomicUsize,
    pub(super) points: AtomicUsize,
    pub(super) killed: Mutex<Arc<Notify>>,
}

/// What it does.
#[derive(Clone, Copy, Default, PartialEq)]
pub(super) enum Felix {
    /// What it is told.
    #[default]
    Heeds,
    NeverRemoves,
    /// The same, as its environment tells it.
    IsToldToLeave,
}

fn daemon_set(namespace: &str, name: &str) -> ObjectRef {
    named("apps", "v1", "daemonsets", namespace, name)
}

fn felix() -> ObjectRef {
    named("crd.projectcalico.org", "v1", "felixconfigurations", "", "default")
}

fn installation() -> ObjectRef {
    named("operator.tigera.io", "v1", "installations", "", "default")
}

fn key(object: &ObjectRef) -> String {
    describe::object(object)
}

impl World {
    pub(super) fn new(method: InstallMethod) -> Arc<Self> {
        let is_operator = method == InstallMethod::Operator;
        let space = if is_operator { "calico-system" } else { "kube-system" };
        let set = |env: Value| {
            json!({ "spec": { "template": { "metadata": {}, "spec": {
                "containers": [{ "name": "calico-node", "env": env }],
                "nodeSelector": { "kubernetes.io/os": "linux" } } } } })
        };
        let env = if is_operator {
            json!([{ "name": "KUBERNETES_SERVICE_HOST", "value": CLUSTER_IP },
                { "name": "KUBERNETES_SERVICE_PORT", "value": "443" }])
        } else {
            json!([])
        };
        let mut felix_value = json!({ "spec": { "logSeverityScreen": "Info" } });
        if is_operator {
            felix_value["spec"]["bpfEnabled"] = json!(false);
        }
        let mut objects = BTreeMap::from([
            (key(&daemon_set(space, "calico-node")), set(env)),
            (key(&daemon_set("kube-system", "kube-proxy")), set(json!([]))),
            (key(&felix()), felix_value),
        ]);
        if is_operator {
            let spec = json!({ "calicoNetwork": { "linuxDataplane": "Iptables" } });
            objects.insert(key(&installation()), json!({ "spec": spec }));
            let operator = named("apps", "v1", "deployments", "tigera-operator", "tigera-operator");
            let spec = json!({ "replicas": 1 });
            let status = json!({ "updatedReplicas": 1, "availableReplicas": 1, "replicas": 1 });
            objects.insert(key(&operator), json!({ "spec": spec, "status": status }));
        }
        for (name, object) in &mut objects {
            object["metadata"]["uid"] = json!(name);
        }
        Arc::new(Self {
            method,
            objects: Mutex::new(objects),
            remembered: Mutex::default(),
            rules: AtomicBool::new(true),
            ran: AtomicBool::new(true),
            felix: Mutex::default(),
            alarms: Mutex::default(),
            proof_fails: AtomicUsize::new(0),
            proofs: AtomicUsize::new(0),
            kill_at: AtomicUsize::new(NEVER),
            points: AtomicUsize::new(0),
            killed: Mutex::default(),
        })
    }

    /// Everything, without maps that are empty: the API server drops them.
    pub(super) fn state(&self) -> BTreeMap<String, Value> {
        let mut all = self.objects.lock().unwrap().clone();
        all.values_mut().for_each(drop_empty);
        all
    }

    fn get(&self, object: &ObjectRef) -> Option<Value> {
        self.objects.lock().unwrap().get(&key(object)).cloned()
    }

    fn is(&self, object: &ObjectRef, path: &str, value: &Value) -> bool {
        self.get(object).is_some_and(|it| it.pointer(path) == Some(value))
    }

    pub(super) fn has_bpf(&self) -> bool {
        self.is(&felix(), "/spec/bpfEnabled", &json!(true))
    }

    pub(super) fn has_kube_proxy(&self) -> bool {
        let selector = self.get(&daemon_set("kube-system", "kube-proxy"));
        let path = "/spec/template/spec/nodeSelector";
        let selector = selector.as_ref().and_then(|it| it.pointer(path).cloned());
        selector.is_none_or(|it| it.get(KUBE_PROXY_OFF).is_none())
    }

    pub(super) fn has_rules(&self) -> bool {
        self.rules.load(Ordering::SeqCst)
    }

    /// What calico-node has in its environment.
    fn endpoint(&self) -> String {
        self.map_host().unwrap_or_else(|| CLUSTER_IP.to_owned())
    }

    fn map_host(&self) -> Option<String> {
        let space = match self.method {
            InstallMethod::Operator => "tigera-operator",
            InstallMethod::Manifest => "kube-system",
        };
        let map = self.get(&named("", "v1", "configmaps", space, MAP))?;
        map.pointer("/data/KUBERNETES_SERVICE_HOST")?.as_str().map(str::to_owned)
    }

    /// The controllers, and then the watcher.
    fn settle(&self) {
        if self.method == InstallMethod::Operator {
            self.operate();
        }
        let alarm = |what: &str| self.alarms.lock().unwrap().push(what.to_owned());
        if !self.has_bpf() && !self.has_kube_proxy() {
            alarm("nobody serves Services");
        }
        if !self.has_kube_proxy() && self.endpoint() == CLUSTER_IP {
            alarm("calico-node looks for the API server behind a Service that only it could serve");
        }
        let cleans = !self.is(&felix(), "/spec/bpfKubeProxyIptablesCleanupEnabled", &json!(false));
        let has_begun = !self.ran.swap(self.has_kube_proxy(), Ordering::SeqCst);
        if self.has_kube_proxy() && has_begun {
            self.rules.store(true, Ordering::SeqCst);
        }
        let removes = match *self.felix.lock().unwrap() {
            Felix::Heeds => cleans,
            Felix::NeverRemoves | Felix::IsToldToLeave => false,
        };
        if self.has_bpf() && removes {
            self.rules.store(false, Ordering::SeqCst);
        }
        if self.has_bpf() && self.has_kube_proxy() && cleans {
            alarm("Felix removes kube-proxy's rules while it runs");
        }
    }

    /// Two phases become one: it rolls out at once.
    fn operate(&self) {
        let wants = self.is(&installation(), "/spec/calicoNetwork/linuxDataplane", &json!("BPF"));
        let mut remembered = self.remembered.lock().unwrap();
        if let Some(host) = self.map_host() {
            *remembered = Some(host);
        }
        let host = remembered.clone().unwrap_or_else(|| CLUSTER_IP.to_owned());
        let port = if remembered.is_some() { "6443" } else { "443" };
        let mut objects = self.objects.lock().unwrap();
        objects.get_mut(&key(&felix())).unwrap()["spec"]["bpfEnabled"] = json!(wants);
        let agent = objects.get_mut(&key(&daemon_set("calico-system", "calico-node"))).unwrap();
        agent["spec"]["template"]["spec"]["containers"][0]["env"] = json!([
            { "name": "KUBERNETES_SERVICE_HOST", "value": host },
            { "name": "KUBERNETES_SERVICE_PORT", "value": port }]);
    }

    /// A moment at which the process may die.
    async fn point(&self) {
        let point = self.points.fetch_add(1, Ordering::SeqCst) + 1;
        if point >= self.kill_at.load(Ordering::SeqCst) {
            self.killed.lock().unwrap().notify_one();
            std::future::pending::<()>().await;
        }
    }

    fn act(&self, action: &Action) -> Result<Performed, PerformError> {
        let refused = |why: String| Err(PerformError::Refused(why));
        match action {
            Action::Patch { object, patch, .. } => {
                let Some(found) = self.get(object) else { return refused("it is gone".into()) };
                let ready = match patch.aim(&found) {
                    Aim::AlreadyRight => return Ok(Performed::AlreadyRight("so".into())),
                    Aim::Refused(why) => return refused(why),
                    Aim::Ready(ready) => ready,
                };
                let patch: json_patch::Patch = serde_json::from_value(json!(ready))
                    .map_err(|it| PerformError::Refused(it.to_string()))?;
                let mut changed = found;
                json_patch::patch(&mut changed, &patch).unwrap();
                self.objects.lock().unwrap().insert(key(object), changed);
            }
            Action::Create { object, manifest } => {
                match self.get(object) {
                    Some(found) if found == *manifest => {
                        return Ok(Performed::AlreadyRight("so".into()));
                    }
                    Some(_) => return refused("it exists".into()),
                    None => {}
                }
                self.objects.lock().unwrap().insert(key(object), manifest.clone());
            }
            Action::DeleteCreated { object, .. } => {
                if self.objects.lock().unwrap().remove(&key(object)).is_none() {
                    return Ok(Performed::AlreadyRight("gone".into()));
                }
            }
            Action::RestartPods { .. } => *self.remembered.lock().unwrap() = None,
            Action::ProveServices { proof } => return self.prove(proof),
            Action::Hold { .. } => {}
            other => panic!("not simulated: {other:?}"),
        }
        Ok(Performed::Acted)
    }

    fn prove(&self, proof: &ServiceProof) -> Result<Performed, PerformError> {
        let number = self.proofs.fetch_add(1, Ordering::SeqCst) + 1;
        let serves = match proof.by {
            Translator::Any => self.has_bpf() || self.has_kube_proxy(),
            Translator::Bpf => self.has_bpf(),
            Translator::KubeProxy => self.has_kube_proxy() && self.has_rules(),
        };
        if !serves || number == self.proof_fails.load(Ordering::SeqCst) {
            return Err(PerformError::Rejected(format!("{} does not hold", proof.name)));
        }
        Ok(Performed::Acted)
    }

    /// The object with the counts that its controller would give it.
    fn with_counts(&self, object: &ObjectRef) -> Value {
        let mut value = self.get(object).unwrap_or_default();
        if object.plural == "daemonsets" {
            let wanted = u8::from(object.name == "calico-node" || self.has_kube_proxy());
            value["status"] = json!({ "desiredNumberScheduled": wanted,
                "updatedNumberScheduled": wanted, "numberAvailable": wanted });
        }
        value
    }

    fn facts(&self) -> BpfFacts {
        let mut facts = BpfFacts::from_scan("n1", b"@@vantage rc=0 ms=0\ncalico-node\n@@end\n");
        let host = self.endpoint();
        let port = if host == CLUSTER_IP { 443 } else { 6443 };
        facts.endpoint = Known::Known(Endpoint { host, port });
        facts.pins = Known::Absent;
        facts.programs = Known::Known(BTreeMap::new());
        facts.nat = Known::Absent;
        facts.kube_proxy_rules.implementations =
            if self.has_rules() { Known::Known(vec!["iptables-nft"]) } else { Known::Absent };
        if self.has_bpf() {
            let names = ["cali_tc_main".to_owned()].into();
            facts.programs = Known::Known([("eth0".to_owned(), names)].into());
            facts.nat = Known::Known(BTreeMap::new());
        }
        facts
    }

    /// The objects as a plan is made from.
    pub(super) fn objects(&self) -> Objects {
        let of = |name: ObjectRef| self.get(&name).map(|value| Object { name, value });
        let is_operator = self.method == InstallMethod::Operator;
        let space = if is_operator { "calico-system" } else { "kube-system" };
        let operator = named("apps", "v1", "deployments", "tigera-operator", "tigera-operator");
        let mut objects = Objects {
            method: self.method,
            agent: of(daemon_set(space, "calico-node")).unwrap(),
            companions: Vec::new(),
            felix: of(felix()).unwrap(),
            felix_fields: ["bpfEnabled".to_owned()].into(),
            installation: of(installation()),
            operator: of(operator),
            kube_proxy: of(daemon_set("kube-system", "kube-proxy")),
            endpoint_map: None,
            rules: ProxyRules::default(),
        };
        if self.has_rules() {
            objects.rules.shown.insert("n1".to_owned());
        }
        if *self.felix.lock().unwrap() == Felix::IsToldToLeave {
            objects.rules.left.insert("n1".to_owned());
        }
        objects.endpoint_map = of(objects.endpoint_map_name());
        objects
    }

    /// What `enable --disable-kube-proxy` would do.
    pub(super) fn plan(&self) -> Plan {
        self.planned(RUN, |ground| {
            let endpoint = Endpoint { host: ENDPOINT.into(), port: 6443 };
            let wish = Wish { endpoint, disable_kube_proxy: true, watch_seconds: 1 };
            plan_enable(ground, &wish, Vec::new())
        })
    }

    /// What `disable` would do that knows of no earlier run.
    pub(super) fn plan_back(&self, run: &str) -> Plan {
        let cleanup = self.is(&felix(), "/spec/bpfKubeProxyIptablesCleanupEnabled", &json!(false));
        self.planned(run, |ground| {
            let done = Done {
                endpoint: false,
                coexistence: cleanup,
                bpf: self.has_bpf(),
                kube_proxy: !self.has_kube_proxy(),
            };
            plan_disable(&Ground { done, ..ground.clone() })
        })
    }

    fn planned(&self, run: &str, plan: impl FnOnce(&Ground<'_>) -> Plan) -> Plan {
        let objects = self.objects();
        let target = Target {
            cluster_uid: "c".into(),
            context: String::new(),
            cluster_name: String::new(),
            server: String::new(),
            user: String::new(),
        };
        let run = PlanId(run.into());
        let proof = ServiceProof {
            name: "baseline".into(),
            run: run.0.clone(),
            agent: objects.agent.name.clone(),
            by: Translator::Any,
            from_pods: true,
            node_ports: true,
            targets: Vec::new(),
            within_seconds: 10,
        };
        let ground = Ground {
            run: &run,
            made_by: "kubectl-calico-ebpf/1 enable",
            target: &target,
            taken: Timestamp::UNIX_EPOCH,
            objects: &objects,
            proof: &proof,
            per_node_seconds: 60,
            nodes: 1,
            done: Done::default(),
        };
        plan(&ground)
    }
}

/// Maps that hold nothing say nothing.
fn drop_empty(value: &mut Value) {
    if let Value::Object(map) = value {
        map.values_mut().for_each(drop_empty);
        map.retain(|_, it| *it != json!({}));
    }
}

impl Operations for World {
    async fn guard(&self, _guard: &Guard) -> Result<(), GuardFailure> {
        self.point().await;
        Ok(())
    }

    async fn prepare(&self, _action: &Action) -> Result<Prepared, PerformError> {
        Ok(Prepared::default())
    }

    async fn perform(
        &self,
        action: &Action,
        _prepared: &Prepared,
        _underway: &Underway<'_>,
    ) -> Result<Performed, PerformError> {
        let one = [action.clone()];
        let all = match action {
            Action::Sequence { actions } => actions.as_slice(),
            _ => one.as_slice(),
        };
        let mut ended = Performed::AlreadyRight("all so".into());
        for action in all {
            self.point().await;
            if self.act(action)? == Performed::Acted {
                ended = Performed::Acted;
            }
            self.settle();
            self.point().await;
        }
        Ok(ended)
    }

    async fn observe(&self, condition: &Condition) -> Result<Observed, ObserveError> {
        self.point().await;
        let nothing = Observed::nothing(Timestamp::UNIX_EPOCH);
        Ok(match condition {
            Condition::RolledOut { workload, .. } => {
                Observed { object: Known::Known(self.with_counts(workload)), ..nothing }
            }
            Condition::NoPods { workload } => Observed {
                object: Known::Known(self.with_counts(workload)),
                pods: Known::Known(Vec::new()),
                ..nothing
            },
            Condition::Patched { object, .. } => {
                Observed { object: self.get(object).map_or(Known::Absent, Known::Known), ..nothing }
            }
            Condition::EndpointInUse { agent, .. }
            | Condition::OnDataPlane { agent, .. }
            | Condition::KubeProxyRulesGone { agent, .. }
            | Condition::KubeProxyRulesKept { agent, .. } => {
                let facts = [("n1".to_owned(), Known::Known(self.facts()))].into();
                Observed {
                    object: Known::Known(self.with_counts(agent)),
                    data_planes: Known::Known(facts),
                    operator: Known::Absent,
                    ..nothing
                }
            }
            Condition::ProofCleared { .. } => {
                Observed { left_of_proof: Known::Known(0), ..nothing }
            }
            other => panic!("not simulated: {other:?}"),
        })
    }
}
