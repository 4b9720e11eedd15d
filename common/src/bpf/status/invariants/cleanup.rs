//! I2: Felix does not remove kube-proxy's rules while kube-proxy writes them.

use super::super::settings::CLEANUP;
use super::{Holds, Picture, Rule, error, not_applicable, off};
use crate::bpf::kube_proxy::KubeProxyState;
use crate::snapshot::Known;

pub(super) static RULE: Rule =
    Rule { id: "I2", title: "Felix leaves kube-proxy's rules alone while kube-proxy runs", judge };

fn judge(picture: &Picture<'_>) -> Holds {
    if picture.is_on_anywhere() == Some(false) {
        return if picture.is_about_ebpf() { not_applicable("eBPF is on nowhere") } else { off() };
    }
    let cleans = match picture.default_setting(CLEANUP) {
        Known::Known(setting) => setting.value != false,
        Known::Absent => true,
        Known::Unknown(gap) => return Holds::Unknown(gap),
    };
    if !cleans {
        return Holds::Yes;
    }
    match (picture.kube_proxy.serves(), picture.is_on_anywhere()) {
        (Some(false), _) => Holds::Yes,
        (Some(true), Some(true)) => error(
            vec![
                "kube-proxy runs, and Felix removes its rules (bpfKubeProxyIptablesCleanupEnabled is not false): they write against \
                 each other"
                    .to_owned(),
            ],
            "stop kube-proxy: kubectl calico-ebpf kube-proxy off; or keep it: kubectl patch felixconfiguration default --type=merge -p \
             '{\"spec\":{\"bpfKubeProxyIptablesCleanupEnabled\":false}}'",
        ),
        _ => match (&picture.kube_proxy, picture.unseen()) {
            (KubeProxyState::Unknown(gap), _) => Holds::Unknown(gap.clone()),
            (_, Some(gap)) => Holds::Unknown(gap),
            _ => off(),
        },
    }
}
