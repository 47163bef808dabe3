"""Requests, AI models and accounts over HTTP."""

from typing import Any

from django.db.models import Q, QuerySet
from django.http import Http404
from rest_framework.serializers import Serializer

from providers.api.filters import Filter, choice, indexed, indexed_without, number, period, switch, text
from providers.api.views import CATEGORY, PROVIDERS
from providers.api.viewsets import RecordViewSet
from providers.types import Category
from requests_app.api.serializers import (
    AccountSerializer,
    AIModelSerializer,
    RequestSerializer,
    WholeRequestSerializer,
)
from requests_app.models import Account, AIModel, Request

CONTENT = ("input_text", "transcript", "options", "input_media", "output_text", "output_media", "output_url")
STATUS = indexed_without(
    "status",
    [Request.Status.COMPLETED, *Request.OPEN],
    unfinished=Request.OPEN,
    ended_at="completed_at",
)


def _model_key(slug: str) -> int:
    """Return the key of an AI model: with it the planner knows how many requests it has."""
    key: int | None = AIModel.objects.filter(slug=slug).values_list("pk", flat=True).first()
    if key is None:
        raise ValueError("the slug of an AI model, as /api/models lists them")
    return key


def _is_of_model(key: int) -> Q:
    return Q(model_id=key)


class RequestViewSet(RecordViewSet):
    """Requests. What was asked and answered is on each request's own address only."""

    list_name = "requests"
    permission = "requests_app.view_request"
    serializer_class = RequestSerializer
    time = "created_at"
    lookup_value_converter = "str"
    filters = (
        number("user", "user_id", "The id of an account.", indexed),
        Filter("model", _is_of_model, _model_key, {"type": "string"}, "The slug of an AI model.", indexed),
        choice("status", Request.Status.values, "status", "How far it is, or how it ended.", STATUS),
        choice("provider", PROVIDERS, "actual_provider", "Who answered: the provider's slug.", indexed),
        choice("category", list(Category), "category", "What was wanted.", CATEGORY),
        text("route", "actual_route", "Which route answered: its name.", max_length=64),
        *period("created_at"),
    )

    def rows(self) -> QuerySet[Request]:
        return Request.objects.defer(*CONTENT).prefetch_related("model")

    def row(self, key: Any) -> Request:
        request = Request.objects.filter(pk=key).select_related("model").first()
        if request is None:
            raise Http404
        return request

    def serializer_of_row(self) -> type[Serializer[Any]]:
        return WholeRequestSerializer


class AIModelViewSet(RecordViewSet):
    """The AI models that users pick."""

    list_name = "models"
    permission = "requests_app.view_aimodel"
    serializer_class = AIModelSerializer
    lookup_value_converter = "slug"
    filters = (
        choice("category", list(Category), "category", "What it answers.", indexed),
        switch("enabled", "enabled", "Whether users may be offered it.", indexed),
    )

    def rows(self) -> QuerySet[AIModel]:
        return AIModel.objects.all()

    def row(self, key: Any) -> AIModel:
        model = self.rows().filter(slug=key).first()
        if model is None:
            raise Http404
        return model


class AccountViewSet(RecordViewSet):
    """Users of the service and their credits."""

    list_name = "accounts"
    permission = "requests_app.view_account"
    serializer_class = AccountSerializer
    lookup_value_converter = "int"
    filters = (
        text("key", "key", "Where the user comes from, in full: telegram:42.", max_length=64, index_of=indexed),
        switch("blocked", "is_blocked", "Whether the user is blocked.", lambda blocked: Q() if blocked else None),
    )

    def rows(self) -> QuerySet[Account]:
        return Account.objects.all()
