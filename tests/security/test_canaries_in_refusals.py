"""Error texts may quote what caused them: Telegram's in its refusals, ours in exceptions."""

import json
import logging
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.core import mail
from django.test import Client
from django.utils.log import AdminEmailHandler

from requests_app.models import Request
from requests_app.services.execution import request_advance
from telegram_bot.models import Delivery
from tests.fakes.telegram import TOKEN, BotApiFault, refuse
from tests.security.canaries import KEYS, PROMPT, SECRETS, WORD, columns_with, found_in
from tests.telegram_bot.conftest import chain
from tests.telegram_bot.updates import message

__all__ = ["chain"]

pytestmark = pytest.mark.django_db

PROMPT_COLUMNS = {"requests.input_text", "telegram_bot_telegramupdate.raw"}
QUOTED = f"this will not do: {PROMPT} to {TOKEN}"
REFUSALS = [
    refuse(400, f"Bad Request: can't parse entities in {QUOTED}"),
    refuse(400, f"Bad Request: {QUOTED}"),
    refuse(403, f"Forbidden: {QUOTED}"),
    refuse(401, f"Unauthorized: {QUOTED}"),
    refuse(429, f"Too Many Requests: {QUOTED}", retry_after=1),
    refuse(500, f"Internal Server Error: {QUOTED}"),
]


@pytest.mark.parametrize("refusal", REFUSALS)
@pytest.mark.parametrize("method", ["sendMessage", "editMessageText"])
def test_a_refusal_by_telegram_is_not_quoted(canaries, fake, say, chain, log, method: str, refusal: BotApiFault):
    answer = f"You said: {PROMPT}. {'Much more follows. ' * 300} You said: {PROMPT}."
    chain(aimlapi=[answer])
    say(message(PROMPT))
    # The answer is refused in its first message or in the further ones, without its formatting, and as a file.
    for step in {method, "sendMessage"}:
        fake.will(step, refusal, refusal)
    fake.will("sendDocument", refusal, refusal)
    request_advance(request_id=Request.objects.get().id)

    assert Delivery.objects.exclude(error="").exists()
    assert columns_with([*canaries, WORD]) == {WORD: PROMPT_COLUMNS | {"requests.output_text"}}
    assert found_in(log.unpinned, [*canaries, WORD]) == []
    assert found_in(log.text, canaries) == []


def test_the_error_of_a_handler_is_not_quoted(canaries, say, chain, log, monkeypatch):
    def fail(**_: Any) -> None:
        raise RuntimeError(QUOTED)

    monkeypatch.setattr("telegram_bot.handlers.prompt.request_accept", fail)
    chain(aimlapi=[])
    say(message(PROMPT))

    assert "failed with RuntimeError" in log.text
    assert columns_with([*canaries, WORD]) == {WORD: {"telegram_bot_telegramupdate.raw"}}
    assert found_in(log.unpinned, [*canaries, WORD]) == []


@pytest.mark.parametrize("is_html", [False, True])
def test_a_mail_about_an_error_contains_no_secret_no_session_and_no_prompt(canaries, settings, monkeypatch, is_html):
    settings.ADMINS = [("Operator", "operator@example.com")]

    def fail(raw: dict[str, Any]) -> None:
        said = raw["message"]["text"]
        raise RuntimeError(f"{KEYS['openai']} and {TOKEN}, {len(said)} characters")

    monkeypatch.setattr("telegram_bot.updates.views.update_ingest", fail)
    headers = {"X-Telegram-Bot-Api-Secret-Token": SECRETS["TELEGRAM_WEBHOOK_SECRET"]}
    client = Client(raise_request_exception=False, headers=headers)
    client.force_login(User.objects.create_superuser("operator"))
    logger, mailer = logging.getLogger("django.request"), AdminEmailHandler(include_html=is_html)
    logger.addHandler(mailer)
    try:
        answer = client.post("/telegram/webhook/", json.dumps(message(PROMPT)), content_type="application/json")
    finally:
        logger.removeHandler(mailer)

    (sent,) = mail.outbox
    everything = f"{sent.subject}\n{sent.body}\n{sent.alternatives}\n{answer.content.decode()}"
    session = client.session.session_key
    assert answer.status_code == 500
    assert "RuntimeError" in sent.body
    assert len(sent.alternatives) == is_html
    assert found_in(everything, [*canaries, WORD, session]) == []
