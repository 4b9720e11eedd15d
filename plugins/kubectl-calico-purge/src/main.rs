//! `kubectl calico-purge`.

use std::process::ExitCode;

fn main() -> ExitCode {
    common::cli::run(kubectl_calico_purge::plugin(), kubectl_calico_purge::start)
}
