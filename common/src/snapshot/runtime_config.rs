//! Reads the lines of a container runtime's configuration that say where it looks for CNI plugins.

use serde::Serialize;

/// What one configuration file of containerd or CRI-O says.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct RuntimeConfig {
    /// The file.
    pub file: String,
    /// Where it looks for plugins (`bin_dir`, `bin_dirs`, `plugin_dirs`); empty when the file does not say.
    pub bin_dirs: Vec<String>,
    /// Where it looks for CNI configuration (`conf_dir`, `network_dir`); empty when the file does not say.
    pub conf_dirs: Vec<String>,
    /// CRI-O's `cni_default_network`: it takes this one, whatever sorts first.
    pub default_network: Option<String>,
}

/// One entry per file that there is, in the order of the probe.
pub(super) fn parse(text: &str) -> Vec<RuntimeConfig> {
    let mut all: Vec<RuntimeConfig> = Vec::new();
    let mut key = String::new();
    for line in text.lines() {
        if let Some(file) = line.strip_prefix("# /") {
            all.push(RuntimeConfig { file: format!("/{file}"), ..RuntimeConfig::default() });
            key.clear();
            continue;
        }
        let Some(config) = all.last_mut() else { continue };
        let line = line.trim();
        // A list may go on over several lines.
        let values = match line.split_once('=') {
            Some((name, values)) => {
                name.trim().clone_into(&mut key);
                values
            }
            None => line,
        };
        for value in quoted(values) {
            match key.as_str() {
                "bin_dir" | "bin_dirs" | "plugin_dirs" => config.bin_dirs.push(directory(value)),
                "conf_dir" | "network_dir" => config.conf_dirs.push(directory(value)),
                "cni_default_network" if !value.is_empty() => {
                    config.default_network = Some(value.to_owned());
                }
                _ => {}
            }
        }
    }
    all.retain(|config| {
        !config.bin_dirs.is_empty()
            || !config.conf_dirs.is_empty()
            || config.default_network.is_some()
    });
    all
}

/// Texts between quotes of either kind.
fn quoted(text: &str) -> Vec<&str> {
    let mut found = Vec::new();
    let mut rest = text.split('#').next().unwrap_or_default();
    while let Some(start) = rest.find(['"', '\'']) {
        let quote = &rest[start..=start];
        let Some(length) = rest[start + 1..].find(quote) else { break };
        found.push(&rest[start + 1..start + 1 + length]);
        rest = &rest[start + length + 2..];
    }
    found
}

fn directory(path: &str) -> String {
    match path.trim_end_matches('/') {
        "" => "/".to_owned(),
        path => path.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn directories_are_read() {
        let text = "# /etc/containerd/config.toml\n      bin_dir = \"/usr/lib/cni\" # Debian's\n      conf_dir = '/etc/cni/net.d/'\n      max_conf_num = 1\n\
                    # /etc/crio/crio.conf\nplugin_dirs = [\n\t\"/opt/cni/bin/\",\n\t\"/usr/libexec/cni\",\n]\ncni_default_network = \"k8s-pod-network\"\n\
                    # /etc/crio/crio.conf.d/10-x\n# /etc/y\nbin_dirs = [\"/a\", '/b']\n";
        let all = parse(text);
        assert_eq!(all[0].bin_dirs, ["/usr/lib/cni"]);
        assert_eq!(all[0].conf_dirs, ["/etc/cni/net.d"]);
        assert_eq!(all[1].bin_dirs, ["/opt/cni/bin", "/usr/libexec/cni"]);
        assert_eq!(all[1].default_network.as_deref(), Some("k8s-pod-network"));
        assert_eq!((all[2].file.as_str(), all[2].bin_dirs.len()), ("/etc/y", 2));
        assert_eq!((all.len(), parse("x = \"").len()), (3, 0));
    }
}
