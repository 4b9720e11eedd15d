//! The objects out of what was seen. What must be known before anything is changed, and is not, is a reason not to.

use std::collections::BTreeSet;

use serde_json::Value;

use super::ground::{Object, Objects, ProxyRules, named};
use crate::bpf::{KUBE_PROXY, Situation, TIGERA_OPERATOR, status};
use crate::calico::names::MANIFEST_NAMESPACE;
use crate::plan::ObjectRef;
use crate::snapshot::{Gap, InstallMethod, Known};

/// Why there can be no plan.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Missing {
    /// Something is not there that must be.
    Absent(String),
    /// Something could not be read.
    Unread(Gap),
}

impl Objects {
    /// The objects of the cluster that was seen.
    ///
    /// # Errors
    /// When one that must be known is not.
    pub fn of(situation: &Situation<'_>) -> Result<Self, Missing> {
        let install = must(situation.snapshot.install.as_ref(), "Calico")?;
        let namespace = install.namespace.as_str();
        let workload = |plural: &str, name: &str| named("apps", "v1", plural, namespace, name);
        let agent = workload("daemonsets", &install.daemon_set);
        let felix = must(situation.felix_object("default"), "FelixConfiguration default")?;
        let felix_value = must(situation.felix_named("default"), "FelixConfiguration default")?;
        let is_operator = install.method == InstallMethod::Operator;
        let companions = if is_operator {
            Vec::new()
        } else {
            let of = |name: &str, it: &Known<Value>| may(workload("deployments", name), it);
            [
                of("calico-typha", &situation.typha)?,
                of("calico-kube-controllers", &situation.kube_controllers)?,
            ]
            .into_iter()
            .flatten()
            .collect()
        };
        let installation = named("operator.tigera.io", "v1", "installations", "", "default");
        let operator = named("apps", "v1", "deployments", TIGERA_OPERATOR, "tigera-operator");
        let kube_proxy = named("apps", "v1", "daemonsets", MANIFEST_NAMESPACE, KUBE_PROXY);
        let mut objects = Self {
            method: install.method,
            agent: Object {
                name: agent,
                value: must(situation.calico_node.as_ref(), "DaemonSet calico-node")?.clone(),
            },
            companions,
            felix: Object { name: felix, value: felix_value.clone() },
            felix_fields: situation.felix_fields.known().cloned().unwrap_or_else(BTreeSet::new),
            installation: may(installation, &situation.installation)?,
            operator: may(operator, &situation.operator)?,
            kube_proxy: may(kube_proxy, &situation.kube_proxy)?,
            endpoint_map: None,
            rules: rules(situation),
        };
        objects.endpoint_map = may(objects.endpoint_map_name(), &situation.endpoint_config)?;
        if is_operator && objects.installation.is_none() {
            return Err(Missing::Absent("Installation default".to_owned()));
        }
        Ok(objects)
    }
}

fn rules(situation: &Situation<'_>) -> ProxyRules {
    let mut rules =
        ProxyRules { left: status::nodes_that_keep_rules(situation), ..ProxyRules::default() };
    for (node, facts) in &situation.nodes {
        let found = facts.known().and_then(|it| it.kube_proxy_rules.implementations.known());
        let Some(found) = found else { continue };
        rules.shown.insert(node.clone());
        if found.len() > 1 {
            rules.left.insert(node.clone());
        }
    }
    rules
}

fn must<T>(fact: Known<T>, what: &str) -> Result<T, Missing> {
    match fact {
        Known::Known(value) => Ok(value),
        Known::Absent => Err(Missing::Absent(what.to_owned())),
        Known::Unknown(gap) => Err(Missing::Unread(gap)),
    }
}

fn may(name: ObjectRef, fact: &Known<Value>) -> Result<Option<Object>, Missing> {
    match fact {
        Known::Known(value) => Ok(Some(Object { name, value: value.clone() })),
        Known::Absent => Ok(None),
        Known::Unknown(gap) => Err(Missing::Unread(gap.clone())),
    }
}
