//! I3: calico-node has one way to the API server that does without kube-proxy, and not two.

use super::super::EndpointMode;
use super::super::endpoint::is_bootstrap;
use super::{Holds, Picture, Rule, error, not_applicable};
use crate::snapshot::Known;

pub(super) static RULE: Rule = Rule {
    id: "I3",
    title: "calico-node reaches the API server by a ConfigMap or by the operator's bootstrap, not by both",
    judge,
};

fn judge(picture: &Picture<'_>) -> Holds {
    let way = match picture.endpoint {
        Known::Known(way) => way,
        Known::Absent => return not_applicable("Calico is not installed"),
        Known::Unknown(gap) => return Holds::Unknown(gap.clone()),
    };
    if way.written.is_some() && is_bootstrap(picture.situation) {
        return error(
            vec![format!(
                "{} names an address, and bpfNetworkBootstrap is Enabled: the operator refuses both together",
                way.by
            )],
            "delete the ConfigMap, or set bpfNetworkBootstrap: Disabled in Installation default",
        );
    }
    if !picture.is_about_ebpf() {
        return super::off();
    }
    match (way.mode, picture.kube_proxy.serves()) {
        (EndpointMode::ClusterIp, Some(true)) => {
            not_applicable("kube-proxy serves the address that calico-node uses")
        }
        (EndpointMode::ClusterIp, Some(false)) => error(
            vec![
                "without kube-proxy, calico-node reaches the API server by its Service, for which it must be running itself: a node \
                 that is started anew does not come up"
                    .to_owned(),
            ],
            "name the API server's own address: kubectl calico-ebpf enable --api-endpoint HOST:PORT",
        ),
        (EndpointMode::ClusterIp, None) => match picture.kube_proxy {
            crate::bpf::kube_proxy::KubeProxyState::Unknown(gap) => Holds::Unknown(gap.clone()),
            _ => Holds::Yes,
        },
        _ => Holds::Yes,
    }
}
