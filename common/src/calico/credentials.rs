//! Whether the living cluster accepts the CNI plugin's credentials, judged without ever holding them.

use std::collections::BTreeSet;
use std::fmt;

use jiff::Timestamp;
use serde::Serialize;

use crate::snapshot::{CniKubeconfig, Gap, GapReason, Known};

/// What the living cluster would accept.
#[derive(Clone, Debug)]
pub struct ClusterCredentials {
    /// The cluster's CA: ConfigMap kube-root-ca.crt.
    pub root_ca: Known<RootCa>,
    /// `uid` of the ServiceAccount that the token should be of; absent when there is no such ServiceAccount.
    pub service_account_uid: Known<String>,
    /// Ids of the keys that the API server verifies tokens with.
    pub key_ids: Known<BTreeSet<String>>,
}

/// The cluster's CA, by hashes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RootCa {
    /// SHA-256, in hex, of the PEM text with its final newline.
    pub sha256: String,
    /// The same of each certificate alone: while a CA is rotated the text holds the old and the new one, and a file with either
    /// may still be good.
    pub certificates: BTreeSet<String>,
}

impl RootCa {
    /// Hashes a PEM text with `hash`.
    pub fn of(pem: &str, hash: impl Fn(&[u8]) -> String) -> Self {
        const END: &str = "-----END CERTIFICATE-----";
        let certificates = pem
            .split_inclusive(END)
            .filter_map(|part| part.find("-----BEGIN").and_then(|from| part.get(from..)))
            .map(|one| hash(one.as_bytes()))
            .collect();
        Self { sha256: hash(pem.as_bytes()), certificates }
    }

    /// True when a file whose CA has this hash trusts the cluster.
    pub fn is(&self, sha256: &str) -> bool {
        self.sha256 == sha256 || self.certificates.contains(sha256)
    }
}

/// Why the API server refuses the credentials of a node. The order is the order in which they are looked for: an
/// earlier one makes the later ones meaningless.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case", tag = "kind")]
pub enum Refusal {
    /// The file trusts another CA than the cluster's: the control plane was re-initialised.
    CaDiffers {
        /// Hash of the CA in the file.
        file: String,
        /// Hash of the cluster's CA.
        cluster: String,
    },
    /// The token was issued for a ServiceAccount that was deleted since.
    ServiceAccountRecreated {
        /// `uid` in the token.
        token: String,
        /// `uid` of the ServiceAccount that has the name now; none when there is none.
        live: Option<String>,
    },
    /// The token's time is over.
    Expired {
        /// When it ended.
        at: Timestamp,
    },
    /// The API server no longer knows the key that signed the token.
    SigningKeyChanged {
        /// `kid` in the token.
        token: String,
        /// The keys it knows.
        live: BTreeSet<String>,
    },
}

/// The facts that speak against the credentials, ids shortened to what an eye compares.
impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::CaDiffers { file, cluster } => {
                write!(f, "CA {} ≠ the cluster's CA {}", short(file), short(cluster))
            }
            Self::ServiceAccountRecreated { token, live: Some(live) } => {
                write!(f, "token uid {} ≠ live uid {}", short(token), short(live))
            }
            Self::ServiceAccountRecreated { token, live: None } => {
                write!(f, "token uid {}, no such ServiceAccount", short(token))
            }
            Self::Expired { at } => write!(f, "token expired at {}", at.strftime("%F %T UTC")),
            Self::SigningKeyChanged { token, live } => {
                let live: Vec<_> = live.iter().map(|key| short(key)).collect();
                let live = live.join(" ");
                write!(f, "token key {} is not among the server's: {live}", short(token))
            }
        }
    }
}

/// The first eight characters are enough to tell ids apart by eye.
pub(crate) fn short(id: &str) -> String {
    let start: String = id.chars().take(8).collect();
    if start.len() < id.len() { format!("{start}…") } else { start }
}

/// Why the API server refuses these credentials: `Absent` when nothing speaks against them, unknown when a reason
/// could not be excluded. A reason that is certain is given even when others are unknown.
pub fn refusal(
    file: &CniKubeconfig,
    cluster: &ClusterCredentials,
    now: Timestamp,
) -> Known<Refusal> {
    let token = &file.token;
    let answers = [
        ca_differs(&file.ca_sha256, &cluster.root_ca),
        service_account_recreated(
            &token
                .as_ref()
                .and_then(|it| of_claim(it.service_account_uid.clone(), "serviceaccount.uid")),
            &cluster.service_account_uid,
        ),
        expired(token.as_ref().and_then(|it| of_claim(it.expires_at, "exp")), now),
        signing_key_changed(
            &token.as_ref().and_then(|it| of_claim(it.key_id.clone(), "kid")),
            &cluster.key_ids,
        ),
    ];
    let mut unknown = None;
    for answer in answers {
        match answer {
            Known::Known(refusal) => return Known::Known(refusal),
            Known::Unknown(gap) => unknown = unknown.or(Some(gap)),
            Known::Absent => {}
        }
    }
    unknown.map_or(Known::Absent, Known::Unknown)
}

fn ca_differs(file: &Known<String>, cluster: &Known<RootCa>) -> Known<Refusal> {
    both(file, cluster, "certificate authority").and_then(|(file, cluster)| {
        Known::from_option(
            (!cluster.is(&file)).then_some(Refusal::CaDiffers { file, cluster: cluster.sha256 }),
        )
    })
}

fn service_account_recreated(token: &Known<String>, live: &Known<String>) -> Known<Refusal> {
    if let (Known::Known(token), Known::Absent) = (token, live) {
        return Known::Known(Refusal::ServiceAccountRecreated { token: token.clone(), live: None });
    }
    both(token, live, "ServiceAccount uid").and_then(|(token, live)| {
        let differs = token != live;
        Known::from_option(
            differs.then_some(Refusal::ServiceAccountRecreated { token, live: Some(live) }),
        )
    })
}

fn expired(expires_at: Known<Timestamp>, now: Timestamp) -> Known<Refusal> {
    match expires_at {
        Known::Known(at) => Known::from_option((at <= now).then_some(Refusal::Expired { at })),
        Known::Absent => Known::Unknown(lacks("exp")),
        Known::Unknown(gap) => Known::Unknown(gap),
    }
}

fn signing_key_changed(token: &Known<String>, live: &Known<BTreeSet<String>>) -> Known<Refusal> {
    both(token, live, "signing key").and_then(|(token, live)| {
        Known::from_option(
            (!live.contains(&token)).then_some(Refusal::SigningKeyChanged { token, live }),
        )
    })
}

/// Both facts, or the gap of the first that is missing. An absent one proves nothing here.
fn both<A: Clone, B: Clone>(a: &Known<A>, b: &Known<B>, what: &str) -> Known<(A, B)> {
    match (a, b) {
        (Known::Known(a), Known::Known(b)) => Known::Known((a.clone(), b.clone())),
        (Known::Unknown(gap), _) | (_, Known::Unknown(gap)) => Known::Unknown(gap.clone()),
        _ => Known::Unknown(lacks(what)),
    }
}

/// A claim that the token may lack. A token without it proves nothing about it.
fn of_claim<T>(claim: Option<T>, name: &str) -> Known<T> {
    claim.map_or_else(|| Known::Unknown(lacks(name)), Known::Known)
}

fn lacks(what: &str) -> Gap {
    Gap::new("calico-kubeconfig", GapReason::Undecodable, format!("no {what} to compare"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::snapshot::TokenFacts;

    const NOW: i64 = 1_800_000_000;

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_second(NOW + seconds).unwrap()
    }

    fn file() -> CniKubeconfig {
        CniKubeconfig {
            server: Known::Known("https://10.96.0.1:443".into()),
            ca_sha256: Known::Known("aa".into()),
            token: Known::Known(TokenFacts {
                key_id: Some("k1".into()),
                service_account_uid: Some("u1".into()),
                expires_at: Some(at(3600)),
                ..TokenFacts::default()
            }),
        }
    }

    fn ca(sha256: &str) -> Known<RootCa> {
        Known::Known(RootCa { sha256: sha256.into(), certificates: BTreeSet::new() })
    }

    fn cluster() -> ClusterCredentials {
        ClusterCredentials {
            root_ca: ca("aa"),
            service_account_uid: Known::Known("u1".into()),
            key_ids: Known::Known(BTreeSet::from(["k1".to_owned()])),
        }
    }

    fn gap() -> Gap {
        Gap::new("x", GapReason::Forbidden, "no")
    }

    #[test]
    fn good_credentials_are_not_refused() {
        assert_eq!(refusal(&file(), &cluster(), at(0)), Known::Absent);
    }

    #[test]
    fn each_cause_is_told_apart() {
        let other_ca = ClusterCredentials { root_ca: ca("bb"), ..cluster() };
        assert!(matches!(
            refusal(&file(), &other_ca, at(0)),
            Known::Known(Refusal::CaDiffers { .. })
        ));
        let other_account =
            ClusterCredentials { service_account_uid: Known::Known("u2".into()), ..cluster() };
        assert!(matches!(
            refusal(&file(), &other_account, at(0)),
            Known::Known(Refusal::ServiceAccountRecreated { live: Some(_), .. })
        ));
        let no_account = ClusterCredentials { service_account_uid: Known::Absent, ..cluster() };
        assert!(matches!(
            refusal(&file(), &no_account, at(0)),
            Known::Known(Refusal::ServiceAccountRecreated { live: None, .. })
        ));
        assert!(matches!(
            refusal(&file(), &cluster(), at(3600)),
            Known::Known(Refusal::Expired { .. })
        ));
        let other_key = ClusterCredentials {
            key_ids: Known::Known(BTreeSet::from(["k2".to_owned()])),
            ..cluster()
        };
        assert!(matches!(
            refusal(&file(), &other_key, at(0)),
            Known::Known(Refusal::SigningKeyChanged { .. })
        ));
    }

    /// While a CA is rotated, kube-root-ca.crt holds both; a node that still has the old one alone is no fault.
    #[test]
    fn a_ca_under_rotation_refuses_nobody() {
        let [old, new] = ["old", "new"].map(|body| {
            format!("-----BEGIN CERTIFICATE-----\n{body}\n-----END CERTIFICATE-----\n")
        });
        let hash = |pem: &[u8]| String::from_utf8_lossy(pem).trim().to_owned();
        let cluster = ClusterCredentials {
            root_ca: Known::Known(RootCa::of(&format!("{old}{new}"), hash)),
            ..cluster()
        };
        for one in [&old, &new] {
            let file = CniKubeconfig { ca_sha256: Known::Known(hash(one.as_bytes())), ..file() };
            assert_eq!(refusal(&file, &cluster, at(0)), Known::Absent);
        }
        let other = CniKubeconfig { ca_sha256: Known::Known("other".into()), ..file() };
        assert!(matches!(
            refusal(&other, &cluster, at(0)),
            Known::Known(Refusal::CaDiffers { .. })
        ));
    }

    #[test]
    fn the_ca_comes_first() {
        let all = ClusterCredentials {
            root_ca: ca("bb"),
            service_account_uid: Known::Known("u2".into()),
            key_ids: Known::Known(BTreeSet::new()),
        };
        assert!(matches!(
            refusal(&file(), &all, at(9999)),
            Known::Known(Refusal::CaDiffers { .. })
        ));
    }

    #[test]
    fn what_is_unknown_is_never_accepted() {
        for cluster in [
            ClusterCredentials { root_ca: Known::Unknown(gap()), ..cluster() },
            ClusterCredentials { service_account_uid: Known::Unknown(gap()), ..cluster() },
            ClusterCredentials { key_ids: Known::Unknown(gap()), ..cluster() },
        ] {
            assert!(matches!(refusal(&file(), &cluster, at(0)), Known::Unknown(_)));
            // A certain reason is given all the same.
            assert!(matches!(
                refusal(&file(), &cluster, at(7200)),
                Known::Known(Refusal::Expired { .. })
            ));
        }
        let opaque = CniKubeconfig { token: Known::Absent, ..file() };
        assert!(matches!(refusal(&opaque, &cluster(), at(0)), Known::Unknown(_)));
        let bare = CniKubeconfig { token: Known::Known(TokenFacts::default()), ..file() };
        assert!(matches!(refusal(&bare, &cluster(), at(0)), Known::Unknown(_)));
    }
}
