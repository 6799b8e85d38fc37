#!/usr/bin/env bash
# install-service.sh - install UsenetSync from this checkout as a system service. Run as root.
#
#   contrib/install-service.sh               install, or bring an installation up to this checkout; starts nothing
#   contrib/install-service.sh --uninstall   remove it; configuration, keys and catalogue stay
#
# The program goes into an environment of its own, /opt/usenetsync, with systemd-python built against this machine's
# libsystemd. DESTDIR=/some/root places the files there and runs nothing, for packagers.
set -euo pipefail
umask 022  # what is installed is for the service's own user, too
here=$(cd "$(dirname "$0")/.." && pwd)
root=${DESTDIR:-}
opt=/opt/usenetsync

# What goes where: source below systemd/, then target.
files="
usenetsyncd.service                 /etc/systemd/system/usenetsyncd.service
sysusers.d/usenetsyncd.conf         /etc/sysusers.d/usenetsyncd.conf
tmpfiles.d/usenetsyncd.conf         /etc/tmpfiles.d/usenetsyncd.conf
sysctl.d/60-usenetsyncd.conf        /etc/sysctl.d/60-usenetsyncd.conf
"

say() { printf '%s\n' "$*"; }

systemd_runs() { [ -z "$root" ] && [ -d /run/systemd/system ]; }

# The distribution's Python where it is new enough: one below a person's home is out of the service's reach.
find_python() {
  local python
  for python in /usr/bin/python3 "$(command -v python3 || true)"; do
    if [ -x "$python" ] && "$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))'; then
      echo "$python"
      return
    fi
  done
  say "Python 3.11 or newer is needed" >&2
  return 1
}

install_program() {
  if command -v apt-get >/dev/null; then
    DEBIAN_FRONTEND=noninteractive apt-get -qq install -y --no-install-recommends \
      python3-venv python3-dev gcc pkg-config libsystemd-dev </dev/null >/dev/null
  fi
  local python
  python=$(find_python)
  [ -x "$opt/bin/python" ] || "$python" -m venv "$opt"
  "$opt/bin/python" -m pip -q install --upgrade "$here[systemd]"
  ln -sfn "$opt/bin/usenetsyncd" /usr/local/bin/usenetsyncd
  ln -sfn "$opt/bin/usyncctl" /usr/local/bin/usyncctl
}

place_files() {
  while read -r from to; do
    [ -z "$from" ] || install -D -m 0644 "$here/systemd/$from" "$root$to"
  done <<<"$files"
}

prepare_machine() {
  systemd-sysusers /etc/sysusers.d/usenetsyncd.conf
  systemd-tmpfiles --create /etc/tmpfiles.d/usenetsyncd.conf
  if [ ! -e /etc/usenetsyncd/usenetsyncd.yaml ]; then
    install -m 0660 -o root -g usenetsync "$here/usenetsyncd.example.yaml" /etc/usenetsyncd/usenetsyncd.yaml
  fi
  if ! setpriv --reuid usenetsync --regid usenetsync --init-groups "$opt/bin/usenetsyncd" --version >/dev/null; then
    say "the user usenetsync cannot run $opt/bin/usenetsyncd (it uses $(readlink -f "$opt/bin/python"))" >&2
    exit 1
  fi
  # Only on a machine that systemd runs: from a chroot the limits would be those of the kernel outside. The other
  # files of sysctl.d have their say, so a higher limit of the administrator's stays.
  if systemd_runs; then
    /lib/systemd/systemd-sysctl --prefix=/fs/inotify || say "could not raise the inotify limits here"
    systemctl daemon-reload
  fi
}

uninstall() {
  if systemd_runs; then systemctl disable --now usenetsyncd || true; fi
  while read -r _ to; do
    [ -z "$to" ] || rm -f "$root$to"
  done <<<"$files"
  if [ -z "$root" ]; then
    rm -rf "$opt"
    rm -f /usr/local/bin/usenetsyncd /usr/local/bin/usyncctl
  fi
  if systemd_runs; then systemctl daemon-reload; fi
  say "removed; /etc/usenetsyncd and /var/lib/usenetsyncd (keys!) are still there"
}

if [ "${1:-}" = --uninstall ]; then
  uninstall
elif [ -n "$root" ]; then
  place_files
else
  [ "$(id -u)" = 0 ] || { say "run this as root"; exit 77; }
  install_program
  place_files
  prepare_machine
  say "Installed. Now:
  1. edit /etc/usenetsyncd/usenetsyncd.yaml, then: usyncctl config validate
  2. systemctl enable --now usenetsyncd
  3. usyncctl credential set main      (the password of the server 'main'; typed, not shown)
  4. usermod -aG usenetsync YOU        (so that you may use usyncctl)"
fi
