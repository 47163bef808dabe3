"""How the statistics look as JSON. The names are fixed: scripts of operators rely on them."""

# ruff: noqa: N815 — the fields are called as in the JSON

from rest_framework import serializers


class ProviderFigures(serializers.Serializer):
    """What comparison and statistics have in common. Dollars become plain numbers here, after all sums are done."""

    provider = serializers.CharField()
    requests = serializers.IntegerField(help_text="Finished attempts.")
    successRate = serializers.FloatField(
        source="success_rate", allow_null=True, help_text="Per cent; null: no traffic."
    )
    avgCost = serializers.FloatField(
        source="avg_cost",
        allow_null=True,
        help_text="USD an answer; without traffic the list price (see `expected`); null: unknown.",
    )
    unknownCosts = serializers.IntegerField(
        source="unknown_costs", help_text="Attempts that may be billed at an unknown cost."
    )
    expected = serializers.BooleanField(help_text="No traffic: avgCost is the list price.")
    listPrice = serializers.FloatField(source="list_price", allow_null=True, help_text="USD per priceUnit.")
    priceUnit = serializers.CharField(source="price_unit")
    since = serializers.DateTimeField(allow_null=True, help_text="The first hour counted; null: everything.")


class ProviderStatsSerializer(ProviderFigures):
    """One provider in one category."""

    category = serializers.CharField()
    priority = serializers.IntegerField(allow_null=True, help_text="Null: used once, but its row was removed.")
    enabled = serializers.BooleanField()
    successes = serializers.IntegerField()
    failures = serializers.IntegerField()
    totalCost = serializers.FloatField(source="total_cost", help_text="USD, all known costs.")
    avgTime = serializers.IntegerField(
        source="avg_time", allow_null=True, help_text="Milliseconds of a success; null: none yet."
    )


class ProviderCostSerializer(ProviderFigures):
    """One provider in the comparison of a category."""

    enabled = serializers.BooleanField()


class RecommendationSerializer(serializers.Serializer):
    """The provider that the figures speak for."""

    category = serializers.CharField()
    recommended = serializers.CharField(allow_null=True, help_text="Null: nobody qualifies.")
    explanation = serializers.CharField()
    since = serializers.DateTimeField(allow_null=True)


class ProblemSerializer(serializers.Serializer):
    """What was wrong with the request."""

    detail = serializers.CharField()


class UnknownCategorySerializer(ProblemSerializer):
    """An unknown category, and the ones that exist."""

    categories = serializers.ListField(child=serializers.CharField())
