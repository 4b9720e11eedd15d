//! I10: no run of this tool is between its start and its goal.

use super::{Holds, Picture, Rule, error, warning};

pub(super) static RULE: Rule =
    Rule { id: "I10", title: "no run of this tool is under way, or was cut off", judge };

fn judge(picture: &Picture<'_>) -> Holds {
    let mut cut_off = Vec::new();
    let mut under_way = Vec::new();
    for run in picture.runs {
        let what = format!("run {} ({}), {}", run.id, run.made_by, run.progress);
        if run.goes_on {
            under_way.push(format!("{what}, goes on"));
        } else {
            cut_off.push(format!("{what}, did not end"));
        }
    }
    let is_known = |holder: &str| picture.runs.iter().any(|run| holder.ends_with(&run.id));
    if let Some(holder) = picture.lease_holder().filter(|it| !is_known(it)) {
        under_way.push(format!("{holder} is changing this cluster"));
    }
    if !cut_off.is_empty() {
        cut_off.extend(under_way);
        return error(
            cut_off,
            "go on with it: kubectl calico-ebpf resume RUN; or take it back: kubectl calico-ebpf rollback RUN",
        );
    }
    if !under_way.is_empty() {
        return warning(under_way, "wait for it to end");
    }
    match &picture.situation.snapshot.leases.gap {
        Some(gap) => Holds::Unknown(gap.clone()),
        None => Holds::Yes,
    }
}
