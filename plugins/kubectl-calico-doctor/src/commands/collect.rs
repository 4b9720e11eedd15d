//! `collect`: writes what check would look at into a bundle.

use std::path::PathBuf;

use clap::Args;
use common::bundle::Writer;
use common::cli::{Exit, FailOn, Failure, Kind};
use common::collect::Tee;
use common::snapshot::SnapshotBuilder;

use common::verbs::node_flags::{ProbeFlags, close};
use common::verbs::role::RoleFlags;
use common::verbs::{Session, look, rbac};

#[derive(Args, Clone, Debug)]
#[command(override_usage = "kubectl calico-doctor collect -o FILE.tar.gz [OPTIONS]")]
pub(crate) struct CollectFlags {
    /// Replace FILE if it exists
    #[arg(long)]
    overwrite: bool,
    #[command(flatten)]
    probe: ProbeFlags,
    #[command(flatten)]
    role: RoleFlags,
}

pub(crate) async fn run(
    session: &Session,
    flags: &CollectFlags,
    file: Option<&str>,
) -> Result<Exit, Failure> {
    let rules = if flags.probe.is_wanted() { rbac::probe } else { rbac::check };
    if flags.role.print(session, "collect", rules)? {
        return Ok(Exit::Good);
    }
    let Some(file) = file.map(PathBuf::from) else {
        return Err(Failure::usage("where shall the bundle go?")
            .hint(format!("{} collect -o FILE.tar.gz", session.program)));
    };
    if file.exists() && !flags.overwrite {
        return Err(Failure::new(Kind::Refused, format!("{} exists", file.display()))
            .hint("choose another name, or say --overwrite"));
    }
    let cluster = look::connect(session).await?;
    let mut writer = Writer::create(&file).map_err(look::bundle_failure)?;
    let mut builder = SnapshotBuilder::new();
    let hosts = flags.probe.hosts(session, &cluster, "collect --probe").await?;
    let outcome = {
        let mut both = Tee::new(&mut builder, &mut writer);
        look::interruptible(look::pour(session, &cluster, hosts.as_ref(), &mut both)).await
    };
    if let Some(hosts) = &hosts {
        close(session, &hosts.pods).await;
    }
    let outcome = outcome?;
    let taken = cluster.now();
    let look = look::judged(builder.finish(taken), outcome);
    let exit = match look.exit(FailOn::Error) {
        // The bundle is whole; what is wrong in the cluster is for check to say.
        Exit::Findings | Exit::Warnings => Exit::Good,
        other => other,
    };
    if exit == Exit::Error {
        look.print(session, exit)?;
        return Ok(exit);
    }
    writer.finish(taken, &session.made_by()).map_err(look::bundle_failure)?;
    look.tell_missed(session);
    look::tell_forbidden(session, &look.snapshot);
    let roots = look.diagnosis.roots.len();
    session.printer.talk(&format!(
        "Wrote {}. Tokens, keys and passwords are not in it; names and addresses are. Root causes in it: {roots}.\nRead it anywhere: {} check --bundle {}",
        file.display(),
        session.program,
        file.display()
    ));
    Ok(exit)
}
