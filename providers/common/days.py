"""Days as people write them in addresses and forms."""

import re
from datetime import date

_WRITTEN = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")


def parse_day(text: str) -> date:
    """Return a day that is written as 2026-11-28. Raises ValueError for other notations, and where there is none."""
    if not _WRITTEN.fullmatch(text):
        raise ValueError(f"{text[:40]!r} is not written as 2026-11-28.")
    return date.fromisoformat(text)
