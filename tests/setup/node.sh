#!/bin/sh
# Prints a directory that has node (20.19 or later) and npm, for plugins in JavaScript. Installs them
# where they are missing: from the distribution, and where that has an older node only, from npm into
# a folder of the user's cache. Quick when they are there already.
set -eu
version=22.23.3

is_new() {
    "$1" -e 'const [a, b] = process.versions.node.split(".").map(Number);
        process.exit(a > 20 || (a === 20 && b >= 19) ? 0 : 1)' 2>/dev/null
}

if ! command -v npm >/dev/null 2>&1; then
    command -v apt-get >/dev/null 2>&1 || {
        echo "node.sh: needs node 20.19 or later with npm, and apt-get (Debian or Ubuntu) to install it" >&2
        exit 1
    }
    as_root=
    if [ "$(id -u)" -ne 0 ]; then
        command -v sudo >/dev/null 2>&1 || {
            echo "node.sh: needs root or sudo to install npm" >&2
            exit 1
        }
        as_root=sudo
    fi
    install="$as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends nodejs npm"
    # Package lists may be missing or old on a fresh machine.
    $install >&2 || { $as_root apt-get update -q >&2 && $install >&2; }
fi
if is_new node; then
    dirname "$(command -v node)"
    exit 0
fi
cache=$HOME/.cache/driftd/node
if ! is_new "$cache/node_modules/.bin/node"; then
    echo "node.sh: installs node $version into $cache" >&2
    mkdir -p "$cache"
    npm install --prefix "$cache" --no-audit --no-fund "node@$version" >&2
fi
echo "$cache/node_modules/.bin"
