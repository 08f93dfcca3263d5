#!/usr/bin/env bash
# Builds plugins in other languages than Rust, into plugins/target/guests: all, or those that are named,
# as in `plugins/guests.sh users-js`. Installs the tools. Quick when nothing changed.
set -euo pipefail
cd "$(dirname "$0")"

into=$PWD/target/guests
mkdir -p "$into"
# Tests build at once; one builds, the others wait.
exec 9>"$into/.lock"
flock 9

# What a plugin is made of: a change of any of these builds it anew.
sources() {
    case $1 in
        *-js) files users-js sdk-js ../tests/setup/node.sh ;;
        *-python) files users-python sdk-python ../tests/setup/python.sh ;;
        *) echo "guests.sh: there is no plugin $1: users-js, users-python" >&2 && exit 1 ;;
    esac
}

files() {
    find "$@" ../wit -type d \( -name node_modules -o -name .venv -o -name __pycache__ \) -prune \
        -o -type f ! -name '*.wasm' ! -name '*.md' -print | LC_ALL=C sort
}

build() {
    case $1 in
        users-js)
            PATH=$(../tests/setup/node.sh):$PATH
            (cd users-js && npm run build) >&2
            ;;
        users-python)
            ../tests/setup/python.sh >&2
            python3 users-python/build.py >&2
            ;;
    esac
    mv "$1/users.wasm" "$into/$1.wasm"
}

for plugin in "${@:-users-js users-python}"; do
    for one in $plugin; do
        stamp=$(sources "$one" | xargs sha256sum | sha256sum)
        if [ ! -e "$into/$one.wasm" ] || [ "$(cat "$into/$one.stamp" 2>/dev/null)" != "$stamp" ]; then
            echo "guests.sh: builds $one" >&2
            build "$one"
            echo "$stamp" >"$into/$one.stamp"
        fi
    done
done
