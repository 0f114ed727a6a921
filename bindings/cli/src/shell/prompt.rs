//! Lines that are typed at a terminal.

use super::Shell;
use crate::error::Failure;
use crate::grammar::Shell as Arguments;

/// Reads lines and runs them, until the user leaves.
///
/// # Errors
/// When the terminal cannot be read.
pub(super) fn run(_shell: &mut Shell<'_>, _arguments: &Arguments) -> Result<(), Failure> {
    Err(Failure::new("a prompt is still to be made"))
}
