//! The way there.

use super::Translator;
use super::ground::{Ground, Wish};
use crate::plan::{LeftOut, Plan, Step};

/// Takes the cluster to eBPF, and when that is wished for rids it of kube-proxy. What is so already is no step; when
/// everything is, there is none at all.
pub fn plan_enable(ground: &Ground<'_>, wish: &Wish, left_out: Vec<String>) -> Plan {
    let mut steps = towards_bpf(ground, wish);
    if wish.disable_kube_proxy && !ground.done.kube_proxy {
        steps.extend(without_kube_proxy(ground, wish));
    }
    if !steps.is_empty() {
        let by = match &ground.objects.kube_proxy {
            Some(_) if !ground.done.kube_proxy => Translator::KubeProxy,
            _ => Translator::Any,
        };
        steps.insert(0, ground.prove_before(by));
    }
    plan(ground, steps, left_out)
}

fn towards_bpf(ground: &Ground<'_>, wish: &Wish) -> Vec<Step> {
    let done = ground.done;
    let mut steps = Vec::new();
    if !done.endpoint {
        steps.push(ground.endpoint(wish));
    }
    // Without kube-proxy there is nothing to get on with.
    let apart = ground.objects.is_operator() || done.bpf;
    if apart && !done.coexistence && !done.kube_proxy {
        steps.push(ground.coexist());
    }
    if !done.bpf {
        steps.push(ground.bpf_on());
        let title = "prove that eBPF serves a new Service";
        steps.push(ground.prove("proof-bpf", title, Translator::Bpf));
    }
    steps
}

fn without_kube_proxy(ground: &Ground<'_>, wish: &Wish) -> Vec<Step> {
    let Some(kube_proxy) = &ground.objects.kube_proxy else { return Vec::new() };
    let mut steps = vec![ground.kube_proxy_off(kube_proxy)];
    let title = "prove that Services answer without kube-proxy";
    steps.push(ground.prove("proof-alone", title, Translator::Bpf));
    steps.push(ground.watch(kube_proxy, wish.watch_seconds));
    steps.push(ground.cleanup_on());
    let title = "prove that Services answer without kube-proxy's rules";
    steps.push(ground.prove("proof-final", title, Translator::Bpf));
    steps
}

pub(super) fn plan(ground: &Ground<'_>, mut steps: Vec<Step>, left_out: Vec<String>) -> Plan {
    // Each rests on all before it.
    let ids: Vec<_> = steps.iter().map(|it| it.id.clone()).collect();
    for (step, before) in steps.iter_mut().skip(1).zip(ids) {
        step.after = vec![before];
    }
    let of_proof = |why: String| LeftOut { finding: "proof".to_owned(), why };
    Plan {
        id: ground.run.clone(),
        made_by: ground.made_by.to_owned(),
        target: ground.target.clone(),
        taken: ground.taken,
        steps,
        left_out: left_out.into_iter().map(of_proof).collect(),
        max_failures: 1,
    }
}
