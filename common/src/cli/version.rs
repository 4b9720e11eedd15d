//! What `--version` says.

/// `v0.1.0 (0487b641c2d3)`: the version, and the commit when the build knows it (`KUBECTL_CALICO_COMMIT`).
pub fn version(version: &str, commit: Option<&str>) -> String {
    match commit {
        Some(commit) if !commit.is_empty() => format!("v{version} ({commit})"),
        _ => format!("v{version}"),
    }
}

#[cfg(test)]
mod tests {
    use super::version;

    #[test]
    fn a_commit_is_named_when_it_is_known() {
        assert_eq!(version("0.1.0", Some("0487b641c2d3")), "v0.1.0 (0487b641c2d3)");
        assert_eq!(version("0.1.0", Some("")), "v0.1.0");
        assert_eq!(version("0.1.0", None), "v0.1.0");
    }
}
