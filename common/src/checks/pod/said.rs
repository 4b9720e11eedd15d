//! What the kubelet says of pods that hang now, for checks whose fault shows in nothing else.

use std::collections::{BTreeMap, BTreeSet};

use super::hanging::{Hanging, hanging, is_young};
use super::kubelet_text::{TextCause, essence};
use crate::checks::Context;
use crate::findings::Evidence;

/// Different texts that are quoted.
const QUOTED: usize = 3;

/// By node, the pods that hang for a cause that `is_it` picks. Pods that have had one attempt are left out: it may have
/// been a hiccup, which their own check says.
pub(in crate::checks) fn said<'a>(
    context: &Context<'a>,
    is_it: impl Fn(&TextCause) -> bool,
) -> BTreeMap<&'a str, Vec<Hanging<'a>>> {
    let mut said: BTreeMap<&str, Vec<Hanging<'_>>> = BTreeMap::new();
    for one in hanging(context).into_iter().filter(|one| is_it(&one.cause)) {
        if !is_young(context, &one) {
            said.entry(one.pod.spec.node_name.as_str()).or_default().push(one);
        }
    }
    said
}

/// The first few different texts, each once, whether it is about starting or about stopping.
pub(in crate::checks) fn quote<'a>(
    texts: impl IntoIterator<Item = &'a Hanging<'a>>,
) -> Vec<Evidence> {
    let mut seen = BTreeSet::new();
    let mut quoted = Vec::new();
    for one in texts {
        let text = essence(&one.event.message);
        if seen.insert(text.replace("(add)", "").replace("(delete)", "")) {
            let (node, reason) = (&one.pod.spec.node_name, &one.event.reason);
            quoted.push(Evidence::new(
                format!("{node}: event {reason} {}", one.pod.full_name()),
                text,
            ));
        }
        if quoted.len() == QUOTED {
            break;
        }
    }
    quoted
}

/// `n1`, or `3 nodes`.
pub(in crate::checks) fn place(nodes: &[&str]) -> String {
    match nodes {
        [one] => (*one).to_owned(),
        many => format!("{} nodes", many.len()),
    }
}
