//! Gathers what somebody needs who wants to know why a test failed.

use super::error::{Error, FileContext};
use super::{Testbed, node::Node};
use std::fs;
use std::path::Path;

/// What kubectl is asked for, with the file its answer goes to.
const QUESTIONS: [(&str, &[&str]); 6] = [
    ("nodes.txt", &["get", "nodes", "--output=wide"]),
    ("pods.txt", &["get", "pods", "--all-namespaces", "--output=wide"]),
    ("events.txt", &["get", "events", "--all-namespaces", "--sort-by=.metadata.creationTimestamp"]),
    ("pods.yaml", &["get", "pods", "--all-namespaces", "--output=yaml"]),
    (
        "calico-node.log",
        &[
            "--namespace=kube-system",
            "logs",
            "--selector=k8s-app=calico-node",
            "--all-containers",
            "--prefix",
            "--tail=-1",
        ],
    ),
    (
        "kube-proxy.log",
        &[
            "--namespace=kube-system",
            "logs",
            "--selector=k8s-app=kube-proxy",
            "--prefix",
            "--tail=-1",
        ],
    ),
];

/// Copies logs and the state of the cluster into a folder. What cannot be read is left out: this runs when things are broken.
pub(crate) fn collect(testbed: &Testbed, folder: &Path) -> Result<(), Error> {
    fs::create_dir_all(folder).file("make", folder)?;
    for (file, question) in QUESTIONS {
        let answer = match testbed.kubectl_output(question) {
            Ok(output) => format!("{}{}", output.stdout, output.stderr),
            Err(error) => error.to_string(),
        };
        let path = folder.join(file);
        fs::write(&path, answer).file("write", &path)?;
    }
    copy_folder(&testbed.layout().logs(), &folder.join("control-plane"))?;
    for node in testbed.nodes() {
        copy_folder(&testbed.layout().node(node.name()).join("log"), &folder.join(node.name()))?;
        write_state(node, &folder.join(node.name()).join("state.txt"))?;
    }
    Ok(())
}

/// Logs only: neither keys nor kubeconfigs lie in these folders.
fn copy_folder(from: &Path, to: &Path) -> Result<(), Error> {
    fs::create_dir_all(to).file("make", to)?;
    for entry in fs::read_dir(from).into_iter().flatten().flatten() {
        let path = entry.path();
        if path.is_dir() {
            copy_folder(&path, &to.join(entry.file_name()))?;
        } else if path.is_file() {
            fs::copy(&path, to.join(entry.file_name())).file("copy", &path)?;
        }
    }
    Ok(())
}

fn write_state(node: &Node, to: &Path) -> Result<(), Error> {
    let script = "/usr/bin/ls -la /etc/cni/net.d /opt/cni/bin /var/lib/calico; /usr/sbin/ip address; /usr/sbin/ip route; /usr/bin/ps axf";
    let said = match node.run(&["/bin/sh", "-c", script]) {
        Ok(output) => format!("{}{}", output.stdout, output.stderr),
        Err(error) => error.to_string(),
    };
    fs::write(to, said).file("write", to)
}
