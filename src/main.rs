//! The program: see [`cellsegd::cli`].

use std::process::ExitCode;

fn main() -> ExitCode {
    cellsegd::cli::main()
}
