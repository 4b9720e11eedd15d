//! A real Kubernetes on one Linux machine, without a container engine.
//!
//! etcd, API server, controller manager and scheduler are processes of the machine; every node has its own network, mount,
//! PID, UTS, IPC and cgroup namespaces, its own root file system, and in it containerd and kubelet, and kube-proxy as a DaemonSet. All of that is
//! real. Calico's own programs on the nodes are stand-ins (tests/testbed/standin). See tests/testbed/README.md.
//!
//! # In a test
//!
//! ```no_run
//! use tests::testbed::{self, Testbed, wait_until};
//! # fn main() -> Result<(), testbed::Error> {
//! let Some(testbed) = Testbed::for_test("my_test")? else { return Ok(()) };   // prints why it skips; fails if CI=true
//! let node = testbed.lease_node()?;              // nobody else breaks this node while we hold it
//! let fault = testbed.hide_cni_binary(&node)?;   // undone when dropped, also when the test panics
//! testbed.kubectl(&["get", "nodes"])?;           // stdout; an error if kubectl fails
//! node.script("/bin/ls /etc/cni/net.d", &[])?;   // a shell on the node
//! fault.undo()?;                                 // or undone here, with errors seen
//! # Ok(()) }
//! ```
//!
//! - [`Testbed::attach_or_start`] uses the testbed that runs, or starts one; it goes on running when the test ends, so that one
//!   `cargo test` pays for one start. `cargo run -p tests --bin testbed -- down` stops it.
//! - With `KUBECTL_CALICO_TESTBEDS=2` (as `make e2e` has it) there are two, and tests that run beside each other get one each.
//! - A test that breaks one node takes [`Testbed::lease_node`]; one that breaks the cluster takes [`Testbed::lock_cluster`], which
//!   waits until no node is leased. A test that only looks needs neither, and must bear with others' broken nodes.
//!   Never ask for the cluster while holding a lease.
//! - Both give back nodes that work: what an earlier test left broken is repaired first ([`Testbed::repair_node`]).
//! - Faults of a node: [`Testbed::expire_token`], [`Testbed::hide_cni_binary`], [`Testbed::hide_conflist`],
//!   [`Testbed::hide_cni_kubeconfig`], [`Testbed::foreign_conflist`], [`Testbed::remove_calico_image`], [`Testbed::stick`],
//!   [`Testbed::orphan_sandboxes`], [`Testbed::make_unready`], [`Testbed::stop_service`]. Of the cluster:
//!   [`Testbed::delete_cluster_information`], [`Testbed::stop_api_server`], [`Testbed::stop_controllers`], [`Testbed::restrict_pods`], and
//!   [`Testbed::recreate_service_account`], [`Testbed::renew`]; after the last two, [`Testbed::heal_credentials`].
//! - eBPF: [`Testbed::tell_felix`] turns it on and off, [`Testbed::wait_bpf`] waits for it, [`OLD_KERNEL`] and [`BPF_DIRTY`] keep it
//!   from a node. [`Testbed::restore_kube_proxy`] gives kube-proxy's DaemonSet back what it had.
//! - A node that Calico has left: [`Testbed::abandon`], then [`Abandoned::seed`] (everything that Calico leaves) or
//!   [`Abandoned::seed_look_alikes`] (what only looks like it). [`Dump::of`] writes a node down, to compare.
//! - Wait with [`wait_until`], on a condition, with a limit.

mod artefacts;
mod bpf;
pub mod bpf_object;
mod calico_image;
mod certificates;
mod cgroup;
mod command;
mod control_plane;
mod dump;
mod error;
mod faults;
mod image;
mod inventory;
mod kubeconfig;
mod layout;
mod lease;
mod lifecycle;
mod lock;
mod logs;
mod network;
mod node;
mod node_files;
mod precondition;
mod process;
mod progress;
mod proxy;
mod repair;
mod residues;
mod seat;
mod sysctl;
mod token;
mod wait;

pub use artefacts::Artefacts;
pub use bpf::{BPF_DIRTY, OLD_KERNEL};
pub use calico_image::FORBIDDEN;
pub use command::{Invocation, Output};
pub use dump::Dump;
pub use error::Error;
pub use faults::{
    CNI_BINARY, CNI_KUBECONFIG, CONFLIST, ClusterFault, FOREIGN_CONFLIST, Fault, Foreign, Renewal,
    Sandbox,
};
pub use inventory::Inventory;
pub use layout::{Layout, sources};
pub use lease::{ClusterLock, NodeLease};
pub use node::{Node, Service};
pub use precondition::{Skip, available};
pub(crate) use process::MARK;
pub use process::Process;
pub use progress::Progress;
pub use residues::{Abandoned, Beside};
pub use seat::layouts;
pub use wait::{wait_every, wait_until};

use control_plane::ControlPlane;
use layout::{MOST_NODES, node_names};
use lifecycle::Running;
use lock::FileLock;
use seat::Seat;
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// How long to wait for another process that is starting or stopping the same testbed.
const START_LIMIT: Duration = Duration::from_secs(15 * 60);

/// How long to wait for tests that use a testbed which must make way for another one (other sources, more nodes).
const OTHERS_LIMIT: Duration = Duration::from_secs(10 * 60);

/// What pods get their network from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Cni {
    /// The stand-in for Calico.
    Calico,
    /// Nothing: nodes stay NotReady.
    None,
}

/// What a testbed is to be like.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Options {
    /// How many nodes, 1 to 20. All of them are workers; the control plane has none.
    pub workers: u8,
    /// What pods get their network from.
    pub cni: Cni,
}

impl Default for Options {
    fn default() -> Self {
        Self { workers: 2, cni: Cni::Calico }
    }
}

/// A running testbed.
#[derive(Debug)]
pub struct Testbed {
    layout: Layout,
    artefacts: Artefacts,
    nodes: Vec<Node>,
    /// Keeps others from stopping it.
    _use: FileLock,
    /// The place that a test has taken at it.
    _seat: Option<Seat>,
}

impl Testbed {
    /// The testbed for a test of this name, or `None` if there can be none here (not Linux, not root): then a line says so, and
    /// the test is to return. With `CI=true` that is an error, because a skipped test proves nothing.
    pub fn for_test(name: &str) -> Result<Option<Self>, Error> {
        match available() {
            Ok(()) => Self::with_seat().map(Some),
            Err(skip) if std::env::var("CI").is_ok_and(|ci| ci == "true") => {
                Err(Error::Missing(format!("{name} cannot be skipped with CI=true: {skip}")))
            }
            Err(skip) => {
                Progress::on_stderr().line(&format!("test {name} ... skipped: {skip}"));
                Ok(None)
            }
        }
    }

    fn with_seat() -> Result<Self, Error> {
        let (seat, layout) = Seat::take()?;
        let testbed = Self::start(&layout, Options::default(), Progress::on_stderr())?;
        Ok(Self { _seat: Some(seat), ..testbed })
    }

    /// Whether this machine can run a testbed at all: Linux, and root.
    pub fn available() -> Result<(), Skip> {
        available()
    }

    /// Uses the running testbed if it is what the sources make, and starts it (anew) otherwise.
    pub fn attach_or_start() -> Result<Self, Error> {
        Self::start(&Layout::from_environment()?, Options::default(), Progress::on_stderr())
    }

    /// As [`Testbed::attach_or_start`], with a place and options of one's own.
    pub fn start(layout: &Layout, options: Options, progress: Progress) -> Result<Self, Error> {
        precondition::check()?;
        if !(1..=MOST_NODES).contains(&options.workers) {
            return Err(Error::Odd {
                what: "the number of workers".to_owned(),
                why: format!("it is not 1 to {MOST_NODES}"),
            });
        }
        let _starting = FileLock::exclusive(&layout.locks().join("start"), START_LIMIT)?;
        let artefacts = Artefacts::build(layout, progress)?;
        let wanted = Running::would_be(layout, &artefacts, options)?;
        let found = Running::read(layout).filter(|running| running.serves(&wanted));
        let found = found.filter(|running| is_whole(layout, &artefacts, running));
        let workers = if let Some(running) = found {
            running.options.workers
        } else {
            let _alone = FileLock::exclusive(&layout.locks().join("use"), OTHERS_LIMIT)?;
            if layout.run().exists() {
                lifecycle::down(layout, progress)?;
            }
            lifecycle::up(layout, &artefacts, options, progress).inspect_err(|_| {
                progress.line(&format!(
                    "testbed: the logs of what failed are below {}",
                    layout.run().display()
                ));
            })?;
            options.workers
        };
        let in_use = FileLock::shared(&layout.locks().join("use"), START_LIMIT)?;
        let nodes = node_names(workers)
            .iter()
            .map(|name| Node::named(layout, name))
            .collect::<Result<_, _>>()?;
        Ok(Self { layout: layout.clone(), artefacts, nodes, _use: in_use, _seat: None })
    }

    /// Stops a testbed, whatever state it is in, and removes all of it. With `force` also if tests are using it.
    ///
    /// Where there can be no testbed, and none is, nothing needs to be done.
    pub fn stop(layout: &Layout, force: bool, progress: Progress) -> Result<(), Error> {
        match available() {
            Err(_) if !layout.run().exists() => return Ok(()),
            Err(skip) => return Err(Error::Missing(skip.0)),
            Ok(()) => {}
        }
        if force {
            return lifecycle::down(layout, progress);
        }
        let _starting = FileLock::exclusive(&layout.locks().join("start"), START_LIMIT)?;
        let _alone = alone(layout)?;
        lifecycle::down(layout, progress)
    }

    /// Builds what is missing of the artefacts.
    pub fn build(layout: &Layout, progress: Progress) -> Result<Artefacts, Error> {
        precondition::check()?;
        Artefacts::build(layout, progress)
    }

    /// Whether a testbed that was started to the end is there and answers.
    pub fn is_running(layout: &Layout) -> Result<bool, Error> {
        let artefacts = Artefacts::of(layout)?;
        Ok(Running::read(layout).is_some_and(|running| is_whole(layout, &artefacts, &running)))
    }

    /// Names and folders.
    pub fn layout(&self) -> &Layout {
        &self.layout
    }

    /// The administrator's kubeconfig.
    pub fn kubeconfig(&self) -> PathBuf {
        self.layout.kubeconfig()
    }

    /// The real kubectl: `PROGRAM kubectl ARGUMENTS`, as this one program is all of Kubernetes.
    pub fn kubebox(&self) -> &Path {
        &self.artefacts.kubebox
    }

    /// The artefacts it runs on.
    pub fn artefacts(&self) -> &Artefacts {
        &self.artefacts
    }

    fn control_plane(&self) -> ControlPlane<'_> {
        ControlPlane { layout: &self.layout, artefacts: &self.artefacts }
    }

    /// Runs kubectl as administrator; it must succeed. Returns its standard output.
    pub fn kubectl(&self, arguments: &[&str]) -> Result<String, Error> {
        self.control_plane().kubectl_invocation(arguments).check()
    }

    /// Runs kubectl as administrator, however it ends.
    pub fn kubectl_output(&self, arguments: &[&str]) -> Result<Output, Error> {
        self.control_plane().kubectl(arguments)
    }

    /// Applies a manifest.
    pub fn apply(&self, manifest: &str) -> Result<(), Error> {
        self.control_plane()
            .kubectl_invocation(&["apply", "--filename=-"])
            .input(manifest)
            .check()
            .map(drop)
    }

    /// Asks for one field (`jsonpath`) of what `kubectl get` finds.
    pub fn field(&self, what: &[&str], jsonpath: &str) -> Result<String, Error> {
        self.kubectl(&[&["get"], what, &[&format!("--output=jsonpath={jsonpath}")]].concat())
    }

    /// All nodes.
    pub fn nodes(&self) -> &[Node] {
        &self.nodes
    }

    /// The node with this name.
    pub fn node(&self, name: &str) -> Result<&Node, Error> {
        let found = self.nodes.iter().find(|node| node.name() == name);
        found.ok_or_else(|| Error::Missing(format!("the testbed has no node {name}")))
    }

    /// Waits until all nodes are Ready and calico-node is rolled out.
    pub fn wait_ready(&self) -> Result<(), Error> {
        lifecycle::wait_ready(&self.control_plane(), self.nodes.len())
    }

    /// Copies logs and the state of the cluster into a folder, for somebody who wants to know why a test failed.
    pub fn collect(&self, folder: &Path) -> Result<(), Error> {
        logs::collect(self, folder)
    }
}

/// Whether the API server answers and no node has died.
fn is_whole(layout: &Layout, artefacts: &Artefacts, running: &Running) -> bool {
    let mut names = node_names(running.options.workers).into_iter();
    names.all(|name| Node::named(layout, &name).is_ok_and(|node| node.is_running()))
        && lifecycle::is_alive(&ControlPlane { layout, artefacts })
}

/// Sees to it that nobody uses the testbed that is about to be stopped.
fn alone(layout: &Layout) -> Result<FileLock, Error> {
    FileLock::try_exclusive(&layout.locks().join("use"))?.ok_or_else(|| {
        Error::Busy(format!(
            "testbed {} is in use by a running test (`testbed down --force` stops it all the same)",
            layout.instance()
        ))
    })
}
