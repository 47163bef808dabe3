"""The operator's chat: claimed once, by a link that only who has the server sees."""

from io import StringIO

import pytest
from django.core.management import call_command

from providers.models import ProviderConfig
from providers.routes.pauses import route_resume
from telegram_bot import texts
from telegram_bot.keyboards import PAUSE_ROUTE, route_keyboard
from telegram_bot.models import TelegramBot, TelegramUpdate
from telegram_bot.operator import has_operator, operator_link, operator_tell
from telegram_bot.updates.queue import queue_drain
from tests.factories import make_chat, make_provider
from tests.fakes.telegram import refuse
from tests.telegram_bot.updates import GROUP_ID, message, press

pytestmark = pytest.mark.django_db


def code_of(link: str) -> str:
    assert link.startswith("https://t.me/test_bot?start=operator-")
    code = link.partition("start=")[2]
    assert len(code) <= 64  # Telegram's limit
    return code


def test_the_first_private_chat_that_brings_the_code_gets_the_alerts(fake, say):
    code = code_of(operator_link())

    assert say(message(f"/start {code}")) == "became the operator's chat"
    operator_tell("Hello")

    assert fake.chat(42).texts == [texts.OPERATOR_CLAIMED, "Hello"]
    assert operator_link() == ""


def test_a_code_is_good_once(fake, say):
    code = code_of(operator_link())
    say(message(f"/start {code}"))
    TelegramBot.objects.update(operator_chat=None)

    assert say(message(f"/start {code}")) == "greeted"
    assert not has_operator()


@pytest.mark.parametrize("parameter", ["", "operator-", "operator-guessed", "something"])
def test_anything_else_is_a_greeting(fake, say, parameter):
    operator_link()

    assert say(message(f"/start {parameter}")) == "greeted"
    assert not has_operator()


def test_without_a_link_an_empty_code_claims_nothing(fake, say):
    assert say(message("/start operator-")) == "greeted"
    assert not has_operator()


def test_a_group_cannot_be_the_operators(fake, say):
    fake.chat(GROUP_ID)
    code = code_of(operator_link())

    say(message(f"/start@test_bot {code}", chat_id=GROUP_ID))

    assert not has_operator()


def test_the_link_is_the_same_until_it_is_used_or_replaced(fake, say):
    link = operator_link()
    assert operator_link() == link
    assert operator_link(anew=True) != link

    assert say(message(f"/start {code_of(link)}")) == "greeted"


def test_a_claim_whose_reply_telegram_puts_off_is_the_same_claim(fake, say):
    code = code_of(operator_link())
    fake.will("sendMessage", refuse(429, "Too Many Requests", retry_after=30))
    say(message(f"/start {code}"))
    TelegramUpdate.objects.update(next_at=None)
    queue_drain(chat_id=make_chat(42).pk)

    assert fake.chat(42).texts == [texts.OPERATOR_CLAIMED]


def test_who_reads_the_database_alone_has_no_code(fake, say):
    operator_link()
    salt = TelegramBot.objects.get().operator_salt

    assert say(message(f"/start operator-{salt}")) == "greeted"


def test_telegram_setup_prints_the_link_until_it_is_used(fake, say):
    out = StringIO()
    call_command("telegram_setup", stdout=out)
    say(message("/start " + code_of(out.getvalue().split()[-1])))

    again, anew = StringIO(), StringIO()
    call_command("telegram_setup", stdout=again)
    call_command("telegram_setup", "--new-operator", stdout=anew)

    assert "Alerts go to the operator's chat" in again.getvalue()
    assert "https://t.me/test_bot?start=operator-" in anew.getvalue()
    assert not has_operator()


class TestButtons:
    """Those below alerts: they pause and resume a route, for the operator's chat alone."""

    @pytest.fixture
    def route(self):
        return make_provider("openai")

    @pytest.fixture
    def operator(self, say):
        say(message(f"/start {code_of(operator_link())}"))

    def test_one_pauses_a_route_and_the_answer_has_the_one_that_resumes_it(self, fake, say, route, operator):
        operator_tell("Too many calls break off", route_keyboard(PAUSE_ROUTE, [route]))

        (pause,) = fake.chat(42).messages[-1].buttons
        say(press(pause["callback_data"], message_id=fake.chat(42).messages[-1].id))

        route.refresh_from_db()
        assert (route.paused_by, route.paused_because) == ("telegram:42", "a button below an alert")
        assert not ProviderConfig.objects.in_service().filter(pk=route.pk).exists()
        assert fake.chat(42).texts[-1] == "⏸ OpenAI in TEXT is paused for an hour."

        (resume,) = fake.chat(42).messages[-1].buttons
        for _ in range(2):
            say(press(resume["callback_data"], message_id=fake.chat(42).messages[-1].id))

        assert ProviderConfig.objects.in_service().filter(pk=route.pk).exists()
        assert fake.chat(42).texts[-2:] == [
            "▶️ OpenAI in TEXT is asked again.",
            "OpenAI in TEXT was not paused any more.",
        ]

    def test_handled_again_it_says_so_and_pauses_nothing(self, fake, say, route, operator):
        fake.will("sendMessage", refuse(429, "Too Many Requests", retry_after=30))
        say(press(f"pause:0:{route.pk}", message_id=1))
        route_resume(route_id=route.pk, actor="admin:ada")
        TelegramUpdate.objects.update(next_at=None)

        queue_drain(chat_id=make_chat(42).pk)

        assert fake.chat(42).texts[-1] == "⏸ OpenAI in TEXT is paused for an hour."
        assert ProviderConfig.objects.in_service().filter(pk=route.pk).exists()

    def test_elsewhere_it_does_nothing(self, fake, say, route, operator):
        fake.chat(43)

        outcome = say(press(f"pause:0:{route.pk}", message_id=1, chat_id=43))

        assert outcome == "refused: not the operator's chat"
        assert list(fake.answered_buttons.values()) == [texts.NOT_THE_OPERATORS]
        assert ProviderConfig.objects.in_service().filter(pk=route.pk).exists()

    def test_of_a_route_that_is_gone_it_says_so(self, fake, say, route, operator):
        key = route.pk
        route.delete()

        assert say(press(f"resume:0:{key}", message_id=1)) == "refused: that route is gone"
        assert list(fake.answered_buttons.values()) == [texts.BUTTON_EXPIRED]
