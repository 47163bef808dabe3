"""Admin pages of updates, users, chats and deliveries, all read-only."""

from typing import Any

from django.contrib import admin
from django.db.models import Q, QuerySet
from django.http import HttpRequest

from providers.admin_base import ChoiceFilter, ReadOnlyAdmin, ReadOnlyInline, code_of
from requests_app.account_search import account_finder
from requests_app.models import VIEW_PROMPTS
from telegram_bot.models import (
    Delivery,
    DeliveryKind,
    DeliveryState,
    TelegramChat,
    TelegramThread,
    TelegramUpdate,
    TelegramUser,
)
from telegram_bot.selectors import IS_NOT_CONFIRMED, IS_UNFINISHED

MAX_ID_DIGITS = 18  # of a Telegram id; a column of the database takes so many


@account_finder
def by_telegram(words: str) -> Q | None:
    """Find the account of a Telegram id, or of an @username."""
    if words.isascii() and words.isdecimal() and len(words) <= MAX_ID_DIGITS:
        return Q(telegram_user__telegram_id=int(words))
    name = words.removeprefix("@")
    return Q(telegram_user__username__iexact=name) if name and name != words else None


class HandledFilter(admin.SimpleListFilter):
    """Filters by whether an update has been handled."""

    title = "handled"
    parameter_name = "handled"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [("yes", "Handled"), ("no", "Not yet")]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        return queryset.filter(handled_at__isnull=self.value() == "no") if self.value() else queryset


@admin.register(TelegramUpdate)
class TelegramUpdateAdmin(ReadOnlyAdmin):
    """Updates of the last week. Their content is on each update's own page only."""

    list_display = ["received_at", "update_id", "kind", "chat", "outcome", "handled_at", "tries"]
    list_prefetch_related = ["chat"]
    list_filter = [HandledFilter]
    search_fields = ["update_id__exact"]
    search_help_text = "An update's id."
    ordering = ["-received_at"]
    sortable_by = ["received_at"]

    def get_queryset(self, request: HttpRequest) -> QuerySet[TelegramUpdate]:
        return super().get_queryset(request).defer("raw")

    def get_exclude(self, request: HttpRequest, obj: TelegramUpdate | None = None) -> list[str]:
        return [] if request.user.has_perm(VIEW_PROMPTS) else ["raw"]  # which contains what users write


@admin.register(TelegramUser)
class TelegramUserAdmin(ReadOnlyAdmin):
    """Users who have written to the bot."""

    list_display = ["telegram_id", "name", "username", "language", "account", "first_seen_at"]
    list_prefetch_related = ["account"]
    search_fields = ["telegram_id__exact", "username__iexact"]
    search_help_text = "A user's Telegram id or username, in full."
    ordering = ["-id"]
    sortable_by = ["id"]


class ThreadInline(ReadOnlyInline):
    model = TelegramThread
    fields = ["thread_id", "conversation"]


@admin.register(TelegramChat)
class TelegramChatAdmin(ReadOnlyAdmin):
    """Chats with the bot, and their topics."""

    list_display = ["telegram_id", "type", "model", "is_reachable", "first_seen_at"]
    list_prefetch_related = ["model"]
    list_filter = ["is_reachable", "type"]
    search_fields = ["telegram_id__exact"]
    search_help_text = "A chat's id."
    ordering = ["-id"]
    sortable_by = ["id"]
    inlines = [ThreadInline]


class DeliveryStateFilter(ChoiceFilter):
    usual = [DeliveryState.DELIVERED]

    def index_condition(self, choice: str) -> Q:
        if choice in Delivery.UNFINISHED:
            # Apart: else SQLite reads all of them, since they are in order already.
            return Q(pk__in=Delivery.objects.filter(IS_UNFINISHED).values("pk"))
        return Q() if choice in self.usual else IS_NOT_CONFIRMED


class DeliveryKindFilter(ChoiceFilter):
    usual = [DeliveryKind.RESULT]


@admin.register(Delivery)
class DeliveryAdmin(ReadOnlyAdmin):
    """Messages that show requests: what was shown in which chat, and what could not be."""

    list_display = ["id", "request_id", "part", code_of("kind"), code_of("state"), "chat", "tries", "error"]
    list_prefetch_related = ["chat"]
    list_filter = [("state", DeliveryStateFilter), ("kind", DeliveryKindFilter)]
    search_fields = ["request__id__exact"]
    search_help_text = "A request's id, in full."
    ordering = ["-id"]
    sortable_by = ["id"]
