"""Rows whose step failed, put aside with exponential backoff: one row's fault never ends a round of the sweeper."""

import logging
import time
from collections.abc import Callable, Iterable

logger = logging.getLogger("requests_app.sweeper")

MIN_ASIDE_SECONDS = 30.0
MAX_ASIDE_SECONDS = 3600.0


class FaultyRows:
    """What one kind of step has put aside in this process."""

    def __init__(self) -> None:
        self._aside: dict[str, tuple[float, float]] = {}  # key: (time.monotonic() of the next try, pause in seconds)

    def __len__(self) -> int:
        return len(self._aside)

    def each(self, step: Callable[[str], bool], keys: Iterable[str]) -> int:
        """Run `step` for each key and return how many returned True. What it raises is logged, and ends nothing."""
        done = 0
        for key in keys:
            until, pause_seconds = self._aside.get(key, (0.0, MIN_ASIDE_SECONDS))
            if until > time.monotonic():
                continue
            try:
                done += step(key)
                self._aside.pop(key, None)
            except Exception:
                logger.exception("%s cannot be swept; it is put aside for %.0f s.", key, pause_seconds)
                self._aside[key] = time.monotonic() + pause_seconds, min(2 * pause_seconds, MAX_ASIDE_SECONDS)
        return done
