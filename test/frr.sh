#!/bin/sh
# Unpacks Debian's FRR and its libraries into a directory, for test/fabric_test.go,
# unless it is there. Nothing is installed.
set -eu
dir=${1:?usage: $0 DIRECTORY}
[ ! -x "$dir/usr/lib/frr/bgpd" ] || exit 0
mkdir -p "$(dirname "$dir")"
new=$(mktemp -d "$dir.XXXXXX")
trap 'rm -rf "$new"' EXIT
libraries() { # of packages, but for those that every system has
  apt-cache depends --no-recommends --no-suggests "$@" |
    sed -n 's/^ *Depends: \(lib[^<>]*\)$/\1/p' | sort -u | grep -vE '^(libc6|libgcc-s1|libstdc.*)$' || true
}
# shellcheck disable=SC2046 # One word each.
needed=$(libraries frr; libraries $(libraries frr))
# shellcheck disable=SC2086 # One word each.
(cd "$new" && apt-get download -q frr $needed && for deb in *.deb; do dpkg-deb -x "$deb" . && rm "$deb"; done)
mv -T "$new" "$dir"
