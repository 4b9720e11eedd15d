//! Removes the host's ends of interfaces of pods that no longer exist.
//!
//! The script looks once more, at what no check can see: an interface in whose other end's namespace a process lives is left
//! alone. What it costs: nothing. A pod's interface cannot be brought back, and nothing uses it.

use super::Case;
use super::host_step::{HostStep, kubelet_answers, step};
use super::need::Need;
use crate::calico::veth;
use crate::findings::SubjectKind;
use crate::plan::{Condition, HostOperation, Step};
use crate::residue::{ResidueId, ResidueKind};
use crate::snapshot::{Known, Link};

/// Kind of a pod's interface as `ip -d link` shows it.
const VETH: &str = "veth";

pub(super) fn steps(case: &Case<'_>, need: &Need<'_>) -> Result<Vec<Step>, String> {
    kubelet_answers(case.snapshot, need.node)?;
    let links = match case.snapshot.host(need.node).and_then(|host| host.links.as_ref()) {
        Known::Known(links) => links,
        Known::Absent => return Err("the node's interfaces were not looked at".to_owned()),
        Known::Unknown(gap) => {
            return Err(format!("its interfaces are not known: {}", gap.detail));
        }
    };
    let names = named(need);
    let is_meant =
        |it: &&Link| it.kind == VETH && veth::is_one(&it.name) && names.contains(&&*it.name);
    let steps: Vec<Step> =
        links.iter().filter(is_meant).map(|link| of_link(case, need, link)).collect();
    if steps.is_empty() {
        return Err("none of these interfaces is there any more".to_owned());
    }
    Ok(steps)
}

/// Interfaces that findings name, as `Link/<node>/<name>`.
fn named<'a>(need: &Need<'a>) -> Vec<&'a str> {
    let prefix = format!("Link/{}/", need.node);
    need.causes
        .iter()
        .filter(|finding| finding.subject.kind == SubjectKind::Object)
        .flat_map(|finding| &finding.subject.names)
        .filter_map(|name| name.strip_prefix(&prefix))
        .collect()
}

fn of_link(case: &Case<'_>, need: &Need<'_>, link: &Link) -> Step {
    let operation = HostOperation::RemoveLink {
        name: link.name.clone(),
        link_kind: VETH.to_owned(),
        index: link.index,
    };
    let ids = vec![ResidueId::new(ResidueKind::Link, &link.name).0];
    step(
        case,
        need,
        HostStep {
            id: &format!("remove-link/{}", link.name),
            title: &format!("remove interface {}", link.name),
            operation,
            no_undo: "its pod no longer exists",
            verify: vec![Condition::ResiduesGone { node: need.node.to_owned(), ids }],
        },
    )
}

#[cfg(test)]
mod tests {
    use crate::findings::{Code, Finding, Subject};
    use crate::plan::remedies::RemedyName;
    use crate::plan::remedies::fixtures::{diagnosis, finding, plan, snapshot, why};
    use crate::plan::{Action, Condition, HostOperation, Undo};
    use crate::snapshot::{HostFacts, Known, Snapshot};

    const LEAKED: &str = "calidc19b9be713";

    fn leaked(name: &str) -> Finding {
        let subject = Subject::of(super::SubjectKind::Object, [format!("Link/node2/{name}")]);
        let mut it = finding(Code("CAL-POD-004"), subject, "links", false);
        (it.nodes, it.remedy) = (vec!["node2".into()], Some(RemedyName::RemoveLeakedLinks));
        it
    }

    fn seen(links: &str) -> Snapshot {
        let mut snapshot = snapshot(2);
        let text = format!("@@ip-link rc=0 ms=1\n{links}\n@@end\n");
        let facts = HostFacts::from_probe("node2", text.as_bytes()).0;
        snapshot.hosts.insert("node2".into(), Known::Known(facts));
        snapshot
    }

    fn link(name: &str, index: u32, kind: &str) -> String {
        format!(r#"{{"ifname":"{name}","ifindex":{index},"linkinfo":{{"info_kind":"{kind}"}}}}"#)
    }

    #[test]
    fn exactly_the_named_interface_goes_by_its_index() {
        let others = [link("cali0123456789a", 8, "veth"), link("eth0", 2, "veth")].join(",");
        let snapshot = seen(&format!("[{},{others}]", link(LEAKED, 7, "veth")));
        let plan = plan(&snapshot, &diagnosis(vec![(leaked(LEAKED), vec![])]), &[]);
        let [step] = plan.steps.as_slice() else { panic!("{plan:?}") };
        let Action::OnHost { node, operation } = &step.action else { panic!("{step:?}") };
        let expected =
            HostOperation::RemoveLink { name: LEAKED.into(), link_kind: "veth".into(), index: 7 };
        assert_eq!((node.as_str(), operation), ("node2", &expected));
        assert!(matches!(&step.undo, Undo::Impossible { .. }));
        let ids = vec![format!("link/{LEAKED}")];
        let gone = Condition::ResiduesGone { node: "node2".into(), ids };
        assert_eq!(step.verify[0].condition, gone);
    }

    #[test]
    fn what_became_something_else_is_left() {
        for (name, kind) in [(LEAKED, "bridge"), ("cali0123456789a", "veth")] {
            let snapshot = seen(&format!("[{}]", link(name, 7, kind)));
            let plan = plan(&snapshot, &diagnosis(vec![(leaked(LEAKED), vec![])]), &[]);
            assert!(plan.steps.is_empty(), "{plan:?}");
            assert!(why(&plan).contains("none of these interfaces"), "{}", why(&plan));
        }
        let unseen = plan(&snapshot(2), &diagnosis(vec![(leaked(LEAKED), vec![])]), &[]);
        assert!(why(&unseen).contains("not probed"), "{}", why(&unseen));
    }
}
