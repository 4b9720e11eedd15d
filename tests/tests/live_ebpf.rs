//! The story that `kubectl calico-ebpf` exists for, on a real Kubernetes whose Calico was installed by manifest: eBPF on, kube-proxy
//! off, Services proven after each step; and back, so that every object is what it was.

#![cfg(unix)]

use tests::story::there_and_back;
use tests::testbed::{Error, Testbed};

#[test]
fn a_cluster_goes_to_ebpf_without_kube_proxy_and_comes_back() -> Result<(), Error> {
    let Some(testbed) = Testbed::for_test("live ebpf story")? else { return Ok(()) };
    let _lock = testbed.lock_cluster()?;
    there_and_back(&testbed)
}
