#!/bin/sh
# Installs what compiling the dependencies in C takes: a compiler, make, and what fetches sources. On
# Debian and Ubuntu; elsewhere it says what is missing. Quick when it is there already.
set -eu

missing=
for tool in cc make curl setpriv; do
    command -v "$tool" >/dev/null 2>&1 || missing="$missing $tool"
done
[ -n "$missing" ] || exit 0
command -v apt-get >/dev/null 2>&1 || {
    echo "system.sh: needs$missing, and apt-get (Debian or Ubuntu) to install them" >&2
    exit 1
}
if [ "$(id -u)" -ne 0 ]; then
    command -v sudo >/dev/null 2>&1 || {
        echo "system.sh: needs root or sudo to install$missing" >&2
        exit 1
    }
    exec sudo -- "$0" "$@"
fi
export DEBIAN_FRONTEND=noninteractive
packages="build-essential ca-certificates curl util-linux"
# Package lists may be missing or old on a fresh machine.
# shellcheck disable=SC2086
apt-get install -y -q --no-install-recommends $packages ||
    { apt-get update -q && apt-get install -y -q --no-install-recommends $packages; }
