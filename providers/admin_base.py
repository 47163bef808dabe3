"""What the admin of every app shares: tables that nobody edits, and tables of millions of rows."""

from collections.abc import Callable, Sequence
from decimal import Decimal
from functools import cached_property
from typing import TYPE_CHECKING, Any

from django.contrib import admin
from django.contrib.admin.options import IncorrectLookupParameters
from django.core.paginator import Paginator
from django.db.models import JSONField, Q, QuerySet, TextField
from django.http import HttpRequest, HttpResponse

from providers import registry
from providers.db import without
from providers.statistics.selectors import shown_usd
from providers.types import Category

if TYPE_CHECKING:  # unfold's classes have no types, and those of Django's that they extend
    from django.contrib.admin import ModelAdmin as UnfoldModelAdmin
    from django.contrib.admin import TabularInline
    from django.contrib.admin.views.main import ChangeList
else:
    from unfold.admin import ModelAdmin as UnfoldModelAdmin
    from unfold.admin import TabularInline
    from unfold.views import ChangeList


# Columns of keys and passwords. Django lets an address filter by any column of the table, so that whoever may view a
# list could find out letter by letter what its pages do not show.
SECRET_COLUMNS = frozenset({"auth_token", "key", "key_hash", "password"})


# By which an address may compare; others, such as `__range`, answer some values with an error of the server.
COMPARISONS = frozenset({"exact", "gt", "gte", "in", "isnull", "lt", "lte"})


class ModelAdmin(UnfoldModelAdmin):  # type: ignore[type-arg]  # Django's class takes no argument at run time
    """The base of our admins: addresses filter neither by texts and JSON nor by secrets."""

    def lookup_allowed(self, lookup: str, value: str, request: HttpRequest | None = None) -> bool:
        names = lookup.split("__")
        if SECRET_COLUMNS.intersection(names):
            return False
        column = next((field for field in self.opts.concrete_fields if field.name == names[0]), None)
        if isinstance(column, TextField | JSONField):
            return False
        if column and any(column.get_lookup(name) or column.get_transform(name) for name in {*names[1:]} - COMPARISONS):
            return False
        return super().lookup_allowed(lookup, value, request)

    def history_view(self, request: HttpRequest, object_id: str, extra_context: Any = None) -> HttpResponse:
        return super().history_view(request, object_id, {"subpage": "History", **(extra_context or {})})

    def delete_view(self, request: HttpRequest, object_id: str, extra_context: Any = None) -> Any:
        return super().delete_view(request, object_id, {"subpage": "Delete", **(extra_context or {})})


class CappedPaginator(Paginator):  # type: ignore[type-arg]  # Django's class takes no argument at run time
    """Counts no further than it must: COUNT(*) over millions of rows takes seconds, and nobody opens page 201."""

    MAX_COUNTED = 10_000
    template_name = "admin/capped_pagination.html"  # below lists; unfold looks for it here
    object_list: QuerySet[Any]

    @cached_property
    def count(self) -> int:
        return self.object_list.order_by()[: self.MAX_COUNTED].count()

    @property
    def is_capped(self) -> bool:
        """There are more rows than it says."""
        return self.count == self.MAX_COUNTED


class NobodyEdits:
    """Permissions of a table that is written by the software alone, whoever looks at it. For admins and inlines."""

    def has_add_permission(self, *_: Any) -> bool:
        return False

    def has_change_permission(self, *_: Any) -> bool:
        return False

    def has_delete_permission(self, *_: Any) -> bool:
        return False


class LargeTableChangeList(ChangeList):
    """A list that does not mention a number of results which it has not counted to the end."""

    def get_results(self, request: HttpRequest) -> None:
        try:
            super().get_results(request)
        except (OverflowError, ValueError) as error:  # a number that no column holds
            raise IncorrectLookupParameters(error) from error
        self.full_result_count = self.result_count
        if not self.multi_page:
            # What the count has found, and no more: without a limit PostgreSQL expects as many rows as its statistics
            # let it, and may read the whole table for the few there are.
            found: QuerySet[Any] = self.result_list
            self.result_list = found[: self.list_per_page] if self.result_count else found.none()


class LargeTableAdmin(ModelAdmin):
    """A list that stays quick with millions of rows: it counts little and sorts by indexed columns only."""

    paginator = CappedPaginator
    show_full_result_count = False
    show_facets = admin.ShowFacets.NEVER
    list_per_page = 50
    list_max_show_all = 50
    # Not joined: SQLite may begin a join at the small table, and sort the whole large one.
    list_select_related = ()
    list_prefetch_related: Sequence[str] = ()

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        return super().get_queryset(request).prefetch_related(*self.list_prefetch_related)

    def get_changelist(self, request: HttpRequest, **kwargs: Any) -> type[ChangeList]:
        return LargeTableChangeList


class ReadOnlyAdmin(NobodyEdits, LargeTableAdmin):
    """The record of what happened: never edited, not even by superusers."""


class ReadOnlyInline(NobodyEdits, TabularInline):  # type: ignore[type-arg]  # Django's class takes no argument at run time
    """Such a record's rows on the page of what they belong to."""

    extra = 0
    can_delete = False
    show_change_link = False


class ChoiceFilter(admin.ChoicesFieldListFilter):
    """Filters by a choice. The rare ones have an index without the `usual` ones, whose condition the query has too."""

    usual: Sequence[str]

    def index_condition(self, choice: str) -> Q:
        """Return the condition of the index that contains this choice; an empty one where the newest rows do."""
        return Q() if choice in self.usual else without(self.field.name, self.usual)

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        chosen: Any = self.lookup_val or []
        condition = self.index_condition(str(chosen[0])) if len(chosen) == 1 else Q()
        return super().queryset(request, queryset.filter(condition))  # type: ignore[return-value]  # a queryset, always


class CategoryFilter(ChoiceFilter):
    usual = [Category.TEXT]


class ProviderFilter(admin.SimpleListFilter):
    """Filters by provider without asking the table which providers it contains."""

    title = "provider"
    parameter_name = "provider"
    field = "provider"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return registry.choices()

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        return queryset.filter(**{self.field: self.value()}) if self.value() else queryset


def code_of(field: str) -> Callable[[Any], str]:
    """Return a column that shows a choice as logs and SQL call it, such as OK; its page and the filter explain it."""

    @admin.display(description=field)
    def code(row: Any) -> str:
        value: str = getattr(row, field)
        return value

    return code


def shown_cost(cost: Decimal | None, *, is_billed: bool) -> str:
    """Return a cost as operators read it: one that may be billed but that nobody knows is unknown, never 0."""
    return shown_usd(cost) if is_billed or cost is not None else "–"


def shown_ms(milliseconds: float | None) -> str:
    """Return a duration in seconds, as people compare them."""
    return "–" if milliseconds is None else f"{milliseconds / 1000:.2f}\N{NO-BREAK SPACE}s"
