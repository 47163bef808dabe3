"""How attempts and routes look as JSON. Dollars become plain numbers here; null is unknown, never 0."""

# ruff: noqa: N815 — the fields are called as in the JSON

from datetime import UTC
from typing import Any

from rest_framework import serializers

from providers.access import is_configured
from providers.models import CATEGORY_CHOICES, OPERATION_CHOICES, Attempt, ProviderConfig
from providers.statistics.serializers import WHAT_ROUTE_IS
from providers.types import CostSource, Purpose

WHAT_COST_IS = "USD; null: unknown, or nothing to pay."
# In a document a choice that may be empty has an empty choice.
COST_SOURCES = [*(source.value for source in CostSource), ""]


class AttemptSerializer(serializers.Serializer[Any]):
    """One outgoing call. No prompt and no key is in it."""

    id = serializers.UUIDField()
    caller = serializers.CharField(source="caller_key", help_text="Whose call it is: the id of a request.")
    number = serializers.IntegerField(help_text="1, 2, 3 … within one caller.")
    category = serializers.ChoiceField(CATEGORY_CHOICES)
    operation = serializers.ChoiceField(OPERATION_CHOICES)
    purpose = serializers.ChoiceField([purpose.value for purpose in Purpose])
    provider = serializers.CharField()
    route = serializers.CharField(help_text=WHAT_ROUTE_IS)
    model = serializers.CharField(help_text="The provider's own model id.")
    answeredBy = serializers.CharField(source="answered_by", help_text="The model id that the answer names.")
    state = serializers.ChoiceField(Attempt.State.values)
    jobId = serializers.CharField(source="job_id")
    errorClass = serializers.CharField(source="error_class")
    errorText = serializers.CharField(source="error_text", help_text="Redacted: no key and no prompt.")
    httpStatus = serializers.IntegerField(source="http_status", allow_null=True)
    usage = serializers.JSONField(help_text="As the provider reported it.")
    cost = serializers.FloatField(allow_null=True, help_text=WHAT_COST_IS)
    costSource = serializers.ChoiceField(COST_SOURCES, source="cost_source")
    reservedCost = serializers.FloatField(source="reserved_cost", allow_null=True, help_text="USD at most.")
    perhapsBilled = serializers.SerializerMethodField(help_text="It failed, and may have to be paid all the same.")
    durationMs = serializers.IntegerField(source="duration_ms", allow_null=True)
    firstTokenMs = serializers.IntegerField(source="first_token_ms", allow_null=True)
    createdAt = serializers.DateTimeField(source="created_at", default_timezone=UTC)
    finishedAt = serializers.DateTimeField(source="finished_at", default_timezone=UTC, allow_null=True)

    def get_perhapsBilled(self, attempt: Attempt) -> bool:  # noqa: N802 — named after its field
        return attempt.state in Attempt.PERHAPS_BILLED


class RouteSerializer(serializers.Serializer[Any]):
    """One route. Of what is merged into its calls only the names are shown: the values may be secrets."""

    id = serializers.IntegerField()
    category = serializers.ChoiceField(CATEGORY_CHOICES)
    name = serializers.CharField()
    operation = serializers.ChoiceField(OPERATION_CHOICES)
    provider = serializers.CharField()
    model = serializers.CharField(help_text="The provider's own model id.")
    enabled = serializers.BooleanField(help_text="The operator's switch.")
    hasKey = serializers.SerializerMethodField(help_text="The environment has a key of its provider.")
    isPaused = serializers.BooleanField(source="is_paused", help_text="By an operator.")
    circuitOpenUntil = serializers.DateTimeField(
        source="open_until",
        default_timezone=UTC,
        allow_null=True,
        help_text="Paused by the circuit breaker, it or its key; a time that has passed: probed next; null: closed.",
    )
    circuitReason = serializers.CharField(source="reason_of_pause", allow_null=True)
    priority = serializers.IntegerField()
    weight = serializers.IntegerField()
    tags = serializers.ListField(child=serializers.CharField())
    listPrice = serializers.FloatField(source="list_price", allow_null=True, help_text="USD per priceUnit.")
    priceUnit = serializers.CharField(source="get_price_unit_display")
    prices = serializers.DictField()
    dailyCapUsd = serializers.FloatField(source="daily_cap_usd", allow_null=True, help_text="Null: no cap.")
    capabilities = serializers.DictField()
    timeoutSeconds = serializers.IntegerField(source="timeout_seconds")
    maxOutputTokens = serializers.IntegerField(source="max_output_tokens", allow_null=True)
    reasoningEffort = serializers.CharField(source="reasoning_effort")
    webSearch = serializers.BooleanField(source="web_search")
    extraBodyNames = serializers.ListField(source="extra_body", child=serializers.CharField())
    extraHeaderNames = serializers.ListField(source="extra_headers", child=serializers.CharField())
    dropFields = serializers.ListField(source="drop_fields", child=serializers.CharField())
    updatedAt = serializers.DateTimeField(source="updated_at", default_timezone=UTC)

    def get_hasKey(self, route: ProviderConfig) -> bool:  # noqa: N802 — named after its field
        return is_configured(route.provider)
