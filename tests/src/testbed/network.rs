//! The network of a testbed: a bridge, and for each node a network namespace with a veth pair into it.

use super::command::{Invocation, run};
use super::error::Error;
use super::layout::{Layout, node_number};

/// Makes the bridge with the API server's address.
pub(crate) fn make_bridge(layout: &Layout) -> Result<(), Error> {
    let bridge = layout.bridge();
    if has_link(&bridge)? {
        return Ok(());
    }
    let gateway = layout.gateway().to_string();
    let taken = run("ip", &["-o", "-4", "addr", "show", "to", &format!("{gateway}/24")])?;
    if let Some(line) = taken.lines().next() {
        return Err(Error::Busy(format!(
            "another link of this machine has an address of {gateway}/24 ({}); choose another network by KUBECTL_CALICO_TESTBED_INSTANCE",
            line.split_whitespace().take(4).collect::<Vec<_>>().join(" "),
        )));
    }
    run("ip", &["link", "add", &bridge, "type", "bridge"])?;
    run("ip", &["addr", "add", &format!("{gateway}/24"), "dev", &bridge])?;
    run("ip", &["link", "set", &bridge, "up"])?;
    Ok(())
}

/// Gives a node its namespace, its address on `eth0` and its default route.
pub(crate) fn make_node(layout: &Layout, node: &str) -> Result<(), Error> {
    let (link, bridge) = (layout.link(node), layout.bridge());
    let address = layout.node_address(node_number(node)?);
    if !namespaces()?.contains(&link) {
        run("ip", &["netns", "add", &link])?;
    }
    if has_link(&link)? {
        return Ok(());
    }
    run("ip", &["link", "add", &link, "type", "veth", "peer", "name", "eth0", "netns", &link])?;
    run("ip", &["link", "set", &link, "master", &bridge, "up"])?;
    let inside = |arguments: &[&str]| {
        Invocation::of("ip").args(["-n", &link]).args(arguments).check().map(drop)
    };
    inside(&["link", "set", "lo", "up"])?;
    inside(&["addr", "add", &format!("{address}/24"), "dev", "eth0"])?;
    inside(&["link", "set", "eth0", "up"])?;
    inside(&["route", "add", "default", "via", &layout.gateway().to_string()])
}

/// Lets the API server reach pods of a node directly (webhooks and aggregated APIs live in pods).
pub(crate) fn route_to_pods(layout: &Layout, node: &str, pod_cidr: &str) -> Result<(), Error> {
    let address = layout.node_address(node_number(node)?).to_string();
    run("ip", &["route", "replace", pod_cidr, "via", &address, "dev", &layout.bridge()]).map(drop)
}

/// Removes every link and namespace of the testbed; routes go with the links.
pub(crate) fn remove(layout: &Layout) -> Result<(), Error> {
    for namespace in ours(layout, namespaces()?) {
        run("ip", &["netns", "del", &namespace])?;
    }
    for link in ours(layout, links()?) {
        // Deleting a namespace takes its veth pairs along, a moment later: a link that is gone by now is as good.
        let output = Invocation::of("ip").args(["link", "del", &link]).output()?;
        if !output.is_success() && has_link(&link)? {
            return Err(Error::Busy(format!(
                "cannot delete the link {link}: {}",
                output.stderr.trim()
            )));
        }
    }
    Ok(())
}

/// Those names that are of this testbed: the bridge's, or its prefix with a node's name.
pub(crate) fn ours(layout: &Layout, names: Vec<String>) -> Vec<String> {
    let (bridge, start) = (layout.bridge(), layout.link(""));
    names.into_iter().filter(|name| *name == bridge || name.starts_with(&start)).collect()
}

/// The links of the machine's own network namespace.
pub(crate) fn links() -> Result<Vec<String>, Error> {
    let name = |line: &str| {
        let name = line.split_once(": ")?.1.split([':', '@']).next()?;
        Some(name.to_owned())
    };
    Ok(run("ip", &["-o", "link", "show"])?.lines().filter_map(name).collect())
}

/// The named network namespaces of the machine.
pub(crate) fn namespaces() -> Result<Vec<String>, Error> {
    let name = |line: &str| line.split_whitespace().next().map(ToOwned::to_owned);
    Ok(run("ip", &["netns", "list"])?.lines().filter_map(name).collect())
}

fn has_link(name: &str) -> Result<bool, Error> {
    Ok(links()?.iter().any(|link| link == name))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::Path;

    #[test]
    fn names_of_other_testbeds_are_left_alone() {
        let layout = Layout::new(1, Path::new("/s"), Path::new("/c")).unwrap();
        let names = ["kct1", "kct1-node1", "kct10", "kct10-node1", "kct", "eth0"]
            .map(ToOwned::to_owned)
            .to_vec();
        assert_eq!(ours(&layout, names), ["kct1", "kct1-node1"]);
    }
}
