//! Reads the CNI configurations of a node as a probe shows them: what a container runtime would load, in its order.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::LazyLock;

use regex::Regex;
use serde::Serialize;
use serde_json::Value;

use super::{FileEntry, Gap, GapReason, Known};
use crate::calico::names::{CALICO_CONFLIST_NAMES, OWN_CONFIGURATION_PREFIX};

/// Names of files that containerd and CRI-O load end so; they take them in the byte order of their names, and the first
/// one is the pod network.
const ENDINGS: [&str; 3] = [".conf", ".conflist", ".json"];

/// Characters of a JSON parser's complaint that are shown.
const EXCERPT: usize = 120;

/// A file of `/etc/cni/net.d` that a container runtime would load.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct NetworkConfiguration {
    /// Name within its directory.
    pub file: String,
    /// Why a runtime cannot use it, or why nothing is known of its content; none when it makes sense.
    pub problem: Option<ConfigurationProblem>,
    /// `name`: that of the network, e.g. `k8s-pod-network`.
    pub network: Option<String>,
    /// `cniVersion`.
    pub cni_version: Option<String>,
    /// `type` of each plugin, in the order in which they are called.
    pub plugins: Vec<String>,
    /// What a plugin that delegates (Multus) delegates to: types, names of networks and files, as they are written.
    pub delegates: Vec<String>,
    /// What it says to Calico's plugin, if it calls it.
    pub calico: Option<CalicoPlugin>,
    /// Leftover placeholders of the template, e.g. `__CNI_MTU__`, sorted.
    pub placeholders: Vec<String>,
    /// SHA-256, in hex, of the file as it is on the node (section `sha256-cni-net.d`).
    pub sha256: Known<String>,
}

/// Why a [`NetworkConfiguration`] is of no use, or unknown.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum ConfigurationProblem {
    /// It holds nothing.
    Empty,
    /// It is no JSON, for this reason; so is a file that was cut short.
    NotJson(String),
    /// It is JSON, and names no plugin: a list without `plugins`, or a single configuration without `type`.
    NoPlugin,
    /// It was not read: nothing is known of its content.
    NotRead(Gap),
}

/// What a configuration says to the plugin `calico`. Values are as they are written; none when they are not there.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct CalicoPlugin {
    /// `nodename`: by which name it finds its node.
    pub nodename: Option<String>,
    /// `kubernetes.kubeconfig`: a path on the host.
    pub kubeconfig: Option<String>,
    /// `ipam.type`.
    pub ipam: Option<String>,
    /// `datastore_type`: `kubernetes`, `etcdv3`.
    pub datastore: Option<String>,
    /// `mtu`; 0 means what `/var/lib/calico/mtu` says.
    pub mtu: Option<i64>,
    /// `calico_api_group`, from v3.32: in which API group it looks for Calico's objects.
    pub api_group: Option<String>,
    /// `policy.type`.
    pub policy: Option<String>,
}

impl NetworkConfiguration {
    /// True for the pod network of Calico or Canal. A file of which nothing else is known is told by its name.
    pub fn is_calico(&self) -> bool {
        match &self.problem {
            None | Some(ConfigurationProblem::NoPlugin) => {
                self.plugins.iter().any(|plugin| plugin == "calico")
            }
            Some(_) => self.has_calicos_name(),
        }
    }

    /// True for the names that installs of Calico and Canal give the file, whatever it holds.
    pub fn has_calicos_name(&self) -> bool {
        CALICO_CONFLIST_NAMES.contains(&self.file.as_str())
    }

    /// True for what this program lays there itself for as long as a repair takes.
    pub fn is_own(&self) -> bool {
        self.file.starts_with(OWN_CONFIGURATION_PREFIX)
    }

    /// False when nothing is known of its content.
    pub fn is_read(&self) -> bool {
        !matches!(self.problem, Some(ConfigurationProblem::NotRead(_)))
    }
}

/// True for the name of a file that a container runtime would load.
pub(super) fn is_configuration(name: &str) -> bool {
    ENDINGS.iter().any(|ending| name.ends_with(ending))
}

/// The configurations of a directory, in the order in which a runtime takes them. `content` gives a section's text;
/// `what` names the probe in gaps.
pub(super) fn read<'a>(
    what: &str,
    listing: &Known<Vec<FileEntry>>,
    sums: Known<&str>,
    content: impl Fn(&str) -> Known<&'a str>,
) -> Known<Vec<NetworkConfiguration>> {
    let sums = sums.map(parse_sums);
    listing.as_ref().map(|files| {
        let mut names: Vec<&str> = files
            .iter()
            // A runtime skips directories; it follows links.
            .filter(|file| !file.mode.starts_with('d') && is_configuration(&file.name))
            .map(|file| file.name.as_str())
            .collect();
        names.sort_unstable();
        let shared = shared_ids(&names);
        names
            .into_iter()
            .map(|name| {
                let id = section_id(name);
                let text = if shared.contains(&id) {
                    let why = "another file's name looks the same in the probe";
                    Known::Unknown(Gap::new(format!("{what}#{id}"), GapReason::Undecodable, why))
                } else {
                    content(&id)
                };
                let sha256 = sum_of(what, &sums, name);
                configuration(what, name, text, sha256)
            })
            .collect()
    })
}

/// The probe's section with the file's content.
fn section_id(name: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
    format!("conf-{}", name.chars().map(|c| if plain(c) { c } else { '_' }).collect::<String>())
}

/// Ids that more than one name leads to: whose content the section holds cannot be told.
fn shared_ids(names: &[&str]) -> BTreeSet<String> {
    let mut seen = BTreeSet::new();
    names.iter().map(|name| section_id(name)).filter(|id| !seen.insert(id.clone())).collect()
}

fn configuration(
    what: &str,
    name: &str,
    text: Known<&str>,
    sha256: Known<String>,
) -> NetworkConfiguration {
    let mut read = NetworkConfiguration {
        file: name.to_owned(),
        problem: None,
        network: None,
        cni_version: None,
        plugins: Vec::new(),
        delegates: Vec::new(),
        calico: None,
        placeholders: Vec::new(),
        sha256,
    };
    match text {
        Known::Unknown(gap) => read.problem = Some(ConfigurationProblem::NotRead(gap)),
        Known::Absent => {
            let gap = Gap::new(
                format!("{what}#{}", section_id(name)),
                GapReason::Undecodable,
                "the file was listed, and gone when it was to be read",
            );
            read.problem = Some(ConfigurationProblem::NotRead(gap));
        }
        Known::Known(text) => read.take(text),
    }
    read
}

impl NetworkConfiguration {
    fn take(&mut self, text: &str) {
        self.placeholders = placeholders(text);
        if text.trim().is_empty() {
            self.problem = Some(ConfigurationProblem::Empty);
            return;
        }
        let value: Value = match serde_json::from_str(text) {
            Ok(value) => value,
            Err(error) => {
                let why = error.to_string().chars().take(EXCERPT).collect();
                self.problem = Some(ConfigurationProblem::NotJson(why));
                return;
            }
        };
        self.network = word(&value["name"]);
        self.cni_version = word(&value["cniVersion"]);
        let single = [value.clone()];
        let plugins: &[Value] = if self.file.ends_with(".conflist") {
            value["plugins"].as_array().map_or(&[], Vec::as_slice)
        } else {
            &single
        };
        self.plugins = plugins.iter().filter_map(|plugin| word(&plugin["type"])).collect();
        self.delegates = plugins.iter().flat_map(delegates).collect();
        self.calico = plugins.iter().find(|plugin| plugin["type"] == "calico").map(calico_plugin);
        if self.plugins.is_empty() || self.plugins.len() < plugins.len() {
            self.problem = Some(ConfigurationProblem::NoPlugin);
        }
    }
}

fn word(value: &Value) -> Option<String> {
    value.as_str().filter(|text| !text.is_empty()).map(str::to_owned)
}

fn calico_plugin(plugin: &Value) -> CalicoPlugin {
    CalicoPlugin {
        nodename: word(&plugin["nodename"]),
        kubeconfig: word(&plugin["kubernetes"]["kubeconfig"]),
        ipam: word(&plugin["ipam"]["type"]),
        datastore: word(&plugin["datastore_type"]),
        mtu: plugin["mtu"].as_i64(),
        api_group: word(&plugin["calico_api_group"]),
        policy: word(&plugin["policy"]["type"]),
    }
}

/// Multus names what it delegates to by whole configurations (`delegates`), or by a name or a path (`clusterNetwork`).
fn delegates(plugin: &Value) -> Vec<String> {
    let of = |delegate: &Value| -> Vec<String> {
        let inner = delegate["plugins"].as_array().into_iter().flatten();
        let types = std::iter::once(delegate).chain(inner).filter_map(|it| word(&it["type"]));
        types.chain(word(&delegate["name"])).collect()
    };
    let whole = plugin["delegates"].as_array().into_iter().flatten().flat_map(of);
    whole.chain(word(&plugin["clusterNetwork"])).collect()
}

static PLACEHOLDER: LazyLock<Option<Regex>> =
    LazyLock::new(|| Regex::new("__[A-Z][A-Z0-9_]{0,62}?__").ok());

fn placeholders(text: &str) -> Vec<String> {
    let found = PLACEHOLDER.as_ref().into_iter().flat_map(|it| it.find_iter(text));
    found.map(|it| it.as_str().to_owned()).collect::<BTreeSet<_>>().into_iter().collect()
}

/// `<hex>  <path>` lines of `sha256sum`, by the name within the directory. Lines that begin with a backslash escape
/// characters that no sane file name holds.
fn parse_sums(text: &str) -> BTreeMap<String, String> {
    let line = |line: &str| {
        let (hex, path) = line.split_once(' ')?;
        let is_sum = hex.len() == 64 && hex.bytes().all(|c| c.is_ascii_hexdigit());
        // A star stands there where the file was read as binary.
        let path = path.strip_prefix([' ', '*'])?;
        let name = path.rsplit('/').next()?;
        is_sum.then(|| (name.to_owned(), hex.to_ascii_lowercase()))
    };
    text.lines().filter_map(line).collect()
}

fn sum_of(what: &str, sums: &Known<BTreeMap<String, String>>, name: &str) -> Known<String> {
    sums.as_ref().and_then(|sums| match sums.get(name) {
        Some(sum) => Known::Known(sum.clone()),
        None => Known::Unknown(Gap::new(
            format!("{what}#{SUMS}"),
            GapReason::Undecodable,
            format!("{name} has no sum there"),
        )),
    })
}

/// The probe's section with the sums.
pub(super) const SUMS: &str = "sha256-cni-net.d";

#[cfg(test)]
#[path = "conflist_tests.rs"]
mod tests;
