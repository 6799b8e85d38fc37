"""The dashboard as people meet it: a real daemon, a real browser."""

import random
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.control.web.conftest import Site, with_dashboard
from tests.daemon.harness import World, until

if TYPE_CHECKING:
    from playwright.sync_api import Page

pytestmark = [
    pytest.mark.requires("chromium"),
    # the browser and its driver live for the whole run
    pytest.mark.leaks_nothing(threads=False, files=False),
]

HOSTILE = "<img src=x onerror=document.title='owned'>\u202egpj.exe\x1b[31m"
PAGES = (
    *("/", "/?span=day", "/folders", "/folders/src", "/folders/src/files", "/folders/src/versions"),
    *("/folders/src/errors", "/queue", "/queue?state=posted", "/jobs", "/shares", "/restore", "/servers"),
    *("/events", "/log", "/log?level=debug"),
)
SLOW = {"upload": "300 KB/s", "download": 0}


@pytest.fixture
def site(here: World) -> Iterator[Site]:
    """One folder with a few files, one of them named by an enemy; everything is published."""
    here.source.mkdir()
    (here.source / "reports").mkdir()
    (here.source / "reports" / "2026.txt").write_text("all is well\n")
    (here.source / HOSTILE).write_text("x")
    made = with_dashboard(here)
    made.daemon.start()
    made.daemon.wait_idle()
    yield made
    made.daemon.stop()


def photos(place: Path, count: int) -> None:
    noise = random.Random(7)
    for number in range(count):
        (place / f"scan-{number:03}.tiff").write_bytes(noise.randbytes(700_000))


@pytest.fixture
def uploading(here: World) -> Iterator[Site]:
    """A folder that takes its time."""
    here.source.mkdir()
    photos(here.source, 24)
    made = with_dashboard(here, limits=SLOW)
    made.daemon.start()
    until(lambda: made.daemon.folder()["state"] == "uploading", 30, lambda: str(made.daemon.folder()))
    yield made
    made.daemon.kill()


@pytest.fixture
def waiting(here: World) -> Iterator[Site]:
    """Sixty articles that wait for the end of a pause: more than a page."""
    made = with_dashboard(here)
    made.daemon.start()
    made.daemon.wait_idle()
    made.daemon.post("/pause", {})
    photos(here.source, 60)
    until(
        lambda: made.daemon.get("/queue")["counts"]["queued"] == 60,
        30,
        lambda: str(made.daemon.get("/queue")),
    )
    yield made
    made.daemon.stop()


def overflow(page: "Page") -> int:
    """Pixels by which the page is wider than the window."""
    wide = page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
    return int(wide)


def forgive(page: "Page", part: str) -> None:
    """Take a complaint that the test provoked out of the console's."""
    kept: list[str] = page.complaints  # type: ignore[attr-defined]
    kept[:] = [line for line in kept if part not in line]


# -- coming in ---------------------------------------------------------------------------------


def test_a_link_logs_in_once_and_leaves_nothing_in_the_address(site: Site, page: "Page") -> None:
    link = site.link()
    page.goto(link)
    page.wait_for_url(f"{site.address}/")
    assert page.get_by_role("heading", level=1).inner_text() == "All is well"
    (cookie,) = page.context.cookies()
    assert (cookie["httpOnly"], cookie["sameSite"]) == (True, "Strict")
    page.get_by_role("button", name="Log out").click()
    page.wait_for_url(f"{site.address}/login")
    page.goto(f"{site.address}/folders")
    assert page.url == f"{site.address}/login"
    page.goto("about:blank")
    page.goto(link)
    assert "used already" in page.get_by_role("alert").inner_text()
    forgive(page, "403")


def test_a_page_of_another_site_can_do_nothing_here(site: Site, page: "Page", here: World) -> None:
    """The same browser, logged in; the other site is another port of this machine, which cookies do not tell apart."""
    site.enter(page)
    evil = here.place / "evil.html"
    evil.write_text(f"<form method=post action='{site.address}/pause'><button>win</button></form>")
    other = page.context.new_page()
    other.goto(evil.as_uri())
    other.get_by_role("button").click()
    other.wait_for_load_state()
    assert "another site" in other.inner_text("body")
    assert site.daemon.status()["state"] == "running"


# -- looking -----------------------------------------------------------------------------------


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1280, 390])
def test_every_page_fits_its_window(site: Site, page: "Page", width: int, scheme: Any) -> None:
    page.emulate_media(color_scheme=scheme)
    page.set_viewport_size({"width": width, "height": 800})
    site.enter(page)
    for path in PAGES:
        answer = page.goto(site.address + path)
        assert answer is not None
        assert answer.status == 200, (path, page.inner_text("body"))
        assert overflow(page) <= 0, f"{path} is wider than {width}"
        assert page.title().endswith("UsenetSync") or path.startswith("/")
    ground = page.evaluate("getComputedStyle(document.body).backgroundColor")
    bright = sum(int(part) for part in ground.removeprefix("rgb(").removesuffix(")").split(",")) > 3 * 127
    assert bright == (scheme == "light")


def test_an_enemys_file_name_is_text_and_shows_what_hides_in_it(site: Site, page: "Page") -> None:
    site.enter(page)
    page.goto(f"{site.address}/folders/src/files")
    assert page.locator("main img").count() == 0
    link = page.get_by_role("link", name="<img src=x")
    assert link.inner_text() == "<img src=x onerror=document.title='owned'>\\u202egpj.exe\\x1b[31m"
    link.click()
    page.wait_for_url("**/file?p=*")
    assert "\\u202egpj.exe" in page.get_by_role("heading", level=1).inner_text()
    assert "published" in page.inner_text("main")
    assert "owned" not in page.title()
    page.goto(f"{site.address}/folders/src/files")
    page.get_by_role("link", name="reports/").click()
    page.get_by_role("link", name="2026.txt").click()
    assert "1 of 1" in page.inner_text("main")


def test_the_keyboard_alone_is_enough(site: Site, page: "Page") -> None:
    site.enter(page)
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.textContent") == "Skip to the content"
    page.keyboard.press("Enter")
    assert page.evaluate("document.activeElement.id") == "main"
    reached = set()
    for _ in range(12):
        page.keyboard.press("Tab")
        reached.add(
            page.evaluate("(document.activeElement.name || document.activeElement.textContent).trim()")
        )
        outline = page.evaluate("getComputedStyle(document.activeElement).outlineStyle")
        assert outline != "none", "where one is must be seen"
        if page.evaluate("document.activeElement.textContent.trim()") == "src":
            break
    assert {"Scan all", "for_s", "Pause", "src"} <= reached
    page.keyboard.press("Enter")
    page.wait_for_url("**/folders/src")


def test_there_is_no_script_or_style_in_a_page(site: Site, page: "Page") -> None:
    site.enter(page)
    for path in PAGES:
        page.goto(site.address + path)
        assert page.locator("script:not([src]), style, [style], [onclick]").count() == 0, path


# -- directing ---------------------------------------------------------------------------------


def test_progress_arrives_by_itself_and_pausing_and_resuming_works(uploading: Site, page: "Page") -> None:
    uploading.enter(page)
    page.wait_for_selector("#live.on")
    first = page.inner_text("#facts")
    page.wait_for_function("text => document.getElementById('facts').innerText !== text", arg=first)
    page.get_by_role("button", name="Pause").click()
    page.wait_for_selector("text=Everything is paused.")
    assert uploading.daemon.status()["state"] == "paused"
    page.get_by_role("button", name="Resume").click()
    page.wait_for_selector("text=Everything goes on.")
    assert uploading.daemon.status()["state"] == "running"


def test_articles_are_cancelled_and_queued_again_by_ticking_them(waiting: Site, page: "Page") -> None:
    waiting.enter(page)
    page.goto(f"{waiting.address}/queue")
    boxes = page.locator("input[name=article]")
    assert boxes.count() == 50, "a page, never all"
    boxes.nth(0).check()
    boxes.nth(1).check()
    assert page.inner_text("#ticked") == "2 ticked"
    page.get_by_role("button", name="Cancel ticked").click()
    page.wait_for_selector("text=2 articles are cancelled.")
    counts = waiting.daemon.get("/queue")["counts"]
    assert (counts["queued"], counts["failed"]) == (58, 2)
    page.goto(f"{waiting.address}/queue?state=failed")
    page.get_by_label("Tick all on this page").check()
    page.get_by_role("button", name="Retry ticked").click()
    page.wait_for_selector("text=2 articles are queued again.")
    counts = waiting.daemon.get("/queue")["counts"]
    # what was tried before may be there: it is asked for before it is posted again
    assert (counts["queued"] + counts["doubtful"], counts["failed"]) == (60, 0)
    page.goto(f"{waiting.address}/queue?state=queued")
    page.get_by_role("link", name="Next page").click()
    page.wait_for_url("**after=*")
    assert page.locator("input[name=article]").count() == counts["queued"] - 50


def test_all_of_them_are_cancelled_only_after_a_second_thought(waiting: Site, page: "Page") -> None:
    waiting.enter(page)
    page.goto(f"{waiting.address}/queue")
    page.locator("details.sure summary").click()
    page.get_by_role("button", name="Cancel all").click()
    page.wait_for_selector("text=tick some articles first")
    page.locator("details.sure summary").click()
    page.get_by_label("Yes, all of them").check()
    page.get_by_role("button", name="Cancel all").click()
    page.wait_for_selector("text=60 articles are cancelled.")
    assert waiting.daemon.get("/queue")["counts"]["queued"] == 0


def test_a_folder_is_shared_restored_and_verified_from_the_page(
    site: Site, page: "Page", here: World
) -> None:
    site.enter(page)
    page.goto(f"{site.address}/shares")
    page.get_by_role("button", name="Share").click()
    page.wait_for_url("**/shares/*")
    assert page.get_by_label("Access string").is_visible() is False
    page.get_by_text("Show the access string").click()
    string = page.get_by_label("Access string").input_value()
    page.goto(f"{site.address}/restore")
    page.get_by_label("or an access string").fill(string)
    page.get_by_label("To this directory").fill(str(here.place / "back"))
    page.get_by_role("button", name="Restore", exact=True).click()
    page.wait_for_url("**/jobs/*")
    page.wait_for_selector("#job .badge.good")
    assert (here.place / "back" / "reports" / "2026.txt").read_text() == "all is well\n"
    assert string not in page.content()
    page.goto(f"{site.address}/folders/src")
    page.get_by_role("button", name="Verify").click()
    page.wait_for_selector("text=The check is job")


def test_a_held_folder_shows_what_is_gone_and_is_released_after_a_second_thought(
    here: World, page: "Page"
) -> None:
    here.source.mkdir()
    for number in range(40):
        (here.source / f"letter-{number:02}").write_text(f"letter {number}")
    # without what the harness says of the guard
    site = with_dashboard(here, defaults={"settle": "0.3s"})
    site.daemon.start()
    site.daemon.wait_idle()
    for number in range(30):
        (here.source / f"letter-{number:02}").unlink()
    until(lambda: site.daemon.folder()["state"] == "held", 30, lambda: str(site.daemon.folder()))
    site.enter(page)
    assert page.get_by_role("heading", level=1).inner_text() == "Something does not work"
    page.get_by_role("link", name="src").first.click()
    page.wait_for_url("**/folders/src")
    assert "30 (75%) are gone" in page.inner_text("main")
    page.get_by_text("Accept it…").click()
    page.get_by_role("button", name="Accept").click()
    page.wait_for_selector("text=src goes on as it is now.")
    site.daemon.wait_idle()
    assert site.daemon.folder()["version"] == 2
    site.daemon.stop()


def test_what_the_daemon_refuses_is_told_on_the_page(site: Site, page: "Page", here: World) -> None:
    site.enter(page)
    page.goto(f"{site.address}/restore")
    page.get_by_label("Folder of this daemon").select_option("src")
    page.get_by_label("To this directory").fill(str(site.daemon.data_dir))
    page.get_by_role("button", name="Restore", exact=True).click()
    assert "the daemon's own state" in page.get_by_role("alert").inner_text()
    page.goto(f"{site.address}/folders/nothing")
    assert "nothing" in page.get_by_role("alert").inner_text()
    forgive(page, "404")
