//! The `whyslow` command. Everything is in the library.

use std::process::ExitCode;

fn main() -> ExitCode {
    whyslow::cli::main()
}
