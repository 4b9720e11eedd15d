//! The way there.

use super::ground::{Ground, Wish};
use super::Translator;
use crate::plan::{LeftOut, Plan, Step};

/// Takes the cluster to eBPF, and when that is wished for rids it of kube-proxy.
pub fn plan_enable(ground: &Ground<'_>, wish: &Wish, left_out: Vec<String>) -> Plan {
    let mut steps = vec![ground.prove_before(Translator::KubeProxy), ground.endpoint(wish)];
    if ground.objects.is_operator() {
        steps.push(ground.coexist());
    }
    steps.push(ground.bpf_on());
    let title = "prove that eBPF serves a new Service";
    steps.push(ground.prove("proof-bpf", title, Translator::Bpf));
    let kube_proxy = ground.objects.kube_proxy.as_ref().filter(|_| wish.disable_kube_proxy);
    if let Some(kube_proxy) = kube_proxy {
        steps.push(ground.kube_proxy_off(kube_proxy));
        let title = "prove that Services answer without kube-proxy";
        steps.push(ground.prove("proof-alone", title, Translator::Bpf));
        steps.push(ground.watch(kube_proxy, wish.watch_seconds));
        if let Some(cleanup) = ground.cleanup_on() {
            steps.push(cleanup);
            let title = "prove that Services answer without kube-proxy's rules";
            steps.push(ground.prove("proof-final", title, Translator::Bpf));
        }
    }
    plan(ground, steps, left_out)
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
