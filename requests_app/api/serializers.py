"""How requests, AI models and accounts look as JSON. Dollars become plain numbers here; null is unknown, never 0."""

# ruff: noqa: N815 — the fields are called as in the JSON

from datetime import UTC
from typing import Any

from django.urls import reverse
from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers

from providers.api.serializers import COST_SOURCES
from providers.models import CATEGORY_CHOICES
from providers.statistics.permissions import may
from requests_app.models import VIEW_PROMPTS, Request


class SkipSerializer(serializers.Serializer[Any]):
    """A route that was passed by."""

    route = serializers.CharField()
    reason = serializers.CharField()


class RequestSerializer(serializers.Serializer[Any]):
    """One request, without what was asked and answered."""

    id = serializers.CharField()
    user = serializers.IntegerField(source="user_id", help_text="The id of an account.")
    model = serializers.CharField(source="model.slug", help_text="The slug of an AI model.")
    category = serializers.ChoiceField(CATEGORY_CHOICES)
    status = serializers.ChoiceField(Request.Status.values)
    errorCode = serializers.CharField(source="error_code")
    provider = serializers.CharField(source="actual_provider", allow_null=True, help_text="Who answered.")
    route = serializers.CharField(source="actual_route", help_text="Of its answer.")
    finishReason = serializers.CharField(source="finish_reason")
    skipped = SkipSerializer(many=True)
    cost = serializers.FloatField(
        allow_null=True, help_text="USD of the answer and its transcript; null: unknown, or no answer."
    )
    costSource = serializers.ChoiceField(COST_SOURCES, source="cost_source")
    credits = serializers.IntegerField(help_text="Held at acceptance, charged at its end.")
    processingMs = serializers.IntegerField(source="processing_ms", allow_null=True)
    createdAt = serializers.DateTimeField(source="created_at", default_timezone=UTC)
    startedAt = serializers.DateTimeField(source="started_at", default_timezone=UTC, allow_null=True)
    completedAt = serializers.DateTimeField(source="completed_at", default_timezone=UTC, allow_null=True)


class FileSerializer(serializers.Serializer[Any]):
    """A file that was sent or made."""

    url = serializers.SerializerMethodField(help_text="Its path here, for those who may see prompts.")
    contentType = serializers.CharField(source="content_type")
    size = serializers.IntegerField(help_text="Bytes.")

    def get_url(self, file: dict[str, Any]) -> str:
        return reverse("media", args=[file["name"]])


class ContentSerializer(serializers.Serializer[Any]):
    """What a user wrote and received."""

    inputText = serializers.CharField(source="input_text")
    transcript = serializers.CharField(allow_null=True, help_text="Of its audio; null: it has none.")
    options = serializers.DictField()
    inputFiles = FileSerializer(source="input_media", many=True)
    outputText = serializers.CharField(source="output_text")
    outputFiles = FileSerializer(source="output_media", many=True)
    erasedAt = serializers.DateTimeField(source="content_erased_at", default_timezone=UTC, allow_null=True)


class WholeRequestSerializer(RequestSerializer):
    """One request with what was asked and answered, for those who may see prompts."""

    content = serializers.SerializerMethodField()

    @extend_schema_field(
        ContentSerializer(allow_null=True, help_text=f"Null: it needs the permission {VIEW_PROMPTS} as well.")
    )
    def get_content(self, request: Request) -> dict[str, Any] | None:
        return ContentSerializer(request).data if may(self.context["request"], VIEW_PROMPTS) else None


class AIModelSerializer(serializers.Serializer[Any]):
    """One AI model, as users pick it."""

    slug = serializers.CharField()
    name = serializers.CharField()
    category = serializers.ChoiceField(CATEGORY_CHOICES)
    provider = serializers.CharField(help_text="The provider that the name suggests.")
    tag = serializers.CharField(help_text="Only routes with this tag serve it; empty: all of the category.")
    tokenCost = serializers.IntegerField(source="token_cost", help_text="Credits that a request costs at least.")
    rates = serializers.DictField(help_text="Credits by size; empty: the price is flat.")
    options = serializers.DictField()
    description = serializers.CharField()
    enabled = serializers.BooleanField()
    position = serializers.IntegerField()


class AccountSerializer(serializers.Serializer[Any]):
    """One user of the service."""

    id = serializers.IntegerField()
    key = serializers.CharField(help_text="Where the user comes from, such as telegram:42.")
    name = serializers.CharField()
    balance = serializers.IntegerField(help_text="Credits.")
    isBlocked = serializers.BooleanField(source="is_blocked")
    createdAt = serializers.DateTimeField(source="created_at", default_timezone=UTC)
