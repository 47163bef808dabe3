"""How the figures look as JSON, and as columns of CSV. Dollars become plain numbers here, after all sums are done."""

# ruff: noqa: N815 — the fields are called as in the JSON

from typing import Any

from drf_spectacular.utils import extend_schema_serializer
from rest_framework import serializers

Field = serializers.Field[Any, Any, Any, Any]

WHAT_UNKNOWN_COSTS_ARE = "Calls that may be billed at an unknown cost."
WHAT_PERHAPS_BILLED_IS = "USD that the calls of unknown cost may have cost at most."
WHAT_COST_IS = "USD, known costs of all calls, those of failures and of the operator's tests included."
WHAT_MODEL_IS = "Slug of the AI model; empty: calls for none, or made before they were told apart."
PER_CENT = "Per cent; null: no traffic."
WITHIN = "Milliseconds, within 10 %; null: none measured."


class SuccessRateSerializer(serializers.Serializer[Any]):
    """What the calls of one route have brought."""

    category = serializers.CharField()
    provider = serializers.CharField()
    route = serializers.CharField(help_text="The route's name; that of a shipped one is its provider's.")
    operation = serializers.CharField()
    attempts = serializers.IntegerField(source="requests", help_text="Finished ones, without the operator's tests.")
    successes = serializers.IntegerField()
    failures = serializers.IntegerField()
    refusals = serializers.IntegerField(help_text="Whose content was refused; the success rate leaves them out.")
    successRate = serializers.FloatField(
        source="success_rate", allow_null=True, help_text="Per cent; null: no traffic."
    )
    cost = serializers.FloatField(source="total_cost", help_text=WHAT_COST_IS)
    unknownCosts = serializers.IntegerField(source="unknown_costs", help_text=WHAT_UNKNOWN_COSTS_ARE)
    perhapsBilled = serializers.FloatField(source="reserved_cost", help_text=WHAT_PERHAPS_BILLED_IS)
    avgCost = serializers.FloatField(source="avg_cost", allow_null=True, help_text="USD an answer; null: unknown.")
    p50Ms = serializers.IntegerField(source="p50_ms", allow_null=True, help_text=WITHIN)
    p95Ms = serializers.IntegerField(source="p95_ms", allow_null=True, help_text=WITHIN)
    firstWordsP50Ms = serializers.IntegerField(source="first_words_p50_ms", allow_null=True, help_text=WITHIN)
    firstWordsP95Ms = serializers.IntegerField(source="first_words_p95_ms", allow_null=True, help_text=WITHIN)


class FallbackSerializer(serializers.Serializer[Any]):
    """How often a provider has answered for an AI model."""

    model = serializers.CharField(source="model.slug")
    suggested = serializers.CharField(allow_blank=True, help_text="The provider that its name suggests; empty: none.")
    answeredBy = serializers.CharField(source="answered_by")
    isFallback = serializers.BooleanField(source="is_fallback", help_text="Another one than suggested has answered.")
    requests = serializers.IntegerField(source="completed")
    byFirst = serializers.IntegerField(source="by_first", help_text="Answered by the first route that was asked.")
    bySecond = serializers.IntegerField(source="by_second")
    byLater = serializers.IntegerField(source="by_later", help_text="By the third or a later one.")


class MarginSerializer(serializers.Serializer[Any]):
    """What an AI model has cost beside the credits it has brought."""

    model = serializers.CharField(source="model.slug", default="", help_text=WHAT_MODEL_IS)
    requests = serializers.IntegerField(help_text="Ended ones.")
    completed = serializers.IntegerField()
    creditsCharged = serializers.IntegerField(source="credits_charged")
    creditsRefunded = serializers.IntegerField(
        source="credits_refunded", help_text="Given back in the period, whenever they were charged."
    )
    creditsUsed = serializers.IntegerField(source="credits_used", help_text="Charged less refunded.")
    cost = serializers.FloatField(help_text=WHAT_COST_IS)
    unknownCosts = serializers.IntegerField(source="unknown_costs", help_text=WHAT_UNKNOWN_COSTS_ARE)
    perhapsBilled = serializers.FloatField(source="perhaps_billed", help_text=WHAT_PERHAPS_BILLED_IS)
    income = serializers.FloatField(
        allow_null=True, help_text="USD, the price of the credits used, bought or given; null: credits have no price."
    )
    profit = serializers.FloatField(allow_null=True, help_text="USD, the income less the known costs.")
    margin = serializers.FloatField(allow_null=True, help_text="The share of the income that is left; null: no income.")


class CostSerializer(serializers.Serializer[Any]):
    """What one route's calls for one AI model have cost in one day, week or month."""

    day = serializers.DateField(help_text="The first of the day, week or month; see `step`.")
    category = serializers.CharField()
    provider = serializers.CharField()
    route = serializers.CharField()
    model = serializers.CharField(source="model.slug", default="", help_text=WHAT_MODEL_IS)
    attempts = serializers.IntegerField(help_text="Finished ones, without the operator's tests.")
    cost = serializers.FloatField(help_text=WHAT_COST_IS)
    unknownCosts = serializers.IntegerField(source="unknown_costs", help_text=WHAT_UNKNOWN_COSTS_ARE)
    perhapsBilled = serializers.FloatField(source="perhaps_billed", help_text=WHAT_PERHAPS_BILLED_IS)


class UserCostSerializer(serializers.Serializer[Any]):
    """What the ended requests of one user have cost."""

    user = serializers.CharField(source="account.key")
    name = serializers.CharField(source="account.name", allow_blank=True)
    requests = serializers.IntegerField(help_text="Ended ones.")
    completed = serializers.IntegerField()
    creditsCharged = serializers.IntegerField(source="credits_charged")
    creditsRefunded = serializers.IntegerField(source="credits_refunded", help_text="Given back in the period.")
    cost = serializers.FloatField(help_text="USD, known costs of all calls for these requests.")
    unknownCosts = serializers.IntegerField(source="unknown_costs", help_text=WHAT_UNKNOWN_COSTS_ARE)


def answer_of(name: str, rows: type[serializers.Serializer[Any]]) -> type[serializers.Serializer[Any]]:
    """Return the serializer of an answer with a period and rows, for the schema."""
    columns: dict[str, Field] = {
        "from": serializers.DateField(help_text="The first day, in the operator's time zone."),
        "to": serializers.DateField(help_text="The last day."),
        "step": serializers.ChoiceField(["day", "week", "month"], help_text="What one point of a series stands for."),
        "rows": rows(many=True),
    }
    answer: type[serializers.Serializer[Any]] = type(name, (serializers.Serializer,), columns)
    return extend_schema_serializer(many=False)(answer)
