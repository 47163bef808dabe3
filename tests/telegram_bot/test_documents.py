"""Files that people send: text in any encoding, images and recordings sent as files, and what none can read."""

import pytest

from providers.models import ProviderConfig
from providers.types import Feature
from requests_app.models import Request
from telegram_bot import texts
from telegram_bot.content.documents import text_of
from tests.factories import make_chat, make_model
from tests.fakes.audio import opus
from tests.fakes.telegram import refuse
from tests.telegram_bot.test_media import png
from tests.telegram_bot.updates import message

JAPANESE, CHINESE = "日本語のテキスト。", "中文文本内容。"
RUSSIAN = "Широкая электрификация южных губерний даст мощный толчок подъёму сельского хозяйства. " * 5


@pytest.mark.parametrize(
    ("content", "text"),
    [
        ("Grüße 🐧".encode(), "Grüße 🐧"),
        ("Grüße".encode("utf-8-sig"), "Grüße"),
        ("Grüße 🐧".encode("utf-16"), "Grüße 🐧"),
        ("Grüße 🐧".encode("utf-32"), "Grüße 🐧"),
        (RUSSIAN.encode("cp1251"), RUSSIAN),
        ("Привет, мир".encode("cp1251"), "Привет, мир"),
        (RUSSIAN.encode("koi8-r"), RUSSIAN),
        ("Müller, Jörg".encode("cp1252"), "Müller, Jörg"),
        (("A naïve café, déjà vu – “so”.\n" * 20).encode("cp1252"), "A naïve café, déjà vu – “so”.\n" * 20),
        (b"a" + (JAPANESE * 99).encode("shift-jis"), "a" + JAPANESE * 99),
        ((CHINESE * 99).encode("gbk"), CHINESE * 99),
        (("Größe, 日本語\n" * 20).encode() + b"\xff", "Größe, 日本語\n" * 20 + "\ufffd"),
        (b"a,b\r\n1,2\r\n", "a,b\n1,2\n"),
        (b"def f():\n\treturn 1\n\x0c", "def f():\n\treturn 1\n\x0c"),
        (b"\x1b[31mERROR\x1b[0m no disk", "ERROR no disk"),
        (b"", ""),
    ],
    ids=[
        *("utf-8", "with a mark", "utf-16", "utf-32", "cp1251", "a little of it", "koi8-r", "a name", "cp1252"),
        *("shift-jis", "gbk", "a broken byte", "line ends of Windows", "code", "colours", "nothing"),
    ],
)
def test_a_text_is_read_in_its_encoding(content, text):
    assert text_of(content, limit=10_000) == text


@pytest.mark.parametrize(
    "content",
    [
        b"PK\x03\x04\x00\x00",
        b"%PDF-1.7\x00\x01",
        bytes(range(1, 32)) * 10,
        "a\x01\x02\x03".encode("utf-16"),
        "a\x00".encode("utf-32"),
        bytes(each * 37 % 255 + 1 for each in range(3000)),
    ],
    ids=["zip", "pdf", "controls", "controls in utf-16", "nul in utf-32", "noise"],
)
def test_what_is_no_text_is_not_read(content):
    assert text_of(content, limit=10_000) is None


def test_of_a_long_text_no_more_is_read_than_is_used():
    text = text_of("🐧".encode() * 1000 + b"\xff", limit=10)

    assert text == "🐧" * 10


def test_a_character_that_is_cut_is_left_out():
    text = text_of("a🐧".encode() * 100, limit=2)

    assert text == "a🐧a"


@pytest.mark.django_db
class TestInTheChat:
    @pytest.fixture
    def sent(self, fake, say):
        """Send a file and return what came of it."""

        def send(content: bytes | None, name: str | None = "notes.txt", **fields) -> str:
            if content is not None:
                fake.files["file"] = content
            document = {"file_id": "file", "file_unique_id": "file", **({"file_name": name} if name else {})}
            return say(message(document=document | fields.pop("about", {}), **fields))

        return send

    def asked(self) -> str:
        return Request.objects.get().input_text

    def test_a_text_file_is_asked_about_with_its_caption(self, fake, sent):
        assert sent(b"Buy milk", caption="Translate this").startswith("accepted")

        assert self.asked() == "Translate this\n\nThe file “notes.txt”:\n\nBuy milk"

    def test_without_a_caption_it_is_described(self, fake, sent):
        sent(b"Buy milk", name=None)

        assert self.asked() == f"{texts.DEFAULT_FILE_PROMPT}\n\nThe file:\n\nBuy milk"

    def test_its_name_cannot_break_out_of_its_line(self, fake, sent):
        sent(b"Buy milk", name="a\n\u202eexe.txt" + "x" * 200, caption="Hi")

        assert self.asked().splitlines()[2] == f"The file “aexe.txt{'x' * 72}”:"

    def test_of_a_long_file_the_model_is_told_that_it_is_cut(self, fake, sent, settings):
        settings.MAX_PROMPT_CHARACTERS = 1000

        assert sent(b"x" * 5000, caption="Summarise").startswith("accepted")

        assert len(self.asked()) == 1000
        assert self.asked().startswith("Summarise\n\nThe file “notes.txt”, of which only the beginning is here:\n\nxxx")

    def test_in_a_chat_of_images_it_is_answered_in_words(self, fake, sent):
        make_model()
        make_chat(42, model=make_model(category="IMAGE"), type="private")

        sent(b"Buy milk")

        assert Request.objects.get().category == "TEXT"

    @pytest.mark.parametrize("content", [b"PK\x03\x04\x00\x00", b" \n"], ids=["zip", "blank"])
    def test_what_cannot_be_read_is_said_and_costs_nothing(self, fake, sent, content):
        assert sent(content) == "refused: not a text file"

        assert fake.chat(42).texts == [texts.FILE_UNREADABLE]
        assert not Request.objects.exists()

    def test_one_that_telegram_does_not_give_is_not_asked_for(self, fake, sent):
        assert sent(b"x", about={"file_size": 30_000_000}) == "refused: a file that is too large"

        assert fake.chat(42).texts == [texts.FILE_NOT_GIVEN]
        assert not fake.called("getFile")

    def test_one_that_telegram_refuses_is_not_asked_about(self, fake, sent):
        fake.will("getFile", refuse(400, "Bad Request: file is too big"))

        assert sent(b"x") == "refused: a file that Telegram does not give"

    def test_of_several_each_is_asked_about(self, fake, sent):
        sent(b"One", media_group_id="g")
        assert sent(b"Two", media_group_id="g") == ""  # until the first is answered

    def test_one_that_is_forwarded_is_read(self, fake, sent):
        origin = {"type": "hidden_user", "date": 1, "sender_user_name": "Ben"}

        sent(b"Buy milk", caption="What is wrong here?", forward_origin=origin)

        assert self.asked() == "What is wrong here?\n\nThe file “notes.txt”:\n\nBuy milk"

    def test_what_a_cut_file_is_about_stays(self, fake, sent, settings):
        settings.MAX_PROMPT_CHARACTERS = 1000
        replied = message("The requirements", **{"from": {"id": 77, "is_bot": False, "first_name": "Ben"}})["message"]

        sent(b"x" * 5000, caption="Does it meet them?", reply_to_message=replied)

        assert "> The requirements" in self.asked()
        assert len(self.asked()) <= 1000

    def test_the_picture_that_it_replies_to_is_said_to_be_missing(self, fake, sent):
        photo = [{"file_id": "photo", "file_unique_id": "u", "width": 8, "height": 8}]
        replied = message(photo=photo, **{"from": {"id": 77, "is_bot": False, "first_name": "Ben"}})["message"]

        sent(b"Buy milk", caption="Does it match?", reply_to_message=replied)

        assert "> (something that cannot be read here)" in self.asked()

    def test_an_image_that_lies_about_its_type_is_seen(self, fake, sent):
        sent(png(), name="table.csv", caption="What is that?", about={"mime_type": "text/csv"})

        request = Request.objects.get()
        assert (request.input_text, request.input_media[0]["content_type"]) == ("What is that?", "image/png")

    def test_a_recording_is_heard(self, fake, sent, chain):
        script = chain(openrouter=["Hello"])
        script.features = frozenset(Feature)
        ProviderConfig.objects.filter(provider="openrouter").update(capabilities={"audio_input": True})

        sent(opus(2), name="memo.ogg")

        assert Request.objects.get().input_media[0]["content_type"] == "audio/ogg"
