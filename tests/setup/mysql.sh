#!/bin/sh
# Fetches MySQL itself for the tests, beside the system: into a folder of the user's cache, without
# touching what is installed. Where it cannot be had it says so and the tests run on MariaDB alone.
# Prints the folder on success. Quick when it is there already.
set -eu

root=$HOME/.cache/driftd/mysql
absent() {
    echo "mysql.sh: MySQL itself is not tested here: $1" >&2
    exit 0
}

if [ -e "$root/ready" ]; then
    echo "$root"
    exit 0
fi
[ "$(uname -m)" = x86_64 ] || absent "no package for $(uname -m)"
[ -r /usr/share/keyrings/debian-archive-keyring.gpg ] || absent "this is not Debian"
command -v apt-get >/dev/null 2>&1 || absent "no apt-get"
# The mirror that this machine uses, with the suite that has MySQL.
mirror=$(cat /etc/apt/sources.list.d/*.sources 2>/dev/null | awk '/^URIs:/ {print $2; exit}')
[ -n "$mirror" ] || mirror=$(awk '/^deb / {for (i = 2; i <= NF; i++) if ($i ~ /^https?:/) {print $i; exit}}' \
    /etc/apt/sources.list 2>/dev/null || true)
[ -n "$mirror" ] || absent "no mirror is configured"

mkdir -p "${root%/*}"
fresh=$(mktemp -d "${root%/*}/new-XXXXXX")
trap 'rm -rf "$fresh"' EXIT
trap 'exit 1' INT TERM
apt=$fresh/.apt
mkdir -p "$apt/etc/apt/preferences.d" "$apt/etc/apt/apt.conf.d" "$apt/var/lib/apt/lists/partial" \
    "$apt/var/cache/apt/archives/partial" "$apt/var/lib/dpkg"
: >"$apt/var/lib/dpkg/status"
echo "deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] $mirror sid main" \
    >"$apt/etc/apt/sources.list"
cat >"$apt/apt.conf" <<CONF
Dir "$apt";
Dir::State::status "$apt/var/lib/dpkg/status";
Dir::Etc::SourceList "$apt/etc/apt/sources.list";
Dir::Etc::SourceParts "/dev/null";
APT::Architecture "amd64";
APT::Install-Recommends "false";
APT::Sandbox::User "$(id -un)";
Acquire::Languages "none";
CONF
# A mirror that is a frozen snapshot says so in the machine's own settings; signatures stay checked.
if apt-config dump 2>/dev/null | grep -q 'Acquire::Check-Valid-Until "false"'; then
    echo 'Acquire::Check-Valid-Until "false"; Acquire::Check-Date "false";' >>"$apt/apt.conf"
fi
export APT_CONFIG="$apt/apt.conf"
apt-get update -qq >&2 || absent "the mirror cannot be read"
apt-get install -y -qq --download-only mysql-server-core >&2 || absent "the mirror has no MySQL"
for package in "$apt"/var/cache/apt/archives/*.deb; do
    dpkg -x "$package" "$fresh" || absent "a package cannot be unpacked"
done
rm -rf "$apt"
loader=$fresh/usr/lib/x86_64-linux-gnu
"$loader/ld-linux-x86-64.so.2" --library-path "$loader:$loader/mysql" "$fresh/usr/sbin/mysqld" \
    --no-defaults --version >&2 || absent "it does not run on this machine"
: >"$fresh/ready"
rm -rf "$root"
mv "$fresh" "$root"
trap - EXIT
echo "$root"
