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

/// Installs the libraries with the header and the files for pkg-config under `prefix`: those in the folder
/// `built`, as cargo names them, or else such as it builds now.
pub(crate) fn install_c(prefix: &OsStr, built: Option<&OsStr>) -> Result<(), Box<dyn Error>> {
    let prefix = std::path::absolute(prefix)?;
    let files = match built {
        Some(folder) => ["libbitkin_c.so", "libbitkin_c.a"]
            .map(|name| Path::new(folder).join(name))
            .to_vec(),
        None => cargo::build_c()?,
    };
    let built = |suffix: &str| {
        let found = files
            .iter()
            .find(|file| file.extension() == Some(OsStr::new(suffix)));
        found.ok_or_else(|| format!("cargo built no .{suffix} of bitkin-c"))
    };
    let source = cargo::checkout().join("bindings/c");
    install(&prefix, built("so")?, built("a")?, &source)?;
    eprintln!("installed under {}; to try it:", prefix.display());
    // What compilers and loaders search by themselves; what they load from there, they look up in a cache.
    let ready = match [Path::new("/usr"), Path::new("/usr/local")].contains(&prefix.as_path()) {
        true => "ldconfig    # as root".to_owned(),
        false => {
            let library = prefix.join("lib");
            let library = library.display();
            format!("export PKG_CONFIG_PATH={library}/pkgconfig LD_LIBRARY_PATH={library}")
        }
    };
    eprintln!("  {ready}");
    eprintln!("  cc bindings/c/examples/store.c $(pkg-config --cflags --libs bitkin) -o store");
    eprintln!("  ./store codes.bitkin");
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
    for name in ["bitkin.pc", "bitkin-static.pc"] {
        let description = fs::read_to_string(source.join(format!("{name}.in")))?;
        let description = description
            .replace("@prefix@", &prefix.display().to_string())
            .replace("@version@", env!("CARGO_PKG_VERSION"));
        fs::write(pkgconfig.join(name), description)?;
    }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everything_lies_where_compilers_look() {
        let folder = tempfile::tempdir().expect("a folder");
        let at = |name: &str| folder.path().join(name);
        fs::create_dir_all(at("source/include")).expect("made");
        fs::write(at("source/include/bitkin.h"), "header").expect("written");
        for (name, description) in [
            (
                "bitkin.pc.in",
                include_str!("../../bindings/c/bitkin.pc.in"),
            ),
            (
                "bitkin-static.pc.in",
                include_str!("../../bindings/c/bitkin-static.pc.in"),
            ),
        ] {
            fs::write(at("source").join(name), description).expect("written");
        }
        let prefix = at("usr");
        let installed = |name: &str| fs::read_to_string(prefix.join(name)).expect(name);
        // The second takes the place of the first, while programs run with that.
        for build in ["one", "two"] {
            fs::write(at("built.so"), format!("shared {build}")).expect("written");
            fs::write(at("built.a"), format!("static {build}")).expect("written");
            install(&prefix, &at("built.so"), &at("built.a"), &at("source")).expect("installed");
            assert_eq!(installed("include/bitkin.h"), "header");
            assert_eq!(installed("lib/libbitkin.so"), format!("shared {build}"));
            assert_eq!(installed("lib/libbitkin.so.0"), format!("shared {build}"));
            assert_eq!(installed("lib/libbitkin.a"), format!("static {build}"));
        }
        for name in ["bitkin.pc", "bitkin-static.pc"] {
            let description = installed(&format!("lib/pkgconfig/{name}"));
            assert!(description.contains(&format!("prefix={}\n", prefix.display())));
            assert!(!description.contains('@'));
        }
        assert_eq!(fs::read_dir(prefix.join("lib")).expect("read").count(), 4);
    }
}
