//! Looks at a cluster or a bundle: the first half of every verb that judges.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::bundle;
use crate::checks::{Need, diagnose};
use crate::cli::{Exit, FailOn, Failure, Kind, OutputFormat, interrupted, verdict};
use crate::cluster::{ApiError, Cluster};
use crate::collect::{
    HostProbes, MissedHost, Outcome, Spinner, Want, collect_live, collect_with_hosts,
};
use crate::findings::{Diagnosis, Severity};
use crate::report::v1::{Report, Scope};
use crate::report::{TextOptions, escape, json, text, yaml};
use crate::snapshot::{Gap, GapReason, Sink, Snapshot, SnapshotBuilder};

use super::Session;

/// What was seen, and what it means.
pub struct Look {
    /// What was seen.
    pub snapshot: Snapshot,
    /// What it means.
    pub diagnosis: Diagnosis,
    bundle: Option<PathBuf>,
    seconds: f64,
    /// Why the API server could not be asked at all.
    unreachable: Option<ApiError>,
    /// Hosts that the user wanted to be looked at and that could not be.
    missed: Vec<MissedHost>,
    /// Which nodes alone are judged.
    scope: Option<Scope>,
}

/// Hosts whose obstacles are told one by one.
const TOLD: usize = 10;

/// Sets up the connection; nothing is asked yet.
pub async fn connect(session: &Session) -> Result<Cluster, Failure> {
    let cluster = Cluster::connect(&session.connection.options()).await.map_err(Failure::from)?;
    let printer = session.printer;
    Ok(cluster.with_notice(Arc::new(move |line| {
        printer.clear();
        printer.talk(line);
    })))
}

/// Asks a cluster and judges it.
pub async fn at_cluster(session: &Session, cluster: &Cluster) -> Result<Look, Failure> {
    at_cluster_and_hosts(session, cluster, None).await
}

/// Asks a cluster for its nodes, its pods, and how Calico is installed: enough to tell where it lives, not what is wrong.
pub async fn at_installation(session: &Session, cluster: &Cluster) -> Result<Look, Failure> {
    let want = Want::of([Need::Nodes, Need::Install]);
    // The Lease and the pods also tell what a run of ours left that was killed.
    judged_by(session, cluster, Want { pods: true, lease: true, ..want }, None).await
}

/// Asks a cluster, looks at hosts through node pods, and judges. The caller closes the pods, also when this fails.
pub async fn at_cluster_and_hosts(
    session: &Session,
    cluster: &Cluster,
    hosts: Option<&HostProbes>,
) -> Result<Look, Failure> {
    judged_by(session, cluster, Want::ALL, hosts).await
}

async fn judged_by(
    session: &Session,
    cluster: &Cluster,
    want: Want,
    hosts: Option<&HostProbes>,
) -> Result<Look, Failure> {
    let mut builder = SnapshotBuilder::new();
    let started = Instant::now();
    let outcome = interruptible(ask(session, cluster, want, hosts, &mut builder)).await?;
    builder.context(cluster.target_info().context.clone());
    mention_clock(session, cluster);
    let mut look = judge(builder.finish(cluster.now()), None, started);
    look.unreachable = outcome.unreachable;
    look.missed = outcome.missed;
    Ok(look)
}

/// Asks a cluster that is about to be changed, and judges it. What is not seen may be the reason why a change would do harm,
/// so nothing is changed by who is not allowed to see it. Probes through calico-node are another matter: a host that they
/// could not tell about is looked at by a pod.
///
/// # Errors
/// When the API server forbids to read something.
pub async fn before_a_change(session: &Session, cluster: &Cluster) -> Result<Look, Failure> {
    let look = at_cluster(session, cluster).await?;
    demand_all(session, &look.snapshot, &format!("{} fix", session.doctor()))?;
    Ok(look)
}

/// Refuses to change anything where the API server forbade to see something. `verb` prints the role with which it would not.
///
/// # Errors
/// When it did.
pub fn demand_all(session: &Session, snapshot: &Snapshot, verb: &str) -> Result<(), Failure> {
    let needed = forbidden(snapshot).into_iter().filter(|it| !is_of_host(it));
    let needed: Vec<&Gap> = needed.collect();
    let Some(first) = needed.first() else { return Ok(()) };
    let others = match needed.len() - 1 {
        0 => String::new(),
        count => format!(" (and {count} more: see {} check)", session.doctor()),
    };
    let what = format!(
        "nothing was changed, because you may not see what must be known before: {}{others}",
        first.detail
    );
    Err(Failure::new(Kind::Incomplete, what).hint(format!(
        "an admin can allow it: {verb} --print-rbac --bind-to USER | kubectl apply -f -"
    )))
}

/// What the API server forbade to read, sorted.
fn forbidden(snapshot: &Snapshot) -> Vec<&Gap> {
    let mut all: Vec<&Gap> =
        snapshot.gaps.iter().filter(|gap| gap.why == GapReason::Forbidden).collect();
    all.sort();
    all
}

fn is_of_host(gap: &Gap) -> bool {
    gap.what.starts_with("nodes/")
}

/// Says what the API server forbade to read; true when there was anything.
pub fn tell_forbidden(session: &Session, snapshot: &Snapshot) -> bool {
    let all = forbidden(snapshot);
    for gap in all.iter().take(TOLD) {
        session.printer.talk(&escape(&format!("not seen: {}: {}", gap.what, gap.detail)));
    }
    if all.len() > TOLD {
        session.printer.talk(&format!("… and {} more", all.len() - TOLD));
    }
    !all.is_empty()
}

/// A clock that is off confuses people who compare times, and is worth mending.
fn mention_clock(session: &Session, cluster: &Cluster) {
    let seconds = cluster.clock_difference().as_secs();
    if seconds.abs() >= 60 {
        let way = if seconds > 0 { "behind" } else { "ahead of" };
        session.printer.talk(&format!(
            "note: this machine's clock is {} s {way} the API server's; the server's is used",
            seconds.abs()
        ));
    }
}

/// Asks a cluster for all that checks look at.
pub async fn pour(
    session: &Session,
    cluster: &Cluster,
    hosts: Option<&HostProbes>,
    sink: &mut dyn Sink,
) -> Outcome {
    ask(session, cluster, Want::ALL, hosts, sink).await
}

/// Asks a cluster for what is wanted, for a verb that judges by itself.
///
/// # Errors
/// When the API server does not answer at all, or the user interrupts.
pub async fn snapshot(
    session: &Session,
    cluster: &Cluster,
    want: Want,
) -> Result<Snapshot, Failure> {
    let mut builder = SnapshotBuilder::new();
    let outcome = interruptible(ask(session, cluster, want, None, &mut builder)).await?;
    if let Some(error) = outcome.unreachable {
        let hint = error.hint();
        let mut failure = Failure::new(Kind::Access, error.kubectl_sentence());
        failure.hints.extend(hint.map(str::to_owned));
        return Err(failure);
    }
    builder.context(cluster.target_info().context.clone());
    Ok(builder.finish(cluster.now()))
}

async fn ask(
    session: &Session,
    cluster: &Cluster,
    want: Want,
    hosts: Option<&HostProbes>,
    sink: &mut dyn Sink,
) -> Outcome {
    let stderr = session.printer.stderr;
    let progress = Spinner::new(stderr.is_terminal && !session.verbose, stderr.unicode);
    // Boxed: the futures of all questions together are too large for the stack of every caller.
    match hosts {
        None => Box::pin(collect_live(cluster, want, sink, &progress)).await,
        Some(hosts) => Box::pin(collect_with_hosts(cluster, want, hosts, sink, &progress)).await,
    }
}

/// Ends with "interrupted" on ^C or SIGTERM. What is given up so leaves nothing behind: looking creates nothing.
pub async fn interruptible<T>(work: impl Future<Output = T>) -> Result<T, Failure> {
    tokio::select! {
        done = work => Ok(done),
        () = interrupted() => {
            Err(Failure::new(Kind::Interrupted, "interrupted; nothing was changed"))
        }
    }
}

/// Lets time pass before the next look.
///
/// # Errors
/// When it is interrupted.
pub async fn pause(time: Duration) -> Result<(), Failure> {
    interruptible(tokio::time::sleep(time)).await
}

/// Reads a bundle and judges it.
pub fn at_bundle(path: &Path) -> Result<Look, Failure> {
    let started = Instant::now();
    let snapshot = bundle::load(path).map_err(bundle_failure)?;
    Ok(judge(snapshot, Some(path.to_owned()), started))
}

/// Judges what was poured into a builder by the caller.
pub fn judged(snapshot: Snapshot, outcome: Outcome) -> Look {
    Look {
        unreachable: outcome.unreachable,
        missed: outcome.missed,
        ..judge(snapshot, None, Instant::now())
    }
}

fn judge(snapshot: Snapshot, bundle: Option<PathBuf>, started: Instant) -> Look {
    let diagnosis = diagnose(&snapshot);
    Look {
        snapshot,
        diagnosis,
        bundle,
        seconds: started.elapsed().as_secs_f64(),
        unreachable: None,
        missed: Vec::new(),
        scope: None,
    }
}

/// What kept a bundle from being read or written.
pub fn bundle_failure(error: bundle::BundleError) -> Failure {
    let kind = match error {
        bundle::BundleError::Io { .. } => Kind::NotFound,
        _ => Kind::Internal,
    };
    Failure::new(kind, error)
        .hint("a bundle is made by: kubectl calico-doctor collect -o FILE.tar.gz")
}

impl Look {
    /// Judges nothing but these nodes. What is wrong elsewhere is only counted.
    #[must_use]
    pub fn limited_to(mut self, nodes: &BTreeSet<String>) -> Self {
        let known = &self.snapshot.nodes.items;
        let known = known.iter().map(|node| node.metadata.name.as_str()).collect();
        let elsewhere = self.diagnosis.limit_to(nodes, &known);
        self.scope = Some(Scope { nodes: nodes.iter().cloned().collect(), elsewhere });
        self
    }

    /// True when pods hang whose cause is gone: no more than a warning, because they are about to heal.
    pub fn recovers(&self) -> bool {
        self.diagnosis.roots.iter().any(|root| {
            root.finding.severity == Severity::Warning
                && matches!(root.finding.code.0, "CAL-POD-001" | "CAL-POD-002")
        })
    }

    /// The exit code of what was seen.
    pub fn exit(&self, fail_on: FailOn) -> Exit {
        self.exit_of(&self.diagnosis, fail_on)
    }

    /// The exit code of `diagnosis`, a part of what was seen. Without the API server nothing was seen, and without a host
    /// that was asked for not everything.
    pub fn exit_of(&self, diagnosis: &Diagnosis, fail_on: FailOn) -> Exit {
        let exit = verdict(diagnosis, fail_on);
        let exit = if self.missed.is_empty() { exit } else { exit.or(Exit::Incomplete) };
        if self.unreachable.is_some() { exit.or(Exit::Error) } else { exit }
    }

    /// Says which hosts could not be looked at, and what can be done about it.
    pub fn tell_missed(&self, session: &Session) {
        let mut hints: Vec<&str> = Vec::new();
        for MissedHost { node, why } in self.missed.iter().take(TOLD) {
            let line = format!("{node} could not be looked at from its host: {why}");
            session.printer.talk(&escape(&line));
            hints.extend(why.hint().filter(|hint| !hints.contains(hint)));
        }
        if self.missed.len() > TOLD {
            session.printer.talk(&format!("… and {} more nodes", self.missed.len() - TOLD));
        }
        for hint in hints {
            session.printer.talk(&format!("hint: {hint}"));
        }
    }

    /// The report as data.
    pub fn report(&self, exit: Exit) -> Report {
        let mut report = Report::new(&self.snapshot, &self.diagnosis, exit.word());
        report.cluster.bundle = self.bundle.as_ref().map(|path| path.display().to_string());
        report.scope.clone_from(&self.scope);
        report.errors.extend(self.unreachable.as_ref().map(ApiError::kubectl_sentence));
        report
    }

    /// Writes the report in the format that was asked for, and what to do when nothing could be asked.
    pub fn print(&self, session: &Session, exit: Exit) -> Result<(), Failure> {
        let report = self.report(exit);
        let document = match session.format {
            OutputFormat::Json => json(&report),
            OutputFormat::Yaml => yaml(&report),
            OutputFormat::Text => {
                let options = TextOptions {
                    elapsed: Some(self.seconds),
                    // Its verbs explain findings and repair them.
                    program: session.doctor().to_owned(),
                    ..session.text_options()
                };
                text(&report, &options)
            }
        };
        session.printer.data(&document)?;
        self.tell_missed(session);
        if let Some(hint) = self.unreachable.as_ref().and_then(ApiError::hint) {
            session.printer.talk(&format!("hint: {hint}"));
        }
        Ok(())
    }
}
