#!/bin/sh
# Installs what the tests need, in order. Quick when everything is there; starts no service.
set -eu
cd "$(dirname "$0")"
./system.sh
./rust.sh
./mariadb.sh
./python.sh
./node.sh >/dev/null
# Optional: says so where it cannot be had.
./mysql.sh >/dev/null
