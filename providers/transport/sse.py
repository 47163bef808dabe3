"""Server-sent events: bytes as they come in, events out. Source: https://html.spec.whatwg.org/#event-stream-interpretation"""

import codecs
from collections.abc import Callable, Iterable, Iterator
from typing import NamedTuple

FIELDS = ("data:", "event:", "id:", "retry:", ":")  # with one of these a stream begins, whatever its content type says


class Event(NamedTuple):
    """One event of a stream."""

    name: str  # "message" where the server names none
    data: str


def events(chunks: Iterable[bytes], *, on_comment: Callable[[], None] = lambda: None) -> Iterator[Event]:
    """Yield the events of a stream whose bytes are cut anywhere, even inside a character or between CR and LF.

    Retry times and ids are skipped; comments, by which servers keep a connection alive, call `on_comment`. Unlike in a
    browser an event that the end of the bytes leaves unfinished counts: servers forget the last newline.
    """
    name = ""
    data: list[str] = []
    for line in _lines(chunks):
        field, _, value = line.partition(":")
        value = value.removeprefix(" ")
        if not line:
            if data:
                yield Event(name or "message", "\n".join(data))
            name, data = "", []
        elif field == "data":
            data.append(value)
        elif field == "event":
            name = value
        elif not field:
            on_comment()
    if data:
        yield Event(name or "message", "\n".join(data))


def _lines(chunks: Iterable[bytes]) -> Iterator[str]:
    """Yield the lines, which end with LF, CRLF, CR or the last byte."""
    decoder = codecs.getincrementaldecoder("utf-8-sig")("replace")
    rest = held = ""
    for chunk in chunks:
        piece = held + decoder.decode(chunk)
        held = "\r" if piece.endswith("\r") else ""  # it may be the first half of a CRLF
        first, *others = piece.removesuffix(held).replace("\r\n", "\n").replace("\r", "\n").split("\n")
        rest += first
        for line in others:
            yield rest
            rest = line
    if rest or held:
        yield rest
