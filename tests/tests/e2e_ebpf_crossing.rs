//! `kubectl calico-ebpf enable --disable-kube-proxy` and `disable`, live, of an operator install. Of a manifest install: live_ebpf.rs.

#![cfg(all(unix, feature = "e2e"))]

use tests::story::there_and_back;
use tests::testbed::{Error, Testbed};

#[test]
fn there_and_back_of_an_operator_install() -> Result<(), Error> {
    let Some(testbed) = Testbed::for_test_with_operator("ebpf crossing")? else { return Ok(()) };
    let _lock = testbed.lock_cluster()?;
    there_and_back(&testbed)
}
