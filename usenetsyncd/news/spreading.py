"""Which server each copy of a segment should go to."""

from collections.abc import Iterable

from usenetsyncd.model import ServerAccount


def spread_over(accounts: Iterable[ServerAccount], copy: int, seg_id: bytes) -> str | None:
    """The name of the server for this copy, or None with fewer than two to choose from.

    The same for the same accounts, always: a copy that is posted again goes where it was meant to be. The servers of
    the best priority come first, beginning with one that seg_id chooses, so that they share the load; further copies
    take the others in the order of their priority. Only when there are more copies than servers do two meet.
    """
    ring = sorted(accounts, key=lambda account: (account.priority, account.name))
    if len(ring) < 2:
        return None
    best = sum(account.priority == ring[0].priority for account in ring)
    first = int.from_bytes(seg_id[:4]) % best
    order = ring[first:best] + ring[:first] + ring[best:]
    return order[copy % len(order)].name
