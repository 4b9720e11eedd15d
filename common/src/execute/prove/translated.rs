//! Who translates the new Service: the NAT table of BPF, or kube-proxy's rules. While both are there, an answer alone does not
//! tell.

use core::net::IpAddr;

use futures::{StreamExt, stream};

use super::stage::Stage;
use crate::bpf::{BpfFacts, NatFrontend, Protocol};
use crate::node;
use crate::plan::ebpf::Translator;
use crate::snapshot::Known;

/// Nodes that are asked at once.
const PARALLEL: usize = 20;

/// On which nodes it does not, and why.
pub(super) async fn complaints(stage: &Stage<'_>, by: Translator) -> Vec<String> {
    let Ok(address) = stage.service.address.parse::<IpAddr>() else {
        return vec![format!("the new Service has no address: {:?}", stage.service.address)];
    };
    let wanted = NatFrontend { address, port: stage.service.port, protocol: Protocol::Tcp };
    let jobs: Vec<_> =
        stage.sites.iter().map(|(node, site)| (node.clone(), site.agent.clone())).collect();
    let jobs = jobs.into_iter().map(|(node, agent)| async move {
        let why = match node::bpf(stage.cluster, &agent).await {
            Ok(text) => lacks(&BpfFacts::from_scan(&node, &text), by, wanted),
            Err(error) => Some(error.to_string()),
        };
        why.map(|why| format!("{node}: {why}"))
    });
    let mut all: Vec<String> = stream::iter(jobs)
        .buffer_unordered(PARALLEL)
        .filter_map(std::future::ready)
        .collect()
        .await;
    all.sort();
    all
}

fn lacks(facts: &BpfFacts, by: Translator, wanted: NatFrontend) -> Option<String> {
    let of = |what: &str, has: Known<bool>| match has {
        Known::Known(true) => None,
        Known::Known(false) => Some(format!("{what} lacks the new Service")),
        Known::Absent => Some(format!("there is no {what}")),
        Known::Unknown(gap) => Some(format!("{what} could not be read: {}", gap.detail)),
    };
    match by {
        Translator::Any => None,
        Translator::Bpf => of(
            "NAT table of eBPF",
            facts.nat.as_ref().map(|it| it.get(&wanted).is_some_and(|it| it.backends > 0)),
        ),
        Translator::KubeProxy => {
            of("rule of kube-proxy", facts.kube_proxy.as_ref().map(|it| it.contains(&wanted)))
        }
    }
}
