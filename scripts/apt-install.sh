#!/usr/bin/env bash
# Installs the given Debian packages (or those of apt-packages.txt) where that is allowed; otherwise says what is missing
# and how to get it. Never fails: the tests that need a missing tool skip themselves.
set -uo pipefail

list="$(dirname "$0")/apt-packages.txt"
packages=("$@")
if [ ${#packages[@]} -eq 0 ]; then
    mapfile -t packages < <(sed 's/#.*//; s/[[:space:]]*$//; /^$/d' "$list")
fi

installed() { [ "$(dpkg-query -W -f '${db:Status-Status}' "$1" 2>/dev/null)" = installed ]; }

absent=()
for package in "${packages[@]}"; do
    installed "$package" || absent+=("$package")
done
[ ${#absent[@]} -eq 0 ] && exit 0

say() { printf 'apt-install: %s\n' "$*" >&2; }
if ! command -v apt-get >/dev/null; then
    say "this is no Debian or Ubuntu; what needs these will be skipped: ${absent[*]}"
    exit 0
fi
if [ "$(id -u)" -eq 0 ]; then
    as_root=(env DEBIAN_FRONTEND=noninteractive)
elif sudo -n true 2>/dev/null; then
    as_root=(sudo -n env DEBIAN_FRONTEND=noninteractive)
else
    say "no root rights; what needs these will be skipped. To have them: sudo apt-get install ${absent[*]}"
    exit 0
fi

"${as_root[@]}" apt-get update -qq || say "apt-get update failed; going on with the package lists at hand"
known=()
for package in "${absent[@]}"; do
    if apt-cache show "$package" >/dev/null 2>&1; then known+=("$package"); else say "no package $package here"; fi
done
if [ ${#known[@]} -gt 0 ] && ! "${as_root[@]}" apt-get install -y -qq --no-install-recommends "${known[@]}" >/dev/null; then
    say "could not install: ${known[*]}; what needs them will be skipped"
fi
exit 0
