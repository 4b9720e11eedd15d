//! How every run that changes something begins: its flags, its id, the cluster that it is for, and what it proves; and how its plan
//! is carried out.

use clap::Args;
use common::bpf::Situation;
use common::cli::{Exit, Failure};
use common::cluster::Cluster;
use common::execute::new_plan_id;
use common::node::pod::Op;
use common::plan::ebpf::{Done, Ground, Objects, ServiceProof};
use common::plan::{Plan, PlanId, Target};
use common::verbs::Session;
use common::verbs::change::{self, Manner};
use common::verbs::look::Look;
use common::verbs::node_flags::PodFlags;
use common::verbs::repair::{self, ChangeFlags};
use common::verbs::role::RoleFlags;

use super::enable::{PATIENCE, targets};
use super::{finish, ground};

/// Seconds that a step may take on each node, unless the user says otherwise.
const PER_NODE_SECONDS: u64 = 60;

/// Flags of every run that changes something.
#[derive(Args, Clone, Debug)]
pub(crate) struct RunFlags {
    #[command(flatten)]
    pub(crate) change: ChangeFlags,
    #[command(flatten)]
    pub(crate) pods: PodFlags,
    #[command(flatten)]
    pub(crate) role: RoleFlags,
}

/// What a plan is made from, as it was seen.
pub(crate) type Seen<'a> = (&'a Look, &'a Situation<'a>, &'a Objects);

/// A run that has not changed anything yet.
pub(crate) struct Beginning {
    pub(crate) run: PlanId,
    target: Target,
    proof: ServiceProof,
}

impl Beginning {
    /// A new run. `services` are those that the user wants to be asked as well.
    pub(crate) async fn of(
        cluster: &Cluster,
        (look, situation, objects): Seen<'_>,
        services: &[String],
    ) -> Result<Self, Failure> {
        let run = new_plan_id();
        let target = repair::target(cluster, look).await?;
        let proof = targets::proof(situation, objects, &run, services)?;
        Ok(Self { run, target, proof })
    }

    /// What its plan is made from.
    pub(crate) fn ground<'a>(
        &'a self,
        made_by: &'a str,
        (look, situation, objects): Seen<'a>,
        done: Done,
    ) -> Ground<'a> {
        Ground {
            run: &self.run,
            made_by,
            target: &self.target,
            taken: look.snapshot.taken,
            objects,
            proof: &self.proof,
            per_node_seconds: PER_NODE_SECONDS,
            nodes: situation.nodes.len(),
            done,
        }
    }
}

/// What is so already, as far as no wish matters.
pub(crate) fn as_it_is(situation: &Situation<'_>, objects: &Objects) -> Done {
    let cleanup = objects.felix.at("/spec/bpfKubeProxyIptablesCleanupEnabled");
    Done {
        endpoint: false,
        coexistence: cleanup == Some(&false.into()),
        bpf: ground::is_on(situation),
        kube_proxy: ground::kube_proxy_is_off(situation, objects.kube_proxy.as_ref()),
    }
}

/// Asks, carries the plan out, and says how it ended. With `take_back` a run that fails is taken back at once.
pub(crate) async fn carry_out(
    session: &Session,
    cluster: &Cluster,
    (plan, verb): (&Plan, &str),
    flags: &RunFlags,
    take_back: bool,
) -> Result<Exit, Failure> {
    let pods = flags.pods.open(session, cluster, plan.id.clone(), Op::Repair, verb).await;
    let manner = Manner { take_back, patience: PATIENCE, mirrored: true };
    let applying = change::apply_so(session, cluster, &pods, plan, flags.change.yes, manner);
    match Box::pin(applying).await? {
        Some(ended) => finish::ended(session, plan, ended),
        None => finish::declined(session, plan),
    }
}
