"""The analyses of a period over HTTP, as JSON or CSV. Read-only."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, cast

from django.http.response import HttpResponseBase
from drf_spectacular.utils import (
    OpenApiExample,
    OpenApiParameter,
    OpenApiResponse,
    PolymorphicProxySerializer,
    extend_schema,
)
from rest_framework.exceptions import PermissionDenied, ValidationError
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.serializers import Serializer

from providers.api.formats import TableViewSet
from providers.statistics.parameters import parameters_of, parse_number, parsed
from providers.statistics.permissions import is_developer, may
from providers.statistics.serializers import ProblemSerializer
from providers.types import Category
from requests_app.analytics.periods import MAX_DAYS, NAMES, PARAMETERS, Period, period_from
from requests_app.analytics.selectors import (
    MAX_USERS,
    Filters,
    costs,
    fallbacks,
    is_route_known,
    model_margins,
    success_rates,
    top_users,
)
from requests_app.analytics.serializers import (
    CostSerializer,
    FallbackSerializer,
    MarginSerializer,
    SuccessRateSerializer,
    UserCostSerializer,
    answer_of,
)
from requests_app.models import AIModel

_Method = Callable[..., HttpResponseBase]

USERS_UNASKED = 100
ORDERS = ("cost", "credits", "requests")
PERIOD_PARAMETERS = [
    OpenApiParameter("days", {"type": "integer", "minimum": 1, "maximum": MAX_DAYS}, description="Ending today."),
    OpenApiParameter("from", {"type": "string", "format": "date"}, description="The first day; with `to`."),
    OpenApiParameter("to", {"type": "string", "format": "date"}, description="The last day, included."),
    OpenApiParameter("period", str, enum=list(NAMES), description="In place of these. Without any the last 7 days."),
]
FILTERS = {
    "category": OpenApiParameter("category", str, enum=[category.value for category in Category]),
    "route": OpenApiParameter("route", str, description="Name of a route."),
    "model": OpenApiParameter("model", str, description="Slug of an AI model."),
}
FORMAT = OpenApiParameter("format", str, enum=["json", "csv"], description="Or the header `Accept: text/csv`.")
USER_PARAMETERS = {
    "by": OpenApiParameter("by", str, enum=["user"], description="Costs of users in place of those of routes."),
    "limit": OpenApiParameter(
        "limit",
        {"type": "integer", "minimum": 1, "maximum": MAX_USERS, "default": USERS_UNASKED},
        description="Of users.",
    ),
    "order": OpenApiParameter("order", str, enum=list(ORDERS), description="Of users: the most of these first."),
}


SUCCESS_RATE_EXAMPLE = {
    "category": "TEXT",
    "provider": "piapi",
    "route": "piapi",
    "operation": "generate",
    "attempts": 57,
    "successes": 56,
    "failures": 1,
    "refusals": 0,
    "successRate": 98.25,
    "cost": 0.0672,
    "unknownCosts": 0,
    "perhapsBilled": 0.0,
    "avgCost": 0.0012,
    "p50Ms": 1250,
    "p95Ms": 4100,
    "firstWordsP50Ms": 390,
    "firstWordsP95Ms": None,
}
FALLBACK_EXAMPLE = {
    "model": "text-ai",
    "suggested": "aimlapi",
    "answeredBy": "piapi",
    "isFallback": True,
    "requests": 12,
    "byFirst": 2,
    "bySecond": 9,
    "byLater": 1,
}
MARGIN_EXAMPLE = {
    "model": "text-ai",
    "requests": 60,
    "completed": 56,
    "creditsCharged": 60,
    "creditsRefunded": 4,
    "creditsUsed": 56,
    "cost": 0.0672,
    "unknownCosts": 0,
    "perhapsBilled": 0.0,
    "income": 0.56,
    "profit": 0.4928,
    "margin": 0.88,
}
COST_EXAMPLE = {
    "day": "2026-11-28",
    "category": "TEXT",
    "provider": "piapi",
    "route": "piapi",
    "model": "text-ai",
    "attempts": 57,
    "cost": 0.0672,
    "unknownCosts": 0,
    "perhapsBilled": 0.0,
}


def _documented(
    name: str, answer: Any, example: Mapping[str, Any], *filters: str, more: Sequence[OpenApiParameter] = ()
) -> Callable[[_Method], _Method]:
    """Describe a view in the schema: what it takes and returns, and how it says no. `example` is a row."""
    responses = {
        200: OpenApiResponse(answer, "The figures of the period."),
        400: OpenApiResponse(ProblemSerializer, "A parameter is unknown, repeated, or has an impossible value."),
        401: OpenApiResponse(ProblemSerializer, "Neither a session nor a valid token."),
        403: OpenApiResponse(ProblemSerializer, "The session is not of a staff account."),
        429: OpenApiResponse(ProblemSerializer, "Too many calls; the header Retry-After says when to go on."),
    }
    shown = {"from": "2026-11-22", "to": "2026-11-28", "step": "day", "rows": [example]}
    return extend_schema(
        operation_id=name,
        parameters=[*PERIOD_PARAMETERS, *(FILTERS[each] for each in filters), *more, FORMAT],
        responses=responses,
        examples=[OpenApiExample("Answer", shown, response_only=True, status_codes=["200"])],
        tags=["analytics"],
    )


class _Analysis(TableViewSet):
    """Figures of a period: JSON with a line about the period, or CSV of the rows alone."""

    def answer(self, period: Period, serializer: type[Serializer[Any]], figures: Sequence[Any]) -> HttpResponseBase:
        """Return the figures as rows."""
        rows = serializer(cast("Any", figures), many=True).data
        if self.is_csv():
            return self.csv_file(f"{self.basename}-{period.first}-{period.last}", list(serializer().fields), rows)
        return Response(
            {
                "from": period.first.isoformat(),
                "to": period.last.isoformat(),
                "step": period.step.value,
                "rows": rows,
            }
        )


class SuccessRatesViewSet(_Analysis):
    """What calls have brought, by route."""

    @_documented(
        "successRates",
        answer_of("SuccessRates", SuccessRateSerializer),
        SUCCESS_RATE_EXAMPLE,
        *FILTERS,
    )
    def list(self, request: Request) -> HttpResponseBase:
        """Success rates, costs and times of each route, by its calls: a request may take several.

        Times are those of all AI models, also with `model`.
        """
        period, only = _asked(request, "category", "route", "model")
        return self.answer(period, SuccessRateSerializer, success_rates(period, only))


class FallbacksViewSet(_Analysis):
    """Who has answered for each AI model."""

    @_documented("fallbacks", answer_of("Fallbacks", FallbackSerializer), FALLBACK_EXAMPLE, *FILTERS)
    def list(self, request: Request) -> HttpResponseBase:
        """How often which provider has answered, beside the one that the AI model's name suggests."""
        period, only = _asked(request, "category", "route", "model")
        return self.answer(period, FallbackSerializer, fallbacks(period, only))


class MarginsViewSet(_Analysis):
    """What each AI model has brought and cost."""

    @_documented("margins", answer_of("Margins", MarginSerializer), MARGIN_EXAMPLE, "category", "model")
    def list(self, request: Request) -> HttpResponseBase:
        """Costs beside the price of the credits that were used, by AI model. The costs add up to those by route."""
        period, only = _asked(request, "category", "model")
        return self.answer(period, MarginSerializer, model_margins(period, only))


class CostsViewSet(_Analysis):
    """What was paid to providers."""

    @_documented(
        "costs",
        PolymorphicProxySerializer(
            "Costs",
            [answer_of("CostsOfRoutes", CostSerializer), answer_of("CostsOfUsers", UserCostSerializer)],
            None,
            many=False,
        ),
        COST_EXAMPLE,
        *FILTERS,
        more=list(USER_PARAMETERS.values()),
    )
    def list(self, request: Request) -> HttpResponseBase:
        """Costs by day, route and AI model; of more than 92 days by week, of more than 637 by month.

        With `by=user` those of the users with the highest ones, for all their ended requests; then without filters, and
        for those who may view accounts.
        """
        if "by" in request.query_params:
            if not (may(request, "requests_app.view_account") or is_developer(request)):
                raise PermissionDenied("Costs by user need the permission requests_app.view_account.")
            period, _ = _asked(request, *USER_PARAMETERS)
            _choice(request, "by", ["user"])
            users = top_users(period, by=_choice(request, "order", ORDERS), limit=_limit(request))
            return self.answer(period, UserCostSerializer, users)
        period, only = _asked(request, "category", "route", "model")
        return self.answer(period, CostSerializer, costs(period, only))


def _asked(request: Request, *parameters: str) -> tuple[Period, Filters]:
    """Return the period and the filters of a request. Raises ValidationError for parameters that are none of these."""
    values = parameters_of(request, {*PARAMETERS, *parameters, "format"})
    empty = sorted(name for name, value in values.items() if not value)
    if empty:
        raise ValidationError({"detail": f"{empty[0]} is empty. Leave it out for everything."})
    try:
        period = period_from(values)
    except ValueError as error:
        raise ValidationError({"detail": str(error)}) from error
    slug = values.get("model", "")
    return period, Filters(
        category=_choice(request, "category", ["", *Category]),
        route=_route(values.get("route", "")),
        model=_model(slug) if slug else None,
    )


def _choice(request: Request, name: str, choices: Sequence[str]) -> str:
    value = request.query_params.get(name, choices[0])
    found = next((choice for choice in choices if choice.lower() == value.lower()), None)
    if found is None:
        raise ValidationError({"detail": f"{name} must be {' or '.join(filter(None, choices))}, not {value[:40]!r}."})
    return str(found)


def _route(name: str) -> str:
    if name and not is_route_known(name):
        raise ValidationError({"detail": f"There is no route {name[:40]!r}, and was none."})
    return name


def _model(slug: str) -> AIModel:
    model = AIModel.objects.filter(slug=slug).first()
    if model is None:
        raise ValidationError({"detail": f"There is no AI model {slug[:40]!r}."})
    return model


def _limit(request: Request) -> int:
    limit = request.query_params.get("limit", str(USERS_UNASKED))
    number: int = parsed("limit", limit, lambda text: parse_number(text, MAX_USERS))
    return number
