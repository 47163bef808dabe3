"""Images, videos and audio in the chat: as answers in place of the placeholder, and as parts of prompts."""

import io

import pytest
from PIL import Image

from providers.models import Attempt, ProviderConfig
from providers.storage import store_output
from providers.types import Category, Feature
from requests_app.models import AIModel, Request
from requests_app.selectors import LISTEN
from requests_app.services.cancellation import request_cancel
from requests_app.services.execution import request_advance
from telegram_bot import texts
from telegram_bot.api import client
from telegram_bot.delivery.backend import request_deliver
from telegram_bot.models import Delivery, TelegramChat
from tests.factories import make_chat, make_request
from tests.fakes.audio import opus
from tests.fakes.telegram import no_answer, refuse
from tests.telegram_bot.updates import message

pytestmark = pytest.mark.django_db


def png(size: int = 8) -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (size, size), "teal").save(buffer, "PNG")
    return buffer.getvalue()


VIDEO = b"\x00\x00\x00\x18ftypisom" + bytes(100)
AUDIO = b"ID3\x04" + bytes(100)


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
            request=request,
            part=0,
            kind="RESULT",
            state="PENDING",
            chat=make_chat(42),
            message_id=placeholder["message_id"],
        )
        return request

    return make


@pytest.mark.parametrize(
    ("category", "content", "kind"),
    [
        (Category.IMAGE, png(), "photo"),
        (Category.VIDEO, VIDEO, "video"),
        (Category.AUDIO, AUDIO, "audio"),
    ],
)
def test_the_placeholder_becomes_the_file(fake, shown, category, content, kind):
    request_deliver(request_id=shown(category, content).id)

    (only,) = fake.chat(42).messages
    assert (only.kind, only.file) == (kind, content)
    assert Delivery.objects.get().state == "DELIVERED"


def test_delivering_it_again_uploads_nothing(fake, shown):
    request = shown(Category.IMAGE, png())

    request_deliver(request_id=request.id)
    request_deliver(request_id=request.id)

    assert len(fake.called("editMessageMedia")) == 1


def test_after_an_unconfirmed_upload_it_is_edited_again_and_shown_once(fake, shown, monkeypatch):
    monkeypatch.setattr(client, "UPLOAD_SECONDS", 2)
    request = shown(Category.IMAGE, png())
    fake.will("editMessageMedia", no_answer)

    request_deliver(request_id=request.id)
    Delivery.objects.update(next_at=None)
    request_deliver(request_id=request.id)

    assert [message.kind for message in fake.chat(42).messages] == ["photo"]
    assert Delivery.objects.get().state == "DELIVERED"


def test_an_image_that_telegram_refuses_is_sent_as_a_document(fake, shown):
    request = shown(Category.IMAGE, png())
    fake.will("editMessageMedia", refuse(400, "Bad Request: PHOTO_INVALID_DIMENSIONS"))

    request_deliver(request_id=request.id)

    assert fake.chat(42).messages[0].kind == "document"


def test_a_deleted_placeholder_gets_its_user_one_new_message(fake, shown):
    request = shown(Category.VIDEO, VIDEO)
    fake.chat(42).messages.clear()

    request_deliver(request_id=request.id)
    request_deliver(request_id=request.id)

    assert [message.kind for message in fake.chat(42).messages] == ["video"]


class TestAnImageInThePrompt:
    def sent(self, fake, content: bytes, **fields) -> dict:
        fake.files["big"] = content
        sizes = [
            {"file_id": name, "file_unique_id": name, "width": width, "height": width}
            for name, width in (("small", 90), ("big", 800))
        ]
        return message(photo=sizes, **fields)

    def test_it_is_sent_to_the_chain_with_its_caption(self, fake, say, chain):
        script = chain(aimlapi=["A teal square."])

        outcome = say(self.sent(fake, png(), caption="What colour is it?"))
        request_advance(request_id=outcome.removeprefix("accepted as "))

        (prompt,) = script.prompts
        assert prompt.text == "What colour is it?"
        assert [(item.content_type, item.content) for item in prompt.attachments] == [("image/png", png())]
        assert fake.chat(42).texts == ["A teal square."]

    def test_without_a_caption_it_is_described(self, fake, say, chain):
        chain(aimlapi=["A square."])

        say(self.sent(fake, png()))

        assert Request.objects.get().input_text == texts.DEFAULT_IMAGE_PROMPT

    def test_with_an_ai_model_of_images_it_is_changed_as_its_caption_says(self, fake, say, sandboxed, settings):
        chosen = AIModel.objects.get(slug="image-ai")
        settings.WELCOME_CREDITS = 20
        say(message("/start"))
        TelegramChat.objects.update(model=chosen)

        outcome = say(self.sent(fake, png(), caption="Make it winter"))
        request_advance(request_id=outcome.removeprefix("accepted as "))

        request = Request.objects.get()
        assert (request.model, request.status, request.credits) == (chosen, "COMPLETED", 8)
        assert Attempt.objects.get().operation == "edit"
        assert fake.chat(42).messages[-1].kind == "photo"

    def test_where_no_route_can_change_it_it_is_described(self, fake, say, sandboxed):
        say(message("/start"))
        TelegramChat.objects.update(model=AIModel.objects.get(slug="image-ai"))
        # Switched on for a model of which nobody knows how it takes images.
        ProviderConfig.objects.filter(category="IMAGE").exclude(name="replicate").update(enabled=False)
        ProviderConfig.objects.filter(category="IMAGE").update(capabilities={"image_input": True})

        say(self.sent(fake, png(), caption="Make it winter"))

        assert Request.objects.get().category == Category.TEXT

    def test_without_a_caption_even_then_it_is_described(self, fake, say, sandboxed):
        say(message("/start"))
        TelegramChat.objects.update(model=AIModel.objects.get(slug="image-ai"))

        say(self.sent(fake, png()))

        assert Request.objects.get().category == Category.TEXT

    def test_what_is_not_an_image_is_refused_and_not_stored(self, fake, say, chain):
        chain(aimlapi=["never called"])

        assert say(self.sent(fake, b"MZ\x90")) == "refused: not an image"

        assert not Request.objects.exists()


class TestAVoiceMessageInThePrompt:
    VOICE = opus(2)

    @pytest.fixture
    def audio_route(self, chain):
        """The script of a route that takes audio."""
        script = chain(openrouter=["Good morning to you, too."])
        script.features = frozenset(Feature)
        ProviderConfig.objects.filter(provider="openrouter").update(capabilities={"audio_input": True})
        return script

    def sent(self, fake, content: bytes, **fields) -> dict:
        fake.files["spoken"] = content
        voice = {"file_id": "spoken", "file_unique_id": "spoken", "duration": 2, "mime_type": "audio/ogg"}
        return message(voice=voice, **fields)

    def test_a_voice_message_is_answered(self, fake, say, audio_route):
        outcome = say(self.sent(fake, self.VOICE))
        request_advance(request_id=outcome.removeprefix("accepted as "))

        (prompt,) = audio_route.prompts
        assert prompt.text == LISTEN
        assert [(item.content_type, item.content) for item in prompt.attachments] == [("audio/ogg", self.VOICE)]
        assert fake.chat(42).texts == ["Good morning to you, too."]

    def test_without_a_route_for_audio_it_is_refused_at_once_and_costs_nothing(self, fake, say, chain):
        chain(openrouter=["never called"]).features = frozenset(Feature)

        assert say(self.sent(fake, self.VOICE)) == "refused: no route takes audio"

        assert fake.chat(42).texts == [texts.UNSUPPORTED]
        assert not Request.objects.exists()

    def test_what_is_not_audio_is_refused_and_not_stored(self, fake, say, audio_route):
        assert say(self.sent(fake, b"MZ\x90")) == "refused: not an audio file"

        assert not Request.objects.exists()


class TestCancel:
    def test_it_cancels_the_newest_request_and_releases_the_credits(self, fake, say, chain):
        chain(aimlapi=["never called"])
        say(message("A long story"))
        request = Request.objects.get()
        held = request.user.balance

        say(message("/cancel"))

        request.refresh_from_db()
        request.user.refresh_from_db()
        assert request.status == "CANCELLED"
        assert request.user.balance == held + 1
        assert texts.CANCELLED in fake.chat(42).texts

    def test_without_anything_open_it_says_so(self, fake, say, chain):
        chain(aimlapi=[])

        say(message("/cancel"))

        assert fake.chat(42).texts == [texts.NOTHING_TO_CANCEL]

    def test_another_users_request_is_left_alone(self, fake, say, chain):
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
