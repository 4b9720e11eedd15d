//! `sweep`: deletes what earlier runs left in the cluster.

use std::io::{self, IsTerminal};

use clap::Args;
use common::cli::{Exit, Failure, OutputFormat};
use common::execute::{Consent, Ours, Terminal, find_ours, sweep};
use common::report::v1::API_VERSION;
use common::report::{escape, json, table, yaml};

use common::verbs::role::RoleFlags;
use common::verbs::{Session, look, rbac};

#[derive(Args, Clone, Debug)]
pub(crate) struct SweepFlags {
    /// Delete without asking
    #[arg(short = 'y', long)]
    yes: bool,
    /// Print what would be deleted, and delete nothing
    #[arg(long)]
    dry_run: bool,
    /// Delete also what a run may still be using
    #[arg(long)]
    all: bool,
    #[command(flatten)]
    role: RoleFlags,
}

pub(crate) async fn run(session: &Session, flags: &SweepFlags) -> Result<Exit, Failure> {
    if flags.role.print(session, "sweep", rbac::sweep)? {
        return Ok(Exit::Good);
    }
    let cluster = look::connect(session).await?;
    let found = look::interruptible(find_ours(&cluster, flags.all)).await??;
    let count = found.iter().filter(|it| it.is_left_over).count();
    if session.format == OutputFormat::Text {
        session.printer.data(&text(&found))?;
    }
    if count == 0 || flags.dry_run {
        return document(session, &found, &[], Exit::Good);
    }
    let Some(consent) = consent(session, flags.yes, count)? else {
        session.printer.talk("Nothing was deleted: say --yes, or answer at a terminal.");
        return document(session, &found, &[], Exit::Declined);
    };
    let failed = look::interruptible(sweep(&cluster, &found, consent)).await?;
    for (it, error) in &failed {
        session.printer.talk(&format!("{} is left: {}", name(it), escape(&error.to_string())));
    }
    let deleted = count - failed.len();
    session.printer.talk(&format!("Deleted {deleted} of {count}."));
    let exit = if failed.is_empty() { Exit::Good } else { Exit::Error };
    let left: Vec<String> = failed.iter().map(|(it, _)| name(it)).collect();
    document(session, &found, &left, exit)
}

fn consent(session: &Session, yes: bool, count: usize) -> Result<Option<Consent>, Failure> {
    let (mut input, mut output) = (io::stdin().lock(), io::stderr().lock());
    let is_asked = io::stdin().is_terminal() && session.printer.stderr.is_terminal;
    let terminal = is_asked.then_some(Terminal { input: &mut input, output: &mut output });
    let explanation = format!(
        "{count} objects with label app.kubernetes.io/managed-by=kubectl-calico are deleted, each only if it still is the one in the list."
    );
    Ok(Consent::obtain(yes, terminal, &explanation)?)
}

fn name(it: &Ours) -> String {
    format!("{} {}/{}", it.kind, it.namespace, it.name)
}

fn text(found: &[Ours]) -> String {
    if found.is_empty() {
        return "Nothing of ours is in the cluster.\n".to_owned();
    }
    let rows: Vec<Vec<String>> = found
        .iter()
        .map(|it| {
            let what = if it.is_left_over { "delete" } else { "leave" };
            let node = if it.node.is_empty() { "-" } else { &it.node };
            [what, &name(it), node, &it.why].iter().map(|cell| escape(cell)).collect()
        })
        .collect();
    table(&["", "OBJECT", "NODE", "WHY"], &rows)
}

/// The same as data; in text it was printed before the question.
fn document(
    session: &Session,
    found: &[Ours],
    left: &[String],
    exit: Exit,
) -> Result<Exit, Failure> {
    let document = serde_json::json!({
        "apiVersion": API_VERSION,
        "kind": "SweepReport",
        "verdict": exit.word(),
        "objects": found,
        "notDeleted": left,
    });
    match session.format {
        OutputFormat::Text => {}
        OutputFormat::Json => session.printer.data(&json(&document))?,
        OutputFormat::Yaml => session.printer.data(&yaml(&document))?,
    }
    Ok(exit)
}
