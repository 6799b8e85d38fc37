"""Taking an article in, as an injecting server does (RFC 3977 6.3.1, RFC 5537 3.5)."""

import re
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from email.utils import formatdate

from usenetsyncd.errors import FormatError
from usenetsyncd.loopback.damage import damaged
from usenetsyncd.loopback.faults import Effects
from usenetsyncd.loopback.response import Response
from usenetsyncd.loopback.site import Site
from usenetsyncd.loopback.spool import Overview
from usenetsyncd.wire.article import check_message_id

PATH = b"Path: loopback.invalid!not-for-mail\r\n"

_FOLD = re.compile(rb"\r\n[ \t]+")
_FIELD = re.compile(r"([!-9;-~]+): ?(.*)")
_MESSAGE_ID_LINE = re.compile(rb"(?im)^Message-ID:[^\r\n]*(?:\r\n[ \t][^\r\n]*)*")


@dataclass(frozen=True, slots=True)
class Submission:
    """An article that came in whole. fields: header name in small letters -> content."""

    wire: bytes
    header_bytes: int
    fields: Mapping[str, str]
    message_id: str
    groups: tuple[str, ...]


def parse_submission(wire: bytes) -> Submission:
    """Take the headers of a posted article apart. Raises FormatError with the text of the 441 reply."""
    header_bytes = wire.find(b"\r\n\r\n")
    if header_bytes < 0:
        raise FormatError("Article has no body")
    fields: dict[str, str] = {}
    for line in _FOLD.sub(b" ", wire[:header_bytes]).split(b"\r\n"):
        match = _FIELD.fullmatch(line.decode("utf-8", "surrogateescape"))
        if match is None:
            raise FormatError("Article has a line among its headers that is none")
        if match[1].lower() in fields:
            raise FormatError(f"Article has two {match[1]} headers")
        fields[match[1].lower()] = match[2].strip()
    for required in ("From", "Newsgroups", "Subject"):
        if not fields.get(required.lower()):
            raise FormatError(f"Missing required {required} header")
    message_id = check_message_id(fields.get("message-id") or _new_message_id())
    groups = tuple(group.strip() for group in fields["newsgroups"].split(","))
    return Submission(wire, header_bytes, fields, message_id, groups)


def accept(site: Site, article: Submission, effects: Effects) -> Response:
    """Store an article, or refuse it; faults that concern its storing are played here."""
    carried = [group for group in article.groups if site.carries(group)]
    if not carried:
        return Response(441, "No valid newsgroups")
    renamed = effects.rewrite_id or effects.swallow_id
    message_id = _new_message_id() if renamed else article.message_id
    if not site.spool.claim(message_id):
        # INN says the same: 435 is what IHAVE would have said.
        return Response(441, "435 Duplicate")
    if effects.drop_after_240:
        site.spool.forget(message_id)
    else:
        _store(site, article, message_id, list(dict.fromkeys(carried)), effects)
    site.counters.posted(article.message_id)
    return Response(240, "Article received" if effects.swallow_id else f"Article received {message_id}")


def _store(site: Site, article: Submission, message_id: str, groups: list[str], effects: Effects) -> None:
    date = article.fields.get("date") or formatdate(site.clock.now())
    added = PATH
    if "date" not in article.fields:
        added += f"Date: {date}\r\n".encode("utf-8", "surrogateescape")
    wire = article.wire
    if message_id != article.fields.get("message-id"):
        new_line = f"Message-ID: {message_id}".encode("ascii")
        head, replaced = _MESSAGE_ID_LINE.subn(new_line, wire[: article.header_bytes], count=1)
        wire = head + wire[article.header_bytes :]
        added += b"" if replaced else new_line + b"\r\n"
    if effects.corrupt is not None:
        wire = damaged(wire, effects.corrupt, another_article(site, message_id))
    overview = Overview(
        subject=_plain(article.fields["subject"]),
        poster=_plain(article.fields["from"]),
        date=_plain(date),
        message_id=message_id,
        references=_plain(article.fields.get("references", "")),
        size_bytes=len(added) + len(wire),
        lines=wire.count(b"\n", article.header_bytes + 4),
    )
    site.spool.add(overview, groups, [added, wire], hide_s=effects.hide)


def another_article(site: Site, message_id: str) -> bytes | None:
    """Some article that is not this one."""
    for other in site.spool.message_ids():
        if other != message_id:
            return site.spool.read(other)
    return None


def _plain(content: str) -> str:
    return content.replace("\t", " ").replace("\0", " ")


def _new_message_id() -> str:
    return f"<{secrets.token_hex(12)}@loopback.invalid>"
