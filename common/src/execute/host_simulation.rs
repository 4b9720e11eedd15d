//! Nodes whose files are to be repaired, with a clock of its own. Its operations behave as their scripts do, and the
//! process that asks for them can be made to die before, in the midst of, and after each.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use jiff::Timestamp;
use tokio::sync::Notify;

use super::journal::Journal;
use super::lease::Tenure;
use super::{
    Clock, Consent, Executor, GuardFailure, ObserveError, Operations, PerformError, Performed,
    Prepared, Silent, StopSwitch, Underway,
};
use crate::plan::host::backup_path;
use crate::plan::{
    Action, Applicability, Condition, Expected, FileContent, Guard, HostOperation, Observed,
    Outcome, Plan, PlanId, Step, StepId, Target, Undo, Verification,
};
use crate::snapshot::{HostFacts, Known};

pub(super) const FOREIGN: &str = "/etc/cni/net.d/00-other.conflist";
pub(super) const CONFLIST: &str = "/etc/cni/net.d/10-calico.conflist";
pub(super) const KUBECONFIG: &str = "/etc/cni/net.d/calico-kubeconfig";
/// What a backup holds when nothing had stood there.
const NOTHING: &str = "(nothing stood here)";

pub(super) type Files = BTreeMap<(String, String), String>;

/// The world, by node and path.
#[derive(Debug, Default)]
pub(super) struct HostSimulation {
    pub(super) files: Mutex<Files>,
    /// Tokens that were handed out.
    pub(super) tokens: AtomicUsize,
    /// The action is carried out, but its answer gets lost: so many times.
    pub(super) lose_answers: AtomicUsize,
    kill_at: usize,
    killed: Notify,
    dead: AtomicBool,
    points: AtomicUsize,
    milliseconds: AtomicU64,
}

impl HostSimulation {
    /// Two nodes with a foreign configuration in front, no conflist, and a stale kubeconfig.
    pub(super) fn new() -> Self {
        let world = Self::default();
        for node in ["a", "b"] {
            world.put(node, FOREIGN, "foreign");
            world.put(node, KUBECONFIG, "token 0");
        }
        world
    }

    pub(super) fn put(&self, node: &str, path: &str, text: &str) {
        self.files.lock().unwrap().insert((node.into(), path.into()), text.into());
    }

    pub(super) fn get(&self, node: &str, path: &str) -> Option<String> {
        self.files.lock().unwrap().get(&(node.to_owned(), path.to_owned())).cloned()
    }

    fn remove(&self, node: &str, path: &str) -> Option<String> {
        self.files.lock().unwrap().remove(&(node.to_owned(), path.to_owned()))
    }

    /// Another process looks at the same world; it dies at this point, if it gets so far.
    pub(super) fn revive(&mut self, kill_at: usize) {
        self.kill_at = kill_at;
        self.killed = Notify::new();
        self.dead = AtomicBool::new(false);
        self.points = AtomicUsize::new(0);
    }

    pub(super) fn is_repaired(&self) -> bool {
        ["a", "b"].iter().all(|node| {
            self.get(node, FOREIGN).is_none()
                && self.get(node, CONFLIST).as_deref() == Some("calico")
                && self.get(node, KUBECONFIG).is_some_and(|it| it != "token 0")
        })
    }

    /// What remedies would propose for what is broken now.
    pub(super) fn plan(&self, id: &str) -> Plan {
        let run = PlanId(id.into());
        let mut steps = Vec::new();
        for node in ["a", "b"] {
            if self.get(node, FOREIGN).is_some() {
                let operation = HostOperation::MoveAside {
                    path: FOREIGN.into(),
                    expected: Expected::Sha256(hash("foreign")),
                    backup: backup_path(FOREIGN, &run),
                };
                steps.push(step("move-aside", node, operation));
            }
            if self.get(node, CONFLIST).is_none() {
                let text = FileContent::Text { text: "calico".into() };
                let write = write(CONFLIST, text, Expected::Absent, &run);
                steps.push(step("conflist", node, write));
            }
            if self.get(node, KUBECONFIG).as_deref() == Some("token 0") {
                let fresh = FileContent::CniKubeconfig {
                    server: "https://10.96.0.1".into(),
                    namespace: "kube-system".into(),
                    service_account: "calico-cni-plugin".into(),
                };
                let expected = Expected::Sha256(hash("token 0"));
                steps.push(step("kubeconfig", node, write(KUBECONFIG, fresh, expected, &run)));
            }
        }
        for n in 1..steps.len() {
            steps[n].after = vec![steps[n - 1].id.clone()];
        }
        Plan {
            id: run,
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

    /// The process may die here; then it never goes on, and neither does its clock.
    async fn point(&self) {
        if self.points.fetch_add(1, Ordering::SeqCst) + 1 == self.kill_at {
            self.dead.store(true, Ordering::SeqCst);
            self.killed.notify_one();
            std::future::pending::<()>().await;
        }
    }

    fn hash_at(&self, node: &str, path: &str) -> Option<String> {
        self.get(node, path).map(|text| hash(&text))
    }

    fn guard(&self, node: &str, path: &str, expected: &Expected) -> Result<(), PerformError> {
        let found = self.hash_at(node, path);
        let fits = match expected {
            Expected::Absent => found.is_none(),
            Expected::Sha256(hash) => found.as_ref() == Some(hash),
            _ => true,
        };
        fits.then_some(()).ok_or_else(|| PerformError::Refused(format!("{path} is another")))
    }

    async fn write(
        &self,
        node: &str,
        write: (&str, &Expected, &str, bool),
        text: &str,
    ) -> Result<Performed, PerformError> {
        let (path, expected, backup, fresh) = write;
        if self.get(node, path).as_deref() == Some(text) {
            return Ok(Performed::AlreadyRight("it holds that already".into()));
        }
        let kept = self.get(node, backup).map(|kept| hash(&kept));
        let of_own_attempt =
            matches!(expected, Expected::Sha256(hash) if kept.as_ref() == Some(hash));
        if !(fresh && of_own_attempt) {
            self.guard(node, path, expected)?;
        }
        if self.get(node, backup).is_none() {
            self.put(node, backup, &self.get(node, path).unwrap_or_else(|| NOTHING.into()));
        }
        self.point().await;
        self.put(node, path, text);
        Ok(Performed::Acted)
    }

    async fn restore(
        &self,
        node: &str,
        path: &str,
        expected: &Expected,
        backup: &str,
    ) -> Result<Performed, PerformError> {
        let Some(kept) = self.get(node, backup) else {
            return Ok(Performed::AlreadyRight("nothing is kept".into()));
        };
        if self.get(node, path).as_ref() == Some(&kept) {
            self.remove(node, backup);
            return Ok(Performed::AlreadyRight("it was not written".into()));
        }
        if kept == NOTHING {
            if self.get(node, path).is_some() {
                self.guard(node, path, expected)?;
            }
            self.remove(node, path);
            self.point().await;
            self.remove(node, backup);
        } else {
            self.guard(node, path, expected)?;
            self.remove(node, backup);
            self.put(node, path, &kept);
        }
        Ok(Performed::Acted)
    }

    async fn operate(
        &self,
        node: &str,
        operation: &HostOperation,
        text: &str,
    ) -> Result<Performed, PerformError> {
        match operation {
            HostOperation::WriteFile { path, content, expected, backup, .. } => {
                let fresh = matches!(content, FileContent::CniKubeconfig { .. });
                self.write(node, (path, expected, backup, fresh), text).await
            }
            HostOperation::MoveAside { path, expected, backup } => {
                if self.get(node, path).is_none() {
                    return Ok(Performed::AlreadyRight("it is not there".into()));
                }
                self.guard(node, path, expected)?;
                self.point().await;
                let text = self.remove(node, path).unwrap();
                self.put(node, backup, &text);
                Ok(Performed::Acted)
            }
            HostOperation::RestoreFile { path, expected, backup } => {
                self.restore(node, path, expected, backup).await
            }
            other => panic!("{other:?} is not simulated"),
        }
    }
}

fn hash(text: &str) -> String {
    Prepared::content(text.as_bytes().to_vec()).sha256().unwrap()
}

fn write(path: &str, content: FileContent, expected: Expected, run: &PlanId) -> HostOperation {
    let backup = backup_path(path, run);
    HostOperation::WriteFile { path: path.into(), mode: 0o600, content, expected, backup }
}

fn step(name: &str, node: &str, operation: HostOperation) -> Step {
    let condition = Condition::CalicoConfigurationFirst { node: node.into() };
    // The conflist comes after what stands before it was moved away.
    let verify = match name {
        "move-aside" => Condition::PodsSettled { node: node.into(), pods: vec![] },
        _ => condition,
    };
    let undo = operation.undo().unwrap();
    Step {
        id: StepId(format!("{name}/{node}")),
        title: format!("{name} on {node}"),
        node: Some(node.into()),
        action: Action::OnHost { node: node.into(), operation },
        guards: vec![Guard::SameCluster { uid: "cluster-1".into() }],
        undo: Undo::OnHost { node: node.into(), operation: undo },
        verify: vec![Verification { condition: verify, within_seconds: 10 }],
        after: vec![],
        resolves: vec![],
        applicability: Applicability::Ask,
    }
}

impl Operations for HostSimulation {
    async fn guard(&self, _guard: &Guard) -> Result<(), GuardFailure> {
        self.point().await;
        Ok(())
    }

    async fn prepare(&self, action: &Action) -> Result<Prepared, PerformError> {
        self.point().await;
        let Action::OnHost { operation: HostOperation::WriteFile { content, .. }, .. } = action
        else {
            return Ok(Prepared::default());
        };
        let text = match content {
            FileContent::Text { text } => text.clone(),
            // Each is another.
            _ => format!("token {}", self.tokens.fetch_add(1, Ordering::SeqCst) + 1),
        };
        Ok(Prepared::content(text.into_bytes()))
    }

    async fn perform(
        &self,
        action: &Action,
        prepared: &Prepared,
        _underway: &Underway<'_>,
    ) -> Result<Performed, PerformError> {
        let Action::OnHost { node, operation } = action else { panic!("{action:?}") };
        self.point().await;
        let text = String::from_utf8(prepared.bytes().unwrap_or_default().to_vec()).unwrap();
        let done = self.operate(node, operation, &text).await;
        self.point().await;
        if self.lose_answers.load(Ordering::SeqCst) > 0 {
            self.lose_answers.fetch_sub(1, Ordering::SeqCst);
            return Err(PerformError::Unclear("the stream broke".into()));
        }
        done
    }

    async fn observe(&self, condition: &Condition) -> Result<Observed, ObserveError> {
        self.point().await;
        let mut seen = Observed::nothing(self.now());
        seen.pods = Known::Known(Vec::new());
        if let Condition::CalicoConfigurationFirst { node } = condition {
            let files = self.files.lock().unwrap();
            let names = files.keys().filter(|(on, _)| on == node).map(|(_, path)| path);
            let list: String = names
                .filter_map(|path| path.strip_prefix("/etc/cni/net.d/"))
                .map(|name| format!("-rw------- 1 0 0 9 2026-11-21 10:00:00.0 +0000 {name}\n"))
                .collect();
            let probe = format!("@@ls-cni-net.d rc=0 ms=1\n{list}@@end\n");
            seen.host = Known::Known(HostFacts::from_probe(node, probe.as_bytes()).0);
        }
        Ok(seen)
    }
}

impl Clock for HostSimulation {
    fn now(&self) -> Timestamp {
        Timestamp::UNIX_EPOCH
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

/// What a process does with a plan.
pub(super) enum Work<'a> {
    /// Carries it out, with a new journal in the directory.
    Run(&'a Plan, &'a Path),
    /// Goes on with the journal.
    Resume(&'a Path),
    /// Takes back what the journal tells.
    Undo(&'a Path),
}

/// One process: what came of it; none when it died.
pub(super) async fn process(world: &HostSimulation, work: Work<'_>) -> Option<Outcome> {
    let (_switch, stop) = StopSwitch::new();
    let (mut journal, recorded) = match &work {
        Work::Run(plan, directory) => {
            (Journal::create(directory, plan, Timestamp::UNIX_EPOCH).unwrap(), None)
        }
        Work::Resume(path) | Work::Undo(path) => {
            let (journal, recorded) = Journal::reopen(path).unwrap();
            (journal, Some(recorded))
        }
    };
    let executor = Executor {
        operations: world,
        clock: world,
        journal: &mut journal,
        tenure: &Tenure::unlimited(),
        reporter: &mut Silent,
        stop: &stop,
    };
    let consent = Consent::from_flag(true).unwrap();
    let work = async {
        match (work, &recorded) {
            (Work::Run(plan, _), _) => executor.run(plan, consent).await,
            (Work::Resume(_), Some(it)) => executor.go_on(&it.plan, &it.states, consent).await,
            (Work::Undo(_), Some(it)) => executor.take_back(it, consent).await,
            _ => panic!("there is no journal"),
        }
    };
    tokio::select! {
        biased;
        outcome = work => Some(outcome.unwrap()),
        () = world.killed.notified() => None,
    }
}
