"""The catalogue against a dict: whatever is stored, posted, given up and published, in any order."""

import tempfile
from pathlib import Path

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from tests.catalogue.making import assert_sound, batch, content_hash, directory, file, post, seg
from usenetsyncd.catalogue.catalogue import Catalogue
from usenetsyncd.catalogue.rows import PENDING_STATES, LeasedArticle
from usenetsyncd.catalogue.versions import VersionRow
from usenetsyncd.model import EntryKind, PageRef, SegmentId

DIRECTORIES = (b"", b"a", b"a/b", b"a-b", b"a/b/\xff")
NAMES = (b"x", b"y", b"b", b"\xfe")
CONTENTS = "pqrs"
paths = st.sampled_from(DIRECTORIES)
names = st.sampled_from(NAMES)
contents = st.sampled_from(CONTENTS)


def join(folder: bytes, name: bytes) -> bytes:
    return folder + b"/" + name if folder else name


class CatalogueModel(RuleBasedStateMachine):
    """files: path -> content; published: what readers of the newest version see."""

    def __init__(self) -> None:
        super().__init__()
        self.place = tempfile.TemporaryDirectory()
        self.catalogue = Catalogue.open(Path(self.place.name) / "catalogue.db")
        self.folder = self.catalogue.folders.ensure("docs", b"/srv", b"u" * 16).id
        self.files: dict[bytes, str | None] = {}
        self.directories: set[bytes] = set()
        self.published: dict[bytes, bytes] = {}
        self.leased: list[LeasedArticle] = []
        self.posted: set[str] = set()
        self.building: tuple[VersionRow, dict[bytes, bytes | None]] | None = None

    def teardown(self) -> None:
        self.catalogue.close()
        self.place.cleanup()

    @initialize()
    def begin_with_a_root(self) -> None:
        self.store_files(b"", {b"x": "p"}, False)

    @rule(path=paths, found=st.dictionaries(names, contents, max_size=3), copies=st.just(1))
    def store(self, path: bytes, found: dict[bytes, str], copies: int) -> None:
        self.store_files(path, found, False)

    @rule(path=paths, found=st.dictionaries(names, contents, min_size=1, max_size=3))
    def store_twice(self, path: bytes, found: dict[bytes, str]) -> None:
        self.store_files(path, found, True)

    def store_files(self, path: bytes, found: dict[bytes, str], twice: bool) -> None:
        # A scan cannot find a file and a directory under one name.
        found = {name: text for name, text in found.items() if join(path, name) not in self.directories}
        if path in self.files or any(path.startswith(taken + b"/") for taken in self.files):
            return
        updates = [file(name, text, len(text) + CONTENTS.index(text)) for name, text in found.items()]
        given = batch(self.folder, directory(path, *updates))
        for _ in range(1 + twice):
            self.catalogue.scan.store(given).result()
        self.directories.add(path)
        for name, text in found.items():
            self.files[join(path, name)] = text

    @rule(path=paths, gone=st.sets(names, max_size=2))
    def delete_files(self, path: bytes, gone: set[bytes]) -> None:
        if path in self.directories:
            self.catalogue.scan.store(batch(self.folder, directory(path, deletes=tuple(gone)))).result()
            for name in gone:
                self.files.pop(join(path, name), None)

    @rule(path=st.sampled_from(DIRECTORIES[1:]))
    def delete_directory(self, path: bytes) -> None:
        self.catalogue.scan.store(batch(self.folder, removed=(path,))).result()
        self.directories = {
            one for one in self.directories if one != path and not one.startswith(path + b"/")
        }
        self.files = {one: text for one, text in self.files.items() if not one.startswith(path + b"/")}

    @rule(limit=st.integers(1, 4))
    def lease(self, limit: int) -> None:
        got = self.catalogue.queue.lease(limit).result()
        held = {(one.segment_row, one.copy) for one in self.leased}
        assert not held & {(one.segment_row, one.copy) for one in got}
        self.leased += got

    @precondition(lambda self: self.leased)
    @rule(
        at=st.integers(0, 9),
        outcome=st.sampled_from(["posted", "retry", "doubtful", "failed", "back", "abandon"]),
    )
    def finish(self, at: int, outcome: str) -> None:
        one = self.leased.pop(at % len(self.leased))
        queue = self.catalogue.queue
        if outcome == "posted":
            post(self.catalogue, [one])
            self.posted.update(text for text in CONTENTS if seg(text) == one.seg_id)
        elif outcome in ("retry", "doubtful"):
            queue.retry(one.segment_row, one.copy, 0, outcome == "doubtful").result()
        elif outcome == "failed":
            queue.failed(one.segment_row, one.copy, "no").result()
        elif outcome == "back":
            queue.give_back([(one.segment_row, one.copy)]).result()
        elif one.kind.name == "DATA":
            queue.abandon(one.segment_row).result()
            for path, text in self.files.items():
                if text is not None and seg(text) == one.seg_id:
                    self.files[path] = None
        else:
            queue.give_back([(one.segment_row, one.copy)]).result()

    @rule()
    def retry_all(self) -> None:
        self.catalogue.queue.retry_failed().result()

    @rule()
    def restart(self) -> None:
        self.catalogue.close()
        self.catalogue = Catalogue.open(Path(self.place.name) / "catalogue.db")
        assert self.catalogue.queue.return_leases() == len(self.leased)
        self.leased.clear()

    @precondition(lambda self: self.building is None)
    @rule()
    def begin_version(self) -> None:
        begun = self.catalogue.versions.begin(self.folder)
        taken: dict[bytes, bytes | None] = {}
        for path, entry in self.catalogue.versions.changes(self.folder, version=begun.version):
            taken[path] = None
            if entry is not None:
                taken[path] = b"folder" if entry.kind is EntryKind.FOLDER else entry.content_hash
        self.catalogue.versions.add_segment(
            self.folder, begun.version, seg(f"v{begun.version}{taken}"), b"p"
        ).result()
        self.building = begun, taken

    @precondition(lambda self: self.building is not None)
    @rule(give_up=st.booleans())
    def end_version(self, give_up: bool) -> None:
        assert self.building is not None
        begun, taken = self.building
        self.building = None
        if give_up:
            assert self.catalogue.versions.abandon(self.folder, begun.version).result()
            return
        self.catalogue.versions.complete(
            self.folder,
            begun.version,
            root=PageRef(SegmentId(b"r" * 16), 0, 1),
            head_id=begun.version.to_bytes(16),
            head=b"head",
            head_hash=b"h" * 32,
            files=0,
            directories=0,
            size_bytes=0,
        ).result()
        self.catalogue.versions.publish_done(self.folder, begun.version).result()
        for path, value in taken.items():
            if value is None:
                self.published.pop(path, None)
            else:
                self.published[path] = value

    @invariant()
    def rows_are_those_of_the_model(self) -> None:
        found: dict[bytes, bytes | None] = {}
        for path, row, _ in self.catalogue.scan.digests(self.folder):
            assert path in self.directories
            for entry in self.catalogue.scan.entries(row):
                found[join(path, entry.name)] = entry.hash
        assert found == {path: text and content_hash(text) for path, text in self.files.items()}

    @invariant()
    def journal_and_last_version_together_make_the_tree(self) -> None:
        """What readers see, with every change applied, is what is there."""
        seen = dict(self.published)
        for path, entry in self.catalogue.versions.changes(self.folder, only_ready=False):
            if entry is None:
                seen.pop(path, None)
            else:
                seen[path] = b"folder" if entry.kind is EntryKind.FOLDER else entry.content_hash
        now = {path: content_hash(text)[:16] if text else b"" for path, text in self.files.items()}
        assert seen == now | dict.fromkeys(self.directories, b"folder")

    @invariant()
    def nothing_is_ready_that_is_not_posted(self) -> None:
        ready = {content_hash(text)[:16] for text in self.posted}
        for _, entry in self.catalogue.versions.changes(self.folder, only_ready=True):
            if entry is not None and entry.kind is EntryKind.FILE:
                assert entry.content_hash in ready

    @invariant()
    def counters_equal_a_recount(self) -> None:
        row = self.catalogue.folders.by_id(self.folder)
        assert row.files == len(self.files)
        assert row.directories == len(self.directories - {b""})
        counts = self.catalogue.queue.counts(self.folder)
        assert counts.pending == sum(counts.articles[state] for state in PENDING_STATES)
        assert_sound(self.catalogue)


CatalogueModel.TestCase.settings = settings(max_examples=25, stateful_step_count=25, deadline=None)
TestCatalogueModel = CatalogueModel.TestCase
