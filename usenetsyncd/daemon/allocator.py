"""How glibc keeps freed memory: at hand while articles are made, given back when there is nothing to do.

Blocks of some 800 kB come and go a thousand times a second. With glibc's defaults each is mapped and unmapped, and
the page faults cost more than yEnc and AES together; kept for good, they would be the larger part of an idle daemon.
"""

import ctypes
import os
from functools import cache
from typing import Any

# mallopt(3)
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD, _M_ARENA_MAX = -1, -3, -8
_KEEP_BYTES = 64 << 20
# glibc refuses more than half a heap (32 MiB), and says so only in its result.
_MAP_FROM_BYTES = 16 << 20
_ARENAS = 2


def tune_allocator() -> None:
    """Keep freed blocks instead of giving them back to the kernel each time (glibc only; elsewhere nothing)."""
    mallopt = _libc("mallopt")
    if mallopt is not None:
        mallopt(_M_MMAP_THRESHOLD, _MAP_FROM_BYTES)
        mallopt(_M_TRIM_THRESHOLD, _KEEP_BYTES)
        mallopt(_M_ARENA_MAX, _ARENAS)


def give_memory_back() -> None:
    """Return what is free to the kernel; for moments in which nothing is under way."""
    trim = _libc("malloc_trim")
    if trim is not None:
        trim(0)


@cache
def _libc(name: str) -> Any:
    if os.name != "posix":
        return None
    try:
        return getattr(ctypes.CDLL(None), name)
    except (AttributeError, OSError):
        return None
