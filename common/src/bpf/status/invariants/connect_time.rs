//! I9: where connections are translated when they are opened, that is so on every node.

use super::super::calico_version;
use super::super::settings::{CONNECT_TIME, CONNECT_TIME_ENABLED};
use super::{Holds, Picture, Real, Rule, named, not_applicable, off, warning};
use crate::bpf::requirements::CalicoVersion;
use crate::snapshot::Known;

/// First releases that pin them.
const PINNED_SINCE: [CalicoVersion; 2] = [CalicoVersion(3, 29, 5), CalicoVersion(3, 30, 1)];
/// Folder of the pins.
const PINS: &str = "/sys/fs/bpf/ctlb/";

pub(super) static RULE: Rule = Rule {
    id: "I9",
    title: "where eBPF is on, connections of the node's own programs are translated when they are opened",
    judge,
};

fn judge(picture: &Picture<'_>) -> Holds {
    match is_off(picture) {
        Known::Known(true) => return not_applicable("it is switched off"),
        Known::Unknown(gap) => return Holds::Unknown(gap),
        _ => {}
    }
    let on = picture.nodes_that(|node| node.real == Real::On);
    if on.is_empty() {
        return match picture.unseen() {
            Some(gap) if picture.is_about_ebpf() => Holds::Unknown(gap),
            _ => off(),
        };
    }
    let lacks = |name: &str| match picture.situation.nodes.get(name) {
        Some(facts) => facts
            .as_ref()
            .and_then(|it| it.pins.as_ref())
            .map(|pins| !pins.iter().any(|it| it.starts_with(PINS))),
        None => Known::Absent,
    };
    match picture.on_nodes(lacks) {
        Known::Unknown(gap) => Holds::Unknown(gap),
        // Earlier releases attach programs that no file tells of.
        Known::Known(without) if without.len() == on.len() && !pins(picture) => {
            not_applicable("this release of Calico leaves nothing by which it could be seen")
        }
        Known::Known(without) if !without.is_empty() && pins(picture) => warning(
            vec![format!("no program for it is pinned on {}", named(&without))],
            "restart calico-node there: it attaches them when it starts",
        ),
        _ => Holds::Yes,
    }
}

fn is_off(picture: &Picture<'_>) -> Known<bool> {
    match picture.default_setting(CONNECT_TIME) {
        Known::Known(setting) => Known::Known(setting.value == "Disabled"),
        Known::Unknown(gap) => Known::Unknown(gap),
        Known::Absent => picture.default_setting(CONNECT_TIME_ENABLED).map(|it| it.value == false),
    }
}

/// Whether this release pins them.
fn pins(picture: &Picture<'_>) -> bool {
    calico_version(picture.situation).is_some_and(|it| it.has_fix(&PINNED_SINCE))
}
