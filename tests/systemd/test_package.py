"""The Debian package: what is in it, and that it goes onto a machine and off it again.

Here it is built without its Python environment, which takes pip half a minute; `make deb` builds it whole and lets the
same tests have it (PACKAGE=...). The machine is this one, seen through an overlay that is thrown away.
"""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
DEBIAN = ROOT / "contrib" / "debian"
PLACED = {
    "lib/systemd/system/usenetsyncd.service",
    "usr/lib/systemd/user/usenetsyncd.service",
    "usr/lib/sysusers.d/usenetsyncd.conf",
    "usr/lib/tmpfiles.d/usenetsyncd.conf",
    "usr/lib/sysctl.d/60-usenetsyncd.conf",
    "usr/bin/usenetsyncd",
    "usr/bin/usyncctl",
    "usr/share/man/man1/usyncctl.1.gz",
    "usr/share/man/man1/usenetsyncd.1.gz",
    "usr/share/bash-completion/completions/usyncctl",
    "usr/share/zsh/vendor-completions/_usyncctl",
    "usr/share/fish/vendor_completions.d/usyncctl.fish",
    "usr/share/doc/usenetsync/examples/usenetsyncd.yaml",
    "usr/share/doc/usenetsync/copyright",
    "usr/share/doc/usenetsync/changelog.gz",
}
SUPPRESSED = (
    "dir-or-file-in-opt,unstripped-binary-or-object,custom-library-search-path,embedded-library,"
    "bogus-mail-host,bogus-mail-host-in-debian-changelog,root-in-contact,script-not-executable,unusual-interpreter"
)
# Dependencies are looked at by the control file's test; the machine below the overlay is any.
ON_A_MACHINE = r"""
set -eu
place=$1 package=$2
mount -t tmpfs none "$place"
mkdir "$place/upper" "$place/work" "$place/root"
mount -t overlay overlay -o "lowerdir=/,upperdir=$place/upper,workdir=$place/work" "$place/root"
mount -t proc proc "$place/root/proc"
mount --bind /dev "$place/root/dev"
mkdir -p "$place/root/package"
cp "$package" "$place/root/package/it.deb"
rm -rf "$place/root/etc/usenetsyncd" "$place/root/var/lib/usenetsyncd"
PATH=$PATH:/usr/sbin:/sbin
chroot "$place/root" /bin/sh -eu <<'END'
say() { printf '%s\n' "$*"; }
stands() { stat -c '%n %a %U:%G' /etc/usenetsyncd /etc/usenetsyncd/usenetsyncd.yaml /var/lib/usenetsyncd; }
dpkg --force-depends -i /package/it.deb >/dev/null
stands
getent passwd usenetsync | cut -d: -f6,7
if [ -x /opt/usenetsync/bin/python ]; then
  setpriv --reuid usenetsync --regid usenetsync --init-groups usyncctl completion bash >/dev/null && say usyncctl runs
  setpriv --reuid usenetsync --regid usenetsync --init-groups usenetsyncd --version
fi
echo '# mine' >>/etc/usenetsyncd/usenetsyncd.yaml
touch /var/lib/usenetsyncd/master.key
dpkg --force-depends -i /package/it.deb >/dev/null
tail -1 /etc/usenetsyncd/usenetsyncd.yaml
dpkg -r usenetsync >/dev/null 2>&1
[ ! -e /usr/bin/usyncctl ] && [ ! -e /opt/usenetsync ] && [ -e /etc/usenetsyncd/usenetsyncd.yaml ] && say removed
dpkg -P usenetsync >/dev/null 2>&1
[ ! -e /etc/usenetsyncd ] && [ -e /var/lib/usenetsyncd/master.key ] && say purged, keys kept
END
"""


@pytest.fixture(scope="module")
def package(tmp_path_factory: pytest.TempPathFactory) -> Path:
    if given := os.environ.get("PACKAGE"):
        return Path(given).resolve()
    made = subprocess.run(
        [str(DEBIAN / "build.sh"), str(tmp_path_factory.mktemp("deb"))],
        env={**os.environ, "ENVIRONMENT": "no", "MAKER": sys.executable, "DEBEMAIL": "builder@debian.org"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert made.returncode == 0, made.stderr
    return Path(made.stdout.strip())


def dpkg(*arguments: str | Path) -> str:
    done = subprocess.run(["dpkg-deb", *map(str, arguments)], capture_output=True, text=True, check=True)
    return done.stdout


@pytest.mark.requires("dpkg-deb")
def test_everything_is_in_its_place_and_belongs_to_root(package: Path) -> None:
    lines = [line.split(maxsplit=5) for line in dpkg("--contents", package).splitlines()]
    files = {line[5].removeprefix("./").split(" -> ")[0] for line in lines if not line[0].startswith("d")}
    assert files >= PLACED
    others = {name for name in files - PLACED if not name.startswith(("opt/usenetsync/", "usr/share/doc/"))}
    assert not others
    assert {line[1] for line in lines} == {"root/root"}
    assert not [line[5] for line in lines if line[0][8] == "w" and not line[0].startswith("l")]


@pytest.mark.requires("dpkg-deb")
def test_the_unit_starts_what_the_package_brings(package: Path, tmp_path: Path) -> None:
    dpkg("--extract", package, tmp_path)
    unit = (tmp_path / "lib/systemd/system/usenetsyncd.service").read_text()
    assert "\nExecStart=/usr/bin/usenetsyncd run\n" in unit
    assert os.readlink(tmp_path / "usr/bin/usenetsyncd") == "/opt/usenetsync/bin/usenetsyncd"
    example = tmp_path / "usr/share/doc/usenetsync/examples/usenetsyncd.yaml"
    assert example.read_text() == (ROOT / "usenetsyncd.example.yaml").read_text()


@pytest.mark.requires("dpkg-deb")
def test_it_asks_for_the_python_that_it_was_built_with(package: Path) -> None:
    minor = re.search(
        r"python3 \(>= 3\.(\d+)\), python3 \(<< 3\.(\d+)\)", dpkg("--field", package, "Depends")
    )
    assert minor
    assert int(minor[2]) == int(minor[1]) + 1
    assert dpkg("--field", package, "Package").strip() == "usenetsync"
    assert "@" not in dpkg("--field", package).replace(dpkg("--field", package, "Maintainer").strip(), "")


def test_the_scripts_are_shell_and_fail_where_something_fails() -> None:
    for name in ("postinst", "prerm", "postrm"):
        script = DEBIAN / name
        assert "\nset -e\n" in script.read_text()
        assert os.access(script, os.X_OK)
        assert subprocess.run(["sh", "-n", str(script)], capture_output=True).returncode == 0


@pytest.mark.requires("dpkg-deb", "lintian")
def test_lintian_finds_no_error(package: Path) -> None:
    # /opt is not for Debian's own packages, which this is none of; the libraries' wheels are taken as they are.
    judged = subprocess.run(
        ["lintian", "--allow-root", "--fail-on", "error", "--suppress-tags", SUPPRESSED, str(package)],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert judged.returncode == 0, judged.stdout + judged.stderr


@pytest.mark.requires("dpkg-deb", "overlay")
def test_it_is_installed_again_removed_and_purged_and_the_keys_stay(package: Path, tmp_path: Path) -> None:
    done = subprocess.run(
        [
            "unshare",
            "--mount",
            "--pid",
            "--fork",
            "sh",
            "-c",
            ON_A_MACHINE,
            "sh",
            str(tmp_path),
            str(package),
        ],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    told = done.stdout.splitlines()
    assert "/etc/usenetsyncd 770 root:usenetsync" in told
    assert "/etc/usenetsyncd/usenetsyncd.yaml 660 root:usenetsync" in told
    assert "/var/lib/usenetsyncd 700 usenetsync:usenetsync" in told
    assert any(line.startswith("/var/lib/usenetsyncd:") and line.endswith("nologin") for line in told)
    assert told[-3:] == ["# mine", "removed", "purged, keys kept"], done.stderr
    if "PACKAGE" in os.environ:
        assert "usyncctl runs" in told
        assert any(line.startswith("usenetsyncd 0") for line in told)
