//! Gives the shared library the name that programs look for when they start: `libbitkin.so.0`, where the
//! number is that of the binary interface, and `cargo xtask install-c` puts it.

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    if std::env::var("CARGO_CFG_TARGET_OS").is_ok_and(|system| system == "linux") {
        println!("cargo:rustc-cdylib-link-arg=-Wl,-soname,libbitkin.so.0");
    }
}
