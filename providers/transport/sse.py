"""Server-sent events: bytes as they come in, events out. Source: https://html.spec.whatwg.org/#event-stream-interpretation"""

import codecs
from collections.abc import Iterable, Iterator
from typing import NamedTuple


class Event(NamedTuple):
    """One event of a stream."""

    name: str  # "message" where the server names none
    data: str


def events(chunks: Iterable[bytes]) -> Iterator[Event]:
    """Yield the events of a stream whose bytes are cut anywhere, even inside a character or between CR and LF.

    Comments, retry times and ids are skipped. An event that the stream's end leaves unfinished is dropped.
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


def _lines(chunks: Iterable[bytes]) -> Iterator[str]:
    """Yield complete lines, which end with LF, CRLF or CR."""
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
    if held:
        yield rest
