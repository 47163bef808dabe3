"""What a message replies to, quotes or forwards reaches the model, marked as what it is."""

import pytest

from requests_app.models import Request
from telegram_bot import texts
from tests.factories import make_chat, make_model
from tests.fakes.audio import opus
from tests.fakes.telegram import BOT
from tests.telegram_bot.test_media import png
from tests.telegram_bot.updates import GROUP_ID, USER, mention, message

pytestmark = pytest.mark.django_db

BEN = {"id": 77, "is_bot": False, "first_name": "Ben"}
QUOTE = {"text": "a part", "position": 0, "is_manual": True}
PHOTO = [{"file_id": "photo-1", "file_unique_id": "u", "width": 8, "height": 8}]
VOICE = {"file_id": "voice-1", "file_unique_id": "v", "duration": 2, "mime_type": "audio/ogg"}


def earlier(text: str | None = None, **fields):
    """A message as another one refers to it."""
    return message(text, **fields)["message"]


def asked() -> str:
    return Request.objects.get().input_text


@pytest.mark.parametrize(
    ("sender", "words"), [(BOT, "of yours"), (USER, "of mine"), (BEN, "of somebody else")], ids=["bot", "self", "other"]
)
def test_the_message_that_is_replied_to_comes_before_the_prompt(fake, say, sender, words):
    replied = earlier("Guten Morgen!\nWie geht es?", **{"from": sender})

    say(message("Translate this", reply_to_message=replied))

    assert asked() == f"I reply to this message {words}:\n> Guten Morgen!\n> Wie geht es?\n\nTranslate this"


def test_the_author_is_who_has_written_it_first_also_of_a_forwarded_message(fake, say):
    origin = {"type": "channel", "date": 1, "chat": {"id": -1009, "type": "channel", "title": "News"}, "message_id": 5}

    say(message("True?", reply_to_message=earlier("Mars is near", forward_origin=origin)))

    assert asked() == "I reply to this message of somebody else:\n> Mars is near\n\nTrue?"


def test_an_answer_of_the_bots_is_whole_whatever_its_conversation_has_of_it(fake, say):
    say(message("/new Why?", reply_to_message=earlier("x" * 3000, **{"from": BOT})))

    assert asked() == f"I reply to this message of yours:\n> {'x' * 3000}\n\nWhy?"


@pytest.mark.parametrize(
    "quote", [None, {"text": "a part", "position": 0, "is_manual": True}], ids=["reply", "quotation"]
)
def test_in_a_group_a_reply_to_the_bot_speaks_to_it_and_a_quotation_is_what_it_is_about(fake, say, quote):
    fake.chat(GROUP_ID)
    replied = earlier("a part of an answer", chat_id=GROUP_ID, photo=None, **{"from": BOT})

    say(message("And now?", chat_id=GROUP_ID, reply_to_message=replied, **({"quote": quote} if quote else {})))

    assert asked() == ("I reply to this part of a message of yours:\n> a part\n\nAnd now?" if quote else "And now?")


def test_a_comment_below_a_channels_post_is_not_about_it(fake, say):
    fake.chat(GROUP_ID)
    post = earlier("Breaking news", chat_id=GROUP_ID, is_automatic_forward=True)

    say(mention("@test_bot draw a cat", reply_to_message=post))

    assert asked() == "draw a cat"


def test_a_reply_keeps_its_prompt_within_what_one_may_have(fake, say, settings):
    settings.MAX_PROMPT_CHARACTERS = 1000

    say(message("y" * 500, reply_to_message=earlier("x" * 4000, **{"from": BEN})))
    assert len(asked()) <= 1000
    assert asked().endswith(f"…\n\n{'y' * 500}")


@pytest.mark.parametrize(
    "content",
    [
        {"poll": {"id": "1", "question": "Tea?", "options": []}},
        {"rich_message": {"blocks": []}},
        {"dice": {"emoji": "🎲", "value": 3}},
    ],
    ids=lambda content: next(iter(content)),
)
def test_a_reply_to_what_is_not_understood_says_so(fake, say, content):
    say(message("What do you think?", reply_to_message=earlier(**content, **{"from": BEN})))

    assert asked().endswith(":\n> (something that cannot be read here)\n\nWhat do you think?")


def test_a_reply_to_a_video_has_its_caption_and_says_that_there_is_more(fake, say):
    video = {"file_id": "v", "file_unique_id": "v", "width": 8, "height": 8, "duration": 1}

    say(message("What happens?", reply_to_message=earlier(video=video, caption="Look", **{"from": BEN})))

    quoted = "> Look\n> (something that cannot be read here)"
    assert asked() == f"I reply to this message of somebody else:\n{quoted}\n\nWhat happens?"


def test_a_reply_to_a_file_that_cannot_be_read_says_so(fake, say):
    document = {"file_id": "d", "file_unique_id": "d", "file_name": "a.zip"}

    say(message("Summarise", reply_to_message=earlier(document=document, **{"from": BEN})))

    assert asked() == "I reply to this message of somebody else:\n> (something that cannot be read here)\n\nSummarise"


def test_in_a_chat_of_images_that_no_route_changes_a_reply_to_one_is_drawn_anew(fake, say, monkeypatch):
    make_chat_of_images()
    monkeypatch.setattr("telegram_bot.handlers.prompt.can_edit", lambda *_: False)

    say(message("a dog on the moon", reply_to_message=earlier(photo=PHOTO, **{"from": BOT})))

    request = Request.objects.get()
    assert (request.category, request.input_text, request.input_media) == ("IMAGE", "a dog on the moon", [])


def test_what_is_spoken_is_about_nothing_else_so_silence_costs_nothing(fake, say, chain):
    chain(groq=["Hello"])
    fake.files["voice-1"] = opus(2)

    say(message(voice=VOICE, reply_to_message=earlier("Mars is near", **{"from": BEN})))

    assert Request.objects.get().input_text == ""


def test_new_takes_what_its_prompt_is_about(fake, say):
    say(message("/new Translate this", reply_to_message=earlier("Guten Morgen!", **{"from": BEN})))

    assert asked() == "I reply to this message of somebody else:\n> Guten Morgen!\n\nTranslate this"


def test_of_a_quotation_only_the_part_that_was_marked(fake, say):
    replied = earlier("A long text about penguins and seals", **{"from": BOT})

    say(message("Why?", reply_to_message=replied, quote={"text": "penguins", "position": 18, "is_manual": True}))

    assert asked() == "I reply to this part of a message of yours:\n> penguins\n\nWhy?"


def test_a_quotation_of_another_chat_is_read_and_so_is_its_photo(fake, say):
    origin = {"type": "hidden_user", "date": 1_790_000_000, "sender_user_name": "Somebody"}
    fake.files["photo-1"] = png()

    say(
        message(
            "True?", external_reply={"origin": origin, "photo": PHOTO}, quote={"text": "Mars is near", "position": 0}
        )
    )

    assert asked() == "I reply to this part of a message of somebody else:\n> Mars is near\n\nTrue?"
    assert len(Request.objects.get().input_media) == 1


@pytest.mark.parametrize(
    "origin",
    [
        {"type": "user", "sender_user": BEN},
        {"type": "hidden_user", "sender_user_name": "Somebody"},
        {"type": "channel", "chat": {"id": -1009, "type": "channel", "title": "News"}, "message_id": 5},
        {"type": "chat", "sender_chat": {"id": -1008, "type": "supergroup", "title": "A group"}},
    ],
    ids=lambda origin: origin["type"],
)
def test_a_forwarded_message_says_that_it_is_of_somebody_else(fake, say, origin):
    say(message("Mars is near", forward_origin={"date": 1_790_000_000, **origin}))

    assert asked() == "I forward this message of somebody else:\n> Mars is near"


def test_in_a_group_a_mention_alone_asks_about_the_message_that_it_replies_to(fake, say):
    fake.chat(GROUP_ID)

    say(mention("@test_bot", reply_to_message=earlier("What is 6 × 7?", chat_id=GROUP_ID, **{"from": BEN})))

    assert asked() == "I reply to this message of somebody else:\n> What is 6 × 7?"


def test_the_first_message_of_a_topic_is_not_replied_to(fake, say):
    fake.chat(GROUP_ID)
    opening = earlier(chat_id=GROUP_ID, forum_topic_created={"name": "Cats", "icon_color": 1}, **{"from": BEN})

    say(mention("@test_bot Hi", reply_to_message=opening, message_thread_id=5, is_topic_message=True))

    assert asked() == "Hi"


def test_a_reply_to_a_photo_asks_about_it(fake, say):
    fake.files["photo-1"] = png()

    say(message("What is that?", reply_to_message=earlier(photo=PHOTO, caption="Look", **{"from": BEN})))

    request = Request.objects.get()
    assert request.input_text == "I reply to this message of somebody else:\n> Look\n\nWhat is that?"
    assert [media["content_type"] for media in request.input_media] == ["image/png"]


def test_a_reply_to_a_voice_message_is_about_what_was_said(fake, say, chain):
    chain(groq=["Hello"])
    fake.files["voice-1"] = opus(2)

    say(message("Summarise", reply_to_message=earlier(voice=VOICE, **{"from": BEN})))

    request = Request.objects.get()
    assert request.input_text == "Summarise\n\nI reply to this recording of somebody else:"
    assert [media["content_type"] for media in request.input_media] == ["audio/ogg"]


def test_what_is_to_be_drawn_is_described_by_the_words_alone(fake, say):
    make_chat_of_images()

    say(message("Draw this", reply_to_message=earlier("A red fox", **{"from": BEN})))

    assert asked() == "Draw this\n\nA red fox"


def make_chat_of_images() -> None:
    make_chat(42, model=make_model(category="IMAGE"), type="private")


def test_a_mention_without_words_and_without_a_reply_is_asked_for_words(fake, say):
    fake.chat(GROUP_ID)

    assert say(mention("@test_bot")) == "refused: empty"
    assert texts.EMPTY_PROMPT in fake.chat(GROUP_ID).texts


def test_a_part_that_telegram_has_chosen_is_not_what_the_message_is_about(fake, say):
    replied = earlier("Penguins and seals", **{"from": BEN})

    say(message("Why?", reply_to_message=replied, quote={"text": "Penguins", "position": 0}))

    assert asked() == "I reply to this message of somebody else:\n> Penguins and seals\n\nWhy?"


@pytest.mark.parametrize("command", ["", "/new "], ids=["prompt", "new"])
def test_the_photo_that_is_replied_to_comes_along(fake, say, command):
    fake.files["photo-1"] = png()

    say(message(f"{command}What is that?", reply_to_message=earlier(photo=PHOTO, **{"from": BEN})))

    request = Request.objects.get()
    assert (request.input_text, len(request.input_media)) == ("What is that?", 1)


def test_a_photo_that_is_gone_is_said_to_be_unreadable(fake, say):
    say(message("What is that?", reply_to_message=earlier(photo=PHOTO, **{"from": BEN})))

    assert (
        asked() == "I reply to this message of somebody else:\n> (something that cannot be read here)\n\nWhat is that?"
    )


def test_in_a_group_a_mention_alone_below_a_sticker_is_not_paid_for(fake, say):
    fake.chat(GROUP_ID)
    sticker = {"file_id": "s", "file_unique_id": "s", "type": "regular", "width": 8, "height": 8, "is_animated": False}
    replied = earlier(chat_id=GROUP_ID, sticker={**sticker, "is_video": False}, **{"from": BEN})

    assert say(mention("@test_bot", reply_to_message=replied)) == "refused: empty"


def test_in_a_chat_of_images_a_file_that_cannot_be_read_is_not_drawn(fake, say):
    make_chat_of_images()
    document = {"file_id": "d", "file_unique_id": "d", "file_name": "a.zip"}

    say(message("Draw a fox", reply_to_message=earlier(document=document, **{"from": BEN})))

    assert asked() == "Draw a fox"


def test_a_command_that_is_forwarded_is_not_obeyed(fake, say):
    origin = {"type": "user", "date": 1_790_000_000, "sender_user": BEN}

    say(message("/cancel", forward_origin=origin))

    assert asked() == "I forward this message of somebody else:\n> /cancel"


def test_a_long_message_that_is_forwarded_is_whole(fake, say, settings):
    settings.MAX_PROMPT_CHARACTERS = 4500
    origin = {"type": "user", "date": 1_790_000_000, "sender_user": BEN}

    say(message("x" * 4096, forward_origin=origin))

    assert asked().endswith("x" * 4096)


def test_in_a_group_a_reply_to_the_bots_picture_is_about_that(fake, say):
    fake.chat(GROUP_ID)
    fake.files["photo-1"] = png()
    picture = earlier(photo=PHOTO, chat_id=GROUP_ID, **{"from": BOT})

    say(message("What is that?", chat_id=GROUP_ID, reply_to_message=picture))

    request = Request.objects.get()
    assert (request.input_text, len(request.input_media)) == ("What is that?", 1)


def test_in_a_group_a_mention_below_an_answer_of_the_bots_is_about_that(fake, say):
    fake.chat(GROUP_ID)

    say(mention("@test_bot in French", reply_to_message=earlier("Guten Morgen!", chat_id=GROUP_ID, **{"from": BOT})))

    assert asked() == "I reply to this message of yours:\n> Guten Morgen!\n\nin French"


def test_in_a_chat_of_images_the_bots_words_are_drawn_too(fake, say):
    make_chat_of_images()

    say(message("Draw this", reply_to_message=earlier("A red fox", **{"from": BOT})))

    assert asked() == "Draw this\n\nA red fox"


def test_a_photo_says_that_the_recording_that_it_replies_to_cannot_be_heard_with_it(fake, say):
    fake.files["photo-1"] = png()

    say(message(photo=PHOTO, caption="Does it match?", reply_to_message=earlier(voice=VOICE, **{"from": BEN})))

    quoted = "> (something that cannot be read here)"
    assert asked() == f"I reply to this message of somebody else:\n{quoted}\n\nDoes it match?"


class TestAChatOfImagesThatAreChanged:
    @pytest.fixture(autouse=True)
    def editing(self, fake, monkeypatch):
        make_chat_of_images()
        monkeypatch.setattr("telegram_bot.handlers.prompt.can_edit", lambda *_: True)

    def test_a_photo_that_is_gone_is_not_paid_for(self, fake, say):
        outcome = say(message("Make the sky purple", reply_to_message=earlier(photo=PHOTO, **{"from": BEN})))

        assert outcome == "refused: not an image"
        assert fake.chat(42).texts == [texts.IMAGE_UNREADABLE]

    def test_its_caption_is_no_instruction(self, fake, say):
        fake.files["photo-1"] = png()

        say(message("Make the sky purple", reply_to_message=earlier(photo=PHOTO, caption="Rome", **{"from": BEN})))

        assert asked() == "Make the sky purple"


def test_in_a_group_of_images_a_mention_below_a_photo_that_cannot_be_changed_draws_nothing(fake, say, monkeypatch):
    fake.chat(GROUP_ID)
    make_chat(GROUP_ID, model=make_model(category="IMAGE"), type="supergroup")
    monkeypatch.setattr("telegram_bot.handlers.prompt.can_edit", lambda *_: False)

    replied = earlier(photo=PHOTO, caption="Look", chat_id=GROUP_ID, **{"from": BEN})

    assert say(mention("@test_bot", reply_to_message=replied)) == "refused: empty"


def test_the_words_of_somebody_else_are_quoted_whatever_breaks_their_lines(fake, say):
    say(message("True?", reply_to_message=earlier("a\u2028b\rc", **{"from": BEN})))

    assert asked() == "I reply to this message of somebody else:\n> a\n> b\n> c\n\nTrue?"


def test_code_keeps_its_indentation_beside_what_it_is_about(fake, say):
    say(message("    if x:\n        y", reply_to_message=earlier("Look", **{"from": BEN})))

    assert asked().endswith("> Look\n\n    if x:\n        y")


def test_a_recording_leaves_a_long_prompt_within_what_one_may_have(fake, say, settings, chain):
    settings.MAX_PROMPT_CHARACTERS = 500
    chain(groq=["Hello"])
    fake.files["voice-1"] = opus(2)

    assert say(message("x" * 480, reply_to_message=earlier(voice=VOICE, **{"from": BEN}))).startswith("accepted")


def test_in_a_group_nothing_that_is_forwarded_is_meant_for_the_bot(fake, say):
    fake.chat(GROUP_ID)
    origin = {"type": "user", "date": 1_790_000_000, "sender_user": BEN}

    assert say(mention("@test_bot do this", forward_origin=origin)).startswith("ignored")


@pytest.mark.parametrize("origin", [{"type": "user"}, {"type": "hidden_user", "date": 10**20, "sender_user_name": "B"}])
def test_a_forwarded_command_is_not_obeyed_where_nobody_can_tell_whose_it_is(fake, say, origin):
    say(message("/cancel", forward_origin=origin))

    assert asked() == "I forward this message of somebody else:\n> /cancel"


def test_a_reply_to_what_cannot_be_parsed_says_that_it_cannot_be_read(fake, say):
    say(message("True?", reply_to_message={"message_id": 5}))

    assert asked().endswith("> (something that cannot be read here)\n\nTrue?")
