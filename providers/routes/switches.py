"""An operator's switch of a route."""

from django.db import transaction

from providers.models import ProviderConfig
from providers.versioning import sign


def route_switch(*, route_id: int, enabled: bool, actor: str, reason: str = "") -> bool:
    """Switch a route on or off, as a version; return whether that changed anything. Workers obey within a second."""
    with transaction.atomic():
        route = ProviderConfig.objects.select_for_update().filter(pk=route_id).first()
        if route is None or route.enabled is enabled:
            return False
        route.enabled = enabled
        sign(route, actor=actor, reason=reason)
        route.save(update_fields=["enabled", "updated_at"])
    return True
