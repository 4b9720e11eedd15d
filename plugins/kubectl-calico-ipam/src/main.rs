//! `kubectl calico-ipam`.

use std::process::ExitCode;

fn main() -> ExitCode {
    common::cli::run(kubectl_calico_ipam::plugin(), kubectl_calico_ipam::start)
}
