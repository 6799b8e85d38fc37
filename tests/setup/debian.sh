# debian.sh - sourced by prepare.sh: Debian packages, installed only where that is allowed.

# Run as root: directly, or through sudo if it asks for no password. NO_APT=1 forbids both.
as_root() {
  [ -z "${NO_APT:-}" ] || return 1
  if [ "$(id -u)" = 0 ]; then "$@"; elif command -v sudo >/dev/null && sudo -n true 2>/dev/null; then sudo -n "$@"; else return 1; fi
}

# debian_install PACKAGE...: true if they are there afterwards. Never asks, never fails the set-up.
debian_install() {
  command -v apt-get >/dev/null || return 1
  as_root true || { say "not root without a password, or NO_APT is set; not installed: $*"; return 1; }
  say "installing Debian packages: $*"
  as_root env DEBIAN_FRONTEND=noninteractive apt-get -qq update </dev/null >/dev/null 2>&1 || true
  as_root env DEBIAN_FRONTEND=noninteractive apt-get -qq install -y --no-install-recommends "$@" </dev/null >/dev/null 2>&1 ||
    { say "apt-get could not install: $*"; return 1; }
}

# debian_headers PYTHON: what pip needs to build systemd-python, which comes as source only.
debian_headers() {
  local wanted=() header
  command -v cc >/dev/null || wanted+=(gcc libc6-dev)
  command -v pkg-config >/dev/null || wanted+=(pkg-config)
  pkg-config --exists libsystemd 2>/dev/null || wanted+=(libsystemd-dev)
  header=$("$1" -c 'import sysconfig; print(sysconfig.get_path("include") + "/Python.h")')
  [ -e "$header" ] || wanted+=(python3-dev)
  [ ${#wanted[@]} = 0 ] || debian_install "${wanted[@]}" || true
}

# Programs that tests run for real.
debian_tools() {
  local wanted=()
  command -v git >/dev/null || wanted+=(git)
  command -v openssl >/dev/null || wanted+=(openssl)
  command -v chromium >/dev/null || wanted+=(chromium) # the dashboard is tried in a real browser
  command -v promtool >/dev/null || wanted+=(prometheus) # for promtool alone; its service is not started
  command -v mandoc >/dev/null || wanted+=(mandoc)
  command -v zsh >/dev/null || wanted+=(zsh) # completions are read by their own shells
  command -v fish >/dev/null || wanted+=(fish)
  command -v lintian >/dev/null || wanted+=(lintian)
  [ -x /bin/kill ] || wanted+=(procps) # the units reload with it, and systemd-analyze verify looks for it
  command -v systemd-analyze >/dev/null || wanted+=(systemd)
  [ ${#wanted[@]} = 0 ] || debian_install "${wanted[@]}" || true
  if [ ! -x /usr/lib/news/bin/innd ] && [ -e tests/inn/install.sh ]; then
    say "installing INN, the news server that the contract tests run against"
    as_root bash tests/inn/install.sh </dev/null >.venv/inn.log 2>&1 || say "INN could not be installed (see .venv/inn.log)"
  fi
}
