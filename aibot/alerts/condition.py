"""The shape of what is worth an alert."""

from dataclasses import dataclass, field
from enum import StrEnum

from providers.models import ProviderConfig
from telegram_bot.keyboards import PAUSE_ROUTE, RESUME_ROUTE


class Remedy(StrEnum):
    """What the operator can do about routes by a button below the message."""

    RESUME = RESUME_ROUTE
    PAUSE = PAUSE_ROUTE


@dataclass(frozen=True, slots=True)
class Condition:
    """Something that is not as it should be."""

    key: str  # the same for as long as it lasts
    title: str
    advice: str  # what the operator can do
    patience_seconds: int = 0  # for which it may last before anybody is told
    remedy: Remedy | None = None
    routes: list[int] = field(default_factory=list)  # keys of those to which the remedy is offered


def routes_of(provider: str) -> list[int]:
    """Return the keys of a provider's routes that are in service."""
    return list(ProviderConfig.objects.in_service().filter(provider=provider).values_list("pk", flat=True))
