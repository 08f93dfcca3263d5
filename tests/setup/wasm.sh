#!/usr/bin/env bash
# Prints the path of a rustc that compiles for wasm32-unknown-unknown; everything else it says goes to
# stderr. Takes what is there first, and what costs least next:
#   1. the installed toolchain, if it has the target;
#   2. the target added with rustup;
#   3. on Debian and Ubuntu, the distribution's rustc-web in a directory of its own (nothing is
#      installed), with the target's standard library compiled from rust-web-src: a minute of CPU and
#      400 MB, once.
# Usage: RUSTC=$(tests/setup/wasm.sh [directory]) cargo build --release --target wasm32-unknown-unknown
set -euo pipefail

target=wasm32-unknown-unknown

has_target() {
    local sysroot
    sysroot=$("$1" --print sysroot 2>/dev/null) || return 1
    compgen -G "$sysroot/lib/rustlib/$target/lib/libcore-*.rlib" >/dev/null
}

if command -v rustc >/dev/null; then
    if ! has_target rustc && command -v rustup >/dev/null; then
        timeout 180 rustup target add "$target" >&2 || echo "rustup cannot add $target" >&2
    fi
    if has_target rustc; then
        rustup which rustc 2>/dev/null || command -v rustc
        exit 0
    fi
fi

home=${1:-${XDG_CACHE_HOME:-$HOME/.cache}/driftd-wasm-toolchain}
mkdir -p "$home"
home=$(cd "$home" && pwd)
if has_target "$home/bin/rustc"; then
    echo "$home/bin/rustc"
    exit 0
fi

for tool in apt-get dpkg-deb cargo; do
    command -v "$tool" >/dev/null || {
        echo "no toolchain for $target: run \`rustup target add $target\`" >&2
        exit 1
    }
done

exec 3>&1 1>&2
work=$(mktemp -d "$home/work.XXXXXX")
trap 'rm -rf "$work"' EXIT
cd "$work"

# Fetch: compiler, its libraries and the sources of the standard library, all of one version.
apt-get update -q || echo "package lists are as old as they are"
version=$(apt-cache policy rust-web-src | awk '/Candidate:/ {print $2}')
std=$(apt-cache depends "libstd-rust-web-dev=$version" |
    awk '/Depends: libstd-rust-web-[0-9]/ {print $2; exit}')
llvm=$(apt-cache depends "$std=$version" | awk '/Depends: libllvm/ {print $2; exit}')
apt-get download -q "rustc-web=$version" "libstd-rust-web-dev=$version" "$std=$version" \
    "rust-web-src=$version" "$llvm"

# Unpack beside the system.
mkdir root src
for package in rustc-web libstd-rust-web-dev "$std" "$llvm"; do
    dpkg-deb --extract "$package"_*.deb root
done
dpkg-deb --fsys-tarfile rust-web-src_*.deb | tar -x -C src --wildcards './usr/src/rustc-*/library'
mkdir -p "$home/lib" "$home/bin" "$home/libexec"
cp -a root/usr/lib/rustlib root/usr/lib/"$(uname -m)"-linux-gnu/*.so* "$home/lib/"
cp -a root/usr/bin/rustc "$home/libexec/"
cat >"$home/bin/rustc" <<'WRAPPER'
#!/bin/sh
home=$(dirname "$(dirname "$(readlink -f "$0")")")
LD_LIBRARY_PATH="$home/lib${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}" exec "$home/libexec/rustc" "$@"
WRAPPER
chmod +x "$home/bin/rustc"

# The linker: the installed toolchain's, else the distribution's.
host=$("$home/bin/rustc" -vV | awk '/^host:/ {print $2}')
mkdir -p "$home/lib/rustlib/$host/bin"
for linker in "$(rustc --print sysroot 2>/dev/null)/lib/rustlib/$host/bin/rust-lld" \
    /usr/bin/wasm-ld /usr/bin/wasm-ld-*; do
    if [ -x "$linker" ]; then
        ln -sf "$linker" "$home/lib/rustlib/$host/bin/rust-lld"
        break
    fi
done

# The standard library, with the dependencies that the source package brings along.
library=$(echo "$work"/src/usr/src/rustc-*/library)
(
    cd "$library"
    export RUSTC=$home/bin/rustc RUSTC_BOOTSTRAP=1 CARGO_INCREMENTAL=0
    export CARGO_TARGET_DIR=$work/target __CARGO_DEFAULT_LIB_METADATA=web
    export RUSTFLAGS="-Zforce-unstable-if-unmarked -Cembed-bitcode=yes"
    # Development dependencies are not among those that come along.
    cargo --config 'source.crates-io.replace-with="vendored"' \
        --config "source.vendored.directory=\"$library/vendor\"" \
        -Zavoid-dev-deps build --offline --release --target "$target" \
        --package std --no-default-features
)
# In one step, so that an interrupted run leaves no half of a target.
mkdir -p "$home/lib/rustlib/$target/lib.new"
cp "$work/target/$target/release/deps/"*.rlib "$home/lib/rustlib/$target/lib.new/"
rm -rf "$home/lib/rustlib/$target/lib"
mv "$home/lib/rustlib/$target/lib.new" "$home/lib/rustlib/$target/lib"
echo "$home/bin/rustc" >&3
