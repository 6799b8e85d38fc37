"""Pictures of the dashboard for docs/screenshots, of a daemon at work: python -m tests.control.web.screenshots"""

import random
import shutil
import sys
import time
from pathlib import Path
from shutil import which

from playwright.sync_api import Page, sync_playwright

from tests.control.web.conftest import ARGUMENTS, Site, with_dashboard
from tests.daemon.harness import World, world

PLACE = Path("/tmp/nas01")
WORK_S = 110.0


def write(place: Path, count: int, size: int, noise: random.Random, name: str) -> None:
    place.mkdir(parents=True, exist_ok=True)
    for number in range(count):
        (place / f"{name}-{number:04}").write_bytes(noise.randbytes(size))


def begin(here: World) -> Site:
    """Two folders that are up to date, one with a history, and one that is on its way."""
    noise = random.Random(2026)
    paths = {name: here.place / name for name in ("docs", "photos", "projects")}
    write(paths["docs"] / "letters", 120, 9_000, noise, "letter")
    write(paths["projects"] / "boat", 60, 20_000, noise, "drawing")
    paths["photos"].mkdir()
    folders = [{"id": name, "path": str(path)} for name, path in paths.items()]
    site = with_dashboard(here, folders=folders)
    site.daemon.start()
    site.daemon.wait_idle()
    for month in range(1, 7):
        write(paths["docs"] / f"2026-{month:02}", 12 * month, 11_000, noise, "invoice")
        site.daemon.wait_idle()
    site.daemon.wait_job(site.daemon.post("/verify", {"folder": "docs"})["id"])
    site.daemon.post("/pause", {"folder": "projects"})
    site.daemon.config["limits"] = {"upload": "900 KB/s"}
    site.daemon.write_config()
    site.daemon.post("/config/reload")
    write(paths["photos"] / "2026-08-crete", 240, 700_000, noise, "IMG")
    return site


def take(page: Page, site: Site, to: Path, path: str, name: str, whole: bool = True) -> None:
    page.goto(site.address + path)
    page.wait_for_selector("#live.on")
    page.screenshot(path=to / f"{name}.png", full_page=whole)


def main(to: Path) -> None:
    """Write all of them."""
    to.mkdir(parents=True, exist_ok=True)
    shutil.rmtree(PLACE, ignore_errors=True)
    PLACE.mkdir()
    with world(PLACE) as here, sync_playwright() as playwright:
        site = begin(here)
        time.sleep(WORK_S)
        browser = playwright.chromium.launch(executable_path=which("chromium"), args=list(ARGUMENTS))
        page = browser.new_page(viewport={"width": 1280, "height": 800})
        site.enter(page)
        for path, name in (("/", "overview"), ("/folders/docs", "folder"), ("/queue", "queue")):
            take(page, site, to, path, name, whole=name != "queue")
        page.emulate_media(color_scheme="dark")
        take(page, site, to, "/", "overview-dark")
        page.set_viewport_size({"width": 390, "height": 844})
        take(page, site, to, "/", "overview-phone")
        browser.close()
    shutil.rmtree(PLACE)


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else "docs/screenshots"))
