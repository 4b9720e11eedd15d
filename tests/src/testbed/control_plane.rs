//! etcd, kube-apiserver, kube-controller-manager and kube-scheduler as processes of the machine.

use super::artefacts::Artefacts;
use super::command::{Invocation, Output};
use super::error::{Error, FileContext};
use super::kubeconfig;
use super::layout::{Layout, SERVICE_CIDR};
use super::process;
use super::wait::wait_until;
use super::{certificates, cgroup};
use std::fs;
use std::time::Duration;

/// How long the API server may take until it is ready.
const READY: Duration = Duration::from_secs(60);

/// The programs of the control plane, in the order in which they start.
pub(crate) const PROGRAMS: [&str; 4] =
    ["etcd", "kube-apiserver", "kube-controller-manager", "kube-scheduler"];

/// The control plane of one testbed.
#[derive(Debug, Clone)]
pub(crate) struct ControlPlane<'a> {
    pub(crate) layout: &'a Layout,
    pub(crate) artefacts: &'a Artefacts,
}

impl ControlPlane<'_> {
    /// Makes folders, certificates and kubeconfigs: all that nodes need as well.
    pub(crate) fn prepare(&self, nodes: &[String]) -> Result<(), Error> {
        for folder in [self.layout.logs(), self.layout.records()] {
            fs::create_dir_all(&folder).file("make", &folder)?;
        }
        certificates::make_all(self.layout, nodes)?;
        self.write_kubeconfigs()
    }

    /// Starts all programs and waits until the API server is ready.
    pub(crate) fn start(&self) -> Result<(), Error> {
        self.start_program("etcd")?;
        self.start_api()
    }

    /// Writes the kubeconfigs of the administrator, the controller manager and the scheduler.
    pub(crate) fn write_kubeconfigs(&self) -> Result<(), Error> {
        let run = self.layout.run();
        for (file, user) in [
            ("kubeconfig", "admin"),
            ("controller-manager.conf", "controller-manager"),
            ("scheduler.conf", "scheduler"),
        ] {
            kubeconfig::write_private(
                &run.join(file),
                kubeconfig::render(self.layout, user)?.as_bytes(),
            )?;
        }
        Ok(())
    }

    /// Starts the API server, and when it is ready those that live by it.
    pub(crate) fn start_api(&self) -> Result<(), Error> {
        self.start_program("kube-apiserver")?;
        wait_until("the API server is ready", READY, || self.look(&["get", "--raw", "/readyz"]))?;
        wait_until("the namespace default exists", READY, || {
            self.look(&["get", "namespace", "default"])
        })?;
        self.start_program("kube-controller-manager")?;
        self.start_program("kube-scheduler")
    }

    /// Stops the API server and those that live by it; etcd goes on.
    pub(crate) fn stop_api(&self) -> Result<(), Error> {
        for name in PROGRAMS.iter().skip(1).rev() {
            stop(self.layout, name)?;
        }
        Ok(())
    }

    /// Stops the controllers alone: nothing is made, counted or collected by itself.
    pub(crate) fn stop_controllers(&self) -> Result<(), Error> {
        stop(self.layout, "kube-controller-manager")
    }

    fn look(&self, arguments: &[&str]) -> Result<(), String> {
        match self.kubectl(arguments) {
            Ok(output) if output.is_success() => Ok(()),
            Ok(output) => Err(output.stderr.trim().to_owned()),
            Err(error) => Err(error.to_string()),
        }
    }

    /// Runs kubectl with the administrator's kubeconfig.
    pub(crate) fn kubectl(&self, arguments: &[&str]) -> Result<Output, Error> {
        self.kubectl_invocation(arguments).output()
    }

    pub(crate) fn kubectl_invocation(&self, arguments: &[&str]) -> Invocation {
        Invocation::of(&self.artefacts.kubebox)
            .arg("kubectl")
            .arg(format!("--kubeconfig={}", self.layout.kubeconfig().display()))
            .args(arguments)
            .limit(Duration::from_secs(180))
    }

    fn start_program(&self, name: &str) -> Result<(), Error> {
        if process::recorded(self.layout, name).is_some_and(process::Process::runs) {
            return Ok(());
        }
        let groups = cgroup::make(self.layout, "control-plane")?;
        let mut line = vec![self.artefacts.kubebox.display().to_string(), name.to_owned()];
        line.extend(self.arguments(name));
        let log = self.layout.logs().join(format!("{name}.log"));
        process::start(self.layout, name, &log, &groups, &line).map(drop)
    }

    fn arguments(&self, name: &str) -> Vec<String> {
        match name {
            "etcd" => self.etcd(),
            "kube-apiserver" => self.api_server(),
            "kube-controller-manager" => self.controller_manager(),
            _ => self.scheduler(),
        }
    }

    fn pki(&self, file: &str) -> String {
        self.layout.pki().join(file).display().to_string()
    }

    fn etcd(&self) -> Vec<String> {
        let (client, peer) = self.layout.etcd_ports();
        let (client, peer) =
            (format!("http://127.0.0.1:{client}"), format!("http://127.0.0.1:{peer}"));
        flags(&[
            ("name", "testbed"),
            ("data-dir", &self.layout.run().join("etcd").display().to_string()),
            ("listen-client-urls", &client),
            ("advertise-client-urls", &client),
            ("listen-peer-urls", &peer),
            ("initial-advertise-peer-urls", &peer),
            ("initial-cluster", &format!("testbed={peer}")),
            // Nothing of a testbed outlives the machine.
            ("unsafe-no-fsync", "true"),
            ("quota-backend-bytes", "4294967296"),
            ("log-level", "warn"),
        ])
    }

    fn api_server(&self) -> Vec<String> {
        let address = self.layout.gateway().to_string();
        flags(&[
            ("etcd-servers", &format!("http://127.0.0.1:{}", self.layout.etcd_ports().0)),
            ("bind-address", &address),
            ("advertise-address", &address),
            ("secure-port", "6443"),
            ("service-cluster-ip-range", SERVICE_CIDR),
            ("authorization-mode", "Node,RBAC"),
            ("enable-admission-plugins", "NodeRestriction"),
            ("allow-privileged", "true"),
            ("client-ca-file", &self.pki("ca.crt")),
            ("tls-cert-file", &self.pki("apiserver.crt")),
            ("tls-private-key-file", &self.pki("apiserver.key")),
            ("service-account-issuer", super::token::ISSUER),
            ("service-account-key-file", &self.pki("sa.pub")),
            ("service-account-signing-key-file", &self.pki("sa.key")),
            ("kubelet-certificate-authority", &self.pki("ca.crt")),
            ("kubelet-client-certificate", &self.pki("kubelet-client.crt")),
            ("kubelet-client-key", &self.pki("kubelet-client.key")),
            ("kubelet-preferred-address-types", "InternalIP"),
            ("requestheader-client-ca-file", &self.pki("front-proxy-ca.crt")),
            ("requestheader-allowed-names", "front-proxy-client"),
            ("requestheader-username-headers", "X-Remote-User"),
            ("requestheader-group-headers", "X-Remote-Group"),
            ("requestheader-extra-headers-prefix", "X-Remote-Extra-"),
            ("proxy-client-cert-file", &self.pki("front-proxy.crt")),
            ("proxy-client-key-file", &self.pki("front-proxy.key")),
            // The machine has no kube-proxy, so aggregated APIs are reached at their endpoints.
            ("enable-aggregator-routing", "true"),
        ])
    }

    fn controller_manager(&self) -> Vec<String> {
        let conf = self.layout.run().join("controller-manager.conf").display().to_string();
        flags(&[
            ("kubeconfig", &conf),
            // Nobody asks it anything, and its usual port may belong to another cluster of this machine.
            ("secure-port", "0"),
            ("leader-elect", "false"),
            ("use-service-account-credentials", "true"),
            ("root-ca-file", &self.pki("ca.crt")),
            ("service-account-private-key-file", &self.pki("sa.key")),
            ("cluster-signing-cert-file", &self.pki("ca.crt")),
            ("cluster-signing-key-file", &self.pki("ca.key")),
            ("service-cluster-ip-range", SERVICE_CIDR),
            ("allocate-node-cidrs", "true"),
            ("cluster-cidr", &self.layout.pod_cidr()),
        ])
    }

    fn scheduler(&self) -> Vec<String> {
        let conf = self.layout.run().join("scheduler.conf").display().to_string();
        flags(&[("kubeconfig", &conf), ("secure-port", "0"), ("leader-elect", "false")])
    }
}

/// Ends a program of the control plane at once. etcd's data is safe from that, and nobody waits for the others' farewells.
pub(crate) fn stop(layout: &Layout, name: &str) -> Result<(), Error> {
    if let Some(process) = process::recorded(layout, name) {
        process.kill()?;
    }
    process::forget(layout, name)
}

fn flags(pairs: &[(&str, &str)]) -> Vec<String> {
    pairs.iter().map(|(name, value)| format!("--{name}={value}")).collect()
}
