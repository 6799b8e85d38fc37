#!/usr/bin/env bash
# install.sh - Debian's INN for the contract tests, without a mail server and without starting its own instance. Root only.
set -euo pipefail
export DEBIAN_FRONTEND=noninteractive

[ -x /usr/lib/news/bin/innd ] && exit 0

# Debian starts a service as soon as it is installed, unless this says no. What is there already stays.
if [ ! -e /usr/sbin/policy-rc.d ]; then
  printf '#!/bin/sh\nexit 101\n' >/usr/sbin/policy-rc.d
  chmod +x /usr/sbin/policy-rc.d
  trap 'rm -f /usr/sbin/policy-rc.d' EXIT
fi

apt-get update -qq
apt-get install -y -qq --no-install-recommends inn2-inews msmtp-mta openssl
# inn2's own set-up fails on a machine without a full host name, unless inn.conf (of inn2-inews) gives a domain.
if grep -Eq '^#?[[:space:]]*domain:' /etc/news/inn.conf; then
  sed -Ei 's/^#?[[:space:]]*domain:.*/domain: inn.invalid/' /etc/news/inn.conf
else
  echo 'domain: inn.invalid' >>/etc/news/inn.conf
fi
apt-get install -y -qq --no-install-recommends -o Dpkg::Options::=--force-confold inn2
test -x /usr/lib/news/bin/innd
# Tests start a private INN of their own: the one of the distribution stays off at the next start of the machine, too.
if command -v systemctl >/dev/null; then
  systemctl disable --quiet inn2.service
  if [ -d /run/systemd/system ]; then systemctl stop inn2.service; fi
fi
