//! Work on hosts as the executor asks for it: what is handed to whoever reaches the host, and what never leaves it.

use std::sync::Mutex;
use std::time::Duration;

use super::hosts::Hosts;
use super::{ClusterOperations, Operations, PerformError, Performed, StopSwitch, Underway};
use crate::cluster::test_server::{Reply, TestServer};
use crate::plan::{
    Action, BinarySource, Condition, Expected, FileContent, HostOperation, Verdict, judge,
};
use crate::snapshot::{Gap, GapReason};

/// A token of that shape; it was never valid anywhere.
const TOKEN: &str = "eyJhbGciOiJSUzI1NiJ9.eyJpc3MiOiJrIn0.c2lnbmF0dXJl";

/// Keeps what it is asked for.
#[derive(Default)]
struct Stub {
    operated: Mutex<Vec<(String, Option<Vec<u8>>)>>,
    probed: Mutex<Vec<String>>,
}

impl Hosts for Stub {
    async fn operate(
        &self,
        node: &str,
        _operation: &HostOperation,
        content: Option<&[u8]>,
    ) -> Result<Performed, PerformError> {
        self.operated.lock().unwrap().push((node.to_owned(), content.map(<[u8]>::to_vec)));
        Ok(Performed::Acted)
    }

    async fn probe(&self, node: &str) -> Result<Vec<u8>, Gap> {
        self.probed.lock().unwrap().push(node.to_owned());
        if node == "dead" {
            return Err(Gap::new("probe.txt", GapReason::Unreachable, "the kubelet is silent"));
        }
        Ok(b"@@ls-cni-bin rc=0 ms=1\n-rwxr-xr-x 1 0 0 9 2026-11-21 10:00:00.0 +0000 calico\n@@end\n".to_vec())
    }

    async fn residues(&self, node: &str) -> Result<Vec<u8>, Gap> {
        Err(Gap::new(format!("nodes/{node}/residues.txt"), GapReason::NotAsked, "no scan"))
    }

    async fn binary(
        &self,
        _node: &str,
        name: &str,
        _source: &BinarySource,
    ) -> Result<Vec<u8>, PerformError> {
        Ok(name.as_bytes().to_vec())
    }
}

fn write(content: FileContent) -> Action {
    let operation = HostOperation::WriteFile {
        path: "/etc/cni/net.d/x".into(),
        mode: 0o600,
        content,
        expected: Expected::Any,
        backup: "/etc/cni/net.d/x.bak".into(),
    };
    Action::OnHost { node: "n1".into(), operation }
}

async fn server() -> TestServer {
    TestServer::start(|_, asked| {
        if asked.line.starts_with("POST") {
            Reply::Body(201, format!(r#"{{"status":{{"token":"{TOKEN}"}}}}"#))
        } else if asked.line.contains("configmaps") {
            Reply::Body(200, r#"{"data":{"ca.crt":"PEM\n"}}"#.into())
        } else {
            Reply::Body(403, r#"{"kind":"Status","reason":"Forbidden","message":"no"}"#.into())
        }
    })
    .await
}

#[tokio::test]
async fn content_is_made_when_it_is_needed_and_handed_over_whole() {
    let server = server().await;
    let cluster = server.cluster(Duration::from_secs(20)).await;
    let hosts = Stub::default();
    let operations = ClusterOperations::with_hosts(&cluster, &hosts);
    let kubeconfig = FileContent::CniKubeconfig {
        server: "https://10.96.0.1:443".into(),
        namespace: "kube-system".into(),
        service_account: "calico-cni-plugin".into(),
    };
    let source = BinarySource::Release { version: "v3.28.4".into(), architecture: "amd64".into() };
    let (_switch, stop) = StopSwitch::new();
    let underway = Underway::new(&stop);
    for (content, says) in [
        (FileContent::Text { text: "{}".into() }, "{}"),
        (FileContent::Binary { name: "calico-ipam".into(), source }, "calico-ipam"),
        (kubeconfig, TOKEN),
    ] {
        let action = write(content);
        let prepared = operations.prepare(&action).await.unwrap();
        assert_eq!(prepared.sha256().unwrap().len(), 64);
        // What could be logged, or be part of an error, shows nothing of it.
        assert!(!format!("{prepared:?}").contains(says) && !format!("{action:?}").contains(TOKEN));
        assert_eq!(operations.perform(&action, &prepared, &underway).await, Ok(Performed::Acted));
        let (node, content) = hosts.operated.lock().unwrap().pop().unwrap();
        let content = String::from_utf8(content.unwrap()).unwrap();
        assert!(node == "n1" && content.contains(says), "{content}");
    }
    // Putting back needs nothing.
    let operation = HostOperation::RestoreFile {
        path: "/etc/cni/net.d/x".into(),
        expected: Expected::Absent,
        backup: "/etc/cni/net.d/x.bak".into(),
    };
    let action = Action::OnHost { node: "n1".into(), operation };
    let prepared = operations.prepare(&action).await.unwrap();
    assert!(prepared.bytes().is_none());
    operations.perform(&action, &prepared, &underway).await.unwrap();
    assert_eq!(hosts.operated.lock().unwrap().pop(), Some(("n1".to_owned(), None)));
}

#[tokio::test]
async fn what_only_the_host_shows_is_looked_at_there() {
    let server = server().await;
    let cluster = server.cluster(Duration::from_secs(20)).await;
    let hosts = Stub::default();
    let operations = ClusterOperations::with_hosts(&cluster, &hosts);
    let present = |node: &str, name: &str| Condition::CniBinariesPresent {
        node: node.into(),
        names: vec![name.into()],
    };
    for (condition, met) in [
        (present("n1", "calico"), true),
        (present("n1", "calico-ipam"), false),
        (present("dead", "calico"), false),
    ] {
        let seen = operations.observe(&condition).await.unwrap();
        let verdict = judge(&condition, &seen);
        assert_eq!(verdict == Verdict::Met, met, "{condition:?}: {verdict:?}");
    }
    assert_eq!(*hosts.probed.lock().unwrap(), ["n1", "n1", "dead"]);
    assert_eq!(server.lines(), [""; 0], "calico-node is not asked for it");
    // What calico-node could show is looked at on the host when it cannot: here its pod may not be listed.
    let first = Condition::CalicoConfigurationFirst { node: "n1".into() };
    operations.observe(&first).await.unwrap();
    assert_eq!(hosts.probed.lock().unwrap().len(), 4);
    // Without a way to the host, the first obstacle is the one that is told.
    let blind = ClusterOperations::new(&cluster);
    let verdict = judge(&first, &blind.observe(&first).await.unwrap());
    assert!(matches!(verdict, Verdict::Forbidden(_)), "{verdict:?}");
}
