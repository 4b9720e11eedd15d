//! One node: a "host" with its own network, mount, PID, UTS, IPC and cgroup namespaces and root file system.

use super::artefacts::Artefacts;
use super::command::{Invocation, Output};
use super::error::{Error, FileContext};
use super::layout::{Layout, sources};
use super::process::{self, Process};
use super::wait::wait_until;
use super::{cgroup, network, node_files};
use std::fs;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// The `PATH` of commands run on a node.
const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin:/opt/testbed/bin";

/// Reads a file's content out of its base64, so that bytes survive; a missing file has a status of its own.
const READ: &str = r#"[ -e "$1" ] || exit 44; exec /usr/bin/base64 -w0 "$1""#;

/// Writes a file beside its place and renames it: containerd's watcher of net.d notices that, and readers never see half a file.
const WRITE: &str = r#"umask 077; /usr/bin/cat >"$1.testbed" && /usr/bin/chmod "$2" "$1.testbed" && /usr/bin/mv "$1.testbed" "$1""#;

/// How long a service may take to come or to end. A pod that its DaemonSet makes anew takes longest.
const SERVICE_LIMIT: Duration = Duration::from_secs(40);

/// A program that a node keeps running: services of the host, and one that a pod has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Service {
    /// The kubelet.
    Kubelet,
    /// containerd.
    Containerd,
    /// kube-proxy: a pod of the host's network, whose program is held back as a service is.
    KubeProxy,
}

impl Service {
    /// All services of a node.
    pub const ALL: [Self; 3] = [Self::Kubelet, Self::Containerd, Self::KubeProxy];

    /// Its name, as a unit file would have it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Kubelet => "kubelet",
            Self::Containerd => "containerd",
            Self::KubeProxy => "kube-proxy",
        }
    }
}

/// A node of the testbed.
#[derive(Debug, Clone)]
pub struct Node {
    name: String,
    address: Ipv4Addr,
    layout: Layout,
}

impl Node {
    /// The node of this name, whether it runs or not.
    pub fn named(layout: &Layout, name: &str) -> Result<Self, Error> {
        let address = layout.node_address(super::layout::node_number(name)?);
        Ok(Self { name: name.to_owned(), address, layout: layout.clone() })
    }

    /// Its name, also that of its Node object.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its InternalIP.
    pub fn address(&self) -> Ipv4Addr {
        self.address
    }

    /// Its network namespace, as a file of the machine.
    pub fn network(&self) -> PathBuf {
        Path::new("/run/netns").join(self.layout.link(&self.name))
    }

    fn record(&self) -> String {
        format!("node-{}", self.name)
    }

    /// Starts it; everything inside comes up on its own.
    pub(crate) fn start(&self, artefacts: &Artefacts) -> Result<(), Error> {
        if process::recorded(&self.layout, &self.record()).is_some_and(Process::runs) {
            return Ok(());
        }
        let folder = self.layout.node(&self.name);
        for inner in ["upper", "work", "root", "containerd", "kubelet", "log"] {
            let path = folder.join(inner);
            fs::create_dir_all(&path).file("make", &path)?;
        }
        network::make_node(&self.layout, &self.name)?;
        node_files::write_layer(&self.layout, artefacts, &self.name)?;
        let groups = cgroup::make(&self.layout, &self.name)?;
        let mut line: Vec<String> =
            vec!["nsenter".to_owned(), format!("--net={}", self.network().display())];
        // With --kill-child, whatever ends the recorded process ends process 1 of the node, and the kernel all the rest.
        line.extend(
            "unshare --mount --uts --ipc --pid --cgroup --fork --kill-child /bin/sh"
                .split(' ')
                .map(ToOwned::to_owned),
        );
        let text = |path: &std::path::Path| path.display().to_string();
        line.extend([text(&sources().join("node/mount.sh")), self.name.clone(), text(&folder)]);
        line.extend(
            [&artefacts.rootfs, &artefacts.programs, &artefacts.images].map(|path| text(path)),
        );
        let log = folder.join("log/init.log");
        let outer = process::start(&self.layout, &self.record(), &log, &groups, &line)?;
        self.make_way(outer, &groups)
    }

    /// With cgroup v2 a group that has processes of its own hands down no controllers. The process outside the node that holds it
    /// must therefore leave the group, but not before the node's cgroup namespace has been made of it: when process 1 is there.
    fn make_way(&self, outer: Process, groups: &[PathBuf]) -> Result<(), Error> {
        let Some(group) = groups.iter().find(|group| is_unified_with_controllers(group)) else {
            return Ok(());
        };
        let what = format!("process 1 of {} starts", self.name);
        wait_until(&what, Duration::from_secs(10), || {
            self.init().map_err(|error| error.to_string())
        })?;
        let leaf = group.join("init");
        fs::create_dir_all(&leaf).file("make", &leaf)?;
        let members = leaf.join("cgroup.procs");
        fs::write(&members, outer.pid.to_string()).file("write", &members)
    }

    /// Process 1 of the node, as the machine sees it.
    fn init(&self) -> Result<Process, Error> {
        let missing = || Error::Missing(format!("{} is not running", self.name));
        let outer = process::recorded(&self.layout, &self.record())
            .filter(|outer| outer.runs())
            .ok_or_else(missing)?;
        let path = format!("/proc/{0}/task/{0}/children", outer.pid);
        let children = fs::read_to_string(&path).file("read", path.as_ref())?;
        children
            .split_ascii_whitespace()
            .next()
            .and_then(|pid| Process::now(pid.parse().ok()?))
            .ok_or_else(missing)
    }

    /// Whether its process 1 runs.
    pub fn is_running(&self) -> bool {
        self.init().is_ok()
    }

    /// Its root directory as the machine sees it: for a quick look, without a process on the node.
    pub fn root(&self) -> Result<PathBuf, Error> {
        Ok(PathBuf::from(format!("/proc/{}/root", self.init()?.pid)))
    }

    fn entry(&self, line: &[&str]) -> Result<Vec<String>, Error> {
        let (target, path) = (format!("--target={}", self.init()?.pid), format!("PATH={PATH}"));
        let start = [
            "--mount",
            "--uts",
            "--ipc",
            "--net",
            "--pid",
            "--cgroup",
            "--root",
            "--wd",
            "--",
            "/usr/bin/env",
            "-i",
        ];
        let words =
            [&[target.as_str()], start.as_slice(), &[&path, "HOME=/root", "TERM=linux"], line]
                .concat();
        Ok(words.into_iter().map(ToOwned::to_owned).collect())
    }

    /// Prepares a command on the node, as one would give it by ssh. Use absolute paths.
    pub fn command(&self, line: &[&str]) -> Result<Invocation, Error> {
        Ok(Invocation::of("nsenter").args(self.entry(line)?))
    }

    /// As [`Node::command`], on the terminal of the caller.
    pub fn interactive(&self, line: &[&str]) -> Result<std::process::Command, Error> {
        let mut command = std::process::Command::new("nsenter");
        command.args(self.entry(line)?);
        Ok(command)
    }

    /// Runs a command on the node to its end (60 s at most).
    pub fn run(&self, line: &[&str]) -> Result<Output, Error> {
        self.command(line)?.output()
    }

    /// Runs a command on the node that must succeed, and returns its output.
    pub fn check(&self, line: &[&str]) -> Result<String, Error> {
        self.command(line)?.check()
    }

    /// Runs a script of `/bin/sh` on the node that must succeed, with `$1` and so on.
    pub fn script(&self, script: &str, arguments: &[&str]) -> Result<String, Error> {
        self.check(&[&["/bin/sh", "-c", script, "sh"], arguments].concat())
    }

    /// Reads a file; `None` if there is none.
    pub fn read(&self, path: &str) -> Result<Option<Vec<u8>>, Error> {
        use base64::Engine as _;
        let output = self.run(&["/bin/sh", "-c", READ, "sh", path])?;
        match output.status {
            Some(0) => base64::engine::general_purpose::STANDARD
                .decode(output.stdout.trim())
                .map(Some)
                .map_err(|error| Error::Odd {
                    what: format!("{path} of {}", self.name),
                    why: error.to_string(),
                }),
            Some(44) => Ok(None),
            _ => Err(Error::Odd { what: format!("{path} of {}", self.name), why: output.stderr }),
        }
    }

    /// Reads a file as text; it must exist.
    pub fn read_text(&self, path: &str) -> Result<String, Error> {
        let bytes = self
            .read(path)?
            .ok_or_else(|| Error::Missing(format!("{} has no {path}", self.name)))?;
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    }

    /// Writes a file, whole or not at all. `mode` in octal, such as `0600`.
    pub fn write(&self, path: &str, content: &[u8], mode: &str) -> Result<(), Error> {
        self.command(&["/bin/sh", "-c", WRITE, "sh", path, mode])?.input(content).check().map(drop)
    }

    /// Removes a file; none there is as good.
    pub fn remove(&self, path: &str) -> Result<(), Error> {
        self.check(&["/usr/bin/rm", "-f", path]).map(drop)
    }

    /// Renames a file, overwriting.
    pub fn rename(&self, from: &str, to: &str) -> Result<(), Error> {
        self.check(&["/usr/bin/mv", "-f", from, to]).map(drop)
    }

    /// Whether there is such a file.
    pub fn has(&self, path: &str) -> Result<bool, Error> {
        Ok(self.run(&["/usr/bin/test", "-e", path])?.is_success())
    }

    /// Whether a service runs.
    pub fn service_runs(&self, service: Service) -> Result<bool, Error> {
        let script = match service {
            // The number that a process has in its container says nothing here; what it was started as does.
            Service::KubeProxy => r#"/usr/bin/pgrep -f "^/opt/testbed/bin/kubebox $1 " >/dev/null"#,
            _ => r#"read -r pid <"/run/testbed/$1.pid" && kill -0 "$pid""#,
        };
        Ok(self.run(&["/bin/sh", "-c", script, "sh", service.name()])?.is_success())
    }

    /// Ends a service and keeps it from coming back until [`Node::start_service`].
    pub fn stop_service(&self, service: Service) -> Result<(), Error> {
        let script = r#"touch "/run/testbed/$1.stop"; { read -r pid <"/run/testbed/$1.pid" && kill "$pid"; } 2>/dev/null; exit 0"#;
        self.script(script, &[service.name()])?;
        self.wait_service(service, false)
    }

    /// Lets a service run again.
    pub fn start_service(&self, service: Service) -> Result<(), Error> {
        self.remove(&format!("/run/testbed/{}.stop", service.name()))?;
        self.wait_service(service, true)
    }

    /// Ends a service and lets it come back.
    pub fn restart_service(&self, service: Service) -> Result<(), Error> {
        self.stop_service(service)?;
        self.start_service(service)
    }

    fn wait_service(&self, service: Service, wanted: bool) -> Result<(), Error> {
        let what =
            format!("{} of {} {}", service.name(), self.name, if wanted { "runs" } else { "ends" });
        wait_until(&what, SERVICE_LIMIT, || match self.service_runs(service) {
            Ok(runs) if runs == wanted => Ok(()),
            Ok(runs) => Err(format!("runs: {runs}")),
            Err(error) => Err(error.to_string()),
        })
    }
}

/// Whether this is a group of cgroup v2 that has controllers to hand down; in a hybrid the v1 hierarchies have them.
fn is_unified_with_controllers(group: &Path) -> bool {
    let controllers = fs::read_to_string(group.join("cgroup.controllers"));
    controllers.is_ok_and(|names| names.split_ascii_whitespace().any(|name| name == "memory"))
}
