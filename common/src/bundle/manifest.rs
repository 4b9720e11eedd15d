//! `bundle.yaml`: when and from what a bundle was made, what it lacks, how much each file covers.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::snapshot::{Extent, Form, Gap, GapReason};

/// Name of the file.
pub const MANIFEST: &str = "bundle.yaml";
/// The version that is read and written.
pub const API_VERSION: &str = "kubectl-calico/v1";
/// The kind.
pub const KIND: &str = "Bundle";

/// The contents of `bundle.yaml`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Manifest {
    /// [`API_VERSION`].
    pub api_version: String,
    /// [`KIND`].
    pub kind: String,
    /// When the observation ended: the only clock of checks.
    pub created_at: Option<Timestamp>,
    /// `gitVersion` of the API server.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub server_version: Option<String>,
    /// Version of the program that wrote it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tool_version: Option<String>,
    /// What could not be had.
    pub gaps: Vec<WrittenGap>,
    /// How much each file covers; a file that is not named here is full and complete.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub files: BTreeMap<String, FileEntry>,
}

/// What a file covers, and when it came.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct FileEntry {
    /// The selector that was sent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub selector: Option<String>,
    /// How the objects were asked for.
    pub form: Form,
    /// `resourceVersion` of the list.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub resource_version: Option<String>,
    /// When the answer came.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub at: Option<Timestamp>,
    /// False when the answer was cut short; absent means true.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub complete: Option<bool>,
}

impl FileEntry {
    /// The extent of a record that the file holds.
    pub fn extent(&self) -> Extent {
        Extent {
            selector: self.selector.clone(),
            form: self.form,
            resource_version: self.resource_version.clone(),
            complete: self.complete.unwrap_or(true),
        }
    }

    /// The entry of a record.
    pub fn of(extent: &Extent, at: Timestamp) -> Self {
        Self {
            selector: extent.selector.clone(),
            form: extent.form,
            resource_version: extent.resource_version.clone(),
            at: Some(at),
            complete: Some(extent.complete),
        }
    }
}

/// A gap as it is written, by us or by hand.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct WrittenGap {
    /// What is missing: a path, `*` stands for any text.
    #[serde(alias = "path")]
    pub what: String,
    /// The class of the reason; an unknown one is kept as it is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub why: Option<GapReason>,
    /// The reason in words.
    #[serde(alias = "reason")]
    pub detail: String,
}

impl From<Gap> for WrittenGap {
    fn from(gap: Gap) -> Self {
        Self { what: gap.what, why: Some(gap.why), detail: gap.detail }
    }
}

impl From<WrittenGap> for Gap {
    fn from(gap: WrittenGap) -> Self {
        // `host/<node>` is what people write for a node that could not be reached.
        let what = match gap.what.strip_prefix("host/") {
            Some(node) => format!("nodes/{node}/probe.txt"),
            None => gap.what,
        };
        let why = gap.why.unwrap_or_else(|| guess(&gap.detail));
        Self { what, why, detail: gap.detail }
    }
}

/// The class of a reason that was written by hand, from the words that kubectl and API servers use.
fn guess(detail: &str) -> GapReason {
    let detail = detail.to_ascii_lowercase();
    let says = |words: &[&str]| words.iter().any(|word| detail.contains(word));
    if says(&[
        "serves no",
        "doesn't have a resource type",
        "could not find the requested resource",
        "no matches for kind",
    ]) {
        GapReason::NotServed
    } else if says(&["forbidden", "unauthorized"]) {
        GapReason::Forbidden
    } else if says(&["timed out", "timeout", "deadline exceeded"]) {
        GapReason::TimedOut
    } else if says(&["refused", "no route", "unreachable", "is down", "nothing answers"]) {
        GapReason::Unreachable
    } else {
        GapReason::Other("Unspecified".to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gaps_written_by_hand_are_read() {
        let text = "apiVersion: kubectl-calico/v1\nkind: Bundle\ncreatedAt: 2026-11-21T12:00:00Z\ngaps:\n\
                    - {path: host/n3, reason: node n3 is down}\n- {what: cluster/a.json, why: Forbidden, detail: no}\n\
                    - {what: b, why: Stolen}\n- {path: cluster/*.x.json, reason: the API server serves no resource of x}\n\
                    files:\n  cluster/pods.json: {selector: a=b, form: metadata}\n";
        let manifest: Manifest = crate::yaml::from_str(text).unwrap();
        let gaps: Vec<Gap> = manifest.gaps.into_iter().map(Gap::from).collect();
        assert_eq!(
            gaps[0],
            Gap::new("nodes/n3/probe.txt", GapReason::Unreachable, "node n3 is down")
        );
        assert_eq!(gaps[1], Gap::new("cluster/a.json", GapReason::Forbidden, "no"));
        assert_eq!(gaps[2].why, GapReason::Other("Stolen".to_owned()));
        assert_eq!(gaps[3].why, GapReason::NotServed);
        let extent = manifest.files["cluster/pods.json"].extent();
        assert!(
            extent.complete
                && extent.form == Form::Metadata
                && extent.selector.as_deref() == Some("a=b")
        );
    }

    #[test]
    fn what_is_written_is_read() {
        let before = Manifest {
            api_version: API_VERSION.to_owned(),
            kind: KIND.to_owned(),
            created_at: "2026-11-21T12:00:00.123456789Z".parse().ok(),
            gaps: vec![Gap::new("a", GapReason::Other("On".to_owned()), "yes").into()],
            files: [("b".to_owned(), FileEntry::default())].into(),
            ..Manifest::default()
        };
        let after: Manifest =
            crate::yaml::from_str(&crate::yaml::to_string(&before).unwrap()).unwrap();
        assert_eq!(before, after);
    }
}
