//! Points of a run at which it is killed. A gate makes each of them last until the kill.

use std::time::Duration;

use super::{Journal, LOOPBACK, NextJournal, Plugin, Running, demand, scripts};
use crate::gate::{Asked, Gate, Hold};
use crate::testbed::{Error, Node, wait_until};

/// A script may take this long to begin.
const LIMIT: Duration = Duration::from_secs(60);
/// Time between two looks for what stays for a second or longer, while the answer of the script that makes it is held.
const PAUSE: Duration = Duration::from_millis(1);

/// Steps that ask the API server only; all others run a script on the host.
const AT_API: [&str; 8] = [
    "keep-off",
    "cordon",
    "exclude",
    "evict",
    "delete-daemon-pods",
    "remove-annotations",
    "remove-condition",
    "uncordon",
];

/// A moment of a step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Moment {
    /// Nothing of the step is written down.
    BeforeIntent,
    /// The step's intent is written down, and the request that acts has not reached the API server.
    Intended,
    /// The step's script runs on the host, and has only a part of its input.
    Part,
    /// While sandboxes are freed, the configuration that does nothing stands in front.
    Loopback,
    /// It was done, and its answer has not come back.
    Acted,
    /// The step's end is written down, and nothing of the next step is.
    Ended,
}

/// A point of a run: a moment of one of its steps.
#[derive(Debug, Clone)]
pub struct Point {
    /// The step's place in the plan, from 0.
    pub place: usize,
    /// Its id.
    pub step: String,
    /// The moment.
    pub moment: Moment,
}

impl Point {
    /// All points of these steps, in the order in which a run comes to them. That nothing of a step is written down is a point
    /// of the first step only: elsewhere it is the end of the one before.
    pub fn of_steps(steps: &[String]) -> Vec<Self> {
        let of_step = |(place, step): (usize, &String)| {
            let point = |moment| Self { place, step: step.clone(), moment };
            moments(place, step).into_iter().map(point).collect::<Vec<_>>()
        };
        steps.iter().enumerate().flat_map(of_step).collect()
    }

    fn name(&self) -> String {
        format!("{:?} of step {} ({})", self.moment, self.place + 1, self.step)
    }

    fn hold(&self) -> Hold {
        match self.moment {
            Moment::BeforeIntent | Moment::Intended | Moment::Ended => Hold::Request,
            Moment::Part => Hold::Input,
            Moment::Loopback | Moment::Acted => Hold::Answer,
        }
    }

    /// Whether this request is the one by which the run is held. The Lease is renewed at any time, and is no part of a step.
    fn is_met(&self, asked: &Asked, journal: &NextJournal) -> bool {
        let acts = asked.is_stream || asked.method != "GET";
        let is_it = match self.moment {
            Moment::BeforeIntent | Moment::Ended => true,
            Moment::Intended => acts,
            // What a script needs may be made first.
            _ => acts && (asked.is_stream || !is_on_host(&self.step)),
        };
        is_it && !asked.path.contains("/leases") && self.is_now(&journal.read())
    }

    /// Whether the journal says that it is this moment.
    fn is_now(&self, journal: &Journal) -> bool {
        let has_ended = |steps: usize| {
            !journal.run.is_empty() && journal.done() == steps && journal.states.len() == steps
        };
        match self.moment {
            Moment::BeforeIntent => has_ended(self.place),
            Moment::Ended => has_ended(self.place + 1),
            _ => journal.is_at(self.place),
        }
    }
}

fn kind(step: &str) -> &str {
    step.split('/').next().unwrap_or_default()
}

fn is_on_host(step: &str) -> bool {
    !AT_API.contains(&kind(step))
}

fn moments(place: usize, step: &str) -> Vec<Moment> {
    let mut moments = vec![];
    if place == 0 {
        moments.push(Moment::BeforeIntent);
    }
    moments.push(Moment::Intended);
    if is_on_host(step) {
        moments.push(Moment::Part);
    }
    if kind(step).starts_with("free-sandboxes") {
        moments.push(Moment::Loopback);
    }
    moments.extend([Moment::Acted, Moment::Ended]);
    moments
}

impl std::fmt::Display for Point {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.name())
    }
}

/// A run that is to be killed: of a plugin that goes through the gate.
#[derive(Clone, Copy)]
pub struct Victim<'a> {
    /// The plugin.
    pub plugin: &'a Plugin,
    /// Its words.
    pub words: &'a [&'a str],
    /// What it goes through.
    pub gate: &'a Gate,
    /// The node that it works on.
    pub node: &'a Node,
}

impl Victim<'_> {
    /// Starts the run and kills it with SIGKILL at that point. Returns what its journal tells then.
    pub fn kill_at(&self, point: &Point) -> Result<Journal, Error> {
        let (chosen, journal) = (point.clone(), NextJournal::of(self.plugin));
        self.gate.hold(point.hold(), move |asked| chosen.is_met(asked, &journal));
        let mut run = Running::start(self.plugin, self.words)?;
        let came = if point.moment == Moment::Loopback {
            run.wait_looking(&point.name(), PAUSE, || has_loopback(self.node))?;
            String::new()
        } else {
            run.wait_held(&point.name(), self.gate)?
        };
        if point.moment == Moment::Part {
            wait_until("the script has begun", LIMIT, || match scripts(self.node) {
                Ok(found) if !found.is_empty() => Ok(()),
                other => Err(format!("{other:?}")),
            })?;
        }
        let (journal, in_time) = run.kill()?;
        self.gate.open();
        demand(in_time, &format!("{point}: killed while it ran"), &journal)?;
        demand(point.is_now(&journal), &point.name(), &journal)?;
        let has_acted = ["HTTP/1.1 200", "HTTP/1.1 201", "Success"];
        let is_so =
            point.moment != Moment::Acted || has_acted.iter().any(|it| came.starts_with(it));
        demand(is_so, &format!("{point}: it was done"), &came)?;
        Ok(journal)
    }
}

/// Whether the configuration that does nothing stands in front.
pub fn has_loopback(node: &Node) -> bool {
    node.root().is_ok_and(|root| root.join(LOOPBACK).exists())
}
