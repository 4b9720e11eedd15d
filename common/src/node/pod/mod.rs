//! Ephemeral privileged pods: how a host is reached when nothing of Calico runs there, or when something is to be changed.
//!
//! [`NodePods`] owns all pods of a run. [`NodePods::on`] makes one on first use, and gives the same one again. The pod
//! needs no scheduler, no pod network, no registry, no image with a shell and no ServiceAccount token. What stands in its
//! way is told within seconds, in words ([`NodePodError`]); what can be tried instead is tried first.
//!
//! **Whoever makes a [`NodePods`] must call [`NodePods::close`] on every way out**, also when the user interrupts:
//! nothing asynchronous can be done when a value is dropped. What a killed run leaves ends by its deadline, and is found
//! by its labels.

mod error;
mod facts;
mod image;
mod ledger;
mod message;
mod obstacle;
#[cfg(test)]
mod obstacle_tests;
mod options;
mod run;
mod spec;
mod start;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::Semaphore;

pub use error::NodePodError;
pub use facts::namespaces;
pub use ledger::LeftBehind;
pub use options::{DEFAULT_MAX_PARALLEL, ImageChoice, NodePodOptions, Op, candidate_namespaces};
pub use run::{HOST_ROOT, HostRun, Repeat};
pub use spec::{
    EXPIRES_AT_ANNOTATION, MANAGED_BY, MANAGED_BY_LABEL, NODE_ANNOTATION, OP_LABEL,
    REASON_ANNOTATION, RUN_LABEL, USER_ANNOTATION,
};

use crate::cluster::Cluster;
use ledger::Ledger;
use spec::{Attempt, Work};
use start::Made;

/// A pod that the kubelet is about to end is not used any more.
const SPARE: Duration = Duration::from_secs(60);

/// The node pods of one run. Clones share them.
#[derive(Clone)]
pub struct NodePods(Arc<Inner>);

/// A node, and the image when it is not any image.
type Place = (String, Option<String>);
/// The pod of a place. Whoever needs it while it is made waits for the lock.
type Slot = Arc<tokio::sync::Mutex<Option<NodePod>>>;

struct Inner {
    cluster: Cluster,
    options: NodePodOptions,
    ledger: Arc<Ledger>,
    slots: Mutex<BTreeMap<Place, Slot>>,
    starts: Semaphore,
    /// Numbers the pods of the run.
    serial: AtomicU64,
    /// What worked last.
    known: Mutex<Option<Attempt>>,
    /// Namespaces in which all may be done with pods that must be.
    allowed: Mutex<BTreeSet<String>>,
    /// Nodes on which exec does not work.
    without_exec: Mutex<BTreeSet<String>>,
}

/// A running pod on a node. Clones are the same pod.
#[derive(Clone)]
pub struct NodePod {
    inner: Arc<Inner>,
    node: String,
    made: Made,
    since: Instant,
}

impl NodePods {
    /// Nothing is made yet.
    pub fn new(cluster: &Cluster, options: NodePodOptions) -> Self {
        let starts = Semaphore::new(options.max_parallel.max(1));
        Self(Arc::new(Inner {
            cluster: cluster.clone(),
            options,
            ledger: Arc::default(),
            slots: Mutex::default(),
            starts,
            serial: AtomicU64::new(0),
            known: Mutex::default(),
            allowed: Mutex::default(),
            without_exec: Mutex::default(),
        }))
    }

    /// What was asked of them.
    pub fn options(&self) -> &NodePodOptions {
        &self.0.options
    }

    /// The pod on `node`: made on first use, and again when the old one is about to end.
    ///
    /// # Errors
    /// What stands in its way.
    pub async fn on(&self, node: &str) -> Result<NodePod, NodePodError> {
        self.at(node, None).await
    }

    /// A pod on `node` that runs this image, which must be on the node: to take files out of it.
    ///
    /// # Errors
    /// What stands in its way.
    pub async fn on_image(&self, node: &str, image: &str) -> Result<NodePod, NodePodError> {
        self.at(node, Some(image)).await
    }

    async fn at(&self, node: &str, image: Option<&str>) -> Result<NodePod, NodePodError> {
        let place = (node.to_owned(), image.map(str::to_owned));
        let slot: Slot = lock(&self.0.slots).entry(place).or_default().clone();
        let mut slot = slot.lock().await;
        if let Some(pod) = slot.as_ref().filter(|pod| pod.is_fresh()) {
            return Ok(pod.clone());
        }
        if let Some(old) = slot.take() {
            self.0.ledger.delete(&self.0.cluster, &old.made.object.name).await.ok();
        }
        let permit = self.0.starts.acquire().await.map_err(|_| NodePodError::Closed)?;
        let (made, ()) = self.0.start(node, image, &Work::Wait, None, start::runs).await?;
        drop(permit);
        let pod =
            NodePod { inner: self.0.clone(), node: node.to_owned(), made, since: Instant::now() };
        *slot = Some(pod.clone());
        Ok(pod)
    }

    /// Deletes the pods on `node`. Pods that are not needed any more make room for others.
    pub async fn release(&self, node: &str) {
        let slots: Vec<Slot> = lock(&self.0.slots)
            .iter()
            .filter(|((name, _), _)| name == node)
            .map(|(_, slot)| slot.clone())
            .collect();
        for slot in slots {
            if let Some(pod) = slot.lock().await.take() {
                // What cannot be deleted stays in the ledger, and is tried again at the end.
                self.0.ledger.delete(&self.0.cluster, &pod.made.object.name).await.ok();
            }
        }
    }

    /// Deletes all pods of the run, also those whose creation is under way, and lets no more be made. What could not be
    /// deleted is told; calling it again tries again.
    pub async fn close(&self) -> Vec<LeftBehind> {
        self.0.ledger.close(&self.0.cluster).await
    }
}

impl NodePod {
    /// The node.
    pub fn node(&self) -> &str {
        &self.node
    }

    /// `namespace/name`
    pub fn full_name(&self) -> String {
        format!("{}/{}", self.made.object.namespace, self.made.object.name)
    }

    /// The image that it runs.
    pub fn image(&self) -> &str {
        &self.made.attempt.image
    }

    fn is_fresh(&self) -> bool {
        self.since.elapsed() + SPARE < self.inner.options.deadline
    }
}

impl Inner {
    fn remember(&self, attempt: &Attempt) {
        *lock(&self.known) = Some(attempt.clone());
    }

    fn known_attempt(&self) -> Option<Attempt> {
        lock(&self.known).clone()
    }

    fn has_no_exec(&self, node: &str) -> bool {
        lock(&self.without_exec).contains(node)
    }

    fn note_no_exec(&self, node: &str) {
        lock(&self.without_exec).insert(node.to_owned());
    }

    /// A pod that turned out to be gone is not given to anybody again.
    async fn drop_pod(&self, pod: &NodePod) {
        let slots: Vec<Slot> = lock(&self.slots).values().cloned().collect();
        for slot in slots {
            let mut slot = slot.lock().await;
            if slot.as_ref().is_some_and(|it| it.made.object == pod.made.object) {
                *slot = None;
            }
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl fmt::Debug for NodePods {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NodePods").field("options", &self.0.options).finish_non_exhaustive()
    }
}

impl fmt::Debug for NodePod {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NodePod")
            .field("node", &self.node)
            .field("pod", &self.full_name())
            .finish_non_exhaustive()
    }
}
