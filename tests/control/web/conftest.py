"""The dashboard of a real daemon in a real browser."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.control.web.ports import free_port
from tests.daemon.harness import DaemonProcess, World, world

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

ARGUMENTS = (
    "--headless",
    "--no-sandbox",  # as root, and in containers
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--lang=en",
)


@dataclass
class Site:
    """One daemon with a dashboard."""

    world: World
    daemon: DaemonProcess
    address: str

    def link(self) -> str:
        """A one-time link, as ``usyncctl web`` prints it."""
        return str(self.daemon.post("/web/login")["url"])

    def enter(self, page: "Page") -> None:
        """Log a browser in."""
        page.goto(self.link())
        page.wait_for_url(f"{self.address}/")


@pytest.fixture
def here(short_dir: Path) -> Iterator[World]:
    with world(short_dir) as made:
        yield made


def with_dashboard(world: World, **changes: object) -> Site:
    """A daemon that is not started yet."""
    port = free_port()
    daemon = world.daemon(web={"listen": f"127.0.0.1:{port}", "metrics": True}, **changes)
    return Site(world, daemon, f"http://127.0.0.1:{port}")


@pytest.fixture(scope="session")
def _browser() -> Iterator["Browser"]:
    from shutil import which

    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=which("chromium"), args=list(ARGUMENTS))
        yield browser
        browser.close()


@pytest.fixture
def page(_browser: "Browser") -> Iterator["Page"]:
    """A fresh profile; whatever the browser's console complains of fails the test."""
    context = _browser.new_context(viewport={"width": 1280, "height": 800})
    made = context.new_page()
    complaints: list[str] = []
    made.on(
        "console", lambda line: complaints.append(line.text) if line.type in ("error", "warning") else None
    )
    made.on("pageerror", lambda error: complaints.append(str(error)))
    made.complaints = complaints  # type: ignore[attr-defined]
    yield made
    context.close()
    assert not complaints, complaints
