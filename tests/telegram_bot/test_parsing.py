"""Nobody meets silence in a private chat, whatever Telegram learns to send and PTB does not know."""

import pytest

from requests_app.models import Request
from requests_app.services.maintenance import maintenance_begin, maintenance_end
from telegram_bot import texts
from telegram_bot.models import TelegramUpdate
from telegram_bot.updates.queue import queue_drain
from tests.factories import make_chat, make_model
from tests.telegram_bot.updates import GROUP_ID, message

pytestmark = pytest.mark.django_db

# A poll as Bot API 9 sends it lacks what PTB 22 requires.
OLD_POLL = {"id": "1", "question": "Tea?", "options": [{"text": "Yes"}]}
BROKEN = {"message_id": 1, "date": 1_790_000_000, "chat": {"id": 42, "type": "private"}, "poll": OLD_POLL}


@pytest.mark.parametrize(
    "fields",
    [
        {"reply_to_message": BROKEN},
        {"external_reply": {"origin": {"type": "of_the_future"}}},
        {"forward_origin": {"type": "user"}},
        {"quote": {"text": 5}},
        {"entities": [{"type": "bold"}]},
        {"of_the_future": {"anything": 1}},
        {"link_preview_options": "none"},
        {"photo": [{"width": 8}]},
        {"entities": [{"type": "bold"}], "quote": {"text": 5}, "document": 7},
    ],
    ids=lambda fields: next(iter(fields)),
)
def test_a_text_is_answered_without_what_cannot_be_read_beside_it(fake, say, fields):
    assert say(message("What is 6 × 7?", **fields)).startswith("accepted")

    assert Request.objects.get().input_text.endswith("What is 6 × 7?")


@pytest.mark.parametrize(
    "fields",
    [
        {"rich_message": {"blocks": []}},
        {"of_the_future": {"anything": 1}},
        {"giveaway": {"chats": [], "winners_selection_date": 1_790_000_000, "winner_count": 1}},
        {},
        {"dice": {"emoji": "🎲", "value": 3}},
        {"web_app_data": {"data": "x", "button_text": "y"}},
        {"successful_payment": {"currency": "XTR", "total_amount": 1}},
        {"poll": OLD_POLL},
    ],
    ids=lambda fields: next(iter(fields), "nothing"),
)
def test_what_is_not_understood_is_answered_in_words_and_costs_nothing(fake, say, fields):
    outcome = say(message(**fields))

    assert outcome == "refused: not a text"
    assert fake.chat(42).texts == [texts.UNSUPPORTED]
    assert not Request.objects.exists()


def test_what_cannot_be_read_costs_the_message_nothing_else(fake, say):
    """The entities that are broken are left out, and what is replied to stays."""
    replied = message("Guten Morgen!", **{"from": {"id": 77, "is_bot": False, "first_name": "Ben"}})["message"]

    say(message("Translate this", reply_to_message=replied, entities=[{"type": "bold"}]))

    assert "> Guten Morgen!" in Request.objects.get().input_text


@pytest.mark.parametrize("category", ["TEXT", "IMAGE", "VIDEO", "AUDIO"])
@pytest.mark.parametrize("text", ["\u200b", "\u2060\u200d \ufeff", "\u00ad\n\t", "\u3164\u2800", "\ufe0f\u034f"])
def test_a_prompt_of_no_width_is_not_paid_for(fake, say, text, category):
    make_chat(42, model=make_model(category=category), type="private")

    assert say(message(text)) == "refused: empty"

    assert fake.chat(42).texts == [texts.EMPTY_PROMPT]
    assert not Request.objects.exists()


def test_what_follows_new_is_the_first_prompt_of_the_new_conversation(fake, say):
    say(message("Hello"))
    first = Request.objects.get()

    outcome = say(message("/new What is 6 × 7?"))

    second = Request.objects.exclude(pk=first.pk).get()
    assert outcome == f"started a conversation; accepted as {second.id}"
    assert (second.input_text, second.conversation) == ("What is 6 × 7?", first.conversation[:-1] + "2")
    assert texts.NEW_CONVERSATION not in fake.chat(42).texts


def test_new_with_words_of_no_width_only_starts_a_conversation(fake, say):
    assert say(message("/new \u200b")) == "started a conversation"

    assert fake.chat(42).texts == [texts.NEW_CONVERSATION]


def test_in_a_group_new_without_a_bots_name_asks_nothing(fake, say):
    fake.chat(GROUP_ID)

    assert say(message("/new Buy milk", chat_id=GROUP_ID)) == "started a conversation"
    assert not Request.objects.exists()


def test_a_first_prompt_of_a_new_conversation_that_was_held_waits_for_a_free_place(fake, say, settings):
    settings.MAX_OPEN_REQUESTS = 1
    say(message("Hello"))
    held = message("/new What is 6 × 7?")
    maintenance_begin()
    say(held)
    maintenance_end()
    TelegramUpdate.objects.filter(handled_at=None).update(next_at=None)

    queue_drain(chat_id=TelegramUpdate.objects.get(update_id=held["update_id"]).chat_id)

    row = TelegramUpdate.objects.get(update_id=held["update_id"])
    assert (row.handled_at, row.next_at is not None) == (None, True)


@pytest.mark.parametrize(
    "fields",
    [
        {"pinned_message": BROKEN},
        {"new_chat_title": "Cats", "of_the_future": 1},
        {"user_shared": {"request_id": 1, "user_id": 2}},
        {"write_access_allowed": {}},
        {"message_auto_delete_timer_changed": {"message_auto_delete_time": 60}},
    ],
    ids=lambda fields: next(iter(fields)),
)
def test_what_happens_in_a_chat_is_not_answered(fake, say, fields):
    assert say(message(**fields)).startswith("ignored")

    assert not fake.called("sendMessage")
