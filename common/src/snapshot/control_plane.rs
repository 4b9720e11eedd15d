//! Reads what a host shows of the control plane: static pods, certificates, processes, ports, the end of logs.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::tz::TimeZone;
use serde::Serialize;

use super::{FileEntry, Known, ls};

/// What a host shows of the control plane. On a worker all of it is absent or empty.
#[derive(Clone, Debug, Serialize)]
pub struct ControlPlane {
    /// Files of `/etc/kubernetes/manifests`; absent when there is no such directory.
    pub manifests: Known<Vec<FileEntry>>,
    /// Flags of the static pods of the API server and etcd that say which files and ports they use, e.g. `secure-port`.
    pub flags: BTreeMap<String, String>,
    /// Certificates of the control plane and of the kubelet, sorted by file.
    pub certificates: Known<Vec<Certificate>>,
    /// Programs of the control plane that run: `kube-apiserver`, `etcd`, …
    pub processes: Known<BTreeSet<String>>,
    /// Ports out of 6443, 2379, 2380 and 10250 that something listens on.
    pub listening: Known<BTreeSet<u16>>,
    /// The end of the newest log per container, by file.
    pub logs: BTreeMap<String, Vec<String>>,
}

/// A certificate, without its key.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Certificate {
    /// Its file.
    pub file: String,
    /// Whom it names, as openssl writes it.
    pub subject: String,
    /// Who signed it.
    pub issuer: String,
    /// When it begins to hold.
    pub not_before: Option<Timestamp>,
    /// When it stops to hold.
    pub not_after: Option<Timestamp>,
}

/// Static pods that a control plane has.
pub const STATIC_PODS: [&str; 4] =
    ["etcd", "kube-apiserver", "kube-controller-manager", "kube-scheduler"];

impl ControlPlane {
    /// True when this host has, or had, a part of the control plane that kubeadm makes.
    pub fn is_member(&self) -> bool {
        let has_manifest = STATIC_PODS.iter().any(|name| self.has_manifest(name) == Some(true));
        let certificates = self.certificates.known();
        let has_certificate = certificates.is_some_and(|all| {
            let of_server = |it: &Certificate| it.file.starts_with("/etc/kubernetes/pki/apiserver");
            all.iter().any(of_server)
        });
        has_manifest || has_certificate || !self.logs.is_empty() || self.runs("kube-apiserver")
    }

    /// Whether there is a static pod called so; none when that is not known.
    pub fn has_manifest(&self, name: &str) -> Option<bool> {
        match &self.manifests {
            Known::Known(files) => Some(files.iter().any(|file| {
                let stem = file.name.strip_suffix(".yaml").or(file.name.strip_suffix(".yml"));
                stem.or(file.name.strip_suffix(".json")) == Some(name) && file.size > 0
            })),
            Known::Absent => Some(false),
            Known::Unknown(_) => None,
        }
    }

    /// True when a process of this name was seen.
    pub fn runs(&self, name: &str) -> bool {
        self.processes.known().is_some_and(|all| all.contains(name))
    }

    /// The end of the newest log of `container`, and its file.
    pub fn log(&self, container: &str) -> Option<(&str, &[String])> {
        let inside = format!("/{container}/");
        let found = self.logs.iter().find(|(file, _)| file.contains(&inside))?;
        Some((found.0, found.1))
    }
}

/// Splits what section `ls-manifests` holds: the listing, and the flags of the static pods after it.
pub(super) fn manifests(text: &str) -> (Vec<FileEntry>, BTreeMap<String, String>) {
    let flags = text.lines().filter_map(|line| line.strip_prefix("--")?.split_once('='));
    let flags = flags.map(|(key, value)| (key.to_owned(), value.to_owned()));
    (ls::parse(text), flags.collect())
}

/// Blocks of `file=…` with what openssl printed.
pub(super) fn certificates(text: &str) -> Vec<Certificate> {
    let mut all: Vec<Certificate> = Vec::new();
    for line in text.lines() {
        let Some((key, value)) = line.split_once('=') else { continue };
        let value = value.trim();
        if key == "file" {
            all.push(Certificate { file: value.to_owned(), ..Certificate::default() });
            continue;
        }
        let Some(certificate) = all.last_mut() else { continue };
        match key {
            "subject" => value.clone_into(&mut certificate.subject),
            "issuer" => value.clone_into(&mut certificate.issuer),
            "notBefore" => certificate.not_before = openssl_date(value),
            "notAfter" => certificate.not_after = openssl_date(value),
            _ => {}
        }
    }
    all.sort_by(|a, b| a.file.cmp(&b.file));
    all
}

/// `Nov  3 12:00:00 2027 GMT`
fn openssl_date(text: &str) -> Option<Timestamp> {
    let words: Vec<&str> = text.split_whitespace().collect();
    let [month, day, time, year, "GMT"] = words.as_slice() else { return None };
    let date = DateTime::strptime("%b %d %H:%M:%S %Y", format!("{month} {day} {time} {year}"));
    Some(date.ok()?.to_zoned(TimeZone::UTC).ok()?.timestamp())
}

/// Lines `<pid> <name>`.
pub(super) fn processes(text: &str) -> BTreeSet<String> {
    text.lines().filter_map(|line| line.split_once(' ')).map(|(_, name)| name.to_owned()).collect()
}

/// Ports of listening sockets, from lines of /proc/net/tcp.
pub(super) fn listening(text: &str) -> BTreeSet<u16> {
    let port = |line: &str| {
        let (_, port) = line.split_whitespace().nth(1)?.rsplit_once(':')?;
        u16::from_str_radix(port, 16).ok()
    };
    text.lines().filter_map(port).collect()
}

/// The lines of each log, by file; a line `# <file>` stands before them.
pub(super) fn logs(text: &str) -> BTreeMap<String, Vec<String>> {
    let mut all: BTreeMap<String, Vec<String>> = BTreeMap::new();
    let mut current = None;
    for line in text.lines() {
        if let Some(file) = line.strip_prefix("# /var/log/pods/") {
            current = Some(all.entry(format!("/var/log/pods/{file}")).or_default());
        } else if let Some(lines) = &mut current {
            lines.push(line.to_owned());
        }
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn certificates_are_read() {
        let text = "file=/etc/kubernetes/pki/etcd/server.crt\nsubject=CN = node1\nissuer=CN = etcd-ca\nnotBefore=Nov 21 11:00:00 2025 GMT\nnotAfter=Nov  3 12:00:00 2027 GMT\n\
                    file=/etc/kubernetes/pki/apiserver.crt\nunable to load certificate\n";
        let all = certificates(text);
        assert_eq!(all[0].file, "/etc/kubernetes/pki/apiserver.crt");
        assert_eq!((all[0].not_after, all[0].subject.as_str()), (None, ""));
        assert_eq!(all[1].not_after, "2027-11-03T12:00:00Z".parse().ok());
        assert_eq!(
            (all[1].subject.as_str(), all[1].issuer.as_str()),
            ("CN = node1", "CN = etcd-ca")
        );
        assert_eq!(openssl_date("tomorrow"), None);
    }

    #[test]
    fn the_rest_is_read() {
        let (files, flags) = manifests(
            "total 4\n-rw------- 1 0 0 2054 2026-11-21 12:03:47.6 +0000 etcd.yaml\n--secure-port=7443\nimage: x\n",
        );
        assert_eq!((files.len(), flags["secure-port"].as_str()), (1, "7443"));
        assert_eq!(processes("12 etcd\n13 etcd\n").into_iter().collect::<Vec<_>>(), ["etcd"]);
        let tcp = "   3: 010B630A:192B 00000000:0000 0A 0\n 1: 00000000000000000000000000000000:094B 0:0 0A\nx\n";
        assert_eq!(listening(tcp).into_iter().collect::<Vec<_>>(), [2379, 6443]);
        let logs = logs("x\n# /var/log/pods/kube-system_etcd-n1_u/etcd/3.log\none\n# two\n");
        assert_eq!(logs["/var/log/pods/kube-system_etcd-n1_u/etcd/3.log"], ["one", "# two"]);
    }
}
