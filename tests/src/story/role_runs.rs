//! A verb that runs under its printed role, and without each single right of it.

use std::thread;
use std::time::Instant;

use super::{Plugin, Ran, Right, Users, demand};
use crate::testbed::{Error, Testbed};

/// Runs at once.
const AT_ONCE: usize = 4;

/// Rights that a cluster of this version, in good order, asks nobody for. A run without one must be as good as with it.
const SELDOM: [(&str, &str); 7] = [
    ("create pods/exec", "servers from 1.35 on ask for it beside get"),
    (
        EXEC,
        "where a pod's own command or its log does not do instead: see `rights_of_single_repairs`",
    ),
    ("get pods/log", "without commands in pods: `without_commands_in_pods_results_come_by_log`"),
    (
        "get customresourcedefinitions.apiextensions.k8s.io/clusterinformations.projectcalico.org",
        "both groups are served: `where_both_groups_are_served_a_definition_is_read`",
    ),
    (
        "list clusterinformations.projectcalico.org",
        "where only that group is served: unit tests of collect",
    ),
    ("list ippools.projectcalico.org", "the same"),
    ("list felixconfigurations.projectcalico.org", "the same"),
];

/// Commands in pods.
pub const EXEC: &str = "get pods/exec";

/// Whether a run without this right must be as good as with it.
pub fn is_seldom(right: &Right) -> bool {
    let name = right.to_string();
    SELDOM.iter().any(|(seldom, _)| *seldom == name)
}

/// No pod and no Lease of ours.
pub fn nothing_but_roles(testbed: &Testbed) -> Result<(), Error> {
    let label = "app.kubernetes.io/managed-by=kubectl-calico";
    let left = testbed.kubectl(&["get", "pods,leases", "-A", "-l", label, "-o", "name"])?;
    demand(left.trim().is_empty(), "no pod and no Lease of ours", &left)
}

/// A verb and its users.
#[derive(Debug)]
pub struct Verb<'a> {
    /// The plugin.
    pub plugin: &'a Plugin,
    /// Who has its role, and who has all of it but one right.
    pub users: Users<'a>,
    command: &'a [&'a str],
    /// What a run without a right ends with.
    codes: &'static [i32],
    began: Instant,
}

impl<'a> Verb<'a> {
    /// Makes its users: the role that the words `role` print, for the words `command`. A run without a right ends with one of
    /// `codes`.
    pub fn new(
        testbed: &'a Testbed,
        plugin: &'a Plugin,
        name: &str,
        (role, command): (&[&str], &'static [&'static str]),
        codes: &'static [i32],
    ) -> Result<Self, Error> {
        let began = Instant::now();
        let users = Users::of_printed_role(testbed, plugin, name, role, &[])?;
        Ok(Self { began, ..Self::of_users(plugin, users, command, codes) })
    }

    /// The same with users of another make.
    pub fn of_users(
        plugin: &'a Plugin,
        users: Users<'a>,
        command: &'a [&'a str],
        codes: &'static [i32],
    ) -> Self {
        Self { plugin, users, command, codes, began: Instant::now() }
    }

    /// Runs it as this user.
    pub fn run(&self, user: &str) -> Result<Ran, Error> {
        let bundle = self.plugin.state().join(format!("{user}.tar.gz")).display().to_string();
        let to: &[&str] =
            if self.command == ["collect"] { &["--overwrite", "-o", &bundle] } else { &[] };
        self.plugin.run(&[self.command, &["--as", user], to].concat())
    }

    /// Runs it with all of its role, which must be enough.
    pub fn whole(&self) -> Result<Ran, Error> {
        let ran = self.run(self.users.whole())?;
        demand(ran.code == 0, "the role is enough", &ran)?;
        Ok(ran)
    }

    /// What was shown, and how long that took.
    pub fn told(&self) -> String {
        let (rights, seconds) = (self.users.rights.len(), self.began.elapsed().as_secs());
        format!("{}: {rights} rights, {seconds} s", self.command.join(" "))
    }

    /// What is wrong with a run without this right; nothing, if it was refused as it should be.
    pub fn fault(&self, right: &Right, ran: &Ran) -> Option<String> {
        self.said_no_to(right.object(), ran)
            .map(|seen| format!("without the right to {right}: {seen}"))
    }

    /// The same of a run that must name `object` as forbidden.
    pub fn said_no_to(&self, object: &str, ran: &Ran) -> Option<String> {
        let text = format!("{}{}", ran.stdout, ran.stderr);
        let says = ["forbidden", "may not"].iter().any(|it| text.contains(it));
        let met = self.codes.contains(&ran.code) && says && text.contains(object);
        (!met).then(|| format!("{ran:?}"))
    }

    /// Runs without the right of this name.
    pub fn without(&self, name: &str) -> Result<Ran, Error> {
        let place = self.places(|right| right.to_string() == name).first().copied();
        let place =
            place.ok_or_else(|| Error::Missing(format!("the role has no right to {name}")))?;
        self.run(&self.users.without(place))
    }

    /// Places of the rights for which `wanted`.
    pub fn places(&self, wanted: impl Fn(&Right) -> bool) -> Vec<usize> {
        let rights = self.users.rights.iter().enumerate();
        rights.filter(|(_, right)| wanted(right)).map(|(place, _)| place).collect()
    }

    /// Runs without each of these rights, several at once where they do not need the same journal.
    pub fn without_each(&self, places: &[usize]) -> Result<Vec<(&Right, Ran)>, Error> {
        let is_of_a_run = self.command.first().is_some_and(|it| ["undo", "resume"].contains(it));
        let at_once = if is_of_a_run { 1 } else { AT_ONCE };
        let mut ends = Vec::new();
        for places in places.chunks(at_once) {
            let runs: Vec<Result<Ran, Error>> = thread::scope(|scope| {
                let runs: Vec<_> = places
                    .iter()
                    .map(|place| scope.spawn(|| self.run(&self.users.without(*place))))
                    .collect();
                let end = |run: thread::ScopedJoinHandle<'_, _>| {
                    run.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
                };
                runs.into_iter().map(end).collect()
            });
            for (place, ran) in places.iter().zip(runs) {
                ends.push((&self.users.rights[*place], ran?));
            }
        }
        Ok(ends)
    }
}
