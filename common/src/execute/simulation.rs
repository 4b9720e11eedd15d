//! A world of nodes whose calico-node must be restarted, with a clock of its own. It can be told to fail, to hang, and
//! to end the process that talks to it at any point.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use jiff::Timestamp;
use tokio::sync::Notify;

use super::journal::{Recorded, UnfinishedRun, read, unfinished_runs};
use super::{
    Clock, GuardFailure, Journal, ObserveError, Operations, PerformError, Performed, Prepared,
    StopSwitch, Underway,
};
use crate::plan::{
    Action, Applicability, Condition, Guard, ObjectRef, Observed, Plan, PlanId, PodRef, Step,
    StepId, StepState, Target, Undo, Verification,
};
use crate::slim::{OwnerReference, Pod, PodCondition};
use crate::snapshot::{Gap, GapReason, Known};

/// One node: its calico-node pod, and a pod that hangs until that one was replaced.
#[derive(Clone, Debug, Default)]
pub(super) struct SimulatedNode {
    generation: u32,
    looks: u32,
    pub(super) restarts: u32,
}

/// What goes wrong.
#[derive(Debug, Default)]
pub(super) struct Faults {
    pub(super) guard: Option<GuardFailure>,
    pub(super) perform: Option<PerformError>,
    /// Actions on these nodes are rejected.
    pub(super) unwilling: Vec<String>,
    /// The action is carried out although `perform` says that it failed.
    pub(super) acts_all_the_same: bool,
    pub(super) never_ready: bool,
    pub(super) observe_hangs: bool,
    /// So many looks fail before the first succeeds.
    pub(super) observe_errors: AtomicUsize,
    /// So many looks are forbidden before the first is allowed.
    pub(super) forbidden_looks: AtomicUsize,
    /// Stops the run at the so-many-th look.
    pub(super) stop_at_look: Option<(usize, StopSwitch)>,
}

/// The world.
#[derive(Debug, Default)]
pub(super) struct Simulation {
    pub(super) nodes: Mutex<BTreeMap<String, SimulatedNode>>,
    pub(super) faults: Faults,
    /// Read before every action: the intent must be there.
    pub(super) journal: Option<PathBuf>,
    /// At this point the process dies.
    pub(super) kill_at: Option<usize>,
    pub(super) killed: Notify,
    pub(super) looks: AtomicUsize,
    dead: AtomicBool,
    points: AtomicUsize,
    milliseconds: AtomicU64,
}

impl Simulation {
    pub(super) fn new(nodes: &[&str]) -> Self {
        let nodes = nodes.iter().map(|name| ((*name).to_owned(), SimulatedNode::default()));
        Self { nodes: Mutex::new(nodes.collect()), ..Self::default() }
    }

    /// Another process looks at the same world.
    pub(super) fn revive(&mut self, kill_at: Option<usize>) {
        self.kill_at = kill_at;
        self.killed = Notify::new();
        self.dead = AtomicBool::new(false);
        self.points = AtomicUsize::new(0);
    }

    pub(super) fn broken(&self) -> Vec<String> {
        let nodes = self.nodes.lock().unwrap();
        nodes.iter().filter(|(_, node)| node.restarts == 0).map(|(name, _)| name.clone()).collect()
    }

    /// What remedies would propose for what is broken now.
    pub(super) fn plan(&self, id: u64) -> Plan {
        let mut steps: Vec<Step> = Vec::new();
        for name in self.broken() {
            let after = steps.last().map(|it| it.id.clone()).into_iter().collect();
            steps.push(self.step(&name, after));
        }
        Plan {
            id: PlanId::new(id, [0; 10]),
            made_by: "simulation".into(),
            target: Target {
                cluster_uid: "cluster-1".into(),
                context: "c".into(),
                cluster_name: "c".into(),
                server: "https://192.0.2.1".into(),
                user: "me".into(),
            },
            taken: Timestamp::UNIX_EPOCH,
            steps,
            left_out: Vec::new(),
            max_failures: 1,
        }
    }

    fn step(&self, node: &str, after: Vec<StepId>) -> Step {
        let uid = uid(node, self.nodes.lock().unwrap()[node].generation);
        let object = ObjectRef {
            group: String::new(),
            version: "v1".into(),
            plural: "pods".into(),
            namespace: "kube-system".into(),
            name: node.to_owned(),
        };
        let ready = Condition::DaemonPodReady {
            namespace: "kube-system".into(),
            daemon_set: "calico-node".into(),
            node: node.to_owned(),
            old_uid: uid.clone(),
        };
        let hung = PodRef {
            namespace: "shop".into(),
            name: format!("web-{node}"),
            uid: format!("web-{node}"),
        };
        let settled = Condition::PodsSettled { node: node.to_owned(), pods: vec![hung] };
        let within = |condition| Verification { condition, within_seconds: 120 };
        Step {
            id: StepId(format!("restart-calico-node/{node}")),
            title: format!("restart calico-node on {node}"),
            node: Some(node.to_owned()),
            action: Action::Delete { object: object.clone(), uid: uid.clone() },
            guards: vec![
                Guard::SameCluster { uid: "cluster-1".into() },
                Guard::SameUid { object, uid },
            ],
            undo: Undo::NotNeeded { why: "the DaemonSet puts the pod back".into() },
            verify: vec![within(ready), within(settled)],
            after,
            resolves: Vec::new(),
            applicability: Applicability::Safe,
        }
    }

    /// The process may die here; then it never goes on, and neither does its clock.
    async fn point(&self) {
        let point = self.points.fetch_add(1, Ordering::SeqCst) + 1;
        if self.kill_at == Some(point) {
            self.dead.store(true, Ordering::SeqCst);
            self.killed.notify_one();
            std::future::pending::<()>().await;
        }
    }

    fn recorded(&self) -> Option<Recorded> {
        self.journal.as_deref().map(|path| read(path).unwrap())
    }

    fn pods(&self, node: &str) -> Vec<Pod> {
        let mut nodes = self.nodes.lock().unwrap();
        let it = nodes.get_mut(node).unwrap();
        it.looks += 1;
        // calico-node takes five looks to come back, the hanging pod three more.
        let ready = it.looks > 5 && !self.faults.never_ready;
        let mut pods = vec![daemon_pod(node, &uid(node, it.generation), ready)];
        if it.restarts == 0 || it.looks <= 8 {
            pods.push(hung_pod(node));
        }
        pods
    }
}

/// The unfinished runs once none of their journals is locked. A child that another test is just starting holds copies
/// of our files until it has become its program, so a lock that was given up may be held a moment longer.
pub(super) fn once_given_up(directory: &Path) -> Vec<UnfinishedRun> {
    let began = std::time::Instant::now();
    loop {
        let runs = unfinished_runs(directory, "cluster-1").unwrap();
        if runs.iter().all(|run| !run.running) {
            return runs;
        }
        assert!(began.elapsed().as_secs() < 10, "the journal is still locked");
        std::thread::yield_now();
    }
}

fn uid(node: &str, generation: u32) -> String {
    format!("{node}-{generation}")
}

fn daemon_pod(node: &str, uid: &str, ready: bool) -> Pod {
    let mut pod = Pod::default();
    pod.metadata.namespace = "kube-system".into();
    pod.metadata.name = node.to_owned();
    pod.metadata.uid = uid.to_owned();
    pod.spec.node_name = node.to_owned();
    pod.metadata.owner_references.push(OwnerReference {
        api_version: "apps/v1".into(),
        kind: "DaemonSet".into(),
        name: "calico-node".into(),
        uid: "ds".into(),
        controller: true,
    });
    pod.status.conditions.push(PodCondition {
        kind: "Ready".into(),
        status: if ready { "True" } else { "False" }.into(),
        ..PodCondition::default()
    });
    pod
}

fn hung_pod(node: &str) -> Pod {
    let mut pod = Pod::default();
    pod.metadata.namespace = "shop".into();
    pod.metadata.name = format!("web-{node}");
    pod.metadata.uid = format!("web-{node}");
    pod.spec.node_name = node.to_owned();
    pod.status.phase = "Pending".into();
    pod
}

impl Operations for Simulation {
    async fn guard(&self, guard: &Guard) -> Result<(), GuardFailure> {
        self.point().await;
        if let Some(failure) = &self.faults.guard {
            return Err(failure.clone());
        }
        match guard {
            Guard::SameUid { object, uid: expected } => {
                let now = uid(&object.name, self.nodes.lock().unwrap()[&object.name].generation);
                let replaced = || GuardFailure::AlreadyRight("it was replaced already".into());
                (now == *expected).then_some(()).ok_or_else(replaced)
            }
            _ => Ok(()),
        }
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
        let Action::Delete { object, .. } = action else { panic!("not simulated: {action:?}") };
        let id = StepId(format!("restart-calico-node/{}", object.name));
        if let Some(recorded) = self.recorded() {
            let is_meant = |id: &StepId| recorded.states.get(id) == Some(&StepState::Started);
            let second = StepId(format!("second/{}", object.name));
            assert!(is_meant(&id) || is_meant(&second), "intent before act");
            assert!(recorded.running, "the journal is locked while the run goes on");
        }
        if self.faults.unwilling.contains(&object.name) {
            return Err(PerformError::Rejected("it does not want to".into()));
        }
        self.point().await;
        if self.faults.perform.is_none() || self.faults.acts_all_the_same {
            let mut nodes = self.nodes.lock().unwrap();
            let node = nodes.get_mut(&object.name).unwrap();
            node.generation += 1;
            node.restarts += 1;
            node.looks = 0;
        }
        self.point().await;
        self.faults.perform.clone().map_or(Ok(Performed::Acted), Err)
    }

    async fn observe(&self, condition: &Condition) -> Result<Observed, ObserveError> {
        self.point().await;
        let look = self.looks.fetch_add(1, Ordering::SeqCst) + 1;
        if let Some((at, switch)) = &self.faults.stop_at_look
            && *at == look
        {
            switch.stop();
        }
        if self.faults.observe_hangs {
            std::future::pending::<()>().await;
        }
        let errors = &self.faults.observe_errors;
        if errors.load(Ordering::SeqCst) > 0 {
            errors.fetch_sub(1, Ordering::SeqCst);
            return Err(ObserveError("connection refused".into()));
        }
        let (Condition::DaemonPodReady { node, .. } | Condition::PodsSettled { node, .. }) =
            condition
        else {
            return Err(ObserveError("not simulated".into()));
        };
        let forbidden = &self.faults.forbidden_looks;
        if forbidden.load(Ordering::SeqCst) > 0 {
            forbidden.fetch_sub(1, Ordering::SeqCst);
            let gap = Gap::new("cluster/pods.json", GapReason::Forbidden, "jane cannot list pods");
            return Ok(Observed { pods: Known::Unknown(gap), ..Observed::nothing(self.now()) });
        }
        let pods = Known::Known(self.pods(node));
        Ok(Observed { pods, ..Observed::nothing(self.now()) })
    }
}

impl Clock for Simulation {
    fn now(&self) -> Timestamp {
        let now = i64::try_from(self.milliseconds.load(Ordering::SeqCst)).unwrap();
        Timestamp::from_millisecond(now).unwrap()
    }

    fn elapsed(&self) -> Duration {
        Duration::from_millis(self.milliseconds.load(Ordering::SeqCst))
    }

    async fn sleep(&self, time: Duration) {
        if self.dead.load(Ordering::SeqCst) {
            std::future::pending::<()>().await;
        }
        let time = u64::try_from(time.as_millis()).unwrap();
        self.milliseconds.fetch_add(time, Ordering::SeqCst);
    }
}

/// A fresh journal of `plan` in `directory`.
pub(super) fn journal_of(plan: &Plan, directory: &std::path::Path) -> Journal {
    Journal::create(directory, plan, Timestamp::UNIX_EPOCH).unwrap()
}
