//! D2: where eBPF is on, it is in order.

use std::collections::BTreeMap;

use super::{Holds, Picture, Real, Rule, error, named, off};

pub(super) static RULE: Rule =
    Rule { id: "D2", title: "where eBPF is on, Felix says that it is in order", judge };

fn judge(picture: &Picture<'_>) -> Holds {
    let mut by_problem: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for (name, node) in picture.nodes {
        for problem in &node.problems {
            by_problem.entry(problem).or_default().push(name);
        }
    }
    if !by_problem.is_empty() {
        let sentence =
            |(problem, nodes): (&str, Vec<&str>)| format!("{}: {problem}", named(&nodes));
        return error(
            by_problem.into_iter().map(sentence).collect(),
            "see the log of calico-node there: kubectl logs -c calico-node",
        );
    }
    if picture.nodes.values().all(|node| node.real != Real::On) {
        return match picture.unseen() {
            Some(gap) if picture.is_about_ebpf() => Holds::Unknown(gap),
            _ => off(),
        };
    }
    match picture.unseen() {
        Some(gap) => Holds::Unknown(gap),
        None => Holds::Yes,
    }
}
