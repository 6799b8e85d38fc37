"""Health: what the findings mean for a folder, with stripes and sources, at the cost of the damage."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.flows.backbones import BOTH, Backbones, backbones
from tests.plugins.clock import FakeClock
from usenetsyncd.catalogue.findings import StoredArticle
from usenetsyncd.flows import health as judging
from usenetsyncd.flows import version_health as version_health_module
from usenetsyncd.flows.health import HealthWord, folder_health
from usenetsyncd.flows.repair import RepairSummary
from usenetsyncd.flows.version_health import version_health
from usenetsyncd.model import ArticleKind, PageRef
from usenetsyncd.settings.layers import load_settings
from usenetsyncd.wire.segment import content_hash, segment_id


@pytest.fixture
def two(tmp_path: Path, clock: FakeClock) -> Iterator[Backbones]:
    with backbones(tmp_path, clock, {"east": BOTH, "west": BOTH}) as made:
        yield made


def stripe(shop: Backbones, data: list[StoredArticle], parity: list[StoredArticle]) -> None:
    """As if the last ones were made from the first ones."""

    def intent(database) -> None:  # type: ignore[no-untyped-def]
        cursor = database.run(
            "INSERT INTO stripe (folder_id, epoch, data, parity, length, state) VALUES (?, 1, ?, ?, 60000, 1)",
            (shop.row, len(data), len(parity)),
        )
        for position, article in enumerate([*data, *parity]):
            database.run(
                "INSERT INTO stripe_member VALUES (?, ?, ?)",
                (cursor.lastrowid, position, article.segment_row),
            )

    shop.catalogue.writer.run(intent)


def test_a_stripe_makes_up_for_as_many_losses_as_it_has_parity(two: Backbones) -> None:
    two.post_on_each(6)
    articles = two.stored()
    stripe(two, articles[:5], articles[5:7])
    two.hide_source()
    two.lose([articles[0], articles[3]])
    summary = two.verify()
    assert (summary.at_risk, summary.unrepairable) == (2, 0)
    assert two.health().word is HealthWord.AT_RISK
    assert two.repair(dry_run=True) == RepairSummary(reposted=2, rebuilt=2, finished=True)
    two.lose([articles[6]])
    summary = two.verify()
    assert (summary.at_risk, summary.unrepairable) == (0, 3)
    assert two.health().word is HealthWord.DAMAGED
    assert two.repair(dry_run=True).unrepairable == 3


def test_files_are_named_up_to_a_hundred(two: Backbones, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(judging, "PAGE", 7)
    monkeypatch.setattr(judging, "FILES_NAMED", 5)
    two.post_on_each(10)
    two.hide_source()
    two.lose(two.on("east"))
    two.verify()
    health = two.health()
    assert (health.word, health.lost_segments, health.at_risk_segments) == (HealthWord.DAMAGED, 10, 0)
    assert len(health.files) == 5
    assert set(health.files) < {b"large1/%05d" % number for number in range(10)}
    assert health.action == "usyncctl repair docs"
    assert "10 segments of the newest version cannot be had from anywhere any more" in health.reasons


def test_a_changed_source_is_no_source(two: Backbones) -> None:
    two.post_on_each(3)
    two.lose(two.on("east"))
    two.verify()
    assert two.health().word is HealthWord.AT_RISK
    (two.root / "large1/00001").write_bytes(b"something else")
    (two.root / "large1/00002").unlink()
    health = two.health()
    assert (health.at_risk_segments, health.lost_segments) == (1, 2)
    assert set(health.files) == {b"large1/00001", b"large1/00002"}


def test_a_folder_without_findings_costs_no_look_at_its_articles(
    two: Backbones, monkeypatch: pytest.MonkeyPatch
) -> None:
    two.post_on_each(5)
    two.verify()
    asked: list[object] = []
    monkeypatch.setattr(type(two.catalogue.findings), "articles_of", lambda *given: asked.append(given))
    assert two.health().word is HealthWord.RESTORABLE
    assert asked == []


def test_the_servers_are_those_of_the_settings(two: Backbones, tmp_path: Path) -> None:
    two.post_on_each(2)
    two.lose(two.on("east")[:1])
    two.hide_source()
    two.verify()
    file = tmp_path / "usenetsyncd.yaml"
    servers = "\n".join(
        f"  - {{name: {name}, host: 127.0.0.1, port: 119, tls: none, roles: [post, read]}}"
        for name in two.servers
    )
    file.write_text(f"version: 1\nservers:\n{servers}\nnewsgroups: [alt.binaries.test]\n")
    health = folder_health(two.catalogue, two.row, load_settings(file).settings)
    assert health == two.health()
    assert health.word is HealthWord.DAMAGED


# -- versions ------------------------------------------------------------------------------------------


def words(shop: Backbones) -> dict[int, tuple[str, tuple[bytes, ...]]]:
    versions = shop.catalogue.versions.list(shop.row).rows
    told = version_health(shop.catalogue, shop.row, versions, shop.checked_servers())
    return {one.version: (one.word.value, tuple(map(bytes, one.files))) for one in told}


def article_of(shop: Backbones, path: str) -> StoredArticle:
    """The article of a file that is a segment of its own."""
    wanted = segment_id(content_hash(shop.keys.identity, (shop.root / path).read_bytes()))
    (found,) = [one for one in shop.stored() if one.seg_id == wanted]
    return found


def test_each_version_has_a_health_of_its_own(two: Backbones) -> None:
    two.segments(6)
    two.commit()
    assert words(two) == {1: ("unknown", ())}
    two.verify()
    assert words(two) == {1: ("restorable", ())}
    second, first = article_of(two, "large1/00002"), article_of(two, "large1/00001")
    two.write("large1/00002", b"another" * 9_000)
    two.commit()
    (two.root / "large1/00004").unlink()
    two.commit()
    two.verify()
    assert set(words(two).values()) == {("restorable", ())}

    two.lose([second])
    two.verify()
    # Only the first version has the file as it was.
    assert words(two) == {
        1: ("damaged", (b"large1/00002",)),
        2: ("restorable", ()),
        3: ("restorable", ()),
    }
    assert two.health().word is HealthWord.AT_RISK
    two.lose([first])
    two.verify()
    assert {version: word for version, (word, _) in words(two).items()} == {
        1: "damaged",
        2: "at_risk",
        3: "at_risk",
    }
    two.hide_source()
    assert words(two) == {
        1: ("damaged", (b"large1/00001", b"large1/00002")),
        2: ("damaged", (b"large1/00001",)),
        3: ("damaged", (b"large1/00001",)),
    }


def test_pages_that_versions_share_are_looked_into_once(
    two: Backbones, monkeypatch: pytest.MonkeyPatch
) -> None:
    two.fill("many", 4_000, seed=5)
    two.segments(2)
    two.commit()
    for number in range(3):
        two.write(f"small{number}", bytes([number]) * 100)
        two.commit()
    two.lose([one for one in two.stored() if one.kind is ArticleKind.DATA and one.length == 60_000][:1])
    two.verify()
    opened: list[PageRef] = []
    original = version_health_module.open_root

    def counting(ref: PageRef, load):  # type: ignore[no-untyped-def]
        opened.append(ref)
        return original(ref, load)

    monkeypatch.setattr(version_health_module, "open_root", counting)
    assert {word for word, _ in words(two).values()} == {"at_risk"}
    assert len(opened) == len(set(opened)) > 4
