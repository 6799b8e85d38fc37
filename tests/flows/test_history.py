"""The history of one file, from the published indexes themselves."""

from tests.flows.workshop import Workshop
from usenetsyncd.flows.history import file_history
from usenetsyncd.model import RelativePath


def history(
    shop: Workshop, path: bytes, before: int | None = None, limit: int = 100
) -> tuple[list[tuple[int, int | None]], str | None]:
    changes, more = file_history(
        shop.catalogue, shop.news, shop.row, (shop.keys,), RelativePath(path), before, limit
    )
    return [(c.version, None if c.entry is None else c.entry.size) for c in changes], more


def make(shop: Workshop) -> None:
    """v1: a; v2: nothing of a; v3: a longer; v4: a gone; v5: a back; v6: nothing of a."""
    shop.write("a", b"1")
    shop.commit()
    shop.write("b", b"b")
    shop.commit()
    shop.write("a", b"333")
    shop.commit()
    (shop.root / "a").unlink()
    shop.commit()
    shop.write("a", b"55555")
    shop.commit()
    shop.write("b", b"bb")
    shop.commit()


def test_only_versions_in_which_the_file_became_another_are_told_newest_first(shop: Workshop) -> None:
    make(shop)
    assert history(shop, b"a") == ([(5, 5), (4, None), (3, 3), (1, 1)], None)
    assert history(shop, b"b") == ([(6, 2), (2, 1)], None)
    assert history(shop, b"never/there") == ([], None)


def test_pages_follow_each_other_without_a_gap(shop: Workshop) -> None:
    make(shop)
    found: list[tuple[int, int | None]] = []
    before: int | None = None
    for _ in range(10):
        page, more = history(shop, b"a", before, limit=1)
        assert len(page) <= 1
        found += page
        if more is None:
            break
        before = int(more)
    assert found == [(5, 5), (4, None), (3, 3), (1, 1)]


def test_pages_lost_here_are_fetched(shop: Workshop) -> None:
    make(shop)
    shop.catalogue.writer.run(lambda database: database.run("DELETE FROM blob"))
    assert history(shop, b"a") == ([(5, 5), (4, None), (3, 3), (1, 1)], None)


def test_a_folder_without_versions_has_no_history(shop: Workshop) -> None:
    assert history(shop, b"a") == ([], None)
