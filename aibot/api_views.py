"""The root of the API, and what answers below it where nothing else does: JSON, as everywhere in an API."""

from typing import Any, NoReturn

from drf_spectacular.utils import extend_schema
from rest_framework.exceptions import NotFound
from rest_framework.permissions import AllowAny
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.reverse import reverse
from rest_framework.views import APIView

from aibot.api_tokens import MayReadSomething
from providers.types import Category

CATEGORY = "{category}"
ANALYSES = {"successRates": "success-rates", "fallbacks": "fallbacks", "margins": "margins", "costs": "costs"}
RECORDS = ("requests", "attempts", "routes", "models", "accounts")


class ApiRootView(APIView):
    """Where figures and records are: each address by its name, `{category}` in it to be filled in."""

    permission_classes = [MayReadSomething]

    @extend_schema(exclude=True)
    def get(self, request: Request) -> Response:
        any_category = Category.TEXT.value
        addresses = {"stats": reverse("providers:stats-list", request=request)}
        for name, view in {"categoryStats": "stats", "cost": "cost", "recommended": "recommended"}.items():
            address = reverse(f"providers:{view}-detail", args=[any_category], request=request)
            addresses[name] = address.replace(any_category, CATEGORY)
        for name, view in ANALYSES.items():
            addresses[name] = reverse(f"analytics:{view}-list", request=request)
        addresses |= {name: reverse(f"{name}-list", request=request) for name in RECORDS}
        addresses |= {name: reverse(name, request=request) for name in ("schema", "docs")}
        return Response(addresses)


class UnknownAddressView(APIView):
    """Anything below /api/ that is no address of the API."""

    permission_classes = [AllowAny]  # it says nothing that a guess does not

    def initial(self, request: Request, *args: object, **kwargs: object) -> NoReturn:
        root = reverse("api-root", request=request)
        raise NotFound({"detail": f"There is nothing here. {root} lists the addresses of the API."})


def any_of(result: dict[str, Any], **_: Any) -> dict[str, Any]:
    """Let an answer fit several of its descriptions in the schema: one without rows fits all of them."""
    for described in result.get("components", {}).get("schemas", {}).values():
        if "oneOf" in described:
            described["anyOf"] = described.pop("oneOf")
    return result


def without_twins(endpoints: list[tuple[Any, ...]]) -> list[tuple[Any, ...]]:
    """List each address of the schema once: with a slash at its end it answers too."""
    return [endpoint for endpoint in endpoints if not endpoint[0].endswith("/")]
