"""An operator's pause of a route, which holds until it is over or taken back.

The circuit breaker's pause is a guess, so where nothing else is left its routes are tried all the same. An operator
means it: a route that they have paused is not asked, not even as the last one. Jobs that it has under way end as usual.
"""

from datetime import timedelta
from typing import Any

from django.db import transaction
from django.db.models.functions import Now

from providers.chain.circuit_breaker import Circuit, circuit_of_route, circuits_of_keys, reset
from providers.models import ProviderConfig
from providers.versioning import sign

PAUSE = timedelta(hours=1)
FIELDS = ["paused_until", "paused_by", "paused_because", "updated_at"]


def route_pause(*, route_id: int, actor: str, reason: str = "", duration: timedelta = PAUSE) -> bool:
    """Keep a route from being asked for `duration` from now, by the database's clock; a version says who and why.

    Workers obey within a second. A pause that is under way begins anew. Returns False where there is no such route.
    """
    with transaction.atomic():
        rows: Any = ProviderConfig.objects.select_for_update().annotate(now=Now())
        route = rows.filter(pk=route_id).first()
        if route is None:
            return False
        route.paused_until = route.now + duration
        route.paused_by, route.paused_because = actor[:64], reason[:200]
        sign(route, actor=actor, reason=reason or f"paused for {_words_of(duration)}")
        route.save(update_fields=FIELDS)
    return True


def route_resume(*, route_id: int, actor: str, reason: str = "") -> bool:
    """End a route's pause at once: the operator's, and those of its circuit and of its provider's keys.

    Returns whether there was anything to end.
    """
    with transaction.atomic():
        route = ProviderConfig.objects.select_for_update().filter(pk=route_id).first()
        if route is None:
            return False
        was_paused = route.paused_until is not None
        if was_paused:
            route.paused_until, route.paused_by, route.paused_because = None, "", ""
            sign(route, actor=actor, reason=reason or "resumed")
            route.save(update_fields=FIELDS)
        circuits: list[Circuit] = [circuit_of_route(route), *circuits_of_keys(route.provider)]
        closed = [reset(circuit) for circuit in circuits]
    return was_paused or any(closed)


def _words_of(duration: timedelta) -> str:
    minutes = round(duration.total_seconds() / 60)
    return "an hour" if minutes == 60 else f"{minutes} min"
