//! These changes in words, for [`crate::plan::describe`] and for what is left of them.

use super::{BlockRef, IpamChange};
use crate::ipam::Held;
use crate::plan::describe::counted;

/// `10.0.0.5 of block 10.0.0.0/26`, `12 addresses of block 10.0.0.0/26`
fn addresses(addresses: &[Held], block: &BlockRef) -> String {
    let what = match addresses {
        [one] => one.address.to_string(),
        many => counted(many.len(), "address"),
    };
    format!("{what} of block {}", block.cidr)
}

/// Imperative: `release 10.0.0.5 of block 10.0.0.0/26`.
pub(in crate::plan) fn action(change: &IpamChange) -> String {
    match change {
        IpamChange::ReleaseAddresses { addresses: all, block, .. } => {
            format!("release {}", addresses(all, block))
        }
        IpamChange::GiveBackAddresses { addresses: all, block, .. } => {
            format!("give {} back", addresses(all, block))
        }
        IpamChange::DeleteHandles { handles, .. } => {
            format!("delete {} without an address", counted(handles.len(), "handle"))
        }
        IpamChange::RestoreHandles { handles, .. } => {
            format!("make {} again", counted(handles.len(), "handle"))
        }
    }
}

/// As a statement that is to come true.
pub(in crate::plan) fn condition(change: &IpamChange) -> String {
    match change {
        IpamChange::ReleaseAddresses { addresses: all, block, .. } => {
            format!("{}, as held before: free, or used again", addresses(all, block))
        }
        IpamChange::GiveBackAddresses { addresses: all, block, .. } => {
            format!("{}: held as before, or by somebody else", addresses(all, block))
        }
        IpamChange::DeleteHandles { handles, .. } => {
            format!("{} gone, or in use again", counted(handles.len(), "handle"))
        }
        IpamChange::RestoreHandles { handles, .. } => {
            format!("{} there again", counted(handles.len(), "handle"))
        }
    }
}

/// The same while it is waited for.
pub(in crate::plan) fn awaited(change: &IpamChange) -> String {
    match change {
        IpamChange::ReleaseAddresses { addresses: all, block, .. } => {
            format!("{} to be free", addresses(all, block))
        }
        IpamChange::GiveBackAddresses { addresses: all, block, .. } => {
            format!("{} to be held again", addresses(all, block))
        }
        IpamChange::DeleteHandles { handles, .. } => {
            format!("{} to go", counted(handles.len(), "handle"))
        }
        IpamChange::RestoreHandles { handles, .. } => {
            format!("{} to be there", counted(handles.len(), "handle"))
        }
    }
}

/// The same once it is true, in a few words.
pub(in crate::plan) fn met(change: &IpamChange) -> &'static str {
    match change {
        IpamChange::ReleaseAddresses { .. } => "no longer held by who lost them",
        IpamChange::GiveBackAddresses { .. } => "held again",
        IpamChange::DeleteHandles { .. } => "gone",
        IpamChange::RestoreHandles { .. } => "there again",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ipam::Holder;
    use crate::plan::ipam::IpamApi;

    #[test]
    fn counts_agree_with_their_nouns() {
        let held = |n: u8| Held {
            address: core::net::Ipv4Addr::new(10, 0, 0, n).into(),
            ordinal: n.into(),
            handle: None,
            sequence: 0,
            entry: serde_json::Value::Null,
            holder: Holder::Nobody,
        };
        let release = |addresses: Vec<Held>| IpamChange::ReleaseAddresses {
            api: IpamApi { group: "g".into(), version: "v1".into() },
            block: BlockRef { name: "b".into(), cidr: "10.0.0.0/26".into() },
            addresses,
            rest: false,
        };
        let one = release(vec![held(5)]);
        assert_eq!(action(&one), "release 10.0.0.5 of block 10.0.0.0/26");
        let many = release((0..12).map(held).collect());
        assert_eq!(action(&many), "release 12 addresses of block 10.0.0.0/26");
        assert_eq!(action(&many.inverse()), "give 12 addresses of block 10.0.0.0/26 back");
        assert_eq!(many.inverse().inverse(), many);
    }
}
