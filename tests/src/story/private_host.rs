//! A host within a node: a network of its own, and empty directories where Calico's are. Operations are carried out there
//! with the node's real programs and the real kernel, and the node itself notices nothing.

use std::time::Duration;

use common::node::host::{HostContext, HostResult, parse, render};
use common::plan::{HostOperation, PlanId};

use super::demand;
use crate::testbed::{Error, Node, bpf_object, wait_until};

/// What the operations of these tests say they are a part of.
const RUN: &str = "01PRIVATE";

/// Keeps the namespaces while it sleeps. What is mounted there is seen nowhere else.
const HOLD: &str =
    "/usr/bin/unshare --mount --net /usr/bin/sleep 1800 >/dev/null 2>&1 </dev/null & echo $!";

/// How long it may take until the namespaces are there. Only then nothing that is mounted is seen by the node.
const LIMIT: Duration = Duration::from_secs(20);

/// Mounts that show the new network and hide what the node has.
const FURNISH: &str = r"
set -e
mount -t sysfs sysfs /sys
mount -t bpf bpf /sys/fs/bpf
mount -t tmpfs tmpfs /run
mkdir -p /var/lib/calico && mount -t tmpfs tmpfs /var/lib/calico
mkdir -p /var/lib/cni && mount -t tmpfs tmpfs /var/lib/cni
ip link set lo up
";

/// A host within a node; it ends with this value.
pub struct PrivateHost<'a> {
    node: &'a Node,
    holder: String,
}

impl<'a> PrivateHost<'a> {
    /// Makes one.
    pub fn new(node: &'a Node) -> Result<Self, Error> {
        let holder = node.script(HOLD, &[])?.trim().to_owned();
        let host = Self { node, holder };
        let entered = || {
            let name = node.script("cat \"/proc/$1/comm\"", &[&host.holder]);
            match name.map_err(|error| error.to_string())?.trim() {
                "sleep" => Ok(()),
                other => Err(other.to_owned()),
            }
        };
        wait_until("namespaces of its own", LIMIT, entered)?;
        host.shell(FURNISH)?;
        Ok(host)
    }

    fn enter(&self) -> [&str; 7] {
        ["/usr/bin/nsenter", "-t", &self.holder, "-m", "-n", "/bin/sh", "-s"]
    }

    /// Runs a script there, and gives what it prints.
    pub fn shell(&self, script: &str) -> Result<String, Error> {
        self.node.command(&self.enter())?.input(script).check()
    }

    /// Puts an object file with one BPF program there, which lets everything pass.
    pub fn write_program(&self, path: &str, name: &str, answer: i32) -> Result<(), Error> {
        let line = ["/usr/bin/nsenter", "-t", &self.holder, "-m", "/bin/sh", "-c"];
        let line = [&line[..], &["cat >\"$1\"", "sh", path]].concat();
        self.node.command(&line)?.input(bpf_object::returning(name, answer)).check()?;
        Ok(())
    }

    /// Carries out an operation there.
    pub fn perform(&self, operation: &HostOperation) -> Result<HostResult, Error> {
        let odd = |why: String| Error::Odd { what: format!("{operation:?}"), why };
        let run = PlanId(RUN.to_owned());
        let script = render(operation, &HostContext::new(&run), None)
            .map_err(|error| odd(error.to_string()))?;
        let shell = self.node.command(&self.enter())?;
        let output = shell.input(script.as_bytes()).limit(script.limit()).output()?;
        demand(output.stderr.is_empty(), "a script says nothing else", &output.stderr)?;
        Ok(parse(output.stdout.as_bytes(), output.status.unwrap_or(-1)))
    }

    /// Carries it out, and demands that it says to have changed something.
    pub fn change(&self, operation: &HostOperation) -> Result<(), Error> {
        let result = self.perform(operation)?;
        demand(matches!(result, HostResult::Changed { .. }), "it is done", &(operation, result))
    }

    /// Carries it out, and demands that there was nothing to do.
    pub fn change_nothing(&self, operation: &HostOperation) -> Result<(), Error> {
        let result = self.perform(operation)?;
        demand(matches!(result, HostResult::AlreadyRight(_)), "nothing to do", &(operation, result))
    }

    /// Carries it out, and demands that it is refused, or fails, with these words.
    pub fn change_in_vain(&self, operation: &HostOperation, words: &str) -> Result<(), Error> {
        let result = self.perform(operation)?;
        let is_told = match &result {
            HostResult::Refused(why) | HostResult::Failed(why) => why.contains(words),
            _ => false,
        };
        demand(is_told, words, &(operation, result))
    }
}

impl Drop for PrivateHost<'_> {
    fn drop(&mut self) {
        drop(self.node.script("kill -9 \"$1\"", &[&self.holder]));
    }
}
