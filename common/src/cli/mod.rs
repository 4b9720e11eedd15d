//! The edge that all plugins share: kubectl's flags, the printer, exit codes, errors with hints, completion.

mod completion;
mod exit;
mod failure;
mod flags;
mod interrupt;
mod log;
mod printer;
mod program;
mod terminal;
mod verdict;
mod version;

pub use completion::{Shell, complete_words, script};
pub use exit::Exit;
pub use failure::{Failure, Kind};
pub use flags::{ConnectionFlags, OutputFlags, OutputFormat, parse_duration};
pub use interrupt::interrupted;
pub use log::start_log;
pub use printer::Printer;
pub use program::{Invocation, Plugin, run};
pub use terminal::Terminal;
pub use verdict::{FailOn, verdict};
pub use version::version;
