//! Reads `ip -j route show`.

use serde::{Deserialize, Serialize};

use super::{Gap, GapReason, Known};
use crate::calico::names::TUNNEL_DEVICES;

/// Routes that Calico made to blocks of addresses.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct BlockRoutes {
    /// To blocks of other nodes.
    pub remote: usize,
    /// To blocks of this node: blackholes, for what no pod has.
    pub own: usize,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct RouteItem {
    #[serde(rename = "type")]
    kind: String,
    gateway: String,
    dev: String,
    protocol: String,
    table: String,
}

/// Routing protocols as `ip` shows them: Felix's number, BIRD's number with and without its name.
const PROTOCOLS: [&str; 3] = ["80", "12", "bird"];

/// Counts them. Felix before v3.29 leaves routes by its tunnel device unmarked: there the device tells.
pub(super) fn parse(what: &str, text: &str) -> Known<BlockRoutes> {
    let routes: Vec<RouteItem> = match serde_json::from_str(text.trim()) {
        Ok(routes) => routes,
        Err(error) => {
            return Known::Unknown(Gap::new(what, GapReason::Undecodable, error.to_string()));
        }
    };
    let mut count = BlockRoutes::default();
    // The table `local` holds the device's own addresses.
    for route in routes.iter().filter(|it| it.table.is_empty() || it.table == "main") {
        let marked = PROTOCOLS.contains(&route.protocol.as_str());
        if route.kind == "blackhole" {
            count.own += usize::from(marked);
        } else if !route.gateway.is_empty() {
            let by_tunnel = TUNNEL_DEVICES.contains(&route.dev.as_str());
            count.remote += usize::from(marked || by_tunnel);
        }
    }
    Known::Known(count)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn count(text: &str) -> BlockRoutes {
        *parse("x", text).known().unwrap()
    }

    /// Lines of recording R01, and what differs with IP-in-IP and with newer releases.
    #[test]
    fn only_calicos_routes_to_blocks_count() {
        let recorded = r#"[
            {"dst":"default","gateway":"10.99.0.1","dev":"eth0","flags":[]},
            {"dst":"10.200.0.0/24","gateway":"10.99.0.13","dev":"eth0","flags":[]},
            {"dst":"192.168.104.0/26","gateway":"192.168.104.0","dev":"vxlan.calico","flags":["onlink"]},
            {"type":"blackhole","dst":"192.168.166.128/26","protocol":"80","flags":[]},
            {"dst":"192.168.166.129","dev":"cali27299355d6c","scope":"link","flags":[]},
            {"type":"local","dst":"192.168.166.128","dev":"vxlan.calico","table":"local","protocol":"kernel"},
            {"type":"blackhole","dst":"203.0.113.0/24","protocol":"static"}]"#;
        assert_eq!(count(recorded), BlockRoutes { remote: 1, own: 1 });
        let bird = r#"[
            {"dst":"10.244.1.0/26","gateway":"10.0.0.2","dev":"tunl0","protocol":"bird"},
            {"dst":"10.244.2.0/26","gateway":"10.0.0.3","dev":"eth0","protocol":"bird"},
            {"dst":"10.244.3.0/26","gateway":"10.0.0.4","dev":"vxlan.calico","protocol":"80"},
            {"type":"blackhole","dst":"10.244.0.0/26","protocol":"12"}]"#;
        assert_eq!(count(bird), BlockRoutes { remote: 3, own: 1 });
        assert_eq!(count("[]"), BlockRoutes::default());
        assert!(parse("x", "Error: no").gap().is_some());
    }
}
