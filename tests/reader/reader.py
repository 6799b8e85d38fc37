"""A second reader: an access string and a news server in, a folder out. Written from docs/format.md alone.

``python -m tests.reader.reader STRING HOST PORT TARGET [VERSION]`` restores; it is slow and asks one server only.
"""

import os
import sys
import time
from collections import OrderedDict
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO, TypeVar

from tests.reader.lists import OVERRIDES, STRIPES, Stripe, list_rows
from tests.reader.newsserver import NewsServer, yenc_decode
from tests.reader.pages import FILE, FOLDER, Entry, Place, Walk, extents_of
from tests.reader.parity import rebuild
from tests.reader.people import Identity, unwrap
from tests.reader.sealed import (
    DATA,
    ENVELOPE,
    HEAD,
    INDEX,
    PARITY,
    SEGMENT_BYTES,
    Address,
    Keys,
    Refused,
    file_hash,
    keyed_blake3,
    must,
    names,
    open_body,
)
from tests.reader.signed import Head, read_access, read_envelope, read_head, sound_now

T = TypeVar("T")
SEGMENTS_HELD = 12
HOLE_BYTES = 4_096
Copies = list[tuple[int, int]]
REPAIRED: Copies = [(copy, generation) for generation in range(9) for copy in range(4)]


def head_id(epoch: int, version: int) -> bytes:
    return epoch.to_bytes(4, "big") + version.to_bytes(8, "big") + bytes(4)


def envelope_id(serial: int) -> bytes:
    return serial.to_bytes(8, "big") + bytes(8)


class Articles:
    """Articles of one set of keys, by address, each opened and checked; lost ones are looked for (section 3)."""

    def __init__(self, server: NewsServer, keys: Keys, elsewhere: dict[Address, str] | None = None) -> None:
        self.server, self.keys = server, keys
        self.elsewhere = {} if elsewhere is None else elsewhere  # overrides

    def name(self, at: Address) -> str:
        return self.elsewhere.get(at) or names(self.keys.location, at)[0]

    def open(self, at: Address) -> bytes | None:
        block = self.server.body(self.name(at))
        return None if block is None else open_body(self.keys, at, yenc_decode(block))

    def find(self, kind: int, id_: bytes, accept: Callable[[bytes], T]) -> T | None:
        """What ``accept`` makes of the first copy that opens and that it takes; None if there is no such copy."""
        first, others = REPAIRED[:1], REPAIRED[1:]
        for round_ in (first, others):
            there = [Address(kind, id_, *place) for place in round_]
            for at, present in zip(there, self.server.present([self.name(at) for at in there]), strict=True):
                try:
                    content = self.open(at) if present else None
                    if content is not None:
                        return accept(content)
                except Refused as refused:
                    if refused.name == "newer_format":
                        raise
        return None

    def newest(
        self, kind: int, low: int, id_of: Callable[[int], bytes], accept: Callable[[int, bytes], T]
    ) -> T:
        """The greatest number from ``low`` that can be fetched and verified (section 13, finding the newest)."""
        struck: set[int] = set()

        def greatest(numbers: Iterator[int] | range, places: Copies) -> int | None:
            asked = [
                (n, Address(kind, id_of(n), *place)) for n in numbers for place in places if n not in struck
            ]
            there = self.server.present([self.name(at) for _, at in asked])
            return max((n for (n, _), present in zip(asked, there, strict=True) if present), default=None)

        def look() -> int:
            found = low
            while True:
                higher = greatest((found + (1 << k) for k in range(21)), REPAIRED[:1])
                higher = higher if higher is not None else greatest(range(found + 1, found + 9), REPAIRED)
                if higher is None:
                    return found
                found = higher

        found = None
        while found is None:
            number = look()
            while number in struck and number >= low:
                number -= 1
            must(number >= max(low, 1), "missing", f"nothing of kind {kind} from number {low}")
            found = self.find(kind, id_of(number), lambda content, n=number: accept(n, content))
            struck.add(number)
        return found


class Folder:
    """A folder behind an access string."""

    def __init__(
        self,
        string: str,
        server: NewsServer,
        passphrase: str | None = None,
        identity: Identity | None = None,
    ) -> None:
        kind, secret, fingerprint = read_access(string)
        must(kind == "usyncread", "newer_format", "only strings for reading")
        shared = Articles(server, Keys.of(secret, fingerprint, share=True))
        self.envelope = shared.newest(
            ENVELOPE, 0, envelope_id, lambda serial, content: read_envelope(content, fingerprint, serial)
        )
        sound_now(self.envelope, time.time())
        self.server, self.fingerprint = server, fingerprint
        epoch = self.envelope.epoch
        self.elsewhere: dict[Address, str] = {}
        opened = unwrap(self.envelope, fingerprint, secret, passphrase, identity)
        self.current = Articles(server, Keys.of(opened, fingerprint), self.elsewhere)
        self.older: list[Articles] = []
        self.held: OrderedDict[tuple[int, bytes], bytes] = OrderedDict()
        self.newest = self.current.newest(
            HEAD,
            self.envelope.version,
            lambda n: head_id(epoch, n),
            lambda n, c: read_head(c, fingerprint, (epoch, n)),
        )
        self.use(self.newest)

    def use(self, head: Head) -> None:
        rows = [(e, s) for e, _, s in reversed(self.newest.older)]
        self.older = [
            Articles(self.server, Keys.of(secret, self.fingerprint), self.elsewhere) for _, secret in rows
        ]
        if head.overrides is not None:
            found = list_rows(OVERRIDES, head.overrides, self.index)
            self.elsewhere |= {override.at: override.message_id for override in found}
        self.stripes = head.stripes
        self.stripe_of: dict[bytes, Stripe] | None = None

    def head(self, version: int) -> Head:
        """The head of an earlier version, in whichever epoch it was published."""
        rows = [(e, secret) for e, first, secret in reversed(self.newest.older) if first <= version]
        older = [(e, Articles(self.server, Keys.of(secret, self.fingerprint))) for e, secret in rows]
        for epoch, articles in ((self.envelope.epoch, self.current), *older):
            head = articles.find(
                HEAD, head_id(epoch, version), lambda c, e=epoch: read_head(c, self.fingerprint, (e, version))
            )
            if head is not None:
                return head
        raise Refused("missing", f"version {version}")

    def segment(self, kind: int, id_: bytes) -> bytes:
        """The content of a segment; the last few are held."""
        if (kind, id_) in self.held:
            self.held.move_to_end((kind, id_))
            return self.held[kind, id_]
        content = self.posted(kind, id_)
        if content is None and kind == DATA:
            content = self.rebuilt(id_)
        must(content is not None, "missing", f"segment {id_.hex()}")
        self.held[kind, id_] = content
        while len(self.held) > SEGMENTS_HELD:
            self.held.popitem(last=False)
        return content

    def posted(self, kind: int, id_: bytes) -> bytes | None:
        """The content of a segment from an article of its own."""
        for articles in (self.current, *self.older):
            content = articles.find(kind, id_, lambda content: content)
            if content is not None:
                return content
        return None

    def rebuilt(self, id_: bytes) -> bytes | None:
        """The content of a data segment from the others of its stripe (section 16)."""
        if self.stripe_of is None:
            rows = [] if self.stripes is None else list_rows(STRIPES, self.stripes, self.index)
            self.stripe_of = {segment: stripe for stripe in rows for segment, _ in stripe.members}
        stripe = self.stripe_of.get(id_)
        if stripe is None:
            return None
        lengths = [length for _, length in stripe.members]
        expected = [(DATA, *member) for member in stripe.members]
        expected += [(PARITY, segment, max(lengths)) for segment in stripe.parity]
        blocks: dict[int, bytes] = {}
        for position, (kind, segment, length) in enumerate(expected):
            content = None if segment == id_ else self.posted(kind, segment)
            if content is not None and len(content) == length and len(blocks) < len(lengths):
                blocks[position] = content
        if len(blocks) < len(lengths):
            return None
        made = rebuild(lengths, len(stripe.parity), blocks)
        content = made[[segment for segment, _ in stripe.members].index(id_)]
        rings = [articles.keys.identity for articles in (self.current, *self.older)]
        must(any(keyed_blake3(ring, content)[:16] == id_ for ring in rings), "content_mismatch", "rebuilt")
        return content

    def index(self, id_: bytes) -> bytes:
        return self.segment(INDEX, id_)

    def entries(self, head: Head) -> Iterator[Entry]:
        """All entries of a version, its totals compared."""
        totals = [0, 0, 0]
        if head.root is not None:
            for entry in Walk(self.index).entries(head.root):
                totals[0] += entry.kind == FILE
                totals[1] += entry.kind == FOLDER
                totals[2] += entry.size
                yield entry
        must(totals == [head.files, head.folders, head.bytes_total], why="totals of the head")

    def content(self, entry: Entry) -> Iterator[bytes]:
        """A file's bytes, one extent at a time; its size and hash are compared at the end."""
        rings = [articles.keys.identity for articles in (self.current, *self.older)]
        slices: list[list[bytes]] = [[] for _ in rings]
        pending, size = b"", 0

        def add(piece: bytes) -> None:
            for ring, hashes in zip(rings, slices, strict=True):
                hashes.append(keyed_blake3(ring, piece))

        for piece in map(self.piece, extents_of(entry, self.index)):
            size += len(piece)
            pending += piece
            while len(pending) >= SEGMENT_BYTES:
                add(pending[:SEGMENT_BYTES])
                pending = pending[SEGMENT_BYTES:]
            yield piece
        if pending:
            add(pending)
        must(size == entry.size, "content_mismatch", "size of a file")
        found = [file_hash(ring, hashes)[:16] for ring, hashes in zip(rings, slices, strict=True)]
        must(not size or entry.content_hash in found, "content_mismatch", "hash of a file")

    def piece(self, extent: Place) -> bytes:
        segment, offset, length = extent
        content = self.segment(DATA, segment)
        must(offset + length <= len(content), "content_mismatch", "an extent beyond its segment")
        return content[offset : offset + length]


def components(path: bytes) -> list[bytes]:
    parts = path.split(b"/") if path else []
    must(all(part not in (b"", b".", b"..") for part in parts) and b"\0" not in path, "format_error", "path")
    return parts


class Target:
    """Makes entries below a directory, walking with handles that follow no link."""

    def __init__(self, root: Path) -> None:
        root.mkdir(parents=True, exist_ok=True)
        self.root = os.open(root, os.O_RDONLY | os.O_DIRECTORY)
        self.first_of_group: dict[tuple[bytes, bytes], list[bytes]] = {}

    @contextmanager
    def parent(self, parts: list[bytes]) -> Iterator[int]:
        """A descriptor of the directory that the last component stands in, made where it is missing."""
        here = os.dup(self.root)
        try:
            for part in parts[:-1]:
                with suppress(FileExistsError):
                    os.mkdir(part, 0o700, dir_fd=here)
                below = os.open(part, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW, dir_fd=here)
                os.close(here)
                here = below
            yield here
        finally:
            os.close(here)

    def make_file(self, entry: Entry, content: Iterator[bytes]) -> None:
        parts = components(entry.path)
        group = (entry.link_group, entry.content_hash)
        first = self.first_of_group.get(group) if entry.link_group else None
        with self.parent(parts) as here:
            if first is not None:
                with self.parent(first) as there:
                    os.link(first[-1], parts[-1], src_dir_fd=there, dst_dir_fd=here, follow_symlinks=False)
                return
            made = os.open(
                parts[-1], os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600, dir_fd=here
            )
            with open(made, "wb") as file:
                for piece in content:
                    for at in range(0, len(piece), HOLE_BYTES):
                        write(file, piece[at : at + HOLE_BYTES], entry.sparse)
                file.truncate(entry.size)
                dress(made, entry)
        if entry.link_group:
            self.first_of_group[group] = parts

    def make_folder(self, entry: Entry) -> None:
        parts = components(entry.path)
        with self.parent([*parts, b"."]):
            pass

    def make_link(self, entry: Entry) -> None:
        parts = components(entry.path)
        with self.parent(parts) as here:
            os.symlink(entry.target, parts[-1], dir_fd=here)
            times = (entry.mtime_ns, entry.mtime_ns)
            os.utime(parts[-1], ns=times, dir_fd=here, follow_symlinks=False)

    def dress_folder(self, entry: Entry) -> None:
        with self.parent([*components(entry.path), b"."]) as here:
            dress(here, entry)


def write(file: BinaryIO, piece: bytes, holes: bool) -> None:
    if holes and not any(piece):
        file.seek(len(piece), os.SEEK_CUR)
    else:
        file.write(piece)


def dress(made: int, entry: Entry) -> None:
    """Attributes, mode and time of a file or folder that is there; owners as far as we may."""
    if entry.owner is not None:
        with suppress(PermissionError):
            os.chown(made, *entry.owner)
    for name, value in entry.xattrs:
        os.setxattr(made, name, value)
    os.chmod(made, entry.mode & 0o777)
    os.utime(made, ns=(entry.mtime_ns, entry.mtime_ns))


def restore(folder: Folder, head: Head, root: Path) -> None:
    """Files and folders, then symbolic links, then what folders look like, deepest first."""
    target = Target(root)
    try:
        links, folders = [], []
        folder.use(head)
        for entry in folder.entries(head):
            if entry.kind == FILE:
                target.make_file(entry, folder.content(entry))
            elif entry.kind == FOLDER:
                target.make_folder(entry)
                folders.append(entry)
            else:
                links.append(entry)
        for entry in links:
            target.make_link(entry)
        for entry in reversed(folders):
            target.dress_folder(entry)
    finally:
        os.close(target.root)


def main() -> None:
    string, host, port, root, *version = sys.argv[1:]
    with NewsServer(host, int(port)) as server:
        folder = Folder(string, server)
        restore(folder, folder.head(int(version[0])) if version else folder.newest, Path(root))


if __name__ == "__main__":
    main()
