"""The base of the API's lists: permission, parameters, pages, CSV."""

from collections.abc import Iterator, Sequence
from typing import Any, ClassVar
from urllib.parse import urlencode

from django.db.models import QuerySet
from django.http import Http404, StreamingHttpResponse
from django.http.response import HttpResponseBase
from rest_framework import serializers
from rest_framework.exceptions import ValidationError
from rest_framework.negotiation import DefaultContentNegotiation
from rest_framework.renderers import BaseRenderer, JSONRenderer
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.viewsets import ViewSet

from providers.api.csv_files import CsvRenderer, csv_lines
from providers.api.filters import Filter, parameters_of, parse_number, parsed
from providers.api.pages import MAX_CSV_ROWS, MAX_PAGE_SIZE, PAGE_SIZE, Listing, Position, cursor_of, place_of
from providers.api.schema import RecordSchema
from providers.statistics.permissions import MayRead

PAGING = ("cursor", "pageSize", "format")


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


class RecordViewSet(ViewSet):
    """Rows of one table, newest first, and a row by its key. Read-only.

    Subclasses say which rows, who may read them, what is shown of each and by what they are filtered.
    """

    list_name: ClassVar[str]  # of the list in its address, and in the names of its operations
    permission: ClassVar[str]  # Django's, which staff has and a token's scope passes on
    serializer_class: ClassVar[type[serializers.Serializer[Any]]]
    filters: ClassVar[Sequence[Filter]] = ()  # those with an index first: the first one that is asked for leads
    time: ClassVar[str] = ""  # the column of the order; empty: the key alone

    schema = RecordSchema()
    lookup_url_kwarg = "key"
    permission_classes = [MayRead]
    content_negotiation_class = Formats

    @property
    def throttle_scope(self) -> str:
        """Which rate holds: files cost more than pages."""
        return "exports" if self._is_csv() else "records"

    def get_renderers(self) -> list[BaseRenderer]:
        return [JSONRenderer(), CsvRenderer()] if self.action == "list" else [JSONRenderer()]

    def handle_exception(self, exc: Exception) -> Response:
        """Refuse in JSON, whichever format was asked for."""
        self.request.accepted_renderer = JSONRenderer()
        self.request.accepted_media_type = JSONRenderer.media_type
        return super().handle_exception(exc)

    def rows(self) -> QuerySet[Any]:
        """Return the rows of the list with what is shown of them. Deferred columns cost nothing."""
        raise NotImplementedError

    def row(self, key: Any) -> Any:
        """Return one row with all that is shown of it. Raises Http404."""
        row = self.rows().filter(pk=key).first()
        if row is None:
            raise Http404
        return row

    def list(self, request: Request) -> HttpResponseBase:
        values = parameters_of(request, [*(each.parameter for each in self.filters), *PAGING])
        chosen = [
            (each, parsed(each.parameter, values[each.parameter], each.parse))
            for each in self.filters
            if each.parameter in values
        ]
        asked = {each.parameter: values[each.parameter] for each, _ in chosen}
        question = f"{self.list_name}?{urlencode(asked)}"
        cursor = values.get("cursor")
        after = None if cursor is None else parsed("cursor", cursor, lambda text: place_of(text, question=question))
        listing = Listing(self.rows(), self.time, chosen)
        if self._is_csv():
            return self._csv(listing, after, question)
        size = values.get("pageSize", str(PAGE_SIZE))
        page = listing.page(parsed("pageSize", size, lambda text: parse_number(text, MAX_PAGE_SIZE)), after=after)
        return Response({"next": self._link(page.next, question), "results": self._shown(page.rows)})

    def retrieve(self, request: Request, key: Any) -> Response:
        parameters_of(request, ["format"])
        serializer = self.serializer_of_row()
        return Response(serializer(self.row(key), context={"request": request}).data)

    def serializer_of_row(self) -> type[serializers.Serializer[Any]]:
        """Return what shows one row by itself: as in the list, unless there is more to say."""
        return self.serializer_class

    def _is_csv(self) -> bool:
        return isinstance(getattr(self.request, "accepted_renderer", None), CsvRenderer)

    def _shown(self, rows: Sequence[Any]) -> Any:
        return self.serializer_class(rows, many=True, context={"request": self.request}).data

    def _link(self, place: Position | None, question: str) -> str | None:
        if place is None:
            return None
        parameters = self.request.query_params.copy()
        parameters["cursor"] = cursor_of(place, question=question)
        return f"{self.request.build_absolute_uri(self.request.path)}?{parameters.urlencode()}"

    def _csv(self, listing: Listing, after: Position | None, question: str) -> StreamingHttpResponse:
        until = listing.end(MAX_CSV_ROWS, after=after)

        def rows() -> Iterator[Any]:
            for chunk in listing.chunks(after=after, until=until):
                yield from self._shown(chunk)

        names = list(self.serializer_class().fields)
        response = StreamingHttpResponse(csv_lines(names, rows()), content_type="text/csv; charset=utf-8")
        response["Content-Disposition"] = f'attachment; filename="{self.list_name}.csv"'
        response["Vary"] = "Accept"
        if link := self._link(until, question):
            response["Link"] = f'<{link}>; rel="next"'
        return response
