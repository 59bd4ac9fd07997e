//! `cargo xtask`: see the library beside it, and `cargo xtask --help`.

use std::process::ExitCode;

fn main() -> ExitCode {
    xtask::main()
}
