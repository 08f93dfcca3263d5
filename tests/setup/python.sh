#!/bin/sh
# Installs Python (3.10 or later) with what makes virtual environments, for plugins in Python. Quick when
# it is there already.
set -eu

if python3 -c 'import ensurepip, sys, venv; sys.exit(sys.version_info < (3, 10))' 2>/dev/null; then
    exit 0
fi
command -v apt-get >/dev/null 2>&1 || {
    echo "python.sh: needs Python 3.10 or later with venv, and apt-get (Debian or Ubuntu) to install it" >&2
    exit 1
}
if [ "$(id -u)" -ne 0 ]; then
    command -v sudo >/dev/null 2>&1 || {
        echo "python.sh: needs root or sudo to install Python" >&2
        exit 1
    }
    exec sudo -- "$0" "$@"
fi
export DEBIAN_FRONTEND=noninteractive
# Package lists may be missing or old on a fresh machine.
apt-get install -y -q --no-install-recommends python3 python3-venv ||
    { apt-get update -q && apt-get install -y -q --no-install-recommends python3 python3-venv; }
