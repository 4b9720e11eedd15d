//! I4: nobody but the operator has written its switch.

use super::super::calico_version;
use super::super::settings::BPF_ENABLED;
use super::{Holds, Picture, Rule, error, not_applicable};
use crate::bpf::requirements::CalicoVersion;
use crate::bpf::text;
use crate::snapshot::{InstallMethod, Known};

/// By which the operator, from 1.34 on, remembers what it wrote.
const ANNOTATION: &str = "/metadata/annotations/operator.tigera.io~1bpfEnabled";
/// First release of Calico that such an operator installs.
const SINCE: CalicoVersion = CalicoVersion(3, 28, 0);

pub(super) static RULE: Rule = Rule {
    id: "I4",
    title: "FelixConfiguration says of eBPF what the operator wrote there",
    judge,
};

fn judge(picture: &Picture<'_>) -> Holds {
    match picture.situation.snapshot.install.as_ref().map(|it| it.method) {
        Known::Known(InstallMethod::Operator) => {}
        Known::Unknown(gap) => return Holds::Unknown(gap),
        _ => return not_applicable("the operator does not install Calico here"),
    }
    let felix = match picture.situation.felix_named("default") {
        Known::Known(felix) => felix,
        Known::Absent => return not_applicable("there is no FelixConfiguration default"),
        Known::Unknown(gap) => return Holds::Unknown(gap),
    };
    let annotated = text(felix, ANNOTATION).filter(|it| !it.is_empty());
    if annotated.is_none() && calico_version(picture.situation).is_none_or(|it| it < SINCE) {
        return not_applicable("this operator does not write there");
    }
    let set = felix.pointer("/spec").and_then(|spec| spec.get(BPF_ENABLED)?.as_bool());
    if annotated.map(is_true) == set {
        return Holds::Yes;
    }
    let word = |it: Option<String>| it.unwrap_or_else(|| "nothing".to_owned());
    error(
        vec![format!(
            "bpfEnabled of FelixConfiguration default is {}, and the operator wrote {}: it changes nothing any more, and says that \
             somebody else has",
            word(set.map(|it| it.to_string())),
            word(annotated.map(str::to_owned)),
        )],
        restore(annotated),
    )
}

/// Puts back what the operator wrote.
fn restore(annotated: Option<&str>) -> String {
    let value = annotated.map_or("null", |it| if is_true(it) { "true" } else { "false" });
    format!(
        "give it back what it wrote: kubectl patch felixconfiguration default --type=merge -p '{{\"spec\":{{\"bpfEnabled\":{value}}}}}'"
    )
}

/// As Go reads it.
fn is_true(text: &str) -> bool {
    matches!(text, "1" | "t" | "T" | "true" | "TRUE" | "True")
}
