"""JSON and CSV: what all of the API's answers have in common."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from django.http import Http404, StreamingHttpResponse
from rest_framework.exceptions import ValidationError
from rest_framework.negotiation import DefaultContentNegotiation
from rest_framework.renderers import BaseRenderer, JSONRenderer
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.viewsets import ViewSet

from providers.common.csv_lines import csv_lines


class CsvRenderer(BaseRenderer):
    """Names the format `csv`. It renders nothing: rows are streamed as they are read, and refusals are JSON."""

    media_type = "text/csv"
    format = "csv"


class Formats(DefaultContentNegotiation):
    """Refuses an unknown format as any other bad value, instead of pretending that the address does not exist."""

    def select_renderer(
        self, request: Request, renderers: Any, format_suffix: str | None = None
    ) -> tuple[BaseRenderer, str]:
        if request.query_params.get("format") == "":
            renderers = self.filter_renderers(renderers, "")  # which is left to the header otherwise
        chosen: tuple[BaseRenderer, str] = super().select_renderer(request, renderers, format_suffix)
        return chosen

    def filter_renderers(self, renderers: Any, format: str) -> list[BaseRenderer]:
        try:
            return super().filter_renderers(renderers, format)
        except Http404 as error:
            formats = " or ".join(str(renderer.format) for renderer in renderers)
            raise ValidationError({"detail": f"format must be {formats}, not {format[:40]!r}."}) from error


class TableViewSet(ViewSet):
    """Rows as JSON, or as a file of CSV. Both have a named rate: files cost more than pages."""

    content_negotiation_class = Formats

    @property
    def throttle_scope(self) -> str:
        """Which rate holds."""
        return "exports" if self.is_csv() else "records"

    def get_renderers(self) -> list[BaseRenderer]:
        return [JSONRenderer(), CsvRenderer()] if self.action == "list" else [JSONRenderer()]

    def handle_exception(self, exc: Exception) -> Response:
        """Refuse in JSON, whichever format was asked for."""
        self.request.accepted_renderer = JSONRenderer()
        self.request.accepted_media_type = JSONRenderer.media_type
        return super().handle_exception(exc)

    def is_csv(self) -> bool:
        """Return whether a file was asked for."""
        return isinstance(getattr(self.request, "accepted_renderer", None), CsvRenderer)

    def csv_file(self, name: str, columns: Sequence[str], rows: Iterable[Mapping[str, Any]]) -> StreamingHttpResponse:
        """Return a file of these rows. The columns are always there, rows or not."""
        response = StreamingHttpResponse(csv_lines(columns, rows), content_type="text/csv; charset=utf-8")
        response["Content-Disposition"] = f'attachment; filename="{name}.csv"'
        response["Vary"] = "Accept"
        return response
