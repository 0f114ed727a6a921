//! What the programs that measure Bitkin have in common.

pub mod machine;
pub mod measure;

/// What a measurement gives; its errors may come from other threads.
pub type Result<T> = std::result::Result<T, Box<dyn std::error::Error + Send + Sync>>;

/// Says why a program ends.
#[allow(clippy::print_stderr, reason = "a program's own last word")]
pub fn fail(error: &(dyn std::error::Error + Send + Sync)) {
    eprintln!("error: {error}");
    let mut source = error.source();
    while let Some(cause) = source {
        eprintln!("  caused by: {cause}");
        source = cause.source();
    }
}
