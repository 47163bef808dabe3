"""Bringing the shipped routes into a database: each once, and never again after an operator has deleted it."""

from typing import Any

from django.db import transaction
from django.db.models import Manager, QuerySet

from providers.models import ProviderConfig, SeededRoute
from providers.shipped import SHIPPED_ROUTES, ShippedRoute, shipped_routes
from providers.versioning import CREATED

# A migration hands in the models as they were at its time.
Rows = QuerySet[Any] | Manager[Any]


def create_shipped_routes(routes: Rows, wanted: list[ShippedRoute] | None = None) -> list[ShippedRoute]:
    """Create the shipped routes (or `wanted` ones) that are not there; return those that were created. Idempotent.

    A route that is there stays as it is, whatever the operator has made of it.
    """
    known = {field.name for field in routes.model._meta.get_fields()}
    created = []
    for route in shipped_routes() if wanted is None else wanted:
        fields = {name: value for name, value in route.as_fields().items() if name in known}
        # Before routes had names there was one of a provider in a category.
        key = {name: fields.pop(name) for name in ("category", "name" if "name" in known else "provider")}
        if routes.get_or_create(**key, defaults=fields)[1]:
            created.append(route)
    return created


def remember_shipped_routes(seeded: Rows, routes: list[ShippedRoute]) -> None:
    """Note that this database has received these routes. Idempotent."""
    seeded.bulk_create(
        [seeded.model(category=route.category, name=route.name) for route in routes], ignore_conflicts=True
    )


def routes_sync() -> list[ShippedRoute]:
    """Add the shipped routes that this database has never seen; return those that were added. Idempotent.

    What an operator has changed, renamed or deleted stays so.
    """
    with transaction.atomic():
        seen = set(SeededRoute.objects.values_list("category", "name"))
        unseen = [route for route in SHIPPED_ROUTES if (route.category.value, route.name) not in seen]
        created = create_shipped_routes(ProviderConfig.objects, unseen)
        remember_shipped_routes(SeededRoute.objects, unseen)
        for route in created:
            first = ProviderConfig.history.filter(category=route.category.value, name=route.name, history_type=CREATED)
            first.update(
                history_user_id="manage.py sync_providers", history_change_reason=f"shipped since {route.since}"
            )
    return created
