//! The baseline: what answers from where before anything is changed. Only that is demanded later.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use super::objects::Maker;
use super::stage::{NEW, NODE_PORT, Open, Stage, shown};
use crate::cluster::{Cluster, Write};
use crate::plan::ebpf::{ServiceProof, Vantage};

/// Seconds after which what has not answered counts as silent. Rules for a new Service are there within a second or two.
const PATIENCE: Duration = Duration::from_secs(15);

/// What answered.
#[derive(Clone, Debug)]
pub struct Measured {
    /// The proof, with what did not answer taken out of it.
    pub proof: ServiceProof,
    /// What was taken out, and why, for a person.
    pub left_out: Vec<String>,
}

/// Asks everything that `proof` names once before a change. It makes pods and a Service, and removes them.
///
/// # Errors
/// When they cannot be made, or a new Service does not answer from a node even now: then a change cannot be judged.
pub async fn measure(
    cluster: &Cluster,
    proof: &ServiceProof,
    field_manager: &str,
) -> Result<Measured, String> {
    let namespace = proof.agent.namespace.as_str();
    let maker = Maker { cluster, namespace, run: &proof.run, write: Write::by(field_manager) };
    let ended = asked(&maker, proof).await;
    let cleared = maker.clear().await.map_err(|error| error.to_string());
    ended.and_then(|it| cleared.map(|()| it))
}

async fn asked(maker: &Maker<'_>, proof: &ServiceProof) -> Result<Measured, String> {
    let within = Duration::from_secs(proof.within_seconds);
    let stage = Stage::open(maker, &proof.agent, true, within).await?;
    let mut open = stage.demands(proof);
    let began = Instant::now();
    while !stage.round(&mut open).await.is_empty() && began.elapsed() < PATIENCE {
        tokio::time::sleep(super::POLL).await;
    }
    judge(proof, &open)
}

fn judge(proof: &ServiceProof, open: &Open) -> Result<Measured, String> {
    let silent = |name: &str| -> BTreeSet<&Vantage> {
        let has = |asked: &Vec<super::round::Asked>| asked.iter().any(|it| it.name == name);
        open.0.iter().filter(|(_, asked)| has(asked)).map(|(vantage, _)| vantage).collect()
    };
    let mut proof = proof.clone();
    let mut left_out = Vec::new();
    let new = silent(NEW);
    if let Some(host) = new.iter().find(|it| !it.from_pod) {
        return Err(format!(
            "a new Service does not answer from {} even before a change: mend that first",
            shown(host)
        ));
    }
    if let Some(pod) = new.first() {
        proof.from_pods = false;
        left_out.push(format!(
            "a new Service does not answer from {}, so that it is not demanded from pods",
            shown(pod)
        ));
    }
    let node_port =
        |asked: &Vec<super::round::Asked>| asked.iter().any(|it| it.name.starts_with(NODE_PORT));
    if proof.node_ports && open.0.iter().any(|(_, asked)| node_port(asked)) {
        proof.node_ports = false;
        left_out
            .push("NodePorts do not answer everywhere, so that they are not demanded".to_owned());
    }
    for target in &mut proof.targets {
        let silent = silent(&target.service);
        if !silent.is_empty() {
            let from: Vec<String> = silent.iter().map(|it| shown(it)).collect();
            left_out.push(format!("{} does not answer from {}", target.service, from.join(", ")));
        }
        target.silent_before = silent.into_iter().cloned().collect();
    }
    Ok(Measured { proof, left_out })
}
