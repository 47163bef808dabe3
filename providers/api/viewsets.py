"""The base of the API's lists: permission, parameters, pages."""

from collections.abc import Iterator, Sequence
from typing import Any, ClassVar
from urllib.parse import urlencode

from django.db.models import QuerySet
from django.http import Http404, StreamingHttpResponse
from django.http.response import HttpResponseBase
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from providers.api.filters import Filter
from providers.api.formats import TableViewSet
from providers.api.pages import MAX_CSV_ROWS, MAX_PAGE_SIZE, PAGE_SIZE, Listing, Position, cursor_of, place_of
from providers.api.schema import RecordSchema
from providers.statistics.parameters import parameters_of, parse_number, parsed
from providers.statistics.permissions import MayRead

PAGING = ("cursor", "pageSize", "format")


class RecordViewSet(TableViewSet):
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
        if self.is_csv():
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

        response = self.csv_file(self.list_name, list(self.serializer_class().fields), rows())
        if link := self._link(until, question):
            response["Link"] = f'<{link}>; rel="next"'
        return response
