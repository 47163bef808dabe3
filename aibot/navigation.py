"""The admin's navigation by the operator's tasks, and the way to each page in the same words."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from django.apps import apps
from django.db.models import Model
from django.http import HttpRequest
from django.urls import reverse
from django.utils.text import capfirst


@dataclass(frozen=True, slots=True)
class _Page:
    """A line of the navigation: the list of a table, or a page about it, for those who may view it."""

    icon: str  # of Material Symbols, which come with unfold
    table: str  # such as "requests_app.request"
    title: str = ""  # empty: what the table's rows are called, which a page of their list always is
    view: str = "changelist"
    arguments: tuple[str, ...] = ()
    verbs: tuple[str, ...] = ("view", "change")  # any of these permissions shows the line

    @property
    def words(self) -> str:
        return self.title or str(capfirst(apps.get_model(self.table)._meta.verbose_name_plural))

    @property
    def address_name(self) -> str:
        return f"admin:{self.table.replace('.', '_')}_{self.view}"

    @property
    def link(self) -> str:
        return reverse(self.address_name, args=self.arguments)

    def may_see(self, request: HttpRequest) -> bool:
        app, model = self.table.split(".")
        return any(request.user.has_perm(f"{app}.{verb}_{model}") for verb in self.verbs)

    def as_item(self) -> dict[str, str]:
        return {"title": self.words, "icon": self.icon, "link": self.link}


NAVIGATION: dict[str, list[_Page]] = {
    "Requests": [
        _Page("forum", "requests_app.request"),
        _Page("outbound", "providers.attempt"),
        _Page("history", "requests_app.requestevent"),
        _Page("send", "telegram_bot.delivery"),
    ],
    "Routes and AI models": [
        _Page("alt_route", "providers.providerconfig", view="order", arguments=("TEXT", "generate")),
        _Page("science", "providers.providerconfig", "Playground", "playground", ("TEXT",), verbs=("change",)),
        _Page("electrical_services", "providers.providerhealth"),
        _Page("low_priority", "providers.routingrule"),
        _Page("neurology", "requests_app.aimodel"),
    ],
    "Users and credits": [
        _Page("group", "requests_app.account"),
        _Page("receipt_long", "requests_app.ledgerentry"),
        _Page("person", "telegram_bot.telegramuser"),
        _Page("chat", "telegram_bot.telegramchat"),
    ],
    "System": [
        _Page("notifications", "aibot.alert"),
        _Page("functions", "providers.attemptrollup"),
        _Page("balance", "providers.attemptrollup", "Reconciliation", "reconciliation"),
        _Page("inbox", "telegram_bot.telegramupdate"),
        _Page("construction", "requests_app.maintenancemode"),
        _Page("key", "aibot.apitoken"),
        # Django's and the REST framework's own tables, of which users here are others.
        _Page("key_off", "authtoken.tokenproxy", "Old tokens"),
        _Page("badge", "auth.user", "Staff"),
        _Page("shield_person", "auth.group", "Roles"),
    ],
}


def navigation(request: HttpRequest) -> list[dict[str, Any]]:
    """Return unfold's groups of links, without what the reader may not see."""
    groups: list[dict[str, Any]] = [
        {"items": [{"title": "Overview", "icon": "monitoring", "link": reverse("admin:index")}]}
    ]
    for title, pages in NAVIGATION.items():
        items = [page.as_item() for page in pages if page.may_see(request)]
        if items:
            groups.append({"title": title, "separator": True, "items": items})
    return groups


def account_navigation(_: HttpRequest) -> list[dict[str, str]]:
    """Return unfold's links of the menu below the reader's own name."""
    pages = {"Change password": "admin:password_change", "One-time codes": "admin:one_time_codes"}
    return [{"title": title, "link": reverse(name)} for title, name in pages.items()]


@dataclass(frozen=True, slots=True)
class Crumb:
    """One step of the way to a page, which stands in its head."""

    title: str
    link: str = ""


def trail(context: Mapping[str, Any]) -> list[Crumb]:
    """Return the way to a page, in the words of the navigation; an empty one where that does not lead there.

    Views of ours name what they do with a row or with a list as `subpage`.
    """
    match, opts = context["request"].resolver_match, context.get("opts")
    places = [(group, page) for group, pages in NAVIGATION.items() for page in pages]
    itself = [place for place in places if match and match.view_name == place[1].address_name]
    of_table = [place for place in places if opts and opts.label_lower == place[1].table]
    crumbs = [
        crumb for group, page in (itself or of_table)[:1] for crumb in (Crumb(group), Crumb(page.words, page.link))
    ]
    row = next((row for row in map(context.get, ("original", "object")) if isinstance(row, Model)), None)
    if row is not None and opts:
        crumbs.append(Crumb(str(row), reverse(f"admin:{opts.app_label}_{opts.model_name}_change", args=[row.pk])))
    doing = context.get("subpage") or ("Add" if context.get("add") else "")
    return [*crumbs, *([Crumb(doing)] if doing else [])]
