//! How Calico gets into the cluster: by its manifest, or by the model of its operator.

use super::artefacts::OPERATORS;
use super::error::{Error, FileContext};
use super::layout::{LAST_INSTANCE, Layout, sources};
use super::{Options, Progress, Testbed};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::path::Path;

/// The number of the testbed with the operator is that of the first and this.
const DISTANCE: u8 = 45;
/// Names the folder of Calico's releases, whose definitions of the operator's kinds then take the place of ours.
const RELEASES: &str = "CALICO_CRDS";
/// Who puts Calico's objects into the cluster.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Install {
    /// The manifest: calico-node is in kube-system.
    #[default]
    Manifest,
    /// The operator in tigera-operator: calico-node is in calico-system.
    Operator,
}

impl Install {
    /// The namespace of calico-node.
    pub fn namespace(self) -> &'static str {
        match self {
            Self::Manifest => "kube-system",
            Self::Operator => "calico-system",
        }
    }
}

/// A release of the operator that its model can be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OperatorVersion {
    /// 1.34: eBPF in two phases.
    TwoPhase,
    /// 1.40: also `bpfNetworkBootstrap` and `kubeProxyManagement`.
    Auto,
}

impl OperatorVersion {
    /// Its number.
    pub fn number(self) -> &'static str {
        match self {
            Self::TwoPhase => OPERATORS[0],
            Self::Auto => OPERATORS[1],
        }
    }

    /// Calico's release that this operator is of, and our definitions of its kinds.
    fn definitions(self) -> (&'static str, &'static str) {
        match self {
            Self::TwoPhase => ("v3.28.4", "operator-crds.yaml"),
            Self::Auto => ("v3.31.7", "operator-crds-auto.yaml"),
        }
    }
}

/// All that is applied to an empty cluster.
pub(crate) fn manifests(layout: &Layout, install: Install) -> Result<Vec<String>, Error> {
    let mut all = vec![kube_proxy(layout)?];
    all.extend(calico(layout, install)?);
    Ok(all)
}

/// kube-proxy, as kubeadm has it.
pub(crate) fn kube_proxy(layout: &Layout) -> Result<String, Error> {
    here(layout, "kube-proxy/kube-proxy.yaml")
}

/// The definitions of Calico's kinds.
pub(crate) fn definitions(layout: &Layout) -> Result<String, Error> {
    here(layout, "standin/crds.yaml")
}

/// Calico, definitions first, or the operator that makes it.
pub(crate) fn calico(layout: &Layout, install: Install) -> Result<Vec<String>, Error> {
    let (definitions, calico) = (definitions(layout)?, here(layout, "standin/calico.yaml")?);
    match install {
        Install::Manifest => Ok(vec![definitions, calico]),
        Install::Operator => Ok(vec![
            definitions,
            operator_definitions(OperatorVersion::TwoPhase)?,
            here(layout, "standin/operator.yaml")?,
            as_configuration(&calico)?,
        ]),
    }
}

/// A file of the testbed, with this testbed's addresses in it.
fn here(layout: &Layout, name: &str) -> Result<String, Error> {
    read(&sources().join(name)).map(|text| layout.localize(&text))
}

fn read(path: &Path) -> Result<String, Error> {
    std::fs::read_to_string(path).file("read", path)
}

/// The definitions of the operator's kinds: ours, or the release's own.
pub(crate) fn operator_definitions(version: OperatorVersion) -> Result<String, Error> {
    let (release, ours) = version.definitions();
    let Some(folder) = std::env::var_os(RELEASES) else {
        return read(&sources().join("standin").join(ours));
    };
    let path = Path::new(&folder).join(release).join("operator-crds.yaml");
    let all = read(&path)?;
    let of_operator = |one: &&str| one.contains("\n  group: operator.tigera.io\n");
    let some: Vec<&str> = all.split("\n---").filter(of_operator).collect();
    if some.is_empty() {
        return Err(Error::Missing(format!("no kinds of the operator in {}", path.display())));
    }
    Ok(some.join("\n---"))
}

/// The manifest as the operator's pod sees it: a List, in JSON.
fn as_configuration(calico: &str) -> Result<String, Error> {
    let objects: Vec<Value> = serde_yaml::from_multiple(calico)
        .map_err(|error| Error::Odd { what: "calico.yaml".to_owned(), why: error.to_string() })?;
    let list = json!({ "apiVersion": "v1", "kind": "List", "items": objects });
    Ok(json!({
        "apiVersion": "v1", "kind": "ConfigMap",
        "metadata": { "name": "testbed-calico", "namespace": "tigera-operator" },
        "data": { "calico.json": list.to_string() },
    })
    .to_string())
}

/// The layout of the testbed that has the operator, beside the one that the environment names.
pub fn operator_layout() -> Result<Layout, Error> {
    let first = Layout::from_environment()?;
    first.with_instance((first.instance() + DISTANCE) % (LAST_INSTANCE + 1))
}

impl Testbed {
    /// As [`Testbed::for_test`], with Calico installed by the operator: a testbed of its own, which goes on running.
    pub fn for_test_with_operator(name: &str) -> Result<Option<Self>, Error> {
        if !Self::possible(name)? {
            return Ok(None);
        }
        let options = Options { install: Install::Operator, ..Options::default() };
        Self::start(&operator_layout()?, options, Progress::on_stderr()).map(Some)
    }

    /// How Calico was installed.
    pub fn install(&self) -> Install {
        self.install
    }

    /// The namespace of calico-node.
    pub fn calico_namespace(&self) -> &'static str {
        self.install.namespace()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_operator_gets_the_manifest_whole() {
        let folder = Path::new("/s");
        let layout = Layout::new(3, folder, folder).unwrap();
        let [definitions, manifest] = &calico(&layout, Install::Manifest).unwrap()[..] else {
            panic!("two manifests")
        };
        assert!(manifest.contains("10.203.0.0/16"));
        let all = calico(&layout, Install::Operator).unwrap();
        assert_eq!((&all[0], all.len()), (definitions, 4));
        assert!(all[2].contains("cidr: 10.203.0.0/16"));
        let configuration: Value = serde_json::from_str(&all[3]).unwrap();
        let list = configuration["data"]["calico.json"].as_str().unwrap();
        let list: Value = serde_json::from_str(list).unwrap();
        let kinds: Vec<&str> =
            list["items"].as_array().unwrap().iter().filter_map(|it| it["kind"].as_str()).collect();
        assert_eq!(kinds.len(), manifest.matches("\nkind: ").count());
        assert!(kinds.contains(&"DaemonSet") && kinds.contains(&"FelixConfiguration"));
    }
}
