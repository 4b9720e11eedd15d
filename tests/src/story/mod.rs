//! The stories that live tests tell: pods on a testbed, a fault, the doctor, and what must be true afterwards.

mod addresses;
mod crossing;
mod crossing_killed;
mod hanging;
mod host;
mod killed;
mod moment;
mod plugin;
mod pods;
mod private_host;
mod report;
mod role_runs;
mod role_stage;
mod roles;
mod secrets;
mod there_and_back;
mod watcher;
mod world;

pub use addresses::{Addresses, Owner};
pub use crossing::{Crossing, Touched, differences};
pub use crossing_killed::{Phase, Spot, kill_at, labelled};
pub use hanging::{Expected, NODE, Story, demand};
pub use host::{Files, Host, nothing_of_ours, our_files, remove_backups};
pub use killed::{Journal, LOOPBACK, NextJournal, Running, journals, scripts};
pub use moment::{Moment, Point, Victim, has_loopback};
pub use plugin::{Doctor, Plugin, Ran};
pub use pods::{Pods, Snapshot};
pub use private_host::PrivateHost;
pub use report::{Report, Root};
pub use role_runs::{EXEC, Verb, is_seldom, nothing_but_roles};
pub use role_stage::{Stage, is_named};
pub use roles::{Right, Users};
pub use secrets::{Secrets, keep};
pub use there_and_back::there_and_back;
pub use watcher::{Watched, Watcher};
pub use world::World;
