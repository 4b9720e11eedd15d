//! `kubectl calico-purge`: removes stale Calico state, or all of it, from nodes, in the order that does not wedge pods.
//!
//! This crate holds the command line and one file per verb. Everything else is in `common`.

mod commands;
mod roles;

use clap::{ArgMatches, CommandFactory, FromArgMatches, Parser, Subcommand};
use common::cli::{
    ConnectionFlags, Exit, Failure, Invocation, OutputFlags, Plugin, Printer, start_log,
};
use common::verbs::{Session, resume, runs, undo};

use commands::{completion, leftovers, node, pods, sandboxes};

/// Removes stale Calico state, or all of it, from nodes
///
/// Every verb that removes something prints its plan first and asks. What is provably wrong is removed; what is not known
/// to be Calico's, or may be in use, is left and told.
///
/// Exit codes: 0 clean or done, 1 error, 2 usage, 3 something is left, 5 something needed could not be read, 6 declined
/// or refused by a guard, 130 interrupted.
#[derive(Parser, Debug)]
#[command(name = "kubectl-calico_purge", version = common::cli::version(env!("CARGO_PKG_VERSION"), option_env!("KUBECTL_CALICO_COMMIT")), subcommand_required = true, arg_required_else_help = true)]
struct Purge {
    #[command(flatten)]
    output: OutputFlags,
    #[command(flatten)]
    connection: ConnectionFlags,
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Subcommand, Debug)]
enum Verb {
    /// Removes what is stale on nodes, and lets calico-node install itself anew: node NAME…
    Node(node::NodeFlags),
    /// Removes pods that finished and were left behind, by owner and cause; with --stuck, those that hang in their deletion
    Pods(pods::PodsFlags),
    /// Stops and removes pod sandboxes whose pods no longer exist, and nothing else: sandboxes NODE. It looks from the
    /// node's host, through a privileged pod that it deletes again, also for --dry-run
    Sandboxes(sandboxes::SandboxesFlags),
    /// Finds what Calico left on nodes where it is not installed, and with --remove removes it: leftovers [NODE…]
    Leftovers(leftovers::LeftoversFlags),
    /// Takes back what an earlier run did, as far as it can be: undo RUN
    Undo(undo::UndoFlags),
    /// Goes on with an earlier run that was cut off, failed or was interrupted: resume RUN
    Resume(resume::ResumeFlags),
    /// Lists the runs on this cluster that this machine remembers
    Runs,
    /// Prints a completion script
    Completion(completion::CompletionFlags),
}

/// The command line, for the edge that all plugins share.
pub fn plugin() -> Plugin {
    Plugin { command: Purge::command(), codes: Vec::new() }
}

/// Runs the verb that was given.
///
/// # Errors
/// What kept the verb from its work, with hints.
pub async fn start(matches: ArgMatches, invocation: Invocation) -> Result<Exit, Failure> {
    let Purge { output, connection, verb } =
        Purge::from_arg_matches(&matches).map_err(|error| Failure::usage(error.to_string()))?;
    let printer = Printer::new(output.no_color);
    start_log(output.level(), printer.stderr.colour);
    let session = Session {
        printer,
        format: output.format()?,
        verbose: output.level() > 0,
        connection,
        program: invocation.name,
        plugin: env!("CARGO_PKG_NAME"),
        version: env!("CARGO_PKG_VERSION"),
    };
    // Boxed: the futures of all verbs together are large.
    let ended = Box::pin(dispatch(&session, verb)).await;
    if let Err(failure) = &ended {
        session.document_of(failure)?;
    }
    ended
}

async fn dispatch(session: &Session, verb: Verb) -> Result<Exit, Failure> {
    match verb {
        Verb::Node(flags) => Box::pin(node::run(session, &flags)).await,
        Verb::Pods(flags) => Box::pin(pods::run(session, &flags)).await,
        Verb::Sandboxes(flags) => Box::pin(sandboxes::run(session, &flags)).await,
        Verb::Leftovers(flags) => Box::pin(leftovers::run(session, &flags)).await,
        Verb::Undo(flags) => Box::pin(undo::run(session, &flags, roles::undo)).await,
        Verb::Resume(flags) => Box::pin(resume::run(session, &flags, roles::resume)).await,
        Verb::Runs => runs::run(session).await,
        Verb::Completion(flags) => completion::run(session, &flags),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Purge::command().debug_assert();
    }

    #[test]
    fn flags_work_on_both_sides_of_the_verb() {
        for words in [
            vec!["purge", "-o", "json", "--context", "x", "node", "a2"],
            vec!["purge", "node", "a2", "-o", "json", "--context", "x", "-y"],
            vec!["purge", "node", "-l", "rack=7", "--dry-run", "--probe"],
            vec!["purge", "node", "a2", "--free-stuck"],
            vec!["purge", "sandboxes", "a2", "--dry-run", "-o", "yaml"],
        ] {
            assert!(Purge::try_parse_from(&words).is_ok(), "{words:?}");
        }
        assert!(Purge::try_parse_from(["purge", "node"]).is_err(), "which node?");
        assert!(Purge::try_parse_from(["purge", "sandboxes"]).is_err(), "of which node?");
    }
}
