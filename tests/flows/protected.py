"""Parity in a workshop of several servers: made, posted, published; then articles are lost and the source is gone."""

import os
import threading
from collections.abc import Iterable
from pathlib import Path
from random import Random

from tests.flows.backbones import Backbones
from usenetsyncd.catalogue.findings import StoredArticle
from usenetsyncd.catalogue.rows import VersionRow
from usenetsyncd.flows.index_reader import IndexReader
from usenetsyncd.flows.locate import Located, locate_own
from usenetsyncd.flows.parity import Made, ParityFolder, ParityMaker
from usenetsyncd.flows.reindex import ReindexOptions
from usenetsyncd.flows.restore import Restore, RestoreRequest, RestoreSummary
from usenetsyncd.flows.staging import Staging
from usenetsyncd.model import ArticleKind, EntryKind, Priority, SegmentId
from usenetsyncd.wire.pages import iter_extents, read_tree
from usenetsyncd.wire.stripes import STRIPES, Stripe

CONTENT = (ArticleKind.DATA, ArticleKind.PARITY)


def staging(shop: Backbones) -> Staging:
    return Staging(shop.place / "staging")


def maker(shop: Backbones) -> ParityMaker:
    return ParityMaker(shop.catalogue, shop.news, staging(shop), shop.clock, shop.stop)


def parity_folder(shop: Backbones, fraction: float = 0.1, copies: int = 1) -> ParityFolder:
    return ParityFolder(shop.row, os.fsencode(shop.root), fraction, copies, Priority.NORMAL, shop.epochs.keys)


def protect(shop: Backbones, fraction: float = 0.1, rest: bool = True, copies: int = 1) -> Made:
    """Give parity to what is posted, and post that."""
    made = maker(shop).make(parity_folder(shop, fraction, copies), rest)
    shop.post_all()
    return made


def publish_protected(
    shop: Backbones, fraction: float = 0.1, copies: int = 1, rest: bool = True
) -> VersionRow:
    """Scan, post, protect, publish."""
    shop.catalogue.stripes.track(shop.row)
    shop.scan(options=ReindexOptions(copies=copies))
    shop.post_all()
    protect(shop, fraction, rest, copies)
    return shop.publish()


def located(shop: Backbones, version: int | None = None) -> Located:
    return locate_own(shop.news, shop.catalogue, shop.row, shop.epochs, version)


def stripes(shop: Backbones, version: int | None = None) -> list[Stripe]:
    """Those that a reader of the version knows of."""
    found = located(shop, version)
    return list(STRIPES.read(found.head.stripes, IndexReader(shop.news, found.rings).load))


def restore(
    shop: Backbones, name: str = "back", version: int | None = None, groups: tuple[str, ...] = ()
) -> RestoreSummary:
    target = shop.place / name
    return Restore(
        shop.news,
        located(shop, version),
        RestoreRequest(target),
        shop.place / f"{name}.plan",
        threading.Event(),
        lambda _: None,
        groups,
    ).run()


def contents(root: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(root)): path.read_bytes() for path in sorted(root.rglob("*")) if path.is_file()
    }


def content_articles(shop: Backbones) -> list[StoredArticle]:
    """All that is posted of data and parity."""
    return [article for article in shop.stored() if article.kind in CONTENT]


def lose_fraction(shop: Backbones, fraction: float, dice: Random, server: str | None = None) -> None:
    """That part of the content articles that are still there, on one server or on each."""
    for name in (server,) if server else shop.servers:
        there = set(shop.servers[name].message_ids())
        left = [one for one in content_articles(shop) if one.server == name and shop.id_of(one) in there]
        shop.lose(dice.sample(left, round(fraction * len(left))), name)


def gone_segments(shop: Backbones) -> set[SegmentId]:
    """Data and parity segments of which no server has any copy."""
    there = {name: set(server.message_ids()) for name, server in shop.servers.items()}
    found: dict[SegmentId, bool] = {}
    for one in content_articles(shop):
        found[one.seg_id] = found.get(one.seg_id, False) or shop.id_of(one) in there[one.server]
    return {seg_id for seg_id, present in found.items() if not present}


def beyond_arithmetic(stripes: Iterable[Stripe], gone: set[SegmentId]) -> set[SegmentId]:
    """The data segments that no reader can have: those of stripes of which more is lost than there is parity."""
    lost = set(gone)
    for stripe in stripes:
        missing = [segment for segment in stripe.segments if segment in gone]
        if len(missing) <= len(stripe.parity):
            lost.difference_update(missing)
    return lost


def files_of(shop: Backbones, segments: set[SegmentId]) -> set[str]:
    """Paths of which some content is in these segments."""
    found = located(shop)
    load = IndexReader(shop.news, found.rings).load
    return {
        os.fsdecode(entry.path)
        for entry in read_tree(found.head.root, load)
        if entry.kind is EntryKind.FILE
        and any(extent.segment in segments for extent in iter_extents(entry, load))
    }
