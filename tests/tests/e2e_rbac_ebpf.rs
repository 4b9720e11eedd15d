//! The roles that `kubectl calico-ebpf VERB --print-rbac` prints are enough: under them alone a cluster goes to eBPF without
//! kube-proxy, is looked at, and comes back. Without the right to change FelixConfigurations the run is refused before anything is
//! changed.

#![cfg(all(unix, feature = "e2e"))]
#![allow(clippy::print_stdout, reason = "a live test says what it measured")]

use tests::story::{Crossing, Verb, demand, differences};
use tests::testbed::{Error, Testbed};

const THERE: [&str; 4] = ["enable", "--disable-kube-proxy", "--yes", "--watch-kube-proxy=2"];

#[test]
fn under_the_printed_roles_there_and_back() -> Result<(), Error> {
    let Some(testbed) = Testbed::for_test("roles of ebpf")? else { return Ok(()) };
    let _lock = testbed.lock_cluster()?;
    let crossing = Crossing::new(&testbed)?;
    let before = crossing.settled()?;
    let of = |name, role, words| Verb::new(&testbed, &crossing.plugin, name, (role, words), &[5]);
    of("ebpf-preflight", &["preflight"], &["preflight"])?.whole()?;
    let enable = of("ebpf-enable", &["enable"], &THERE)?;
    let ran = enable.without("patch felixconfigurations.crd.projectcalico.org")?;
    demand(ran.code == 5, "without a right it is refused", &ran)?;
    demand(crossing.settled()? == before, "and nothing is changed", &())?;
    println!("{}", enable.told());
    enable.whole()?;
    crossing.is_there()?;
    of("ebpf-status", &["status"], &["status"])?.whole()?;
    of("ebpf-disable", &["disable"], &["disable", "--yes"])?.whole()?;
    crossing.is_back()?;
    let lines = differences(&before, &crossing.settled()?);
    demand(lines.is_empty(), "every touched object is what it was", &lines)
}
