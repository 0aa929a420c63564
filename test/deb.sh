#!/bin/sh
# Builds the Debian package, installs it into a scratch root without systemd,
# runs what it installed, and removes it again. Root only.
set -eu
if [ "$(id -u)" != 0 ]; then
  echo "$0: needs root, to install packages; try: sudo $0" >&2
  exit 1
fi
cd "$(dirname "$0")/.."
root=$(mktemp -d)
daemon=
trap '[ -z "$daemon" ] || kill "$daemon"; rm -rf "$root"' EXIT
fail() {
  echo "$0: $*" >&2
  exit 1
}

make -s deb
first=$(sha256sum bin/vswitchd_*.deb)
deb=${first##* }
make -s deb
[ "$first" = "$(sha256sum bin/vswitchd_*.deb)" ] || fail "built again, the package is another one"
if command -v lintian >/dev/null; then lintian --fail-on error --suppress-tags statically-linked-binary "$deb"; fi

# The scripts run outside with DPKG_ROOT set, for there is no shell inside.
mkdir -p "$root/etc" "$root/var/lib/dpkg"
touch "$root/var/lib/dpkg/status"
into() { dpkg --root="$root" --force-script-chrootless --force-depends --log="$root/var/lib/dpkg/log" "$@"; }
into -i "$deb"
verify=$(into --verify vswitchd)
[ -z "$verify" ] || fail "installed files differ: $verify"

owner=$(stat -c %u "$root/etc/vswitchd")
grep -q "^vswitchd:x:$owner:" "$root/etc/passwd" || fail "/etc/vswitchd belongs to user $owner: $(cat "$root/etc/passwd")"
[ -L "$root/etc/systemd/system/multi-user.target.wants/vswitchd.service" ] || fail "the unit is not enabled"

# Where systemd's programs are not, the scripts do without them.
for script in "postinst configure" "prerm remove" "postrm remove"; do
  # shellcheck disable=SC2086 # The second word is the argument.
  env -i PATH=/nonexistent DPKG_ROOT=/nonexistent /bin/sh "$root/var/lib/dpkg/info/vswitchd."$script
done

chroot "$root" /usr/bin/vswitchctl version
chroot "$root" /usr/sbin/vswitchd --check
chroot "$root" /usr/lib/netavark/vswitch info
mkdir "$root/run" "$root/proc"
unshare -mn sh -c "mount -t proc proc '$root/proc' && exec chroot '$root' /usr/sbin/vswitchd --metrics-listen none" &
daemon=$!
tries=0
until chroot "$root" /usr/bin/vswitchctl status; do
  [ $((tries += 1)) -lt 100 ] || fail "the daemon does not answer"
  sleep 0.1
done
chroot "$root" /usr/bin/vswitchctl config save
kill "$daemon"
wait "$daemon" || fail "the daemon ended with exit code $?"
daemon=

for page in "$root"/usr/share/man/man?/*.gz; do
  command -v groff >/dev/null || break
  warnings=$(zcat "$page" | groff -mandoc -Tutf8 -ww -z 2>&1)
  [ -z "$warnings" ] || fail "$page: $warnings"
done
bash -n "$root/usr/share/bash-completion/completions/vswitchctl"
if command -v zsh >/dev/null; then zsh -n "$root/usr/share/zsh/vendor-completions/_vswitchctl"; fi
if command -v fish >/dev/null; then fish -n "$root/usr/share/fish/vendor_completions.d/vswitchctl.fish"; fi

# An upgrade leaves the configuration alone, and so does removing.
echo "# mine" >>"$root/etc/vswitchd/vswitchd.yaml"
into -i "$deb"
into -r vswitchd
grep -q mine "$root/etc/vswitchd/vswitchd.yaml" || fail "the configuration was replaced"
[ ! -e "$root/usr/sbin" ] || fail "removed, programs are left: $(ls "$root/usr/sbin")"
into -P vswitchd
left=$(cd "$root" && find . -path ./var/lib/dpkg -prune -o ! -type d -print | sort | tr '\n' ' ')
[ "$left" = "./etc/.pwd.lock ./etc/group ./etc/gshadow ./etc/passwd ./etc/shadow " ] || fail "purged, files are left: $left"
[ ! -e "$root/etc/vswitchd" ] || fail "purged, /etc/vswitchd is left"
