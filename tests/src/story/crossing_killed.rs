//! Spots on the way to eBPF, and on the way back, at which a run is killed. A gate makes each of them last until the kill.

use super::{Crossing, Journal, NextJournal, Running, demand};
use crate::gate::{Asked, Gate, Hold};
use crate::testbed::{Error, Install, Testbed};

/// Beginning of the names of everything that a proof makes.
const PROOF: &str = "kubectl-calico-proof-";

/// A moment of a step, or of its way back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    /// There is no journal yet: Services are asked as things are, and what that needs is there.
    Measuring,
    /// Nothing of the first step is written down.
    Before,
    /// The intent is written down, and the request that acts has not reached the API server.
    Intended,
    /// Of several requests the first has acted; of a proof: all that it makes is there, and one place was asked.
    Halfway,
    /// The last request has acted, and its answer has not come back; of a proof: what it made is being removed.
    Acted,
    /// The end is written down, and nothing of what follows is.
    Ended,
    /// The end of the whole run is written down; the copy of its journal and its Lease are there.
    Over,
    /// The same, and the copy of its journal is gone.
    Cleared,
}

/// A moment of a step on the way there or back.
#[derive(Debug, Clone)]
pub struct Spot {
    /// The step's place in the plan, from 0.
    place: usize,
    /// Its id.
    step: String,
    phase: Phase,
    is_back: bool,
    install: Install,
}

impl Spot {
    /// Every spot on the way there, in the order in which a run comes to them.
    pub fn there(steps: &[String], install: Install) -> Vec<Self> {
        let of_step = |(place, step): (usize, &String)| {
            let mut phases =
                if place == 0 { vec![Phase::Measuring, Phase::Before] } else { vec![] };
            phases.extend(phases_there(step, install));
            if place + 1 == steps.len() {
                phases.extend([Phase::Over, Phase::Cleared]);
            }
            let spot = |phase| Self { place, step: step.clone(), phase, is_back: false, install };
            phases.into_iter().map(spot).collect::<Vec<_>>()
        };
        steps.iter().enumerate().flat_map(of_step).collect()
    }

    /// Every spot on the way back from there.
    pub fn back(steps: &[String], install: Install) -> Vec<Self> {
        let of_step = |(place, step): (usize, &String)| {
            let spot = |phase| Self { place, step: step.clone(), phase, is_back: true, install };
            phases_back(step).into_iter().map(spot).collect::<Vec<_>>()
        };
        steps.iter().enumerate().rev().flat_map(of_step).collect()
    }

    /// Whether the run has a journal by then, so that it can be gone on with and taken back.
    pub fn has_journal(&self) -> bool {
        self.phase != Phase::Measuring
    }

    /// Whether objects of a proof must be there when the run is killed.
    pub fn is_in_proof(&self) -> bool {
        let asks = is_proof(&self.step) || (self.is_back && self.step == "kube-proxy-off");
        self.phase == Phase::Measuring || (asks && self.phase == Phase::Halfway)
    }

    /// What is held, of which request.
    fn hold(&self) -> (Hold, fn(&Asked) -> bool) {
        let is_bare = self.step == "watch";
        let is_proof = is_proof(&self.step);
        match self.phase {
            Phase::Measuring => (Hold::Answer, is_asking),
            Phase::Over => (Hold::Request, deletes_the_copy),
            Phase::Cleared => (Hold::Request, gives_lease_back),
            Phase::Before | Phase::Ended => (Hold::Request, is_of_a_step),
            Phase::Intended if is_bare => (Hold::Request, acts),
            Phase::Intended if is_proof => (Hold::Request, makes_a_pod),
            Phase::Intended => (Hold::Request, writes),
            Phase::Halfway if self.is_in_proof() => (Hold::Answer, is_asking),
            Phase::Halfway => (Hold::Answer, writes),
            Phase::Acted if is_proof => (Hold::Answer, deletes_a_pod),
            Phase::Acted if self.step == "endpoint" && self.install == Install::Manifest => {
                (Hold::Answer, restarts_agents)
            }
            Phase::Acted if self.step == "endpoint" && self.is_back => {
                (Hold::Answer, deletes_a_pod)
            }
            Phase::Acted => (Hold::Answer, writes),
        }
    }

    /// Whether the journal says that it is this moment.
    fn is_now(&self, journal: &Journal) -> bool {
        let has_ended = |steps: usize| {
            !journal.run.is_empty() && journal.done() == steps && journal.states.len() == steps
        };
        match (self.phase, self.is_back) {
            (Phase::Measuring, _) => journal.run.is_empty(),
            (Phase::Before, _) => has_ended(0),
            (Phase::Over | Phase::Cleared, _) => journal.ended,
            (Phase::Ended, false) => has_ended(self.place + 1),
            (Phase::Ended, true) => journal.has_taken_back(&self.step),
            (_, false) => journal.is_at(self.place),
            (_, true) => journal.is_taking_back(&self.step),
        }
    }
}

impl std::fmt::Display for Spot {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let way = if self.is_back { "the way back of " } else { "" };
        write!(f, "{:?} of {way}{}", self.phase, self.step)
    }
}

fn is_proof(step: &str) -> bool {
    step.starts_with("proof-")
}

fn phases_there(step: &str, install: Install) -> Vec<Phase> {
    match step {
        "watch" => vec![Phase::Intended, Phase::Ended],
        // The operator does the rest by itself.
        "endpoint" if install == Install::Operator => {
            vec![Phase::Intended, Phase::Acted, Phase::Ended]
        }
        _ if is_proof(step) || step == "endpoint" => {
            vec![Phase::Intended, Phase::Halfway, Phase::Acted, Phase::Ended]
        }
        _ => vec![Phase::Intended, Phase::Acted, Phase::Ended],
    }
}

fn phases_back(step: &str) -> Vec<Phase> {
    match step {
        // Its way back proves kube-proxy.
        "kube-proxy-off" => vec![Phase::Intended, Phase::Acted, Phase::Halfway, Phase::Ended],
        "endpoint" | "proof-before" => {
            vec![Phase::Intended, Phase::Halfway, Phase::Acted, Phase::Ended]
        }
        "bpf-on" | "coexist" | "cleanup-on" => vec![Phase::Intended, Phase::Acted, Phase::Ended],
        _ => vec![],
    }
}

/// The Lease is renewed at any time, and what one may do is asked before; neither is a part of a step.
fn is_of_a_step(asked: &Asked) -> bool {
    !asked.path.contains("/leases") && !asked.path.contains("/selfsubject")
}

/// What changes the copy of the journal does not act.
fn is_about_the_copy(asked: &Asked) -> bool {
    asked.path.contains("/configmaps/kubectl-calico-journal-")
}

fn acts(asked: &Asked) -> bool {
    is_of_a_step(asked) && !is_about_the_copy(asked)
}

fn writes(asked: &Asked) -> bool {
    acts(asked) && !asked.is_stream && asked.method != "GET"
}

fn makes_a_pod(asked: &Asked) -> bool {
    asked.method == "POST" && asked.path.contains("/pods?")
}

fn is_asking(asked: &Asked) -> bool {
    asked.is_stream && asked.path.contains(PROOF)
}

fn deletes_a_pod(asked: &Asked) -> bool {
    asked.method == "DELETE" && asked.path.contains("/pods/")
}

fn restarts_agents(asked: &Asked) -> bool {
    asked.method == "PATCH" && asked.path.contains("/daemonsets/")
}

fn deletes_the_copy(asked: &Asked) -> bool {
    asked.method == "DELETE" && is_about_the_copy(asked)
}

fn gives_lease_back(asked: &Asked) -> bool {
    asked.method == "DELETE" && asked.path.contains("/leases")
}

/// Starts the plugin with these words and kills it with SIGKILL at that spot. What its journal tells then.
pub fn kill_at(
    crossing: &Crossing<'_>,
    gate: &Gate,
    words: &[&str],
    spot: &Spot,
) -> Result<Journal, Error> {
    let plugin = &crossing.plugin;
    let (next, state) = (NextJournal::of(plugin), plugin.state().to_owned());
    // All others go on in the journal that is there.
    let is_new = words.first().is_some_and(|it| *it == "enable");
    let read = move || if is_new { next.read() } else { Journal::newest(&state, &[]) };
    let (how, which) = spot.hold();
    let (chosen, look) = (spot.clone(), read.clone());
    gate.hold(how, move |asked| which(asked) && chosen.is_now(&look()));
    let mut run = Running::start(plugin, words)?;
    let came = run.wait_held(&spot.to_string(), gate);
    let came = came.map_err(|error| {
        gate.open();
        Error::Odd { what: error.to_string(), why: plugin.said() }
    })?;
    let (_, in_time) = run.kill()?;
    gate.open();
    let journal = read();
    demand(in_time, &format!("{spot}: killed while it ran"), &journal)?;
    demand(spot.is_now(&journal), &spot.to_string(), &journal)?;
    let has_acted = ["HTTP/1.1 200", "HTTP/1.1 201", "Success"];
    let is_so = how != Hold::Answer || has_acted.iter().any(|it| came.starts_with(it));
    demand(is_so, &format!("{spot}: it was done"), &came)?;
    Ok(journal)
}

/// Names of all objects that are labelled as ours.
pub fn labelled(testbed: &Testbed) -> Result<Vec<String>, Error> {
    let kinds = "pods,services,endpointslices,leases,configmaps";
    let select = "--selector=app.kubernetes.io/managed-by=kubectl-calico";
    let left = testbed.kubectl(&["get", kinds, "--all-namespaces", "--output=name", select])?;
    Ok(left.lines().map(ToOwned::to_owned).collect())
}
