"""Canary keys and a canary prompt go all the way from the chat to the chat, and are found only where they belong.

Every vendor of the chain fails in another way and says back all that it was told: the key, the headers, the prompt.
"""

import json
import logging
import sys
from collections.abc import Callable, Iterator

import pytest
from django.apps import apps
from django.contrib import admin
from django.db import models
from django.test import RequestFactory
from django.urls import reverse
from django.views.debug import ExceptionReporter

from aibot.redaction import RedactingFormatter
from providers.models import Attempt
from providers.registry import VENDORS
from providers.types import Access, Category
from requests_app.models import AIModel, Request
from requests_app.services.execution import request_advance
from telegram_bot.models import TelegramUpdate
from tests.factories import make_model, make_provider
from tests.fakes.http_server import FakeServer, Line, Step, answer, close_after, head
from tests.fakes.telegram import TOKEN
from tests.telegram_bot.updates import message

pytestmark = pytest.mark.django_db

PROMPT = "canary-of-a-prompt in a coal mine"
WORD = "canary-of-a-prompt"
KEYS = {slug: f"canary-key-of-{slug}-0123456789" for slug in VENDORS}
SECRETS = {
    "SECRET_KEY": "canary-of-the-secret-key",
    "TELEGRAM_WEBHOOK_SECRET": "canary-of-the-webhook",
    "REPLICATE_WEBHOOK_SECRET": "whsec_Y2FuYXJ5LW9mLXRoZS1ob29r",
    "REDIS_URL": "redis://:canary-of-the-broker@localhost:6379/0",
}
# Who may know what was asked: the request, the update that brought it, and nobody else.
KNOWS_THE_PROMPT = {"requests_app.Request.input_text", "telegram_bot.TelegramUpdate.raw"}
CHAINS = {
    Category.TEXT: ["aimlapi", "piapi", "openrouter", "openai", "anthropic", "xai", "groq"],
    Category.IMAGE: ["replicate", "openai", "xai", "openrouter", "piapi", "aimlapi", "runware"],
    Category.AUDIO: ["elevenlabs", "replicate", "openrouter", "aimlapi", "piapi"],
}


@pytest.fixture(autouse=True)
def _settings(settings, fake):
    for name, secret in SECRETS.items():
        setattr(settings, name, secret)
    settings.CELERY_BROKER_URL = SECRETS["REDIS_URL"]
    settings.SECRETS = sorted({*SECRETS.values(), TOKEN, *KEYS.values()}, key=len, reverse=True)
    settings.WELCOME_CREDITS = 1000


@pytest.fixture
def said(caplog) -> Callable[[], str]:
    """All that was logged, as production writes it."""
    caplog.set_level(logging.DEBUG)
    formatter = RedactingFormatter("%(asctime)s %(levelname)s %(name)s: %(message)s")
    return lambda: "\n".join(formatter.format(record) for record in caplog.records)


@pytest.fixture
def gossips(settings) -> Iterator[list[FakeServer]]:
    """A server for each vendor that answers with whatever it was sent, each time in another way."""
    servers = {slug: FakeServer() for slug in VENDORS}
    for number, server in enumerate(servers.values()):
        steps = [gossip(server, status) for status in (400, 401, 403, 429, 500, 503, 200)] + [cut_gossip(server)]
        server.will(*steps[number:], *steps[:number])
    settings.PROVIDER_ACCESS = {
        slug: Access(KEYS[slug], servers[slug].url + vendor.base_path) for slug, vendor in VENDORS.items()
    }
    yield list(servers.values())
    for server in servers.values():
        server.close()


def heard_by(server: FakeServer) -> str:
    request = server.received[-1]
    return f"{request.path} {request.headers} {request.body.decode()}"


def gossip(server: FakeServer, status: int) -> Step:
    def step(line: Line) -> None:
        heard = heard_by(server)
        answer({"error": {"message": heard, "code": heard}, "message": heard, "detail": heard}, status)(line)

    return step


def cut_gossip(server: FakeServer) -> Step:
    def step(line: Line) -> None:
        close_after(head(200, X_Heard=KEYS["aimlapi"], Content_Length=10_000) + heard_by(server).encode())(line)

    return step


def ask_everyone(say) -> None:
    """Ask in each category, and follow each request to its end."""
    for category, chain in CHAINS.items():
        AIModel.objects.update(enabled=False)
        make_model(category=category, token_cost=1)
        for priority, slug in enumerate(chain, start=1):
            make_provider(slug, category=category, priority=priority, enabled=True)
        say(message(f"{PROMPT} for {category}"))
        request = Request.objects.latest("created_at")
        for _ in range(3):
            Request.objects.filter(id=request.id).update(next_at=None, lease_until=None)
            request_advance(request_id=request.id)


def columns_with(word: str) -> set[str]:
    """Return every column of every table that holds this."""
    found = set()
    for model in apps.get_models():
        fields = [field for field in model._meta.concrete_fields if not isinstance(field, models.BinaryField)]
        for row in model._base_manager.all():
            found |= {f"{model._meta.label}.{field.name}" for field in fields if word in _shown(row, field)}
    return found


def _shown(row: models.Model, field: models.Field) -> str:
    value = getattr(row, field.attname)
    return json.dumps(value) if isinstance(value, dict | list) else str(value)


def admin_pages(client) -> Iterator[tuple[str, str]]:
    """Return every list and every row's page with its address."""
    for model in admin.site._registry:
        name = f"admin:{model._meta.app_label}_{model._meta.model_name}"
        listed = reverse(f"{name}_changelist")
        yield listed, client.get(listed).content.decode()
        for row in model._base_manager.all():
            page = reverse(f"{name}_change", args=[row.pk])
            yield page, client.get(page, follow=True).content.decode()


def secrets() -> list[str]:
    return [*KEYS.values(), *SECRETS.values(), TOKEN]


def test_they_are_in_no_log_no_table_no_page_and_no_message(say, rung, gossips, said, admin_client):
    ask_everyone(say)

    assert Request.objects.count() == len(CHAINS)
    assert Attempt.objects.exclude(error_text="").count() > len(CHAINS)  # they did gossip
    assert columns_with(WORD) == KNOWS_THE_PROMPT
    assert {secret: columns_with(secret) for secret in secrets() if columns_with(secret)} == {}
    log = said()
    assert "✗ aimlapi failed for TEXT" in log
    assert [secret for secret in [*secrets(), WORD] if secret in log] == []
    assert [word for word in [*secrets(), WORD] if word in repr(rung)] == []
    own = {reverse("admin:requests_app_request_change", args=[request.id]) for request in Request.objects.all()}
    own |= {reverse("admin:telegram_bot_telegramupdate_change", args=[row.pk]) for row in TelegramUpdate.objects.all()}
    for address, page in admin_pages(admin_client):
        assert [secret for secret in secrets() if secret in page] == [], address
        assert address in own or WORD not in page, address


def test_they_are_in_no_figure(say, rung, gossips, admin_client):
    ask_everyone(say)

    for address in ("/metrics", "/api/providers/stats", "/api/providers/cost/TEXT", "/readyz", "/api/schema/"):
        shown = admin_client.get(address).content.decode()
        assert [word for word in [*secrets(), WORD] if word in shown] == [], address


def test_they_are_in_nothing_that_the_chat_is_shown(say, rung, gossips, fake):
    ask_everyone(say)

    shown = "\n".join(fake.chat(42).texts)
    assert shown
    assert [word for word in [*secrets(), WORD] if word in shown] == []


@pytest.mark.parametrize("is_html", [False, True])
def test_a_report_of_an_error_names_no_secret(is_html):
    request = RequestFactory().post("/telegram/webhook/", headers={"X-Telegram-Bot-Api-Secret-Token": "x"})
    try:
        raise RuntimeError("a fault of ours")
    except RuntimeError:
        reporter = ExceptionReporter(request, *sys.exc_info(), is_email=True)

    report = reporter.get_traceback_html() if is_html else reporter.get_traceback_text()

    assert "a fault of ours" in report
    assert [secret for secret in secrets() if secret in report] == []
