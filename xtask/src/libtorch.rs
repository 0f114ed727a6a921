//! Brings libtorch to a checkout: fetched once for each user, linked as `.libtorch`.
//!
//! The wheels of torch that a package index serves are the only source that every developer can
//! reach, so pip fetches them; everything after that is done here, so that neither the version of
//! the user's Python nor how it is installed matters. What must stay true:
//!
//! - **A name in the cache is a complete libtorch or does not exist.** Work goes on in a folder
//!   beside it, which is renamed at the very end.
//! - **Nothing is unpacked whose SHA-256 is not the pinned one**, whatever pip said.
//! - **A libtorch of the user's own wins**, and nothing that the user made is replaced or removed.

mod cache;
mod error;
mod pins;
mod pip;
#[cfg(test)]
mod tests;
mod wheel;

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Instant;

use cache::Cache;
pub(crate) use error::Error;
use error::megabytes;
pub(crate) use pins::Pins;
use pins::{Release, TORCH_VERSION};

/// What a caller needs of libtorch.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Want {
    /// Whatever is there already; otherwise the CPU part.
    Any,
    /// The CPU part.
    Cpu,
    /// The whole, with CUDA.
    Cuda,
}

/// How [`ensure`] came out. In every case libtorch can be used.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Outcome {
    /// The user's own is used, by environment or by a `.libtorch` of the user's making.
    Own,
    /// It was linked before; nothing was done.
    Ready,
    /// `.libtorch` was made or changed.
    Linked,
    /// The same, and what it led to before had the CUDA part while this has not.
    LeftCuda,
}

/// All that [`ensure`] reads of its surroundings.
pub(crate) struct Machine {
    /// Root of the checkout, where `.libtorch` is.
    pub(crate) checkout: PathBuf,
    /// Folder of this project in the user's cache, if the user has one.
    pub(crate) cache: Option<PathBuf>,
    /// PATH.
    pub(crate) path: OsString,
    /// Why no pinned wheel runs here, if so.
    pub(crate) unsupported: Option<String>,
    /// Whether the user names a C++ compiler (CXX).
    pub(crate) names_compiler: bool,
    /// The user's own LIBTORCH.
    pub(crate) libtorch: Option<PathBuf>,
    /// Whether LIBTORCH_USE_PYTORCH is set; torch-sys heeds it before LIBTORCH, whatever its value.
    pub(crate) use_pytorch: bool,
}

impl Machine {
    /// The surroundings of this process.
    pub(crate) fn this() -> Result<Machine, Error> {
        let checkout = crate::cargo::checkout();
        let absolute = |name| {
            std::env::var_os(name)
                .map(PathBuf::from)
                .filter(|path| path.is_absolute())
        };
        let cache = absolute("XDG_CACHE_HOME").or_else(|| Some(absolute("HOME")?.join(".cache")));
        let names_compiler = std::env::vars_os().any(|(name, value)| {
            let name = name.to_string_lossy();
            (name == "CXX" || name == "HOST_CXX" || name.starts_with("CXX_")) && !value.is_empty()
        });
        Ok(Machine {
            libtorch: own_libtorch(std::env::var_os("LIBTORCH"), &checkout),
            checkout,
            cache: cache.map(|base| base.join("bitkin")),
            path: std::env::var_os("PATH").unwrap_or_default(),
            unsupported: unsupported(),
            names_compiler,
            use_pytorch: std::env::var_os("LIBTORCH_USE_PYTORCH").is_some(),
        })
    }
}

/// The user's LIBTORCH, told apart from the one that the checkout's `.cargo/config.toml` gives to
/// every program that cargo runs, this one included.
fn own_libtorch(variable: Option<OsString>, checkout: &Path) -> Option<PathBuf> {
    let path = PathBuf::from(variable.filter(|value| !value.is_empty())?);
    (path != checkout.join(".libtorch").join("torch")).then_some(path)
}

/// Why the pinned wheels do not run on this machine; `None` if they do.
fn unsupported() -> Option<String> {
    use std::env::consts::{ARCH, OS};
    if !cfg!(all(
        target_os = "linux",
        target_arch = "x86_64",
        target_env = "gnu"
    )) {
        return Some(format!("{ARCH} {OS}"));
    }
    let said = Command::new("getconf")
        .arg("GNU_LIBC_VERSION")
        .output()
        .ok()?;
    let said = String::from_utf8_lossy(&said.stdout).trim().to_owned();
    old_glibc(&said).then(|| format!("{ARCH} {OS} with {said}"))
}

/// Whether an answer like `glibc 2.27` names one that is too old. An unreadable answer is no proof.
fn old_glibc(said: &str) -> bool {
    let version = said.strip_prefix("glibc ").and_then(|v| v.split_once('.'));
    let number = |text: &str| text.parse::<u32>().ok();
    version
        .and_then(|(major, minor)| Some((number(major)?, number(minor)?)))
        .is_some_and(|version| version < (2, 28))
}

/// Makes libtorch usable in the checkout, fetching it if no libtorch is there yet.
///
/// Safe to call any number of times, from several processes at once. After an error, and after a
/// kill at any moment, a cache entry is complete or absent and `.libtorch` is what it was.
pub(crate) fn ensure(machine: &Machine, want: Want, pins: Pins) -> Result<Outcome, Error> {
    if machine.use_pytorch {
        eprintln!(
            "LIBTORCH_USE_PYTORCH is set: the torch of the active Python is used (it must be \
             {TORCH_VERSION}). Nothing is fetched."
        );
        return with_compiler(machine, Outcome::Own);
    }
    if let Some(own) = &machine.libtorch {
        check_own(own)?;
        eprintln!(
            "LIBTORCH is set: {} is used. Nothing is fetched.",
            own.display()
        );
        return with_compiler(machine, Outcome::Own);
    }
    let link = machine.checkout.join(".libtorch");
    let linked = Linked::read(&link)?;
    if let Linked::Foreign = linked {
        if let Some(why) = lacks(&link, want == Want::Cuda) {
            return Err(Error::OwnFolder { path: link, why });
        }
        eprintln!("{} is your own: it is left as it is.", link.display());
        return with_compiler(machine, Outcome::Own);
    }
    let had_cuda = linked.had_cuda();
    let release = match want {
        Want::Cuda => &pins.cuda,
        Want::Any if had_cuda => &pins.cuda,
        Want::Any | Want::Cpu => &pins.cpu,
    };
    if linked.is(release) && lacks(&link, release.has_cuda()).is_none() {
        if want != Want::Any {
            eprintln!("{} is set up already.", release.title);
        }
        return with_compiler(machine, Outcome::Ready);
    }
    if let Some(found) = &machine.unsupported {
        return Err(Error::Platform {
            found: found.clone(),
        });
    }
    with_compiler(machine, ())?;
    let root = machine.cache.as_deref().ok_or(Error::NoHome)?;
    let entry = obtain(&Cache::open(root)?, release, machine, &pins)?;
    point(&link, &entry)?;
    eprintln!(
        "{} is ready: .libtorch -> {}",
        release.title,
        entry.display()
    );
    Ok(if had_cuda && !release.has_cuda() {
        Outcome::LeftCuda
    } else {
        Outcome::Linked
    })
}

/// `value`, if the bridge to libtorch can be compiled here.
fn with_compiler<T>(machine: &Machine, value: T) -> Result<T, Error> {
    // The cc crate, which compiles the bridge, takes CXX or else `c++`.
    if machine.names_compiler || pip::on_path(&machine.path, "c++").next().is_some() {
        Ok(value)
    } else {
        Err(Error::NoCompiler)
    }
}

/// Refuses a LIBTORCH that could only fail later, in the middle of a build.
fn check_own(own: &Path) -> Result<(), Error> {
    let wrong = |why| {
        Err(Error::OwnLibtorch {
            path: own.to_path_buf(),
            why,
        })
    };
    if !own.is_absolute() {
        return wrong("which is not an absolute path (cargo builds in other folders)");
    }
    // LIBTORCH_LIB and LIBTORCH_INCLUDE may name the parts instead.
    let split = |name| std::env::var_os(name).is_some();
    if !own.join("lib").is_dir() && !split("LIBTORCH_LIB") {
        return wrong("which has no folder lib");
    }
    if !own.join("include").is_dir() && !split("LIBTORCH_INCLUDE") {
        return wrong("which has no folder include");
    }
    Ok(())
}

/// What `.libtorch` is.
enum Linked {
    Nothing,
    /// A symlink to an entry of a cache, or to where one was.
    Entry {
        target: PathBuf,
        manifest: Option<String>,
    },
    /// Something that this set-up did not make.
    Foreign,
}

impl Linked {
    fn read(link: &Path) -> Result<Linked, Error> {
        match link.symlink_metadata() {
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(Linked::Nothing),
            Err(e) => return Err(Error::at("read", link)(e)),
            Ok(found) if !found.is_symlink() => return Ok(Linked::Foreign),
            Ok(_) => {}
        }
        let target = std::fs::read_link(link).map_err(Error::at("read", link))?;
        let manifest = cache::manifest_of(link);
        if manifest.is_none() && link.exists() {
            return Ok(Linked::Foreign);
        }
        Ok(Linked::Entry { target, manifest })
    }

    fn is(&self, release: &Release) -> bool {
        matches!(self, Linked::Entry { manifest: Some(text), .. } if *text == release.manifest())
    }

    fn had_cuda(&self) -> bool {
        match self {
            Linked::Entry { target, .. } => target.to_string_lossy().ends_with("-cuda"),
            _ => false,
        }
    }
}

/// What a folder that holds `torch/` lacks of a libtorch; `None` if nothing.
fn lacks(root: &Path, cuda: bool) -> Option<&'static str> {
    let torch = root.join("torch");
    if !torch.join("include").is_dir() {
        Some("has no folder torch/include")
    } else if !torch.join("lib/libtorch_cpu.so").is_file() {
        Some("has no torch/lib/libtorch_cpu.so")
    } else if cuda && !torch.join("lib/libtorch_cuda.so").is_file() {
        Some("has no CUDA part (torch/lib/libtorch_cuda.so)")
    } else {
        None
    }
}

/// The folder of `release` in the cache, filled first if need be.
fn obtain(
    cache: &Cache,
    release: &Release,
    machine: &Machine,
    pins: &Pins,
) -> Result<PathBuf, Error> {
    let complete = || {
        cache
            .complete(release)
            .filter(|dir| lacks(dir, release.has_cuda()).is_none())
    };
    if let Some(entry) = complete() {
        return Ok(entry);
    }
    let lock = cache.lock()?;
    if let Some(entry) = complete() {
        return Ok(entry);
    }
    lock.room_for(release)?;
    let mut pip = pip::Pip::find(&machine.path)?;
    let started = Instant::now();
    eprintln!(
        "Fetching {}: {} MB in {} wheels, by {}",
        release.title,
        megabytes(release.download()),
        release.wheels.len(),
        pip
    );
    let stage = lock.stage(release)?;
    let remove = |dir: &Path| std::fs::remove_dir_all(dir).map_err(Error::at("remove", dir));
    let newer = stage.scratch("pip")?;
    if pip.is_old() {
        eprintln!("This pip is too old for that; a newer one is fetched first, for this time only");
        let file = pip.fetch(&pins.pip, &newer)?;
        wheel::verify(&file, &pins.pip)?;
        pip = pip.replaced_by(file);
    }
    for wheel in &release.wheels {
        // One wheel at a time, each removed before the next, keeps the peak on the disk low.
        let scratch = stage.scratch("download")?;
        let file = pip.fetch(wheel, &scratch)?;
        wheel::verify(&file, wheel)?;
        wheel::unpack(&file, wheel, stage.dir())?;
        remove(&scratch)?;
    }
    remove(&newer)?;
    finish_layout(stage.dir())?;
    if let Some(why) = lacks(stage.dir(), release.has_cuda()) {
        return Err(Error::Wheel {
            file: release.entry.to_owned(),
            why: format!("it {why}"),
        });
    }
    let entry = stage.publish(release)?;
    eprintln!(
        "Fetched and unpacked in {:.0} s",
        started.elapsed().as_secs_f64()
    );
    Ok(entry)
}

/// Adds to the unpacked members what torch-sys looks for.
fn finish_layout(dir: &Path) -> Result<(), Error> {
    // torch-sys compares this file with the version that it is made for.
    let version = dir.join("torch/build-version");
    std::fs::write(&version, format!("{TORCH_VERSION}\n")).map_err(Error::at("write", &version))?;
    // The wheel's own libtorch.so is an empty shell that needs libtorch_cuda.so, so that a program
    // linked to it could not even start without the CUDA part. The linker writes the name of what
    // the symlink leads to, libtorch_cpu.so, into programs: with it the same program runs on both.
    let shell = dir.join("torch/lib/libtorch.so");
    std::os::unix::fs::symlink("libtorch_cpu.so", &shell).map_err(Error::at("make", &shell))
}

/// Makes `link` lead to `entry`, in one step for whoever looks at it.
fn point(link: &Path, entry: &Path) -> Result<(), Error> {
    // Set-ups run at once, and each renames a link of its own: one that they shared would be gone
    // for whoever comes second.
    static MADE: AtomicU32 = AtomicU32::new(0);
    let fresh = link.with_extension(format!(
        "{}-{}",
        std::process::id(),
        MADE.fetch_add(1, Ordering::Relaxed)
    ));
    match std::fs::remove_file(&fresh) {
        Err(e) if e.kind() != std::io::ErrorKind::NotFound => {
            return Err(Error::at("remove", &fresh)(e));
        }
        _ => {}
    }
    std::os::unix::fs::symlink(entry, &fresh).map_err(Error::at("make", &fresh))?;
    std::fs::rename(&fresh, link).map_err(Error::at("replace", link))
}
