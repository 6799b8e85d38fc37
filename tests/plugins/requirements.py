"""``@pytest.mark.requires("inn")``: a test that needs something of the machine.

Where it is missing the test is not silently skipped: it is listed under "could not run" at the end of the run,
and with CI set it fails. Nothing else may skip a test (tests/test_architecture.py looks).
"""

import importlib
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Generator
from pathlib import Path

import pytest

PREFIX = "could not run: "


def _command(name: str, package: str) -> Callable[[], str | None]:
    def missing() -> str | None:
        return None if shutil.which(name) else f"no {name} (Debian package {package})"

    return missing


def _chromium_missing() -> str | None:
    try:
        importlib.import_module("playwright.sync_api")
    except ImportError:
        return "no playwright (pip install playwright)"
    return None if shutil.which("chromium") else "no chromium (Debian package chromium)"


def _inn_missing() -> str | None:
    if not Path("/usr/lib/news/bin/innd").exists():
        return "no INN (Debian package inn2)"
    return None if os.geteuid() == 0 else "INN starts only as root, this is not"


def _systemd_python_missing() -> str | None:
    # Not `import systemd`: the checkout's own folder of that name passes for a package without code.
    try:
        importlib.import_module("systemd.daemon")
    except ImportError:
        return "no systemd-python (needs libsystemd-dev, pkg-config and a compiler)"
    return None


def _overlay_missing() -> str | None:
    if os.geteuid() != 0:
        return "not root, so no machine can be shown through an overlay"
    script = (
        'd=$(mktemp -d) && mount -t tmpfs none "$d" && mkdir "$d/u" "$d/w" "$d/m" '
        '&& mount -t overlay overlay -o "lowerdir=/,upperdir=$d/u,workdir=$d/w" "$d/m"'
    )
    made = subprocess.run(["unshare", "--mount", "sh", "-c", script], capture_output=True)
    return None if made.returncode == 0 else "overlay mounts are not allowed here"


def _user_namespaces_missing() -> str | None:
    unshare = shutil.which("unshare")
    if unshare is None:
        return "no unshare (Debian package util-linux)"
    made = subprocess.run([unshare, "-Ur", "true"], capture_output=True)
    return None if made.returncode == 0 else "user namespaces are not allowed here"


PROBES: dict[str, Callable[[], str | None]] = {
    "bash": _command("bash", "bash"),
    "chromium": _chromium_missing,
    "dpkg-deb": _command("dpkg-deb", "dpkg"),
    "fish": _command("fish", "fish"),
    "git": _command("git", "git"),
    "groff": _command("groff", "groff-base"),
    "inn": _inn_missing,
    "linux": lambda: None if sys.platform == "linux" else "not Linux",
    "lintian": _command("lintian", "lintian"),
    "mandoc": _command("mandoc", "mandoc"),
    "openssl": _command("openssl", "openssl"),
    "overlay": _overlay_missing,
    "procps": _command("/bin/kill", "procps"),
    "promtool": _command("promtool", "prometheus"),
    "root": lambda: None if os.geteuid() == 0 else "not root",
    "rsync": _command("rsync", "rsync"),
    "systemd-analyze": _command("systemd-analyze", "systemd"),
    "systemd-python": _systemd_python_missing,
    "user-namespaces": _user_namespaces_missing,
    "unprivileged": lambda: (
        None if os.geteuid() != 0 else "root may do everything, so nothing can be refused"
    ),
    "zsh": _command("zsh", "zsh"),
}
"""Name -> why it is missing on this machine, None where it is there."""


def could_not_run(reason: str) -> None:
    """End the running test: it needs something that this machine does not have. Fails under CI."""
    if os.environ.get("CI"):
        pytest.fail(PREFIX + reason, pytrace=False)
    pytest.skip(PREFIX + reason)


def pytest_runtest_setup(item: pytest.Item) -> None:
    for marker in item.iter_markers("requires"):
        for name in marker.args:
            if reason := PROBES[name]():
                could_not_run(reason)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if "soak" in config.getoption("markexpr"):
        return
    soak = [item for item in items if item.get_closest_marker("soak")]
    if soak:
        config.hook.pytest_deselected(items=soak)
        items[:] = [item for item in items if item not in soak]


@pytest.hookimpl(wrapper=True)
def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> Generator[None]:
    yield
    reasons: dict[str, list[str]] = {}
    for kind in ("skipped", "failed", "error"):
        for report in terminalreporter.stats.get(kind, []):
            text = report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr)
            if found := re.match(rf"(?:Skipped: |Failed: )?{PREFIX}(.*)", text):
                reasons.setdefault(found[1], []).append(report.nodeid)
    if not reasons:
        return
    terminalreporter.section("could not run", yellow=True)
    for reason, tests in sorted(reasons.items()):
        terminalreporter.line(f"{reason}: {len(tests)} tests")
        for nodeid in tests:
            terminalreporter.line(f"    {nodeid}")
