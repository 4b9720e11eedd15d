//! What tests do to the model of the operator, and how it is put back.

use super::Testbed;
use super::error::Error;
use super::install::{OperatorVersion, operator_definitions};
use super::layout::SERVICE_ADDRESS;
use super::node::Service;
use super::wait::wait_until;
use serde_json::json;
use std::time::Duration;

/// How long a changed operator may take to run, and to roll calico-node out.
const LIMIT: Duration = Duration::from_secs(120);

const OPERATOR: [&str; 1] = ["--namespace=tigera-operator"];

/// ConfigMaps of the operator's namespace that are there only when a test or a plugin made them.
const MADE: [&str; 2] = ["kubernetes-services-endpoint", "testbed-operator"];

const FELIX: [&str; 2] = ["felixconfigurations.crd.projectcalico.org", "default"];

impl Testbed {
    /// Lets the operator be of another release, definitions included, and waits until it runs. It forgets its endpoint by that.
    pub fn set_operator_version(&self, version: OperatorVersion) -> Result<(), Error> {
        let number = version.number();
        let apply = ["apply", "--server-side", "--force-conflicts", "--filename=-"];
        let definitions = operator_definitions(version)?;
        self.control_plane().kubectl_invocation(&apply).input(definitions).check()?;
        let container = json!({
            "name": "tigera-operator", "image": format!("quay.io/tigera/operator:v{number}"),
            "env": [{ "name": "OPERATOR_VERSION", "value": number }],
        });
        let patch = json!({ "spec": { "template": { "spec": { "containers": [container] } } } });
        self.kubectl(
            &[
                &OPERATOR[..],
                &["patch", "deployment", "tigera-operator", "--patch", &patch.to_string()],
            ]
            .concat(),
        )?;
        self.wait_operator()
    }

    /// Deletes the operator's pod and waits until another one runs: what the operator remembered is gone.
    pub fn restart_operator(&self) -> Result<(), Error> {
        let pod = ["pod", "--selector=name=tigera-operator"];
        let get = [&pod[..], &OPERATOR].concat();
        let before = self.field(&get, "{.items[*].metadata.uid}")?;
        self.kubectl(&[&OPERATOR[..], &["delete"], &pod].concat())?;
        let ready =
            r#"{.items[*].metadata.uid} {.items[*].status.conditions[?(@.type=="Ready")].status}"#;
        wait_until("another operator runs", LIMIT, || {
            let seen = self.field(&get, ready).map_err(|error| error.to_string())?;
            let good =
                seen.split_once(' ').is_some_and(|(uid, ready)| uid != before && ready == "True");
            if good { Ok(()) } else { Err(seen) }
        })
    }

    fn wait_operator(&self) -> Result<(), Error> {
        let counts = "--output=jsonpath={.metadata.generation}={.status.observedGeneration} {.status.updatedReplicas}={.status.readyReplicas}";
        let get = [&OPERATOR[..], &["get", "deployment", "tigera-operator", counts]].concat();
        wait_until("the operator runs", LIMIT, || {
            let seen = self.kubectl(&get).map_err(|error| error.to_string())?;
            let same = |pair: &str| pair.split_once('=').is_some_and(|(a, b)| a == b);
            if seen.split(' ').all(same) && seen.ends_with(" 1=1") { Ok(()) } else { Err(seen) }
        })
    }

    /// Tells the operator's model to misbehave: `degraded` (a text: TigeraStatus says so, and nothing is reconciled) or
    /// `stall-rollout` (`true`: no rollout counts as complete). `None` takes it back.
    pub fn tell_operator(&self, knob: &str, value: Option<&str>) -> Result<(), Error> {
        let knobs = ["create", "configmap", "testbed-operator"];
        if !self.kubectl_output(&[&OPERATOR[..], &knobs].concat())?.is_success() {
            self.kubectl(&[&OPERATOR[..], &["get", "configmap", "testbed-operator"]].concat())?;
        }
        let patch = json!({ "data": { knob: value } }).to_string();
        let patch = ["patch", "configmap", "testbed-operator", "--type=merge", "--patch", &patch];
        self.kubectl(&[&OPERATOR[..], &patch].concat()).map(drop)
    }

    /// Puts the operator and what it owns back to how `up` made them, and kube-proxy with its rules before that, whatever a test
    /// did to them. Quick if they are so. calico-node may go on rolling out: [`Testbed::wait_ready`].
    pub fn reset_operator(&self) -> Result<(), Error> {
        let untouched = self.operator_is_untouched()?;
        if !untouched || !self.kube_proxy_serves()? {
            self.serve_by_kube_proxy()?;
        }
        if untouched {
            return self.tell_felix(r#"{"bpfKubeProxyIptablesCleanupEnabled": null}"#);
        }
        for name in MADE {
            let delete = ["delete", "configmap", name, "--ignore-not-found"];
            self.kubectl(&[&OPERATOR[..], &delete].concat())?;
        }
        let network = json!({
            "linuxDataplane": "Iptables", "bpfNetworkBootstrap": null, "kubeProxyManagement": null, "mtu": null,
        });
        let network = json!({ "spec": { "calicoNetwork": network } }).to_string();
        self.kubectl(&["patch", "installation", "default", "--type=merge", "--patch", &network])?;
        // Without field and annotation the operator does not refuse, and writes both anew.
        let felix = json!({
            "metadata": { "annotations": { "operator.tigera.io/bpfEnabled": null } },
            "spec": { "bpfEnabled": null, "bpfKubeProxyIptablesCleanupEnabled": null, "nftablesMode": null },
        });
        let felix = ["--type=merge", "--patch", &felix.to_string()].map(ToOwned::to_owned);
        let felix: Vec<&str> = felix.iter().map(String::as_str).collect();
        self.set_operator_version(OperatorVersion::TwoPhase)?;
        self.kubectl(&[&["patch"], &FELIX[..], &felix].concat())?;
        self.restart_operator()?;
        wait_until("the operator's work is as at first", LIMIT, || {
            let untouched = self.operator_is_untouched().map_err(|error| error.to_string())?;
            if untouched { Ok(()) } else { Err(self.operator_state().unwrap_or_default()) }
        })
    }

    /// Whether every node has rules for Services.
    fn kube_proxy_serves(&self) -> Result<bool, Error> {
        let rules =
            ["/bin/sh", "-c", "/usr/sbin/iptables-save -t nat | /usr/bin/grep -q KUBE-SVC-"];
        let served = self.nodes().iter().map(|node| node.run(&rules).map(|it| it.is_success()));
        Ok(served.collect::<Result<Vec<_>, _>>()?.into_iter().all(|it| it))
    }

    /// While eBPF is still on: once it is off, nobody else reaches the API server for calico-node. What Felix removed of its rules
    /// kube-proxy does not notice by itself.
    fn serve_by_kube_proxy(&self) -> Result<(), Error> {
        self.tell_felix(r#"{"bpfKubeProxyIptablesCleanupEnabled": false}"#)?;
        self.restore_kube_proxy()?;
        self.wait_kube_proxy()?;
        self.nodes().iter().try_for_each(|node| node.restart_service(Service::KubeProxy))
    }

    fn operator_is_untouched(&self) -> Result<bool, Error> {
        let maps = self.field(&["configmaps", OPERATOR[0]], "{.items[*].metadata.name}")?;
        let release = OperatorVersion::TwoPhase.number();
        let wanted = format!(
            "quay.io/tigera/operator:v{release} Iptables false false {SERVICE_ADDRESS} False"
        );
        Ok(!maps.split(' ').any(|name| MADE.contains(&name)) && self.operator_state()? == wanted)
    }

    /// Image, data plane, `bpfEnabled` with its annotation and the flag of coexistence, endpoint, and whether anything is Degraded.
    fn operator_state(&self) -> Result<String, Error> {
        let deployment = ["deployment", "tigera-operator", OPERATOR[0]];
        let set = ["daemonset", "calico-node", "-n", self.calico_namespace()];
        let host =
            "{.spec.template.spec.containers[0].env[?(@.name==\"KUBERNETES_SERVICE_HOST\")].value}";
        let degraded = "{.status.conditions[?(@.type==\"Degraded\")].status}";
        let bpf = r"{.spec.bpfEnabled} {.metadata.annotations.operator\.tigera\.io/bpfEnabled}{.spec.bpfKubeProxyIptablesCleanupEnabled}";
        let plane = "{.spec.calicoNetwork.linuxDataplane}";
        let seen = [
            self.field(&deployment, "{.spec.template.spec.containers[0].image}")?,
            self.field(&["installation", "default"], plane)?,
            self.field(&FELIX, bpf)?,
            self.field(&set, host)?,
            self.field(&["tigerastatus", "calico"], degraded)?,
        ];
        Ok(seen.join(" "))
    }
}
