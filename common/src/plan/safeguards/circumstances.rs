//! Facts that only guards need, and that a snapshot does not hold.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::calico::FelixConfiguration;
use crate::calico::names::EXCLUDED_LABEL;
use crate::slim::{DaemonSet, Metadata};
use crate::snapshot::{Gap, GapReason, Known};

/// What else had to be asked. A kind that the API server does not serve is absent; one that may not be read is unknown.
#[derive(Clone, Debug)]
pub struct Circumstances {
    /// DaemonSets of all namespaces.
    pub daemon_sets: Known<Vec<DaemonSet>>,
    /// DaemonSet calico-node as it is; absent when there is none.
    pub node_agent: Known<NodeAgent>,
    /// PodDisruptionBudgets of all namespaces.
    pub budgets: Known<Vec<Budget>>,
    /// Felix's configurations, cluster-wide and per node.
    pub felix: Known<Vec<FelixConfiguration>>,
    /// What the Tigera operator is told to install.
    pub installations: Known<Vec<Installation>>,
    /// Charts that RKE2 and k3s keep installed.
    pub helm_charts: Known<Vec<HelmChart>>,
    /// Services of all namespaces.
    pub services: Known<Vec<Service>>,
}

impl Default for Circumstances {
    /// Nothing was asked.
    fn default() -> Self {
        fn not_asked<T>(what: &str) -> Known<T> {
            Known::Unknown(Gap::new(what, GapReason::NotAsked, "not asked for"))
        }
        Self {
            daemon_sets: not_asked("cluster/daemonsets.apps.json"),
            node_agent: not_asked("cluster/daemonsets.apps.json"),
            budgets: not_asked("cluster/poddisruptionbudgets.policy.json"),
            felix: not_asked("cluster/felixconfigurations.crd.projectcalico.org.json"),
            installations: not_asked("cluster/installations.operator.tigera.io.json"),
            helm_charts: not_asked("cluster/helmcharts.helm.cattle.io.json"),
            services: not_asked("cluster/services.json"),
        }
    }
}

/// The parts of DaemonSet calico-node that decide where its pods run, as they are.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct NodeAgent {
    /// Its metadata.
    pub metadata: Metadata,
    /// `spec.updateStrategy`
    pub update_strategy: Option<Value>,
    /// `spec.template.spec.affinity`
    pub affinity: Option<Value>,
}

impl NodeAgent {
    /// Reads a DaemonSet as the API server prints it; none when it is no object with a name.
    pub fn of(object: &Value) -> Option<Self> {
        let metadata: Metadata = serde_json::from_value(object.get("metadata")?.clone()).ok()?;
        let at = |path: &str| object.pointer(path).filter(|it| !it.is_null()).cloned();
        (!metadata.name.is_empty()).then(|| Self {
            metadata,
            update_strategy: at("/spec/updateStrategy"),
            affinity: at("/spec/template/spec/affinity"),
        })
    }

    /// True when its pods keep off nodes that carry our label.
    pub fn keeps_off_excluded(&self) -> bool {
        self.affinity == Some(excluded_affinity(self.affinity.as_ref()))
    }
}

/// `affinity`, and that the pod keeps off nodes with label [`EXCLUDED_LABEL`]. Terms are alternatives to each other, so each of
/// them must say it.
pub fn excluded_affinity(affinity: Option<&Value>) -> Value {
    let without = json!({ "key": EXCLUDED_LABEL, "operator": "DoesNotExist" });
    let mut affinity = affinity.filter(|it| it.is_object()).cloned().unwrap_or_else(|| json!({}));
    let required = &mut affinity["nodeAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"];
    match required.get_mut("nodeSelectorTerms").and_then(Value::as_array_mut) {
        Some(terms) if !terms.is_empty() => {
            for term in terms {
                if let Some(expressions) = term["matchExpressions"].as_array_mut() {
                    if !expressions.contains(&without) {
                        expressions.push(without.clone());
                    }
                } else {
                    term["matchExpressions"] = json!([without]);
                }
            }
        }
        _ => *required = json!({ "nodeSelectorTerms": [{ "matchExpressions": [without] }] }),
    }
    affinity
}

/// A PodDisruptionBudget.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct Budget {
    /// Metadata.
    pub metadata: Metadata,
    /// Which pods it is about.
    pub spec: BudgetSpec,
    /// What it allows at the moment.
    pub status: BudgetStatus,
}

/// Which pods a [`Budget`] is about.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct BudgetSpec {
    /// Their labels; none means no pod.
    pub selector: Option<LabelSelector>,
}

/// What a [`Budget`] allows.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct BudgetStatus {
    /// Pods that may be evicted at the moment.
    pub disruptions_allowed: i64,
}

/// A label selector of the API. All that it says must hold.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct LabelSelector {
    /// Labels with their values.
    pub match_labels: BTreeMap<String, String>,
    /// Further demands.
    pub match_expressions: Vec<LabelDemand>,
}

/// A demand of a [`LabelSelector`].
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct LabelDemand {
    /// The label.
    pub key: String,
    /// `In`, `NotIn`, `Exists`, `DoesNotExist`.
    pub operator: String,
    /// Values of the first two.
    pub values: Vec<String>,
}

impl LabelSelector {
    /// True when it picks these labels. An operator that is not known is taken to pick them: a guard must not overlook it.
    pub fn picks(&self, labels: &BTreeMap<String, String>) -> bool {
        let holds = |demand: &LabelDemand| {
            let value = labels.get(&demand.key);
            let is_listed = value.is_some_and(|it| demand.values.contains(it));
            match demand.operator.as_str() {
                "In" => is_listed,
                "NotIn" => !is_listed,
                "Exists" => value.is_some(),
                "DoesNotExist" => value.is_none(),
                _ => true,
            }
        };
        self.match_labels.iter().all(|(key, value)| labels.get(key) == Some(value))
            && self.match_expressions.iter().all(holds)
    }
}

/// What the Tigera operator is told to install.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct Installation {
    /// Metadata.
    pub metadata: Metadata,
    /// What it says.
    pub spec: InstallationSpec,
}

/// What an [`Installation`] says.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct InstallationSpec {
    /// `Calico`, or the name of the commercial product; empty means the first.
    pub variant: String,
    /// The network plugin.
    pub cni: InstallationCni,
}

/// The network plugin of an [`Installation`].
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct InstallationCni {
    /// `Calico`, `AmazonVPC`, `AzureVNET`, `GKE`; empty means the first.
    #[serde(rename = "type")]
    pub kind: String,
}

/// A chart that RKE2 or k3s keeps installed.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct HelmChart {
    /// Metadata.
    pub metadata: Metadata,
}

/// The addresses of a Service.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct Service {
    /// Metadata.
    pub metadata: Metadata,
    /// Addresses that it was given or asks for.
    pub spec: ServiceSpec,
    /// Addresses of its load balancer.
    pub status: ServiceStatus,
}

/// Addresses in a [`Service`]'s spec.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct ServiceSpec {
    /// Addresses inside the cluster; `None` for a headless Service.
    #[serde(rename = "clusterIPs")]
    pub cluster_ips: Vec<String>,
    /// Addresses that the cluster is to answer at.
    #[serde(rename = "externalIPs")]
    pub external_ips: Vec<String>,
    /// The load balancer's address as it was asked for.
    #[serde(rename = "loadBalancerIP")]
    pub load_balancer_ip: String,
}

/// Observed state of a [`Service`].
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ServiceStatus {
    /// Its load balancer.
    pub load_balancer: LoadBalancer,
}

/// The load balancer of a [`Service`].
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct LoadBalancer {
    /// Where it answers.
    pub ingress: Vec<Ingress>,
}

/// Where a [`LoadBalancer`] answers.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct Ingress {
    /// Its address, when it has one.
    pub ip: String,
    /// Its name, when it has one.
    pub hostname: String,
}

impl Service {
    /// Where it answers from outside: addresses and names.
    pub fn outside(&self) -> impl Iterator<Item = &str> {
        let ingress = &self.status.load_balancer.ingress;
        let asked = std::iter::once(&self.spec.load_balancer_ip).chain(&self.spec.external_ips);
        let given = ingress.iter().flat_map(|it| [&it.ip, &it.hostname]);
        asked.chain(given).map(String::as_str).filter(|it| !it.is_empty())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_alternative_keeps_off() {
        let one = excluded_affinity(None);
        let agent = |affinity: Option<Value>| NodeAgent { affinity, ..NodeAgent::default() };
        assert!(!agent(None).keeps_off_excluded());
        assert!(agent(Some(one.clone())).keeps_off_excluded());
        assert_eq!(excluded_affinity(Some(&one)), one);
        let had = json!({
            "podAffinity": {"x": 1},
            "nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": [
                {"matchExpressions": [{"key": "a", "operator": "Exists"}]},
                {"matchFields": [{"key": "metadata.name", "operator": "In", "values": ["n"]}]}]}}
        });
        let has = excluded_affinity(Some(&had));
        assert_eq!(has["podAffinity"], had["podAffinity"]);
        let terms = has["nodeAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"]
            ["nodeSelectorTerms"].as_array().unwrap().clone();
        assert_eq!(terms[0]["matchExpressions"].as_array().unwrap().len(), 2);
        assert_eq!(terms[1]["matchExpressions"][0]["key"], EXCLUDED_LABEL);
        assert!(!agent(Some(had)).keeps_off_excluded());
    }

    #[test]
    fn selectors_pick_as_the_api_server_does() {
        let labels = BTreeMap::from([("app".to_owned(), "web".to_owned())]);
        let picks =
            |text: &str| serde_json::from_str::<LabelSelector>(text).unwrap().picks(&labels);
        assert!(picks("{}"));
        assert!(picks(r#"{"matchLabels":{"app":"web"}}"#));
        assert!(!picks(r#"{"matchLabels":{"app":"db"}}"#));
        let demand = |key: &str, operator: &str, values: &str| {
            picks(&format!(
                r#"{{"matchExpressions":[{{"key":"{key}","operator":"{operator}","values":{values}}}]}}"#
            ))
        };
        assert!(demand("app", "In", r#"["web","db"]"#) && !demand("app", "NotIn", r#"["web"]"#));
        assert!(!demand("tier", "In", r#"["web"]"#) && demand("tier", "NotIn", r#"["web"]"#));
        assert!(demand("app", "Exists", "[]") && !demand("app", "DoesNotExist", "[]"));
    }
}
