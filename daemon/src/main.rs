//! The program: arguments in, exit code out.
//!
//! Owns the runtime and the printing of the error chain. Refuses logic. Invariant: what went wrong is
//! on standard error with its causes and what to do, and the exit code says which kind of wrong it
//! was.

use std::process::ExitCode;

fn main() -> ExitCode {
    driftd::cli::main()
}
