//! These changes in words, for [`crate::plan::describe`] and for what is left of them.

use super::{BlockRef, IpamChange};
use crate::ipam::{Held, Holder};
use crate::plan::describe::{counted, number};

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

/// Addresses that a plan names one by one; a document has all of them.
const NAMED: usize = 10;

/// What it is about, one line each: the addresses and whose they were, or the handles.
pub(in crate::plan) fn details(change: &IpamChange) -> Vec<String> {
    let (mut lines, all): (Vec<String>, usize) = match change {
        IpamChange::ReleaseAddresses { addresses, .. }
        | IpamChange::GiveBackAddresses { addresses, .. } => {
            let line = |it: &Held| format!("{} of {}", it.address, whose(&it.holder));
            (addresses.iter().take(NAMED).map(line).collect(), addresses.len())
        }
        IpamChange::DeleteHandles { handles, .. } | IpamChange::RestoreHandles { handles, .. } => {
            (handles.iter().take(NAMED).map(|it| it.id.clone()).collect(), handles.len())
        }
    };
    if all > NAMED {
        lines.push(format!("and {} more (-o json names all)", number(all - NAMED)));
    }
    lines
}

/// Whose an address was, and why it is nobody's where that can be said in a word.
fn whose(holder: &Holder) -> String {
    match holder {
        Holder::Pod { namespace, name, gone_node: None } => format!("pod {namespace}/{name}"),
        Holder::Pod { namespace, name, gone_node: Some(node) } => {
            format!("pod {namespace}/{name} on {node}, a node that does not exist")
        }
        Holder::Node { name } => format!("the tunnel of {name}, a node that does not exist"),
        Holder::Service { namespace, name } => format!("Service {namespace}/{name}"),
        Holder::Nobody => "an owner who is not asked".to_owned(),
    }
}

/// As a statement that is to come true.
pub(in crate::plan) fn condition(change: &IpamChange) -> String {
    match change {
        IpamChange::ReleaseAddresses { addresses: all, block, .. } => {
            format!("{} free, or somebody else's", addresses(all, block))
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
        IpamChange::ReleaseAddresses { .. } => "released",
        IpamChange::GiveBackAddresses { .. } => "held again",
        IpamChange::DeleteHandles { .. } => "gone",
        IpamChange::RestoreHandles { .. } => "there again",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
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
        // A plan says whose each address was, and does not fill the screen.
        let lines = details(&many);
        assert_eq!(lines.len(), 11);
        assert_eq!(lines[10], "and 2 more (-o json names all)");
        let node = Some("n9".to_owned());
        let pod = Holder::Pod { namespace: "a".into(), name: "p".into(), gone_node: node };
        let of_pod = release(vec![Held { holder: pod, ..held(5) }]);
        let said = ["10.0.0.5 of pod a/p on n9, a node that does not exist"];
        assert_eq!(details(&of_pod), said);
    }
}
