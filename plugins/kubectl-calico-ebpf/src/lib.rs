//! `kubectl calico-ebpf`: takes a cluster to the eBPF data plane of Calico and back, proving its Services at every step.
//!
//! This crate holds the command line and one file per verb. Everything else is in `common`.

mod commands;
mod roles;

use clap::{ArgMatches, CommandFactory, FromArgMatches, Parser, Subcommand};
use common::cli::{
    ConnectionFlags, Exit, Failure, Invocation, OutputFlags, Plugin, Printer, start_log,
};
use common::verbs::{Session, runs};

use commands::{back, completion, enable, endpoint, kube_proxy, preflight, resume, status};

/// Takes a cluster to the eBPF data plane of Calico and back, proving its Services at every step
///
/// Every verb that changes something prints its plan first and asks.
///
/// Exit codes: 0 healthy or done, 1 error, 2 usage, 3 something is wrong, 4 warnings only (with --fail-on=warning), 5 something needed could not be read, 6 declined
/// or refused by a guard, 130 interrupted.
#[derive(Parser, Debug)]
#[command(name = "kubectl-calico_ebpf", version = common::cli::version(env!("CARGO_PKG_VERSION"), option_env!("KUBECTL_CALICO_COMMIT")), subcommand_required = true, arg_required_else_help = true)]
struct Ebpf {
    #[command(flatten)]
    output: OutputFlags,
    #[command(flatten)]
    connection: ConnectionFlags,
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Subcommand, Debug)]
enum Verb {
    /// Judges whether the cluster and its nodes have what the eBPF data plane needs
    Preflight(preflight::PreflightFlags),
    /// Finds and tests where the API server is reached without Services
    Endpoint(endpoint::EndpointFlags),
    /// Switches eBPF on, and with --disable-kube-proxy kube-proxy off, proving Services after each step
    Enable(enable::EnableFlags),
    /// Takes back what enable did, kube-proxy first, proving Services after each step
    Disable(back::DisableFlags),
    /// Takes back one run, wherever it ended: rollback RUN
    Rollback(back::RollbackFlags),
    /// Goes on with a run that was cut off, failed or was interrupted: resume RUN
    Resume(resume::ResumeFlags),
    /// Tells what the data plane is meant to be, what it is, and whether all that must hold does
    Status(status::StatusFlags),
    /// Tells whether kube-proxy runs and how it is stopped; stops it, or starts it again
    KubeProxy(kube_proxy::KubeProxyFlags),
    /// Lists the runs on this cluster that this machine remembers
    Runs,
    /// Prints a completion script
    Completion(completion::CompletionFlags),
}

/// The command line, for the edge that all plugins share.
pub fn plugin() -> Plugin {
    Plugin { command: Ebpf::command(), codes: Vec::new() }
}

/// Runs the verb that was given.
///
/// # Errors
/// What kept the verb from its work, with hints.
pub async fn start(matches: ArgMatches, invocation: Invocation) -> Result<Exit, Failure> {
    let Ebpf { output, connection, verb } =
        Ebpf::from_arg_matches(&matches).map_err(|error| Failure::usage(error.to_string()))?;
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
        Verb::Preflight(flags) => Box::pin(preflight::run(session, &flags)).await,
        Verb::Endpoint(flags) => Box::pin(endpoint::run(session, &flags)).await,
        Verb::Enable(flags) => Box::pin(enable::run(session, &flags)).await,
        Verb::Disable(flags) => Box::pin(back::disable(session, &flags)).await,
        Verb::Rollback(flags) => Box::pin(back::rollback(session, &flags)).await,
        Verb::Resume(flags) => Box::pin(resume::run(session, &flags)).await,
        Verb::Status(flags) => Box::pin(status::run(session, &flags)).await,
        Verb::KubeProxy(flags) => Box::pin(kube_proxy::run(session, &flags)).await,
        Verb::Runs => runs::run(session).await,
        Verb::Completion(flags) => completion::run(session, &flags),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Ebpf::command().debug_assert();
    }
}
