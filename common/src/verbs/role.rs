//! `--print-rbac`: flags of every verb that asks the API server for anything.

use clap::Args;

use super::Session;
use super::rbac::role;
use crate::cli::Failure;
use serde_json::Value;

/// Print the role instead of doing anything.
#[derive(Args, Clone, Debug, Default, PartialEq)]
pub struct RoleFlags {
    /// Print the smallest ClusterRole for this verb, and do nothing
    #[arg(long)]
    print_rbac: bool,
    /// With --print-rbac: bind the role to this user
    #[arg(long, value_name = "USER", requires = "print_rbac")]
    bind_to: Option<String>,
}

impl RoleFlags {
    /// Prints the role of `verb` when that was asked for; then there is nothing else to do.
    ///
    /// # Errors
    /// When stdout cannot be written.
    pub fn print(
        &self,
        session: &Session,
        verb: &str,
        rules: impl FnOnce() -> Vec<Value>,
    ) -> Result<bool, Failure> {
        if self.print_rbac {
            let name = format!("{}-{verb}", session.plugin);
            session.printer.data(&role(&name, &rules(), self.bind_to.as_deref()))?;
        }
        Ok(self.print_rbac)
    }
}
