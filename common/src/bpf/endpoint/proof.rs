//! What one node's test of an endpoint proves, from the text of `node/endpoint.sh`.

use serde::Serialize;

use crate::snapshot::{Gap, GapReason, Known, Section, Sections, parse_probe};

/// How far a test came.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Stage {
    /// The name has no address.
    Name,
    /// No connection is accepted.
    Connection,
    /// Whoever answers has no certificate of the cluster's authority with the endpoint's name.
    Certificate,
    /// Whoever answers does not speak as an API server does.
    Answer,
}

/// What one node's test proves.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NodeProof {
    /// The cluster's API server answers there under a certificate of the cluster's authority with the endpoint's name. With
    /// its version, when it told.
    Proven {
        /// `v1.34.4`
        version: Option<String>,
    },
    /// A connection is accepted; who answers could not be told from there.
    ConnectionOnly {
        /// Why not more.
        why: String,
    },
    /// The endpoint cannot be used from there.
    Failed {
        /// Where it ended.
        stage: Stage,
        /// What was said.
        says: String,
    },
    /// It could not be tested.
    Unknown(Gap),
}

/// Characters of a complaint that are shown.
const EXCERPT: usize = 200;

impl NodeProof {
    /// What the test on `node` proves. It never fails.
    pub fn from_scan(node: &str, body: &[u8]) -> Self {
        let (sections, faults) = parse_probe(body);
        let what = format!("nodes/{node}/endpoint.txt");
        if let Some(fault) = faults.first() {
            return Self::Unknown(Gap::new(what, GapReason::Undecodable, fault.detail()));
        }
        let connection = connection(&sections, &what);
        match identity(&sections) {
            Identity::Proven(version) => Self::Proven { version },
            Identity::Failed(stage, says) => match connection {
                // What kept the connection from being made is the better reason.
                Known::Known(Err((stage, says))) => Self::Failed { stage, says },
                _ => Self::Failed { stage, says },
            },
            Identity::NoMeans(why) => match connection {
                Known::Known(Ok(())) => Self::ConnectionOnly { why },
                Known::Known(Err((stage, says))) => Self::Failed { stage, says },
                Known::Absent => Self::Unknown(Gap::new(what, GapReason::NotAsked, why)),
                Known::Unknown(gap) => Self::Unknown(gap),
            },
        }
    }

    /// Of two tests of one node, from calico-node and from its host. A failure counts, and then what is proven.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        let rank = |it: &Self| match it {
            Self::Failed { .. } => 0,
            Self::Proven { .. } => 1,
            Self::ConnectionOnly { .. } => 2,
            Self::Unknown(_) => 3,
        };
        if rank(&other) < rank(&self) { other } else { self }
    }

    /// Whether nothing speaks against the endpoint. That nobody could be told is no failure, but no proof either.
    pub fn is_accepted(&self) -> bool {
        matches!(self, Self::Proven { .. } | Self::ConnectionOnly { .. })
    }
}

enum Identity {
    Proven(Option<String>),
    Failed(Stage, String),
    NoMeans(String),
}

type Connection = Result<(), (Stage, String)>;

fn connection(sections: &Sections, what: &str) -> Known<Connection> {
    let Some(section) = sections.get("connection") else {
        return Known::Unknown(Gap::new(what, GapReason::Undecodable, "nothing was tested"));
    };
    let text = section.text.to_ascii_lowercase();
    match section.rc {
        0 => Known::Known(Ok(())),
        127 => Known::Unknown(Gap::new(what, GapReason::NotAsked, last_line(section))),
        124 | 137 => Known::Known(Err((Stage::Connection, "no answer within 5 s".to_owned()))),
        _ if is_about_names(&text) => Known::Known(Err((Stage::Name, last_line(section)))),
        _ => Known::Known(Err((Stage::Connection, complaint(section)))),
    }
}

fn is_about_names(text: &str) -> bool {
    ["name or service not known", "name resolution", "not resolve", "no address associated"]
        .iter()
        .any(|it| text.contains(it))
}

fn identity(sections: &Sections) -> Identity {
    let Some(section) = sections.get("identity") else {
        return Identity::NoMeans("nothing was tested".to_owned());
    };
    if section.rc == 127 {
        return Identity::NoMeans(last_line(section));
    }
    let text = section.text.to_ascii_lowercase();
    let about_certificate = [
        "verify error",
        "certificate verify failed",
        "alternative certificate",
        "ssl certificate problem",
        "self-signed",
        "self signed",
    ];
    if section.rc != 0 {
        let stage = if section.rc == 60 || about_certificate.iter().any(|it| text.contains(it)) {
            Stage::Certificate
        } else if is_about_names(&text) {
            Stage::Name
        } else if text.contains("ssl routines") || section.rc == 35 {
            Stage::Answer
        } else {
            Stage::Connection
        };
        return Identity::Failed(stage, complaint(section));
    }
    match version(&section.text) {
        Some(version) => Identity::Proven(Some(version)),
        // Who must log in first proved who is there: the certificate was verified before.
        None if text.contains("\"kind\": \"status\"") || text.contains("\"kind\":\"status\"") => {
            Identity::Proven(None)
        }
        None => Identity::Failed(Stage::Answer, "the answer is not an API server's".to_owned()),
    }
}

/// `"gitVersion": "v1.34.4"`
fn version(text: &str) -> Option<String> {
    let (_, rest) = text.split_once("\"gitVersion\":")?;
    let (_, rest) = rest.split_once('"')?;
    let (version, _) = rest.split_once('"')?;
    let sane = |c: char| c.is_ascii_alphanumeric() || ".-+_".contains(c);
    (version.len() < 64 && version.chars().all(sane)).then(|| version.to_owned())
}

fn last_line(section: &Section) -> String {
    let line = section.text.lines().rfind(|it| !it.trim().is_empty()).unwrap_or("no output");
    line.chars().take(EXCERPT).collect()
}

/// The line that tells most: of openssl's, the one about the certificate.
fn complaint(section: &Section) -> String {
    let telling =
        ["verify error", "curl: (", "onnection refused", "o route to host", "errno", "imed out"];
    let line = section.text.lines().find(|line| telling.iter().any(|it| line.contains(it)));
    // Who asked is no part of the answer.
    let told = |it: &str| it.trim().trim_start_matches("bash: connect: ").to_owned();
    line.map_or_else(|| last_line(section), |it| told(it).chars().take(EXCERPT).collect())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn of(connection: (i32, &str), identity: (i32, &str)) -> NodeProof {
        let section =
            |id: &str, (rc, text): (i32, &str)| format!("@@{id} rc={rc} ms=1\n{text}\n@@end\n");
        let text = section("connection", connection) + &section("identity", identity);
        NodeProof::from_scan("n", text.as_bytes())
    }

    fn stage(proof: &NodeProof) -> Option<Stage> {
        match proof {
            NodeProof::Failed { stage, .. } => Some(*stage),
            _ => None,
        }
    }

    const REFUSED: (i32, &str) = (
        1,
        "bash: connect: Connection refused\nbash: line 1: /dev/tcp/10.0.0.1/6443: Connection refused",
    );
    const NO_MEANS: (i32, &str) = (127, "there is neither curl nor openssl here");

    #[test]
    fn an_api_server_with_the_right_certificate_is_proven() {
        let told = of((0, ""), (0, "means: curl\n{\n  \"gitVersion\": \"v1.34.4\",\n}"));
        assert_eq!(told, NodeProof::Proven { version: Some("v1.34.4".to_owned()) });
        let silent = of(
            (0, ""),
            (
                0,
                "means: openssl\nHTTP/1.0 401 Unauthorized\r\n\r\n{\"kind\":\"Status\",\"code\":401}",
            ),
        );
        assert_eq!(silent, NodeProof::Proven { version: None });
        // A host without bash.
        let host = of((127, "there is no bash here"), (0, "\"gitVersion\": \"v1.34.4\""));
        assert!(matches!(host, NodeProof::Proven { .. }));
    }

    #[test]
    fn a_connection_alone_is_less() {
        assert!(matches!(of((0, ""), NO_MEANS), NodeProof::ConnectionOnly { .. }));
        assert!(matches!(of((127, "no bash"), NO_MEANS), NodeProof::Unknown(_)));
    }

    #[test]
    fn failures_have_a_stage() {
        assert_eq!(stage(&of(REFUSED, NO_MEANS)), Some(Stage::Connection));
        assert_eq!(stage(&of((124, ""), (124, ""))), Some(Stage::Connection));
        let unknown = (
            1,
            "bash: k8s.example: Name or service not known\nbash: line 1: /dev/tcp/k8s.example/6443: Invalid argument",
        );
        assert_eq!(stage(&of(unknown, NO_MEANS)), Some(Stage::Name));
        let mismatch = (
            1,
            "means: openssl\ndepth=0 CN = x\nverify error:num=64:IP address mismatch\n40:error:0A000086:SSL routines:x:certificate verify failed:y:1889:",
        );
        assert_eq!(stage(&of((0, ""), mismatch)), Some(Stage::Certificate));
        let curl = (
            60,
            "means: curl\ncurl: (60) SSL: no alternative certificate subject name matches target host name 'x'\nMore details",
        );
        let NodeProof::Failed { stage, says } = of((0, ""), curl) else { panic!() };
        assert_eq!((stage, says.starts_with("curl: (60)")), (Stage::Certificate, true));
        assert_eq!(
            super::tests::stage(&of((0, ""), (0, "means: curl\n<html>hello"))),
            Some(Stage::Answer)
        );
    }

    #[test]
    fn of_two_tests_a_failure_counts_and_then_the_better_proof() {
        let proven = || NodeProof::Proven { version: None };
        let connection = || NodeProof::ConnectionOnly { why: String::new() };
        let failed = || NodeProof::Failed { stage: Stage::Certificate, says: String::new() };
        assert_eq!(connection().and(proven()), proven());
        assert_eq!(proven().and(failed()), failed());
        assert_eq!(failed().and(proven()), failed());
        assert!(connection().is_accepted() && !failed().is_accepted());
    }

    proptest! {
        #[test]
        fn any_bytes_are_accepted(body in proptest::collection::vec(any::<u8>(), 0..300)) {
            drop(NodeProof::from_scan("n", &body));
        }

        #[test]
        fn any_answer_is_accepted(rc in 0..130, text in "(\"gitVersion\":|\"|v1|curl: \\(|verify error|\n|ñ|@@){0,20}") {
            drop(of((rc, &text), (rc, &text)));
        }
    }
}
