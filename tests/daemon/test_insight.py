"""doctor, schedule and history of a real daemon."""

from tests.daemon.commands import ctl
from tests.daemon.harness import DaemonProcess, World, until


def findings(daemon: DaemonProcess) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for one in daemon.get("/doctor")["findings"]:
        found.setdefault(one["check"], []).append(one["grade"])
    return found


def test_a_healthy_daemon_is_told_so_and_a_broken_one_what_to_do(here: World) -> None:
    here.source.mkdir()
    (here.source / "file").write_bytes(b"x" * 50_000)
    one = here.daemon(
        limits={"upload": "8 MB/s", "schedule": [{"at": "00:00-24:00", "upload": "4 MB/s"}]}
    ).start()
    one.wait_idle()
    found = findings(one)
    assert {"configuration", "servers", "folders", "disk", "clock", "catalogue"} <= found.keys()
    assert all(
        grade == "ok" for name in ("servers", "folders", "catalogue", "clock") for grade in found[name]
    )

    schedule = one.get("/schedule")
    assert (schedule["upload"], schedule["paused"]) == (4_000_000.0, False)
    assert schedule["windows"][0]["open"]
    assert any(coming["what"] == "rescan src" for coming in schedule["coming"])
    one.post("/pause", {"for_s": 3600})
    assert one.get("/schedule")["paused"]
    one.post("/resume", {})

    history = one.get("/history?folder=src&limit=1")
    assert "version 1 is published" in history["events"][0]["message"]

    here.source.rename(here.place / "elsewhere")
    one.post("/scan", {"folder": "src"})
    until(lambda: findings(one)["folders"] == ["error"], 30.0, one.tail)
    called = ctl(one, "doctor")
    assert called.code == 1
    assert "usyncctl folder review src" in called.out
