//! `endpoint`: where the API server is reached without Services, and whether every node reaches it there. Changes nothing.

mod discover;
mod test;

use clap::{Args, Subcommand};
use common::bpf::Endpoint;
use common::bpf::endpoint::{EndpointError, parse_endpoint};
use common::cli::{Exit, Failure, OutputFormat};
use common::report::{EndpointReport, endpoint, json, yaml};
use common::verbs::Session;

#[derive(Args, Clone, Debug)]
pub(crate) struct EndpointFlags {
    #[command(subcommand)]
    verb: EndpointVerb,
}

#[derive(Subcommand, Clone, Debug)]
enum EndpointVerb {
    /// Lists the endpoints that the cluster knows, the best one first
    Discover(discover::DiscoverFlags),
    /// Tests an endpoint from every node: connection, certificate, name, and that it is this cluster
    Test(test::TestFlags),
}

pub(crate) async fn run(session: &Session, flags: &EndpointFlags) -> Result<Exit, Failure> {
    match &flags.verb {
        EndpointVerb::Discover(flags) => discover::run(session, flags).await,
        EndpointVerb::Test(flags) => Box::pin(test::run(session, flags)).await,
    }
}

/// For clap: an endpoint on the command line.
fn from_argument(text: &str) -> Result<Endpoint, EndpointError> {
    parse_endpoint(text)
}

fn print(session: &Session, mut report: EndpointReport, exit: Exit) -> Result<Exit, Failure> {
    report.verdict = exit.word();
    session.printer.data(&match session.format {
        OutputFormat::Json => json(&report),
        OutputFormat::Yaml => yaml(&report),
        OutputFormat::Text => endpoint(&report, &session.text_options()),
    })?;
    Ok(exit)
}
