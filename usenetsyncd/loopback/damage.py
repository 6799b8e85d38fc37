"""Ways in which an article can be spoilt while it still looks like an article."""

from usenetsyncd.loopback.faults import Damage

STRANGE_BODY = b"This is not what you have asked for.\r\n"

# Bytes that a flip must neither touch nor make: they would change the lines, not the content.
_FRAME = frozenset(b"\r\n\0.=")


def body_start(wire: bytes) -> int:
    """Where the body of an article begins; its end for one without."""
    end_of_headers = wire.find(b"\r\n\r\n")
    return len(wire) if end_of_headers < 0 else end_of_headers + 4


def damaged(wire: bytes, how: Damage, another: bytes | None) -> bytes:
    """A spoilt copy of an article in wire form. another: an article whose body to take for Damage.WRONG."""
    start = body_start(wire)
    if how is Damage.FLIP:
        return _flip(wire, start)
    if how is Damage.CUT:
        cut = wire.find(b"\r\n", (start + len(wire)) // 2)
        return wire[: cut + 2] if cut >= 0 else wire[:start]
    return wire[:start] + (STRANGE_BODY if another is None else another[body_start(another) :])


def _flip(wire: bytes, start: int) -> bytes:
    spoilt = bytearray(wire)
    for at in range((start + len(wire)) // 2, len(wire)):
        if wire[at] not in _FRAME and wire[at] ^ 1 not in _FRAME and wire[at - 1] != ord("="):
            spoilt[at] ^= 1
            break
    return bytes(spoilt)
