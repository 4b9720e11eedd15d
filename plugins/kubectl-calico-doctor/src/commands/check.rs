//! `check`: finds what is wrong and why. Creates nothing.

use std::path::PathBuf;

use clap::Args;
use common::cli::{Exit, FailOn, Failure};
use common::node::PROBE_SCRIPT;

use super::{look, rbac};
use crate::Session;

#[derive(Args, Clone, Debug, Default, PartialEq)]
pub(crate) struct CheckFlags {
    /// Diagnose this bundle (a folder, .tar.gz or .tgz) instead of a cluster
    #[arg(long, value_name = "PATH")]
    bundle: Option<PathBuf>,
    /// From which severity on the exit code says so
    #[arg(long, value_enum, default_value_t = FailOn::Error, value_name = "SEVERITY")]
    fail_on: FailOn,
    /// Print the script that is run on nodes, and do nothing
    #[arg(long)]
    print_script: bool,
    /// Print the smallest ClusterRole for this verb, and do nothing
    #[arg(long)]
    print_rbac: bool,
    /// With --print-rbac: bind the role to this user
    #[arg(long, value_name = "USER", requires = "print_rbac")]
    bind_to: Option<String>,
}

pub(crate) async fn run(session: &Session, flags: &CheckFlags) -> Result<Exit, Failure> {
    let CheckFlags { bundle, fail_on, print_script, print_rbac, bind_to } = flags;
    if *print_script {
        session.printer.data(PROBE_SCRIPT)?;
        return Ok(Exit::Good);
    }
    if *print_rbac {
        session.printer.data(&rbac::role(rbac::Verb::Check, bind_to.as_deref()))?;
        return Ok(Exit::Good);
    }
    let look = match bundle {
        Some(path) => look::at_bundle(path)?,
        None => look::at_cluster(session, &look::connect(session).await?).await?,
    };
    let exit = look.exit(*fail_on);
    look.print(session, exit)?;
    Ok(exit)
}
