"""A handler that runs again, because Telegram refused its reply for now, acts on what it has chosen the first time."""

from datetime import timedelta

import pytest
from django.utils import timezone

from requests_app.models import AIModel, Request
from requests_app.services.accounts import account_set_blocked
from telegram_bot import texts
from telegram_bot.api import client
from telegram_bot.models import TelegramChat, TelegramThread, TelegramUpdate
from telegram_bot.updates.queue import queue_drain
from tests.factories import make_chat, make_model
from tests.fakes.telegram import flood, hang_up, refuse
from tests.telegram_bot.updates import message, press

pytestmark = pytest.mark.django_db


def again() -> str:
    """Handle what waits for a retry, and return the outcome of the last update."""
    TelegramUpdate.objects.exclude(next_at=None).update(next_at=timezone.now() - timedelta(seconds=1))
    queue_drain(chat_id=make_chat(42).pk)
    return TelegramUpdate.objects.latest("update_id").outcome


def statuses() -> list[str]:
    return list(Request.objects.order_by("created_at").values_list("status", flat=True))


def two_under_way(say) -> None:
    """Two requests of two conversations: in one the second would wait for the first."""
    say(message("One"))
    say(message("/new Two"))


def test_a_cancel_whose_reply_is_refused_cancels_one_request(fake, say, chain):
    chain(aimlapi=[])
    two_under_way(say)
    fake.will("sendMessage", flood(5), flood(5))

    assert say(message("/cancel")) == ""
    again()
    outcome = again()

    assert statuses() == ["PENDING", "CANCELLED"]
    newest = Request.objects.latest("created_at")
    assert outcome == f"cancelled {newest.id}"
    assert fake.chat(42).texts.count(texts.CANCELLED) == 1


def test_a_cancel_that_found_nothing_cancels_nothing_later(fake, say, chain):
    chain(aimlapi=[])
    fake.will("sendMessage", flood(5))
    say(message("/cancel"))
    assert TelegramUpdate.objects.get().target == "-"

    # Handled while the first one waits for its retry: by a worker that had lost the chat, say.
    TelegramUpdate.objects.update(received_at=timezone.now() + timedelta(minutes=1))
    say(message("One"))

    TelegramUpdate.objects.exclude(next_at=None).update(next_at=timezone.now() - timedelta(seconds=1))
    queue_drain(chat_id=make_chat(42).pk)

    assert statuses() == ["PENDING"]
    assert texts.NOTHING_TO_CANCEL in fake.chat(42).texts


def test_two_cancels_cancel_two_requests(fake, say, chain):
    chain(aimlapi=[])
    two_under_way(say)

    say(message("/cancel"))
    say(message("/cancel"))

    assert statuses() == ["CANCELLED", "CANCELLED"]


def test_a_new_whose_reply_is_refused_starts_one_conversation(fake, say):
    fake.will("sendMessage", flood(5), flood(5))

    say(message("/new"))
    again()

    assert again() == "started a conversation"
    assert TelegramThread.objects.get().conversation == 2
    say(message("/new"))
    assert TelegramThread.objects.get().conversation == 3


def test_a_choice_whose_confirmation_is_refused_stays_the_choice(fake, say, chain):
    chain(aimlapi=[])
    fine = make_model(name="Fine AI", slug="fine-ai", category="TEXT")
    say(message("/model"))
    menu = fake.chat(42).messages[0]
    fake.will("editMessageText", flood(5))

    say(press(menu.buttons[1]["callback_data"], message_id=menu.id))
    AIModel.objects.filter(pk=fine.pk).update(enabled=False)  # meanwhile

    assert again() == "chose fine-ai"
    assert TelegramChat.objects.get().model == fine


def test_a_button_that_telegram_has_forgotten_still_makes_the_choice(fake, say, chain):
    chain(aimlapi=[])
    make_model(name="Fine AI", slug="fine-ai", category="TEXT")
    say(message("/model"))
    menu = fake.chat(42).messages[0]
    fake.will("answerCallbackQuery", refuse(400, "Bad Request: query is too old and response timeout expired"))

    assert say(press(menu.buttons[1]["callback_data"], message_id=menu.id)) == "chose fine-ai"
    assert menu.text.startswith("✓ Fine AI")


def test_a_prompt_that_was_accepted_is_not_refused_by_a_repeat(fake, say, chain):
    chain(aimlapi=[])
    raw = message("One")
    say(raw)
    request = Request.objects.get()
    account_set_blocked(account_id=request.user_id, is_blocked=True)
    TelegramUpdate.objects.update(handled_at=None, outcome="")  # its worker was killed before it noted the outcome

    assert again() == f"accepted as {request.id}"
    assert len(fake.chat(42).texts) == 1


def test_a_download_that_breaks_off_is_tried_again(fake, say, chain, monkeypatch):
    chain(aimlapi=[])
    monkeypatch.setattr(client, "UPLOAD_SECONDS", 2)
    photo = [{"file_id": "big", "file_unique_id": "big", "width": 8, "height": 8}]
    fake.files["big"] = b"MZ"
    fake.will("getFile", hang_up)

    assert say(message(photo=photo)) == ""
    assert again() == "refused: not an image"


def test_a_file_that_telegram_does_not_give_is_answered(fake, say, chain):
    chain(aimlapi=[])
    photo = [{"file_id": "gone", "file_unique_id": "gone", "width": 8, "height": 8}]

    say(message(photo=photo))

    assert fake.chat(42).texts == [texts.IMAGE_UNREADABLE]
