//! Reads `ls -ln --full-time`.

use jiff::Timestamp;

use super::FileEntry;

/// The files of a listing, sorted by name; lines that name no file are skipped.
pub fn parse(text: &str) -> Vec<FileEntry> {
    let mut files: Vec<FileEntry> = text.lines().filter_map(line).collect();
    files.sort_by(|a, b| a.name.cmp(&b.name));
    files
}

/// `-rw-r--r-- 1 0 0  656 2026-11-21 12:03:45.644617715 +0000 10-calico.conflist`; without `--full-time` three other words stand
/// where date, time and zone do.
fn line(line: &str) -> Option<FileEntry> {
    let mut rest = line;
    let mut word = || {
        rest = rest.trim_start();
        let end = rest.find(' ')?;
        let (word, tail) = rest.split_at(end);
        rest = tail;
        Some(word)
    };
    let mode = word()?;
    if mode.len() < 10 || !mode.starts_with(['-', 'd', 'l', 'c', 'b', 'p', 's']) {
        return None;
    }
    let (_links, _user, _group) = (word()?, word()?, word()?);
    let size = word()?;
    // Devices have "major, minor" in place of a size; nobody asks for them.
    let size = size.parse().ok()?;
    let (date, time, zone) = (word()?, word()?, word()?);
    let name = rest.strip_prefix(' ').filter(|name| !name.is_empty())?;
    let name = if mode.starts_with('l') { name.split(" -> ").next().unwrap_or(name) } else { name };
    if name == "." || name == ".." {
        return None;
    }
    Some(FileEntry {
        name: name.to_owned(),
        mode: mode.to_owned(),
        size,
        modified: modified(date, time, zone),
    })
}

fn modified(date: &str, time: &str, zone: &str) -> Option<Timestamp> {
    // `+0000` is `+00:00` to the parser.
    let (hours, minutes) = zone.split_at_checked(3)?;
    format!("{date}T{time}{hours}:{minutes}").parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_read() {
        let text = "total 8\n-rw------- 1 0 0 2054 2026-11-21 12:03:47.610063203 +0000 calico-kubeconfig\n\
                    drwxr-xr-x 2 0 0 40 2026-11-21 12:03:47.0 +0000 .\n\
                    lrwxrwxrwx 1 0 0 4 2026-11-21 14:03:47.000000000 +0200 a b -> c\n\
                    -rw-r--r-- 1 0 0  656 Nov 21 12:03 10-calico.conflist\nls: x: No such file or directory\n";
        let files = parse(text);
        let names: Vec<_> = files.iter().map(|file| file.name.as_str()).collect();
        assert_eq!(names, ["10-calico.conflist", "a b", "calico-kubeconfig"]);
        assert_eq!(files[0].modified, None);
        assert_eq!(files[1].modified, "2026-11-21T12:03:47Z".parse().ok());
        assert_eq!(files[2].modified, "2026-11-21T12:03:47.610063203Z".parse().ok());
        assert_eq!((files[2].size, files[2].mode.as_str()), (2054, "-rw-------"));
    }
}
