//! The machine-wide settings that kubelet overwrites: saved before the first one starts, put back when the last one has ended.

use super::error::{Error, FileContext};
use super::layout::Layout;
use super::lock::FileLock;
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Where the kernel has them.
const PROC_SYS: &str = "/proc/sys";

/// What kubelet sets when it starts (`protectKernelDefaults: false`), and forwarding, which a CNI plugin may switch on.
const SETTINGS: [&str; 8] = [
    INSTANCES,
    "vm/overcommit_memory",
    "vm/panic_on_oom",
    "kernel/panic",
    "kernel/panic_on_oops",
    "kernel/keys/root_maxkeys",
    "kernel/keys/root_maxbytes",
    "net/ipv4/ip_forward",
];

/// How many inotify instances a user may have. A testbed takes some 30, and the usual limit is 128: beyond it containerd and
/// kubelet do not start, and say so only in their logs.
const INSTANCES: &str = "fs/inotify/max_user_instances";
/// Enough for as many testbeds as fit into any machine.
const ENOUGH_INSTANCES: u32 = 4096;

/// The present values.
pub(crate) fn now() -> BTreeMap<String, String> {
    present(Path::new(PROC_SYS))
}

fn present(kernel: &Path) -> BTreeMap<String, String> {
    let value = |name: &str| fs::read_to_string(kernel.join(name)).ok();
    SETTINGS
        .iter()
        .filter_map(|name| Some(((*name).to_owned(), value(name)?.trim().to_owned())))
        .collect()
}

/// Notes the present values, unless another testbed or an earlier start has done so already, and makes room for what a
/// testbed needs.
pub(crate) fn save(layout: &Layout) -> Result<(), Error> {
    let kernel = Path::new(PROC_SYS);
    save_from(layout, kernel)?;
    raise(kernel)
}

fn raise(kernel: &Path) -> Result<(), Error> {
    let path = kernel.join(INSTANCES);
    let text = fs::read_to_string(&path).file("read", &path)?;
    if text.trim().parse::<u32>().is_ok_and(|limit| limit >= ENOUGH_INSTANCES) {
        return Ok(());
    }
    fs::write(&path, ENOUGH_INSTANCES.to_string()).file("write", &path)
}

/// Puts the noted values back, unless another testbed is there: the last one does it.
pub(crate) fn restore(layout: &Layout) -> Result<(), Error> {
    restore_to(layout, Path::new(PROC_SYS))
}

fn saved(layout: &Layout) -> PathBuf {
    layout.of_all().join("sysctls.json")
}

fn lock(layout: &Layout) -> Result<FileLock, Error> {
    FileLock::exclusive(&layout.of_all().join("sysctls.lock"), Duration::from_secs(30))
}

fn save_from(layout: &Layout, kernel: &Path) -> Result<(), Error> {
    let _alone = lock(layout)?;
    let path = saved(layout);
    if path.exists() {
        return Ok(());
    }
    let text = serde_json::to_string_pretty(&present(kernel)).map_err(|error| Error::Odd {
        what: "the system's settings".to_owned(),
        why: error.to_string(),
    })?;
    let partial = path.with_extension("partial");
    fs::write(&partial, text).file("write", &partial)?;
    fs::rename(&partial, &path).file("rename", &partial)
}

fn restore_to(layout: &Layout, kernel: &Path) -> Result<(), Error> {
    let _alone = lock(layout)?;
    let path = saved(layout);
    let Ok(text) = fs::read_to_string(&path) else { return Ok(()) };
    if layout.others_exist() {
        return Ok(());
    }
    let values: BTreeMap<String, String> = serde_json::from_str(&text)
        .map_err(|error| Error::Odd { what: path.display().to_string(), why: error.to_string() })?;
    let present = present(kernel);
    for (name, value) in values {
        // Only known names: nothing else is ours to set, whatever the file says.
        if present.get(&name).is_some_and(|now| *now != value) {
            let file = kernel.join(&name);
            fs::write(&file, value).file("write", &file)?;
        }
    }
    fs::remove_file(&path).file("remove", &path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_testbed_puts_back_what_the_first_one_found() {
        let folder = tempfile::tempdir().unwrap();
        let kernel = folder.path().join("sys");
        fs::create_dir_all(kernel.join("kernel")).unwrap();
        let setting = kernel.join("kernel/panic");
        let set = |value: &str| fs::write(&setting, value).unwrap();
        let layout =
            |instance| Layout::new(instance, &folder.path().join("state"), folder.path()).unwrap();
        let (first, second) = (layout(0), layout(1));
        let up = |layout: &Layout| {
            fs::create_dir_all(layout.run()).unwrap();
            save_from(layout, &kernel).unwrap();
            set("10\n");
        };
        let down = |layout: &Layout| {
            restore_to(layout, &kernel).unwrap();
            fs::remove_dir_all(layout.run()).unwrap();
            fs::read_to_string(&setting).unwrap().trim().to_owned()
        };
        set("7\n");
        up(&first);
        up(&second);
        assert_eq!(down(&first), "10", "the second one still runs");
        assert_eq!(down(&second), "7");
        set("8\n");
        up(&second);
        assert_eq!(down(&second), "8", "an old note is not used again");
    }
}
