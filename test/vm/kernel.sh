#!/bin/sh
# Unpacks Debian's kernel for virtual machines into a directory, for the tests
# in test/vm, unless one is there. Nothing is installed.
set -eu
dir=${1:?usage: $0 DIRECTORY}
ls "$dir"/boot/vmlinuz-* >/dev/null 2>&1 && exit
package=$(apt-cache depends --important linux-image-cloud-amd64 | sed -n 's/^ *Depends: \(linux-image-[^ ]*\).*/\1/p' | head -n 1)
if [ -z "$package" ]; then
  echo "$0: apt knows no linux-image-cloud-amd64: run apt-get update, or unpack a kernel with its modules into $dir" >&2
  exit 1
fi
mkdir -p "$(dirname "$dir")"
new=$(mktemp -d "$dir.XXXXXX")
trap 'rm -rf "$new"' EXIT
(cd "$new" && apt-get download -q "$package" && dpkg -x "$package"_*.deb . && rm "$package"_*.deb)
find "$new" -name '*.ko.xz' -exec xz -d {} +
mv -T "$new" "$dir"
