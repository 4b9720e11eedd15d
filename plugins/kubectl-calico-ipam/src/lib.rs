//! `kubectl calico-ipam`: who has which address of Calico IPAM, what leaked, what overlaps.
//!
//! This crate holds the command line and one file per verb. Everything else is in `common`.

mod commands;
mod format;

use clap::{ArgMatches, CommandFactory, FromArgMatches, Parser, Subcommand};
use common::cli::{
    ConnectionFlags, Exit, Failure, Invocation, OutputFlags, Plugin, Printer, start_log,
};
use common::verbs::{Session, rbac, runs, undo};

use commands::{
    check, completion, diff, gc, ip, map, overlap, pools, release, resume, show, top, why,
};
use format::Format;

/// Accounts for every address of Calico IPAM
///
/// Reading verbs change nothing, need no lock of the datastore, and work with every release of Calico from v3.25 on.
///
/// Exit codes: 0 healthy or done, 1 error, 2 usage, 3 errors or critical findings, 4 warnings (with
/// --fail-on=warning), 5 something needed could not be read, 6 declined or refused, 130 interrupted.
#[derive(Parser, Debug)]
#[command(name = "kubectl-calico_ipam", version = common::cli::version(env!("CARGO_PKG_VERSION"), option_env!("KUBECTL_CALICO_COMMIT")), subcommand_required = true, arg_required_else_help = true)]
struct Ipam {
    #[command(flatten)]
    output: OutputFlags,
    #[command(flatten)]
    connection: ConnectionFlags,
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Subcommand, Debug)]
enum Verb {
    /// Shows how full pools and blocks are, who borrows, and the settings of IPAM
    Show(show::ShowFlags),
    /// Finds what is wrong with addresses, and why: leaks, handles, affinities, blocks, addresses that two use
    Check(check::CheckFlags),
    /// Tells all that is known of addresses: owner, handle, block, sandbox, who shows them
    Ip(ip::IpFlags),
    /// Lists pools with what they are for, who may use them, and their use
    Pools(pools::PoolsFlags),
    /// Tells which nodes, namespaces or pools have most addresses
    Top(top::TopFlags),
    /// Tells whether a pod, or any pod on a node, can get an address, and if not, why: why pod/NAMESPACE/NAME, why node/NAME
    Why(why::WhyFlags),
    /// Finds ranges that should be apart and are not: pools, blocks, networks of nodes, Services
    Overlap(overlap::OverlapFlags),
    /// Tells what became of addresses between two looks: diff BEFORE [AFTER], both bundles
    Diff(diff::DiffFlags),
    /// Draws pools as grids of blocks: where addresses are used, and where there is room
    Map(map::MapFlags),
    /// Releases addresses that nobody uses, and deletes handles that nothing is held under
    Gc(gc::GcFlags),
    /// Releases addresses, unless somebody uses them
    Release(release::ReleaseFlags),
    /// Takes an earlier run back: addresses that are still free, handles that are gone
    Undo(undo::UndoFlags),
    /// Does what is left of a run that was cut off
    Resume(resume::ResumeFlags),
    /// Lists earlier runs
    Runs,
    /// Prints a completion script
    Completion(completion::CompletionFlags),
}

/// The command line, for the edge that all plugins share.
pub fn plugin() -> Plugin {
    Plugin { command: Ipam::command(), codes: Vec::new() }
}

/// Runs the verb that was given.
///
/// # Errors
/// What kept the verb from its work, with hints.
pub async fn start(matches: ArgMatches, invocation: Invocation) -> Result<Exit, Failure> {
    let Ipam { output, connection, verb } =
        Ipam::from_arg_matches(&matches).map_err(|error| Failure::usage(error.to_string()))?;
    let printer = Printer::new(output.no_color);
    start_log(output.level(), printer.stderr.colour);
    let format = Format::of(&output)?;
    let session = Session {
        printer,
        format: format.usual(),
        verbose: output.level() > 0,
        connection,
        program: invocation.name,
        plugin: env!("CARGO_PKG_NAME"),
        version: env!("CARGO_PKG_VERSION"),
    };
    // Boxed: the futures of all verbs together are large.
    let ended = Box::pin(dispatch(&session, format, verb)).await;
    if let Err(failure) = &ended {
        session.document_of(failure)?;
    }
    ended
}

async fn dispatch(session: &Session, format: Format, verb: Verb) -> Result<Exit, Failure> {
    match verb {
        Verb::Show(flags) => show::run(session, format, &flags).await,
        Verb::Check(flags) => check::run(session, format, &flags).await,
        Verb::Ip(flags) => ip::run(session, format, &flags).await,
        Verb::Pools(flags) => pools::run(session, format, &flags).await,
        Verb::Top(flags) => top::run(session, format, &flags).await,
        Verb::Why(flags) => why::run(session, format, &flags).await,
        Verb::Overlap(flags) => overlap::run(session, format, &flags).await,
        Verb::Diff(flags) => diff::run(session, format, &flags).await,
        Verb::Map(flags) => map::run(session, format, &flags).await,
        Verb::Gc(flags) => gc::run(session, &flags).await,
        Verb::Release(flags) => release::run(session, &flags).await,
        Verb::Undo(flags) => undo::run(session, &flags, rbac::undo_addresses).await,
        Verb::Resume(flags) => resume::run(session, &flags).await,
        Verb::Runs => runs::run(session).await,
        Verb::Completion(flags) => completion::run(session, &flags),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Ipam::command().debug_assert();
    }
}
