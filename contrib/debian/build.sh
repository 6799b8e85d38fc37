#!/usr/bin/env bash
# build.sh [OUT] - a Debian package with a Python environment of its own, into OUT (build/). Run through `make deb`.
#
#   /opt/usenetsync            the environment: the program and its libraries, from pip
#   /usr/bin                   usenetsyncd, usyncctl
#   /lib/systemd/system, /usr/lib/{sysusers.d,tmpfiles.d,sysctl.d}, /usr/share/man, completions, example configuration
#
# Only dpkg-deb is needed, no debhelper, no root. The environment belongs to the distribution's Python, whose version
# the package depends on: one for Debian 12 is built on Debian 12. ENVIRONMENT=no leaves it out, which tests use where
# only the rest is looked at. PYTHON names another interpreter.
set -euo pipefail
here=$(cd "$(dirname "$0")/../.." && pwd)
out=${1:-$here/build}
python=${PYTHON:-/usr/bin/python3}
maker=${MAKER:-$here/.venv/bin/python}  # has our own libraries; it makes the pages and the completions
opt=/opt/usenetsync
maintainer="${DEBFULLNAME:-Whoever built it} <${DEBEMAIL:-root@localhost}>"
umask 022

say() { printf 'deb: %s\n' "$*" >&2; }

version=$(sed -n 's/^__version__ = "\(.*\)"/\1/p' "$here/usenetsyncd/__init__.py")
[ -n "$version" ] || { say "usenetsyncd/__init__.py tells no version"; exit 1; }
minor=$("$python" -c 'import sys; print(sys.version_info.minor)')
[ "$minor" -ge 11 ] || { say "$python is older than 3.11"; exit 1; }
architecture=$(dpkg --print-architecture)
SOURCE_DATE_EPOCH=${SOURCE_DATE_EPOCH:-$(git -C "$here" log -1 --format=%ct 2>/dev/null || stat -c %Y "$here/pyproject.toml")}
export SOURCE_DATE_EPOCH

root=$(mktemp -d)
trap 'rm -rf "$root"' EXIT
chmod 755 "$root"

place() { install -D -m "${3:-0644}" "$1" "$root$2"; }

# What a virtual environment has of its own place, in scripts and pyvenv.cfg, is where it will stand, not where it is made.
make_environment() {
  "$python" -m venv --without-pip "$root$opt"
  local pip=("$maker" -m pip --python "$root$opt/bin/python" -q install --no-compile --disable-pip-version-check)
  "${pip[@]}" "$here[systemd]" 2>/dev/null || {
    say "without systemd-python (needs libsystemd-dev, pkg-config and a compiler): logs go to the journal as plain lines"
    "${pip[@]}" "$here"
  }
  grep -rlI "$root" "$root$opt/bin" "$root$opt/pyvenv.cfg" | xargs -r sed -i "s|$root||g"
  # Commands of the libraries, and of shells that activate an environment, are nobody's here.
  find "$root$opt/bin" -mindepth 1 ! -name 'python*' ! -name usenetsyncd ! -name usyncctl -delete
  find "$root$opt" -name direct_url.json -delete  # the path of this checkout
  find "$root$opt" \( -name __pycache__ -o -name tests -path '*site-packages/*/tests' \) -prune -exec rm -rf {} +
  chmod -R u+rwX,go+rX,go-w "$root$opt"
}

place_files() {
  sed 's|^ExecStart=/usr/local/bin/|ExecStart=/usr/bin/|' "$here/systemd/usenetsyncd.service" >"$root/unit"
  place "$root/unit" /lib/systemd/system/usenetsyncd.service
  sed 's|^ExecStart=/usr/local/bin/|ExecStart=/usr/bin/|' "$here/systemd/user/usenetsyncd.service" >"$root/unit"
  place "$root/unit" /usr/lib/systemd/user/usenetsyncd.service
  rm "$root/unit"
  place "$here/systemd/sysusers.d/usenetsyncd.conf" /usr/lib/sysusers.d/usenetsyncd.conf
  place "$here/systemd/tmpfiles.d/usenetsyncd.conf" /usr/lib/tmpfiles.d/usenetsyncd.conf
  place "$here/systemd/sysctl.d/60-usenetsyncd.conf" /usr/lib/sysctl.d/60-usenetsyncd.conf
  mkdir -p "$root/usr/bin"
  ln -s "$opt/bin/usenetsyncd" "$root/usr/bin/usenetsyncd"
  ln -s "$opt/bin/usyncctl" "$root/usr/bin/usyncctl"
  local doc=/usr/share/doc/usenetsync drop_in
  place "$here/usenetsyncd.example.yaml" $doc/examples/usenetsyncd.yaml
  for drop_in in "$here"/systemd/drop-ins/*.conf; do place "$drop_in" "$doc/examples/$(basename "$drop_in")"; done
  place "$here/contrib/debian/copyright" $doc/copyright
  gzip -9nc "$here/CHANGELOG.md" >"$root$doc/CHANGELOG.md.gz"
  printf 'usenetsync (%s) stable; urgency=medium\n\n  * CHANGELOG.md.gz beside this tells what is new.\n\n -- %s  %s\n' \
    "$version" "$maintainer" "$(date -uRd "@$SOURCE_DATE_EPOCH")" | gzip -9n >"$root$doc/changelog.gz"
}

place_generated() {
  local man="$root/usr/share/man/man1" shell
  (cd "$here" && "$maker" -m usenetsyncd.cli.manual "$man")
  gzip -9n "$man"/*
  for shell in bash zsh fish; do
    (cd "$here" && "$maker" -m usenetsyncd.cli.usyncctl completion "$shell") >"$root/completion"
    case $shell in
      bash) place "$root/completion" /usr/share/bash-completion/completions/usyncctl ;;
      zsh) place "$root/completion" /usr/share/zsh/vendor-completions/_usyncctl ;;
      fish) place "$root/completion" /usr/share/fish/vendor_completions.d/usyncctl.fish ;;
    esac
    rm "$root/completion"
  done
}

place_control() {
  local script
  mkdir -p "$root/DEBIAN"
  sed -e "s/@VERSION@/$version/" -e "s/@ARCHITECTURE@/$architecture/" -e "s/@MINOR@/$minor/g" -e "s/@NEXT@/$((minor + 1))/g" \
    -e "s/@MAINTAINER@/$maintainer/" -e "s/@SIZE@/$(du -sk --exclude=DEBIAN "$root" | cut -f1)/" "$here/contrib/debian/control.in" >"$root/DEBIAN/control"
  for script in postinst prerm postrm; do install -m 0755 "$here/contrib/debian/$script" "$root/DEBIAN/$script"; done
  (cd "$root" && find . -type f -not -path './DEBIAN/*' -printf '%P\0' | sort -z | xargs -0r md5sum) >"$root/DEBIAN/md5sums"
}

if [ "${ENVIRONMENT:-yes}" = yes ]; then make_environment; fi
place_files
place_generated
place_control
mkdir -p "$out"
package="$out/usenetsync_${version}_$architecture.deb"
dpkg-deb --root-owner-group -Zxz -z3 --build "$root" "$package" >/dev/null
echo "$package"
