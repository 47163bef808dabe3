"""The shape of what is worth an alert."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Condition:
    """Something that is not as it should be."""

    key: str  # the same for as long as it lasts
    title: str
    advice: str  # what the operator can do
    patience_seconds: int = 0  # for which it may last before anybody is told
