"""Commands, buttons and all other updates that are not prompts."""

import pytest

from requests_app.models import Account
from telegram_bot import texts
from telegram_bot.models import TelegramChat, TelegramThread, TelegramUser
from tests.factories import make_model
from tests.fakes.telegram import BOT
from tests.telegram_bot.updates import GROUP_ID, USER, membership, mention, message, press

pytestmark = pytest.mark.django_db

STRANGER = {**USER, "id": 43, "first_name": "Eve", "username": "eve"}


def test_start_greets_gives_the_welcome_credits_once_and_shows_the_models(fake, say, chain):
    chain(aimlapi=[])

    assert say(message("/start")) == "greeted"
    say(message("/start ref_42"))

    account = Account.objects.get(telegram_user__telegram_id=42)
    assert (account.name, account.balance) == ("Ada L.", 20)
    greeting = fake.chat(42).messages[0]
    assert "Ada L." in greeting.text
    assert "20 credits" in greeting.text
    assert [button["text"] for button in greeting.buttons] == ["✓ Text AI · 1 credit"]
    assert len(fake.chat(42).messages) == 2


def test_without_an_available_model_start_says_so(fake, say, chain):
    chain()

    say(message("/start"))

    assert texts.NO_MODEL_AVAILABLE in fake.chat(42).texts[0]
    assert fake.chat(42).messages[0].buttons == []


def test_new_starts_another_conversation_in_this_topic_only(fake, say):
    say(message("/new", message_thread_id=7, is_topic_message=True))

    assert fake.chat(42).texts == [texts.NEW_CONVERSATION]
    assert fake.chat(42).messages[0].thread_id == 7
    thread = TelegramThread.objects.get()
    assert thread.conversation_key == f"telegram:{thread.chat_id}:7:2"


def test_a_command_is_recognised_without_its_entity(fake, say):
    raw = message("/help me please")
    del raw["message"]["entities"]

    assert say(raw) == "helped"


def test_balance_and_help_answer(fake, say):
    say(message("/balance"))
    say(message("/help"))

    assert fake.chat(42).texts == ["You have 20 credits.", texts.HELP]


def test_a_model_is_chosen_by_its_button(fake, say, chain):
    chain(aimlapi=[])
    fine = make_model(name="Fine AI", slug="fine-ai", category="TEXT", token_cost=3, description="Thinks longer.")
    say(message("/model"))
    menu = fake.chat(42).messages[0]
    assert [button["text"] for button in menu.buttons] == ["✓ Text AI · 1 credit", "Fine AI · 3 credits"]

    pressed = press(menu.buttons[1]["callback_data"], message_id=menu.id)

    assert say(pressed) == "chose fine-ai"
    assert TelegramChat.objects.get().model == fine
    assert menu.text == "✓ Fine AI answers from now on. Thinks longer.\nEach answer costs 3 credits."
    assert menu.buttons == []
    assert pressed["callback_query"]["id"] in fake.answered_buttons


def test_models_of_a_category_without_a_provider_are_not_offered(fake, say, chain):
    chain(aimlapi=[])
    make_model(name="Image AI 2", slug="image-ai-2", category="IMAGE")

    say(message("/model"))

    assert len(fake.chat(42).messages[0].buttons) == 1


def test_a_button_works_only_for_the_user_who_opened_the_menu(fake, say, chain):
    chain(aimlapi=[])
    fake.chat(GROUP_ID)
    say(message("/model", chat_id=GROUP_ID))
    menu = fake.chat(GROUP_ID).messages[0]

    stranger = press(menu.buttons[0]["callback_data"], message_id=menu.id, chat_id=GROUP_ID, user=STRANGER)

    assert say(stranger) == "refused: another user's button"
    assert fake.answered_buttons[stranger["callback_query"]["id"]] == texts.NOT_YOUR_BUTTON
    assert TelegramChat.objects.get().model is None


@pytest.mark.parametrize("data", ["model:42:999999", "model:42:9" + "9" * 17])
def test_a_button_for_an_unavailable_model_says_so(fake, say, chain, data):
    chain(aimlapi=[])
    pressed = press(data, message_id=1)

    assert say(pressed) == "refused: that model is not offered"
    assert fake.answered_buttons[pressed["callback_query"]["id"]] == texts.MODEL_UNAVAILABLE


@pytest.mark.parametrize(
    "data", ["", "model", "model:42", "model:x:1", "other:42:1", "model:٤٢:١", "model:42:" + "9" * 50]
)
def test_a_button_with_other_callback_data_does_nothing(fake, say, data):
    pressed = press(data, message_id=1)

    assert say(pressed) == "refused: unknown button"
    assert fake.answered_buttons[pressed["callback_query"]["id"]] == texts.BUTTON_EXPIRED


@pytest.mark.parametrize(
    "fields",
    [
        {
            "sticker": {
                "file_id": "a",
                "file_unique_id": "b",
                "width": 1,
                "height": 1,
                "is_animated": False,
                "is_video": False,
                "type": "regular",
            }
        },
        {"dice": {"emoji": "🎲", "value": 3}},
    ],
)
def test_an_unsupported_message_gets_a_friendly_line(fake, say, fields):
    assert say(message(**fields)) == "refused: not a text"
    assert fake.chat(42).texts == [texts.UNSUPPORTED]


def test_an_unsupported_album_gets_one_line(fake, say):
    video = {"file_id": "a", "file_unique_id": "b", "width": 8, "height": 8, "duration": 1}

    say(message(video=video, media_group_id="g"))
    say(message(video=video, media_group_id="g"))

    assert fake.chat(42).texts == [texts.UNSUPPORTED]


def test_an_unknown_command_is_answered_in_a_private_chat_only(fake, say):
    fake.chat(GROUP_ID)

    assert say(message("/dance")) == "refused: unknown command"
    assert say(message("/dance", chat_id=GROUP_ID)) == "ignored: a command that may be another bot's"
    assert say(message("/dance@test_bot", chat_id=GROUP_ID)) == "refused: unknown command"
    assert fake.chat(42).texts == [texts.UNKNOWN_COMMAND]


@pytest.mark.parametrize(
    ("raw", "reason"),
    [
        (message("Hi", **{"from": {**USER, "is_bot": True}}), "ignored: written by a bot"),
        (message("Hi", via_bot={**USER, "is_bot": True}), "ignored: written by a bot"),
        (message("Hi", sender_chat={"id": -5, "type": "channel"}), "ignored: written in the name of a chat"),
        (message("Hi", chat={"id": -6, "type": "channel"}), "ignored: a channel's post"),
        (message(new_chat_title="New"), "ignored: a service message"),
        (message(pinned_message=message("x")["message"]), "ignored: a service message"),
        (message("Hi", chat_id=GROUP_ID), "ignored: not meant for the bot"),
        (message("/start@other_bot", chat_id=GROUP_ID), "ignored: not meant for the bot"),
        (mention("Hi @other_bot", "@other_bot"), "ignored: not meant for the bot"),
        ({"update_id": 1, "edited_message": message("Hi")["message"]}, "ignored: edited_message"),
        ({"update_id": 2, "channel_post": message("Hi")["message"]}, "ignored: channel_post"),
        ({"update_id": 3, "business_message": message("Hi")["message"]}, "ignored: business_message"),
        ({"update_id": 4, "of_the_future": {"chat": {"id": 42}}}, "ignored: of_the_future"),
        ({"update_id": 5, "message": {"chat": {"id": 42}}}, "ignored: cannot be parsed"),
    ],
)
def test_what_is_not_meant_for_the_bot_is_ignored_with_a_reason(fake, say, raw, reason):
    assert say(raw) == reason
    assert not fake.called("sendMessage")
    assert not TelegramUser.objects.exists()


@pytest.mark.parametrize(
    "raw",
    [
        mention("@test_bot /balance please"),
        mention("@Test_Bot, /balance", "@Test_Bot"),
        message("/balance", chat_id=GROUP_ID),
        message("/Balance@Test_Bot", chat_id=GROUP_ID),
        message("And now?", chat_id=GROUP_ID, reply_to_message=message("x", **{"from": BOT})["message"]),
    ],
)
def test_in_a_group_commands_mentions_and_replies_are_answered_as_replies(fake, say, raw):
    fake.chat(GROUP_ID)

    assert not say(raw).startswith("ignored")
    assert fake.chat(GROUP_ID).messages[0].reply_to == raw["message"]["message_id"]


def test_a_thread_outside_of_topics_is_not_sent_to(fake, say):
    fake.chat(GROUP_ID)

    say(message("/help", chat_id=GROUP_ID, message_thread_id=99))

    assert fake.chat(GROUP_ID).messages[0].thread_id is None


def test_a_user_who_blocks_the_bot_is_unreachable_until_they_write_again(fake, say):
    assert say(membership("kicked")) == "not reachable any more"
    assert not TelegramChat.objects.get().is_reachable

    say(message("/help"))

    assert TelegramChat.objects.get().is_reachable


def test_a_users_name_and_language_are_kept_up_to_date(fake, say):
    say(message("/help"))
    say(message("/help", **{"from": {**USER, "first_name": "Grace", "language_code": "de"}}))

    user = TelegramUser.objects.get()
    assert (user.name, user.language) == ("Grace L.", "de")
