//! Snapshots of one node for the tests of this folder.

use jiff::Timestamp;

use crate::slim::{DaemonSet, Node, NodeCondition};
use crate::snapshot::{
    Extent, Form, Provenance, Record, RecordKey, Resource, Sink, Snapshot, SnapshotBuilder,
};

/// A file of the CNI configuration directory.
pub(super) fn file<'a>(name: &'a str, content: &'a str) -> (&'a str, &'a str) {
    (name, content)
}

/// A cluster of one node, with an install of Calico, whose configuration directory holds these files.
pub(super) fn on_node(node: &str, files: &[(&str, &str)]) -> Snapshot {
    let mut builder = SnapshotBuilder::new();
    let mut listing = String::new();
    let mut contents = String::new();
    for (name, content) in files {
        listing.push_str(&format!("-rw------- 1 0 0 9 2026-11-21 12:03:47.6 +0000 {name}\n"));
        contents.push_str(&format!("@@conf-{name} rc=0 ms=0\n{content}\n@@end\n"));
    }
    let body = format!("@@ls-cni-net.d rc=0 ms=0\n{listing}@@end\n{contents}");
    record(&mut builder, RecordKey::Probe(node.to_owned()), body);
    for (plural, group) in [("pods", ""), ("events", "")] {
        let key = RecordKey::List(Resource::new(plural, group));
        record(&mut builder, key, r#"{"apiVersion":"v1","kind":"List","items":[]}"#.to_owned());
    }
    let key = RecordKey::List(Resource::new("daemonsets", "apps"));
    let mut set = DaemonSet::default();
    set.metadata.name = "calico-node".into();
    set.metadata.namespace = "kube-system".into();
    record(&mut builder, key, list(&set));
    let mut it = Node::default();
    it.metadata.name = node.into();
    it.status.conditions.push(NodeCondition {
        kind: "Ready".into(),
        status: "True".into(),
        ..NodeCondition::default()
    });
    record(&mut builder, RecordKey::List(Resource::new("nodes", "")), list(&it));
    builder.finish(Timestamp::UNIX_EPOCH)
}

fn list(item: &impl serde::Serialize) -> String {
    serde_json::json!({"apiVersion": "v1", "kind": "List", "items": [item]}).to_string()
}

fn record(builder: &mut SnapshotBuilder, key: RecordKey, body: String) {
    builder.record(&Record {
        key,
        body: body.into_bytes(),
        at: Timestamp::UNIX_EPOCH,
        from: Provenance::Api(String::new()),
        extent: Extent { form: Form::Full, complete: true, ..Extent::default() },
    });
}
