//! Where a record lies in a bundle: the names that gaps use as well.
//!
//! ```text
//! cluster/<plural>[.<group>][@<n>].json|yaml    a list, or its n-th page
//! cluster/api/<path with - for />.json          a raw GET
//! nodes/<node>/probe.txt                        a probe
//! logs/<namespace>/<pod>/<container>[.previous].log
//! ```

use super::{RecordKey, Resource};

/// Raw GETs whose path cannot be told from its file name alone.
const API_PATHS: [&str; 3] = ["/version", "/openid/v1/jwks", "/apis"];

impl Resource {
    /// The kind that the file `name` (without directory and ending, with `@<n>` cut) holds.
    fn from_stem(stem: &str) -> Self {
        let (plural, group) = stem.split_once('.').unwrap_or((stem, ""));
        Self::new(plural, group)
    }

    /// The bundle path of the whole list.
    pub fn path(&self) -> String {
        format!("cluster/{self}.json")
    }
}

impl RecordKey {
    /// The path in a bundle (of a list's first page).
    pub fn path(&self) -> String {
        match self {
            Self::List(resource) => resource.path(),
            Self::Api(path) => format!("cluster/api/{}.json", api_stem(path)),
            Self::Probe(node) => format!("nodes/{node}/probe.txt"),
            Self::Log { namespace, pod, container, previous } => {
                let suffix = if *previous { ".previous" } else { "" };
                format!("logs/{namespace}/{pod}/{container}{suffix}.log")
            }
        }
    }

    /// What the bundle path `path` holds, and which page of it (0 for a file without `@<n>`); none for a file that is no part of a bundle.
    pub fn from_path(path: &str) -> Option<(Self, u32)> {
        let parts: Vec<&str> = path.split('/').collect();
        match parts.as_slice() {
            ["cluster", file] => {
                let stem = data_stem(file)?;
                let (stem, page) = match stem.split_once('@') {
                    Some((stem, page)) => (stem, page.parse().ok()?),
                    None => (stem, 0),
                };
                (!stem.is_empty()).then(|| (Self::List(Resource::from_stem(stem)), page))
            }
            ["cluster", "api", file] => {
                let stem = data_stem(file)?;
                let known = API_PATHS.iter().find(|known| api_stem(known) == stem);
                let path = known
                    .map_or_else(|| format!("/{}", stem.replace('-', "/")), |it| (*it).to_owned());
                Some((Self::Api(path), 0))
            }
            ["nodes", node, "probe.txt"] => Some((Self::Probe((*node).to_owned()), 0)),
            ["logs", namespace, pod, file] => {
                let container = file.strip_suffix(".log")?;
                let (container, previous) = match container.strip_suffix(".previous") {
                    Some(container) => (container, true),
                    None => (container, false),
                };
                let key = Self::Log {
                    namespace: (*namespace).to_owned(),
                    pod: (*pod).to_owned(),
                    container: container.to_owned(),
                    previous,
                };
                Some((key, 0))
            }
            _ => None,
        }
    }
}

/// File name of a raw GET, without ending.
pub(super) fn api_stem(path: &str) -> String {
    path.trim_matches('/').replace('/', "-")
}

fn data_stem(file: &str) -> Option<&str> {
    [".json", ".yaml", ".yml"].iter().find_map(|ending| file.strip_suffix(ending))
}

/// True when `path` is what the gap's `pattern` speaks of: `*` stands for any text, and a `#…` at its end for a part of the file.
pub fn gap_matches(pattern: &str, path: &str) -> bool {
    let pattern = pattern.split('#').next().unwrap_or(pattern);
    let mut pieces = pattern.split('*');
    let Some(mut rest) = pieces.next().and_then(|head| path.strip_prefix(head)) else {
        return false;
    };
    let mut last = None;
    for piece in pieces {
        if let Some(piece) = last.replace(piece) {
            match rest.find(piece) {
                Some(place) => rest = &rest[place + piece.len()..],
                None => return false,
            }
        }
    }
    match last {
        Some(tail) => rest.ends_with(tail),
        None => rest.is_empty(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_and_paths_belong_together() {
        let log = |previous| RecordKey::Log {
            namespace: "a".to_owned(),
            pod: "b".to_owned(),
            container: "c".to_owned(),
            previous,
        };
        for (key, path) in [
            (RecordKey::List(Resource::new("pods", "")), "cluster/pods.json"),
            (
                RecordKey::List(Resource::new("ippools", "crd.projectcalico.org")),
                "cluster/ippools.crd.projectcalico.org.json",
            ),
            (RecordKey::Api("/openid/v1/jwks".to_owned()), "cluster/api/openid-v1-jwks.json"),
            (RecordKey::Api("/version".to_owned()), "cluster/api/version.json"),
            (RecordKey::Probe("w1.example".to_owned()), "nodes/w1.example/probe.txt"),
            (log(false), "logs/a/b/c.log"),
            (log(true), "logs/a/b/c.previous.log"),
        ] {
            assert_eq!(key.path(), path);
            assert_eq!(RecordKey::from_path(path), Some((key, 0)));
        }
        let page = RecordKey::from_path("cluster/pods@12.yaml");
        assert_eq!(page, Some((RecordKey::List(Resource::new("pods", "")), 12)));
    }

    #[test]
    fn other_files_are_no_part_of_a_bundle() {
        for path in [
            "INCIDENT.md",
            "after/cluster/pods.json",
            "cluster/@1.json",
            "cluster/pods@x.json",
            "nodes/a/b/probe.txt",
            "",
        ] {
            assert_eq!(RecordKey::from_path(path), None, "{path}");
        }
    }

    #[test]
    fn patterns_match() {
        let yes = [
            ("cluster/*.crd.x.json", "cluster/a.crd.x.json"),
            ("a", "a"),
            ("a#b", "a"),
            ("*", "x"),
            ("a*b*c", "a1b2c"),
        ];
        let no = [
            ("cluster/*.crd.x.json", "cluster/a.x.json"),
            ("a", "ab"),
            ("a*b*c", "a1c"),
            ("ab*b", "ab"),
        ];
        for (pattern, path) in yes {
            assert!(gap_matches(pattern, path), "{pattern} {path}");
        }
        for (pattern, path) in no {
            assert!(!gap_matches(pattern, path), "{pattern} {path}");
        }
    }
}
