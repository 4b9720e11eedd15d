//! `completion`: a script for the user's shell.

use clap::{Args, CommandFactory};
use common::cli::{Exit, Failure, Shell, script};
use common::verbs::Session;

use crate::Ipam;

#[derive(Args, Clone, Debug)]
pub(crate) struct CompletionFlags {
    /// The shell
    #[arg(value_enum)]
    shell: Shell,
}

pub(crate) fn run(session: &Session, flags: &CompletionFlags) -> Result<Exit, Failure> {
    session.printer.data(&script(Ipam::command(), flags.shell, "kubectl-calico_ipam"))?;
    Ok(Exit::Good)
}
