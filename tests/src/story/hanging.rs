//! The story of a node on which pods hang: the doctor names the one cause, repairs it, the same pods run.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use super::report::Finding;
use super::{Doctor, Pods, Report, Snapshot, nothing_of_ours};
use crate::testbed::{Error, Fault, Testbed, wait_until};

/// The node on which pods start and stop while the fault lasts.
pub const NODE: &str = "node2";
/// Pods that hang because of the fault, as the story makes them.
const CREATING: [&str; 2] = ["comer-1", "comer-2"];
/// Pods that are deleted while the fault lasts.
const DELETED: [&str; 1] = ["leaver"];
/// A pod on each node that nobody touches.
const KEEPERS: [(&str, &str); 2] = [("keeper-1", "node1"), ("keeper-2", NODE)];

/// What the doctor must say.
#[derive(Debug)]
pub struct Expected {
    /// The cause's stable word.
    pub cause: &'static str,
    /// The nodes, sorted.
    pub nodes: &'static [&'static str],
}

/// The story, told so far that the pods hang.
#[derive(Debug)]
pub struct Story<'a> {
    /// Flags of its checks.
    look: &'static [&'static str],
    /// Codes of errors that are no part of what is to be repaired, and that stay.
    staying: &'static [&'static str],
    /// What is broken. It ends before the pods do: they could not go.
    faults: Vec<Fault>,
    /// The testbed.
    pub testbed: &'a Testbed,
    /// The doctor.
    pub doctor: Doctor,
    /// The pods.
    pub pods: Pods<'a>,
    before: BTreeMap<String, Snapshot>,
}

impl<'a> Story<'a> {
    /// Pods run, the doctor is content, then `fault` happens, and pods on [`NODE`] begin to hang.
    pub fn until_pods_hang(
        testbed: &'a Testbed,
        namespace: &str,
        fault: impl FnOnce() -> Result<(), Error>,
    ) -> Result<Self, Error> {
        Self::with_faults(testbed, namespace, || fault().map(|()| Vec::new()))
    }

    /// The same with faults that are undone when the story ends.
    pub fn with_faults(
        testbed: &'a Testbed,
        namespace: &str,
        fault: impl FnOnce() -> Result<Vec<Fault>, Error>,
    ) -> Result<Self, Error> {
        let doctor = Doctor::new(testbed)?;
        let pods = Pods::new(testbed, namespace)?;
        for (name, node) in KEEPERS {
            pods.create(name, node)?;
        }
        for name in DELETED {
            pods.create(name, NODE)?;
        }
        pods.wait_running(&["keeper-1", "keeper-2", "leaver"])?;
        let (code, report) = doctor.check(&[])?;
        demand(code == 0 && report.roots.is_empty(), "healthy before the fault", &(code, &report))?;
        let faults = fault()?;
        for name in DELETED {
            pods.delete(name)?;
        }
        for name in CREATING {
            pods.create(name, NODE)?;
        }
        pods.wait_hanging(&CREATING, &DELETED)?;
        let before = pods.snapshot()?;
        Ok(Self { look: &[], staying: &[], faults, testbed, doctor, pods, before })
    }

    /// Lets every check of this story look with these flags.
    #[must_use]
    pub fn looking(self, look: &'static [&'static str]) -> Self {
        Self { look, ..self }
    }

    /// Lets errors with these codes stay: nothing in this story repairs them.
    #[must_use]
    pub fn with_staying(self, staying: &'static [&'static str]) -> Self {
        Self { staying, ..self }
    }

    /// Undoes what is left of the faults; says if that fails.
    pub fn undo_faults(&mut self) -> Result<(), Error> {
        self.faults.drain(..).try_for_each(Fault::undo)
    }

    /// The doctor names exactly one root, of the right cause, on exactly the right nodes, with exactly the pods that hang.
    pub fn is_diagnosed(&self, expected: &Expected) -> Result<Report, Error> {
        let report = self.is_diagnosed_as("CAL-CNI-006", expected.nodes)?;
        let wanted = format!("CAL-CNI-006 {} {}", expected.cause, expected.nodes.join(","));
        demand(report.summary() == [wanted.clone()], &format!("one root: {wanted}"), &report)?;
        Ok(report)
    }

    /// A check names one error, of this code on these nodes, and below it exactly the pods that hang.
    pub fn is_diagnosed_as(&self, code: &str, nodes: &[&str]) -> Result<Report, Error> {
        let (exit, report) = self.doctor.check(self.look)?;
        demand(exit == 3, "check exits 3", &(exit, &report))?;
        let grave: Vec<_> = report.roots.iter().filter(|root| self.counts(&root.finding)).collect();
        let met =
            grave.len() == 1 && grave[0].finding.code == code && grave[0].finding.nodes == nodes;
        demand(met, &format!("one error: {code} on {nodes:?}"), &report)?;
        demand(grave[0].pods() == self.hanging(), "exactly the pods that hang", &report)?;
        Ok(report)
    }

    /// `namespace/name` of the pods that hang, sorted.
    pub fn hanging(&self) -> Vec<String> {
        let mut all: Vec<String> = CREATING
            .iter()
            .chain(&DELETED)
            .map(|name| format!("{}/{name}", self.pods.namespace()))
            .collect();
        all.sort();
        all
    }

    /// What a repair must have achieved. The same is asked of the control run, in which nothing was repaired.
    pub fn is_repaired(&self) -> Result<(), Error> {
        let now = self.pods.snapshot()?;
        for name in CREATING {
            let (before, after) = (&self.before[name], now.get(name));
            let runs = after.is_some_and(|it| it.phase == "Running" && it.uid == before.uid);
            demand(runs, &format!("{name} runs under its old uid"), &after)?;
        }
        for name in DELETED {
            demand(!now.contains_key(name), &format!("{name} is gone"), &now.get(name))?;
        }
        for (name, _) in KEEPERS {
            let same = now.get(name) == self.before.get(name);
            demand(same, &format!("{name} was not touched"), &now.get(name))?;
        }
        let (code, report) = self.doctor.check(self.look)?;
        let is_well = !report.roots.iter().any(|root| self.counts(&root.finding));
        let expected = if report.grave().is_empty() { 0 } else { 3 };
        demand(is_well && code == expected, "check finds nothing more", &(code, &report))
    }

    fn counts(&self, finding: &Finding) -> bool {
        finding.is_grave() && !self.staying.contains(&finding.code.as_str())
    }

    /// As long as a repair takes, without one: the same demands must fail. Returns what failed.
    pub fn control(&self, patience: Duration) -> Result<String, Error> {
        let ran = self.doctor.run(&["fix", "--dry-run"])?;
        demand(ran.code == 0, "a dry run prints the plan", &ran)?;
        match wait_until("the control to fail", patience, || {
            self.is_repaired().map_err(|it| it.to_string())
        }) {
            Ok(()) => Err(Error::Unmet {
                what: "the demands fail where nothing was repaired".to_owned(),
                seen: "all of them are met".to_owned(),
            }),
            Err(why) => Ok(why.to_string()),
        }
    }

    /// `fix --yes` ends 0, what it promised is true, and nothing of ours remains.
    pub fn fix(&self) -> Result<Duration, Error> {
        self.fix_codes(&[])
    }

    /// The same for findings with these codes.
    pub fn fix_codes(&self, codes: &[&str]) -> Result<Duration, Error> {
        let began = Instant::now();
        let ran = self.doctor.run(&[&["fix", "--yes"], codes].concat())?;
        let took = began.elapsed();
        demand(ran.code == 0, "fix --yes exits 0", &ran)?;
        self.is_repaired()?;
        nothing_of_ours(self.testbed)?;
        Ok(took)
    }
}

/// An error that shows what was seen, unless the demand is met.
pub fn demand(met: bool, what: &str, seen: &dyn std::fmt::Debug) -> Result<(), Error> {
    if met {
        return Ok(());
    }
    Err(Error::Unmet { what: what.to_owned(), seen: format!("{seen:?}") })
}
