//! Changes of blocks and handles as libcalico-go makes them, on the objects as the API server keeps them: every field that this
//! program does not know stays, and numbers above 2^53 stay what they are.
//!
//! Nothing here is sent. Whoever sends it does so with the resource version that was edited, so that a concurrent writer is met
//! by a conflict, never by a lost address.

use core::net::IpAddr;

use serde_json::{Map, Value, json};

use super::Held;

/// Why an object is left as it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EditError {
    /// It lacks what every block has, or has it in another form.
    #[error("it is no block that this program understands: {0}")]
    Form(&'static str),
}

/// What was done to a block.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Edited {
    /// Addresses that were changed. None: the block is as it was.
    pub changed: Vec<IpAddr>,
    /// Addresses that were so already.
    pub already: Vec<IpAddr>,
    /// Addresses that were left alone, and why.
    pub skipped: Vec<(IpAddr, String)>,
}

/// State of an address, as far as changes depend on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Now<'a> {
    /// Nobody has it.
    Free,
    /// It rests.
    Cooling,
    /// Somebody has it: entry, handle, and the sequence number of then.
    Taken(&'a Value, Option<&'a str>, u64),
}

/// What of a block changes.
#[derive(Debug)]
struct Parts {
    allocations: Vec<Option<usize>>,
    queue: Vec<Value>,
    entries: Vec<Value>,
    sequences: Map<String, Value>,
    sequence: u64,
}

/// The handle of an entry as Calico compares it: conversions from host-local left `\r\n` and more behind some.
pub fn handle_of(entry: &Value) -> Option<&str> {
    let id = entry.get("handle_id")?.as_str()?;
    id.split('\r').next().filter(|it| !it.is_empty())
}

/// True when the object is as good as deleted. Handles and blocks of old releases say it in text.
pub fn is_deleted(object: &Value) -> bool {
    match object.pointer("/spec/deleted") {
        Some(Value::Bool(is)) => *is,
        Some(Value::String(text)) => text.eq_ignore_ascii_case("true"),
        _ => false,
    }
}

impl Parts {
    fn of(block: &Value) -> Result<Self, EditError> {
        let spec = block.get("spec").ok_or(EditError::Form("no spec"))?;
        let list = |name: &'static str| match spec.get(name) {
            Some(Value::Array(all)) => Ok(all.clone()),
            None | Some(Value::Null) => Ok(Vec::new()),
            Some(_) => Err(EditError::Form(name)),
        };
        let entries = list("attributes")?;
        let place = |it: &Value| match it {
            Value::Null => Ok(None),
            it => {
                let place = it.as_u64().and_then(|it| usize::try_from(it).ok());
                let place = place.filter(|it| *it < entries.len());
                place.map(Some).ok_or(EditError::Form("an allocation refers to no attribute"))
            }
        };
        let allocations = list("allocations")?.iter().map(place).collect::<Result<_, _>>()?;
        let sequences = match spec.get("sequenceNumberForAllocation") {
            Some(Value::Object(all)) => all.clone(),
            None | Some(Value::Null) => Map::new(),
            Some(_) => return Err(EditError::Form("sequenceNumberForAllocation")),
        };
        let sequence = match spec.get("sequenceNumber") {
            None | Some(Value::Null) => 0,
            Some(it) => it.as_u64().ok_or(EditError::Form("sequenceNumber"))?,
        };
        Ok(Self { allocations, queue: list("unallocated")?, entries, sequences, sequence })
    }

    /// What it is now; none for an ordinal that the block does not have.
    fn now(&self, ordinal: usize) -> Option<Now<'_>> {
        let Some(place) = *self.allocations.get(ordinal)? else { return Some(Now::Free) };
        let entry = self.entries.get(place)?;
        if entry.get("releasedAt").is_some_and(|it| !it.is_null()) {
            return Some(Now::Cooling);
        }
        let sequence = self.sequences.get(&ordinal.to_string());
        let sequence = sequence.and_then(Value::as_u64).unwrap_or_default();
        Some(Now::Taken(entry, handle_of(entry), sequence))
    }

    /// Puts the parts back: entries that nobody refers to go, and the sequence number grows, as with every write.
    fn put_into(mut self, block: &mut Value) {
        self.compact();
        let Some(spec) = block.get_mut("spec").and_then(Value::as_object_mut) else { return };
        spec.insert("allocations".to_owned(), json!(self.allocations));
        spec.insert("unallocated".to_owned(), Value::Array(self.queue));
        spec.insert("attributes".to_owned(), Value::Array(self.entries));
        // Blocks of old releases have none, and must not get an empty one.
        if !self.sequences.is_empty() || spec.contains_key("sequenceNumberForAllocation") {
            let sequences = Value::Object(self.sequences);
            spec.insert("sequenceNumberForAllocation".to_owned(), sequences);
        }
        spec.insert("sequenceNumber".to_owned(), json!(self.sequence.saturating_add(1)));
    }

    fn compact(&mut self) {
        let referred = |place: usize| self.allocations.contains(&Some(place));
        let mut next = 0;
        let mut places = Vec::new();
        for place in 0..self.entries.len() {
            let is_kept = referred(place);
            places.push(is_kept.then_some(next));
            next += usize::from(is_kept);
        }
        let is_kept = |place: usize| places.get(place).is_some_and(Option::is_some);
        let entries = core::mem::take(&mut self.entries).into_iter().enumerate();
        self.entries = entries.filter(|(place, _)| is_kept(*place)).map(|it| it.1).collect();
        for place in self.allocations.iter_mut().flatten() {
            *place = places.get(*place).copied().flatten().unwrap_or_default();
        }
    }

    /// An address that nobody has any more goes behind all that are free, so that it is not given out again at once.
    fn free(&mut self, ordinal: usize) {
        if let Some(it) = self.allocations.get_mut(ordinal) {
            *it = None;
        }
        let number = json!(ordinal);
        if !self.queue.contains(&number) {
            self.queue.push(number);
        }
        self.sequences.remove(&ordinal.to_string());
    }

    fn take(&mut self, ordinal: usize, entry: &Value) {
        let place = self.entries.iter().position(|it| it == entry).unwrap_or_else(|| {
            self.entries.push(entry.clone());
            self.entries.len() - 1
        });
        if let Some(it) = self.allocations.get_mut(ordinal) {
            *it = Some(place);
        }
        let number = json!(ordinal);
        self.queue.retain(|it| *it != number);
        self.sequences.insert(ordinal.to_string(), json!(self.sequence));
    }
}

/// The entry of who has the address, whole; none when it is free or the object is no block.
pub fn entry(block: &Value, ordinal: usize) -> Option<Value> {
    match Parts::of(block).ok()?.now(ordinal)? {
        Now::Taken(entry, ..) => Some(entry.clone()),
        Now::Free | Now::Cooling => None,
    }
}

/// Whether the address is still held as it was seen.
///
/// # Errors
/// When the object is no block.
pub fn is_held(block: &Value, held: &Held) -> Result<bool, EditError> {
    let parts = Parts::of(block)?;
    Ok(matches!(parts.now(held.ordinal), Some(Now::Taken(_, handle, sequence))
        if handle == held.handle.as_deref() && sequence == held.sequence))
}

/// Takes addresses from those who held them. One that has another owner by now is left alone, and the others go. With
/// `resting` they rest from that time on, as clusters with a cooldown want it.
///
/// # Errors
/// When the object is no block; it is as it was then.
pub fn release<'a>(
    block: &mut Value,
    held: impl IntoIterator<Item = &'a Held>,
    resting: Option<&str>,
) -> Result<Edited, EditError> {
    let mut parts = Parts::of(block)?;
    let mut edited = Edited::default();
    let mut rest = None;
    for it in held {
        match parts.now(it.ordinal) {
            Some(Now::Free | Now::Cooling) => edited.already.push(it.address),
            Some(Now::Taken(_, handle, _)) if handle != it.handle.as_deref() => {
                let why = "it has another owner by now".to_owned();
                edited.skipped.push((it.address, why));
            }
            Some(Now::Taken(_, _, sequence)) if sequence != it.sequence => {
                let why = "its owner took it anew since".to_owned();
                edited.skipped.push((it.address, why));
            }
            Some(Now::Taken(..)) => {
                edited.changed.push(it.address);
                let Some(at) = resting else {
                    parts.free(it.ordinal);
                    continue;
                };
                let place = *rest.get_or_insert_with(|| {
                    parts.entries.push(json!({ "releasedAt": at }));
                    parts.entries.len() - 1
                });
                if let Some(allocation) = parts.allocations.get_mut(it.ordinal) {
                    *allocation = Some(place);
                }
                parts.sequences.insert(it.ordinal.to_string(), json!(parts.sequence));
            }
            None => edited.skipped.push((it.address, "the block has no such address".to_owned())),
        }
    }
    if !edited.changed.is_empty() {
        parts.put_into(block);
    }
    Ok(edited)
}

/// Gives addresses back to those who held them. One that somebody else took since is left alone.
///
/// # Errors
/// When the object is no block; it is as it was then.
pub fn give_back<'a>(
    block: &mut Value,
    held: impl IntoIterator<Item = &'a Held>,
) -> Result<Edited, EditError> {
    let mut parts = Parts::of(block)?;
    let mut edited = Edited::default();
    for it in held {
        match parts.now(it.ordinal) {
            Some(Now::Free | Now::Cooling) => {
                edited.changed.push(it.address);
                parts.take(it.ordinal, &it.entry);
            }
            // The same owner, word for word, with the time: it never lost it, or was given it back.
            Some(Now::Taken(entry, _, sequence))
                if *entry == it.entry && sequence >= it.sequence =>
            {
                edited.already.push(it.address);
            }
            Some(Now::Taken(..)) => {
                edited.skipped.push((it.address, "it was given out again since".to_owned()));
            }
            None => edited.skipped.push((it.address, "the block has no such address".to_owned())),
        }
    }
    if !edited.changed.is_empty() {
        parts.put_into(block);
    }
    Ok(edited)
}

/// How many addresses of a block are held under a handle. Those that rest are nobody's.
///
/// # Errors
/// When the object is no block.
pub fn held_under(block: &Value, handle: &str) -> Result<i64, EditError> {
    let parts = Parts::of(block)?;
    let is_its = |ordinal: &usize| matches!(parts.now(*ordinal), Some(Now::Taken(_, Some(it), _)) if it == handle);
    let count = (0..parts.allocations.len()).filter(is_its).count();
    Ok(i64::try_from(count).unwrap_or(i64::MAX))
}

/// How many addresses of a block a handle counts.
pub fn counted(handle: &Value, cidr: &str) -> i64 {
    let count = handle.pointer("/spec/block").and_then(|it| it.get(cidr));
    count.and_then(Value::as_i64).unwrap_or_default()
}

/// Sets what a handle counts of a block. Blocks without an address are dropped. False when nothing is left: such a handle is
/// to be deleted.
pub fn set_count(handle: &mut Value, cidr: &str, count: i64) -> bool {
    let Some(spec) = handle.get_mut("spec").and_then(Value::as_object_mut) else { return false };
    let blocks = spec.entry("block").or_insert_with(|| json!({}));
    if !blocks.is_object() {
        *blocks = json!({});
    }
    let Some(blocks) = blocks.as_object_mut() else { return false };
    blocks.insert(cidr.to_owned(), json!(count));
    blocks.retain(|_, count| count.as_i64() != Some(0));
    !blocks.is_empty()
}

/// Name of a handle's object.
pub fn handle_name(id: &str) -> String {
    id.to_lowercase()
}

#[cfg(test)]
#[path = "edit_tests.rs"]
mod tests;
