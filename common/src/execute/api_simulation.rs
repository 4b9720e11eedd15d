//! An API server that keeps objects as a real one does, and a node to back up. Whoever talks to them can be made to die at
//! every request, before and after it was carried out.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use jiff::Timestamp;
use serde_json::{Value, json};
use tokio::sync::Notify;

use super::hosts::Hosts;
use super::journal::Journal;
use super::lease::Tenure;
use super::quick_clock::QuickClock;
use super::simulation::once_given_up;
use super::{ClusterOperations, Consent, Executor, PerformError, Performed, Silent, StopSwitch};
use crate::cluster::Cluster;
use crate::cluster::test_server::{Asked, Reply, TestServer};
use crate::plan::{BinarySource, HostOperation, Outcome, Plan, PodRef};
use crate::snapshot::{Gap, GapReason};

pub(super) const CLUSTER: &str = "cluster-1";
pub(super) const NODE: &str = "/api/v1/nodes/n1";
/// What the acts on the node are counted as.
pub(super) const BACK_UP: &str = "back up";
pub(super) const PATCH: &str = "patch";
/// Nobody dies.
pub(super) const NEVER: usize = usize::MAX;

/// The server's objects by path, what was done to them, and when the client dies.
#[derive(Default)]
pub(super) struct World {
    objects: Mutex<BTreeMap<String, Value>>,
    version: AtomicUsize,
    /// How often each thing was done: a pod is known by its path.
    acts: Mutex<BTreeMap<String, u32>>,
    /// The server takes deletions whatever uid they name.
    pub(super) ignores_preconditions: AtomicBool,
    /// Half requests until the client dies; the odd ones are before the server acts.
    kill_at: AtomicUsize,
    halves: AtomicUsize,
    /// Told to the client that is to die: each process has its own.
    killed: Mutex<Arc<Notify>>,
}

impl World {
    /// A node that says that it has no network, and these pods. Who owns them puts another in each one's place.
    pub(super) fn new(pods: &[PodRef]) -> Arc<Self> {
        let world = Self::default();
        let unavailable = json!({ "type": "NetworkUnavailable", "status": "True" });
        let conditions = json!([{ "type": "Ready" }, unavailable]);
        let node = json!({ "metadata": {}, "spec": {}, "status": { "conditions": conditions } });
        world.put(NODE, &uid(NODE), node);
        world.put("/api/v1/namespaces/kube-system", CLUSTER, json!({ "metadata": {} }));
        for pod in pods {
            let metadata = json!({ "namespace": pod.namespace, "name": pod.name });
            world.put(&path(pod), &pod.uid, json!({ "metadata": metadata }));
        }
        Arc::new(world)
    }

    fn put(&self, path: &str, uid: &str, mut object: Value) {
        let version = self.version.fetch_add(1, Ordering::SeqCst);
        object["metadata"]["uid"] = json!(uid);
        object["metadata"]["resourceVersion"] = json!(version.to_string());
        self.objects.lock().unwrap().insert(path.to_owned(), object);
    }

    /// The node without what every write changes.
    pub(super) fn node(&self) -> Value {
        let mut node = self.objects.lock().unwrap()[NODE].clone();
        node["metadata"].as_object_mut().unwrap().remove("resourceVersion");
        node
    }

    /// Somebody else changes the node.
    pub(super) fn change_node(&self, change: impl FnOnce(&mut Value)) {
        let mut node = self.node();
        change(&mut node);
        self.put(NODE, &uid(NODE), node);
    }

    /// How often this was done.
    pub(super) fn done(&self, what: &str) -> u32 {
        self.acts.lock().unwrap().get(what).copied().unwrap_or(0)
    }

    fn count(&self, what: &str) {
        *self.acts.lock().unwrap().entry(what.to_owned()).or_default() += 1;
    }

    fn dies(&self) -> bool {
        let half = self.halves.fetch_add(1, Ordering::SeqCst) + 1;
        let dies = half >= self.kill_at.load(Ordering::SeqCst);
        if dies {
            self.killed.lock().unwrap().notify_one();
        }
        dies
    }

    fn answer(&self, asked: &Asked) -> Reply {
        if self.dies() {
            return Reply::Hang;
        }
        let reply = self.act(asked);
        if self.dies() { Reply::Hang } else { reply }
    }

    fn act(&self, asked: &Asked) -> Reply {
        let (method, path) = asked.line.split_once(' ').unwrap();
        let path = path.split('?').next().unwrap();
        let body: Value = serde_json::from_str(&asked.body).unwrap_or_default();
        let path = path.trim_end_matches("/eviction").trim_end_matches("/status");
        let found = self.objects.lock().unwrap().get(path).cloned();
        match (method, found) {
            ("GET", None) => self.list(path),
            ("GET", Some(found)) => Reply::Body(200, found.to_string()),
            ("PATCH", Some(found)) => self.patch(path, found, body),
            ("DELETE" | "POST", Some(found)) => {
                self.delete(path, &found, body.get("deleteOptions").unwrap_or(&body))
            }
            (_, None) => Reply::Body(404, r#"{"details":{"name":"x"}}"#.into()),
            other => panic!("not simulated: {other:?}"),
        }
    }

    fn list(&self, path: &str) -> Reply {
        let objects = self.objects.lock().unwrap();
        let below = format!("{path}/");
        let items: Vec<&Value> =
            objects.iter().filter(|(it, _)| it.starts_with(&below)).map(|(_, it)| it).collect();
        Reply::Body(200, json!({ "metadata": {}, "items": items }).to_string())
    }

    fn patch(&self, path: &str, mut object: Value, patch: Value) -> Reply {
        let patch: json_patch::Patch = serde_json::from_value(patch).unwrap();
        if json_patch::patch(&mut object, &patch).is_err() {
            return Reply::Body(422, "{}".into());
        }
        self.put(path, &uid(path), object.clone());
        self.count(PATCH);
        Reply::Body(200, object.to_string())
    }

    fn delete(&self, path: &str, found: &Value, options: &Value) -> Reply {
        let is_meant = options["preconditions"]["uid"] == found["metadata"]["uid"];
        if !is_meant && !self.ignores_preconditions.load(Ordering::SeqCst) {
            let message = "Precondition failed: UID in precondition: a, UID in object meta: b";
            return Reply::Body(409, json!({ "message": message }).to_string());
        }
        self.count(path);
        let next = format!("{}, again", found["metadata"]["uid"]);
        self.put(path, &next, found.clone());
        Reply::Body(200, "{}".into())
    }
}

fn uid(path: &str) -> String {
    format!("uid of {path}")
}

/// Where the server has a pod.
pub(super) fn path(pod: &PodRef) -> String {
    format!("/api/v1/namespaces/{}/pods/{}", pod.namespace, pod.name)
}

/// So many pods with this beginning of their names.
pub(super) fn pods(start: &str, count: usize) -> Vec<PodRef> {
    let pod = |n: usize| {
        let mut pod =
            PodRef { namespace: "shop".into(), name: format!("{start}-{n}"), uid: String::new() };
        pod.uid = uid(&path(&pod));
        pod
    };
    (0..count).map(pod).collect()
}

/// The uid of the node.
pub(super) fn node_uid() -> String {
    uid(NODE)
}

/// The node's host: all it can do is to be backed up.
impl Hosts for World {
    async fn operate(
        &self,
        _node: &str,
        operation: &HostOperation,
        _content: Option<&[u8]>,
    ) -> Result<Performed, PerformError> {
        panic!("not simulated: {operation:?}")
    }

    async fn probe(&self, _node: &str) -> Result<Vec<u8>, Gap> {
        Err(Gap::new("probe.txt", GapReason::NotAsked, "not simulated"))
    }

    async fn residues(&self, _node: &str) -> Result<Vec<u8>, Gap> {
        Err(Gap::new("residues.txt", GapReason::NotAsked, "not simulated"))
    }

    async fn back_up(&self, _node: &str) -> Result<Vec<u8>, PerformError> {
        if self.dies() {
            std::future::pending::<()>().await;
        }
        self.count(BACK_UP);
        if self.dies() {
            std::future::pending::<()>().await;
        }
        let mut archive = tar::Builder::new(Vec::new());
        for name in ["files/10-calico.conflist", "routes.txt"] {
            let mut header = tar::Header::new_gnu();
            header.set_size(1);
            archive.append_data(&mut header, name, &b"x"[..]).unwrap();
        }
        Ok(archive.into_inner().unwrap())
    }

    async fn binary(
        &self,
        _node: &str,
        name: &str,
        _source: &BinarySource,
    ) -> Result<Vec<u8>, PerformError> {
        panic!("not simulated: {name}")
    }
}

/// What a process is started for.
#[derive(Clone, Copy)]
pub(super) enum Work<'a> {
    Run(&'a Plan),
    /// Goes on with the run of this id.
    Resume(&'a str),
    /// Takes back the run of this id.
    Undo(&'a str),
}

/// A process that dies at this half request; none when it died.
pub(super) async fn process(
    world: &Arc<World>,
    directory: &Path,
    work: Work<'_>,
    kill_at: usize,
) -> Option<Outcome> {
    world.halves.store(0, Ordering::SeqCst);
    world.kill_at.store(kill_at, Ordering::SeqCst);
    let killed = Arc::new(Notify::new());
    *world.killed.lock().unwrap() = killed.clone();
    let answering = world.clone();
    let server = TestServer::start(move |_, asked| answering.answer(asked)).await;
    let cluster: Cluster = server.cluster(Duration::from_secs(20)).await;
    let (_switch, stop) = StopSwitch::new();
    let (mut journal, recorded) = match work {
        Work::Run(plan) => (Journal::create(directory, plan, Timestamp::UNIX_EPOCH).unwrap(), None),
        Work::Resume(run) | Work::Undo(run) => {
            once_given_up(directory);
            let (journal, recorded) =
                Journal::reopen(&directory.join(format!("{run}.jsonl"))).unwrap();
            (journal, Some(recorded))
        }
    };
    let operations = ClusterOperations::with_hosts(&cluster, &**world).written_by("test/1");
    let executor = Executor {
        operations: &operations,
        clock: &QuickClock::new(100),
        journal: &mut journal,
        tenure: &Tenure::unlimited(),
        reporter: &mut Silent,
        stop: &stop,
    };
    let consent = Consent::from_flag(true).unwrap();
    let working = async {
        match (work, &recorded) {
            (Work::Run(plan), _) => executor.run(plan, consent).await,
            (Work::Resume(_), Some(it)) => executor.go_on(&it.plan, &it.states, consent).await,
            (Work::Undo(_), Some(it)) => executor.take_back(it, consent).await,
            _ => panic!("there is no journal"),
        }
    };
    tokio::select! {
        biased;
        () = killed.notified() => None,
        outcome = working => Some(outcome.unwrap()),
    }
}
