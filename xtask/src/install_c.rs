//! The chore that builds the C library and puts it where compilers look for it.

use std::error::Error;
use std::ffi::OsStr;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use crate::cargo;

/// The version of the binary interface, part of the shared library's name. Programs linked to another one
/// do not start.
const INTERFACE: u32 = 0;

/// Builds the libraries, and installs them with the header and the file for pkg-config under `prefix`.
pub(crate) fn install_c(prefix: &OsStr) -> Result<(), Box<dyn Error>> {
    let prefix = std::path::absolute(prefix)?;
    let files = cargo::build_c()?;
    let built = |suffix: &str| {
        let found = files
            .iter()
            .find(|file| file.extension() == Some(OsStr::new(suffix)));
        found.ok_or_else(|| format!("cargo built no .{suffix} of bitkin-c"))
    };
    let source = cargo::checkout().join("bindings/c");
    install(&prefix, built("so")?, built("a")?, &source)?;
    eprintln!("installed under {}", prefix.display());
    Ok(())
}

fn install(
    prefix: &Path,
    shared: &Path,
    archive: &Path,
    source: &Path,
) -> Result<(), Box<dyn Error>> {
    let (include, lib) = (prefix.join("include"), prefix.join("lib"));
    let pkgconfig = lib.join("pkgconfig");
    fs::create_dir_all(&include)?;
    fs::create_dir_all(&pkgconfig)?;
    fs::copy(source.join("include/bitkin.h"), include.join("bitkin.h"))?;
    replace(archive, &lib.join("libbitkin.a"))?;
    let named = format!("libbitkin.so.{INTERFACE}");
    replace(shared, &lib.join(&named))?;
    let link = lib.join("libbitkin.so");
    let _ = fs::remove_file(&link);
    symlink(&named, &link)?;
    let description = fs::read_to_string(source.join("bitkin.pc.in"))?;
    let description = description
        .replace("@prefix@", &prefix.display().to_string())
        .replace("@version@", env!("CARGO_PKG_VERSION"));
    fs::write(pkgconfig.join("bitkin.pc"), description)?;
    Ok(())
}

/// Copies a library beside its place and moves it there: programs may be running with the old one.
fn replace(from: &Path, to: &Path) -> Result<(), Box<dyn Error>> {
    let mut beside: PathBuf = to.to_owned();
    beside.set_extension("new");
    fs::copy(from, &beside).map_err(|e| format!("{}: {e}", beside.display()))?;
    fs::rename(&beside, to)?;
    Ok(())
}
