//! Faults on the way to eBPF, live: each is told in words that a person can go on with, ends with the exit code of the contract,
//! and leaves the cluster as it was, untouched, or where a run can be gone on with. Nobody is ever without somebody who serves
//! Services meanwhile. docs/ebpf-faults.md is the table of what these tests showed.

#![cfg(all(unix, feature = "e2e"))]
#![allow(clippy::print_stdout, reason = "a live test says what it measured")]

mod endpoint;
mod felix;
mod kube_proxy;
mod nodes;
mod operator;
mod rules;
mod stage;
mod together;
mod webhook;
