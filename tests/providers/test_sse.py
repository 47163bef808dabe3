"""Server-sent events, however their bytes are cut."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from providers.transport.sse import Event, events

STREAM = (
    "\ufeffevent: first\r\n: OPENROUTER PROCESSING\r\nid: 1\r\nretry: 10\r\ndata: приве\r\ndata:т 🐤\r\n\r\n"
    "data: second\n\n"
    "data\ndata:  third\n\n"
    "event: no data\n\n"
    "data: fourth\r\r"
    "data: never finished"
).encode()
EXPECTED = [
    Event("first", "приве\nт 🐤"),
    Event("message", "second"),
    Event("message", "\n third"),
    Event("message", "fourth"),
    Event("message", "never finished"),
]


@pytest.mark.parametrize("size", [1, 2, 3, 7, 1000])
def test_it_reads_chunks_of_any_size(size: int) -> None:
    assert list(events(STREAM[start : start + size] for start in range(0, len(STREAM), size))) == EXPECTED


@given(cuts=st.lists(st.integers(0, len(STREAM)), max_size=12))
def test_it_reads_chunks_cut_anywhere(cuts: list[int]) -> None:
    borders = [0, *sorted(cuts), len(STREAM)]
    assert list(events(STREAM[a:b] for a, b in pairwise(borders))) == EXPECTED


def test_an_event_comes_out_before_the_next_chunk_is_asked_for() -> None:
    def chunks() -> object:
        yield b"data: now\n\n"
        raise AssertionError("asked too early")

    assert next(events(chunks())) == Event("message", "now")  # type: ignore[arg-type]


@pytest.mark.parametrize("ending", [b"data: last\n\n", b"data: last\r\n\r\n", b"data: last\r\r"])
def test_the_last_event_needs_nothing_after_it(ending: bytes) -> None:
    assert list(events([ending])) == [Event("message", "last")]


def test_bytes_that_are_no_utf8_are_replaced() -> None:
    assert list(events([b"data: \xff\n\n"])) == [Event("message", "\N{REPLACEMENT CHARACTER}")]


def test_nothing_comes_of_nothing() -> None:
    assert list(events([])) == []
    assert list(events([b"", b"\n", b": only a comment\n\n"])) == []
