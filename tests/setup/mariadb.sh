#!/bin/sh
# Installs MariaDB's server programs, and what makes certificates for them, for the tests, which start
# private servers of their own. No service is started. Quick when everything is there already.
set -eu
PATH=$PATH:/usr/sbin:/sbin

missing=
for program in mariadbd mariadb-install-db openssl setpriv; do
    command -v "$program" >/dev/null 2>&1 || missing="$missing $program"
done
[ -n "$missing" ] || exit 0
command -v apt-get >/dev/null 2>&1 || {
    echo "mariadb.sh: needs apt-get (Debian or Ubuntu); install MariaDB 10.11 or later by hand" >&2
    exit 1
}
if [ "$(id -u)" -ne 0 ]; then
    command -v sudo >/dev/null 2>&1 || {
        echo "mariadb.sh: needs root or sudo to install$missing" >&2
        exit 1
    }
    exec sudo -- "$0" "$@"
fi

# A policy that refuses to start services, in force only while we install.
policy=/usr/sbin/policy-rc.d
kept=
restore() {
    rm -f "$policy"
    if [ -n "$kept" ]; then
        mv "$kept" "$policy"
    fi
}
if [ -e "$policy" ]; then
    kept=$(mktemp "$policy.XXXXXX")
    mv "$policy" "$kept"
fi
trap restore EXIT
trap 'exit 1' INT TERM
printf '#!/bin/sh\nexit 101\n' >"$policy"
chmod 755 "$policy"

export DEBIAN_FRONTEND=noninteractive
# Package lists may be missing or old on a fresh machine.
apt-get install -y -q --no-install-recommends mariadb-server openssl util-linux ||
    { apt-get update -q && apt-get install -y -q --no-install-recommends mariadb-server openssl util-linux; }
