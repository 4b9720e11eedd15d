//! Hosts after a reboot: what does not come up by itself.

pub(super) mod kubelet_dead;
