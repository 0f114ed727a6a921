//! The `bitkin` program; all of it lies in the library `bitkin_cli`.

fn main() -> std::process::ExitCode {
    bitkin_cli::run(std::env::args_os())
}
