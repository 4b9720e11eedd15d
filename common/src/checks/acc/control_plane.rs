//! Why the API server of a host does not serve, as the host itself shows it. Made for control planes whose parts are
//! static pods, as kubeadm makes them.

use jiff::Timestamp;

use crate::checks::Context;
use crate::findings::{Confidence, Evidence};
use crate::snapshot::{Certificate, ControlPlane, HostFacts, Known, Service, Vantage};

/// Port of the API server, unless its static pod says otherwise.
const API_PORT: u16 = 6443;
/// Port on which etcd serves.
const ETCD_PORT: u16 = 2379;
/// Lines of a log that are shown.
const LOG_LINES: usize = 3;

/// What is wrong with the API server of one host.
#[derive(Clone, Debug)]
pub(in crate::checks) struct Fault {
    /// Stable word.
    pub(in crate::checks) key: &'static str,
    /// Why, in a clause.
    pub(in crate::checks) text: String,
    /// What to do, and that no reset is needed.
    pub(in crate::checks) advice: String,
    /// How sure.
    pub(in crate::checks) confidence: Confidence,
    /// What was seen.
    pub(in crate::checks) evidence: Vec<Evidence>,
}

impl Fault {
    fn new(key: &'static str, text: impl Into<String>, advice: impl Into<String>) -> Self {
        Self {
            key,
            text: text.into(),
            advice: advice.into(),
            confidence: Confidence::Certain,
            evidence: Vec::new(),
        }
    }

    fn shown(mut self, source: impl Into<String>, excerpt: impl Into<String>) -> Self {
        self.evidence.push(Evidence::new(source, excerpt));
        self
    }
}

/// What the API server of a host is found in.
#[derive(Clone, Debug)]
pub(in crate::checks) enum Standing {
    /// The host has no part of the control plane, or does not show it: nothing can be said.
    NotKnown,
    /// It runs and listens.
    Serves,
    /// It does not serve.
    Broken(Fault),
}

/// True when this host should run an API server, does not, and its kubelet is why.
pub(in crate::checks) fn needs_its_kubelet(host: &HostFacts) -> bool {
    part(host).is_some_and(|part| !serves(part)) && kubelet_is_down(host)
}

/// True when the host shows that its kubelet does not run. Where there is no systemd, only a health port that refuses
/// tells: the program may be called otherwise.
pub(in crate::checks) fn kubelet_is_down(host: &HostFacts) -> bool {
    if host.kubelet_healthy == Known::Known(true) {
        return false;
    }
    match &host.kubelet {
        Known::Known(kubelet) => !kubelet.is_running(),
        Known::Absent => host.kubelet_healthy == Known::Known(false),
        Known::Unknown(_) => false,
    }
}

/// What `node` shows of its API server.
pub(in crate::checks) fn judge(context: &Context<'_>, node: &str, host: &HostFacts) -> Standing {
    let Some(part) = part(host) else { return Standing::NotKnown };
    let now = host.time.known().copied().unwrap_or(context.now);
    let look = Look { node, host, part, now };
    if serves(part) {
        return look.refused_certificate().map_or(Standing::Serves, Standing::Broken);
    }
    let fault = look
        .kubelet()
        .or_else(|| look.certificate(|_| true))
        .or_else(|| look.manifests())
        .or_else(|| look.etcd())
        .unwrap_or_else(|| look.crashing());
    Standing::Broken(fault)
}

/// The host's part of the control plane, when it has one and it was seen from the host.
fn part(host: &HostFacts) -> Option<&ControlPlane> {
    let part = host.control_plane.known().filter(|part| part.is_member())?;
    // Without these two nobody can say that something does not run.
    let is_seen = part.listening.known().is_some() && part.processes.known().is_some();
    (host.vantage != Vantage::CalicoNode && is_seen).then_some(part)
}

fn serves(part: &ControlPlane) -> bool {
    let port = part.flags.get("secure-port").and_then(|it| it.parse().ok()).unwrap_or(API_PORT);
    // Ports of its own choice are not listed: there the process has to do.
    listens(part, port) || (port != API_PORT && part.runs("kube-apiserver"))
}

fn listens(part: &ControlPlane, port: u16) -> bool {
    part.listening.known().is_some_and(|ports| ports.contains(&port))
}

struct Look<'a> {
    node: &'a str,
    host: &'a HostFacts,
    part: &'a ControlPlane,
    now: Timestamp,
}

impl Look<'_> {
    fn kubelet(&self) -> Option<Fault> {
        if let Known::Known(runtime @ Service::Unit(unit)) = &self.host.container_runtime
            && !runtime.is_running()
        {
            let fault = Fault::new(
                "runtime-down",
                format!(
                    "the container runtime of {} is not running: {} is {}",
                    self.node, unit.name, unit.active
                ),
                format!(
                    "no reset is needed: once it runs (systemctl enable --now {}), the kubelet starts the API server by itself",
                    unit.name
                ),
            );
            return Some(fault);
        }
        if !kubelet_is_down(self.host) {
            return None;
        }
        let mut fault = Fault::new(
            "kubelet-down",
            format!(
                "the kubelet of {} is not running, and it is what starts the API server",
                self.node
            ),
            "no reset is needed: `journalctl -u kubelet` says why it ended; once it runs, it starts the API server by itself",
        );
        match &self.host.kubelet {
            Known::Known(Service::Unit(unit)) => {
                let text =
                    format!("{} {} {}, {}", unit.active, unit.sub, unit.result, unit.enabled);
                fault = fault.shown(format!("{}: systemctl show {}", self.node, unit.name), text);
            }
            _ => fault = fault.shown(format!("{}: port 10248", self.node), "nothing answers"),
        }
        if let Some(log) = self.host.sections.get("kubelet-log").filter(|it| it.rc == 0)
            && !log.text.trim().is_empty()
        {
            fault = fault.shown(format!("{}: kubelet's log", self.node), tail(log.text.lines()));
        }
        if let Some(expired) = self.expired(|it| it.file.starts_with("/var/lib/kubelet/")).first() {
            fault = fault.shown(format!("{}: {}", self.node, expired.file), dates(expired));
        }
        Some(fault)
    }

    /// Clients refuse a server whose own certificate, or whose authority, is past its date, although it serves.
    fn refused_certificate(&self) -> Option<Fault> {
        let names = ["/etc/kubernetes/pki/apiserver.crt", "/etc/kubernetes/pki/ca.crt"];
        self.certificate(|it| names.contains(&it.file.as_str()))
    }

    fn certificate(&self, concerns: impl Fn(&Certificate) -> bool) -> Option<Fault> {
        let expired =
            self.expired(|it| it.file.starts_with("/etc/kubernetes/pki/") && concerns(it));
        let first = expired.first()?;
        let is_authority = |it: &&Certificate| {
            it.file.rsplit('/').next().is_some_and(|name| name.ends_with("ca.crt"))
        };
        let names: Vec<&str> = expired.iter().map(|it| it.file.as_str()).collect();
        let verb = if names.len() == 1 { "has" } else { "have" };
        let advice = match expired.iter().copied().find(is_authority) {
            Some(authority) => format!(
                "the authority {} itself is past its date: a new one must sign every certificate of the cluster, kubelets' included; that is much work, but etcd's data stays, so it is no reset",
                authority.file
            ),
            None => format!(
                "no reset is needed: on {}, `kubeadm certs renew all`, then move the files of /etc/kubernetes/manifests elsewhere for 20 s and back, so that the static pods start anew",
                self.node
            ),
        };
        let fault = Fault::new(
            "certificate-expired",
            format!("{} {verb} expired", names.join(", ")),
            advice,
        );
        Some(fault.shown(format!("{}: {}", self.node, first.file), dates(first)))
    }

    fn expired(&self, concerns: impl Fn(&Certificate) -> bool) -> Vec<&Certificate> {
        let all = self.part.certificates.known().map(Vec::as_slice).unwrap_or_default();
        let is_over = |it: &&Certificate| it.not_after.is_some_and(|at| at < self.now);
        all.iter().filter(|it| concerns(it)).filter(is_over).collect()
    }

    fn manifests(&self) -> Option<Fault> {
        let listing = match &self.part.manifests {
            Known::Known(files) => {
                let names: Vec<&str> = files.iter().map(|file| file.name.as_str()).collect();
                if names.is_empty() { "nothing".to_owned() } else { names.join(" ") }
            }
            Known::Absent => "no such directory".to_owned(),
            Known::Unknown(_) => return None,
        };
        let source = format!("{}: ls /etc/kubernetes/manifests", self.node);
        let absent = |name: &str| self.part.has_manifest(name) == Some(false);
        if absent("kube-apiserver") {
            let fault = Fault::new(
                "apiserver-manifest-absent",
                format!(
                    "/etc/kubernetes/manifests/kube-apiserver.yaml is missing on {}",
                    self.node
                ),
                "no reset is needed: put the file back, from a copy or with `kubeadm init phase control-plane apiserver` and the cluster's own configuration; the kubelet starts it within seconds",
            );
            return Some(fault.shown(source, listing));
        }
        if self.has_local_etcd() && absent("etcd") {
            let fault = Fault::new(
                "etcd-manifest-absent",
                format!(
                    "/etc/kubernetes/manifests/etcd.yaml is missing on {}, and the API server cannot live without etcd",
                    self.node
                ),
                "no reset is needed: put the file back, from a copy or with `kubeadm init phase etcd local`; its data in /var/lib/etcd is untouched",
            );
            return Some(fault.shown(source, listing));
        }
        None
    }

    /// True when this host runs a member of etcd itself.
    fn has_local_etcd(&self) -> bool {
        let servers = self.part.flags.get("etcd-servers");
        let is_local =
            servers.is_none_or(|it| it.contains("127.0.0.1") || it.contains("localhost"));
        let certificates = self.part.certificates.known().map(Vec::as_slice).unwrap_or_default();
        let has_certificate = |it: &Certificate| it.file == "/etc/kubernetes/pki/etcd/server.crt";
        let has_manifest = self.part.has_manifest("etcd") == Some(true);
        has_manifest || (is_local && certificates.iter().any(has_certificate))
    }

    fn etcd(&self) -> Option<Fault> {
        let lives = self.part.runs("etcd") || listens(self.part, ETCD_PORT);
        if lives || !self.has_local_etcd() {
            return None;
        }
        let fault = Fault::new(
            "etcd-down",
            format!(
                "etcd of {} does not run, and the API server cannot live without it",
                self.node
            ),
            "no reset is needed: its log says why. A full disk wants room; one broken member of several is removed and joined anew; a single one whose data is damaged is restored from a snapshot",
        );
        Some(self.with_log(fault, "etcd"))
    }

    fn crashing(&self) -> Fault {
        let (key, text) = match self.part.log("kube-apiserver") {
            Some(_) => (
                "apiserver-crashing",
                format!("the API server of {} ends again and again", self.node),
            ),
            None => (
                "apiserver-down",
                format!("the API server of {} does not run, and has left no log", self.node),
            ),
        };
        let advice = "no reset is needed: the end of its log names the flag, file or certificate that is wrong; without a log, `crictl ps -a` and the kubelet's log say why it does not start";
        let mut fault = Fault::new(key, text, advice);
        fault.confidence = Confidence::Likely;
        self.with_log(fault, "kube-apiserver")
    }

    fn with_log(&self, fault: Fault, container: &str) -> Fault {
        match self.part.log(container) {
            Some((file, lines)) => fault
                .shown(format!("{}: {file}", self.node), tail(lines.iter().map(String::as_str))),
            None => fault.shown(format!("{}: ps", self.node), format!("no process {container}")),
        }
    }
}

/// The last lines that say something, on one.
fn tail<'a>(lines: impl DoubleEndedIterator<Item = &'a str>) -> String {
    let mut last: Vec<&str> =
        lines.rev().map(str::trim).filter(|line| !line.is_empty()).take(LOG_LINES).collect();
    last.reverse();
    last.join(" | ")
}

fn dates(certificate: &Certificate) -> String {
    let until = certificate.not_after.map_or_else(String::new, |at| format!("{at:.0}"));
    format!("{}, valid until {until}", certificate.subject)
}
