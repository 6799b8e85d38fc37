"""The units, judged by systemd's own tools."""

import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from usenetsyncd.daemon.operations import work

UNITS = Path(__file__).parents[2] / "systemd"
SYSTEM_UNIT = UNITS / "usenetsyncd.service"
USER_UNIT = UNITS / "user" / "usenetsyncd.service"
READ_EVERYTHING = UNITS / "drop-ins" / "read-everything.conf"
INSTALLER = UNITS.parent / "contrib" / "install-service.sh"


RESTORED = "/var/lib/usenetsyncd/restored"


def run(*command: str | Path) -> subprocess.CompletedProcess[str]:
    # systemd-analyze --user wants a runtime directory, which a session without a login does not have.
    environment = {"XDG_RUNTIME_DIR": tempfile.gettempdir(), **os.environ, "SYSTEMD_COLORS": "0"}
    return subprocess.run(
        [str(word) for word in command], capture_output=True, text=True, timeout=60, env=environment
    )


def exposure(unit: Path) -> float:
    judged = run("systemd-analyze", "security", "--offline=yes", "--no-pager", unit)
    found = re.search(r"Overall exposure level for \S+: ([\d.]+)", judged.stdout)
    assert found, judged.stdout + judged.stderr
    return float(found[1])


def installed(unit: Path, place: Path) -> Path:
    """The unit as it would stand on a machine where the package is installed."""
    copy = place / unit.name
    text = re.sub(
        r"^ExecStart=\S+",
        f"ExecStart={Path(sys.prefix) / 'bin' / 'python'}",
        unit.read_text(),
        flags=re.MULTILINE,
    )
    copy.write_text(text)
    return copy


def options(unit: Path) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for line in unit.read_text().splitlines():
        if line and line[0] not in "#[":
            key, _, setting = line.partition("=")
            found.setdefault(key, []).append(setting)
    return found


@pytest.mark.requires("systemd-analyze")
def test_exposure_of_the_system_service_is_at_most_1_5() -> None:
    assert exposure(SYSTEM_UNIT) <= 1.5


@pytest.mark.requires("systemd-analyze")
def test_reading_everything_costs_no_more_than_the_capability_itself(tmp_path: Path) -> None:
    unit = installed(SYSTEM_UNIT, tmp_path)
    drop_ins = tmp_path / "usenetsyncd.service.d"
    drop_ins.mkdir()
    shutil.copy(READ_EVERYTHING, drop_ins)
    assert exposure(SYSTEM_UNIT) < exposure(unit) <= 1.7


@pytest.mark.requires("systemd-analyze", "procps")
@pytest.mark.parametrize(("unit", "scope"), [(SYSTEM_UNIT, "--system"), (USER_UNIT, "--user")])
def test_systemd_finds_nothing_to_complain_about(unit: Path, scope: str, tmp_path: Path) -> None:
    judged = run("systemd-analyze", "verify", scope, "--recursive-errors=no", installed(unit, tmp_path))
    assert (judged.returncode, judged.stdout, judged.stderr) == (0, "", "")


@pytest.mark.requires("systemd-analyze")
def test_calls_that_no_backup_needs_are_refused_and_those_it_needs_are_not() -> None:
    assert options(SYSTEM_UNIT)["SystemCallFilter"] == [
        "@system-service",
        "~@privileged @resources",
        "@chown",
    ]
    allowed = (_members("@system-service") - _members("@privileged") - _members("@resources")) | _members(
        "@chown"
    )
    dangerous = {
        "open_by_handle_at",
        "mount",
        "ptrace",
        "bpf",
        "reboot",
        "setuid",
        "kexec_load",
    }
    assert not dangerous & allowed
    needed = {
        "inotify_add_watch",
        "renameat2",
        "flock",
        "chown",
        "fchmod",
        "utimensat",
        "sendmsg",
        "fsync",
        "linkat",
        "statx",
    }
    assert needed <= allowed


def _members(group: str) -> set[str]:
    """Every call of a group, groups inside it followed."""
    words = re.findall(
        r"^\s+([@\w-]+)$", run("systemd-analyze", "syscall-filter", group).stdout, re.MULTILINE
    )
    return {call for word in words for call in (_members(word) if word.startswith("@") else {word})}


def test_a_wrong_configuration_is_not_retried_for_ever() -> None:
    for unit in (SYSTEM_UNIT, USER_UNIT):
        assert options(unit)["RestartPreventExitStatus"] == ["78"]
        assert options(unit)["Restart"] == ["on-failure"]


def test_both_units_wait_for_readiness_and_watch_the_heartbeat() -> None:
    for unit in (SYSTEM_UNIT, USER_UNIT):
        assert options(unit)["Type"] == ["notify"]
        assert options(unit)["ExecReload"] == ["/bin/kill -HUP $MAINPID"]
        assert "WatchdogSec" in options(unit)


@pytest.mark.requires("systemd-analyze", "root")
def test_user_group_and_directories_are_made_as_the_unit_expects(tmp_path: Path) -> None:
    for name in ("passwd", "group"):
        (tmp_path / "etc").mkdir(exist_ok=True)
        (tmp_path / "etc" / name).write_text(
            "root:x:0:0::/root:/bin/sh\n" if name == "passwd" else "root:x:0:\n"
        )
    made = run("systemd-sysusers", f"--root={tmp_path}", UNITS / "sysusers.d" / "usenetsyncd.conf")
    assert made.returncode == 0, made.stderr
    passwd = (tmp_path / "etc" / "passwd").read_text()
    found = re.search(
        r"^usenetsync:x:(\d+):(\d+):[^:]*:/var/lib/usenetsyncd:.*nologin$", passwd, re.MULTILINE
    )
    assert found, passwd
    made = run(
        "systemd-tmpfiles", f"--root={tmp_path}", "--create", UNITS / "tmpfiles.d" / "usenetsyncd.conf"
    )
    assert made.returncode == 0, made.stderr
    state, settings = (tmp_path / place / "usenetsyncd" for place in ("var/lib", "etc"))
    assert (state.stat().st_uid, oct(state.stat().st_mode)[-3:]) == (int(found[1]), "700")
    assert (settings.stat().st_gid, oct(settings.stat().st_mode)[-3:]) == (int(found[2]), "770")


@pytest.mark.requires("linux")
def test_the_kernel_knows_every_limit_that_the_drop_in_raises() -> None:
    lines = (UNITS / "sysctl.d" / "60-usenetsyncd.conf").read_text().splitlines()
    raised = dict(line.split(" = ") for line in lines if line and not line.startswith("#"))
    assert set(raised) == {"fs.inotify.max_user_watches", "fs.inotify.max_queued_events"}
    for name, limit in raised.items():
        assert (Path("/proc/sys") / name.replace(".", "/")).exists()
        assert json.loads(limit) >= 100_000


def test_the_installer_places_the_files_and_takes_them_away_again(tmp_path: Path) -> None:
    environment = {**os.environ, "DESTDIR": str(tmp_path)}
    subprocess.run(["bash", str(INSTALLER)], env=environment, check=True, capture_output=True)
    placed = {str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*") if path.is_file()}
    assert placed == {
        "etc/systemd/system/usenetsyncd.service",
        "etc/sysusers.d/usenetsyncd.conf",
        "etc/tmpfiles.d/usenetsyncd.conf",
        "etc/sysctl.d/60-usenetsyncd.conf",
    }
    assert (tmp_path / "etc/systemd/system/usenetsyncd.service").read_text() == SYSTEM_UNIT.read_text()
    subprocess.run(["bash", str(INSTALLER), "--uninstall"], env=environment, check=True, capture_output=True)
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]


def test_the_place_that_the_unit_names_for_restores_is_made_and_is_one_that_the_daemon_takes() -> None:
    assert RESTORED in SYSTEM_UNIT.read_text()
    assert f"d {RESTORED} 0700 usenetsync" in (UNITS / "tmpfiles.d" / "usenetsyncd.conf").read_text()
    assert Path(RESTORED).name == work.RESTORED


def test_the_installer_takes_the_python_of_the_distribution_where_it_is_new_enough() -> None:
    """Another one may stand below a person's home, where the service cannot reach it."""
    script = INSTALLER.read_text()
    assert "umask 022" in script
    function = script[script.index("find_python() {") : script.index("install_program() {")]
    found = run("bash", "-c", f"{function}\nfind_python").stdout.strip()
    new_enough = "import sys; sys.exit(sys.version_info < (3, 11))"
    distribution = Path("/usr/bin/python3")
    if distribution.exists() and run(distribution, "-c", new_enough).returncode == 0:
        assert Path(found) == distribution
    assert run(found, "-c", new_enough).returncode == 0
