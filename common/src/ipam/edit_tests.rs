//! Blocks and handles are what they must be, whatever is released and given back in which order.

use proptest::prelude::*;

use super::*;
use crate::calico::ipam::IpamBlock;
use crate::ipam::{Block, Holder, cidr};

/// Larger than what a double holds.
const START: u64 = 1_723_456_789_012_345_679;

fn address(ordinal: usize) -> IpAddr {
    let net = cidr::parse("10.1.0.0/28").unwrap();
    cidr::address(&net, u128::try_from(ordinal).unwrap()).unwrap()
}

/// `owners[n]` has address n, if there is one; two of the same owner share an entry.
fn block(owners: &[Option<u8>]) -> Value {
    let mut entries: Vec<Value> = Vec::new();
    let mut sequences = Map::new();
    let mut allocations = Vec::new();
    let mut free = Vec::new();
    for (ordinal, owner) in owners.iter().enumerate() {
        let Some(owner) = owner else {
            allocations.push(Value::Null);
            free.insert(0, json!(ordinal));
            continue;
        };
        let tail = if owner % 2 == 1 { "\r\neth0" } else { "" };
        let entry = json!({ "handle_id": format!("H{owner}{tail}"), "secondary": { "pod": format!("p{owner}") },
            "unknownOfEntry": START + 1 });
        let place = entries.iter().position(|it| *it == entry).unwrap_or(entries.len());
        if place == entries.len() {
            entries.push(entry);
        }
        allocations.push(json!(place));
        sequences.insert(ordinal.to_string(), json!(START + u64::try_from(ordinal).unwrap()));
    }
    json!({ "apiVersion": "crd.projectcalico.org/v1", "kind": "IPAMBlock",
        "metadata": { "name": "10-1-0-0-28", "annotations": { "a/b": "c" }, "managedFields": [{ "x": 1 }] },
        "spec": { "cidr": "10.1.0.0/28", "affinity": "host:n1", "allocations": allocations,
            "attributes": entries, "unallocated": free, "sequenceNumber": START + 100,
            "sequenceNumberForAllocation": sequences, "deleted": false, "strictAffinity": false,
            "unknownOfBlock": { "deep": [START, null] } } })
}

fn held(block: &Value, ordinal: usize) -> Option<Held> {
    let parts = Parts::of(block).unwrap();
    let Some(Now::Taken(entry, handle, sequence)) = parts.now(ordinal) else { return None };
    Some(Held {
        address: address(ordinal),
        ordinal,
        handle: handle.map(str::to_owned),
        sequence,
        entry: entry.clone(),
        holder: Holder::Nobody,
    })
}

fn is_whole(block: &Value) {
    let typed: IpamBlock = serde_json::from_value(block.clone()).unwrap();
    assert_eq!(Block::new(&typed).unwrap().faults(), [], "{block:#}");
    assert_eq!(block["spec"]["unknownOfBlock"], json!({ "deep": [START, null] }));
    assert_eq!(block["metadata"]["managedFields"], json!([{ "x": 1 }]));
    for entry in block["spec"]["attributes"].as_array().unwrap() {
        assert!(entry.get("releasedAt").is_some() || entry["unknownOfEntry"] == json!(START + 1));
    }
}

/// Without what giving back cannot restore: places of entries, order of the queue, sequence numbers.
fn essence(block: &Value) -> Value {
    let parts = Parts::of(block).unwrap();
    let owners: Vec<_> =
        parts.allocations.iter().map(|it| it.map(|it| parts.entries[it].clone())).collect();
    let mut queue: Vec<u64> = parts.queue.iter().map(|it| it.as_u64().unwrap()).collect();
    queue.sort_unstable();
    let taken: Vec<&String> = parts.sequences.keys().collect();
    json!([owners, queue, taken])
}

fn any_block() -> impl Strategy<Value = Value> {
    prop::collection::vec(prop::option::of(0u8..6), 16).prop_map(|owners| block(&owners))
}

proptest! {
    #[test]
    fn a_block_is_whole_after_any_releases(mut it in any_block(), picks in prop::collection::vec((any::<bool>(), prop::collection::vec(0usize..16, 0..6)), 0..6)) {
        for (rests, ordinals) in picks {
            let all: Vec<Held> = ordinals.iter().filter_map(|ordinal| held(&it, *ordinal)).collect();
            let before = it["spec"]["sequenceNumber"].as_u64().unwrap();
            let edited = release(&mut it, &all, rests.then_some("2026-07-12T12:00:00Z")).unwrap();
            is_whole(&it);
            let grown = u64::from(!edited.changed.is_empty());
            prop_assert_eq!(it["spec"]["sequenceNumber"].as_u64().unwrap(), before + grown);
            for held in &all {
                prop_assert!(!is_held(&it, held).unwrap());
                prop_assert!(edited.changed.contains(&held.address));
            }
        }
    }

    #[test]
    fn giving_back_undoes_releasing(start in any_block(), ordinals in prop::collection::btree_set(0usize..16, 0..16), rests in any::<bool>()) {
        let all: Vec<Held> = ordinals.iter().filter_map(|ordinal| held(&start, *ordinal)).collect();
        let mut it = start.clone();
        release(&mut it, &all, rests.then_some("2026-07-12T12:00:00Z")).unwrap();
        let edited = give_back(&mut it, &all).unwrap();
        prop_assert_eq!(edited.changed.len(), all.len());
        is_whole(&it);
        prop_assert_eq!(essence(&it), essence(&start));
        // Doing it again is doing nothing.
        let once = it.clone();
        let again = give_back(&mut it, &all).unwrap();
        prop_assert_eq!((again.changed.len(), again.already.len()), (0, all.len()));
        prop_assert_eq!(it, once);
    }

    #[test]
    fn handles_count_what_is_held(it in any_block()) {
        let parts = Parts::of(&it).unwrap();
        let all: i64 = (0..6).map(|n| held_under(&it, &format!("H{n}")).unwrap()).sum();
        let taken = parts.allocations.iter().flatten().count();
        prop_assert_eq!(all, i64::try_from(taken).unwrap());
    }

    #[test]
    fn nothing_makes_it_panic(allocations in prop::collection::vec(prop::option::of(any::<i64>()), 0..8), queue in prop::collection::vec(any::<i64>(), 0..8), ordinal in 0usize..20) {
        let mut it = block(&[Some(1)]);
        let held = held(&it, 0).unwrap();
        let held = Held { ordinal, ..held };
        it["spec"]["allocations"] = json!(allocations);
        it["spec"]["unallocated"] = json!(queue);
        drop((release(&mut it, [&held], None), give_back(&mut it, [&held])));
    }
}

#[test]
fn who_has_another_owner_or_took_it_anew_is_left_alone() {
    let seen = block(&[Some(0), Some(2), Some(4)]);
    let all: Vec<Held> = (0..3).filter_map(|it| held(&seen, it)).collect();
    let mut it = seen.clone();
    it["spec"]["attributes"][0]["handle_id"] = json!("somebody");
    it["spec"]["sequenceNumberForAllocation"]["1"] = json!(START + 50);
    let before = it.clone();
    let edited = release(&mut it, &all, None).unwrap();
    assert_eq!(edited.changed, [address(2)]);
    let skipped: Vec<IpAddr> = edited.skipped.iter().map(|it| it.0).collect();
    assert_eq!(skipped, [address(0), address(1)]);
    assert_eq!(it["spec"]["allocations"], json!([0, 1, null]));
    assert_eq!(it["spec"]["unallocated"], json!([2]));
    assert_eq!(it["spec"]["sequenceNumberForAllocation"], json!({ "0": START, "1": START + 50 }));
    assert_eq!(it["spec"]["sequenceNumber"], json!(START + 101));
    assert_eq!(it["metadata"], before["metadata"]);
    let text = it.to_string();
    assert!(text.contains(&(START + 50).to_string()), "numbers stay whole: {text}");
}

#[test]
fn a_released_address_waits_longest_and_its_entry_goes() {
    let mut it = block(&[Some(1), None, Some(1), None]);
    let all: Vec<Held> = (0..4).filter_map(|ordinal| held(&it, ordinal)).collect();
    assert_eq!(all[0].handle.as_deref(), Some("H1"), "what is behind \\r is no part of it");
    release(&mut it, [&all[0]], None).unwrap();
    assert_eq!(it["spec"]["unallocated"], json!([3, 1, 0]));
    assert_eq!(it["spec"]["allocations"], json!([null, null, 0, null]));
    release(&mut it, [&all[1]], None).unwrap();
    assert_eq!(it["spec"]["attributes"], json!([]));
    assert_eq!(it["spec"]["sequenceNumberForAllocation"], json!({}));
}

#[test]
fn where_addresses_rest_they_keep_their_place() {
    let mut it = block(&[Some(0), Some(2)]);
    let all: Vec<Held> = (0..2).filter_map(|ordinal| held(&it, ordinal)).collect();
    release(&mut it, &all, Some("2026-07-12T12:00:00Z")).unwrap();
    assert_eq!(it["spec"]["attributes"], json!([{ "releasedAt": "2026-07-12T12:00:00Z" }]));
    assert_eq!(it["spec"]["allocations"], json!([0, 0]));
    assert_eq!(it["spec"]["unallocated"], json!([]));
    assert_eq!(it["spec"]["sequenceNumberForAllocation"]["1"], json!(START + 100));
    assert_eq!(held_under(&it, "H0"), Ok(0));
    assert_eq!(release(&mut it, &all, None).unwrap().already.len(), 2);
}

#[test]
fn what_was_given_out_again_is_not_taken_away() {
    let seen = block(&[Some(0), Some(2), None]);
    let all: Vec<Held> = (0..2).filter_map(|ordinal| held(&seen, ordinal)).collect();
    let mut it = seen.clone();
    release(&mut it, &all, None).unwrap();
    // Another pod, and the same handle at another time.
    let mut later = all[1].entry.clone();
    later["secondary"]["timestamp"] = json!("later");
    let mut parts = Parts::of(&it).unwrap();
    parts.take(0, &json!({ "handle_id": "H9" }));
    parts.take(1, &later);
    parts.put_into(&mut it);
    let before = it.clone();
    let edited = give_back(&mut it, &all).unwrap();
    assert_eq!((edited.changed.len(), edited.skipped.len()), (0, 2), "{edited:?}");
    assert_eq!(it, before);
    // The very same entry with an older number than was seen: the block is not the one that was looked at.
    let mut other = seen.clone();
    other["spec"]["sequenceNumberForAllocation"]["0"] = json!(5);
    assert_eq!(give_back(&mut other, [&all[0]]).unwrap().skipped.len(), 1);
}

#[test]
fn a_block_that_makes_no_sense_is_left_as_it_is() {
    let mut it = block(&[Some(0), None]);
    let held = held(&it, 0).unwrap();
    it["spec"]["allocations"] = json!([7, null]);
    let before = it.clone();
    assert!(release(&mut it, [&held], None).is_err());
    assert_eq!(it, before);
    it["spec"]["sequenceNumber"] = json!(-1);
    it["spec"]["allocations"] = json!([0, null]);
    assert_eq!(release(&mut it, [&held], None), Err(EditError::Form("sequenceNumber")));
    assert!(release(&mut json!({}), [&held], None).is_err());
}

#[test]
fn blocks_of_old_releases_get_no_field_that_they_lacked() {
    let mut owners = vec![None; 16];
    owners[..2].copy_from_slice(&[Some(0), Some(2)]);
    let mut it = block(&owners);
    it["spec"].as_object_mut().unwrap().remove("sequenceNumberForAllocation");
    let first = held(&it, 0).unwrap();
    assert_eq!(first.sequence, 0);
    release(&mut it, [&first], None).unwrap();
    assert!(it["spec"].get("sequenceNumberForAllocation").is_none());
    is_whole(&it);
}

#[test]
fn a_handle_counts_by_block_and_an_empty_one_is_told() {
    let mut it = json!({ "spec": { "handleID": "h", "block": { "10.1.0.0/28": 2, "fd00::/122": 1 }, "new": 1 } });
    assert_eq!((counted(&it, "10.1.0.0/28"), counted(&it, "10.9.0.0/28")), (2, 0));
    assert!(set_count(&mut it, "10.1.0.0/28", 1));
    assert_eq!(it["spec"]["block"], json!({ "10.1.0.0/28": 1, "fd00::/122": 1 }));
    assert!(set_count(&mut it, "10.1.0.0/28", 0));
    assert!(!set_count(&mut it, "fd00::/122", 0));
    assert_eq!(it["spec"], json!({ "handleID": "h", "block": {}, "new": 1 }));
    assert!(set_count(&mut it, "fd00::/122", 2));
    assert_eq!(handle_name("lb-AbC"), "lb-abc");
    assert!(is_deleted(&json!({ "spec": { "deleted": "true" } })) && !is_deleted(&it));
}
