//! What a probe saw on one node.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::Serialize;

use super::probe::{self, ProbeFault};
use super::{
    BlockRoutes, ControlPlane, Gap, GapReason, Known, Link, NetworkConfiguration, RuntimeConfig,
    Sandbox, Section, Sections, Service, conflist, control_plane, kubeconfig, link, ls, route,
    runtime_config, sandbox, service,
};
use crate::calico::names::CONFLIST_NAME;

/// From where the probe looked: it decides what it can have seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Vantage {
    /// The host's own namespaces.
    Host,
    /// Inside the calico-node container: no /opt/cni/bin, no runtime socket, no kubelet log.
    CalicoNode,
    /// Both, one after the other: what only one of them sees comes from that one.
    Both,
}

/// Facts about one node, parsed from the probe's sections.
#[derive(Clone, Debug, Serialize)]
pub struct HostFacts {
    /// From where the probe looked.
    pub vantage: Vantage,
    /// `/etc/cni/net.d/calico-kubeconfig`.
    pub cni_kubeconfig: Known<CniKubeconfig>,
    /// Files of `/etc/cni/net.d`, sorted by name (section `ls-cni-net.d`).
    pub cni_config_dir: Known<Vec<FileEntry>>,
    /// Files of `/opt/cni/bin`, sorted by name (section `ls-cni-bin`).
    pub cni_bin_dir: Known<Vec<FileEntry>>,
    /// Pod sandboxes, sorted by pod and id (section `crictl-pods`).
    pub sandboxes: Known<Vec<Sandbox>>,
    /// CNI configurations of `/etc/cni/net.d`, in the order in which a container runtime takes them.
    pub conflists: Known<Vec<NetworkConfiguration>>,
    /// `/var/lib/calico/nodename`, without white space around it: the node's name, written when calico-node starts.
    pub nodename: Known<String>,
    /// What Felix says of itself.
    pub felix: Known<AgentHealth>,
    /// What BIRD says of itself (sections `bird.readiness` and `bird.liveness`).
    pub bird: Known<AgentHealth>,
    /// What calico-node was told to distribute routes with: `bird`, `vxlan`, `none`; absent when it was told nothing, which
    /// means BIRD (section `networking-backend`).
    pub networking_backend: Known<String>,
    /// Seconds since the node's boot.
    pub uptime_seconds: Known<u64>,
    /// Routes that Calico made to blocks of addresses (section `ip-route`).
    pub block_routes: Known<BlockRoutes>,
    /// The node's clock.
    pub time: Known<Timestamp>,
    /// Network devices, sorted by name (section `ip-link`).
    pub links: Known<Vec<Link>>,
    /// Files of `/run/netns` (section `ls-run-netns`).
    pub network_namespaces: Known<Vec<FileEntry>>,
    /// Names of the network namespaces that have a number on the host (section `ip-netns-ids`).
    pub namespace_ids: Known<BTreeMap<i32, String>>,
    /// The service that runs the kubelet; absent when the host has none (section `unit-kubelet`).
    pub kubelet: Known<Service>,
    /// Whether the kubelet calls itself healthy (section `kubelet-healthz`).
    pub kubelet_healthy: Known<bool>,
    /// The container runtime's service (section `unit-containerd`).
    pub container_runtime: Known<Service>,
    /// Where the container runtime's configuration looks for plugins, per file that says so (section `runtime-config`).
    pub runtime_config: Known<Vec<RuntimeConfig>>,
    /// Whether swap is in use (section `swap`).
    pub swap: Known<bool>,
    /// What the host shows of the control plane.
    pub control_plane: Known<ControlPlane>,
    /// All sections as they came, by id.
    #[serde(skip)]
    pub sections: BTreeMap<String, Section>,
}

/// A line of `ls -ln`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct FileEntry {
    /// Name within its directory.
    pub name: String,
    /// First column of `ls -l`, e.g. `-rw-------`.
    pub mode: String,
    /// Bytes.
    pub size: u64,
    /// Last modification, when the listing held it in full.
    pub modified: Option<Timestamp>,
}

/// The CNI plugin's credentials, without the credentials.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct CniKubeconfig {
    /// The API server it names.
    pub server: Known<String>,
    /// SHA-256, in hex, of the CA's PEM text with its final newline.
    pub ca_sha256: Known<String>,
    /// The token's header and claims; absent when the file holds no token.
    pub token: Known<TokenFacts>,
}

/// Header and claims of a ServiceAccount token. The signature never leaves the node.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct TokenFacts {
    /// Id of the key that signed it.
    pub key_id: Option<String>,
    /// `iss`.
    pub issuer: Option<String>,
    /// `sub`, e.g. `system:serviceaccount:kube-system:calico-cni-plugin`.
    pub subject: Option<String>,
    /// Namespace of the ServiceAccount.
    pub namespace: Option<String>,
    /// Name of the ServiceAccount.
    pub service_account: Option<String>,
    /// `uid` of the ServiceAccount it was issued for.
    pub service_account_uid: Option<String>,
    /// `iat`.
    pub issued_at: Option<Timestamp>,
    /// `exp`.
    pub expires_at: Option<Timestamp>,
}

/// What a part of calico-node answers about itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct AgentHealth {
    /// True when it calls itself ready.
    pub ready: Known<bool>,
    /// True when it calls itself alive.
    pub live: Known<bool>,
    /// What it said when it is not ready, for a person.
    pub says: String,
}

impl HostFacts {
    /// Facts from a probe's text on `node`, and what is wrong with that text. It never fails: facts that cannot be had are unknown.
    pub fn from_probe(node: &str, body: &[u8]) -> (Self, Vec<Gap>) {
        let (sections, faults) = probe::parse(body);
        let path = format!("nodes/{node}/probe.txt");
        let gaps = faults.iter().map(|fault| fault_gap(&path, fault)).collect();
        // The id of the section in which the text was cut; none when that was in its marker.
        let cut: Vec<Option<&str>> = faults
            .iter()
            .filter_map(|fault| match fault {
                ProbeFault::Truncated(id) => Some(Some(id.as_str())),
                ProbeFault::BadMarker(_) => Some(None),
                ProbeFault::Duplicate(_) => None,
            })
            .collect();
        let reader =
            Reader { path: &path, vantage: vantage(&sections), sections: &sections, cut: &cut };
        let facts = Self {
            vantage: reader.vantage,
            cni_kubeconfig: reader.cni_kubeconfig(),
            cni_config_dir: reader.directory("ls-cni-net.d"),
            cni_bin_dir: reader.directory("ls-cni-bin"),
            sandboxes: reader.sandboxes(),
            conflists: reader.conflists(),
            nodename: reader.content("calico-nodename").map(|text| text.trim().to_owned()),
            felix: reader.agent(["felix.readiness", "felix.liveness"]),
            bird: reader.agent(["bird.readiness", "bird.liveness"]),
            networking_backend: reader.content("networking-backend").and_then(|text| {
                Known::from_option(Some(text.trim().to_owned()).filter(|it| !it.is_empty()))
            }),
            uptime_seconds: reader.uptime(),
            block_routes: reader.read("ip-route", route::parse),
            time: reader.time(),
            links: reader.read("ip-link", link::parse),
            network_namespaces: reader.directory("ls-run-netns"),
            namespace_ids: reader.read("ip-netns-ids", link::namespaces),
            kubelet: reader.content("unit-kubelet").and_then(service::parse),
            kubelet_healthy: reader.kubelet_healthy(),
            container_runtime: reader.content("unit-containerd").and_then(service::parse),
            runtime_config: reader.content("runtime-config").map(runtime_config::parse),
            // The first line is a heading.
            swap: reader.content("swap").map(|text| text.lines().nth(1).is_some()),
            control_plane: reader.control_plane(),
            sections: BTreeMap::new(),
        };
        (Self { sections, ..facts }, gaps)
    }

    /// The file `name` of the CNI plugins' directory; absent only when the directory was listed.
    pub fn binary(&self, name: &str) -> Known<&FileEntry> {
        file(&self.cni_bin_dir, name)
    }

    /// The CNI configuration that install-cni writes; absent only when its directory was listed.
    pub fn conflist(&self) -> Known<&FileEntry> {
        file(&self.cni_config_dir, CONFLIST_NAME)
    }

    /// Header and claims of the CNI plugin's token.
    pub fn cni_token(&self) -> Known<&TokenFacts> {
        self.cni_kubeconfig.as_ref().and_then(|config| config.token.as_ref())
    }

    /// Hash of the CA that the CNI plugin trusts; compare with [`super::Snapshot::root_ca`].
    pub fn cni_ca_sha256(&self) -> Known<&str> {
        self.cni_kubeconfig
            .as_ref()
            .and_then(|config| config.ca_sha256.as_ref())
            .map(String::as_str)
    }
}

fn file<'a>(directory: &'a Known<Vec<FileEntry>>, name: &str) -> Known<&'a FileEntry> {
    directory
        .as_ref()
        .and_then(|files| Known::from_option(files.iter().find(|file| file.name == name)))
}

fn fault_gap(path: &str, fault: &ProbeFault) -> Gap {
    let what = fault.section().map_or_else(|| path.to_owned(), |id| format!("{path}#{id}"));
    Gap::new(what, GapReason::Undecodable, fault.detail())
}

/// Probes without section `vantage` (the recordings, and such as were made by hand) ran on the host.
fn vantage(sections: &Sections) -> Vantage {
    let text = sections.get("vantage").map(|section| section.text.as_str()).unwrap_or_default();
    let says = |word: &str| text.lines().any(|line| line.trim() == word);
    match (says("calico-node"), says("host")) {
        (true, true) => Vantage::Both,
        (true, false) => Vantage::CalicoNode,
        (false, _) => Vantage::Host,
    }
}

/// Characters of a command's complaint that are shown.
const EXCERPT: usize = 200;

/// Turns sections into facts.
struct Reader<'a> {
    path: &'a str,
    vantage: Vantage,
    sections: &'a Sections,
    cut: &'a [Option<&'a str>],
}

impl Reader<'_> {
    fn gap<T>(&self, id: &str, why: GapReason, detail: impl Into<String>) -> Known<T> {
        Known::Unknown(Gap::new(format!("{}#{id}", self.path), why, detail))
    }

    /// A section that is not there. Of a text that was cut, nobody can tell what would have come.
    fn missing<T>(&self, id: &str) -> Known<T> {
        let (why, detail) = match self.cut {
            [] => (GapReason::NotAsked, "the probe has no such section"),
            cut if cut.contains(&Some(id)) => {
                (GapReason::Undecodable, "the probe's text ends within this section")
            }
            _ => (GapReason::Undecodable, "the probe's text ends before this section"),
        };
        self.gap(id, why, detail)
    }

    /// The text of a section whose command read a file or a directory of the host.
    fn content(&self, id: &str) -> Known<&str> {
        let Some(section) = self.sections.get(id) else { return self.missing(id) };
        if section.rc == 0 {
            return Known::Known(&section.text);
        }
        let says = section.text.lines().find(|line| !line.is_empty()).unwrap_or("no output");
        let says: String = says.chars().take(EXCERPT).collect();
        let detail = format!("exit code {}: {says}", section.rc);
        if section.text.contains("No such file") {
            // A directory that the container does not mount looks just like one that is not there.
            return if self.sees(id) {
                Known::Absent
            } else {
                self.gap(id, GapReason::NotAsked, detail)
            };
        }
        let why = match section.rc {
            // Of `timeout`, and of a command that it had to kill.
            124 | 137 => GapReason::TimedOut,
            // Of the shell: there is no such program. Nobody could be asked.
            127 => GapReason::NotAsked,
            _ if section.text.contains("ermission denied") => GapReason::Forbidden,
            _ => GapReason::Undecodable,
        };
        self.gap(id, why, detail)
    }

    /// True when "no such file" in this section means that the host has no such file.
    fn sees(&self, id: &str) -> bool {
        match self.vantage {
            Vantage::Host => true,
            // calico-node mounts net.d when its listing works; it never mounts the plugins' directory.
            // It writes its node's name itself, so where that is not, it is not on the host either.
            Vantage::CalicoNode if id == "calico-nodename" => true,
            Vantage::CalicoNode | Vantage::Both if id == "calico-kubeconfig" => {
                self.sections.get("ls-cni-net.d").is_some_and(|section| section.rc == 0)
            }
            Vantage::CalicoNode => false,
            // calico-node has not asked for anything else that can be missing.
            Vantage::Both => id != "ls-cni-net.d",
        }
    }

    fn cni_kubeconfig(&self) -> Known<CniKubeconfig> {
        let what = format!("{}#calico-kubeconfig", self.path);
        self.content("calico-kubeconfig").and_then(|text| kubeconfig::parse(&what, text))
    }

    fn directory(&self, id: &str) -> Known<Vec<FileEntry>> {
        self.content(id).map(ls::parse)
    }

    fn sandboxes(&self) -> Known<Vec<Sandbox>> {
        let id = "crictl-pods";
        let containers = self.content("crictl-ps").known().copied();
        self.content(id).and_then(|text| match sandbox::parse(text, containers) {
            Ok(sandboxes) => Known::Known(sandboxes),
            Err(error) => self.gap(id, GapReason::Undecodable, error.to_string()),
        })
    }

    fn conflists(&self) -> Known<Vec<NetworkConfiguration>> {
        let listing = self.directory("ls-cni-net.d");
        // A file that could not be read spoils the exit code, not the sums of the others.
        let sums = self.sections.get(conflist::SUMS).map(|section| section.text.as_str());
        let sums = sums.map_or_else(|| self.content(conflist::SUMS), Known::Known);
        conflist::read(self.path, &listing, sums, |id| self.content(id))
    }

    fn read<T>(&self, id: &str, parse: impl FnOnce(&str, &str) -> Known<T>) -> Known<T> {
        self.content(id).and_then(|text| parse(&format!("{}#{id}", self.path), text))
    }

    fn time(&self) -> Known<Timestamp> {
        self.content("time").and_then(|text| match text.trim().parse() {
            Ok(time) => Known::Known(time),
            Err(_) => self.gap("time", GapReason::Undecodable, "no time"),
        })
    }

    /// A refusal is an answer as well: nothing listens there.
    fn kubelet_healthy(&self) -> Known<bool> {
        let id = "kubelet-healthz";
        match self.sections.get(id) {
            Some(section) if section.rc == 0 => Known::Known(section.text.trim() == "ok"),
            Some(section) if section.rc == 7 || section.text.contains("refused") => {
                Known::Known(false)
            }
            _ => self.content(id).map(|_| false),
        }
    }

    fn control_plane(&self) -> Known<ControlPlane> {
        let ids = ["ls-manifests", "certificates", "control-plane-processes"];
        if !ids.iter().any(|id| self.sections.contains_key(*id)) {
            return self.content("ls-manifests").and_then(|_| Known::Absent);
        }
        let manifests = self.content("ls-manifests").map(control_plane::manifests);
        let logs = self.content("control-plane-logs").map(control_plane::logs);
        Known::Known(ControlPlane {
            flags: manifests.known().map(|(_, flags)| flags.clone()).unwrap_or_default(),
            manifests: manifests.map(|(files, _)| files),
            certificates: self.content("certificates").map(control_plane::certificates),
            processes: self.content("control-plane-processes").map(control_plane::processes),
            listening: self.content("api-port").map(control_plane::listening),
            logs: logs.known().cloned().unwrap_or_default(),
        })
    }

    /// The second line of the section begins with what `/proc/uptime` begins with.
    fn uptime(&self) -> Known<u64> {
        let seconds = |text: &str| text.lines().nth(1)?.split(['.', ' ']).next()?.parse().ok();
        self.content("boot").and_then(|text| match seconds(text) {
            Some(seconds) => Known::Known(seconds),
            None => self.gap("boot", GapReason::Undecodable, "no uptime"),
        })
    }

    /// Of these two sections, the first says whether it is ready, the second whether it is alive.
    fn agent(&self, ids: [&str; 2]) -> Known<AgentHealth> {
        let [ready, live] = ids.map(|id| self.health(id));
        if let (Known::Unknown(gap), Known::Unknown(_)) = (&ready, &live) {
            return Known::Unknown(gap.clone());
        }
        let says = ids
            .iter()
            .filter_map(|id| self.sections.get(*id))
            .filter(|section| section.rc != 0)
            .map(|section| section.text.trim())
            .find(|text| !text.is_empty());
        Known::Known(AgentHealth { ready, live, says: says.unwrap_or_default().to_owned() })
    }

    /// Its own answer; a command that could not ask it (not found, timed out) is no answer.
    fn health(&self, id: &str) -> Known<bool> {
        match self.sections.get(id).map(|section| section.rc) {
            Some(0) => Known::Known(true),
            Some(rc @ (124 | 137)) => {
                self.gap(id, GapReason::TimedOut, format!("exit code {rc}: no answer in time"))
            }
            Some(rc @ (126 | 127)) => self.gap(
                id,
                GapReason::Undecodable,
                format!("exit code {rc}: the command is not there"),
            ),
            Some(_) => Known::Known(false),
            None => self.missing(id),
        }
    }
}
