"""Admin pages of the bot's tables are read-only."""

import pytest
from django.contrib.auth.models import User
from django.urls import reverse

from telegram_bot.models import TelegramUpdate, TelegramUser
from tests.factories import make_account, make_request, make_user
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


class TestSearches:
    @pytest.fixture
    def ada(self) -> TelegramUser:
        account = make_account(key="telegram:1:4711", name="Ada King Lovelace")
        make_request(account=make_account(key="telegram:1:4712", name="Charles"))
        make_request(account=account)
        return make_user(4711, account=account, username="countess", name="Ada King Lovelace")

    def found(self, operator, table: str, words: str) -> list[str]:
        page = operator.get(reverse(f"admin:requests_app_{table}_changelist"), {"q": words})
        assert page.status_code == 200
        return [str(row) for row in page.context["cl"].result_list]

    @pytest.mark.parametrize(
        "words",
        ["Ada King Lovelace", "ada king", "King", "Lovelace ", "4711", "@countess", "@Countess", "telegram:1:4711"],
    )
    def test_a_user_is_found_by_what_an_operator_knows(self, operator, ada, words):
        assert self.found(operator, "account", words) == ["Ada King Lovelace"]
        assert self.found(operator, "request", words) == [ada.account.requests.get().id]

    @pytest.mark.parametrize("words", ["471", "Countess", "@count", "A", "9" * 30, "nobody", "🦊", "%", "_"])
    def test_others_are_not(self, operator, ada, words):
        assert self.found(operator, "account", words) == []
        assert self.found(operator, "request", words) == []

    def test_a_request_is_found_by_the_beginning_of_its_id_or_by_its_message(self, operator, ada):
        request = ada.account.requests.get()

        assert self.found(operator, "request", request.id) == [request.id]
        assert request.id in self.found(operator, "request", request.id[:12])
        assert self.found(operator, "request", request.intake_key) == [request.id]
        assert self.found(operator, "request", "req_nothing") == []
