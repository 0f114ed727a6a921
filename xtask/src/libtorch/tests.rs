//! The set-up from outside, against a `python3` that plays pip.
//!
//! Kills and full disks need a process of their own: such a test starts this test program again,
//! to run only [`set_up_in_a_process_of_its_own`], which is told by an environment variable that
//! nothing but this file reads.

use std::fs;
use std::io::{Cursor, Write as _};
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use tempfile::TempDir;
use zip::write::SimpleFileOptions;

use super::pins::Wheel;
use super::*;

/// Names the folder of the test whose set-up [`set_up_in_a_process_of_its_own`] shall run.
const WHERE: &str = "BITKIN_XTASK_TEST_FOLDER";

/// A machine, a package index and its pip in one temporary folder.
struct World {
    root: PathBuf,
    /// Removes it at the end, if it is ours.
    _dir: Option<TempDir>,
}

impl World {
    fn new(mode: &str) -> World {
        let dir = TempDir::new().expect("a temporary folder");
        let world = World {
            root: dir.path().to_path_buf(),
            _dir: Some(dir),
        };
        for folder in ["bin", "bin/wheels", "checkout"] {
            fs::create_dir(world.at(folder)).expect("a new folder");
        }
        // A symlink to a script that no test writes: a script that one thread of this program has
        // just written cannot be run while another thread's child still has it open.
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/libtorch/fake/python3");
        symlink(script, world.at("bin/python3")).expect("a symlink");
        symlink("/bin/true", world.at("bin/c++")).expect("a symlink");
        let torch: &[(&str, &[u8])] = &[
            ("torch/include/torch/torch.h", b"header"),
            ("torch/lib/libc10.so", b"c10"),
            ("torch/lib/libgomp.so.1", b"gomp"),
            ("torch/lib/libtorch_cpu.so", &[7; 300_000]),
            ("torch/lib/libtorch_cuda.so", b"cuda"),
            ("torch/lib/libtorch.so", b"shell"),
            ("torch/nn/functional.py", b"python"),
            ("torch-1.0.dist-info/licenses/LICENSE", b"licence"),
        ];
        world.offer("torch", torch);
        world.offer(
            "nvidia-cuda-runtime",
            &[("nvidia/cu13/lib/libcudart.so.13", b"cudart")],
        );
        world.offer(
            "nvidia-cuda-cupti",
            &[("nvidia/cu13/lib/libcupti.so.13", b"cupti")],
        );
        world.offer("pip", &[("pip/__main__.py", b"newer")]);
        world.mode(mode);
        world
    }

    fn at(&self, path: &str) -> PathBuf {
        self.root.join(path)
    }

    /// How pip behaves from now on; see the script.
    fn mode(&self, mode: &str) {
        fs::write(self.at("bin/mode"), mode).expect("the mode is written");
    }

    fn offer(&self, project: &str, members: &[(&str, &[u8])]) {
        let mut wheel = zip::ZipWriter::new(Cursor::new(Vec::new()));
        for (name, content) in members {
            wheel
                .start_file(*name, SimpleFileOptions::default())
                .expect("a member");
            wheel.write_all(content).expect("its content");
        }
        let bytes = wheel.finish().expect("a zip").into_inner();
        fs::write(self.at("bin/wheels").join(project), bytes).expect("a wheel");
    }

    /// The shipped pins, with the hashes of the fake wheels and only the wheels that there are.
    fn pins(&self) -> Pins {
        let mut pins = Pins::shipped();
        let real = |wheel: &mut Wheel| {
            let file = self.at("bin/wheels").join(wheel.project);
            file.exists()
                .then(|| wheel.sha256 = wheel::sha256(&file).expect("its hash"))
                .is_some()
        };
        for release in [&mut pins.cpu, &mut pins.cuda] {
            release.wheels.retain_mut(real);
            release.room = 1;
        }
        real(&mut pins.pip);
        pins
    }

    fn machine(&self) -> Machine {
        Machine {
            checkout: self.at("checkout"),
            cache: Some(self.at("cache")),
            path: self.at("bin").into_os_string(),
            unsupported: None,
            names_compiler: false,
            libtorch: None,
            use_pytorch: false,
        }
    }

    fn ensure(&self, want: Want) -> Result<Outcome, Error> {
        ensure(&self.machine(), want, self.pins())
    }

    /// How often pip was asked for a wheel.
    fn fetches(&self) -> usize {
        self.calls()
            .lines()
            .filter(|line| line.starts_with("-m pip download"))
            .count()
    }

    fn calls(&self) -> String {
        fs::read_to_string(self.at("bin/calls")).unwrap_or_default()
    }

    /// Names in the cache, sorted, without the lock file.
    fn cached(&self) -> Vec<String> {
        let Ok(found) = fs::read_dir(self.at("cache")) else {
            return Vec::new();
        };
        let mut names: Vec<String> = found
            .flatten()
            .map(|f| f.file_name().to_string_lossy().into_owned())
            .collect();
        names.retain(|name| name != "setup.lock");
        names.sort();
        names
    }

    fn link(&self) -> PathBuf {
        self.at("checkout/.libtorch")
    }

    /// Asserts that a failed set-up left neither an entry, nor a part of one, nor a link.
    fn assert_untouched(&self) {
        assert_eq!(self.cached(), [] as [String; 0]);
        assert!(
            self.link().symlink_metadata().is_err(),
            ".libtorch was made"
        );
    }

    /// This test program, about to run [`set_up_in_a_process_of_its_own`] through `prefix`, a line
    /// of shell that ends in `exec "$@"`.
    fn process(&self, prefix: &str) -> Command {
        let mut command = Command::new("/bin/sh");
        command
            .args(["-c", prefix, "sh"])
            .arg(std::env::current_exe().expect("our own path"));
        command.args(["--exact", "libtorch::tests::set_up_in_a_process_of_its_own"]);
        command
            .args(["--ignored", "--nocapture"])
            .env(WHERE, &self.root);
        command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        command
    }

    /// Waits until pip hangs in the middle of a download; returns its process number.
    fn wait_for_hang(&self, set_up: &mut Child) -> String {
        loop {
            if let Ok(number) = fs::read_to_string(self.at("bin/hanging")) {
                return number.trim().to_owned();
            }
            assert!(
                set_up.try_wait().expect("its state").is_none(),
                "the set-up ended by itself"
            );
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}

/// Not a test: what [`World::process`] runs.
#[test]
#[ignore = "started by other tests, in a process of its own"]
fn set_up_in_a_process_of_its_own() {
    let Some(root) = std::env::var_os(WHERE).map(PathBuf::from) else {
        return;
    };
    match (World { root, _dir: None }).ensure(Want::Cpu) {
        Ok(outcome) => println!("came out as {outcome:?}"),
        Err(error) => println!("failed with {error:?}"),
    }
}

#[test]
fn fetches_verifies_unpacks_and_links_what_is_needed_and_nothing_else() {
    let world = World::new("serve");
    assert_eq!(world.ensure(Want::Cpu).expect("a set-up"), Outcome::Linked);

    let root = world.link();
    assert_eq!(
        fs::read_link(&root).expect("a symlink"),
        world.at("cache/libtorch-2.11.0-cpu")
    );
    let read = |path: &str| fs::read(root.join(path)).expect(path);
    assert_eq!(read("torch/lib/libtorch_cpu.so"), [7; 300_000]);
    assert_eq!(read("torch/include/torch/torch.h"), b"header");
    assert_eq!(read("torch/build-version"), b"2.11.0\n");
    assert_eq!(read("nvidia/cu13/lib/libcudart.so.13"), b"cudart");
    assert_eq!(read("nvidia/cu13/lib/libcupti.so.13"), b"cupti");
    assert_eq!(read("torch-1.0.dist-info/licenses/LICENSE"), b"licence");
    let shell = fs::read_link(root.join("torch/lib/libtorch.so")).expect("a symlink");
    assert_eq!(shell, Path::new("libtorch_cpu.so"));
    for dropped in ["torch/lib/libtorch_cuda.so", "torch/nn", "download", "pip"] {
        assert!(!root.join(dropped).exists(), "{dropped} was kept");
    }
    let calls = world.calls();
    for pin in &world.pins().cpu.wheels {
        assert!(
            calls.contains(&pin.requirement()),
            "{} was not pinned",
            pin.project
        );
    }
    assert_eq!(calls.matches("--require-hashes").count(), 3);
    assert!(!calls.contains("://"), "an address was given to pip");
    assert_eq!(world.cached(), ["libtorch-2.11.0-cpu"]);
}

#[test]
fn never_fetches_twice() {
    let world = World::new("serve");
    world.ensure(Want::Cpu).expect("a set-up");
    assert_eq!(world.fetches(), 3);
    world.mode("broken");
    assert_eq!(
        world.ensure(Want::Cpu).expect("the same again"),
        Outcome::Ready
    );
    assert_eq!(
        world.ensure(Want::Any).expect("and for the demo"),
        Outcome::Ready
    );

    // Another checkout of the same user, and one whose link was lost.
    fs::remove_file(world.link()).expect("no link");
    assert_eq!(world.ensure(Want::Any).expect("a link"), Outcome::Linked);
    assert_eq!(world.fetches(), 3);
}

#[test]
fn an_entry_of_other_wheels_or_with_a_part_missing_is_replaced() {
    let world = World::new("serve");
    world.ensure(Want::Cpu).expect("a set-up");
    let entry = world.at("cache/libtorch-2.11.0-cpu");
    fs::remove_file(entry.join("torch/lib/libtorch_cpu.so")).expect("the damage");
    assert_eq!(world.ensure(Want::Any).expect("a repair"), Outcome::Linked);
    assert_eq!(world.fetches(), 6);
    fs::write(entry.join("bitkin-libtorch.txt"), "of other wheels").expect("another marker");
    world.ensure(Want::Any).expect("an update");
    assert_eq!(world.fetches(), 9);
    assert_eq!(world.cached(), ["libtorch-2.11.0-cpu"]);
}

#[test]
fn what_pip_says_becomes_a_message_that_says_what_to_do() {
    type Case = (&'static str, fn(&Error) -> bool, &'static str);
    let cases: [Case; 9] = [
        (
            "offline",
            |e| matches!(e, Error::Network { .. }),
            "Check the network",
        ),
        (
            "not-served",
            |e| matches!(e, Error::NotServed { .. }),
            "mirror",
        ),
        (
            "wrong-hash",
            |e| matches!(e, Error::Checksum { found, .. } if found == "bbbb"),
            "bbbb",
        ),
        (
            "corrupt",
            |e| matches!(e, Error::Checksum { .. }),
            "nothing of it was used",
        ),
        (
            "no-space",
            |e| matches!(e, Error::DiskFull { .. }),
            "XDG_CACHE_HOME",
        ),
        (
            "broken",
            |e| matches!(e, Error::Pip { .. }),
            "KeyError: 'x'",
        ),
        ("silent", |e| matches!(e, Error::Pip { .. }), "left no file"),
        ("die", |e| matches!(e, Error::Pip { .. }), "signal 9"),
        (
            "no-pip",
            |e| matches!(e, Error::NoPip { .. }),
            "apt-get install python3-pip",
        ),
    ];
    for (mode, is_expected, advice) in cases {
        let world = World::new(mode);
        let error = world.ensure(Want::Cpu).expect_err(mode);
        assert!(is_expected(&error), "{mode}: {error:?}");
        let message = error.to_string();
        assert!(message.contains(advice), "{mode}: {message}");
        world.assert_untouched();
        // And the machine is as good as new.
        world.mode("serve");
        world.ensure(Want::Cpu).expect(mode);
    }
}

#[test]
fn a_damaged_zip_with_the_pinned_hash_is_refused() {
    let world = World::new("serve");
    fs::write(world.at("bin/wheels/torch"), "no zip at all").expect("a bad wheel");
    let error = world.ensure(Want::Cpu).expect_err("no zip");
    assert!(matches!(error, Error::Wheel { .. }), "{error:?}");
    world.offer("torch", &[("torch/include/../../../../escaped", b"x")]);
    let error = world.ensure(Want::Cpu).expect_err("a name that leads out");
    assert!(matches!(error, Error::Wheel { .. }), "{error:?}");
    assert!(!world.at("escaped").exists() && !world.at("cache/escaped").exists());
    world.assert_untouched();
}

#[test]
fn an_old_pip_fetches_a_newer_one_first() {
    let world = World::new("old-pip");
    world.ensure(Want::Cpu).expect("a set-up");
    assert_eq!(world.fetches(), 4);
    assert!(world.calls().contains("pip==21.3.1"));
    assert!(!world.link().join("pip").exists(), "the newer pip was kept");
}

#[test]
fn a_python_without_pip_does_not_hide_one_that_has_it() {
    let world = World::new("serve");
    let mut machine = world.machine();
    fs::create_dir(world.at("venv")).expect("a folder");
    symlink("/bin/false", world.at("venv/python3")).expect("a symlink");
    machine.path = std::env::join_paths([world.at("venv"), world.at("bin")]).expect("a PATH");
    ensure(&machine, Want::Cpu, world.pins()).expect("a set-up");
}

#[test]
fn a_machine_that_lacks_something_is_told_so_before_anything_is_fetched() {
    let world = World::new("serve");
    let refused = |change: fn(&World, &mut Machine, &mut Pins)| {
        let (mut machine, mut pins) = (world.machine(), world.pins());
        change(&world, &mut machine, &mut pins);
        let error = ensure(&machine, Want::Cpu, pins).expect_err("something is lacking");
        world.assert_untouched();
        assert_eq!(world.fetches(), 0);
        error
    };
    assert!(matches!(
        refused(|_, m, _| m.unsupported = Some("sparc solaris".into())),
        Error::Platform { found } if found == "sparc solaris"
    ));
    assert!(matches!(refused(|_, m, _| m.cache = None), Error::NoHome));
    assert!(matches!(
        refused(|_, m, _| m.path = "".into()),
        Error::NoCompiler
    ));
    assert!(matches!(
        refused(|w, m, _| (m.path, m.names_compiler) = (w.at("checkout").into(), true)),
        Error::NoPython
    ));
    assert!(matches!(
        refused(|_, _, p| p.cpu.room = u64::MAX),
        Error::LittleRoom {
            needed: u64::MAX,
            free: 1..,
            ..
        }
    ));
}

#[test]
fn a_disk_that_fills_up_leaves_nothing() {
    let world = World::new("serve");
    // A limit on the size of files, in blocks of 512 bytes, stands for the disk: the wheels pass,
    // the largest unpacked library does not. The signal that goes with it is ignored.
    let child = world
        .process(r#"trap '' XFSZ; ulimit -f 64; exec "$@""#)
        .spawn()
        .expect("a child");
    let said = output(child);
    assert!(said.contains("failed with DiskFull"), "{said}");
    world.assert_untouched();
    assert_eq!(world.fetches(), 1);
}

#[test]
fn a_set_up_killed_in_the_middle_leaves_nothing_that_counts() {
    for mode in ["hang", "hang-second"] {
        let world = World::new(mode);
        let mut set_up = world.process(r#"exec "$@""#).spawn().expect("a child");
        let pip = world.wait_for_hang(&mut set_up);
        set_up.kill().expect("SIGKILL");
        let said = output(set_up);
        assert!(!said.contains("came out"), "{said}");
        let ended = Command::new("/bin/sh")
            .args(["-c", &format!("kill -9 {pip}")])
            .status();
        assert!(ended.expect("a shell").success(), "pip was not at work");

        // What is left is a part, under a name that nothing takes for an entry.
        assert_eq!(world.cached().len(), 1);
        assert!(
            world.cached()[0].contains(".partial-"),
            "{:?}",
            world.cached()
        );
        assert!(
            world.link().symlink_metadata().is_err(),
            ".libtorch was made"
        );

        world.mode("serve");
        assert_eq!(world.ensure(Want::Any).expect("a set-up"), Outcome::Linked);
        assert_eq!(world.cached(), ["libtorch-2.11.0-cpu"]);
    }
}

#[test]
fn two_at_once_fetch_once() {
    let world = World::new("slow");
    let children: Vec<Child> = (0..2)
        .map(|_| world.process(r#"exec "$@""#).spawn().expect("a child"))
        .collect();
    for child in children {
        let said = output(child);
        assert!(said.contains("came out as"), "{said}");
    }
    assert_eq!(world.fetches(), 3);
    assert_eq!(world.cached(), ["libtorch-2.11.0-cpu"]);
}

/// Two set-ups that ended together shared the name of the link that they renamed to `.libtorch`;
/// the one that came second found it gone and failed, with libtorch fetched and ready.
#[test]
fn many_at_once_make_the_link() {
    let checkout = tempfile::tempdir().expect("a folder");
    let link = checkout.path().join(".libtorch");
    let entry = checkout.path().join("libtorch-2.11.0-cpu");
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                for _ in 0..100 {
                    point(&link, &entry).expect("a link");
                }
            });
        }
    });
    assert_eq!(link.read_link().expect("a link"), entry);
    let left = checkout.path().read_dir().expect("a folder").count();
    assert_eq!(left, 1, "links were left behind");
}

#[test]
fn the_users_own_libtorch_wins() {
    let world = World::new("serve");
    let mut machine = world.machine();
    machine.use_pytorch = true;
    let outcome = ensure(&machine, Want::Cuda, world.pins());
    assert_eq!(outcome.expect("LIBTORCH_USE_PYTORCH"), Outcome::Own);

    let mut machine = world.machine();
    machine.libtorch = Some(world.at("mine"));
    let wrong = ensure(&machine, Want::Any, world.pins()).expect_err("no such folder");
    assert!(matches!(wrong, Error::OwnLibtorch { .. }), "{wrong:?}");
    fs::create_dir_all(world.at("mine/lib")).expect("a folder");
    fs::create_dir_all(world.at("mine/include")).expect("a folder");
    assert_eq!(
        ensure(&machine, Want::Any, world.pins()).expect("LIBTORCH"),
        Outcome::Own
    );
    machine.libtorch = Some("mine".into());
    assert!(
        ensure(&machine, Want::Any, world.pins()).is_err(),
        "a relative LIBTORCH"
    );

    assert_eq!(world.fetches(), 0);
    assert!(!world.at("cache").exists());
}

#[test]
fn the_checkouts_own_setting_is_not_the_users() {
    let checkout = Path::new("/home/a/bitkin");
    let own = |value: &str| own_libtorch(Some(value.into()), checkout);
    assert_eq!(own("/home/a/bitkin/.libtorch/torch"), None);
    assert_eq!(own(""), None);
    assert_eq!(own_libtorch(None, checkout), None);
    assert_eq!(own("/opt/libtorch"), Some("/opt/libtorch".into()));
}

#[test]
fn what_the_user_put_at_the_link_is_left_alone() {
    let world = World::new("serve");
    // A folder of the user's: refused while it is no libtorch, used when it is, untouched in both.
    fs::create_dir(world.link()).expect("a folder");
    let error = world.ensure(Want::Cpu).expect_err("an empty folder");
    assert!(matches!(error, Error::OwnFolder { .. }), "{error:?}");
    fs::create_dir_all(world.link().join("torch/include")).expect("a folder");
    fs::create_dir_all(world.link().join("torch/lib")).expect("a folder");
    fs::write(world.link().join("torch/lib/libtorch_cpu.so"), "mine").expect("a file");
    assert_eq!(world.ensure(Want::Cpu).expect("the user's"), Outcome::Own);
    let error = world.ensure(Want::Cuda).expect_err("it has no CUDA part");
    assert!(matches!(error, Error::OwnFolder { .. }), "{error:?}");

    // The same behind a symlink of the user's.
    fs::rename(world.link(), world.at("site-packages")).expect("a move");
    symlink(world.at("site-packages"), world.link()).expect("a symlink");
    assert_eq!(world.ensure(Want::Any).expect("the user's"), Outcome::Own);
    assert_eq!(
        fs::read_link(world.link()).expect("a link"),
        world.at("site-packages")
    );
    assert_eq!(world.fetches(), 0);

    // A symlink that leads nowhere serves nobody.
    fs::remove_dir_all(world.at("site-packages")).expect("its removal");
    assert_eq!(world.ensure(Want::Any).expect("a set-up"), Outcome::Linked);
}

#[test]
fn cuda_stays_until_the_cpu_part_is_asked_for() {
    let world = World::new("serve");
    world.ensure(Want::Cpu).expect("a set-up");
    assert_eq!(
        world.ensure(Want::Cuda).expect("the whole"),
        Outcome::Linked
    );
    assert!(world.link().join("torch/lib/libtorch_cuda.so").is_file());
    let shell = fs::read_link(world.link().join("torch/lib/libtorch.so")).expect("a symlink");
    assert_eq!(shell, Path::new("libtorch_cpu.so"));
    assert_eq!(world.fetches(), 6);
    assert_eq!(
        world.ensure(Want::Any).expect("for the demo"),
        Outcome::Ready
    );
    assert_eq!(world.ensure(Want::Cpu).expect("back"), Outcome::LeftCuda);
    assert_eq!(world.fetches(), 6);
    assert_eq!(
        world.cached(),
        ["libtorch-2.11.0-cpu", "libtorch-2.11.0-cuda"]
    );
}

#[test]
fn glibc_is_old_below_2_28_only() {
    for (said, old) in [
        ("glibc 2.27", true),
        ("glibc 2.28", false),
        ("glibc 3.0", false),
        ("", false),
    ] {
        assert_eq!(old_glibc(said), old, "{said}");
    }
}

/// Both streams of a process that has come to its end.
fn output(child: Child) -> String {
    let ended = child.wait_with_output().expect("its output");
    String::from_utf8_lossy(&[ended.stdout, ended.stderr].concat()).into_owned()
}
