//! Why Felix stays with iptables on a kernel, although it is told otherwise. It says so in its log only.

use super::super::requirements::Kernel;

/// Oldest kernel that Felix takes, in every release.
const OLDEST: (u32, u32) = (5, 3);
/// Build of Red Hat's 4.18.0 that it takes as well.
const RED_HAT_BUILD: u32 = 193;

/// Felix's reason to refuse the kernel of this /proc/version; none when it takes it, or when the text makes no sense.
pub(super) fn refusal(version: &str) -> Option<String> {
    let kernel = Kernel::parse(version)?;
    let number = (kernel.number.0, kernel.number.1);
    let is_as_good = kernel.red_hat && number == (4, 18) && kernel.build >= RED_HAT_BUILD;
    (number < OLDEST && !is_as_good).then(|| {
        format!(
            "the kernel is too old: {}, and Felix wants 5.3 (Red Hat: 4.18.0-193)",
            kernel.release
        )
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn kernels_are_judged_as_felix_does() {
        let refused = |version: &str| refusal(&format!("Linux version {version}")).is_some();
        assert!(refused("4.15.0-213-generic (buildd@x) (gcc) #224-Ubuntu SMP"));
        assert!(refused("5.2.21 (x)"));
        assert!(refused("4.18.0-147.el8.x86_64 (mockbuild@x) (gcc (Red Hat 8.3.1-4))"));
        assert!(!refused("4.18.0-305.el8.x86_64 (mockbuild@x) (gcc (Red Hat 8.4.1-1))"));
        assert!(!refused("5.3.0 (x)") && !refused("6.18.5 (x)") && !refused("nonsense"));
        assert_eq!(refusal(""), None);
    }

    proptest! {
        #[test]
        fn any_text_is_accepted(text in "(Linux version |[0-9]{1,12}|\\.|-|el8|ñ| |red hat){0,12}") {
            drop(refusal(&text));
        }
    }
}
