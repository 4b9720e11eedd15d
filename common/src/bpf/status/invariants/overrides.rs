//! I5: no node has settings of its own for eBPF, as a canary has them for a while.

use super::super::settings;
use super::{Holds, Picture, Rule, named, warning};
use crate::snapshot::Known;

pub(super) static RULE: Rule =
    Rule { id: "I5", title: "no node has settings of its own for eBPF", judge };

fn judge(picture: &Picture<'_>) -> Holds {
    let all = match &picture.situation.felix {
        Known::Known(all) => all,
        Known::Absent => return Holds::Yes,
        Known::Unknown(gap) => return Holds::Unknown(gap.clone()),
    };
    let found = settings::overrides(all);
    if found.is_empty() {
        return Holds::Yes;
    }
    let names: Vec<&str> = found.iter().map(String::as_str).collect();
    let what = format!("FelixConfiguration {} goes before default", named(&names));
    warning(vec![what], "when it is not wanted any more: kubectl delete felixconfiguration NAME")
}
