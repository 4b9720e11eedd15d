//! Tests of the plugins as a user runs them, and the real Kubernetes they are tested on.

pub mod expectation;
pub mod fake_api;
#[cfg(unix)]
pub mod gate;
pub mod https_server;
pub mod program;
#[cfg(unix)]
pub mod story;
#[cfg(unix)]
pub mod testbed;
