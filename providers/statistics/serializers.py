"""How the statistics look as JSON: names and order are fixed, since scripts of operators rely on them.

Dollars become plain numbers here, after all sums are done.
"""

# ruff: noqa: N815 — the fields are called as in the JSON

from datetime import UTC
from typing import Any

from rest_framework import serializers

from providers.types import Operation

NO_TRAFFIC_RATE = "Per cent; null: no traffic."
WHAT_AVG_COST_IS = (
    "USD an answer; without traffic the list price of one of the usual size (see `expected`); null: unknown."
)
WHAT_REFUSALS_ARE = "Attempts whose content was refused; the success rate leaves them out."
WHAT_UNKNOWN_COSTS_ARE = "Attempts that may be billed at an unknown cost."
WHAT_ROUTE_IS = "The route's name; that of a shipped one is its provider's."
WHAT_PERHAPS_BILLED_IS = "USD that the attempts of unknown cost may have cost at most."
WHAT_SINCE_IS = "The first hour counted; null: everything."


class ProviderStatsSerializer(serializers.Serializer[Any]):
    """One route."""

    category = serializers.CharField()
    provider = serializers.CharField()
    priority = serializers.IntegerField(allow_null=True, help_text="Null: it was used, but its row was removed.")
    enabled = serializers.BooleanField()
    requests = serializers.IntegerField(help_text="Finished attempts.")
    successes = serializers.IntegerField()
    failures = serializers.IntegerField()
    successRate = serializers.FloatField(source="success_rate", allow_null=True, help_text=NO_TRAFFIC_RATE)
    totalCost = serializers.FloatField(source="total_cost", help_text="USD, all known costs.")
    avgCost = serializers.FloatField(source="avg_cost", allow_null=True, help_text=WHAT_AVG_COST_IS)
    avgTime = serializers.IntegerField(
        source="avg_time", allow_null=True, help_text="Milliseconds of a success; null: none yet."
    )
    unknownCosts = serializers.IntegerField(source="unknown_costs", help_text=WHAT_UNKNOWN_COSTS_ARE)
    expected = serializers.BooleanField(help_text="No traffic: avgCost is the list price of an answer of usual size.")
    listPrice = serializers.FloatField(source="list_price", allow_null=True, help_text="USD per priceUnit.")
    priceUnit = serializers.CharField(source="price_unit")
    since = serializers.DateTimeField(allow_null=True, default_timezone=UTC, help_text=WHAT_SINCE_IS)
    route = serializers.CharField(help_text=WHAT_ROUTE_IS)
    refusals = serializers.IntegerField(help_text=WHAT_REFUSALS_ARE)
    perhapsBilled = serializers.FloatField(source="reserved_cost", help_text=WHAT_PERHAPS_BILLED_IS)
    operation = serializers.ChoiceField(
        [operation.value for operation in Operation],
        help_text="What the route is asked for. Transcripts stand apart: they are neither compared nor recommended.",
    )


class ProviderCostSerializer(serializers.Serializer[Any]):
    """One route in the comparison of a category."""

    provider = serializers.CharField()
    avgCost = serializers.FloatField(source="avg_cost", allow_null=True, help_text=WHAT_AVG_COST_IS)
    successRate = serializers.FloatField(source="success_rate", allow_null=True, help_text=NO_TRAFFIC_RATE)
    requests = serializers.IntegerField(help_text="Finished attempts.")
    unknownCosts = serializers.IntegerField(source="unknown_costs", help_text=WHAT_UNKNOWN_COSTS_ARE)
    expected = serializers.BooleanField(help_text="No traffic: avgCost is the list price of an answer of usual size.")
    listPrice = serializers.FloatField(source="list_price", allow_null=True, help_text="USD per priceUnit.")
    priceUnit = serializers.CharField(source="price_unit")
    enabled = serializers.BooleanField()
    since = serializers.DateTimeField(allow_null=True, default_timezone=UTC, help_text=WHAT_SINCE_IS)
    route = serializers.CharField(help_text=WHAT_ROUTE_IS)
    refusals = serializers.IntegerField(help_text=WHAT_REFUSALS_ARE)
    perhapsBilled = serializers.FloatField(source="reserved_cost", help_text=WHAT_PERHAPS_BILLED_IS)


class RecommendationSerializer(serializers.Serializer[Any]):
    """The provider that the figures speak for."""

    category = serializers.CharField()
    recommended = serializers.CharField(allow_null=True, help_text="Null: nobody qualifies.")
    explanation = serializers.CharField()
    since = serializers.DateTimeField(allow_null=True, default_timezone=UTC, help_text=WHAT_SINCE_IS)
    route = serializers.CharField(allow_null=True, help_text="The route that is meant; null: nobody qualifies.")


class ProblemSerializer(serializers.Serializer[Any]):
    """What was wrong with the request."""

    detail = serializers.CharField()


class UnknownCategorySerializer(ProblemSerializer):
    """An unknown category, and the ones that exist."""

    categories = serializers.ListField(child=serializers.CharField())
