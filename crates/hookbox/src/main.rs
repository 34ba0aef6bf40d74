//! The program `hookbox`. All its code is in the library of the same name.

use std::process::ExitCode;

fn main() -> ExitCode {
    hookbox::main()
}
