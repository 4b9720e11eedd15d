//! I7: one program answers on kube-proxy's port for health checks. Load balancers of clouds ask there.

use super::super::calico_version;
use super::super::node::HEALTHZ;
use super::super::settings::HEALTHZ_PORT;
use super::{Holds, Picture, Rule, named, not_applicable, off, warning};
use crate::bpf::requirements::CalicoVersion;
use crate::bpf::text;
use crate::snapshot::{Gap, GapReason, Known};
use serde_json::Value;

/// First release of Felix that answers there, and the misspelt name that its field had.
const SINCE: CalicoVersion = CalicoVersion(3, 30, 4);
const MISSPELT: &str = "bpfKubeProxyHealtzPort";

pub(super) static RULE: Rule = Rule {
    id: "I7",
    title: "one program answers on port 10256, by which load balancers tell whether a node serves",
    judge,
};

fn judge(picture: &Picture<'_>) -> Holds {
    match (picture.is_on_anywhere(), picture.kube_proxy.serves()) {
        (Some(false), _) => off(),
        (Some(true), Some(true)) => beside_kube_proxy(picture),
        (Some(true), Some(false)) => alone(picture),
        _ => match (picture.unseen(), &picture.kube_proxy) {
            (_, crate::bpf::kube_proxy::KubeProxyState::Unknown(gap)) => {
                Holds::Unknown(gap.clone())
            }
            (Some(gap), _) => Holds::Unknown(gap),
            _ => off(),
        },
    }
}

/// Felix takes the port from kube-proxy, or tries to for ever.
fn beside_kube_proxy(picture: &Picture<'_>) -> Holds {
    let field = match felix_answers(picture) {
        Known::Known(Some(field)) => field,
        Known::Unknown(gap) => return Holds::Unknown(gap),
        _ => return Holds::Yes,
    };
    let port = match picture.default_setting(field) {
        Known::Known(setting) => setting.value.as_u64().unwrap_or(u64::from(HEALTHZ)),
        Known::Absent => u64::from(HEALTHZ),
        Known::Unknown(gap) => return Holds::Unknown(gap),
    };
    if port != u64::from(HEALTHZ) || kube_proxy_is_elsewhere(picture) {
        return Holds::Yes;
    }
    warning(
        vec!["kube-proxy and Felix both want port 10256".to_owned()],
        format!(
            "give Felix another: kubectl patch felixconfiguration default --type=merge -p '{{\"spec\":{{\"{field}\":10258}}}}'"
        ),
    )
}

/// The field by which this release is told where to answer; none in it when it does not answer at all.
fn felix_answers(picture: &Picture<'_>) -> Known<Option<&'static str>> {
    if let Known::Known(fields) = &picture.situation.felix_fields {
        let is_there = |field: &&str| fields.contains(*field);
        return Known::Known([HEALTHZ_PORT, MISSPELT].into_iter().find(|it| is_there(it)));
    }
    match calico_version(picture.situation) {
        Some(version) if version < SINCE => Known::Known(None),
        Some(version) if version == SINCE => Known::Known(Some(MISSPELT)),
        Some(_) => Known::Known(Some(HEALTHZ_PORT)),
        None => {
            let why = "which release of Calico this is could not be told";
            Known::Unknown(Gap::new("cluster/clusterinformations", GapReason::Undecodable, why))
        }
    }
}

/// Whether kube-proxy's configuration gives it another port.
fn kube_proxy_is_elsewhere(picture: &Picture<'_>) -> bool {
    let config = picture.situation.kube_proxy_config.known();
    let config = config.and_then(|it| text(it, "/data/config.conf"));
    let config = config.and_then(|it| crate::yaml::from_str::<Value>(it).ok());
    let address = config.as_ref().and_then(|it| it.get("healthzBindAddress")?.as_str());
    address
        .and_then(|it| it.rsplit_once(':')?.1.parse::<u16>().ok())
        .is_some_and(|port| port != HEALTHZ)
}

/// Without kube-proxy somebody must answer where somebody asks.
fn alone(picture: &Picture<'_>) -> Holds {
    let services = match &picture.situation.services {
        Known::Known(services) => services,
        Known::Absent => return not_applicable("there is no Service"),
        Known::Unknown(gap) => return Holds::Unknown(gap.clone()),
    };
    if !services.iter().any(|it| text(it, "/spec/type") == Some("LoadBalancer")) {
        return not_applicable("there is no Service of type LoadBalancer");
    }
    match picture.on_nodes(|name| picture.nodes[name].healthz.clone().map(|it| !it)) {
        Known::Unknown(gap) => Holds::Unknown(gap),
        Known::Known(silent) if !silent.is_empty() => warning(
            vec![format!(
                "nobody answers on port 10256 on {}: load balancers that ask there take the node for dead",
                named(&silent)
            )],
            "with Calico v3.30.4 or later, set bpfKubeProxyHealthzPort: 10256 in FelixConfiguration default; before, have the load \
             balancers ask elsewhere",
        ),
        _ => Holds::Yes,
    }
}
