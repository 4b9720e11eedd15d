//! `check`: finds what is wrong and why. Creates nothing, unless `--probe` says so.

use std::path::PathBuf;

use clap::Args;
use common::cli::{Exit, FailOn, Failure};
use common::node::PROBE_SCRIPT;

use common::verbs::node_flags::{ProbeFlags, close};
use common::verbs::role::RoleFlags;
use common::verbs::{Session, look, rbac};

#[derive(Args, Clone, Debug, Default, PartialEq)]
pub(crate) struct CheckFlags {
    /// Diagnose this bundle (a folder, .tar.gz or .tgz), or what the script of --print-script printed on a node, instead of a cluster
    #[arg(long, value_name = "PATH", conflicts_with = "probe")]
    bundle: Option<PathBuf>,
    /// From which severity on the exit code says so
    #[arg(long, value_enum, default_value_t = FailOn::Error, value_name = "SEVERITY")]
    fail_on: FailOn,
    #[command(flatten)]
    probe: ProbeFlags,
    /// Print the script that is run on nodes, and do nothing
    #[arg(long)]
    print_script: bool,
    #[command(flatten)]
    role: RoleFlags,
}

pub(crate) async fn run(session: &Session, flags: &CheckFlags) -> Result<Exit, Failure> {
    let CheckFlags { bundle, fail_on, probe, print_script, role } = flags;
    if *print_script {
        session.printer.data(PROBE_SCRIPT)?;
        session.printer.talk(&format!(
            "run it as root: ssh NODE sudo sh -s < probe.sh > FOLDER/nodes/NODE/probe.txt; read what it says: {} check --bundle FOLDER",
            session.program
        ));
        return Ok(Exit::Good);
    }
    let (verb, rules): (_, fn() -> _) =
        if probe.is_wanted() { ("probe", rbac::probe) } else { ("check", rbac::check) };
    if role.print(session, verb, rules)? {
        return Ok(Exit::Good);
    }
    let look = match bundle {
        Some(path) => look::at_bundle(path)?,
        None => at_cluster(session, probe).await?,
    };
    let exit = look.exit(*fail_on);
    look.print(session, exit)?;
    Ok(exit)
}

async fn at_cluster(session: &Session, probe: &ProbeFlags) -> Result<look::Look, Failure> {
    let cluster = look::connect(session).await?;
    let hosts = probe.hosts(session, &cluster, "check --probe").await?;
    let look = look::at_cluster_and_hosts(session, &cluster, hosts.as_ref()).await;
    if let Some(hosts) = &hosts {
        close(session, &hosts.pods).await;
    }
    look
}
