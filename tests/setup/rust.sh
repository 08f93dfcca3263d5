#!/bin/sh
# Installs the Rust toolchain that rust-toolchain.toml names, and rustup where there is none; and
# cargo-nextest, which runs the tests. Quick when they are there already.
set -eu
cd "$(dirname "$0")/../.."
PATH=${CARGO_HOME:-$HOME/.cargo}/bin:$PATH
nextest=0.9.143

if ! command -v cargo >/dev/null 2>&1; then
    echo "rust.sh: installs rustup" >&2
    curl --proto '=https' --tlsv1.2 --silent --show-error --fail https://sh.rustup.rs |
        sh -s -- -y --no-modify-path --profile minimal --default-toolchain none
fi
# A shim of rustup installs the named toolchain when it is first called; older ones do not.
if command -v rustup >/dev/null 2>&1 && ! cargo --version >/dev/null 2>&1; then
    rustup toolchain install
fi
for component in fmt clippy; do
    cargo "$component" --version >/dev/null 2>&1 || rustup component add rustfmt clippy
done
cargo nextest --version >/dev/null 2>&1 || {
    echo "rust.sh: compiles cargo-nextest $nextest" >&2
    cargo install cargo-nextest --locked --version "$nextest"
}
