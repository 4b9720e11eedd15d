//! `fix`: plan, consent, journal, repair, and a second look.

use std::path::PathBuf;

use clap::Args;
use common::cli::{Exit, Failure};
use common::verbs::node_flags::ProbeFlags;
use common::verbs::repair::{self, ChangeFlags, DryRun, Request, Stuck};
use common::verbs::role::RoleFlags;
use common::verbs::{Session, look, rbac};

#[derive(Args, Clone, Debug)]
pub(crate) struct FixFlags {
    /// Repair only findings with these codes; all of them if none is given
    #[arg(value_name = "CODE")]
    codes: Vec<String>,
    #[command(flatten)]
    change: ChangeFlags,
    /// Plan for this bundle; goes with --dry-run only
    #[arg(long, value_name = "PATH", requires = "dry_run")]
    bundle: Option<PathBuf>,
    #[command(flatten)]
    probe: ProbeFlags,
    #[command(flatten)]
    role: RoleFlags,
}

pub(crate) async fn run(session: &Session, flags: &FixFlags) -> Result<Exit, Failure> {
    if flags.role.print(session, "fix", rbac::fix)? {
        return Ok(Exit::Good);
    }
    let only = repair::codes(session, &flags.codes)?;
    let request = Request {
        only: &only,
        nodes: None,
        hosts: None,
        change: flags.change,
        pods: flags.probe.pods(),
        verb: "fix",
        nothing: "There is nothing to repair.",
        stuck: Stuck::Left,
        other_modes: None,
    };
    if let Some(path) = &flags.bundle {
        if flags.change.dry_run != DryRun::Client {
            return Err(Failure::usage("a bundle cannot be repaired")
                .hint("--bundle goes with --dry-run: it prints the plan"));
        }
        let look = look::at_bundle(path)?;
        return repair::show_for(session, &look, path.display().to_string(), &request);
    }
    let cluster = look::connect(session).await?;
    let hosts =
        if flags.probe.is_wanted() { Some(flags.probe.which(&cluster).await?) } else { None };
    let request = Request { hosts: hosts.as_ref(), ..request };
    repair::run(session, &cluster, &request).await
}
