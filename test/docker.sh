#!/bin/sh
# Unpacks Debian's Docker and containerd into a directory, for test/container,
# unless they are there. Nothing is installed or started.
set -eu
dir=${1:?usage: $0 DIRECTORY}
[ ! -x "$dir/usr/sbin/dockerd" ] || exit 0
mkdir -p "$(dirname "$dir")"
new=$(mktemp -d "$dir.XXXXXX")
trap 'rm -rf "$new"' EXIT
(cd "$new" && apt-get download -q docker.io containerd && for deb in *.deb; do dpkg-deb -x "$deb" . && rm "$deb"; done)
mv -T "$new" "$dir"
