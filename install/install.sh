#!/bin/sh
# Installs vgpu-agent on a VM without a package manager's help, upgrades it, or takes it away again. It comes with the files
# that `npm run package` made, in the same directory. On Debian and Ubuntu install the .deb instead: apt install ./vgpu-agent_*.deb
set -eu

HERE=$(dirname "$(readlink -f "$0")")
# What was installed, one path a line: an upgrade and a removal take away exactly that.
MANIFEST=/usr/lib/vgpu-agent/manifest
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

remove_files() {
  [ -e "$MANIFEST" ] || return 0
  while IFS= read -r path; do
    [ "$path" = "$CONFIGURATION" ] || rm -f -- "$path"
  done <"$MANIFEST"
  rm -rf /usr/lib/vgpu-agent
}

install_files() {
  [ -d "$HERE/root" ] || fail "there are no files to install beside this script: unpack the archive that npm run package made"
  cp -R "$HERE/root/usr/." /usr/
  mkdir -p /etc/vgpu-agent
  # The operator's own file stays as it is.
  if [ ! -e "$CONFIGURATION" ]; then
    cp "$HERE/root$CONFIGURATION" "$CONFIGURATION"
    chmod 0644 "$CONFIGURATION"
  fi
  (cd "$HERE/root" && find . -type f -o -type l) | sed 's/^\.//' >"$MANIFEST"
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
command -v systemctl >/dev/null || fail "it needs systemd"
if command -v dpkg-query >/dev/null && dpkg-query -W -f '${db:Status-Abbrev}' vgpu-agent 2>/dev/null | grep -q '^i'; then
  fail "vgpu-agent was installed as a Debian package: use apt install ./vgpu-agent_*.deb, apt remove or apt purge"
fi

if [ "$action" = install ]; then
  previous=""
  if [ -e "$MANIFEST" ]; then
    previous=$(cat /usr/lib/vgpu-agent/VERSION 2>/dev/null || echo unknown)
    # Files that the new version has no more must not stay. What runs has its own open.
    remove_files
  fi
  install_files
  sh "$HERE/scripts/postinst" configure "$previous"
  echo "vgpu-agent $(cat /usr/lib/vgpu-agent/VERSION) is installed. To report to a host: vgpu-agent enroll STRING"
else
  [ -e "$MANIFEST" ] || [ "$action" = purge ] || fail "it is not installed"
  sh "$HERE/scripts/prerm" remove
  remove_files
  sh "$HERE/scripts/postrm" "$action"
  echo "vgpu-agent was removed."
fi
