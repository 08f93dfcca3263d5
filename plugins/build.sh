#!/usr/bin/env bash
# Builds the plugins. Without an argument it replaces the committed files; with a directory it puts
# the files there instead, which is how a test compares the committed ones with fresh ones.
set -euo pipefail
cd "$(dirname "$0")"

into=${1:-}
RUSTC=$(../tests/setup/wasm.sh)
export RUSTC
# A toolchain of another build than last time would trip over what the last one left.
target=target/$("$RUSTC" -vV | sha256sum | cut -c1-12)
# The committed files speak of nobody's directories.
export RUSTFLAGS="--remap-path-prefix=${CARGO_HOME:-$HOME/.cargo}=/cargo --remap-path-prefix=$PWD=/plugins"
cargo build --workspace --locked --release --target wasm32-unknown-unknown --target-dir "$target"
for plugin in users orders archive keys hostile; do
    built=$target/wasm32-unknown-unknown/release/$plugin.wasm
    if [ -n "$into" ]; then
        mkdir -p "$into"
        cp "$built" "$into/$plugin.wasm"
    else
        cp "$built" "$plugin/$plugin.wasm"
        chmod 644 "$plugin/$plugin.wasm"
    fi
done
