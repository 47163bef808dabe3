"""Parameters of lists: how each is read, which rows it keeps, and whether an index finds these rows."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from django.db.models import Q
from django.utils.dateparse import parse_datetime
from drf_spectacular.utils import OpenApiParameter

from providers.common.days import parse_day
from providers.db import without
from providers.statistics.parameters import parse_number

MAX_INTEGER = 2**63 - 1

Condition = Callable[[Any], Q]
# Returns what a query must contain besides the condition so that an index leads to the rows; None: there is no index.
IndexOf = Callable[[Any], Q | None]


def unindexed(_: Any) -> Q | None:
    """There is no index: rows of another one are read, and those that do not fit are left out."""
    return None


def indexed(_: Any) -> Q | None:
    """An index contains every value. Or the table is small."""
    return Q()


def indexed_without(field: str, usual: Sequence[str], *, unfinished: Iterable[str] = (), ended_at: str = "") -> IndexOf:
    """Return what finds rare values in the partial index without the usual ones, and open ones in that of open rows."""

    def index_of(value: Any) -> Q | None:
        if value in unfinished:
            return Q((f"{ended_at}__isnull", True))
        return None if value in usual else without(field, usual)

    return index_of


@dataclass(frozen=True, slots=True)
class Filter:
    """One parameter of a list."""

    parameter: str  # its name in the address
    condition: Condition  # which rows a value keeps
    parse: Callable[[str], Any]  # raises ValueError with what is allowed
    schema: dict[str, Any]  # its values in the OpenAPI document
    description: str
    index_of: IndexOf = unindexed

    @property
    def documented(self) -> OpenApiParameter:
        """It as the OpenAPI document describes it."""
        return OpenApiParameter(self.parameter, self.schema, description=self.description)


def choice(
    parameter: str, values: Iterable[str], field: str, description: str, index_of: IndexOf = unindexed
) -> Filter:
    """Return a filter by one of a few values."""
    allowed = list(values)

    def parse(text: str) -> str:
        if text not in allowed:
            raise ValueError(f"one of {', '.join(allowed)}")
        return text

    return Filter(parameter, _equals(field), parse, {"type": "string", "enum": allowed}, description, index_of)


def text(parameter: str, field: str, description: str, *, max_length: int, index_of: IndexOf = unindexed) -> Filter:
    """Return a filter by a text in full."""

    def parse(value: str) -> str:
        if not 1 <= len(value) <= max_length:
            raise ValueError(f"a text of 1 to {max_length} characters")
        return value

    schema = {"type": "string", "minLength": 1, "maxLength": max_length}
    return Filter(parameter, _equals(field), parse, schema, description, index_of)


def number(parameter: str, field: str, description: str, index_of: IndexOf = unindexed) -> Filter:
    """Return a filter by a key."""
    schema = {"type": "integer", "format": "int64", "minimum": 1, "maximum": MAX_INTEGER}

    def parse(value: str) -> int:
        return parse_number(value, MAX_INTEGER)

    return Filter(parameter, _equals(field), parse, schema, description, index_of)


def switch(parameter: str, field: str, description: str, index_of: IndexOf = unindexed) -> Filter:
    """Return a filter by yes or no."""

    def parse(value: str) -> bool:
        if value not in ("true", "false"):
            raise ValueError("true or false")
        return value == "true"

    return Filter(parameter, _equals(field), parse, {"type": "boolean"}, description, index_of)


def period(field: str) -> tuple[Filter, Filter]:
    """Return the filters `from` and `to` by a time, which the order of the list is by too."""
    schema = {"oneOf": [{"type": "string", "format": "date-time"}, {"type": "string", "format": "date"}]}
    how = "such as 2026-11-28 (midnight, UTC) or 2026-11-28T09:30:00Z."
    return (
        Filter("from", lambda moment: Q((f"{field}__gte", moment)), parse_moment, schema, f"Not before this: {how}"),
        Filter("to", lambda moment: Q((f"{field}__lt", moment)), parse_moment, schema, f"Before this: {how}"),
    )


def parse_moment(value: str) -> datetime:
    """Return a date (its midnight) or a time of UTC, or of the offset that it names. Raises ValueError."""
    try:
        day, time = parse_day(value[:10]), value[10:]
        moment = parse_datetime(value) if time else datetime(day.year, day.month, day.day, tzinfo=UTC)
        if moment is not None:
            return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).astimezone(UTC)
    except (ValueError, OverflowError):  # there is no such day, or it is before the first year of UTC
        pass
    raise ValueError("a date or a time, such as 2026-11-28 or 2026-11-28T09:30:00Z (a + is written %2B)")


def _equals(field: str) -> Condition:
    return lambda value: Q((field, value))
