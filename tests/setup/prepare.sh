#!/usr/bin/env bash
# prepare.sh demo|test - make .venv in this checkout ready; quick when nothing changed.
#
#   demo   the package and what it needs to run
#   test   also the tools of the tests, systemd-python, INN, and whatever else Debian has to bring for them
#
# Installs Python packages into .venv only (the system's Python may refuse them, PEP 668), and Debian packages
# only where it may: as root, or through sudo without a password. What is missing afterwards is not an error
# here: the tests that need it are listed as "could not run".
set -euo pipefail
cd "$(dirname "$0")/../.."
goal=${1:?demo or test}
venv=$PWD/.venv
export PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_INPUT=1
source tests/setup/debian.sh

say() { printf 'set-up: %s\n' "$*" >&2; }

# The first interpreter on PATH that is new enough and really runs (a pyenv shim may be there and not run).
find_python() {
  local name
  for name in ${PYTHON:-} python3 python3.13 python3.12 python3.11 python; do
    if "$name" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 14))' 2>/dev/null; then
      "$name" -c 'import sys; print(sys.executable)'
      return
    fi
  done
  say "no Python 3.11 to 3.13 on PATH; set PYTHON=/path/to/python3"
  return 1
}

# Without ensurepip (Debian splits it off into python3-venv) the system's pip fills the empty environment.
make_venv() {
  local python=$1
  rm -rf "$venv"
  "$python" -m venv "$venv" >/dev/null 2>&1 && return
  rm -rf "$venv"
  "$python" -m venv --without-pip "$venv" && "$python" -m pip -q --python "$venv/bin/python" install pip && return
  rm -rf "$venv"
  debian_install python3-venv && "$python" -m venv "$venv" && return
  say "cannot make a virtual environment: $python has neither ensurepip nor pip (Debian: apt install python3-venv)"
  return 1
}

# What the environment was made from. Another checkout path or interpreter makes it stale; so does a change in what
# this machine offers, so that what could not be installed is tried again then.
fingerprint() {
  {
    echo "$1 $PWD $(id -u) $(command -v cc pkg-config) $(pkg-config --modversion libsystemd 2>/dev/null)"
    echo /usr/lib/news/bin/inn[d]
    cat pyproject.toml tests/setup/*.sh
  } | sha256sum | cut -d' ' -f1
}

install_systemd_python() {
  [ "$(uname -s)" = Linux ] || return 0
  "$venv/bin/python" -c 'import systemd.daemon' 2>/dev/null && return
  debian_headers "$venv/bin/python"
  "$venv/bin/python" -m pip -q install -e '.[systemd]' >"$venv/systemd-python.log" 2>&1 ||
    say "systemd-python could not be built (see .venv/systemd-python.log); its tests will be listed"
}

python=$(find_python)
stamp=$venv/.made-from-$goal
if [ "$(cat "$stamp" 2>/dev/null)" = "$(fingerprint "$python")" ] && "$venv/bin/python" -c 'import usenetsyncd' 2>/dev/null; then
  exit 0
fi

if ! "$venv/bin/python" -m pip --version >/dev/null 2>&1 || [ "$(cat "$venv/.python" 2>/dev/null)" != "$python $PWD" ]; then
  say "making .venv with $python"
  make_venv "$python"
  echo "$python $PWD" >"$venv/.python"
fi
say "installing UsenetSync and its libraries into .venv"
case $goal in
  demo) "$venv/bin/python" -m pip -q install -e . ;;
  test)
    "$venv/bin/python" -m pip -q install -e '.[dev]'
    install_systemd_python
    debian_tools
    ;;
  *) say "unknown goal $goal"; exit 2 ;;
esac
fingerprint "$python" >"$stamp"
