//! Faults of the credentials: of one node, and of all of them.

use super::{CNI_KUBECONFIG, Fault, Undo};
use crate::testbed::error::Error;
use crate::testbed::node::{Node, Service};
use crate::testbed::repair::has_good_credentials;
use crate::testbed::token::{self, Claims};
use crate::testbed::wait::wait_until;
use crate::testbed::{ClusterLock, Testbed, certificates, node_files};
use sha2::{Digest as _, Sha256};
use std::time::Duration;

/// An API server that is no more: the port is the node's own, and nothing listens there.
const OLD_SERVER: &str = "https://127.0.0.1:6444";

/// How long an expired token has been expired.
const EXPIRED_SINCE: Duration = Duration::from_secs(3600);

/// What a re-initialised control plane has that is new.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Renewal {
    /// A new CA with the old subject: all certificates and kubeconfigs are new.
    Authority,
    /// A new key for service-account tokens; tokens of the old one are refused.
    SigningKey,
    /// Both, as `kubeadm init phase certs all` does when /etc/kubernetes/pki was lost.
    Both,
}

impl Testbed {
    /// Deletes ServiceAccount kube-system/calico-cni-plugin and makes it again: tokens of the old one are refused (another uid).
    ///
    /// Every node is hit. [`Testbed::heal_credentials`] puts it right.
    pub fn recreate_service_account(&self, _lock: &ClusterLock) -> Result<(), Error> {
        let account = ["serviceaccount", "calico-cni-plugin", "--namespace=kube-system"];
        self.kubectl(&[&["delete"], account.as_slice()].concat())?;
        self.kubectl(&[&["create"], account.as_slice()].concat())?;
        self.nodes().iter().try_for_each(wait_refused)
    }

    /// Writes a token into the node's CNI kubeconfig that is right in every respect, but expired an hour ago.
    pub fn expire_token(&self, node: &Node) -> Result<Fault, Error> {
        let before = node.read_text(CNI_KUBECONFIG)?;
        replace_token(node, &before, &self.expired_token()?)
    }

    /// Lets the node's CNI kubeconfig name an API server of old, where connections are refused.
    pub fn refuse_api(&self, node: &Node) -> Result<Fault, Error> {
        let before = node.read_text(CNI_KUBECONFIG)?;
        replace_line(node, &before, "server:", OLD_SERVER)
    }

    /// A token of the CNI plugin that is right in every respect, but expired an hour ago.
    pub(in crate::testbed) fn expired_token(&self) -> Result<String, Error> {
        let uid = self.field(
            &["serviceaccount", "calico-cni-plugin", "--namespace=kube-system"],
            "{.metadata.uid}",
        )?;
        let expires = jiff::Timestamp::now().as_second()
            - i64::try_from(EXPIRED_SINCE.as_secs()).unwrap_or_default();
        let claims = Claims {
            namespace: "kube-system",
            service_account: "calico-cni-plugin",
            uid: &uid,
            issued: expires - 24 * 3600,
            expires,
        };
        token::sign(self.layout(), claims)
    }

    /// Re-initialises the control plane on the same etcd. Kubelets and the administrator's kubeconfig follow a new CA,
    /// and kube-proxy's pods are made anew; Calico's pods are not, as in the field. [`Testbed::heal_credentials`] puts the rest right.
    pub fn renew(&self, renewal: Renewal, _lock: &ClusterLock) -> Result<(), Error> {
        let control_plane = self.control_plane();
        let names: Vec<String> = self.nodes().iter().map(|node| node.name().to_owned()).collect();
        control_plane.stop_api()?;
        if renewal != Renewal::SigningKey {
            certificates::replace_authority(self.layout(), &names)?;
            control_plane.write_kubeconfigs()?;
        }
        if renewal != Renewal::Authority {
            certificates::replace_service_account_key(self.layout())?;
        }
        control_plane.start_api()?;
        if renewal != Renewal::SigningKey {
            for node in self.nodes() {
                self.hand_out_credentials(node)?;
            }
            self.wait_root_ca_published()?;
        }
        self.wait_nodes_heard_of()?;
        self.replace_kube_proxy()
    }

    fn hand_out_credentials(&self, node: &Node) -> Result<(), Error> {
        for (path, content) in node_files::credentials(self.layout(), node.name())? {
            node.write(&path, content.as_bytes(), "0600")?;
        }
        node.restart_service(Service::Kubelet)
    }

    /// The controller manager writes the new CA to ConfigMap kube-root-ca.crt of every namespace, from which pods get it.
    fn wait_root_ca_published(&self) -> Result<(), Error> {
        let path = self.layout().pki().join("ca.crt");
        let wanted = std::fs::read_to_string(&path).map_err(|source| Error::File {
            what: "read",
            path,
            source,
        })?;
        wait_until("kube-root-ca.crt holds the new CA", Duration::from_secs(60), || {
            let get = [
                "get",
                "configmap",
                "kube-root-ca.crt",
                "--namespace=kube-system",
                "--output=jsonpath={.data.ca\\.crt}",
            ];
            match self.kubectl(&get) {
                Ok(found) if found.trim() == wanted.trim() => Ok(()),
                Ok(_) => Err("the old CA".to_owned()),
                Err(error) => Err(error.to_string()),
            }
        })
    }

    /// Waits until every kubelet has renewed its lease since now.
    fn wait_nodes_heard_of(&self) -> Result<(), Error> {
        let renewed = |node: &Node| {
            self.field(&["lease", node.name(), "--namespace=kube-node-lease"], "{.spec.renewTime}")
        };
        for node in self.nodes() {
            let before = renewed(node)?;
            let what = format!("kubelet of {} renews its lease", node.name());
            wait_until(&what, Duration::from_secs(60), || match renewed(node) {
                Ok(now) if now != before => Ok(()),
                Ok(now) => Err(now),
                Err(error) => Err(error.to_string()),
            })?;
        }
        Ok(())
    }

    /// Restarts calico-node everywhere, which writes good credentials to every node, and waits until all is Ready.
    pub fn heal_credentials(&self) -> Result<(), Error> {
        self.nodes().iter().try_for_each(|node| self.restart_calico_node(node))?;
        self.wait_ready()
    }

    /// The `kid` in the headers of tokens that the API server issues now.
    pub fn signing_key_id(&self) -> Result<String, Error> {
        token::key_id(self.layout())
    }

    /// The SHA-256 of a node's CNI kubeconfig, to see whether it was written anew without reading its token.
    pub fn cni_kubeconfig_hash(&self, node: &Node) -> Result<Option<String>, Error> {
        let content = node.read(CNI_KUBECONFIG)?;
        Ok(content.map(|content| {
            Sha256::digest(content).iter().map(|byte| format!("{byte:02x}")).collect()
        }))
    }
}

fn replace_token(node: &Node, kubeconfig: &str, token: &str) -> Result<Fault, Error> {
    replace_line(node, kubeconfig, "token:", token)
}

fn replace_line(node: &Node, kubeconfig: &str, key: &str, value: &str) -> Result<Fault, Error> {
    let lines = kubeconfig.lines().map(|line| match line.split_once(key) {
        Some((start, _)) => format!("{start}{key} {value}"),
        None => line.to_owned(),
    });
    let after = lines.collect::<Vec<_>>().join("\n") + "\n";
    if after.trim() == kubeconfig.trim() {
        return Err(Error::Odd {
            what: format!("{CNI_KUBECONFIG} of {}", node.name()),
            why: format!("it has no {key}"),
        });
    }
    node.write(CNI_KUBECONFIG, after.as_bytes(), "0600")?;
    let undo = Undo::Write { path: CNI_KUBECONFIG, content: kubeconfig.as_bytes().to_owned() };
    Ok(Fault { node: node.clone(), undo: Some(undo) })
}

/// Waits until the API server refuses a node's CNI credentials: it remembers for 10 s whom it accepted.
fn wait_refused(node: &Node) -> Result<(), Error> {
    let what = format!("the CNI credentials of {} are refused", node.name());
    wait_until(&what, Duration::from_secs(30), || match has_good_credentials(node) {
        Ok(false) => Ok(()),
        Ok(true) => Err("they are accepted".to_owned()),
        Err(error) => Err(error.to_string()),
    })
}
