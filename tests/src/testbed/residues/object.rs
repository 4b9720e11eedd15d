//! What Calico leaves on the Node object.

use super::super::Testbed;
use super::super::error::Error;
use super::super::node::Node;
use serde_json::{Value, json};

/// Annotations that calico-node writes.
const ANNOTATIONS: [&str; 6] = [
    "projectcalico.org/ASNumber",
    "projectcalico.org/IPv4Address",
    "projectcalico.org/IPv4IPIPTunnelAddr",
    "projectcalico.org/IPv4VXLANTunnelAddr",
    "projectcalico.org/VXLANTunnelMACAddr",
    "projectcalico.org/WireguardPublicKey",
];
/// The condition that calico-node's preStop leaves True.
const NODE_CONDITION: &str = "NetworkUnavailable";

impl Testbed {
    /// Writes what a calico-node leaves that was shut down for good, and returns the names.
    pub(super) fn remember_calico(&self, node: &Node) -> Result<Vec<String>, Error> {
        let values = ANNOTATIONS.map(|name| format!("{name}=left"));
        let mut annotate = vec!["annotate", "node", node.name(), "--overwrite"];
        annotate.extend(values.iter().map(String::as_str));
        self.kubectl(&annotate)?;
        let now = jiff::Timestamp::now().to_string();
        let condition = json!({"type": NODE_CONDITION, "status": "True", "reason": "CalicoIsDown",
            "message": "Calico is shutting down on this node", "lastTransitionTime": now, "lastHeartbeatTime": now});
        self.patch_status(node, "strategic", &json!({"status": {"conditions": [condition]}}))?;
        let annotations = ANNOTATIONS.iter().map(|name| format!("annotation/{name}"));
        Ok(annotations.chain([format!("condition/{NODE_CONDITION}")]).collect())
    }

    /// Takes all of Calico off the Node object.
    pub(super) fn forget_calico(&self, node: &Node) -> Result<(), Error> {
        let text = self.kubectl(&["get", "node", node.name(), "-o", "json"])?;
        let object: Value = serde_json::from_str(&text)
            .map_err(|error| Error::Odd { what: "the Node".to_owned(), why: error.to_string() })?;
        let annotations = object["metadata"]["annotations"].as_object();
        let calicos = annotations.into_iter().flat_map(|all| all.keys());
        let calicos: Vec<String> = calicos
            .filter(|name| name.starts_with("projectcalico.org/"))
            .map(|name| format!("{name}-"))
            .collect();
        if !calicos.is_empty() {
            let mut annotate = vec!["annotate", "node", node.name()];
            annotate.extend(calicos.iter().map(String::as_str));
            self.kubectl(&annotate)?;
        }
        let conditions = object["status"]["conditions"].as_array();
        let place = conditions.into_iter().flatten().position(|it| it["type"] == NODE_CONDITION);
        let Some(place) = place else { return Ok(()) };
        let path = format!("/status/conditions/{place}");
        let patch = json!([
            {"op": "test", "path": format!("{path}/type"), "value": NODE_CONDITION},
            {"op": "remove", "path": path},
        ]);
        self.patch_status(node, "json", &patch)
    }

    fn patch_status(&self, node: &Node, form: &str, patch: &Value) -> Result<(), Error> {
        let (form, patch) = (format!("--type={form}"), format!("--patch={patch}"));
        self.kubectl(&["patch", "node", node.name(), "--subresource=status", &form, &patch])
            .map(drop)
    }
}
