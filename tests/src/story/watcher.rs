//! Looks all the while whether every node has somebody who serves its Services.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use super::demand;
use crate::testbed::{Error, Node, Service, Testbed, wait_until};

/// Time between two looks at all nodes.
const PAUSE: Duration = Duration::from_millis(100);
/// Time within which the control must fire.
const LIMIT: Duration = Duration::from_secs(20);
/// Says what serves on a node: kube-proxy's process, and eBPF with a program on the node's device and a table of Services.
const SERVES: &str = r#"pgrep -f "^/opt/testbed/bin/kubebox kube-proxy " >/dev/null && echo kube-proxy
tc filter show dev eth0 ingress 2>/dev/null | grep -q cali_ && nft list table ip testbed-bpf >/dev/null 2>&1 && echo ebpf
exit 0"#;

/// What was seen.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Watched {
    /// Nodes that nobody served, with the milliseconds since the start at which that was seen first.
    pub alarms: BTreeMap<String, u128>,
    /// So many looks were had.
    pub looks: usize,
    /// Every way in which nodes were seen to be served: `kube-proxy`, `kube-proxy ebpf`, `ebpf`.
    pub ways: BTreeMap<String, usize>,
    /// Looks that failed.
    pub missed: usize,
}

/// The watcher; it ends when it is dropped.
#[derive(Debug)]
pub struct Watcher {
    ended: Arc<AtomicBool>,
    looks: Arc<AtomicUsize>,
    seen: Arc<Mutex<Watched>>,
    thread: Option<JoinHandle<()>>,
}

impl Watcher {
    /// Begins to look at all nodes of the testbed.
    pub fn start(testbed: &Testbed) -> Self {
        let nodes = testbed.nodes().to_vec();
        let (ended, looks) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
        let seen = Arc::new(Mutex::new(Watched::default()));
        let (its_end, its_looks, its_seen) = (ended.clone(), looks.clone(), seen.clone());
        let thread = thread::spawn(move || {
            let began = Instant::now();
            while !its_end.load(Ordering::SeqCst) {
                look(&nodes, began, &its_seen);
                its_looks.fetch_add(1, Ordering::SeqCst);
                thread::sleep(PAUSE);
            }
        });
        Self { ended, looks, seen, thread: Some(thread) }
    }

    /// Whether it has seen a node that nobody served.
    pub fn has_alarm(&self) -> bool {
        !self.seen.lock().unwrap_or_else(PoisonError::into_inner).alarms.is_empty()
    }

    /// The control: with kube-proxy held back on a node that is not on eBPF, a watcher has an alarm.
    pub fn can_fire(testbed: &Testbed) -> Result<(), Error> {
        let node = &testbed.nodes()[0];
        let watcher = Self::start(testbed);
        node.stop_service(Service::KubeProxy)?;
        let fired = wait_until("the watcher looks", LIMIT, || {
            if watcher.has_alarm() { Ok(()) } else { Err("no alarm".to_owned()) }
        });
        node.start_service(Service::KubeProxy)?;
        fired?;
        let seen = watcher.end();
        demand(seen.alarms.contains_key(node.name()), "the watcher can fire", &seen)
    }

    /// Ends it, and tells what it saw.
    pub fn end(mut self) -> Watched {
        self.stop();
        let looks = self.looks.load(Ordering::SeqCst);
        let seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        Watched { looks, ..seen.clone() }
    }

    fn stop(&mut self) {
        self.ended.store(true, Ordering::SeqCst);
        if let Some(thread) = self.thread.take() {
            drop(thread.join());
        }
    }
}

impl Drop for Watcher {
    fn drop(&mut self) {
        self.stop();
    }
}

fn look(nodes: &[Node], began: Instant, seen: &Mutex<Watched>) {
    for node in nodes {
        let said = node.script(SERVES, &[]);
        let mut seen = seen.lock().unwrap_or_else(PoisonError::into_inner);
        match way(said) {
            Ok(way) if way.is_empty() => {
                let at = began.elapsed().as_millis();
                seen.alarms.entry(node.name().to_owned()).or_insert(at);
            }
            Ok(way) => *seen.ways.entry(way).or_default() += 1,
            Err(_) => seen.missed += 1,
        }
    }
}

fn way(said: Result<String, Error>) -> Result<String, Error> {
    said.map(|text| text.split_whitespace().collect::<Vec<_>>().join(" "))
}

impl Watched {
    /// Whether nothing was amiss, and it really looked.
    pub fn is_quiet(&self) -> bool {
        self.alarms.is_empty() && self.missed == 0 && self.looks > 0
    }
}
