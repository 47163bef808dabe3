"""Admin pages of the bot's tables are read-only."""

import pytest
from django.contrib.auth.models import User
from django.urls import reverse

from telegram_bot.models import TelegramUpdate
from tests.telegram_bot.updates import message

pytestmark = pytest.mark.django_db

TABLES = ["telegramupdate", "telegramuser", "telegramchat", "delivery"]


@pytest.fixture
def operator(client):
    client.force_login(User.objects.create_superuser("operator"))
    return client


@pytest.fixture
def _prompt(fake, say, chain):
    chain(aimlapi=["Hello"])
    say(message("canary"))


@pytest.mark.usefixtures("_prompt")
@pytest.mark.parametrize("table", TABLES)
def test_each_table_has_a_read_only_list_without_texts(operator, table):
    page = operator.get(reverse(f"admin:telegram_bot_{table}_changelist"))

    assert page.status_code == 200
    assert "canary" not in page.content.decode()
    assert operator.get(reverse(f"admin:telegram_bot_{table}_add")).status_code == 403


@pytest.mark.usefixtures("_prompt")
def test_an_updates_own_page_shows_its_content(operator):
    update = TelegramUpdate.objects.get()

    page = operator.get(reverse("admin:telegram_bot_telegramupdate_change", args=[update.pk]))

    assert "canary" in page.content.decode()
    assert operator.post(page.request["PATH_INFO"], {"outcome": "x"}).status_code == 403


@pytest.mark.usefixtures("_prompt")
@pytest.mark.parametrize("handled", ["yes", "no"])
def test_updates_are_filtered_by_whether_they_are_handled(operator, handled):
    page = operator.get(reverse("admin:telegram_bot_telegramupdate_changelist"), {"handled": handled})

    assert page.context["cl"].result_count == (1 if handled == "yes" else 0)
