"""Pictures, films and sounds in the chat: shown in place of the placeholder, and taken in as prompts."""

import io

import pytest
from PIL import Image

from providers.models import ProviderConfig
from providers.storage import store_output
from providers.types import Category, Feature
from requests_app.models import Request
from requests_app.services.cancellation import request_cancel
from requests_app.services.execution import request_advance
from telegram_bot import texts
from telegram_bot.delivery.backend import request_deliver
from telegram_bot.models import Delivery
from tests.factories import make_request
from tests.fakes.telegram import no_answer, refuse
from tests.telegram_bot.updates import message

pytestmark = pytest.mark.django_db


def picture(size: int = 8) -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (size, size), "teal").save(buffer, "PNG")
    return buffer.getvalue()


FILM = b"\x00\x00\x00\x18ftypisom" + bytes(100)
SOUND = b"ID3\x04" + bytes(100)


@pytest.fixture
def shown(fake):
    """A request with this output, and its placeholder in chat 42."""

    def make(category: Category, content: bytes) -> Request:
        stored = store_output(category=category, content=content, key=f"attempt-{category}")
        request = make_request(
            status="COMPLETED", actual_provider="replicate", completed_at="2026-11-23T00:00:00Z",
            output_media=[stored.as_dict()], output_url="/media/x", category=category,
        )  # fmt: skip
        update = message("A cat")
        placeholder = fake.execute("sendMessage", {"chat_id": update["message"]["chat"]["id"], "text": "⏳"})
        Delivery.objects.create(
            request=request, part=0, kind="RESULT", state="PENDING", chat_id=42, message_id=placeholder["message_id"]
        )
        return request

    return make


@pytest.mark.parametrize(
    ("category", "content", "kind"),
    [
        (Category.IMAGE, picture(), "photo"),
        (Category.VIDEO, FILM, "video"),
        (Category.AUDIO, SOUND, "audio"),
    ],
)
def test_the_placeholder_becomes_the_file(fake, shown, category, content, kind):
    request_deliver(request_id=shown(category, content).id)

    (only,) = fake.chat(42).messages
    assert (only.kind, only.file) == (kind, content)
    assert Delivery.objects.get().state == "DELIVERED"


def test_showing_it_again_uploads_nothing(fake, shown):
    request = shown(Category.IMAGE, picture())

    request_deliver(request_id=request.id)
    request_deliver(request_id=request.id)

    assert len(fake.called("editMessageMedia")) == 1


def test_after_an_unsure_upload_it_is_edited_again_and_shown_once(fake, shown):
    request = shown(Category.IMAGE, picture())
    fake.will("editMessageMedia", no_answer)

    request_deliver(request_id=request.id)
    Delivery.objects.update(next_at=None)
    request_deliver(request_id=request.id)

    assert [message.kind for message in fake.chat(42).messages] == ["photo"]
    assert Delivery.objects.get().state == "DELIVERED"


def test_what_telegram_does_not_take_as_a_picture_comes_as_a_file(fake, shown):
    request = shown(Category.IMAGE, picture())
    fake.will("editMessageMedia", refuse(400, "Bad Request: PHOTO_INVALID_DIMENSIONS"))

    request_deliver(request_id=request.id)

    assert fake.chat(42).messages[0].kind == "document"


def test_a_deleted_placeholder_gets_its_user_one_new_message(fake, shown):
    request = shown(Category.VIDEO, FILM)
    fake.chat(42).messages.clear()

    request_deliver(request_id=request.id)
    request_deliver(request_id=request.id)

    assert [message.kind for message in fake.chat(42).messages] == ["video"]


class TestAPictureInThePrompt:
    def sent(self, fake, content: bytes, **fields) -> dict:
        fake.files["big"] = content
        sizes = [
            {"file_id": name, "file_unique_id": name, "width": width, "height": width}
            for name, width in (("small", 90), ("big", 800))
        ]
        return message(photo=sizes, **fields)

    def test_it_goes_to_the_chain_with_the_words_under_it(self, fake, say, chain):
        script = chain(aimlapi=["A teal square."])

        outcome = say(self.sent(fake, picture(), caption="What colour is it?"))
        request_advance(request_id=outcome.removeprefix("accepted as "))

        (prompt,) = script.prompts
        assert prompt.text == "What colour is it?"
        assert [(item.content_type, item.content) for item in prompt.attachments] == [("image/png", picture())]
        assert fake.chat(42).texts == ["A teal square."]

    def test_without_words_it_is_described(self, fake, say, chain):
        chain(aimlapi=["A square."])

        say(self.sent(fake, picture()))

        assert Request.objects.get().input_text == texts.ABOUT_AN_IMAGE

    def test_what_is_no_picture_is_refused_and_not_kept(self, fake, say, chain):
        chain(aimlapi=["never asked"])

        assert say(self.sent(fake, b"MZ\x90")) == "refused: not a picture"

        assert not Request.objects.exists()

    def test_of_an_album_the_first_picture_is_answered(self, fake, say, chain):
        chain(aimlapi=["One."])

        say(self.sent(fake, picture(), media_group_id="g"))
        assert say(self.sent(fake, picture(), media_group_id="g")).startswith("ignored")

        assert Request.objects.count() == 1


class TestARecordingInThePrompt:
    SOUND = b"OggS" + bytes(60)

    @pytest.fixture
    def listener(self, chain):
        """Let OpenRouter's row have a model that listens."""
        script = chain(openrouter=["Good morning to you, too."])
        script.features = frozenset(Feature)
        ProviderConfig.objects.filter(provider="openrouter").update(capabilities={"audio_input": True})
        return script

    def sent(self, fake, content: bytes, **fields) -> dict:
        fake.files["spoken"] = content
        voice = {"file_id": "spoken", "file_unique_id": "spoken", "duration": 2, "mime_type": "audio/ogg"}
        return message(voice=voice, **fields)

    def test_a_voice_message_is_answered(self, fake, say, listener):
        outcome = say(self.sent(fake, self.SOUND))
        request_advance(request_id=outcome.removeprefix("accepted as "))

        (prompt,) = listener.prompts
        assert prompt.text == texts.ABOUT_A_VOICE_MESSAGE
        assert [(item.content_type, item.content) for item in prompt.attachments] == [("audio/ogg", self.SOUND)]
        assert fake.chat(42).texts == ["Good morning to you, too."]

    def test_where_nobody_listens_it_is_said_at_once_and_costs_nothing(self, fake, say, chain):
        chain(openrouter=["never asked"]).features = frozenset(Feature)

        assert say(self.sent(fake, self.SOUND)) == "refused: nobody listens"

        assert fake.chat(42).texts == [texts.UNSUPPORTED]
        assert not Request.objects.exists()

    def test_what_is_no_sound_is_refused_and_not_kept(self, fake, say, listener):
        assert say(self.sent(fake, b"MZ\x90")) == "refused: not a recording"

        assert not Request.objects.exists()


class TestCancel:
    def test_it_stops_what_was_asked_for_last_and_gives_the_credits_back(self, fake, say, chain):
        chain(aimlapi=["never asked"])
        say(message("A long story"))
        request = Request.objects.get()
        held = request.user.balance

        say(message("/cancel"))

        request.refresh_from_db()
        request.user.refresh_from_db()
        assert request.status == "CANCELLED"
        assert request.user.balance == held + 1
        assert texts.CANCELLING in fake.chat(42).texts

    def test_without_anything_open_it_says_so(self, fake, say, chain):
        chain(aimlapi=[])

        say(message("/cancel"))

        assert fake.chat(42).texts == [texts.NOTHING_TO_CANCEL]

    def test_the_request_of_somebody_else_is_left_alone(self, fake, say, chain):
        chain(aimlapi=[])
        say(message("A long story"))
        other = {"id": 43, "is_bot": False, "first_name": "Bob"}

        say(message("/cancel", **{"from": other}))

        assert Request.objects.get().status == "PENDING"

    def test_a_second_cancel_changes_nothing(self, fake, say, chain):
        chain(aimlapi=[])
        say(message("A long story"))
        request = Request.objects.get()

        assert request_cancel(request_id=request.id, actor="test")
        assert not request_cancel(request_id=request.id, actor="test")
