//! `release`: releases addresses that are named, unless somebody uses them.

use std::collections::BTreeMap;
use std::net::IpAddr;

use clap::Args;
use common::cli::{Exit, Failure, Kind};
use common::ipam::leak::{Judge, Keep, Verdict};
use common::ipam::{Allocation, Block, Holder, Ledger, Population, State, cidr};
use common::plan::ipam::Going;
use common::verbs::{Session, look, rbac};

use super::change::{self, Force, RunFlags, Wanted};
use super::ip::parse;

/// Which addresses.
#[derive(Args, Clone, Debug)]
pub(crate) struct ReleaseFlags {
    /// The addresses
    #[arg(value_name = "ADDRESS", required_unless_present = "print_rbac")]
    addresses: Vec<String>,
    #[command(flatten)]
    run: RunFlags,
}

pub(crate) async fn run(session: &Session, flags: &ReleaseFlags) -> Result<Exit, Failure> {
    if flags.run.role.print(session, "release", rbac::change_addresses)? {
        return Ok(Exit::Good);
    }
    let addresses = parse(&flags.addresses)?;
    let cluster = look::connect(session).await?;
    let snapshot = change::see(session, &cluster, "release").await?;
    let population = Population::new(&snapshot);
    let ledger = Ledger::new(&snapshot);
    let judge = change::judge(&snapshot, &population)?;
    let force = flags.run.force.contains(&Force::InUse);
    let mut blocks: BTreeMap<&str, (&Block<'_>, Vec<Going<'_>>)> = BTreeMap::new();
    for address in addresses {
        for (block, it) in held(&ledger, address)? {
            let holder = asked(&it, &judge, &population, force)?;
            let (_, going) = blocks.entry(block.name()).or_insert((block, Vec::new()));
            if going.iter().all(|other| other.0.ordinal != it.ordinal) {
                going.push((it, holder));
            }
        }
    }
    let addresses = blocks.into_values().collect();
    let wanted = Wanted { addresses, handles: Vec::new(), left_out: Vec::new() };
    let plan = change::plan(session, &cluster, (&snapshot, &ledger), "release", wanted).await?;
    change::carry_out(session, &cluster, &plan, &flags.run, "release").await
}

/// Where it is held; blocks that overlap may hold it twice.
fn held<'a>(
    ledger: &'a Ledger<'a>,
    address: IpAddr,
) -> Result<Vec<(&'a Block<'a>, Allocation<'a>)>, Failure> {
    let at = |block: &'a Block<'a>| {
        let ordinal = usize::try_from(cidr::ordinal(&block.cidr, address)?).ok()?;
        match block.state(ordinal) {
            State::Allocated(it) => Some((block, it)),
            State::Cooling(_) | State::Free(_) => None,
        }
    };
    let found: Vec<_> = ledger.blocks_of(address).into_iter().filter_map(at).collect();
    if found.is_empty() {
        let what = format!("nothing was changed, because nobody has {address}");
        return Err(Failure::new(Kind::NotFound, what));
    }
    Ok(found)
}

/// Who is asked immediately before it is released.
fn asked(
    it: &Allocation<'_>,
    judge: &Judge<'_>,
    population: &Population<'_>,
    force: bool,
) -> Result<Holder, Failure> {
    let why = match judge.judge(it) {
        Verdict::Leaked(_) | Verdict::Young(..) => None,
        // A person knows whose it was, and nobody shows it.
        Verdict::Kept(Keep::Unknown) => None,
        Verdict::Kept(keep) => Some(keep.text().to_owned()),
        Verdict::Used => {
            population.users(it.address).first().map(|it| format!("{} uses it", it.text()))
        }
    };
    match why {
        Some(_) if force => Ok(Holder::Nobody),
        Some(why) => {
            let what = format!("nothing was changed, because of {}: {why}", it.address);
            Err(Failure::new(Kind::Refused, what).hint(
                "whoever uses it loses its network, or gets another's packets: --force=in-use",
            ))
        }
        None => Ok(change::holder(it, population).unwrap_or(Holder::Nobody)),
    }
}
