//! A testbed on its way to eBPF and back: the plugin, the objects that it touches, and that all is put right afterwards.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use serde_json::{Value, json};

use super::{Plugin, Ran, demand};
use crate::testbed::{Error, Install, Testbed, wait_every};

/// Namespace, kind and name of every object that the way there touches; those of one install only are absent in the other.
const TOUCHED: [(&str, &str, &str); 8] = [
    ("", "felixconfiguration.crd.projectcalico.org", "default"),
    ("", "installation.operator.tigera.io", "default"),
    ("kube-system", "configmap", "kubernetes-services-endpoint"),
    ("tigera-operator", "configmap", "kubernetes-services-endpoint"),
    ("kube-system", "daemonset", "calico-node"),
    ("calico-system", "daemonset", "calico-node"),
    ("kube-system", "daemonset", "kube-proxy"),
    ("tigera-operator", "deployment", "tigera-operator"),
];
/// What every write changes, and nobody can take back: a count of changes is one as well.
const COUNTERS: [&str; 3] = ["resourceVersion", "managedFields", "generation"];
/// The same count, kept by the API server for old clients.
const OLD_COUNTER: &str = "deprecated.daemonset.template.generation";
/// How long everything may take to be put right.
const LIMIT: Duration = Duration::from_secs(180);

/// The objects as they are, by `namespace/kind/name`; those that do not exist are not in it.
pub type Touched = BTreeMap<String, Value>;

/// The testbed and the plugin.
#[derive(Debug)]
pub struct Crossing<'a> {
    /// The testbed.
    pub testbed: &'a Testbed,
    /// `kubectl calico-ebpf`.
    pub plugin: Plugin,
}

impl<'a> Crossing<'a> {
    /// The plugin straight at the API server.
    pub fn new(testbed: &'a Testbed) -> Result<Self, Error> {
        Ok(Self { testbed, plugin: Plugin::ebpf(testbed)? })
    }

    /// The plugin through another way to the API server.
    pub fn with_kubeconfig(testbed: &'a Testbed, kubeconfig: &Path) -> Result<Self, Error> {
        let plugin = Plugin::ebpf(testbed)?.with_other_kubeconfig(kubeconfig);
        Ok(Self { testbed, plugin })
    }

    /// Where the API server is reached without kube-proxy.
    pub fn endpoint(&self) -> String {
        format!("{}:6443", self.testbed.layout().gateway())
    }

    /// The words of `enable --disable-kube-proxy`, with consent and a short watch over kube-proxy.
    pub fn enable_words(&self) -> Vec<String> {
        let endpoint = format!("--api-endpoint={}", self.endpoint());
        ["enable", "--disable-kube-proxy", "--yes", "--watch-kube-proxy=3", &endpoint]
            .map(str::to_owned)
            .into()
    }

    /// Runs that.
    pub fn enable(&self) -> Result<Ran, Error> {
        let words = self.enable_words();
        self.plugin.run(&words.iter().map(String::as_str).collect::<Vec<_>>())
    }

    /// The touched objects without what every write changes, and without their status.
    pub fn touched(&self) -> Result<Touched, Error> {
        let mut all = Touched::new();
        for (namespace, kind, name) in TOUCHED {
            let mut words = vec!["get", kind, name, "--output=json", "--ignore-not-found"];
            if !namespace.is_empty() {
                words.extend(["--namespace", namespace]);
            }
            let found = self.testbed.kubectl_output(&words)?;
            // Of the kinds of the operator there may be none.
            if !found.is_success() || found.stdout.trim().is_empty() {
                continue;
            }
            let value: Value = serde_json::from_str(&found.stdout)
                .map_err(|error| Error::Odd { what: kind.to_owned(), why: error.to_string() })?;
            all.insert(format!("{namespace}/{kind}/{name}"), without_counters(value));
        }
        Ok(all)
    }

    /// The touched objects once two looks a second apart show the same.
    pub fn settled(&self) -> Result<Touched, Error> {
        let mut before = self.touched()?;
        wait_every("the touched objects come to rest", LIMIT, Duration::from_secs(1), || {
            let now = self.touched().map_err(|error| error.to_string())?;
            if now == before {
                return Ok(());
            }
            before = now;
            Err("they still change".to_owned())
        })?;
        self.touched()
    }

    /// eBPF serves every node, and kube-proxy has no pods.
    pub fn is_there(&self) -> Result<(), Error> {
        for node in self.testbed.nodes() {
            demand(self.testbed.has_bpf(node)?, "eBPF is on", &node.name())?;
        }
        let pods = self.kube_proxy_pods()?;
        demand(pods.is_empty(), "kube-proxy has no pods", &pods)
    }

    /// kube-proxy serves every node, and eBPF is off.
    pub fn is_back(&self) -> Result<(), Error> {
        for node in self.testbed.nodes() {
            demand(!self.testbed.has_bpf(node)?, "eBPF is off", &node.name())?;
        }
        let pods = self.kube_proxy_pods()?;
        let count = pods.split_whitespace().count();
        demand(count == self.testbed.nodes().len(), "kube-proxy on every node", &pods)
    }

    fn kube_proxy_pods(&self) -> Result<String, Error> {
        let select = ["pods", "--namespace=kube-system", "--selector=k8s-app=kube-proxy"];
        self.testbed.field(&select, "{.items[*].metadata.name}")
    }

    /// Puts everything right, whatever a test left: kube-proxy first, whose rules Felix must leave alone.
    pub fn restore(&self) -> Result<(), Error> {
        let testbed = self.testbed;
        let is_operator = testbed.install() == Install::Operator;
        self.cleanup(Some(false))?;
        testbed.restore_kube_proxy()?;
        testbed.wait_kube_proxy()?;
        if is_operator {
            let back = r#"{"spec":{"calicoNetwork":{"linuxDataplane":"Iptables"}}}"#;
            let patch = ["patch", "installation", "default", "--type=merge", "--patch", back];
            testbed.kubectl(&patch)?;
        } else {
            testbed.restore_felix()?;
        }
        let space = if is_operator { "tigera-operator" } else { "kube-system" };
        let map = ["configmap", "kubernetes-services-endpoint", "--namespace", space];
        let gone = [&["delete"], &map[..], &["--ignore-not-found"]].concat();
        if testbed.kubectl(&gone)?.contains("deleted") && is_operator {
            testbed.restart_operator()?;
        }
        for node in testbed.nodes() {
            testbed.wait_bpf(node, false)?;
        }
        self.cleanup(None)?;
        // It does not notice that somebody removed a part of its rules; when it starts it writes all of them.
        let anew = ["delete", "pods", "--namespace=kube-system", "--selector=k8s-app=kube-proxy"];
        testbed.kubectl(&anew)?;
        testbed.wait_kube_proxy()?;
        testbed.wait_ready()
    }

    fn cleanup(&self, value: Option<bool>) -> Result<(), Error> {
        let spec = json!({ "spec": { "bpfKubeProxyIptablesCleanupEnabled": value } }).to_string();
        let felix = "felixconfigurations.crd.projectcalico.org";
        let patch = ["patch", felix, "default", "--type=merge", "--patch", &spec];
        self.testbed.kubectl(&patch).map(drop)
    }
}

impl Drop for Crossing<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() || self.is_back().is_err() {
            drop(self.restore());
        }
    }
}

fn without_counters(mut object: Value) -> Value {
    if let Some(map) = object.as_object_mut() {
        map.remove("status");
    }
    if let Some(metadata) = object["metadata"].as_object_mut() {
        for counter in COUNTERS {
            metadata.remove(counter);
        }
        if let Some(annotations) = metadata.get_mut("annotations").and_then(Value::as_object_mut) {
            annotations.remove(OLD_COUNTER);
        }
    }
    object
}

/// The lines in which two looks differ: `object path: before → after`.
pub fn differences(before: &Touched, after: &Touched) -> Vec<String> {
    let mut lines = Vec::new();
    let names: std::collections::BTreeSet<&String> = before.keys().chain(after.keys()).collect();
    for name in names {
        let get = |all: &Touched| all.get(name).cloned().unwrap_or(Value::Null);
        differ(name, &get(before), &get(after), &mut lines);
    }
    lines
}

fn differ(path: &str, before: &Value, after: &Value, lines: &mut Vec<String>) {
    match (before, after) {
        (Value::Object(a), Value::Object(b)) => {
            let keys: std::collections::BTreeSet<&String> = a.keys().chain(b.keys()).collect();
            for key in keys {
                let get = |map: &serde_json::Map<String, Value>| {
                    map.get(key).cloned().unwrap_or(Value::Null)
                };
                differ(&format!("{path} {key}"), &get(a), &get(b), lines);
            }
        }
        (a, b) if a == b => {}
        (a, b) => lines.push(format!("{path}: {a} → {b}")),
    }
}
