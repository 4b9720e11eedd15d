//! Situations that guards are there for, made of real objects.

use std::path::Path;
use std::time::Duration;

use serde_json::{Value, json};
use tests::story::{Plugin, demand};
use tests::testbed::{Error, wait_until};

use super::stage::{SPACE, Stage};

/// Multus' own configuration on a node: the first by name, as Multus makes it.
pub(crate) const MULTUS: &str = "/etc/cni/net.d/00-multus.conf";
/// The API server for whoever is inside the cluster: the first address of the testbed's Services.
const CLUSTER_IP: &str = "https://10.96.0.1:443";
/// How long a definition may take to be served.
const SERVED: Duration = Duration::from_secs(60);

/// Multus as its own manifest installs it, except that no node is picked: its image is not on the testbed.
const MULTUS_OBJECTS: &str = r#"
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: network-attachment-definitions.k8s.cni.cncf.io}
spec:
  group: k8s.cni.cncf.io
  scope: Namespaced
  names: {kind: NetworkAttachmentDefinition, plural: network-attachment-definitions, singular: network-attachment-definition}
  versions:
  - name: v1
    served: true
    storage: true
    schema: {openAPIV3Schema: {type: object, properties: {spec: {type: object, properties: {config: {type: string}}}}}}
---
apiVersion: apps/v1
kind: DaemonSet
metadata: {name: kube-multus-ds, namespace: kube-system, labels: {app: multus}}
spec:
  selector: {matchLabels: {name: multus}}
  template:
    metadata: {labels: {name: multus}}
    spec:
      nodeSelector: {testbed/multus: "true"}
      hostNetwork: true
      containers: [{name: kube-multus, image: "ghcr.io/k8snetworkplumbingwg/multus-cni:v4.1.4-thick"}]
"#;

/// The operator's kind, where its own definition is not at hand.
const INSTALLATION_KIND: &str = r"
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: installations.operator.tigera.io}
spec:
  group: operator.tigera.io
  scope: Cluster
  names: {kind: Installation, listKind: InstallationList, plural: installations, singular: installation}
  versions:
  - name: v1
    served: true
    storage: true
    schema: {openAPIV3Schema: {type: object, x-kubernetes-preserve-unknown-fields: true}}
";

const OPERATOR: &str = r#"
apiVersion: v1
kind: Namespace
metadata: {name: tigera-operator}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: tigera-operator, namespace: tigera-operator}
spec:
  replicas: 0
  selector: {matchLabels: {name: tigera-operator}}
  template:
    metadata: {labels: {name: tigera-operator}}
    spec:
      containers: [{name: tigera-operator, image: "quay.io/tigera/operator:v1.34.13"}]
"#;

/// Takes everything away again. Whatever fails is tried no further: the story has ended.
pub(crate) fn clear(stage: &Stage<'_>) {
    drop(stage.node.remove(MULTUS));
    // Before its owner goes: what it owns would go with it.
    drop(disown(stage));
    drop(stage.restore_agent());
    drop(felix(stage, &json!({ "interfacePrefix": null })));
    drop(stage.testbed.restore_kube_proxy());
    drop(stage.testbed.restore_felix());
    let quietly: [&[&str]; 7] = [
        &["delete", "installation", "default", "--cascade=orphan", "--ignore-not-found"],
        &["delete", "crd", "installations.operator.tigera.io", "--ignore-not-found"],
        &["delete", "namespace", "tigera-operator", "--ignore-not-found", "--wait=false"],
        &["delete", "daemonset", "kube-multus-ds", "-n", "kube-system", "--ignore-not-found"],
        &["delete", "crd", "network-attachment-definitions.k8s.cni.cncf.io", "--ignore-not-found"],
        &["label", "daemonset", "calico-node", "-n", "kube-system", "argocd.argoproj.io/instance-"],
        &["label", "nodes", "--all", "node-role.kubernetes.io/control-plane-"],
    ];
    for arguments in quietly {
        drop(stage.kubectl(arguments));
    }
    drop(lock_datastore(stage, false));
    drop(stage.kubectl(&[
        "delete",
        "validatingadmissionpolicy,validatingadmissionpolicybinding",
        "-l",
        "testbed/of=leaving",
    ]));
}

/// Whether the datastore is locked, as during an upgrade.
pub(crate) fn lock_datastore(stage: &Stage<'_>, is_locked: bool) -> Result<(), Error> {
    let patch = json!({ "spec": { "datastoreReady": !is_locked } }).to_string();
    let object = ["clusterinformations.crd.projectcalico.org", "default"];
    stage.kubectl(&[&["patch"], &object[..], &["--type=merge", "-p", &patch]].concat()).map(drop)
}

/// Changes the FelixConfiguration that is for all nodes.
pub(crate) fn felix(stage: &Stage<'_>, spec: &Value) -> Result<(), Error> {
    let patch = json!({ "spec": spec }).to_string();
    let object = ["felixconfigurations.crd.projectcalico.org", "default"];
    stage.kubectl(&[&["patch"], &object[..], &["--type=merge", "-p", &patch]].concat()).map(drop)
}

/// Multus is installed. It delegates where its configuration on the node says.
pub(crate) fn install_multus(stage: &Stage<'_>) -> Result<(), Error> {
    stage.testbed.apply(MULTUS_OBJECTS)?;
    served(stage, "network-attachment-definitions.k8s.cni.cncf.io")?;
    let config = json!({ "cniVersion": "0.3.1", "type": "macvlan", "master": "eth0" }).to_string();
    let definition = json!({
        "apiVersion": "k8s.cni.cncf.io/v1", "kind": "NetworkAttachmentDefinition",
        "metadata": {"name": "second", "namespace": SPACE}, "spec": {"config": config},
    });
    stage.testbed.apply(&definition.to_string())
}

/// Multus' configuration on the node.
pub(crate) fn configure_multus(stage: &Stage<'_>, delegate: &Value) -> Result<(), Error> {
    let mut configuration =
        json!({ "cniVersion": "0.3.1", "name": "multus-cni-network", "type": "multus-shim" });
    for (key, value) in delegate.as_object().into_iter().flatten() {
        configuration[key] = value.clone();
    }
    stage.node.write(MULTUS, configuration.to_string().as_bytes(), "0600")
}

/// The operator's kind, from its release when `CALICO_CRDS` names a folder with `v3.28.4/operator-crds.yaml`; otherwise one of that
/// name that accepts anything.
pub(crate) fn define_installation(stage: &Stage<'_>) -> Result<(), Error> {
    let text = match std::env::var_os("CALICO_CRDS") {
        None => INSTALLATION_KIND.to_owned(),
        Some(folder) => {
            let path = Path::new(&folder).join("v3.28.4/operator-crds.yaml");
            let source = |source| Error::File { what: "read", path: path.clone(), source };
            let all = std::fs::read_to_string(&path).map_err(source)?;
            let name = "\n  name: installations.operator.tigera.io\n";
            let one = all.split("\n---").find(|it| it.contains(name)).map(str::to_owned);
            one.ok_or_else(|| Error::Missing(format!("no Installation in {}", path.display())))?
        }
    };
    apply_server_side(stage, &text)?;
    served(stage, "installations.operator.tigera.io")
}

/// What the operator is told to install.
pub(crate) fn install(stage: &Stage<'_>, spec: &Value) -> Result<(), Error> {
    let object = json!({
        "apiVersion": "operator.tigera.io/v1", "kind": "Installation",
        "metadata": {"name": "default"}, "spec": spec,
    });
    apply_server_side(stage, &object.to_string())
}

/// The operator is there, and DaemonSet calico-node is what it rendered from its Installation.
pub(crate) fn hand_to_operator(stage: &Stage<'_>) -> Result<(), Error> {
    stage.testbed.apply(OPERATOR)?;
    let uid = stage.testbed.field(&["installation", "default"], "{.metadata.uid}")?;
    demand(!uid.is_empty(), "the Installation has a uid", &uid)?;
    let owner = json!({
        "apiVersion": "operator.tigera.io/v1", "kind": "Installation", "name": "default",
        "uid": uid, "controller": true,
    });
    stage.patch_agent("merge", &json!({ "metadata": { "ownerReferences": [owner] } }))
}

/// DaemonSet calico-node is nobody's again.
pub(crate) fn disown(stage: &Stage<'_>) -> Result<(), Error> {
    stage.patch_agent("merge", &json!({ "metadata": { "ownerReferences": null } }))
}

/// Changes the template of DaemonSet calico-node by a strategic merge patch, without its pods being restarted.
pub(crate) fn change_template(stage: &Stage<'_>, spec: &Value) -> Result<(), Error> {
    let patch = json!({ "spec": {
        "updateStrategy": { "type": "OnDelete", "rollingUpdate": null },
        "template": { "spec": spec },
    }});
    stage.patch_agent("strategic", &patch)
}

/// The plugin in the network of a node that reaches the API server by its `ClusterIP`, as kube-proxy makes it reachable there; or
/// by the server's own address from the same place.
pub(crate) fn from_inside(stage: &Stage<'_>, by_cluster_ip: bool) -> Result<Plugin, Error> {
    let node = stage.testbed.node(super::stage::OTHER)?;
    let plugin = Plugin::purge(stage.testbed)?.in_network_of(node);
    if !by_cluster_ip {
        return Ok(plugin);
    }
    let usual = stage.testbed.kubeconfig();
    let file = |path: &Path, what| {
        let path = path.to_owned();
        move |source| Error::File { what, path, source }
    };
    let text = std::fs::read_to_string(&usual).map_err(file(&usual, "read"))?;
    let changed = text.replace(&stage.testbed.layout().server(), CLUSTER_IP);
    demand(changed.contains(CLUSTER_IP), "the kubeconfig names the ClusterIP", &())?;
    // It goes with the plugin's own directory, and nobody else can read that.
    let path = plugin.state().join("kubeconfig");
    std::fs::write(&path, changed).map_err(file(&path, "write"))?;
    Ok(plugin.with_other_kubeconfig(&path))
}

/// A rule of the API server's own admission that refuses cordons.
pub(crate) fn refuse_cordons(stage: &Stage<'_>) -> Result<(), Error> {
    let metadata = json!({ "name": "no-cordons", "labels": {"testbed/of": "leaving"} });
    let policy = json!({
        "apiVersion": "admissionregistration.k8s.io/v1", "kind": "ValidatingAdmissionPolicy",
        "metadata": metadata,
        "spec": {
            "failurePolicy": "Fail",
            "matchConstraints": {"resourceRules": [{
                "apiGroups": [""], "apiVersions": ["v1"], "operations": ["UPDATE"], "resources": ["nodes"],
            }]},
            "validations": [{
                "expression": "!has(object.spec.unschedulable) || !object.spec.unschedulable",
                "message": "nobody cordons nodes here",
            }],
        },
    });
    let binding = json!({
        "apiVersion": "admissionregistration.k8s.io/v1", "kind": "ValidatingAdmissionPolicyBinding",
        "metadata": metadata,
        "spec": {"policyName": "no-cordons", "validationActions": ["Deny"]},
    });
    stage.testbed.apply(&policy.to_string())?;
    stage.testbed.apply(&binding.to_string())?;
    wait_until("the policy is in force", SERVED, || cordons_are_refused(stage, true))
}

/// kubectl's own exit code of a refused cordon is 0.
fn cordons_are_refused(stage: &Stage<'_>, expected: bool) -> Result<(), String> {
    let line = ["cordon", super::stage::OTHER, "--dry-run=server"];
    let output = stage.testbed.kubectl_output(&line).map_err(|error| error.to_string())?;
    let is_refused = output.stderr.contains("nobody cordons nodes here");
    if is_refused == expected { Ok(()) } else { Err(format!("{output:?}")) }
}

/// Cordons are allowed again.
pub(crate) fn allow_cordons(stage: &Stage<'_>) -> Result<(), Error> {
    let kinds = "validatingadmissionpolicybinding,validatingadmissionpolicy";
    stage.kubectl(&["delete", kinds, "no-cordons"])?;
    wait_until("the policy is no longer in force", SERVED, || cordons_are_refused(stage, false))
}

/// The operator's definition is too large for the annotation in which kubectl otherwise keeps what it applied.
fn apply_server_side(stage: &Stage<'_>, text: &str) -> Result<(), Error> {
    let path = stage.purge.state().join("manifest.yaml");
    let source = |source| Error::File { what: "write", path: path.clone(), source };
    std::fs::write(&path, text).map_err(source)?;
    let file = format!("--filename={}", path.display());
    stage.kubectl(&["apply", "--server-side", "--force-conflicts", &file]).map(drop)
}

fn served(stage: &Stage<'_>, crd: &str) -> Result<(), Error> {
    // A definition that is a moment old has no conditions to wait for, and Established is said before the kind can be asked for.
    wait_until("the kind is served", SERVED, || {
        stage
            .kubectl(&["get", crd, "--all-namespaces"])
            .map(drop)
            .map_err(|error| error.to_string())
    })
}
