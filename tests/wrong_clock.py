"""A wrong clock for a process, by the preloaded library libfaketime."""

from pathlib import Path

PACKAGE = "faketime"  # of Debian


def faketime_library() -> str:
    """Return the path of libfaketime, "" where it is not installed."""
    return next(map(str, sorted(Path("/usr/lib").glob("**/libfaketimeMT.so.1"))), "")


def clock_variables(offset: str) -> dict[str, str]:
    """Return the variables of a process whose clock is so much off, such as "+1h"; what it measures itself is not."""
    return {"LD_PRELOAD": faketime_library(), "FAKETIME": offset, "DONT_FAKE_MONOTONIC": "1"}
