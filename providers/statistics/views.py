"""The statistics as JSON. Read-only."""

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

from django.utils import timezone
from drf_spectacular.utils import OpenApiExample, OpenApiParameter, OpenApiResponse, extend_schema
from rest_framework.exceptions import NotFound
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.serializers import ListSerializer, Serializer
from rest_framework.viewsets import ViewSet

from providers.statistics.parameters import parameters_of, parse_number, parsed
from providers.statistics.selectors import cost_comparison, provider_stats, recommended
from providers.statistics.serializers import (
    ProblemSerializer,
    ProviderCostSerializer,
    ProviderStatsSerializer,
    RecommendationSerializer,
    UnknownCategorySerializer,
)
from providers.types import Category

_Method = Callable[..., Response]
_Decorator = Callable[[_Method], _Method]

MAX_DAYS = 3650
DAYS = OpenApiParameter(
    "days",
    {"type": "integer", "minimum": 1, "maximum": MAX_DAYS},
    description="Count only the last so many days. Without it everything is counted.",
)
CATEGORY = OpenApiParameter(
    "category", str, OpenApiParameter.PATH, enum=[category.value for category in Category], description="In any case."
)
STATS_EXAMPLE = {
    "category": "TEXT",
    "provider": "aimlapi",
    "priority": 1,
    "enabled": True,
    "requests": 45,
    "successes": 44,
    "failures": 1,
    "successRate": 97.78,
    "totalCost": 0.066,
    "avgCost": 0.0015,
    "avgTime": 1250,
    "unknownCosts": 0,
    "expected": False,
    "listPrice": 0.0015,
    "priceUnit": "1,000 tokens",
    "since": None,
    "route": "aimlapi",
    "refusals": 0,
    "perhapsBilled": 0,
    "operation": "generate",
}
COST_EXAMPLE = {
    "provider": "replicate",
    "avgCost": 0.003,
    "successRate": None,
    "requests": 0,
    "unknownCosts": 0,
    "expected": True,
    "listPrice": 0.003,
    "priceUnit": "image",
    "enabled": True,
    "since": None,
    "route": "replicate",
    "refusals": 0,
    "perhapsBilled": 0,
}
RECOMMENDATION_EXAMPLE = {
    "category": "TEXT",
    "recommended": "piapi",
    "explanation": "It costs $0.0012 an answer and succeeds in 98.25 % of 57 attempts: the cheapest of 3 with a "
    "success rate over 80 %.",
    "since": None,
    "route": "piapi",
}


def _documented(
    name: str, serializer: Serializer[Any] | ListSerializer[Any], example: Any, *, of_category: bool = True
) -> _Decorator:
    """Describe a view in the schema: what it returns, and how it says no."""
    responses: dict[int, Any] = {
        200: OpenApiResponse(serializer, "The figures."),
        400: OpenApiResponse(ProblemSerializer, "`days` is not a number from 1 to 3650, or a parameter is unknown."),
        401: OpenApiResponse(ProblemSerializer, "Neither a session nor a valid token."),
        403: OpenApiResponse(ProblemSerializer, "The session is not of a staff account."),
    }
    if of_category:
        responses[404] = OpenApiResponse(UnknownCategorySerializer, "Unknown category.")
    return extend_schema(
        operation_id=name,
        parameters=[CATEGORY, DAYS] if of_category else [DAYS],
        responses=responses,
        examples=[OpenApiExample("Answer", example, response_only=True, status_codes=["200"])],
        tags=["providers"],
    )


class _RouteFigures(ViewSet):
    """Figures of routes, whose key in the address is a category."""

    lookup_field = "category"


class StatsViewSet(_RouteFigures):
    """Requests, successes, costs and times of routes."""

    @_documented("stats", ProviderStatsSerializer(many=True), STATS_EXAMPLE, of_category=False)
    def list(self, request: Request) -> Response:
        """Every route of every category."""
        return Response(ProviderStatsSerializer(provider_stats(None, _since(request)), many=True).data)

    @_documented("categoryStats", ProviderStatsSerializer(many=True), STATS_EXAMPLE)
    def retrieve(self, request: Request, category: str) -> Response:
        """The routes of one category."""
        stats = provider_stats(_category(category), _since(request))
        return Response(ProviderStatsSerializer(stats, many=True).data)


class CostViewSet(_RouteFigures):
    """What an answer costs on each route of a category, cheapest first, unknown costs last."""

    @_documented("cost", ProviderCostSerializer(many=True), COST_EXAMPLE)
    def retrieve(self, request: Request, category: str) -> Response:
        stats = cost_comparison(_category(category), _since(request))
        return Response(ProviderCostSerializer(stats, many=True).data)


class RecommendedViewSet(_RouteFigures):
    """The cheapest provider of a category that succeeds in more than 80 % of its attempts."""

    @_documented("recommended", RecommendationSerializer(), RECOMMENDATION_EXAMPLE)
    def retrieve(self, request: Request, category: str) -> Response:
        return Response(RecommendationSerializer(recommended(_category(category), _since(request))).data)


def _category(name: str) -> Category:
    try:
        return Category(name.upper())
    except ValueError as error:
        valid = [category.value for category in Category]
        raise NotFound(
            {"detail": f"There is no category {name!r}. Use {', '.join(valid)}.", "categories": valid}
        ) from error


def _since(request: Request) -> datetime | None:
    """Return from when on the figures count, None for everything. Raises ValidationError for any other parameter."""
    days = parameters_of(request, ["days"], unnamed=["format"]).get("days")
    if days is None:
        return None
    return timezone.now() - timedelta(days=parsed("days", days, lambda text: parse_number(text, MAX_DAYS)))
