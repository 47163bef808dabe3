"""What belongs together is one prompt: a paste that the app has cut into several messages, and an album."""

from datetime import timedelta

import pytest
from django.utils import timezone

from requests_app.models import Request
from requests_app.services.execution import request_advance
from telegram_bot import texts
from telegram_bot.due_work import chats_due
from telegram_bot.handlers.parts import PAUSE_SECONDS
from telegram_bot.handlers.waiting import MAX_WAITING
from telegram_bot.models import TelegramUpdate
from telegram_bot.updates.ingest import update_ingest
from telegram_bot.updates.queue import MAX_TRIES, queue_drain
from tests.factories import make_account, make_chat, make_model, make_user
from tests.fakes.telegram import flood, no_answer, refuse
from tests.telegram_bot.rows import asked
from tests.telegram_bot.test_media import png
from tests.telegram_bot.updates import GROUP_ID, mention, message

pytestmark = pytest.mark.django_db

FULL = "x" * 4096
LINE = "y" * 3000


def pause(seconds: float = PAUSE_SECONDS) -> None:
    """Let so many seconds pass for what waits, and have it handled."""
    past = timedelta(seconds=seconds)
    for update in TelegramUpdate.objects.filter(handled_at=None):
        times = {"received_at": update.received_at - past, "next_at": update.next_at and update.next_at - past}
        TelegramUpdate.objects.filter(pk=update.pk).update(**times)
    queue_drain(chat_id=make_chat(42).pk)


def outcomes() -> list[str]:
    return list(TelegramUpdate.objects.order_by("update_id").values_list("outcome", flat=True))


class TestAPaste:
    @pytest.fixture(autouse=True)
    def answers(self, chain):
        chain(aimlapi=["a", "b", "c"])

    def test_of_three_messages_is_one_prompt(self, fake, say):
        for text in (LINE, LINE, "the end"):
            assert say(message(text)) == ""

        pause()

        assert asked() == [f"{LINE}\n{LINE}\nthe end"]
        first = TelegramUpdate.objects.order_by("update_id")[0]
        assert outcomes()[1:] == [f"a part of what row {first.pk} asks"] * 2
        assert fake.chat(42).texts == [texts.PLACEHOLDER]

    def test_that_was_cut_within_a_word_is_joined_there(self, fake, say):
        for text in (FULL, "rest"):
            say(message(text))

        pause()

        assert asked() == [f"{FULL}rest"]

    def test_is_measured_as_telegram_does(self, fake, say):
        for text in ("🐧" * 2048, "rest"):
            say(message(text))

        pause()

        assert asked() == [f"{'🐧' * 2048}rest"]

    def test_is_looked_at_again_by_itself(self, fake, say):
        say(message(LINE))
        chat = make_chat(42)
        assert chats_due(10, timedelta(0)) == []

        TelegramUpdate.objects.update(next_at=timezone.now() - timedelta(seconds=1))
        assert chats_due(10, timedelta(0)) == [chat.pk]

    def test_waits_for_the_part_after_its_newest_one(self, fake, say):
        say(message(LINE))
        old = timezone.now() - timedelta(seconds=PAUSE_SECONDS)
        TelegramUpdate.objects.update(received_at=old, next_at=old)
        say(message(LINE))
        assert asked() == []

        say(message("the end"))
        pause()
        assert asked() == [f"{LINE}\n{LINE}\nthe end"]

    def test_that_comes_after_an_outage_is_one_prompt_and_what_follows_it_another(self, fake, say):
        paste, later = [message(LINE), message("the end")], message("And?")
        later["message"]["date"] += 60
        for update in (*paste, later):
            update_ingest(update)
        TelegramUpdate.objects.update(received_at=timezone.now() - timedelta(seconds=90))

        queue_drain(chat_id=make_chat(42).pk)

        assert asked() == [f"{LINE}\nthe end"]
        request_advance(request_id=Request.objects.get().id)
        queue_drain(chat_id=make_chat(42).pk)
        assert asked() == [f"{LINE}\nthe end", "And?"]

    @pytest.mark.parametrize(
        "fields",
        [
            {"text": "/help"},
            {"text": "Yes", "reply_to_message": message("Tea?")["message"]},
            {"text": "News", "forward_origin": {"type": "hidden_user", "date": 1, "sender_user_name": "B"}},
        ],
        ids=["command", "reply", "forward"],
    )
    def test_ends_before_what_stands_for_itself(self, fake, say, fields):
        say(message(LINE))
        say(message(**fields))

        pause()

        assert asked() == [LINE]

    def test_does_not_take_a_message_that_follows_a_short_one(self, fake, say):
        for text in (LINE, "the end", "And?"):
            say(message(text))

        pause()

        assert asked() == [f"{LINE}\nthe end"]

    def test_that_is_too_long_is_refused_once(self, fake, say, settings):
        settings.MAX_PROMPT_CHARACTERS = 5000
        for text in (LINE, LINE, "the end"):
            say(message(text))

        pause()

        assert asked() == []
        assert len(fake.chat(42).texts) == 1
        assert not TelegramUpdate.objects.filter(handled_at=None).exists()

    def test_that_nobody_can_pay_is_refused_once(self, fake, say):
        make_user(42, account=make_account(credits=0))
        for text in (LINE, "the end"):
            say(message(text))

        pause()

        assert fake.chat(42).texts == [texts.NO_CREDITS]
        assert not TelegramUpdate.objects.filter(handled_at=None).exists()

    def test_whose_refusal_is_not_sent_is_refused_as_a_whole_later(self, fake, say, settings):
        settings.MAX_PROMPT_CHARACTERS = 5000
        fake.will("sendMessage", flood(5))
        for text in (LINE, LINE):
            say(message(text))

        pause()
        pause(10)

        assert asked() == []
        assert len(fake.chat(42).texts) == 1

    def test_that_was_accepted_by_a_worker_that_died_takes_nothing_that_came_later(self, fake, say, monkeypatch):
        def dies(**_):
            raise RuntimeError

        monkeypatch.setattr("telegram_bot.handlers.prompt.placeholder_send", dies)  # after the commit
        for text in (LINE, LINE):
            say(message(text))
        pause()
        assert asked() == [f"{LINE}\n{LINE}"]
        monkeypatch.undo()
        say(message("And?"))
        TelegramUpdate.objects.filter(tries__gt=0).update(next_at=timezone.now())

        queue_drain(chat_id=make_chat(42).pk)
        request_advance(request_id=Request.objects.get().id)
        queue_drain(chat_id=make_chat(42).pk)

        assert asked() == [f"{LINE}\n{LINE}", "And?"]

    def test_alone_that_was_accepted_by_a_worker_that_died_takes_nothing_either(self, fake, say, monkeypatch):
        def dies(**_):
            raise RuntimeError

        monkeypatch.setattr("telegram_bot.handlers.prompt.placeholder_send", dies)
        say(message(LINE))
        pause()
        assert asked() == [LINE]
        monkeypatch.undo()
        say(message("And?"))

        pause(100)
        request_advance(request_id=Request.objects.get().id)
        pause(100)

        assert asked() == [LINE, "And?"]

    def test_after_new_is_the_first_prompt_of_the_new_conversation(self, fake, say):
        say(message(f"/new {LINE}"))
        say(message("the end"))

        pause()

        assert asked() == [f"{LINE}\nthe end"]
        assert Request.objects.get().conversation.endswith(":2")

    def test_stays_in_the_conversation_in_which_it_began(self, fake, say):
        say(message(LINE))
        say(message("/new"))
        say(message("Hi"))

        pause()

        assert [request.conversation[-1] for request in Request.objects.order_by("created_at")] == ["1", "2"]

    @pytest.mark.parametrize("failure", [no_answer, flood(100), refuse(403, "Forbidden: bot was blocked by the user")])
    def test_whose_refusal_cannot_be_shown_is_not_asked_in_pieces(self, fake, say, settings, failure):
        settings.MAX_PROMPT_CHARACTERS = 5000
        fake.will("sendMessage", failure)
        for text in (LINE, LINE, "the end"):
            say(message(text))

        pause()
        pause(100)

        assert asked() == []

    def test_that_is_given_up_is_not_asked_in_pieces(self, fake, say, monkeypatch):
        def dies(**_):
            raise RuntimeError

        for text in (LINE, LINE, "the end"):
            say(message(text))
        with monkeypatch.context() as patch:
            patch.setattr("telegram_bot.handlers.prompt.request_accept", dies)
            for _ in range(MAX_TRIES):
                pause(100)

        pause(100)

        assert outcomes()[0] == "given up: RuntimeError"
        assert asked() == []

    def test_whose_worker_dies_before_it_is_accepted_is_whole_afterwards(self, fake, say, monkeypatch):
        def dies(**_):
            raise RuntimeError

        monkeypatch.setattr("telegram_bot.handlers.prompt.request_accept", dies)
        for text in (LINE, "the end"):
            say(message(text))
        pause()
        monkeypatch.undo()
        say(message("And?"))

        pause(100)

        assert asked() == [f"{LINE}\nthe end"]

    def test_is_in_the_order_in_which_it_was_sent(self, fake, say):
        first, second = message(LINE), message(LINE.replace("y", "z"))
        for update in (second, first):
            say(update)

        pause()

        assert asked() == [f"{LINE}\n{LINE.replace('y', 'z')}"]

    def test_after_new_that_was_cut_within_a_word_is_joined_there(self, fake, say):
        say(message(f"/new {'x' * 4091}"))
        say(message("rest"))

        pause()

        assert asked() == ["x" * 4091 + "rest"]

    def test_ends_before_what_cannot_be_read(self, fake, say):
        update_ingest(message(LINE))
        broken = message("the end")
        broken["message"]["date"] = "x"
        update_ingest(broken)

        pause()

        assert asked() == [LINE]

    def test_in_a_group_is_not_waited_for(self, fake, say):
        fake.chat(GROUP_ID)

        assert say(mention(f"@test_bot {LINE}")).startswith("accepted")


class TestAnAlbum:
    @pytest.fixture
    def picture(self, fake):
        """Return an update with a picture of the album."""

        def make(name: str, content: bytes | None, **fields):
            if content is not None:
                fake.files[name] = content
            photo = [{"file_id": name, "file_unique_id": name, "width": 8, "height": 8}]
            return message(photo=photo, media_group_id="g", **fields)

        return make

    def test_is_one_prompt_with_all_of_its_pictures(self, fake, say, chain, picture):
        script = chain(aimlapi=["Two cats."])
        for update in (picture("1", png()), picture("2", png(9), caption="Which is older?"), picture("3", png(10))):
            assert say(update) == ""

        pause()

        request = Request.objects.get()
        assert (request.input_text, len(request.input_media)) == ("Which is older?", 3)
        request_advance(request_id=request.id)
        (prompt,) = script.prompts
        assert [image.content for image in prompt.attachments] == [png(), png(9), png(10)]
        assert fake.chat(42).texts == ["Two cats."]

    def test_without_a_word_is_described(self, fake, say, chain, picture):
        chain(aimlapi=["Cats."])
        say(picture("1", png()))
        say(picture("2", png()))

        pause()

        assert asked() == [texts.DEFAULT_IMAGES_PROMPT]

    def test_with_a_broken_picture_is_answered_without_it(self, fake, say, chain, picture):
        chain(aimlapi=["Cats."])
        for update in (picture("1", b"MZ"), picture("2", png(), caption="Look"), picture("3", None)):
            say(update)

        pause()

        request = Request.objects.get()
        assert (request.input_text, len(request.input_media)) == (f"Look\n\n{texts.MISSING_IMAGES}", 1)

    def test_of_broken_pictures_alone_is_refused_once(self, fake, say, chain, picture):
        chain(aimlapi=["never called"])
        say(picture("1", b"MZ"))
        say(picture("2", b"MZ"))

        pause()

        assert fake.chat(42).texts == [texts.IMAGE_UNREADABLE]
        assert not Request.objects.exists()

    def test_a_picture_that_comes_when_it_is_answered_is_left_out(self, fake, say, chain, picture):
        chain(aimlapi=["Cats."])
        say(picture("1", png()))
        pause()

        assert say(picture("2", png())).startswith("ignored")

    def test_leaves_what_is_said_after_it_for_later(self, fake, say, chain, picture):
        chain(aimlapi=["Cats.", "b"])
        say(picture("1", png()))
        say(message("And?"))
        say(picture("2", png()))

        pause()

        assert [len(request.input_media) for request in Request.objects.all()] == [2]
        request_advance(request_id=Request.objects.get().id)
        pause()
        assert asked()[1:] == ["And?"]

    def test_is_changed_as_its_caption_says(self, fake, say, picture, monkeypatch):
        model = make_model(category="IMAGE")
        make_chat(42, model=model, type="private")
        make_user(42, account=make_account(credits=model.token_cost * 10))
        monkeypatch.setattr("telegram_bot.handlers.prompt.can_edit", lambda *_: True)
        say(picture("1", png(), caption="Both in one"))
        say(picture("2", png()))

        pause()

        request = Request.objects.get()
        assert (request.category, request.input_text, len(request.input_media)) == ("IMAGE", "Both in one", 2)

    def test_has_its_pictures_whatever_is_among_them(self, fake, say, chain, picture):
        chain(aimlapi=["Cats."])
        video = {"file_id": "v", "file_unique_id": "v", "width": 8, "height": 8, "duration": 1}
        say(picture("1", png()))
        assert say(message(video=video, media_group_id="g")).startswith("ignored")
        say(picture("2", png(), caption="Which?"))

        pause()

        request = Request.objects.get()
        assert (request.input_text, len(request.input_media)) == ("Which?", 2)

    def test_that_begins_with_a_video_has_its_pictures(self, fake, say, chain, picture):
        chain(aimlapi=["Cats."])
        video = {"file_id": "v", "file_unique_id": "v", "width": 8, "height": 8, "duration": 1}
        say(message(video=video, media_group_id="g"))
        say(picture("1", png()))
        say(picture("2", png()))

        pause()

        assert len(Request.objects.get().input_media) == 2

    def test_that_is_forwarded_is_whole(self, fake, say, chain, picture):
        chain(aimlapi=["Cats."])
        origin = {"type": "hidden_user", "date": 1, "sender_user_name": "Ben"}
        say(picture("1", png(), forward_origin=origin))
        say(picture("2", png(), caption="Look", forward_origin=origin))

        pause()

        request = Request.objects.get()
        expected = "I forward this message of somebody else:\n> Look"
        assert (request.input_text, len(request.input_media)) == (expected, 2)

    def test_of_which_one_cannot_be_read_is_not_changed(self, fake, say, picture, monkeypatch):
        make_chat(42, model=make_model(category="IMAGE"), type="private")
        monkeypatch.setattr("telegram_bot.handlers.prompt.can_edit", lambda *_: True)
        say(picture("1", b"MZ", caption="Both in one"))
        say(picture("2", png()))

        pause()

        assert fake.chat(42).texts == [texts.IMAGE_UNREADABLE]
        assert not Request.objects.exists()

    def test_that_was_accepted_by_a_worker_that_died_is_not_refused(self, fake, say, chain, picture, monkeypatch):
        def dies(**_):
            raise RuntimeError

        chain(aimlapi=["Cats."])
        monkeypatch.setattr("telegram_bot.handlers.prompt.placeholder_send", dies)
        say(picture("1", b"MZ"))
        say(picture("2", png()))
        pause()
        monkeypatch.undo()
        assert len(asked()) == 1

        pause(100)

        assert texts.IMAGE_UNREADABLE not in fake.chat(42).texts
        assert outcomes()[0].startswith("accepted")

    @pytest.mark.parametrize("waiting", [MAX_WAITING - 1, MAX_WAITING], ids=["the last that may", "one too many"])
    def test_is_not_torn_where_many_wait(self, fake, say, chain, picture, waiting):
        chain(aimlapi=["a"])
        for number in range(1 + waiting):
            say(message(str(number)))

        album = [say(picture(str(number), png())) for number in range(3)]

        assert album == [""] * 3 if waiting < MAX_WAITING else album[0] == "refused: too many wait"
        assert len({outcome[:7] for outcome in album[1:]}) == 1


def test_a_picture_that_is_answered_in_words_waits_in_a_chat_of_images_without_a_loop(fake, say, chain):
    chain(aimlapi=["a", "b"])
    make_chat(42, model=make_model(category="IMAGE"), type="private")
    fake.files["photo"] = png()
    photo = [{"file_id": "photo", "file_unique_id": "u", "width": 8, "height": 8}]
    say(message(photo=photo))

    assert say(message(photo=photo)) == ""

    assert len(fake.called("getFile")) == 2
    request_advance(request_id=Request.objects.get().id)
    queue_drain(chat_id=make_chat(42).pk)
    assert Request.objects.count() == 2
