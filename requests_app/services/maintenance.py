"""Maintenance mode: prompts are held back, unaccepted and unpaid, until it is over; what is under way is finished."""

import time

from django.conf import settings

from requests_app.models import MaintenanceMode

CACHE_SECONDS = 1.0  # after the operator's switch

_cached: tuple[float, MaintenanceMode | None] | None = None  # when it was read, on time.monotonic()


def maintenance_begin(*, notice: str = "") -> None:
    """Hold new prompts back. Users who write read the notice. Idempotent; the last notice counts.

    Every process knows after CACHE_SECONDS; a prompt that was accepted before is answered and charged as usual.
    """
    MaintenanceMode.objects.update_or_create(pk=1, defaults={"notice": notice})


def maintenance_end() -> bool:
    """Let prompts in again; return whether they were held back by the switch. Idempotent."""
    return MaintenanceMode.objects.filter(pk=1).delete()[0] > 0


def maintenance_mode() -> MaintenanceMode | None:
    """Return the maintenance mode if it is on, by the switch or by the setting, as of the last CACHE_SECONDS."""
    global _cached
    if settings.MAINTENANCE:
        return MaintenanceMode()
    now = time.monotonic()
    if _cached is None or now - _cached[0] >= CACHE_SECONDS:
        _cached = now, MaintenanceMode.objects.first()
    return _cached[1]
