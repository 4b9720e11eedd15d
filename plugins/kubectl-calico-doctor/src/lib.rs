//! `kubectl calico-doctor`: finds what is wrong with a Calico install and why, and repairs it.
//!
//! This crate holds the command line and one file per verb. Everything else is in `common`.

mod commands;

use clap::{ArgMatches, CommandFactory, FromArgMatches, Parser, Subcommand};
use common::cli::{
    ConnectionFlags, Exit, Failure, Invocation, OutputFlags, OutputFormat, Plugin, Printer,
    start_log,
};
use common::verbs::{Session, rbac, resume, runs, undo};

use commands::{check, checks, collect, completion, download, explain, fix, status, sweep};

/// Diagnoses and repairs a Calico install
///
/// Without a verb it checks: it asks the API server, and through the running calico-node pods the nodes, and creates
/// nothing. Flags go behind the plugin's name: kubectl itself takes none before it.
///
/// Exit codes: 0 healthy or done, 1 error, 2 usage, 3 errors or critical findings, 4 warnings (with
/// --fail-on=warning), 5 something needed could not be read, 6 declined or refused, 130 interrupted.
#[derive(Parser, Debug)]
#[command(name = "kubectl-calico_doctor", version = common::cli::version(env!("CARGO_PKG_VERSION"), option_env!("KUBECTL_CALICO_COMMIT")), args_conflicts_with_subcommands = false)]
struct Doctor {
    #[command(flatten)]
    check: check::CheckFlags,
    #[command(flatten)]
    output: OutputFlags,
    #[command(flatten)]
    connection: ConnectionFlags,
    #[command(subcommand)]
    verb: Option<Verb>,
}

#[derive(Subcommand, Debug)]
enum Verb {
    /// Finds what is wrong and why (the default)
    Check(check::CheckFlags),
    /// Repairs what check finds: plan, consent, journal, repair, verification
    Fix(fix::FixFlags),
    /// Takes back what an earlier run did to nodes: undo RUN
    Undo(undo::UndoFlags),
    /// Goes on with an earlier run that was cut off, failed or was interrupted: resume RUN
    Resume(resume::ResumeFlags),
    /// Lists the runs on this cluster that this machine remembers
    Runs,
    /// Writes what check would look at into a bundle, without secrets: collect -o FILE.tar.gz
    Collect(collect::CollectFlags),
    /// Fetches, verifies and keeps manifests, CRDs and the archive of a Calico release, for repairs without a network
    Download(download::DownloadFlags),
    /// Deletes what earlier runs left in the cluster
    Sweep(sweep::SweepFlags),
    /// Shows per node what keeps its network up: calico-node, Felix, BIRD, CNI token, tunnel devices
    Status(status::StatusFlags),
    /// Explains a finding's code: what it means, how sure, what to do, what not to do
    Explain(explain::ExplainFlags),
    /// Lists all checks
    Checks,
    /// Prints a completion script
    Completion(completion::CompletionFlags),
}

/// The command line, for the edge that all plugins share.
pub fn plugin() -> Plugin {
    let codes = common::checks::ALL
        .iter()
        .map(|check| [check.code.to_string(), check.title.to_owned()])
        .collect();
    Plugin { command: Doctor::command(), codes }
}

/// Runs the verb that was given.
///
/// # Errors
/// What kept the verb from its work, with hints.
pub async fn start(matches: ArgMatches, invocation: Invocation) -> Result<Exit, Failure> {
    let Doctor { check, output, connection, verb } =
        Doctor::from_arg_matches(&matches).map_err(|error| Failure::usage(error.to_string()))?;
    let printer = Printer::new(output.no_color);
    start_log(output.level(), printer.stderr.colour);
    // These two read the flag in their own way: as a file, and with one more format.
    let reads_it_itself = match &verb {
        Some(Verb::Collect(_)) => true,
        Some(Verb::Status(_)) => output.output.as_deref() == Some(status::WIDE),
        _ => false,
    };
    let session = Session {
        printer,
        format: if reads_it_itself { OutputFormat::Text } else { output.format()? },
        verbose: output.level() > 0,
        connection,
        program: invocation.name,
        plugin: env!("CARGO_PKG_NAME"),
        version: env!("CARGO_PKG_VERSION"),
    };
    // Boxed: the futures of all verbs together are large.
    let ended = Box::pin(dispatch(&session, &check, verb, output.output.as_deref())).await;
    if let Err(failure) = &ended {
        session.document_of(failure)?;
    }
    ended
}

async fn dispatch(
    session: &Session,
    check: &check::CheckFlags,
    verb: Option<Verb>,
    output: Option<&str>,
) -> Result<Exit, Failure> {
    if verb.is_some() && *check != check::CheckFlags::default() {
        // Silently dropped, `--bundle X fix` would repair the living cluster.
        return Err(Failure::usage("flags of check stand before another verb")
            .hint("write the verb first, then its flags: check --bundle FILE"));
    }
    match verb {
        None => check::run(session, check).await,
        Some(Verb::Check(flags)) => check::run(session, &flags).await,
        Some(Verb::Fix(flags)) => Box::pin(fix::run(session, &flags)).await,
        Some(Verb::Undo(flags)) => Box::pin(undo::run(session, &flags, rbac::undo)).await,
        Some(Verb::Resume(flags)) => Box::pin(resume::run(session, &flags, rbac::fix)).await,
        Some(Verb::Runs) => runs::run(session).await,
        Some(Verb::Collect(flags)) => collect::run(session, &flags, output).await,
        Some(Verb::Download(flags)) => download::run(session, &flags).await,
        Some(Verb::Sweep(flags)) => sweep::run(session, &flags).await,
        Some(Verb::Status(flags)) => status::run(session, &flags, output).await,
        Some(Verb::Explain(flags)) => explain::run(session, &flags),
        Some(Verb::Checks) => checks::run(session),
        Some(Verb::Completion(flags)) => completion::run(session, &flags),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Doctor::command().debug_assert();
    }

    #[test]
    fn flags_work_with_and_without_a_verb() {
        for words in [
            vec!["doctor", "-o", "json", "--context", "x"],
            vec!["doctor", "check", "-o", "json", "--context", "x"],
            vec!["doctor", "--context", "x", "check", "-v=2", "-o=yaml"],
            vec!["doctor", "--insecure-skip-tls-verify=true", "--disable-compression", "--v=2"],
            vec!["doctor", "-vv", "--bundle", "b.tar.gz", "--fail-on=warning"],
        ] {
            assert!(Doctor::try_parse_from(&words).is_ok(), "{words:?}");
        }
    }
}
