//! `doctor download` as a user runs it, against https servers on loopback.
#![cfg(unix)]
#![allow(clippy::unwrap_used, reason = "a test that cannot go on panics")]

mod files;
mod network;
mod proxies;
mod release;
