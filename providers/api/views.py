"""Attempts and routes over HTTP."""

from django.db.models import QuerySet

from providers import registry
from providers.api.filters import choice, indexed, indexed_without, period, switch, text
from providers.api.serializers import AttemptSerializer, RouteSerializer
from providers.api.viewsets import RecordViewSet
from providers.chain.circuit_breaker import with_pauses
from providers.models import Attempt, ProviderConfig
from providers.types import Category, Operation, Purpose

PROVIDERS = [slug for slug, _ in registry.choices()]
STATE = indexed_without(
    "state",
    [Attempt.State.OK, Attempt.State.SENDING],
    unfinished=[Attempt.State.SENDING],
    ended_at="finished_at",
)
PURPOSE = indexed_without("purpose", [Purpose.USER])
CATEGORY = indexed_without("category", [Category.TEXT])


class AttemptViewSet(RecordViewSet):
    """Every outgoing call, with what it cost."""

    list_name = "attempts"
    permission = "providers.view_attempt"
    serializer_class = AttemptSerializer
    time = "created_at"
    lookup_value_converter = "uuid"
    filters = (
        text("caller", "caller_key", "A request's id, in full.", max_length=64, index_of=indexed),
        choice("state", Attempt.State.values, "state", "How far it is, or how it ended.", STATE),
        choice("purpose", list(Purpose), "purpose", "What it was made for.", PURPOSE),
        choice("provider", PROVIDERS, "provider", "The provider's slug.", indexed),
        choice("category", list(Category), "category", "What was wanted.", CATEGORY),
        text("route", "route", "The route's name.", max_length=64),
        *period("created_at"),
    )

    def rows(self) -> QuerySet[Attempt]:
        return Attempt.objects.all()


class RouteViewSet(RecordViewSet):
    """The routes of the chain."""

    list_name = "routes"
    permission = "providers.view_providerconfig"
    serializer_class = RouteSerializer
    lookup_value_converter = "int"
    filters = (
        choice("category", list(Category), "category", "What it answers.", indexed),
        choice("operation", list(Operation), "operation", "What it is asked for.", indexed),
        choice("provider", PROVIDERS, "provider", "The provider's slug.", indexed),
        switch("enabled", "enabled", "The operator's switch.", indexed),
    )

    def rows(self) -> QuerySet[ProviderConfig]:
        return with_pauses(ProviderConfig.objects.with_pause())
