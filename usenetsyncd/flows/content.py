"""Make a segment's content again from where it came: the source files, or a stored blob.

Used when an article is posted and when it is repaired; nothing is staged in between.
"""

from collections import defaultdict

from usenetsyncd.catalogue.catalogue import Catalogue
from usenetsyncd.catalogue.rows import Source
from usenetsyncd.errors import FileChanged, FolderError
from usenetsyncd.folders import read
from usenetsyncd.folders.root import FolderRoot
from usenetsyncd.folders.statkey import FileKey
from usenetsyncd.model import ArticleKind
from usenetsyncd.wire.seal import Workbench


def read_content(
    catalogue: Catalogue,
    segment_row: int,
    kind: ArticleKind,
    length: int,
    root: bytes,
    workbench: Workbench,
) -> memoryview:
    """The content of a segment, read where the workbench will seal it. Valid until the bench is used again.

    Sealing compares it with its id. Raises FileChanged where the source is not any more what was planned.
    """
    if kind is not ArticleKind.DATA:
        return memoryview(catalogue.segments.blob(segment_row))
    view = workbench.area(length)
    with FolderRoot(root) as opened:
        _read_sources(catalogue.segments.sources(segment_row), opened, view)
    return view


def _read_sources(sources: list[Source], root: FolderRoot, view: memoryview) -> None:
    """Fill the view; several files may offer the same part, one that is still as it was is enough."""
    offers: dict[tuple[int, int], list[Source]] = defaultdict(list)
    for source in sources:
        offers[source.offset, source.length].append(source)
    covered = 0
    for (offset, length), candidates in sorted(offers.items()):
        if offset > covered:
            raise FileChanged("a file of this segment is gone")
        _read_any(candidates, root, view[offset : offset + length])
        covered = max(covered, offset + length)
    if covered != len(view):
        raise FileChanged("a file of this segment is gone")


def _read_any(candidates: list[Source], root: FolderRoot, into: memoryview) -> None:
    failure: FolderError | None = None
    for source in candidates:
        key = FileKey(source.size, source.mtime_ns, source.inode)
        try:
            read.read_range(root, source.path, source.position, key, into)
            return
        except FolderError as error:
            failure = error
    if failure is not None:
        raise FileChanged(str(failure)) from failure
