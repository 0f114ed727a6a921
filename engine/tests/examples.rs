//! The examples do what they say.

#![allow(clippy::print_stdout, clippy::print_stderr)]

#[path = "../examples/dedupe.rs"]
#[allow(dead_code, unreachable_pub)]
mod dedupe;
#[path = "../examples/second_process.rs"]
#[allow(dead_code, unreachable_pub)]
mod second_process;
#[path = "../examples/store.rs"]
#[allow(dead_code, unreachable_pub)]
mod store;

#[test]
fn they_run() {
    let folder = tempfile::tempdir().unwrap();
    store::run(&folder.path().join("store")).unwrap();
    dedupe::run(&folder.path().join("dedupe")).unwrap();
    let shared = folder.path().join("shared");
    let writer = second_process::write(&shared).unwrap();
    assert_eq!(second_process::read(&shared).unwrap(), 1);
    writer.close().unwrap();
}
