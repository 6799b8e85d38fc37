"""A publisher who owns the keys and means ill: posts whatever he likes, properly signed and sealed."""

import os
import threading
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Self

from tests.vectors import page_bytes
from usenetsyncd.clock import SYSTEM_CLOCK
from usenetsyncd.flows.locate import KnownVersion, Located, locate
from usenetsyncd.flows.restore import Restore, RestoreProgress, RestoreRequest, RestoreSummary
from usenetsyncd.model import (
    ArticleAddress,
    ArticleKind,
    Compression,
    Entry,
    EntryKind,
    Extent,
    PageRef,
    RelativePath,
    SegmentId,
    ServerAccount,
    TlsMode,
)
from usenetsyncd.news.service import NewsService
from usenetsyncd.wire.access import AccessKind, encode_access
from usenetsyncd.wire.article import build_article
from usenetsyncd.wire.branches import count_entries
from usenetsyncd.wire.columns import compress_page
from usenetsyncd.wire.entries import encode_leaf
from usenetsyncd.wire.head import FIRST_PREVIOUS, Head, encode_head, head_address, head_hash
from usenetsyncd.wire.keys import (
    folder_secret,
    name_article,
    new_master,
    read_keys,
    read_secret,
    share_keys,
    signing_key,
)
from usenetsyncd.wire.membership import Envelope, ShareKind, encode_envelope, envelope_address
from usenetsyncd.wire.seal import seal
from usenetsyncd.wire.segment import FileHasher, content_hash

NOW_S = 1_763_800_000
Totals = tuple[int, int, int, int]


@dataclass(frozen=True, slots=True)
class Leaf:
    """A page as its branch promises it, whatever it holds. place: where it stands, if not beside the others."""

    stored: bytes
    last: bytes
    totals: Totals
    place: tuple[bytes, int, int] | None = None


class Publisher:
    """Keys of one folder, and a way to post anything under them. Also a context manager."""

    def __init__(self, server: tuple[str, int]) -> None:
        account = ServerAccount("main", *server, TlsMode.NONE, connections=4)
        self.news = NewsService([account])
        self.folder = folder_secret(new_master(), os.urandom(16))
        self.signing = signing_key(self.folder)
        self.fingerprint = self.signing.fingerprint
        self.secret = read_secret(self.folder, 1)
        self.keys = read_keys(self.secret, self.fingerprint)
        self.share = os.urandom(24)
        self.share_keys = share_keys(self.share, self.fingerprint)
        self.access = encode_access(AccessKind.READ, self.share, self.fingerprint)
        self.heads: dict[int, bytes] = {}
        self.posted: set[tuple[ArticleKind, SegmentId]] = set()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.news.close(1.0)

    # -- articles ---------------------------------------------------------------------------

    def post_body(self, at: ArticleAddress, body: bytes, share: bool = False) -> str:
        """Post a body as it is under the name of an address; its message-id."""
        keys = self.share_keys if share else self.keys
        name = name_article(keys.location, at)
        self.news.post(build_article(name, ("alt.binaries.test",), body))
        return name.message_id

    def post(self, at: ArticleAddress, content: bytes, share: bool = False) -> str:
        """Seal content at an address and post it there."""
        keys = self.share_keys if share else self.keys
        return self.post_body(at, seal(keys, at, content, Compression.ZSTD), share)

    def segment(self, content: bytes, kind: ArticleKind = ArticleKind.DATA) -> SegmentId:
        """Post a segment, once."""
        seg_id = SegmentId(content_hash(self.keys.identity, content)[:16])
        if (kind, seg_id) not in self.posted:
            self.post(ArticleAddress(kind, seg_id), content)
            self.posted.add((kind, seg_id))
        return seg_id

    def hash_of(self, content: bytes) -> bytes:
        hasher = FileHasher(self.keys.identity)
        for at in range(0, len(content), 768_000):
            hasher.add_slice(content[at : at + 768_000])
        return hasher.digest()[:16]

    def file(self, path: bytes, content: bytes, **changed: object) -> Entry:
        """An honest file of one segment, or with some fields changed."""
        segment = self.segment(content)
        entry = Entry(
            RelativePath(path),
            EntryKind.FILE,
            size=len(content),
            mtime_ns=NOW_S * 10**9,
            content_hash=self.hash_of(content),
            extents=(Extent(segment, 0, len(content)),),
        )
        return replace(entry, **changed)

    # -- index ------------------------------------------------------------------------------

    def index(self, leaves: Sequence[Leaf], changed: dict[str, bytes] | None = None) -> PageRef:
        """Post leaves in one segment with an inner page above them; the root."""
        segment, below = b"", []
        for leaf in leaves:
            here = (page_bytes.SELF, len(segment), len(leaf.stored))
            below.append(leaf.place or here)
            segment += b"" if leaf.place else leaf.stored
        root = page_bytes.inner(1, [leaf.last for leaf in leaves], [leaf.totals for leaf in leaves], below)
        stored = compress_page(page_bytes.page(root, **(changed or {})))
        return PageRef(self.segment(segment + stored, ArticleKind.INDEX), len(segment), len(stored))

    def page(self, raw: bytes) -> tuple[bytes, int, int]:
        """Post a page in a segment of its own."""
        stored = compress_page(raw)
        return self.segment(stored, ArticleKind.INDEX), 0, len(stored)

    # -- what is signed -----------------------------------------------------------------------

    def envelope(self, serial: int = 1, **changed: object) -> bytes:
        """The content of an envelope."""
        fields = {"share": ShareKind.PUBLIC, "expires_s": 0, "epoch": 1, "version": 0} | changed
        secret = b"" if fields["share"] is ShareKind.REVOKED else self.secret
        envelope = Envelope(
            public=self.signing.public,
            fingerprint=self.fingerprint,
            serial=serial,
            wrapped=secret,
            **fields,  # type: ignore[arg-type]
        )
        return encode_envelope(envelope, self.signing)

    def head(self, version: int, root: PageRef | None = None, **changed: object) -> bytes:
        """The content of a head that descends from the one before."""
        before = self.heads.get(version - 1)
        head = Head(
            self.fingerprint,
            self.signing.public,
            1,
            version,
            NOW_S,
            0,
            FIRST_PREVIOUS if version == 1 else head_hash(before) if before else b"\x01" * 32,
            root,
            0,
            0,
            0,
        )
        return encode_head(replace(head, **changed), self.signing)

    def post_head(self, version: int, content: bytes) -> str:
        self.heads[version] = content
        return self.post(head_address(1, version), content)

    def post_envelope(self, serial: int, content: bytes) -> str:
        return self.post(envelope_address(serial), content, share=True)

    def publish(self, root: PageRef | None) -> None:
        """An envelope, and version 1."""
        self.post_envelope(1, self.envelope())
        self.post_head(1, self.head(1, root))


def leaf_of(entries: Sequence[Entry]) -> Leaf:
    """An honest page of whatever entries; the caller sorts them."""
    raw = encode_leaf(entries, lambda segment: segment)
    totals = count_entries(entries)
    return Leaf(
        compress_page(raw),
        entries[-1].path,
        (totals.files, totals.folders, totals.symlinks, totals.bytes),
    )


def raw_leaf(raw: bytes, names: Sequence[bytes], totals: Totals | None = None) -> Leaf:
    """A page of any bytes, compressed."""
    return Leaf(compress_page(raw), names[-1], totals or (0, len(names), 0, 0))


class Reader:
    """Somebody with the string: locates and restores as the daemon does."""

    def __init__(self, server: tuple[str, int], work: Path) -> None:
        self.server = server
        self.work = work
        self.progress: list[RestoreProgress] = []

    def locate(self, access: str, known: KnownVersion | None = None) -> Located:
        with self._news() as news:
            return locate(news, access, SYSTEM_CLOCK, lambda _: known)

    def restore(
        self,
        access: str,
        target: Path,
        stop: threading.Event | None = None,
        plan: str = "plan",
        **request: object,
    ) -> RestoreSummary:
        with self._news() as news:
            located = locate(news, access, SYSTEM_CLOCK, lambda _: None)
            restore = Restore(
                news,
                located,
                RestoreRequest(target, **request),  # type: ignore[arg-type]
                self.work / plan,
                stop or threading.Event(),
                self.progress.append,
            )
            return restore.run()

    def _news(self) -> "_Closing":
        account = ServerAccount("main", *self.server, TlsMode.NONE, connections=4)
        return _Closing(NewsService([account]))


class _Closing:
    def __init__(self, news: NewsService) -> None:
        self._news = news

    def __enter__(self) -> NewsService:
        return self._news

    def __exit__(self, *_: object) -> None:
        self._news.close(1.0)
