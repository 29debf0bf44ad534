#!/bin/sh
# Installs vgpu-agent on a VM without a package manager's help, upgrades it, or takes it away again. It comes with the files
# that `npm run package` made, in the same directory. On Debian and Ubuntu install the .deb instead: apt install ./vgpu-agent_*.deb
set -eu

umask 022
HERE=$(dirname "$(readlink -f "$0")")
LIBRARY=/usr/lib/vgpu-agent
# What was installed, one path a line, directories that were not there before with a "/" at the end: a removal takes away
# exactly that.
MANIFEST=$LIBRARY/manifest
CONFIGURATION=/etc/vgpu-agent/agent.toml

usage() {
  cat <<'TEXT'
Usage: install.sh [--uninstall | --purge]

  install.sh               install, or upgrade what is installed: state, enrolment and configuration are kept
  install.sh --uninstall   stop the services and remove the program; state, enrolment and configuration are kept
  install.sh --purge       the same, and remove those and the services' users too

Needs root and systemd. Nothing is downloaded.
TEXT
}

fail() {
  echo "install.sh: $1" >&2
  exit 1
}

# log-scan without arguments says how it is used, and ends with 2; the loader ends with another code.
starts() {
  code=0
  "$1" >/dev/null 2>&1 || code=$?
  [ "$code" -eq 2 ]
}

# Takes away the files that the manifest $1 has and $2, a newer one, has not; then directories that this left empty.
remove_files() {
  grep -v '/$' "$1" | while IFS= read -r path; do
    case "$path" in "$CONFIGURATION" | "$LIBRARY"/*) continue ;; esac
    grep -qxF -- "$path" "$2" || rm -f -- "$path"
  done
  grep '/$' "$1" | sort -r | while IFS= read -r path; do
    rmdir -- "$path" 2>/dev/null || true
  done
}

# The files in $HERE/root, and the directories that have to be made for them or were made by an earlier installation.
list_files() {
  (cd "$HERE/root" && find . -type f -o -type l) | sed 's/^\.//'
  (cd "$HERE/root" && find . -mindepth 1 -type d) | sed 's/^\.//' | while IFS= read -r path; do
    case "$path" in "$LIBRARY"/* | /etc/*) continue ;; esac
    if [ ! -d "$path" ] || grep -qxF -- "$path/" "$MANIFEST" 2>/dev/null; then echo "$path/"; fi
  done
}

# What takes space is copied beside the old one first: a full disk leaves that as it is.
install_files() {
  rm -rf "$LIBRARY.new"
  cp -R "$HERE/root$LIBRARY" "$LIBRARY.new" || {
    rm -rf "$LIBRARY.new"
    fail "the files cannot be copied to $LIBRARY.new: nothing was changed"
  }
  list_files >"$LIBRARY.new/manifest"
  if [ -e "$MANIFEST" ]; then remove_files "$MANIFEST" "$LIBRARY.new/manifest"; fi
  rm -rf "$LIBRARY"
  mv "$LIBRARY.new" "$LIBRARY"
  grep -v '/$' "$MANIFEST" | while IFS= read -r path; do
    case "$path" in "$CONFIGURATION" | "$LIBRARY"/*) continue ;; esac
    mkdir -p "$(dirname "$path")"
    # Removed first: a program that runs cannot be written into.
    rm -f -- "$path"
    cp "$HERE/root$path" "$path"
  done
  # The operator's own file stays as it is.
  mkdir -p /etc/vgpu-agent
  [ -e "$CONFIGURATION" ] || cp "$HERE/root$CONFIGURATION" "$CONFIGURATION"
}

action=install
case "${1:-}" in
  "") ;;
  -h | --help) usage && exit 0 ;;
  --uninstall) action=remove ;;
  --purge) action=purge ;;
  *) usage >&2 && exit 2 ;;
esac
[ $# -le 1 ] || { usage >&2 && exit 2; }
[ "$(id -u)" -eq 0 ] || fail "it needs root: sudo $0 $*"
command -v systemctl >/dev/null || fail "it needs systemd, and there is no systemctl"
if command -v dpkg-query >/dev/null && dpkg-query -W -f '${db:Status-Abbrev}' vgpu-agent 2>/dev/null | grep -q '^i'; then
  fail "vgpu-agent was installed as a Debian package: use apt install ./vgpu-agent_*.deb, apt remove or apt purge"
fi

if [ "$action" = install ]; then
  [ -d "$HERE/root" ] || fail "there are no files to install beside this script: unpack the archive that npm run package made"
  if ! "$HERE/root/usr/bin/vgpu-agent" --version >/dev/null || ! starts "$HERE/root$LIBRARY"/log-scan/prebuilt/*/vgpu-log-scan; then
    fail "the program does not start here: it is for another processor or a newer glibc, or libstdc++ is missing"
  fi
  was=no
  if [ -e "$MANIFEST" ]; then was=yes; fi
  install_files
  [ "$was" = yes ] || sh "$HERE/scripts/preinst" install
  sh "$HERE/scripts/postinst" configure
  echo "vgpu-agent $(cat "$LIBRARY/VERSION") is installed. To report to a host: vgpu-agent enroll"
else
  if [ -e "$MANIFEST" ]; then
    sh "$HERE/scripts/prerm" remove
    kept=$(mktemp)
    cp "$MANIFEST" "$kept"
    rm -rf "$LIBRARY"
    remove_files "$kept" /dev/null
    rm "$kept"
  elif [ "$action" = remove ]; then
    fail "it is not installed"
  fi
  sh "$HERE/scripts/postrm" "$action"
  echo "vgpu-agent was removed."
fi
