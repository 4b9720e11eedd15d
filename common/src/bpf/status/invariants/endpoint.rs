//! I6: the address by which calico-node reaches the API server is the one that was written down, and serves.

use super::super::{EndpointMode, EndpointUse};
use super::{Holds, Picture, Real, Rule, error, named, not_applicable, off};
use crate::bpf::Endpoint;
use crate::slim::Pod;
use crate::snapshot::{Gap, GapReason, Known};

pub(super) static RULE: Rule = Rule {
    id: "I6",
    title: "calico-node reaches the API server at the address that is written down",
    judge,
};

fn judge(picture: &Picture<'_>) -> Holds {
    let way = match picture.endpoint {
        Known::Known(way) => way,
        Known::Absent => return not_applicable("Calico is not installed"),
        Known::Unknown(gap) => return Holds::Unknown(gap.clone()),
    };
    let Some(written) = &way.written else {
        return match way.mode {
            _ if !picture.is_about_ebpf() => off(),
            EndpointMode::Bootstrap => not_applicable("the operator's bootstrap names none"),
            _ => not_applicable("no address is written down"),
        };
    };
    match wrong(picture, way, written) {
        Some(holds) => holds,
        None => used(picture, way, written),
    }
}

/// An address that cannot serve.
fn wrong(picture: &Picture<'_>, way: &EndpointUse, written: &Endpoint) -> Option<Holds> {
    let todo =
        "name the API server's own address: kubectl calico-ebpf enable --api-endpoint HOST:PORT";
    if written.port == 0 {
        return Some(error(vec![format!("{} names no port", way.by)], todo));
    }
    super::super::endpoint::cluster_ips(picture.situation).contains(&written.host).then(|| {
        let what = format!("{} names {written}, the address of Service default/kubernetes", way.by);
        error(vec![what], todo)
    })
}

fn used(picture: &Picture<'_>, way: &EndpointUse, written: &Endpoint) -> Holds {
    let others = picture.nodes_that(|node| node.endpoint.known().is_some_and(|it| it != written));
    if !others.is_empty() {
        return error(
            vec![format!(
                "calico-node on {} does not use {written}, which {} names",
                named(&others),
                way.by
            )],
            "restart calico-node: kubectl rollout restart of its DaemonSet",
        );
    }
    if let Some(gap) = picture.unseen() {
        return Holds::Unknown(gap);
    }
    // That it answers is seen by what needs it.
    let snapshot = picture.situation.snapshot;
    let is_managed = |name: &&str| picture.nodes[*name].real != Real::WithoutCalico;
    let is_ready = |name: &str| snapshot.calico_node_on(name).is_some_and(Pod::is_ready);
    let names = picture.nodes.keys().map(String::as_str).filter(is_managed);
    let not_ready: Vec<&str> = names.filter(|name| !is_ready(name)).collect();
    if not_ready.is_empty() {
        return Holds::Yes;
    }
    let why = format!(
        "calico-node on {} is not ready: whether it reaches the API server at {written} is not known",
        named(&not_ready)
    );
    Holds::Unknown(Gap::new("cluster/pods.json", GapReason::Other("not ready".to_owned()), why))
}
