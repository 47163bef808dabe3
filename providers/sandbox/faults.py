"""Fault injection: how a provider can be broken, and which one is broken right now."""

import threading
from collections.abc import Iterable
from enum import StrEnum


class InjectedFault(StrEnum):
    """One way in which a provider fails. The value is what a person types."""

    DOWN = "down"  # answers that it is overloaded
    RATE_LIMITED = "429"
    HANG = "hang"  # takes the request and never answers
    EMPTY = "empty"  # answers 200 without any output, and bills it
    BAD_KEY = "bad-key"  # answers that the key is wrong
    CUT = "cut"  # stops in the middle of an answer, which it bills
    ERROR_IN_200 = "error-200"  # answers 200 with an error inside

    @classmethod
    def named(cls, name: str) -> "InjectedFault":
        """Return the fault that a person means; "bad key" is as good as "bad-key". Raises ValueError."""
        try:
            return cls(name.strip().lower().replace(" ", "-").replace("_", "-"))
        except ValueError:
            raise ValueError(f"There is no fault {name!r}. Choose one of {', '.join(cls)}.") from None


class FaultBoard:
    """Which provider is broken how. Thread-safe: request threads read it while a person writes it."""

    def __init__(self, slugs: Iterable[str]) -> None:
        self._lock = threading.Lock()
        self._faults: dict[str, InjectedFault | None] = dict.fromkeys(slugs)

    def fault_of(self, slug: str) -> InjectedFault | None:
        return self._faults[slug]

    def break_provider(self, slug: str, fault: InjectedFault) -> None:
        """Inject the fault into a provider. Raises ValueError for an unknown one."""
        self._set([self._known(slug)], fault)

    def heal(self, slug: str = "") -> None:
        """Heal one provider, or all of them. Raises ValueError for an unknown one."""
        self._set([self._known(slug)] if slug else list(self._faults), None)

    def as_dict(self) -> dict[str, str | None]:
        with self._lock:
            return {slug: fault.value if fault else None for slug, fault in self._faults.items()}

    def _set(self, slugs: list[str], fault: InjectedFault | None) -> None:
        with self._lock:
            self._faults.update(dict.fromkeys(slugs, fault))

    def _known(self, slug: str) -> str:
        if slug not in self._faults:
            raise ValueError(f"There is no provider {slug!r} in the sandbox. Choose one of {', '.join(self._faults)}.")
        return slug
