//! Reads a scan that was made by hand, on a machine that has left its cluster.

use std::io::Read;

use common::cli::{Exit, Failure, Kind};
use common::execute::new_plan_id;
use common::node::removal_script;
use common::report::{LeftoversReport, NodeLeftovers};
use common::residue::{ResidueFacts, Scope, Surroundings, removal, take_inventory};
use common::verbs::Session;

use super::{LeftoversFlags, exit_of, print};

/// Largest scan that is read, in bytes: more than the script prints.
const LIMIT: u64 = 64 * 1024 * 1024;

pub(super) fn run(session: &Session, flags: &LeftoversFlags, file: &str) -> Result<Exit, Failure> {
    let body = read(file)?;
    let facts = ResidueFacts::from_scan("machine", &body);
    let Some(machine) = facts.machine.known().filter(|name| !name.is_empty()).cloned() else {
        let what = format!("{file} is no scan: it does not say of which machine it is");
        return Err(Failure::new(Kind::Internal, what).hint(format!(
            "run as root, on that machine, what this prints: {} leftovers --print-script",
            session.program
        )));
    };
    let around = Surroundings::unknown(Scope::NotInstalled, &machine, flags.pools.clone());
    let found = take_inventory(&facts, &around);
    if flags.print_script {
        let run = new_plan_id();
        let script = removal_script(&machine, &removal(&found), &run)
            .map_err(|error| Failure::new(Kind::Internal, error))?;
        session.printer.data(&script)?;
        let node = NodeLeftovers::new(&machine, around.scope, found);
        for (id, why) in &node.not_removable {
            session.printer.talk(&format!("{id} stays: {why}"));
        }
        // The script is what was asked for; only what could not be seen makes it less than that.
        let exit = exit_of(&[node]);
        return Ok(if exit == Exit::Findings { Exit::Good } else { exit });
    }
    let node = NodeLeftovers::new(&machine, around.scope, found);
    print(session, LeftoversReport::new(format!("scan {file}"), vec![node], ""), Exit::Good)
}

fn read(file: &str) -> Result<Vec<u8>, Failure> {
    let mut body = Vec::new();
    let result = if file == "-" {
        std::io::stdin().lock().take(LIMIT).read_to_end(&mut body)
    } else {
        std::fs::File::open(file).and_then(|it| it.take(LIMIT).read_to_end(&mut body))
    };
    match result {
        Ok(_) => Ok(body),
        Err(error) => Err(Failure::new(Kind::NotFound, format!("cannot read {file}: {error}"))),
    }
}
