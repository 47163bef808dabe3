"""How the OpenAPI document describes the lists: everything follows from their classes."""

from typing import Any

from drf_spectacular.openapi import AutoSchema
from drf_spectacular.utils import OpenApiParameter, OpenApiResponse, inline_serializer
from rest_framework import serializers

from providers.api.pages import MAX_CSV_ROWS, MAX_PAGE_SIZE, PAGE_SIZE
from providers.statistics.serializers import ProblemSerializer

PAGING_PARAMETERS = [
    OpenApiParameter("cursor", str, description="From `next`; with the same filters."),
    OpenApiParameter(
        "pageSize",
        {"type": "integer", "minimum": 1, "maximum": MAX_PAGE_SIZE, "default": PAGE_SIZE},
        description="At most so many rows a page. Where filters are combined, a page may have fewer, even none, and "
        "still a next one.",
    ),
    OpenApiParameter("format", str, enum=["json", "csv"]),
]

# Of the converters of addresses.
KEY_TYPES: dict[str, dict[str, Any]] = {
    "int": {"type": "integer", "minimum": 0},
    "slug": {"type": "string", "pattern": "^[-a-zA-Z0-9_]+$"},
    "str": {"type": "string", "pattern": "^[^/]+$"},
    "uuid": {"type": "string", "format": "uuid"},
}


class RecordSchema(AutoSchema):
    """Describes the lists of RecordViewSet: parameters, pages, CSV and refusals follow from the class."""

    view: Any  # a RecordViewSet, which names this class

    def _is_list_view(self, serializer: Any = None) -> bool:
        return False  # a page is an object

    def get_operation_id(self) -> str:
        return self.view.list_name if self._is_of_list() else f"{self.view.list_name}Row"

    def get_tags(self) -> list[str]:
        return ["records"]

    def get_override_parameters(self) -> list[Any]:
        if self._is_of_list():
            return [*(each.documented for each in self.view.filters), *PAGING_PARAMETERS]
        return [OpenApiParameter("key", KEY_TYPES[self.view.lookup_value_converter], OpenApiParameter.PATH)]

    def get_response_serializers(self) -> Any:
        refusals = {
            401: OpenApiResponse(ProblemSerializer, "Neither a session nor a valid token."),
            403: OpenApiResponse(ProblemSerializer, f"The permission {self.view.permission} is missing."),
            429: OpenApiResponse(ProblemSerializer, "Too many calls; the header Retry-After says when to go on."),
        }
        bad = OpenApiResponse(ProblemSerializer, "A parameter is unknown, repeated, or has a bad value.")
        if not self._is_of_list():
            missing = OpenApiResponse(ProblemSerializer, "There is no such row.")
            return {200: self.view.serializer_of_row(), 400: bad, 404: missing, **refusals}
        row = self.view.serializer_class
        page = inline_serializer(
            f"{row.__name__.removesuffix('Serializer')}Page",
            {
                "next": serializers.URLField(allow_null=True, help_text="The next page; null: this is the last."),
                "results": row(many=True),
            },
        )
        csv = OpenApiResponse(str, f"The same as a file: at most {MAX_CSV_ROWS:,} rows; `Link` leads to the next file.")
        return {(200, "application/json"): page, (200, "text/csv"): csv, (400, "application/json"): bad} | {
            (status, "application/json"): refusal for status, refusal in refusals.items()
        }

    def _is_of_list(self) -> bool:
        return bool(self.view.action == "list")
