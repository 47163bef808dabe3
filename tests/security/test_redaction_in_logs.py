"""Redaction in logs and error reports: of a secret in any encoding, by any logger."""

import logging
import os
import subprocess
import sys
from typing import Any

import pytest
from django.core import mail
from django.db import IntegrityError
from django.test import RequestFactory
from django.views.debug import get_exception_reporter_class, technical_500_response

from aibot.env import passwords_of
from aibot.redaction import RedactingFormatter
from requests_app.models import Request
from tests.factories import make_request
from tests.flows.processes import ROOT

KEY = "sk-canary/<&'%2B>-0123"
WORD = "canary-of-a-prompt"


@pytest.fixture(autouse=True)
def _secret(settings):
    settings.SECRETS = [KEY]


def formatted(message: str, *arguments: Any, exc_info: Any = None) -> str:
    record = logging.LogRecord("x", logging.ERROR, "f", 1, message, arguments, exc_info)
    return RedactingFormatter("%(message)s").format(record)


@pytest.mark.parametrize(
    "spelled",
    [KEY, "sk-canary%2F%3C%26%27%252B%3E-0123", "sk-canary/&lt;&amp;&#x27;%2B&gt;-0123"],
    ids=["as it is", "in an address", "on a page"],
)
def test_a_secret_is_redacted_in_any_encoding(spelled):
    assert formatted("GET /?key=%s!", spelled) == "GET /?key=[hidden]!"


@pytest.mark.parametrize("url", ["postgres://bot:p%40ss-%2Fcanary@db/x", "rediss://:p%40ss-%2Fcanary@cache:6380/0"])
def test_the_password_of_an_address_is_a_secret_encoded_and_decoded(url):
    assert passwords_of(url) == ["p%40ss-%2Fcanary", "p@ss-/canary"]


def test_the_key_of_an_api_token_is_redacted():
    assert formatted("Authorization: Bearer %s!", f"aibot_{'0f' * 32}") == "Authorization: Bearer [hidden]!"


def test_an_address_without_a_password_has_none():
    assert passwords_of("sqlite:////var/db.sqlite3") == passwords_of("") == ["", ""]


@pytest.mark.django_db
def test_a_row_that_the_database_refuses_is_not_quoted():
    request = make_request(input_text=f"{WORD}\n(once).")
    try:
        Request.objects.filter(pk=request.pk).update(output_text=WORD, status="COMPLETED")
    except IntegrityError:
        text = formatted("It failed", exc_info=sys.exc_info())

    assert "completed_says_who_and_when" in text
    assert WORD not in text


def test_of_postgresqls_message_about_a_refused_row_only_the_row_is_redacted():
    text = f"DETAIL:  Failing row contains (req_1, {WORD}\n(once), null).\nCONTEXT: x\n"

    assert formatted(text) == "DETAIL:  Failing row contains [hidden]\nCONTEXT: x\n"


@pytest.mark.parametrize("debug", ["True", "False"])
def test_every_logger_writes_each_line_once_and_redacted(tmp_path, debug):
    names = ["django", "django.request", "django.security", "celery", "gunicorn.error", "telegram", "providers", "x"]
    program = (
        "import django, logging; django.setup()\n"
        f"for name in {names}: logging.getLogger(name).error('%s is canary-of-the-secret-key', name)"
    )
    outcome = subprocess.run(
        [sys.executable, "-c", program],
        cwd=ROOT,
        env={
            "PATH": os.environ["PATH"],
            "DJANGO_SETTINGS_MODULE": "aibot.settings",
            "ENV_FILE": os.devnull,
            "DATA_DIR": str(tmp_path),
            "SECRET_KEY": "canary-of-the-secret-key",
            "DEBUG": debug,
        },
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )

    lines = (outcome.stdout + outcome.stderr).splitlines()
    assert [line.rpartition(": ")[2] for line in lines] == [f"{name} is [hidden]" for name in names]


class TestErrorReports:
    """Of an unexpected error, with a prompt in its stack frame and a key in its message."""

    @pytest.fixture
    def reported(self):
        def fail(said: str) -> None:
            raise RuntimeError(f"bad key {KEY}")

        request = RequestFactory().post("/telegram/webhook/", headers={"X-Telegram-Bot-Api-Secret-Token": KEY})
        try:
            fail(said=f"{WORD} in a coal mine")
        except RuntimeError:
            return request, sys.exc_info()

    @pytest.mark.parametrize("method", ["get_traceback_text", "get_traceback_html"])
    def test_in_production_it_contains_neither(self, reported, method):
        request, error = reported

        report = getattr(get_exception_reporter_class(request)(request, *error, is_email=True), method)()

        assert "RuntimeError" in report
        assert "said" in report
        assert "canary" not in report

    def test_a_developers_page_hides_the_key(self, settings, reported):
        settings.DEBUG = True
        request, error = reported

        page = technical_500_response(request, *error).content.decode()

        assert WORD in page  # a developer sees the local variables
        assert "sk-canary" not in page

    def test_nobody_is_mailed(self, settings, reported, client, monkeypatch):
        settings.ADMINS = [("Operator", "operator@example.com")]
        client.raise_request_exception = False

        def fail(*_: Any) -> None:
            raise RuntimeError(KEY)

        monkeypatch.setattr("telegram_bot.updates.views.update_parse", fail)
        settings.TELEGRAM_WEBHOOK_SECRET = "s"

        answer = client.post("/telegram/webhook/", headers={"X-Telegram-Bot-Api-Secret-Token": "s"})

        assert answer.status_code == 500
        assert "canary" not in answer.content.decode()
        assert mail.outbox == []
