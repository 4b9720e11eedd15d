//! Around everything that changes a cluster: the journal, the Lease, the way to the hosts, the wish to stop, and that
//! nothing of it is left in the end.

use std::io::{self, IsTerminal};
use std::time::Duration;

use crate::cli::{Failure, Kind, OutputFormat, interrupted};
use crate::cluster::{ApiError, Cluster};
use crate::execute::journal::UnfinishedRun;
use crate::execute::lease::{ClusterLease, Holder, Lease, LeaseError, Tenure};
use crate::execute::{
    Activity, ClusterOperations, Consent, Executor, Journal, NodeHosts, Operations, Progress,
    Reporter, Stop, StopSwitch, SystemClock, Terminal, journal, mirror, sweep_repairs,
};
use crate::node::pod::NodePods;
use crate::plan::{Action, Outcome, Plan, PlanId, RunResult};
use crate::report::{TextOptions, plan as plan_text};

use super::Session;
use super::node_flags::close;
use super::{allowed, look};

/// How long a request for the Lease may still take once the user has lost patience.
const PATIENCE: Duration = Duration::from_secs(3);

/// What is done with a plan.
pub enum Work<'a> {
    /// It is carried out.
    Run(&'a Plan),
    /// What is left of it is carried out.
    GoOn(&'a journal::Recorded),
    /// What was done of it is taken back.
    TakeBack(&'a journal::Recorded),
}

/// How a run deals with what goes wrong.
#[derive(Clone, Copy, Debug, Default)]
pub struct Manner {
    /// A run that fails is taken back at once, under the same Lease.
    pub take_back: bool,
    /// How long the API server may be away before a step that needs it fails.
    pub patience: Duration,
    /// The journal is copied into the cluster until the run is done, so that another machine can go on with it.
    pub mirrored: bool,
}

/// What became of a run, and of taking it back where that was done.
#[derive(Debug)]
pub struct Ended {
    /// The run.
    pub outcome: Outcome,
    /// Taking it back.
    pub taken_back: Option<Outcome>,
}

impl Work<'_> {
    fn plan(&self) -> &Plan {
        match self {
            Self::Run(plan) => plan,
            Self::GoOn(recorded) | Self::TakeBack(recorded) => &recorded.plan,
        }
    }
}

/// Asks for consent, unless `yes` gives it; `explanation` is what a person may want to read before.
///
/// # Errors
/// When the terminal cannot be read.
pub fn consent(
    session: &Session,
    yes: bool,
    explanation: &str,
) -> Result<Option<Consent>, Failure> {
    let (mut input, mut output) = (io::stdin().lock(), io::stderr().lock());
    let is_asked = io::stdin().is_terminal() && session.printer.stderr.is_terminal;
    let terminal = is_asked.then_some(Terminal { input: &mut input, output: &mut output });
    Ok(Consent::obtain(yes, terminal, explanation)?)
}

/// Says that there was no consent.
pub fn declined(session: &Session) {
    let hint =
        if io::stdin().is_terminal() { "" } else { " (no terminal to ask at: --yes applies it)" };
    session.printer.talk(&format!("Nothing was changed{hint}."));
}

/// Shows the plan, asks for consent, and carries it out. `None`: there was no consent, and that was said.
///
/// # Errors
/// When a right is missing, another run goes on, the Lease or the journal cannot be had, or stdout cannot be written.
pub async fn apply(
    session: &Session,
    cluster: &Cluster,
    pods: &NodePods,
    plan: &Plan,
    yes: bool,
) -> Result<Option<Outcome>, Failure> {
    let applying = apply_so(session, cluster, pods, plan, yes, Manner::default());
    let ended = Box::pin(applying).await?;
    Ok(ended.map(|it| it.outcome))
}

/// As [`apply`], in the manner that is asked for.
///
/// # Errors
/// When a right is missing, another run goes on, the Lease or the journal cannot be had, or stdout cannot be written.
pub async fn apply_so(
    session: &Session,
    cluster: &Cluster,
    pods: &NodePods,
    plan: &Plan,
    yes: bool,
    manner: Manner,
) -> Result<Option<Ended>, Failure> {
    let text = session.format == OutputFormat::Text;
    if text {
        session.printer.data(&plan_text(plan, &session.text_options()))?;
    }
    look::interruptible(allowed::to_do(session, cluster, plan)).await??;
    let options = TextOptions { verbose: true, ..session.text_options() };
    let Some(consent) = consent(session, yes, &plan_text(plan, &options))? else {
        declined(session);
        return Ok(None);
    };
    let unfinished = unfinished_runs(session, plan)?;
    let directory = journal::directory().map_err(internal)?;
    let journal = Journal::create(&directory, plan, jiff::Timestamp::now()).map_err(internal)?;
    let work = (Work::Run(plan), manner);
    let carrying = carry_out_so(session, cluster, pods, journal, work, consent);
    let ended = Box::pin(carrying).await?;
    if ended.outcome.result == RunResult::Done {
        supersede(session, &unfinished, plan);
        for run in unfinished.iter().filter(|run| manner.mirrored && run.is_same_work(plan)) {
            unmirror(session, cluster, &run.plan).await;
        }
    }
    Ok(Some(ended))
}

/// The command that takes the run back, when something of it can be.
///
/// # Errors
/// When the journal cannot be read.
pub fn undo_command(session: &Session, plan: &Plan) -> Result<Option<String>, Failure> {
    let directory = journal::directory().map_err(internal)?;
    let uid = &plan.target.cluster_uid;
    let run = journal::find(&directory, uid, &plan.id.0).map_err(internal)?;
    let can = !run.recorded.undoable().is_empty();
    Ok(can.then(|| format!("{} undo {}", session.program, plan.id)))
}

/// Runs of ours on this cluster that were cut off: this one starts from what the cluster shows now, and takes their place
/// once it is done. Beside one that goes on, nothing may be begun.
pub(super) fn unfinished_runs(
    session: &Session,
    plan: &Plan,
) -> Result<Vec<UnfinishedRun>, Failure> {
    let directory = journal::directory().map_err(internal)?;
    let runs = journal::unfinished_runs(&directory, &plan.target.cluster_uid)?;
    if let Some(run) = runs.iter().find(|run| run.running) {
        let what = format!("another repair of this cluster goes on: run {}", run.plan);
        return Err(Failure::new(Kind::Refused, what).hint("wait for it to end, then try again"));
    }
    for run in &runs {
        let next = if run.is_same_work(plan) {
            "This one plans from what the cluster shows now.".to_owned()
        } else {
            format!("It was other work ({}): {} resume {}", run.made_by, session.program, run.plan)
        };
        session.printer.talk(&format!(
            "Run {} on this cluster was cut off ({} of {} steps done). {next}",
            run.plan, run.finished, run.steps
        ));
    }
    Ok(runs)
}

/// Notes in the journals of runs that were cut off that this one took their place.
pub(super) fn supersede(session: &Session, unfinished: &[UnfinishedRun], plan: &Plan) {
    for run in unfinished.iter().filter(|run| run.is_same_work(plan)) {
        if let Err(error) = journal::supersede(run, &plan.id, jiff::Timestamp::now()) {
            session.printer.talk(&format!("warning: {error}"));
        }
    }
}

/// Does the work under the Lease. The pods on nodes and the Lease are gone when it returns, whatever happened.
///
/// # Errors
/// When the Lease cannot be had, or the journal cannot be kept.
pub async fn carry_out(
    session: &Session,
    cluster: &Cluster,
    pods: &NodePods,
    journal: Journal,
    work: Work<'_>,
    consent: Consent,
) -> Result<Outcome, Failure> {
    let manner = Manner::default();
    let whole = (work, manner);
    let carrying = carry_out_so(session, cluster, pods, journal, whole, consent);
    let ended = Box::pin(carrying).await;
    ended.map(|it| it.outcome)
}

/// As [`carry_out`], in the manner that is asked for.
///
/// # Errors
/// When the Lease cannot be had, or the journal cannot be kept.
pub async fn carry_out_so(
    session: &Session,
    cluster: &Cluster,
    pods: &NodePods,
    journal: Journal,
    (work, manner): (Work<'_>, Manner),
    consent: Consent,
) -> Result<Ended, Failure> {
    let (switch, stop) = StopSwitch::new();
    let listener = tokio::spawn(async move {
        loop {
            interrupted().await;
            switch.stop();
        }
    });
    let whole = (work, manner);
    let outcome = under_lease(session, cluster, pods, journal, whole, (consent, &stop)).await;
    session.printer.clear();
    close(session, pods).await;
    listener.abort();
    outcome
}

async fn under_lease(
    session: &Session,
    cluster: &Cluster,
    pods: &NodePods,
    mut journal: Journal,
    (work, manner): (Work<'_>, Manner),
    (consent, stop): (Consent, &Stop),
) -> Result<Ended, Failure> {
    // A request that is under way is given a moment to come back, so that no Lease is left behind.
    let impatient = async {
        stop.requested().await;
        tokio::time::sleep(PATIENCE).await;
    };
    let lease = tokio::select! {
        lease = take_lease(session, cluster, work.plan()) => lease,
        () = impatient => {
            Err(Failure::new(Kind::Interrupted, "interrupted; nothing was changed"))
        }
    };
    let lease = match lease {
        Ok(lease) => lease,
        Err(failure) => {
            // A run that was not let do anything needs not be remembered.
            if matches!(work, Work::Run(_)) {
                journal.discard().map_err(internal)?;
            }
            return Err(failure);
        }
    };
    let own = !matches!(work, Work::Run(_));
    match sweep(session, cluster, work.plan(), own).await {
        Ok(()) => {}
        Err(error @ ApiError::Forbidden { .. }) => {
            release(session, lease).await;
            if !own {
                journal.discard().map_err(internal)?;
            }
            return Err(unseen(session, &error));
        }
        Err(error) => session.printer.talk(&format!("warning: {error}")),
    }
    let hosts = NodeHosts::new(pods, &work.plan().id);
    let operations = ClusterOperations::with_hosts(cluster, &hosts)
        .written_by(session.plugin)
        .patient(manner.patience)
        .mirrored(manner.mirrored);
    let (consent, and_back) = consent.with_taking_back();
    let tenure = lease.tenure();
    let done = execute(session, &operations, (&mut journal, &tenure, stop), &work, consent).await;
    let ended = match done {
        Ok(outcome) if manner.take_back && is_to_be_taken_back(&work, &outcome) => {
            let keep = (&mut journal, &tenure, stop);
            let taken_back = take_back(session, &operations, keep, and_back).await;
            taken_back.map(|taken_back| Ended { outcome, taken_back })
        }
        done => done.map(|outcome| Ended { outcome, taken_back: None }),
    };
    if manner.mirrored && ended.as_ref().is_ok_and(Ended::is_over) {
        unmirror(session, cluster, &work.plan().id).await;
    }
    release(session, lease).await;
    ended
}

impl Ended {
    /// Whether nobody needs to go on with it.
    fn is_over(&self) -> bool {
        let last = self.taken_back.as_ref().unwrap_or(&self.outcome);
        last.result == RunResult::Done
    }
}

/// Removes the copy of a journal that nobody needs any more.
pub async fn unmirror(session: &Session, cluster: &Cluster, run: &PlanId) {
    if let Err(error) = mirror::remove(cluster, run).await {
        session.printer.talk(&format!("warning: {error}"));
    }
}

/// A run that failed, and one that found the cluster changed; not one that the user stopped, who may want to go on.
fn is_to_be_taken_back(work: &Work<'_>, outcome: &Outcome) -> bool {
    !matches!(work, Work::TakeBack(_))
        && matches!(outcome.result, RunResult::Failed | RunResult::Refused)
}

/// Takes back what the run of this journal did; none when it changed nothing.
async fn take_back(
    session: &Session,
    operations: &impl Operations,
    (journal, tenure, stop): (&mut Journal, &Tenure, &Stop),
    consent: Consent,
) -> Result<Option<Outcome>, Failure> {
    let recorded = journal::read(journal.path()).map_err(internal)?;
    let changes = |action: &Action| !matches!(action, Action::ProveServices { .. });
    if !recorded.undoable().iter().any(|step| changes(&step.action)) {
        return Ok(None);
    }
    session.printer.clear();
    session.printer.talk("It failed, and is taken back (--no-rollback leaves things as they are):");
    let keep = (journal, tenure, stop);
    execute(session, operations, keep, &Work::TakeBack(&recorded), consent).await.map(Some)
}

/// Removes what runs that died left in the cluster, where nothing else is to be done: their node pods, and their Lease.
pub async fn tidy(session: &Session, cluster: &Cluster, plan: &Plan) {
    match take_lease(session, cluster, plan).await {
        Ok(lease) => {
            if let Err(error) = sweep(session, cluster, plan, false).await {
                session.printer.talk(&format!("warning: {error}"));
            }
            release(session, lease).await;
        }
        Err(failure) => session.printer.talk(&format!("warning: {}", failure.error)),
    }
}

async fn sweep(
    session: &Session,
    cluster: &Cluster,
    plan: &Plan,
    own: bool,
) -> Result<(), ApiError> {
    let count = sweep_repairs(cluster, &plan.id, own).await?;
    if count > 0 {
        session.printer.talk(&format!("Deleted {count} node pods that an earlier run had left."));
    }
    Ok(())
}

/// Whoever may not see whether a script of an earlier run is still at work on a node must not begin another one.
fn unseen(session: &Session, error: &ApiError) -> Failure {
    let what =
        format!("nothing was changed, because what an earlier run left cannot be seen: {error}");
    let hint = format!("ask for the role that {} fix --print-rbac prints", session.doctor());
    Failure::new(Kind::Incomplete, what).hint(hint)
}

async fn release(session: &Session, lease: Lease<ClusterLease>) {
    if let Err(error) = lease.release().await {
        session.printer.talk(&format!("warning: {error}; it expires within 30 s"));
    }
}

async fn execute(
    session: &Session,
    operations: &impl Operations,
    (journal, tenure, stop): (&mut Journal, &Tenure, &Stop),
    work: &Work<'_>,
    consent: Consent,
) -> Result<Outcome, Failure> {
    if matches!(work, Work::GoOn(_)) {
        let at = jiff::Timestamp::now();
        journal.write(&journal::Entry::Resumed { at }).map_err(internal)?;
    }
    let mut reporter = Lines { session };
    let clock = SystemClock::default();
    let executor =
        Executor { operations, clock: &clock, journal, tenure, reporter: &mut reporter, stop };
    match work {
        Work::Run(plan) => Box::pin(executor.run(plan, consent)).await,
        Work::GoOn(recorded) => {
            Box::pin(executor.go_on(&recorded.plan, &recorded.states, consent)).await
        }
        Work::TakeBack(recorded) => Box::pin(executor.take_back(recorded, consent)).await,
    }
    .map_err(internal)
}

async fn take_lease(
    session: &Session,
    cluster: &Cluster,
    plan: &Plan,
) -> Result<Lease<ClusterLease>, Failure> {
    let user = cluster.who_am_i().await.unwrap_or_else(|_| plan.target.user.clone());
    let directory = journal::directory().map_err(internal)?;
    let store = ClusterLease::new(cluster, session.plugin);
    let is_dead = |run: &crate::plan::PlanId| journal::is_dead(&directory, run);
    Lease::take(store, Holder::here(&user, &plan.id), is_dead).await.map_err(|error| {
        let hint = match &error {
            LeaseError::Held { .. } | LeaseError::Contended => {
                "wait for it to end, then try again; what a run that died left expires within 30 s"
                    .to_owned()
            }
            LeaseError::Forbidden(_) => {
                format!(
                    "ask for the role that --print-rbac prints for this verb of {}",
                    session.program
                )
            }
            LeaseError::Api(error) => error.hint().unwrap_or("try again").to_owned(),
        };
        let kind = match &error {
            LeaseError::Api(_) => Kind::Access,
            _ => Kind::Refused,
        };
        Failure::new(kind, error).hint(hint)
    })
}

/// A journal that cannot be kept.
pub fn internal(error: impl std::error::Error + Send + Sync + 'static) -> Failure {
    Failure::new(Kind::Internal, error)
}

/// One line that moves on a terminal; one line per step elsewhere.
struct Lines<'a> {
    session: &'a Session,
}

impl Reporter for Lines<'_> {
    fn tell(&mut self, progress: &Progress<'_>) {
        let place = progress.step.node.as_deref().unwrap_or(&progress.step.title);
        let line = format!("{}/{} {place}  {}", progress.number, progress.of, progress.line());
        match progress.activity {
            Activity::Ended(_) => {
                self.session.printer.clear();
                self.session.printer.talk(&format!("  {line}"));
            }
            _ => self.session.printer.live(&format!("  {line}")),
        }
    }
}
