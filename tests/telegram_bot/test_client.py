"""The Bot API client: the translation of errors, and what must never leave it."""

import json
import logging
import os
import socket
import ssl
import threading
import time
import tracemalloc
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
import telegram
from django.core.files.base import ContentFile
from django.core.files.storage import default_storage

from providers.transport import connections
from telegram_bot.api import client as client_module
from telegram_bot.api.client import get_client
from telegram_bot.api.errors import (
    BotApiError,
    CallRefused,
    ChatMoved,
    ChatUnreachable,
    EntitiesRefused,
    MediaForbidden,
    MessageGone,
    NotReached,
    OutcomeUnsure,
    PollingConflict,
    SlowDown,
    ThreadGone,
    TokenRefused,
)
from telegram_bot.content.files import FileMissing, FileUnavailable, StorageFile, StoredFile
from telegram_bot.content.rendering import MessagePart
from tests.fakes import http_server
from tests.fakes.http_server import FakeServer, answer
from tests.fakes.telegram import TOKEN, FakeTelegram, answers, flood, hang_up, late, no_answer, refuse

HELLO = MessagePart("Hello")
SENT = answer({"ok": True, "result": {"message_id": 7}})
CERTIFICATE = Path(__file__).parents[1] / "samples" / "loopback.pem"  # self-signed, with its key; valid until 2126


@pytest.mark.parametrize(
    ("code", "description", "error_class"),
    [
        (400, "Bad Request: message to edit not found", MessageGone),
        (400, "Bad Request: message can't be edited", MessageGone),
        (400, "Bad Request: MESSAGE_ID_INVALID", MessageGone),
        (400, "Bad Request: message thread not found", ThreadGone),
        (400, "Bad Request: TOPIC_CLOSED", ThreadGone),
        (400, "Bad Request: can't parse entities: Can't find end", EntitiesRefused),
        (400, "Bad Request: chat not found", ChatUnreachable),
        (400, "Bad Request: not enough rights to send text messages to the chat", ChatUnreachable),
        (400, "Bad Request: have no rights to send a message", ChatUnreachable),
        (400, "Bad Request: not enough rights to send photos to the chat", MediaForbidden),
        (400, "Bad Request: CHAT_SEND_VIDEOS_FORBIDDEN", MediaForbidden),
        (403, "Forbidden: not enough rights to send videos to the chat", MediaForbidden),
        (400, "Bad Request: SOMETHING_NEW", CallRefused),
        (401, "Unauthorized", TokenRefused),
        (404, "Not Found", TokenRefused),
        (403, "Forbidden: bot was blocked by the user", ChatUnreachable),
        (409, "Conflict: terminated by other getUpdates request", PollingConflict),
        (413, "Request Entity Too Large", CallRefused),
        (429, "Too Many Requests", SlowDown),
        (500, "Internal Server Error", OutcomeUnsure),
        (502, "Bad Gateway", OutcomeUnsure),
    ],
)
def test_each_refusal_is_translated(fake, code, description, error_class):
    fake.will("sendMessage", refuse(code, description))

    with pytest.raises(error_class):
        get_client().send(42, HELLO)


def test_a_429_carries_its_retry_after(fake):
    fake.will("sendMessage", flood(13_938))

    with pytest.raises(SlowDown) as caught:
        get_client().send(42, HELLO)

    assert caught.value.retry_after == 13_938


def test_a_group_that_moved_carries_its_new_id(fake):
    fake.will("sendMessage", refuse(400, "Bad Request: group chat was upgraded", migrate_to_chat_id=-1007))

    with pytest.raises(ChatMoved) as caught:
        get_client().send(42, HELLO)

    assert caught.value.new_chat_id == -1007


def test_an_edit_that_changes_nothing_is_no_error(fake):
    message_id = get_client().send(42, HELLO)

    get_client().edit(42, message_id, HELLO)

    assert fake.chat(42).texts == ["Hello"]


def test_a_call_that_was_not_sent_differs_from_one_that_may_have_arrived(fake, settings, monkeypatch):
    monkeypatch.setattr(client_module, "READ_SECONDS", 0.2)
    fake.will("sendMessage", no_answer)
    with pytest.raises(OutcomeUnsure):
        get_client().send(42, HELLO)

    settings.TELEGRAM_API_BASE_URL = "http://127.0.0.1:9"
    with pytest.raises(NotReached):
        get_client().send(42, HELLO)


def test_it_is_thread_safe(fake):
    sent: list[int] = []
    threads = [threading.Thread(target=lambda: sent.append(get_client().send(42, HELLO))) for _ in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10)

    assert len(set(sent)) == 20


def test_without_a_token_the_error_says_where_to_get_one(settings):
    settings.TELEGRAM_BOT_TOKEN = ""

    with pytest.raises(TokenRefused, match="BotFather"):
        get_client()


@pytest.mark.parametrize(
    "fault",
    [
        refuse(400, f"Bad Request: canary, said {TOKEN}"),
        refuse(401, "Unauthorized"),
        refuse(502, "Bad Gateway"),
        no_answer,
        hang_up,
    ],
)
def test_neither_token_nor_text_is_ever_in_an_error_a_log_or_a_repr(fake, caplog, monkeypatch, fault):
    monkeypatch.setattr(client_module, "READ_SECONDS", 0.2)
    caplog.set_level(logging.INFO)
    fake.will("sendMessage", fault)

    with pytest.raises(BotApiError) as caught:
        get_client().send(42, MessagePart("canary"))

    errors = [caught.value, caught.value.__cause__, caught.value.__context__]
    seen = caplog.text + "".join(f"{error!r} {error}" for error in errors) + repr(get_client())
    assert TOKEN not in seen
    assert "canary" not in seen


@pytest.mark.parametrize("result", ["canary", [], {}, {"ok": True}, {"ok": True, "result": None}, {"result": {"a": 1}}])
def test_a_response_without_a_message_id_leaves_the_outcome_unsure(fake, caplog, result):
    fake.will("sendMessage", answers(result))

    with pytest.raises(OutcomeUnsure):
        get_client().send(42, MessagePart("canary"))

    assert "canary" not in caplog.text


def test_a_response_that_ptb_cannot_parse_still_gives_the_message_id(fake):
    newer = {"message_id": 7, "date": 10**15, "chat": None, "entities": "of another kind"}
    fake.will("sendMessage", answers({"ok": True, "result": newer}))

    assert get_client().send(42, HELLO) == 7


def test_an_executed_edit_needs_no_particular_result(fake):
    message_id = get_client().send(42, HELLO)
    fake.will("editMessageText", answers({"ok": True, "result": None}))

    get_client().edit(42, message_id, MessagePart("Bye"))

    assert fake.chat(42).texts == ["Bye"]


def test_it_calls_the_base_url_of_the_settings(fake):
    assert (get_client().me().id, get_client().me().username) == (4242, "test_bot")


def test_a_bots_id_may_have_more_than_nine_digits(fake):
    fake.will("getMe", answers({"ok": True, "result": {"id": 7_812_345_678, "username": "young_bot"}}))

    assert get_client().me().id == 7_812_345_678


def test_what_is_sent_is_json_with_ptbs_objects_in_it(server):
    server.will(SENT)
    bold = telegram.MessageEntity(telegram.MessageEntity.BOLD, 0, 5)
    keyboard = telegram.InlineKeyboardMarkup([[telegram.InlineKeyboardButton("Text AI", callback_data="model:1")]])

    get_client().send(42, MessagePart("Hello", (bold,)), reply_to=3, keyboard=keyboard)

    (request,) = server.received
    assert request.headers["content-type"] == "application/json"
    assert request.json == {
        "chat_id": 42,
        "text": "Hello",
        "entities": [{"type": "bold", "offset": 0, "length": 5}],
        "reply_parameters": {"message_id": 3, "allow_sending_without_reply": True},
        "reply_markup": {"inline_keyboard": [[{"text": "Text AI", "callback_data": "model:1"}]]},
        "link_preview_options": {"is_disabled": True},
    }


@pytest.mark.parametrize(
    "fields",
    [
        {"type": "bold"},
        {"type": "text_link", "url": "https://example.com/"},
        {"type": "pre", "language": "python"},
        {"type": "custom_emoji", "custom_emoji_id": "5"},
        {"type": "text_mention", "user": telegram.User(7, "Ada", is_bot=False)},
        {"type": "date_time", "unix_time": datetime(2026, 11, 26, tzinfo=UTC)},
    ],
)
def test_every_kind_of_entity_is_sent_as_ptb_writes_it(server, fields):
    server.will(SENT)
    entity = telegram.MessageEntity(offset=0, length=5, **fields)

    get_client().send(42, MessagePart("Hello", (entity,)))

    assert server.received[0].json["entities"] == [entity.to_dict()]


def test_half_an_emoji_is_sent_as_a_question_mark(server):
    server.will(SENT)

    get_client().send(42, MessagePart("Hi \ud83d"))

    assert server.received[0].json["text"] == "Hi ?"


def test_updates_come_as_they_are(fake):
    update = {"update_id": 1, "message": {"location": {"latitude": 52.5, "longitude": 13.4}}}
    fake.push(update)

    (received,) = get_client().updates(None, ["message"])

    assert json.dumps(received) == json.dumps(update)


# --- Connections ---


@pytest.fixture
def server(settings) -> Iterator[FakeServer]:
    """A server that follows a script byte by byte, in the Bot API's place."""
    scripted = FakeServer()
    settings.TELEGRAM_BOT_TOKEN, settings.TELEGRAM_API_BASE_URL = TOKEN, f"{scripted.url}/behind/a/path"
    yield scripted
    client_module.close_client()
    scripted.close()


def test_a_connection_is_used_again_and_the_path_of_the_base_url_is_kept(server):
    server.will(answer({"ok": False, "description": "Bad Request: X"}, 400), SENT)

    with pytest.raises(CallRefused):
        get_client().send(42, HELLO)
    get_client().send(42, HELLO)

    assert [request.connection for request in server.received] == [1, 1]
    assert {request.path for request in server.received} == {f"/behind/a/path/bot{TOKEN}/sendMessage"}


def test_a_forked_process_gets_connections_of_its_own(server):
    server.will(SENT)
    get_client().send(42, HELLO)

    child = os.fork()
    if not child:
        os._exit(0 if get_client().send(42, HELLO) == 7 else 1)
    _, status = os.waitpid(child, 0)
    get_client().send(42, HELLO)

    assert status == 0
    assert [request.connection for request in server.received] == [1, 2, 1]


def test_a_closed_client_is_replaced(server):
    server.will(SENT)
    get_client().send(42, HELLO)

    client_module.close_client()
    get_client().send(42, HELLO)

    assert [request.connection for request in server.received] == [1, 2]


@pytest.mark.parametrize(
    "step",
    [
        http_server.hang_after(b"HTTP/1.1 200 OK\r\n"),
        http_server.drip(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n" + b" " * 1000, seconds=0.05),
    ],
)
def test_a_call_ends_at_its_deadline_however_slowly_bytes_come(server, monkeypatch, step):
    monkeypatch.setattr(client_module, "CALL_SECONDS", 0.3)
    server.will(step)

    began = time.monotonic()
    with pytest.raises(OutcomeUnsure):
        get_client().send(42, HELLO)

    assert time.monotonic() - began < 5


@pytest.mark.parametrize("status", [301, 302, 307, 308])
def test_a_redirect_is_not_followed_and_nothing_was_executed(server, status):
    server.will(answer(b"", status, Location=f"{server.url}/elsewhere"))

    with pytest.raises(NotReached, match="base URL"):
        get_client().send(42, HELLO)

    assert len(server.received) == 1


@pytest.mark.parametrize(
    "step", [http_server.endless, http_server.half_body, http_server.reset, http_server.raw(b"\0")]
)
def test_a_response_that_is_none_leaves_the_outcome_unsure(server, step, monkeypatch):
    monkeypatch.setattr(client_module, "READ_SECONDS", 0.5)
    server.will(step)

    with pytest.raises(OutcomeUnsure):
        get_client().send(42, HELLO)

    assert len(server.received) == 1


@pytest.fixture
def secure_url(settings) -> Iterator[None]:
    """A server with TLS in the Bot API's place; its certificate is signed by nobody else."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(CERTIFICATE)
    secure = FakeTelegram()
    secure.wrap_tls(context)
    settings.TELEGRAM_BOT_TOKEN, settings.TELEGRAM_API_BASE_URL = TOKEN, secure.url
    client_module.load_certificates.cache_clear()
    yield
    client_module.close_client()
    client_module.load_certificates.cache_clear()
    secure.close()


def test_a_certificate_that_nobody_has_signed_is_refused_and_nothing_is_sent(secure_url):
    with pytest.raises(NotReached, match="SSLCertVerificationError"):
        get_client().me()


def test_certificates_of_the_operators_own_are_trusted(secure_url, monkeypatch):
    monkeypatch.setenv("SSL_CERT_FILE", str(CERTIFICATE))

    assert get_client().me().username == "test_bot"


# --- Files ---

PHOTO = b"\x89PNG" + bytes(100)


@pytest.fixture
def stored(tmp_path, settings) -> Callable[..., StoredFile]:
    """Store a file: `stored(content)` returns it as a message shows it."""
    storage = {"BACKEND": "django.core.files.storage.FileSystemStorage", "OPTIONS": {"location": tmp_path}}
    settings.STORAGES = {**settings.STORAGES, "default": storage}

    def store(content: bytes, content_type: str = "image/png") -> StoredFile:
        name = default_storage.save(f"answer.{content_type.partition('/')[2]}", ContentFile(content))
        return StoredFile(name, content_type, len(content))

    return store


@pytest.mark.parametrize(
    ("content_type", "method", "kind"),
    [
        ("image/png", "sendPhoto", "photo"),
        ("video/mp4", "sendVideo", "video"),
        ("audio/mpeg", "sendAudio", "audio"),
        ("application/pdf", "sendDocument", "document"),
    ],
)
def test_a_file_is_uploaded_once_and_sent_again_by_its_file_id(fake, stored, content_type, method, kind):
    file = stored(PHOTO, content_type)

    sent = get_client().send_media(42, file, thread_id=5, reply_to=3)
    again = get_client().send_media(42, with_id(file, sent.file_id))

    assert [message.file for message in fake.chat(42).messages] == [PHOTO, PHOTO]
    assert [message.id for message in fake.chat(42).messages] == [sent.message_id, again.message_id]
    first, second = fake.called(method)
    assert first.parameters["reply_parameters"]["message_id"] == 3
    assert first.parameters["message_thread_id"] == 5
    assert second.parameters[kind] == sent.file_id
    assert "files" not in second.parameters


def with_id(file: StoredFile, file_id: str) -> StoredFile:
    return StoredFile(file.name, file.content_type, file.size, file_id=file_id)


def test_an_edit_uploads_once_too_and_repeating_it_is_no_error(fake, stored):
    file = stored(PHOTO)
    message_id = get_client().send(42, HELLO)

    file_id = get_client().edit_media(42, message_id, file)
    fake.will("editMessageMedia", refuse(400, "Bad Request: message is not modified: …"))
    again = get_client().edit_media(42, message_id, with_id(file, file_id))

    assert again == file_id
    assert [("files" in call.parameters) for call in fake.called("editMessageMedia")] == [True, False]
    assert fake.chat(42).messages[0].file == PHOTO


def test_of_a_photo_the_largest_size_is_kept(fake, stored):
    sizes = [{"file_id": "large", "width": 800}, {"file_id": "small", "width": 90}, {"file_id": "odd"}, "no size"]
    fake.will("sendPhoto", answers({"ok": True, "result": {"message_id": 7, "photo": sizes}}))

    assert get_client().send_media(42, stored(PHOTO)).file_id == "large"


def test_a_video_without_sound_comes_back_as_an_animation(fake, stored):
    result = {"message_id": 7, "animation": {"file_id": "gif"}, "document": {"file_id": "gif"}}
    fake.will("sendVideo", answers({"ok": True, "result": result}))

    assert get_client().send_media(42, stored(PHOTO, "video/mp4")).file_id == "gif"


def test_a_response_without_a_file_id_costs_an_upload_more(fake, stored):
    fake.will("sendPhoto", answers({"ok": True, "result": {"message_id": 7}}))

    assert get_client().send_media(42, stored(PHOTO)).file_id == ""


def test_the_answer_to_an_upload_may_take_as_long_as_the_upload(fake, stored, monkeypatch):
    monkeypatch.setattr(client_module, "READ_SECONDS", 0.1)
    fake.will("sendVideo", late(0.5))

    get_client().send_media(42, stored(PHOTO, "video/mp4"))

    assert len(fake.called("sendVideo")) == 1


def test_an_upload_on_a_slow_line_takes_the_time_it_needs(settings, stored, monkeypatch):
    for module in (client_module, connections):
        monkeypatch.setattr(module, "CONNECT_SECONDS", 0.2)
    content = bytes(8 * 1024 * 1024)  # more than fits into the buffers of the connection
    with socket.create_server(("127.0.0.1", 0)) as listener:
        threading.Thread(target=receive_slowly, args=(listener,), daemon=True).start()
        settings.TELEGRAM_BOT_TOKEN = TOKEN
        settings.TELEGRAM_API_BASE_URL = f"http://127.0.0.1:{listener.getsockname()[1]}"

        assert get_client().send_media(42, stored(content, "video/mp4")).message_id == 7


def receive_slowly(listener: socket.socket) -> None:
    sock, _ = listener.accept()
    with sock, sock.makefile("rb") as reader:
        head = list(iter(reader.readline, b"\r\n"))
        time.sleep(0.6)  # the line stands still for longer than a connection may take
        reader.read(next(int(line[15:]) for line in head if line.lower().startswith(b"content-length:")))
        body = b'{"ok": true, "result": {"message_id": 7}}'
        sock.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body))


def test_an_upload_never_holds_the_whole_file_in_memory(settings, stored):
    file = stored(bytes(32 * 1024 * 1024), "video/mp4")
    with socket.create_server(("127.0.0.1", 0)) as listener:
        child = os.fork()  # what the server holds in memory does not count
        if not child:
            receive_slowly(listener)
            os._exit(0)
        settings.TELEGRAM_BOT_TOKEN = TOKEN
        settings.TELEGRAM_API_BASE_URL = f"http://127.0.0.1:{listener.getsockname()[1]}"
        client = get_client()
        tracemalloc.start()
        client.send_media(42, file)
        _, peak_bytes = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        os.waitpid(child, 0)

    assert peak_bytes < 4 * 1024 * 1024


def test_a_file_that_is_gone_raises_the_storages_error_and_calls_nobody(fake, stored):
    file = stored(PHOTO)
    default_storage.delete(file.name)

    with pytest.raises(FileMissing):
        get_client().send_media(42, file)

    assert not fake.called("sendPhoto")


def test_a_file_that_cannot_be_read_to_its_end_is_not_sent(fake, stored, monkeypatch):
    monkeypatch.setattr(StorageFile, "size", 200_000)
    with pytest.raises(FileUnavailable):
        get_client().send_media(42, stored(bytes(70_000), "video/mp4"))

    assert not fake.called("sendVideo")


def test_a_download_returns_the_file(fake):
    fake.files["spoken word"] = b"OggS"

    assert get_client().download("spoken word") == b"OggS"


def test_a_download_that_is_larger_than_telegram_allows_is_not_read_to_its_end(fake, monkeypatch):
    monkeypatch.setattr(client_module, "MAX_DOWNLOAD_BYTES", 1000)
    fake.files["big"] = bytes(1001)

    with pytest.raises(CallRefused, match="too large"):
        get_client().download("big")


def test_a_file_that_telegram_has_no_more_does_not_question_the_token(fake):
    fake.files["old"] = b"OggS"
    fake.will("getFile", answers({"ok": True, "result": {"file_path": "gone"}}))

    with pytest.raises(CallRefused):
        get_client().download("old")
