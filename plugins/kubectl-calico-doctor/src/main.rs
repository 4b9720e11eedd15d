//! `kubectl calico-doctor`.

use std::process::ExitCode;

fn main() -> ExitCode {
    common::cli::run(kubectl_calico_doctor::plugin(), kubectl_calico_doctor::start)
}
