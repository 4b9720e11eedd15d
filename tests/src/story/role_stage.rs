//! A cluster that is prepared for a verb: without a right of its role, nothing of it may change.

use std::collections::BTreeSet;

use super::host::{Files, Host};
use super::role_runs::{Verb, is_seldom, nothing_but_roles};
use super::{NODE, Plugin, Right, demand};
use crate::testbed::{Error, Node, Testbed};

/// What a run without a right may end with: 5 something is not to be seen or not to be done, 6 a guard or the Lease refuses, 1 a
/// node that is named cannot be asked for.
const NO: &[i32] = &[1, 5, 6];
/// A verb, with the words that print its role.
type Words = (&'static [&'static str], &'static [&'static str]);

/// A prepared cluster that runs without a right must leave as it is.
#[derive(Debug)]
pub struct Stage<'a> {
    /// The cluster.
    pub testbed: &'a Testbed,
    /// The plugin.
    pub purge: &'a Plugin,
    /// The node that it is about.
    pub node: Node,
}

/// What such a run must not change.
#[derive(Debug)]
struct World {
    /// Nodes, DaemonSets and pods, as far as nobody but a user changes them.
    objects: BTreeSet<String>,
    files: Files,
    host: Host,
}

impl<'a> Stage<'a> {
    /// The stage for this plugin.
    pub fn new(testbed: &'a Testbed, purge: &'a Plugin) -> Result<Self, Error> {
        Ok(Self { testbed, purge, node: testbed.node(NODE)?.clone() })
    }

    /// A verb, its users called after `name`.
    pub fn verb(&self, name: &str, words: Words) -> Result<Verb<'a>, Error> {
        Verb::new(self.testbed, self.purge, name, words, NO)
    }

    fn world(&self) -> Result<World, Error> {
        // Taints come and go with what the kubelet says of itself.
        let nodes = "{range .items[*]}{.metadata.name} {.metadata.labels}{.metadata.annotations} {.spec.unschedulable}{\"\\n\"}{end}";
        let sets = "{range .items[*]}{.metadata.name} {.metadata.uid} {.metadata.generation}{\"\\n\"}{end}";
        let pods = "{range .items[*]}{.metadata.name} {.metadata.uid} {.metadata.deletionTimestamp} {.metadata.finalizers}{\"\\n\"}{end}";
        let objects = [
            self.testbed.field(&["nodes"], nodes)?,
            self.testbed.field(&["daemonsets", "-A"], sets)?,
            self.testbed.field(&["pods", "-A"], pods)?,
        ];
        let objects = objects.concat().lines().map(ToOwned::to_owned).collect();
        let (files, host) = (Files::of(&self.node)?, Host::settled(&self.node)?);
        Ok(World { objects, files, host })
    }

    /// Runs without each right for which `wanted`: each is refused with what is forbidden, and nothing is changed or left.
    pub fn each_is_missed(
        &self,
        verb: &Verb<'_>,
        wanted: impl Fn(&Right) -> bool,
    ) -> Result<(), Error> {
        let before = self.world()?;
        let places = verb.places(|right| !is_seldom(right) && wanted(right));
        let mut wrong = Vec::new();
        // Those who get as far as a plan meet at the Lease, and at this machine's journals.
        let (then, first): (Vec<usize>, Vec<usize>) =
            places.iter().partition(|place| gets_to_a_plan(&verb.users.rights[**place]));
        for (right, ran) in verb.without_each(&first)? {
            wrong.extend(verb.fault(right, &ran));
        }
        for place in then {
            let ran = verb.run(&verb.users.without(place))?;
            wrong.extend(verb.fault(&verb.users.rights[place], &ran));
        }
        wrong.extend(nothing_but_roles(self.testbed).err().map(|it| it.to_string()));
        let runs = self.purge.run(&["runs", "-o", "json"])?;
        wrong.extend(
            runs.stdout.contains("\"running\"").then(|| format!("a run is left: {runs:?}")),
        );
        let after = self.world()?;
        let files = before.files.differing(&after.files);
        wrong.extend((!files.is_empty()).then(|| format!("changed: {files:?}")));
        let objects = before.objects.symmetric_difference(&after.objects);
        wrong.extend(objects.map(|it| format!("changed: {it}")));
        let (was, is) = (&before.host, &after.host);
        wrong.extend((!was.runs_as(is)).then(|| format!("changed: {was:?}, now {is:?}")));
        let what = format!("{}: each right is missed", verb.told());
        demand(wrong.is_empty(), &what, &wrong)
    }

    /// What a run changes of calico-node's DaemonSet and of Node objects.
    pub fn marks(&self) -> Result<String, Error> {
        let nodes = "{range .items[*]}{.metadata.labels}{.metadata.annotations}{.spec.unschedulable}{\"\\n\"}{end}";
        let set = ["daemonset", "calico-node", "-n", "kube-system"];
        let spec = "{.spec.updateStrategy}{.spec.template.spec.affinity}{.metadata.annotations.kubectl-calico/excluded-by}";
        Ok([self.testbed.field(&["nodes"], nodes)?, self.testbed.field(&set, spec)?].concat())
    }
}

/// Without such a right a plan is made all the same.
fn gets_to_a_plan(right: &Right) -> bool {
    !right.is_to_list() && ["pods", "leases"].contains(&right.object())
}

/// Whether the right is one of those with these names.
pub fn is_named(right: &Right, names: &[&str]) -> bool {
    names.contains(&right.to_string().as_str())
}
