//! The machine-wide settings that kubelet overwrites: saved before the first one starts, put back at the end.

use super::error::{Error, FileContext};
use super::layout::Layout;
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

/// What kubelet sets when it starts (`protectKernelDefaults: false`), and forwarding, which a CNI plugin may switch on.
const SETTINGS: [&str; 7] = [
    "vm/overcommit_memory",
    "vm/panic_on_oom",
    "kernel/panic",
    "kernel/panic_on_oops",
    "kernel/keys/root_maxkeys",
    "kernel/keys/root_maxbytes",
    "net/ipv4/ip_forward",
];

/// The present values.
pub(crate) fn now() -> BTreeMap<String, String> {
    let value = |name: &str| fs::read_to_string(Path::new("/proc/sys").join(name)).ok();
    SETTINGS
        .iter()
        .filter_map(|name| Some(((*name).to_owned(), value(name)?.trim().to_owned())))
        .collect()
}

fn saved(layout: &Layout) -> PathBuf {
    layout.run().join("sysctls.json")
}

/// Notes the present values, unless an earlier start has done so already.
pub(crate) fn save(layout: &Layout) -> Result<(), Error> {
    let path = saved(layout);
    if path.exists() {
        return Ok(());
    }
    let text = serde_json::to_string_pretty(&now()).map_err(|error| Error::Odd {
        what: "the system's settings".to_owned(),
        why: error.to_string(),
    })?;
    let partial = path.with_extension("partial");
    fs::write(&partial, text).file("write", &partial)?;
    fs::rename(&partial, &path).file("rename", &partial)
}

/// Puts the noted values back.
pub(crate) fn restore(layout: &Layout) -> Result<(), Error> {
    let path = saved(layout);
    let Ok(text) = fs::read_to_string(&path) else { return Ok(()) };
    let values: BTreeMap<String, String> = serde_json::from_str(&text)
        .map_err(|error| Error::Odd { what: path.display().to_string(), why: error.to_string() })?;
    let present = now();
    for (name, value) in values {
        // Only known names: nothing else is ours to set, whatever the file says.
        if present.get(&name).is_some_and(|now| *now != value) {
            let file = Path::new("/proc/sys").join(&name);
            fs::write(&file, value).file("write", &file)?;
        }
    }
    Ok(())
}
