"""The ladder of a delivery: whatever Telegram or the storage refuses, it ends, in words and without a charge."""

import io
import threading
from datetime import timedelta

import pytest
from django.core.files.base import ContentFile
from django.core.files.storage import default_storage
from django.utils import timezone
from PIL import Image

from providers.storage import store_output
from providers.types import Category
from requests_app import tasks
from requests_app.models import Account, LedgerEntry, Request
from requests_app.services.credits import credits_capture
from requests_app.services.intake import request_accept
from telegram_bot import texts
from telegram_bot.api import client
from telegram_bot.chats import chat_set_reachable
from telegram_bot.content import files
from telegram_bot.delivery import backend
from telegram_bot.delivery.backend import request_deliver
from telegram_bot.models import Delivery, TelegramChat
from telegram_bot.sweeper import sweep_telegram
from tests.factories import make_account, make_chat, make_model
from tests.fakes.telegram import Hold, flood, no_answer, refuse

pytestmark = pytest.mark.django_db

VIDEO = b"\x00\x00\x00\x18ftypisom" + bytes(100)
UNKNOWN = refuse(400, "Bad Request: SOMETHING_NEW")
NO_PHOTOS = refuse(400, "Bad Request: not enough rights to send photos to the chat")
NO_DOCUMENTS = refuse(400, "Bad Request: not enough rights to send documents to the chat")
PRICE = 5


def png() -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (8, 8), "teal").save(buffer, "PNG")
    return buffer.getvalue()


@pytest.fixture(autouse=True)
def _short_timeout(monkeypatch, enqueued):
    monkeypatch.setattr(client, "READ_SECONDS", 0.4)


@pytest.fixture
def answered(fake):
    """Make a charged answer whose placeholder is in chat 42: a text, or a file of this category."""

    def make(text: str = "", *, category: Category = Category.TEXT, content: bytes = b"", **fields) -> Delivery:
        make_chat(42, type="private")
        if content:
            stored = store_output(category=category, content=content, key=f"attempt-{category}")
            fields |= {"output_media": [stored.as_dict()], "output_url": "/media/x"}
        model = make_model(category=category, token_cost=PRICE)
        request = request_accept(
            intake_key="k", account=make_account(credits=20), model=model, text="Hi", wakes_worker=False
        )
        credits_capture(request=request)
        Request.objects.filter(id=request.id).update(
            status="COMPLETED", actual_provider="replicate", completed_at=timezone.now(), output_text=text, **fields
        )
        message_id = fake.execute("sendMessage", {"chat_id": 42, "text": texts.PLACEHOLDER})["message_id"]
        return Delivery.objects.create(
            request_id=request.id, part=0, kind="RESULT", state="PENDING", chat=make_chat(42), message_id=message_id
        )

    return make


def deliver(delivery: Delivery, *, times: int = 1) -> None:
    """Deliver so often, each time when it is due again."""
    for _ in range(times):
        Delivery.objects.filter(next_at__isnull=False).update(next_at=timezone.now() - timedelta(seconds=1))
        request_deliver(request_id=delivery.request_id)
    delivery.refresh_from_db()


def balance() -> int:
    return Account.objects.get().balance


def assert_words_and_credits_back(fake, delivery: Delivery, words: str) -> None:
    assert fake.chat(42).texts == [f"{words}\n\nYour 5 credits are back."]
    assert (delivery.state, balance()) == ("UNDELIVERABLE", 20)
    assert LedgerEntry.objects.filter(kind="REFUND").count() == 1
    calls = len(fake.calls)
    deliver(delivery, times=2)
    sweep_telegram()
    assert len(fake.calls) == calls, "it has ended"


class TestARefusedText:
    def test_without_its_formatting_it_is_shown_where_that_is_refused_for_an_unknown_reason(self, fake, answered):
        delivery = answered("It is **four**.")
        fake.will("editMessageText", UNKNOWN)

        deliver(delivery)

        (shown,) = fake.chat(42).messages
        assert (shown.text, shown.entities, delivery.state) == ("It is four.", [], "DELIVERED")

    def test_a_new_message_replaces_a_placeholder_that_cannot_be_edited(self, fake, answered):
        delivery = answered("It is **four**.")
        fake.will("editMessageText", UNKNOWN, UNKNOWN)

        deliver(delivery, times=2)

        (shown,) = fake.chat(42).messages
        assert (shown.id, shown.text) == (delivery.message_id, "It is four.")
        assert shown.entities
        assert (delivery.state, balance()) == ("DELIVERED", 15)

    def test_a_document_shows_what_no_message_may(self, fake, answered):
        delivery = answered("Four.")
        fake.will("editMessageText", UNKNOWN)
        fake.will("sendMessage", UNKNOWN)

        deliver(delivery)

        (shown,) = fake.chat(42).messages
        assert (shown.kind, shown.file) == ("document", b"Four.")
        assert (delivery.state, balance()) == ("DELIVERED", 15)

    def test_where_nothing_can_be_shown_words_say_so_and_the_credits_go_back(self, fake, answered):
        delivery = answered("Four.")
        fake.will("editMessageText", UNKNOWN)
        fake.will("sendMessage", UNKNOWN)
        fake.will("sendDocument", UNKNOWN)

        deliver(delivery)

        assert delivery.given_up == "REFUSED"
        assert_words_and_credits_back(fake, delivery, texts.NOT_SHOWN_OTHERWISE)

    def test_where_even_the_words_are_refused_it_ends_and_the_credits_go_back(self, fake, answered):
        delivery = answered("Four.")
        for method in ("editMessageText", "sendMessage", "sendDocument"):
            fake.will(method, *[UNKNOWN] * 9)

        deliver(delivery, times=3)

        assert (delivery.state, balance()) == ("UNDELIVERABLE", 20)
        assert len(fake.called("editMessageText")) == 2

    def test_its_further_parts_are_not_sent_without_it(self, fake, answered):
        delivery = answered("First." + "A line of a long answer.\n" * 300)
        fake.will("editMessageText", UNKNOWN)
        fake.will("sendMessage", UNKNOWN)
        fake.will("sendDocument", UNKNOWN)

        deliver(delivery, times=2)
        sweep_telegram()

        assert {row.state for row in Delivery.objects.all()} == {"UNDELIVERABLE"}
        assert len(fake.chat(42).messages) == 1

    def test_a_further_part_that_is_refused_becomes_a_document_and_the_next_one_follows(self, fake, answered):
        delivery = answered("A line of a long answer.\n" * 400)
        fake.will("sendMessage", UNKNOWN)

        deliver(delivery)

        assert [message.kind for message in fake.chat(42).messages] == ["text", "document", "text"]
        assert {row.state for row in Delivery.objects.all()} == {"DELIVERED"}

    def test_a_further_part_that_cannot_be_shown_is_named_and_costs_as_before(self, fake, answered):
        delivery = answered("A line of a long answer.\n" * 400)
        fake.will("sendMessage", UNKNOWN)
        fake.will("sendDocument", UNKNOWN)

        deliver(delivery, times=2)

        assert fake.chat(42).texts[1] == texts.PART_NOT_SHOWN
        assert [row.state for row in Delivery.objects.order_by("part")] == ["DELIVERED", "UNDELIVERABLE", "DELIVERED"]
        assert balance() == 15

    def test_a_step_that_was_refused_is_not_tried_again_after_a_pause(self, fake, answered):
        delivery = answered("Four.")
        fake.will("editMessageText", UNKNOWN)
        fake.will("sendMessage", flood(5))

        deliver(delivery)
        assert (delivery.state, delivery.method) == ("PENDING", 2)
        deliver(delivery)

        assert len(fake.called("editMessageText")) == 1
        assert fake.chat(42).texts == ["Four."]

    def test_a_shown_answer_whose_repeated_edit_is_refused_stays(self, fake, answered):
        delivery = answered("Four.")
        deliver(delivery)
        fake.will("editMessageText", UNKNOWN)

        deliver(delivery)

        assert (delivery.state, fake.chat(42).texts, balance()) == ("DELIVERED", ["Four."], 15)

    def test_an_answer_without_anything_visible_costs_nothing(self, fake, answered):
        delivery = answered("\u200b")

        deliver(delivery)

        assert_words_and_credits_back(fake, delivery, texts.EMPTY_ANSWER)

    def test_an_answer_that_cannot_be_converted_is_sent_as_a_document(self, fake, answered, monkeypatch, caplog):
        monkeypatch.setattr(backend, "message_parts", lambda text: {}[text])
        delivery = answered("A canary.")

        deliver(delivery)

        (shown,) = fake.chat(42).messages
        assert (shown.kind, shown.file) == ("document", b"A canary.")
        assert "canary" not in caplog.text

    def test_a_new_message_without_a_confirmation_leaves_no_placeholder_behind(self, fake, answered):
        delivery = answered("Four.")
        fake.will("editMessageText", UNKNOWN)
        fake.will("sendMessage", no_answer)

        deliver(delivery, times=2)

        assert (delivery.state, fake.chat(42).texts) == ("UNCERTAIN", ["Four."])


class TestAFile:
    def test_a_group_without_photos_gets_a_document_and_stays_reachable(self, fake, answered):
        delivery = answered(category=Category.IMAGE, content=png())
        fake.will("editMessageMedia", NO_PHOTOS)

        deliver(delivery)

        assert fake.chat(42).messages[0].kind == "document"
        assert TelegramChat.objects.get().is_reachable

    def test_a_group_without_files_is_told_so_and_pays_nothing(self, fake, answered):
        delivery = answered(category=Category.IMAGE, content=png())
        fake.will("editMessageMedia", NO_PHOTOS, NO_DOCUMENTS)
        fake.will("sendPhoto", refuse(403, "Forbidden: CHAT_SEND_PHOTOS_FORBIDDEN"))
        fake.will("sendDocument", refuse(400, "Bad Request: CHAT_SEND_DOCS_FORBIDDEN"))

        deliver(delivery)

        assert TelegramChat.objects.get().is_reachable
        assert_words_and_credits_back(fake, delivery, texts.NOT_SHOWN["FORBIDDEN"])

    def test_one_that_is_too_large_is_named_and_costs_nothing(self, fake, answered, monkeypatch):
        monkeypatch.setattr(backend, "MAX_BYTES", 10)
        delivery = answered(category=Category.VIDEO, content=VIDEO)

        deliver(delivery)

        assert_words_and_credits_back(fake, delivery, texts.NOT_SHOWN["TOO_LARGE"])

    def test_one_that_is_not_on_this_machines_disk_is_looked_for_and_then_given_up(
        self, fake, answered, caplog, enqueued
    ):
        delivery = answered(category=Category.IMAGE, content=png())
        default_storage.delete(delivery.request.output_media[0]["name"])

        deliver(delivery)
        assert (delivery.state, delivery.tries) == ("PENDING", 1)
        assert delivery.next_at > timezone.now() + timedelta(seconds=1), "a pause, not every sweep"
        assert not sweep_telegram()
        deliver(delivery, times=5)

        assert "Traceback" not in caplog.text
        assert "File" not in caplog.text.replace("FILE_LOST", "")
        assert_words_and_credits_back(fake, delivery, texts.NOT_SHOWN["FILE_LOST"])

    def test_one_that_is_there_again_is_shown(self, fake, answered):
        delivery = answered(category=Category.IMAGE, content=png())
        name = delivery.request.output_media[0]["name"]
        default_storage.delete(name)
        deliver(delivery)

        default_storage.save(name, ContentFile(png()))
        deliver(delivery)

        assert (delivery.state, balance()) == ("DELIVERED", 15)

    def test_a_bucket_that_refuses_is_tried_for_a_while_and_then_given_up(self, fake, bucket, answered, settings):
        delivery = answered(category=Category.IMAGE, content=png())
        bucket.is_forbidden = True

        deliver(delivery)
        assert delivery.state == "PENDING"
        assert "storage" in delivery.error
        deliver(delivery, times=11)

        assert_words_and_credits_back(fake, delivery, texts.NOT_SHOWN["FILE_LOST"])

    def test_an_upload_that_was_confirmed_is_repeated_by_its_id(self, fake, answered):
        delivery = answered(category=Category.IMAGE, content=png())
        deliver(delivery)
        assert (delivery.file_id, delivery.file_kind) == (f"photo-{delivery.message_id}", "photo")

        Delivery.objects.update(state="PENDING", delivered_at=None)
        fake.chat(42).messages.clear()
        deliver(delivery)

        assert len(fake.uploads) == 1
        assert [message.file for message in fake.chat(42).messages] == [png()]

    def test_an_id_that_telegram_has_forgotten_is_replaced_by_an_upload(self, fake, answered):
        delivery = answered(category=Category.IMAGE, content=png())
        Delivery.objects.update(file_id="photo-1", file_kind="photo")

        deliver(delivery)

        (shown,) = fake.chat(42).messages
        assert (shown.kind, delivery.state) == ("photo", "DELIVERED")

    @pytest.mark.django_db(transaction=True)
    def test_while_it_is_uploaded_nobody_else_uploads_it(self, fake, answered, monkeypatch):
        monkeypatch.setattr(client, "READ_SECONDS", 5)
        delivery = answered(category=Category.VIDEO, content=VIDEO)
        Delivery.objects.update(created_at=timezone.now() - timedelta(minutes=5))
        hold = Hold()
        fake.will("editMessageMedia", hold)
        uploader = threading.Thread(target=tasks.deliver, args=(delivery.request_id,))
        uploader.start()
        assert hold.arrived.wait(5)

        delivery.refresh_from_db()
        claim_seconds = (delivery.next_at - timezone.now()).total_seconds()
        for _ in range(10):
            assert sweep_telegram() == 0
            request_deliver(request_id=delivery.request_id)
        hold.go()
        uploader.join(10)

        assert claim_seconds > client.UPLOAD_SECONDS
        assert len(fake.uploads) == 1
        assert Delivery.objects.get().state == "DELIVERED"


class TestAnEndWithoutTelegram:
    @pytest.mark.parametrize("tries", [1, 300])
    def test_what_cannot_be_reached_for_a_day_costs_nothing(self, fake, answered, settings, tries):
        delivery = answered("Four.")
        Delivery.objects.update(tries=tries - 1)
        settings.TELEGRAM_API_BASE_URL = "http://127.0.0.1:9"

        deliver(delivery)

        assert (delivery.given_up, balance()) == (("NOT_SHOWN", 20) if tries == 300 else ("", 15))
        settings.TELEGRAM_API_BASE_URL = fake.url
        deliver(delivery)
        expected = f"{texts.NOT_SHOWN_OTHERWISE}\n\nYour 5 credits are back." if tries == 300 else "Four."
        assert fake.chat(42).texts == [expected]

    @pytest.mark.parametrize(("days", "is_read", "credits"), [(8, False, 20), (8, True, 15), (1, False, 15)])
    def test_a_chat_that_comes_back_after_a_week_has_paid_for_what_it_read_only(
        self, fake, answered, days, is_read, credits
    ):
        delivery = answered("Four.")
        Delivery.objects.update(shown_at=timezone.now() if is_read else None)
        fake.chat(42).is_blocked = True
        deliver(delivery)
        Delivery.objects.update(created_at=timezone.now() - timedelta(days=days))

        fake.chat(42).is_blocked = False
        chat_set_reachable(chat_id=make_chat(42).pk, is_reachable=True)
        deliver(delivery)

        assert balance() == credits
        assert delivery.state == ("DELIVERED" if days == 1 else "UNDELIVERABLE")


class TestABug:
    @pytest.fixture
    def broken(self, answered, monkeypatch, request) -> Delivery:
        delivery = answered("Four.")
        secret = "can" + "ary"

        def fail(*_, **__):
            raise KeyError(secret)

        monkeypatch.setattr(request.param, fail)
        return delivery

    @pytest.mark.parametrize(
        "broken",
        ["telegram_bot.api.client.TelegramClient.edit", "telegram_bot.delivery.backend._further_deliveries"],
        indirect=True,
    )
    def test_it_is_tried_again_with_pauses_and_ends_with_the_credits_back(self, fake, broken, monkeypatch, caplog):
        deliver(broken)
        assert broken.next_at > timezone.now() + timedelta(seconds=1)
        assert (broken.state, broken.tries) == ("PENDING", 1)

        deliver(broken, times=5)
        assert (broken.given_up, balance()) == ("BROKEN", 20)

        monkeypatch.undo()
        deliver(broken)
        assert fake.chat(42).texts == [f"{texts.NOT_SHOWN_OTHERWISE}\n\nYour 5 credits are back."]
        assert "canary" not in caplog.text


def test_a_file_that_the_storage_does_not_give_says_so_without_its_name():
    error = files.FileMissing()

    assert str(error) == "The storage of this machine has no such file."
