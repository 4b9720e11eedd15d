//! Where calico-node is to reach the API server without Services: what the user says, else the best that the cluster knows.

use common::bpf::endpoint::{Discovery, discover};
use common::bpf::{Endpoint, Situation};
use common::cli::{Failure, Kind};
use common::cluster::Cluster;

/// The one to use.
pub(crate) fn choose(
    cluster: &Cluster,
    situation: &Situation<'_>,
    given: Option<&Endpoint>,
) -> Result<Endpoint, Failure> {
    let found = discover(situation, given, &cluster.target_info().server);
    if let Some(given) = given {
        // What the user says is used, or refused: never replaced.
        let why = found.candidates.iter().find(|it| it.endpoint == *given);
        if let Some(why) = why.and_then(|it| it.rejected.clone()) {
            let what = format!("{given} cannot be used: {why}");
            return Err(Failure::new(Kind::Refused, what).hint(LIST));
        }
        return Ok(given.clone());
    }
    match found.best() {
        Some(best) => Ok(best.endpoint.clone()),
        None => Err(none(&found)),
    }
}

const LIST: &str = "see what the cluster knows: kubectl calico-ebpf endpoint discover";

fn none(found: &Discovery) -> Failure {
    let mut why: Vec<String> = found
        .candidates
        .iter()
        .filter_map(|it| Some(format!("{}: {}", it.endpoint, it.rejected.as_ref()?)))
        .collect();
    why.extend(found.gaps.iter().map(|gap| gap.detail.clone()));
    let because = if why.is_empty() { String::new() } else { format!(" ({})", why.join("; ")) };
    let what = format!("no address of the API server is known that does without Services{because}");
    Failure::new(Kind::Refused, what).hint("name one: --api-endpoint HOST:PORT").hint(LIST)
}
