#!/bin/sh
# Unpacks Debian's Chromium without a display, and its libraries, into a
# directory, for internal/page, unless it is there. Nothing is installed.
set -eu
dir=${1:?usage: $0 DIRECTORY}
[ ! -x "$dir/usr/lib/chromium/chromium-headless-shell" ] || exit 0
mkdir -p "$(dirname "$dir")"
new=$(mktemp -d "$dir.XXXXXX")
trap 'rm -rf "$new"' EXIT
# Each library that a library needs, but for those that every system has.
needed=$(apt-cache depends --recurse --no-recommends --no-suggests --no-conflicts --no-breaks \
  --no-replaces --no-enhances --no-pre-depends chromium-headless-shell |
  grep -E '^(lib|chromium|fonts-dejavu-core|fontconfig-config)[^<>: ]*$' | sort -u |
  grep -vE '^(libc6|libgcc-s1|libelogind0|libllvm15|libgl1-mesa-dri|libdebian-installer4|chromium)$')
# shellcheck disable=SC2086 # One word each.
(cd "$new" && apt-get download -q $needed fonts-dejavu-core && for deb in *.deb; do dpkg-deb -x "$deb" . && rm "$deb"; done)
mv -T "$new" "$dir"
