//! An API server that keeps blocks and handles as a real one does: versions, conflicts, preconditions. Whoever talks to it can be
//! made to die at every request, before and after it was carried out, and somebody else can write at the worst moment.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use jiff::Timestamp;
use serde_json::{Value, json};
use tokio::sync::Notify;

use crate::cluster::test_server::{Asked, Reply, TestServer};
use crate::execute::lease::Tenure;
use crate::execute::quick_clock::QuickClock;
use crate::execute::simulation::once_given_up;
use crate::execute::{ClusterOperations, Consent, Executor, Journal, Silent, StopSwitch};
use crate::plan::{Outcome, Plan};

/// Nobody dies.
pub(super) const NEVER: usize = usize::MAX;
const API: &str = "/apis/crd.projectcalico.org/v1";

type Somebody = Box<dyn FnOnce(&World) + Send>;

/// The server's objects by path.
#[derive(Default)]
pub(super) struct World {
    objects: Mutex<BTreeMap<String, Value>>,
    version: AtomicUsize,
    /// The control: whoever writes last wins.
    pub(super) ignores_versions: AtomicBool,
    /// Writes immediately before the next PUT of a block is carried out.
    pub(super) meanwhile: Mutex<Vec<Somebody>>,
    /// Half requests until the client dies; the odd ones are before the server acts.
    kill_at: AtomicUsize,
    halves: AtomicUsize,
    killed: Mutex<Arc<Notify>>,
    /// Conflicts so far.
    pub(super) conflicts: AtomicUsize,
}

/// Path of a block or a handle.
pub(super) fn path(plural: &str, name: &str) -> String {
    format!("{API}/{plural}/{name}")
}

impl World {
    pub(super) fn put(&self, path: &str, mut object: Value) {
        let version = self.version.fetch_add(1, Ordering::SeqCst);
        let kept = self.get(path).map(|it| it["metadata"]["uid"].clone());
        let uid = kept.unwrap_or_else(|| json!(format!("uid-{version}")));
        if object["metadata"]["uid"].is_null() {
            object["metadata"]["uid"] = uid;
        }
        object["metadata"]["resourceVersion"] = json!(version.to_string());
        self.objects.lock().unwrap().insert(path.to_owned(), object);
    }

    pub(super) fn get(&self, path: &str) -> Option<Value> {
        self.objects.lock().unwrap().get(path).cloned()
    }

    pub(super) fn remove(&self, path: &str) {
        self.objects.lock().unwrap().remove(path);
    }

    /// Content of all of Calico's objects.
    pub(super) fn specs(&self) -> BTreeMap<String, Value> {
        let objects = self.objects.lock().unwrap();
        let ours = objects.iter().filter(|(path, _)| path.starts_with(API));
        ours.map(|(path, it)| (path[API.len()..].to_owned(), it["spec"].clone())).collect()
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
        let (path, query) = path.split_once('?').unwrap_or((path, ""));
        let body: Value = serde_json::from_str(&asked.body).unwrap_or_default();
        let is_real = !query.contains("dryRun") && body["dryRun"].is_null();
        if method == "PUT" && path.contains("ipamblocks") {
            let somebody = self.meanwhile.lock().unwrap().pop();
            if let Some(write) = somebody {
                write(self);
            }
        }
        let found = self.get(path);
        let versions = |given: &Value, found: &Value| {
            self.ignores_versions.load(Ordering::SeqCst)
                || (given["resourceVersion"] == found["metadata"]["resourceVersion"]
                    && given["uid"] == found["metadata"]["uid"])
        };
        match (method, found) {
            ("GET", Some(found)) => Reply::Body(200, found.to_string()),
            ("PUT", Some(found)) if versions(&body["metadata"], &found) => {
                if is_real {
                    self.put(path, body.clone());
                }
                Reply::Body(200, body.to_string())
            }
            ("DELETE", Some(found)) if versions(&body["preconditions"], &found) => {
                if is_real {
                    self.remove(path);
                }
                Reply::Body(200, "{}".into())
            }
            ("POST", _) => {
                let path = format!("{path}/{}", body["metadata"]["name"].as_str().unwrap());
                if self.get(&path).is_some() {
                    return Reply::Body(409, r#"{"reason":"AlreadyExists"}"#.into());
                }
                if is_real {
                    self.put(&path, body.clone());
                }
                Reply::Body(201, body.to_string())
            }
            (_, None) => Reply::Body(404, r#"{"details":{"name":"x"}}"#.into()),
            (_, Some(_)) => {
                self.conflicts.fetch_add(1, Ordering::SeqCst);
                Reply::Body(409, r#"{"message":"the object has been modified"}"#.into())
            }
        }
    }
}

/// What a process is started for.
#[derive(Clone, Copy)]
pub(super) enum Work<'a> {
    Run(&'a Plan),
    Resume(&'a str),
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
    let cluster = server.cluster(Duration::from_secs(20)).await;
    let (_switch, stop) = StopSwitch::new();
    let (mut journal, recorded) = match work {
        Work::Run(plan) => (Journal::create(directory, plan, Timestamp::UNIX_EPOCH).unwrap(), None),
        Work::Resume(run) | Work::Undo(run) => {
            once_given_up(directory);
            let path = directory.join(format!("{run}.jsonl"));
            let (journal, recorded) = Journal::reopen(&path).unwrap();
            (journal, Some(recorded))
        }
    };
    let executor = Executor {
        operations: &ClusterOperations::new(&cluster).written_by("test/1"),
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
