"""Text by models and users is displayed and never executed: neither in the admin nor in the chat."""

import re
from collections.abc import Iterator
from html import escape
from html.parser import HTMLParser
from typing import Any

import pytest
from django.contrib.admin.models import CHANGE, LogEntry
from django.contrib.auth.models import Group, User
from django.db import models
from django.test import Client
from django.urls import reverse
from rest_framework.authtoken.models import Token

from aibot.api_tokens import token_create
from aibot.models import Scope
from providers.models import Attempt, ProviderHealth
from providers.statistics.rollups import fold_attempts
from requests_app.models import Account, Request
from requests_app.services.execution import request_advance
from requests_app.services.maintenance import maintenance_begin
from telegram_bot.bots import current_bot_id
from telegram_bot.models import TelegramUser
from tests.factories import make_alert
from tests.security.canaries import admin_models
from tests.telegram_bot.conftest import chain, fake, say
from tests.telegram_bot.updates import USER, message

__all__ = ["chain", "fake", "say"]

pytestmark = pytest.mark.django_db

TAG, ATTRIBUTE, SCHEME = "x-canary", "onx-canary", "javascript:"
# It breaks out of an attribute, a script and a comment; as short as can be, for columns that are.
MARKUP = f"""'"><{TAG}>{{{{7}}}}--></script><{TAG} {ATTRIBUTE}=1 a='{ATTRIBUTE}=1 b=" {ATTRIBUTE}=1 """
MARKDOWN = "**bold** [web](https://a.example) [x](javascript:x) [y](tg://user?id=1) ![z](tg://emoji?id=5)"
# Bidirectional controls: a name that ends in one would reverse the number beside it.
BIDI_CONTROLS = "".join(chr(code) for code in (0x200E, 0x200F, 0x061C, *range(0x202A, 0x202F), *range(0x2066, 0x206A)))
ARABIC = "مرحبا\N{RIGHT-TO-LEFT MARK} (AI) \N{RIGHT-TO-LEFT OVERRIDE}txt.exe\N{POP DIRECTIONAL FORMATTING} نعم"


class Page(HTMLParser):
    """A page as a browser parses it."""

    def __init__(self, content: str) -> None:
        super().__init__()
        self.shown = ""  # texts, and the values of a form's fields
        self.executed: list[str] = []  # markup that should have been text
        self.feed(content)

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        values = {name: value or "" for name, value in attributes}
        links = [values.get(name, "") for name in ("href", "src", "action", "formaction")]
        self.executed += [tag] * (tag == TAG)
        self.executed += [name for name in values if name == ATTRIBUTE]
        self.executed += [link for link in links if link.strip().lower().startswith(SCHEME)]
        self.shown += values.get("value", "")

    def handle_data(self, data: str) -> None:
        self.shown += data


def marked_up(column: models.Field) -> Any:
    """Return markup as this column stores it; None for a column that holds no free text."""
    if isinstance(column, models.JSONField):
        listed = {"name": MARKUP, "content_type": MARKUP, "size": 7}
        return [listed] if column.default is list else {MARKUP: [MARKUP]}
    if isinstance(column, models.URLField):
        return f"{SCHEME}{MARKUP}"
    is_text = isinstance(column, models.CharField | models.TextField)
    if not is_text or column.choices or column.primary_key or (column.max_length or 99) < len(TAG) + 5:
        return None
    return MARKUP[: column.max_length]


def rows() -> Iterator[models.Model]:
    """Yield a row of each table that has pages in the admin."""
    for model in admin_models():
        row = model._base_manager.order_by("pk").first()
        assert row is not None, f"{model._meta.label} is empty: create a row of it in the fixture `operator`"
        yield row


@pytest.fixture
def operator(fake, say, chain) -> Client:
    """An operator's client, after markup was written into every text of one row of each table."""
    chain(aimlapi=["Hello"])
    superuser = User.objects.create_superuser("operator")
    Token.objects.create(user=superuser)
    token_create(name="grafana", made_by=superuser, scopes=Scope, expires_at=None)
    Group.objects.create(name="Helpers")
    ProviderHealth.objects.create(category="TEXT", provider="openai")
    say(message("Hello"))
    request = Request.objects.get()
    request_advance(request_id=request.id)
    fold_attempts()
    maintenance_begin()
    make_alert()
    log = LogEntry.objects.create(user=superuser, action_flag=CHANGE, object_id=request.id)
    for row in [*rows(), log]:
        texts = {column.name: marked_up(column) for column in row._meta.concrete_fields}
        texts = {name: text for name, text in texts.items() if text is not None}
        if texts:
            type(row)._base_manager.filter(pk=row.pk).update(**texts)
    Attempt.objects.update(caller_key=request.id)  # so that the request's own page lists it
    client = Client()
    client.force_login(User.objects.get())
    return client


def pages_of(row: models.Model) -> Iterator[str]:
    place = f"admin:{row._meta.app_label}_{row._meta.model_name}"
    yield reverse(f"{place}_changelist")
    for name in ("change", "history", "delete"):
        yield reverse(f"{place}_{name}", args=[row.pk])


class TestAdmin:
    def test_no_page_executes_markup_of_a_table(self, operator):
        executed, silent = {}, []
        for row in rows():
            pages = {path: operator.get(path) for path in pages_of(row)}
            read = {path: Page(page.content.decode()) for path, page in pages.items() if page.status_code == 200}
            executed |= {path: page.executed for path, page in read.items() if page.executed}
            assert len(read) >= 3, pages  # the list, the row and its history
            if any(marked_up(column) for column in row._meta.concrete_fields):
                silent += [row._meta.label] * (f"<{TAG}>" not in "".join(page.shown for page in read.values()))
        assert executed == {}
        assert silent == [], "their markup was on none of their pages, so nothing was tested"

    def test_the_index_with_its_recent_actions_executes_none(self, operator):
        page = Page(operator.get("/admin/").content.decode())

        assert page.executed == []
        assert page.shown.count(f"<{TAG}>") >= 2  # the operator's own name, and the row that was changed

    def test_no_list_executes_a_search_term(self, operator):
        for row in rows():
            path = reverse(f"admin:{row._meta.app_label}_{row._meta.model_name}_changelist")
            for parameter in ("q", "provider", "handled", "o"):
                page = operator.get(path, {parameter: MARKUP}, follow=True)
                assert Page(page.content.decode()).executed == [], (path, parameter)

    def test_no_message_executes_the_name_of_a_changed_row(self, operator):
        account = Account.objects.get()

        page = operator.post(
            reverse("admin:requests_app_account_change", args=[account.pk]),
            {"amount": "1", "reason": MARKUP, "form_key": MARKUP[:32]},
            follow=True,
        )

        read = Page(page.content.decode())
        assert " credits." in read.shown
        assert read.executed == []

    def test_a_text_with_bidirectional_controls_changes_nothing_beside_it(self, operator):
        Request.objects.update(output_text=ARABIC)

        page = operator.get(reverse("admin:requests_app_request_change", args=[Request.objects.get().pk]))

        # The end of a block also ends a direction that was begun in it.
        assert re.search(f'<div class="readonly [^>]*>\\s*{re.escape(escape(ARABIC))}\\s*</div>', page.content.decode())


class TestChat:
    def test_an_answer_is_sent_as_text_with_harmless_entities_and_no_parse_mode(self, fake, say, chain):
        chain(aimlapi=[f"{MARKDOWN}\n\n{MARKUP}\n\n{ARABIC}\n\n*_`unclosed"])
        say(message("Hello"))
        request_advance(request_id=Request.objects.get().id)

        (shown,) = fake.chat(42).messages
        assert f"<{TAG} {ATTRIBUTE}=1" in shown.text
        assert ARABIC in shown.text
        assert "**" not in shown.text
        links = [entity["url"] for entity in shown.entities if entity["type"] == "text_link"]
        assert links == ["https://a.example"]
        assert {"bold", "text_link"} <= {entity["type"] for entity in shown.entities}
        assert {"text_mention", "custom_emoji", "mention"}.isdisjoint(entity["type"] for entity in shown.entities)
        assert [call for call in fake.calls if "parse_mode" in call.parameters] == []

    def test_a_name_is_greeted_as_it_is_written(self, fake, say, chain):
        chain(aimlapi=[])
        say(message("/start", **{"from": {**USER, "first_name": f"**A** <b>{MARKUP[:20]}", "last_name": "_[x](y)_"}}))

        (greeting,) = fake.chat(42).messages
        assert f"Hello **A** <b>{MARKUP[:20]} _[x](y)_!" in greeting.text
        assert greeting.entities == []
        assert [call for call in fake.calls if "parse_mode" in call.parameters] == []

    def test_bidirectional_controls_are_removed_from_a_name(self, fake, say, chain):
        chain(aimlapi=[])
        for _ in range(2):  # as a new user, and as a known one
            say(
                message(
                    "/start",
                    **{"from": {**USER, "first_name": f"{BIDI_CONTROLS}عمر", "last_name": f"L{BIDI_CONTROLS}."}},
                )
            )

            assert TelegramUser.objects.get().name == Account.objects.get().name == "عمر L."
        assert "Hello عمر L.! 👋" in fake.chat(42).texts[0]

    def test_a_name_of_nothing_else_counts_as_no_name(self, fake, say, chain):
        chain(aimlapi=[])
        say(message("/start", **{"from": {**USER, "first_name": BIDI_CONTROLS, "last_name": ""}}))

        assert str(TelegramUser.objects.get()) == "42"
        assert str(Account.objects.get()) == f"telegram:{current_bot_id()}:42"
