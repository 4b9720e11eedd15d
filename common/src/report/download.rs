//! What `download` prints: which files of a release are in the cache, and why they are believed.

use serde::Serialize;

use super::v1::API_VERSION;
use super::{TextOptions, escape, table};

/// The document that `download` prints.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct DownloadReport {
    /// [`API_VERSION`].
    pub api_version: &'static str,
    /// `DownloadReport`.
    pub kind: &'static str,
    /// `done`.
    pub verdict: &'static str,
    /// Version of the release.
    pub version: String,
    /// Where the files are.
    pub directory: String,
    /// The files, sorted by name.
    pub files: Vec<DownloadedFile>,
    /// What a person should know.
    pub notes: Vec<String>,
}

/// A file in the cache.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct DownloadedFile {
    /// Path below the directory.
    pub name: String,
    /// Bytes.
    pub size: u64,
    /// Its SHA-256 sum, in hex.
    pub sha256: String,
    /// Who says that this is the right sum: `published`, `given`, `archive`, `not-published`.
    pub proof: &'static str,
    /// `fetched`, `imported`, `extracted`, or `kept`: it was there, and was verified again.
    pub state: &'static str,
    /// Where it came from.
    pub from: String,
}

impl DownloadReport {
    /// The report of a download that did all that was asked.
    pub fn new(
        version: String,
        directory: String,
        files: Vec<DownloadedFile>,
        notes: Vec<String>,
    ) -> Self {
        Self {
            api_version: API_VERSION,
            kind: "DownloadReport",
            verdict: "done",
            version,
            directory,
            files,
            notes,
        }
    }

    /// The report for people.
    pub fn text(&self, options: &TextOptions) -> String {
        let mut rows: Vec<Vec<String>> = self.files.iter().map(row).collect();
        let manifests: Vec<&DownloadedFile> =
            self.files.iter().filter(|it| it.name.starts_with("manifests/")).collect();
        if !options.verbose && manifests.len() > MANIFESTS_NAMED {
            rows = self
                .files
                .iter()
                .filter(|it| !it.name.starts_with("manifests/"))
                .map(row)
                .collect();
            rows.push(together(&manifests));
        }
        rows.sort();
        let mut text = format!("Calico {} in {}\n\n", self.version, escape(&self.directory));
        text.push_str(&table(&["FILE", "SIZE", "SUM", "STATE"], &rows));
        for note in &self.notes {
            text.push_str(&format!("note: {}\n", escape(note)));
        }
        options.plain(text)
    }
}

/// Manifests that are listed one by one without `-v`; an archive holds some twenty.
const MANIFESTS_NAMED: usize = 8;

fn row(file: &DownloadedFile) -> Vec<String> {
    vec![
        escape(&file.name),
        size(file.size),
        proof(file.proof).to_owned(),
        state(file.state).to_owned(),
    ]
}

/// One line for all manifests; its state is that of the first, since they come and go together.
fn together(files: &[&DownloadedFile]) -> Vec<String> {
    let one = |of: fn(&DownloadedFile) -> &'static str| {
        let mut all: Vec<&str> = files.iter().map(|it| of(it)).collect();
        all.sort_unstable();
        all.dedup();
        all.join(", ")
    };
    vec![
        format!("manifests/ ({} files)", files.len()),
        size(files.iter().map(|it| it.size).sum()),
        one(|it| proof(it.proof)),
        one(|it| state(it.state)),
    ]
}

fn proof(proof: &'static str) -> &'static str {
    match proof {
        "published" => "as SHA256SUMS says",
        "given" => "as --sha256 says",
        "archive" => "in the archive",
        _ => "not published",
    }
}

fn state(state: &'static str) -> &'static str {
    match state {
        "kept" => "there, verified again",
        "extracted" => "taken from the archive",
        other => other,
    }
}

/// `1.2 GB`: decimal units, as disks and downloads are sold.
fn size(bytes: u64) -> String {
    let mut unit = 1;
    let mut name = "B";
    for (bigger, bigger_name) in [(1000, "kB"), (1_000_000, "MB"), (1_000_000_000, "GB")] {
        if bytes >= bigger {
            (unit, name) = (bigger, bigger_name);
        }
    }
    if unit == 1 {
        return format!("{bytes} B");
    }
    let tenths = bytes / (unit / 10);
    format!("{}.{} {name}", tenths / 10, tenths % 10)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(name: &str, bytes: u64, proof: &'static str, state: &'static str) -> DownloadedFile {
        DownloadedFile {
            name: name.to_owned(),
            size: bytes,
            sha256: "0".repeat(64),
            proof,
            state,
            from: "https://m.example".to_owned(),
        }
    }

    #[test]
    fn sizes_have_units() {
        let shown = [0, 999, 1000, 1_949, 270_123, 1_234_567_890].map(size);
        assert_eq!(shown, ["0 B", "999 B", "1.0 kB", "1.9 kB", "270.1 kB", "1.2 GB"]);
    }

    #[test]
    fn the_text_says_what_is_there_and_why_it_is_believed() {
        let mut files = vec![
            file("SHA256SUMS", 1234, "not-published", "fetched"),
            file("release-v3.28.4.tgz", 1_234_567_890, "published", "kept"),
        ];
        files
            .extend((0..20).map(|n| file(&format!("manifests/{n}.yaml"), 1000, "archive", "kept")));
        let notes = vec!["the old one was damaged".to_owned()];
        let report =
            DownloadReport::new("v3.28.4".to_owned(), "/c/v3.28.4".to_owned(), files, notes);
        insta::assert_snapshot!(report.text(&TextOptions::default()));
        let all = report.text(&TextOptions { verbose: true, ..TextOptions::default() });
        assert!(all.contains("manifests/19.yaml"), "{all}");
    }
}
