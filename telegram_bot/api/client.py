"""Calls to the Bot API over pooled connections, and what their errors mean. Nothing here opens the database.

PTB has the types of what is sent and received; its own client is not used, since each call of it costs several times
as much and all of them would share one event loop, which starves under load. Thread-safe; a fork makes its own client.
"""

import atexit
import http.client
import json
import os
import ssl
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache
from typing import Any
from urllib.parse import quote

import certifi
import telegram
import urllib3
from django.conf import settings

from providers.db import give_back_connection
from providers.transport.connections import GuardedHTTPPool, GuardedHTTPSPool, guarded_call
from providers.transport.deadlines import Deadline, GuardedCall
from providers.transport.json_fields import count_at, get_path, list_at, load_json, text_at
from providers.transport.redaction import Redactor
from providers.types import Category, Prompt
from telegram_bot.api.errors import (
    BotApiError,
    CallRefused,
    ChatMoved,
    ChatUnreachable,
    EntitiesRefused,
    MediaForbidden,
    MessageGone,
    NotModified,
    NotReached,
    OutcomeUnsure,
    PollingConflict,
    SlowDown,
    ThreadGone,
    TokenRefused,
)
from telegram_bot.api.multipart import MultipartForm
from telegram_bot.content.files import StoredFile, TextFile
from telegram_bot.content.mentions import without_mentions
from telegram_bot.content.rendering import MessagePart

KEPT_CONNECTIONS = 64  # between calls; more calls than that may be under way, their connections are closed afterwards
CONNECT_SECONDS = 4
READ_SECONDS = 8  # how long Telegram may take for a response
CALL_SECONDS = 10  # total deadline of a call
# Total deadline of an upload or download: 50 MB on a slow line. After an upload Telegram may be silent for as long as
# is left: it looks at the file first, and one that was uploaded in vain is uploaded again.
UPLOAD_SECONDS = 120
POLL_SECONDS = 30  # how long Telegram holds a long poll open while there are no updates
DEFAULT_PAUSE_SECONDS = 5.0  # after a 429 that names none
MAX_RESPONSE_BYTES = 8 * 1024 * 1024  # a hundred updates of a poll have about one
MAX_DOWNLOAD_BYTES = 20 * 1024 * 1024  # Telegram serves no larger files to bots
MAX_DESCRIPTION_CHARACTERS = 150
MAX_TIMESTAMP = 2**32  # in the year 2106

# "CHAT_SEND_PHOTOS_FORBIDDEN" and "not enough rights to send photos to the chat": text may be allowed there.
MEDIA_FORBIDDEN = [
    words.format(kind)
    for kind in ("media", "photos", "videos", "audios", "music", "docs", "documents", "gifs", "animations")
    for words in ("send_{}_forbidden", "rights to send {} ")
]
# Telegram has no codes for these, only descriptions. They were read in tdlib/telegram-bot-api (Client.cpp, 2026-05) and
# have not changed for years; one that is not listed here is a CallRefused.
ERRORS_BY_DESCRIPTION: list[tuple[str, type[BotApiError]]] = [
    ("message is not modified", NotModified),
    ("message to edit not found", MessageGone),
    ("message can't be edited", MessageGone),
    ("message_id_invalid", MessageGone),
    ("thread not found", ThreadGone),
    ("topic_closed", ThreadGone),
    ("topic_deleted", ThreadGone),
    ("entit", EntitiesRefused),  # "can't parse entities", "entity … is invalid"
    *((words, MediaForbidden) for words in MEDIA_FORBIDDEN),
    ("chat not found", ChatUnreachable),
    ("peer_id_invalid", ChatUnreachable),
    ("user is deactivated", ChatUnreachable),
    ("not enough rights", ChatUnreachable),
    ("no rights to send", ChatUnreachable),
    ("chat_write_forbidden", ChatUnreachable),
    ("chat_restricted", ChatUnreachable),
]
ERRORS_BY_STATUS: dict[int, type[BotApiError]] = {
    401: TokenRefused,
    403: ChatUnreachable,
    404: TokenRefused,
    409: PollingConflict,
}
# Everything by which urllib3 and what lies below it say that a call has failed.
BROKEN = (urllib3.exceptions.HTTPError, http.client.HTTPException, OSError, ValueError)

HEADERS = {"Accept-Encoding": "identity", "User-Agent": "aibot"}
JSON_HEADERS = {**HEADERS, "Content-Type": "application/json"}
NO_PREVIEW = telegram.LinkPreviewOptions(is_disabled=True).to_dict()
ENTITY_FIELDS = ("type", "offset", "length", "url", "language", "custom_emoji_id")
# In a response to an upload; Telegram makes an animation of a video without sound, and reuses either as the other.
FILE_FIELDS = ("animation", "video", "audio", "voice", "document")


@dataclass(frozen=True, slots=True)
class BotIdentity:
    """The bot's own id and username, and whether Telegram delivers every message of a group to it."""

    id: int
    username: str
    reads_groups: bool = False


@dataclass(frozen=True, slots=True)
class WebhookInfo:
    """The webhook as Telegram sees it (getWebhookInfo, Bot API 10.0, 2026-05)."""

    url: str  # "": updates wait to be polled
    pending: int  # updates that wait at Telegram
    last_error: str = ""  # of the last call that failed, in Telegram's words
    last_error_at: datetime | None = None
    allowed_updates: tuple[str, ...] = ()  # (): all but the rare kinds


@dataclass(frozen=True, slots=True)
class SentFile:
    """A file that was sent."""

    message_id: int
    file_id: str  # by which Telegram sends it again without an upload; "" where it did not say


class TelegramClient:
    """One bot's calls to the Bot API. Every method raises errors of errors.py only, except where it says so.

    The bot's token is part of every URL, so no URL leaves this class, in an error neither.
    """

    def __init__(self, token: str, base_url: str) -> None:
        self._me: BotIdentity | None = None
        self._token = token
        url = urllib3.util.parse_url(base_url)
        self._prefix = (url.path or "").rstrip("/")
        if url.scheme == "https":
            self._pool: urllib3.HTTPConnectionPool = GuardedHTTPSPool(
                url.host or "", url.port, maxsize=KEPT_CONNECTIONS, ssl_context=load_certificates()
            )
        else:
            self._pool = GuardedHTTPPool(url.host or "", url.port, maxsize=KEPT_CONNECTIONS)

    def close(self) -> None:
        """Close the connections that are kept."""
        self._pool.close()

    def call(
        self, method: str, *, deadline: Deadline | None = None, read_seconds: float | None = None, **parameters: Any
    ) -> Any:
        """Call a method of the Bot API and return its result as it came; parameters that are None are left out.

        PTB's objects may be among the parameters. Not a byte leaves after the `deadline` (default: CALL_SECONDS from
        now); `read_seconds` is the longest silence (default: READ_SECONDS). No database connection is held meanwhile.

        The result is not parsed into PTB's types: where that failed, because the server is newer or is not
        Telegram's, a message that was sent would look like one that was not.
        """
        return self._post(
            method,
            _as_json(parameters),
            JSON_HEADERS,
            deadline=deadline or Deadline.after(CALL_SECONDS),
            read_seconds=read_seconds or READ_SECONDS,
            said=str(parameters.get("text") or ""),
        )

    def me(self) -> BotIdentity:
        """Return who the bot is, as Telegram said when this process asked first."""
        return self._me or self.ask_me()

    def ask_me(self, *, deadline: Deadline | None = None) -> BotIdentity:
        """Ask Telegram who the bot is."""
        profile = self.call("getMe", deadline=deadline)
        self._me = BotIdentity(
            _id_at(profile, "id") or 0,
            text_at(profile, "username"),
            get_path(profile, "can_read_all_group_messages") is True,
        )
        return self._me

    def send(
        self,
        chat_id: int,
        part: MessagePart,
        *,
        thread_id: int | None = None,
        reply_to: int | None = None,
        keyboard: telegram.InlineKeyboardMarkup | None = None,
    ) -> int:
        """Send a message and return its id. After OutcomeUnsure it may be in the chat nevertheless."""
        part = _for_chat(part, chat_id)
        message = self.call(
            "sendMessage",
            chat_id=chat_id,
            text=part.text,
            entities=part.entities or None,
            message_thread_id=thread_id,
            reply_parameters=_reply_to(reply_to),
            reply_markup=keyboard,
            link_preview_options=NO_PREVIEW,
        )
        return _message_id(message)

    def edit(self, chat_id: int, message_id: int, part: MessagePart, *, deadline: Deadline | None = None) -> None:
        """Replace a message's text and remove its buttons. Idempotent."""
        part = _for_chat(part, chat_id)
        try:
            self.call(
                "editMessageText",
                deadline=deadline,
                chat_id=chat_id,
                message_id=message_id,
                text=part.text,
                entities=part.entities or None,
                link_preview_options=NO_PREVIEW,
            )
        except NotModified:
            return

    def download(self, file_id: str) -> bytes:
        """Return the content of a file that a user sent; Telegram serves up to MAX_DOWNLOAD_BYTES."""
        deadline = Deadline.after(UPLOAD_SECONDS)
        path = text_at(self.call("getFile", file_id=file_id), "file_path")
        status, content = self._exchange(
            "GET",
            f"{self._prefix}/file/bot{self._token}/{quote(path)}",
            None,
            HEADERS,
            deadline=deadline,
            read_seconds=READ_SECONDS,
            max_bytes=MAX_DOWNLOAD_BYTES,
        )
        if len(content) > MAX_DOWNLOAD_BYTES:
            raise CallRefused("the file is too large for Telegram")
        if status in {403, 404}:
            raise CallRefused("the file is not there any more")
        if status != 200:
            raise OutcomeUnsure(f"Telegram gave no file (status {status}).")
        return content

    def edit_media(self, chat_id: int, message_id: int, file: StoredFile) -> str:
        """Replace a message by this file and return its file_id, "" where Telegram does not say. Idempotent.

        Raises FileUnavailable where the storage does not give it; nothing is shown then.
        """
        media: dict[str, Any] = {"type": file.kind, "media": file.file_id or "attach://file"}
        if file.kind == "video":
            media["supports_streaming"] = True
        try:
            message = self._send_file(
                "editMessageMedia", file, "file", chat_id=chat_id, message_id=message_id, media=media
            )
        except NotModified:
            return file.file_id
        return _file_id(message, file.kind)

    def send_media(
        self, chat_id: int, file: StoredFile, *, thread_id: int | None = None, reply_to: int | None = None
    ) -> SentFile:
        """Send a file. After OutcomeUnsure it may be in the chat nevertheless.

        Raises FileUnavailable where the storage does not give it; nothing is sent then.
        """
        parameters: dict[str, Any] = {
            "chat_id": chat_id,
            file.kind: file.file_id or None,
            "message_thread_id": thread_id,
            "reply_parameters": _reply_to(reply_to),
            "supports_streaming": True if file.kind == "video" else None,
        }
        message = self._send_file(f"send{file.kind.capitalize()}", file, file.kind, **parameters)
        return SentFile(_message_id(message), _file_id(message, file.kind))

    def delete(self, chat_id: int, message_id: int) -> None:
        """Delete a message."""
        self.call("deleteMessage", chat_id=chat_id, message_id=message_id)

    def answer_button(self, callback_id: str, text: str = "") -> None:
        """Acknowledge a pressed button, with a short text over the chat or without."""
        self.call("answerCallbackQuery", callback_query_id=callback_id, text=text or None)

    def updates(self, offset: int | None, allowed_updates: Sequence[str]) -> list[dict[str, Any]]:
        """Wait up to POLL_SECONDS for updates from `offset` on, and confirm those before it.

        They are not parsed: one that PTB cannot parse must not hold up the others. A signal handler that raises ends
        the wait.
        """
        result = self.call(
            "getUpdates",
            offset=offset,
            timeout=POLL_SECONDS,
            allowed_updates=allowed_updates,
            deadline=Deadline.after(POLL_SECONDS + CALL_SECONDS),
            read_seconds=POLL_SECONDS + READ_SECONDS,
        )
        if not isinstance(result, list):
            raise OutcomeUnsure("Telegram's response contains no list of updates.")
        return result

    def set_webhook(self, url: str, secret: str, allowed_updates: Sequence[str]) -> None:
        """Have updates sent to this URL. Pending ones are kept."""
        self.call("setWebhook", url=url, secret_token=secret, allowed_updates=allowed_updates)

    def webhook_info(self, *, deadline: Deadline | None = None) -> WebhookInfo:
        """Return the webhook as Telegram sees it."""
        info = self.call("getWebhookInfo", deadline=deadline)
        failed_at = _id_at(info, "last_error_date")
        return WebhookInfo(
            text_at(info, "url"),
            count_at(info, "pending_update_count") or 0,
            text_at(info, "last_error_message")[:200],
            datetime.fromtimestamp(failed_at, UTC) if failed_at and 0 < failed_at < MAX_TIMESTAMP else None,
            tuple(kind for kind in list_at(info, "allowed_updates") if isinstance(kind, str)),
        )

    def remove_webhook(self) -> None:
        """Switch the webhook off, so that updates can be polled. Pending ones are kept."""
        self.call("deleteWebhook", drop_pending_updates=False)

    def set_commands(self, commands: Mapping[str, str], language: str) -> None:
        """Set the command menu of users with this language; "" is for all others."""
        listed = [{"command": command, "description": description} for command, description in commands.items()]
        self.call("setMyCommands", commands=listed, language_code=language)

    def set_descriptions(self, description: str, short_description: str, language: str) -> None:
        """Set the bot's descriptions for users with this language; "" is for all others."""
        self.call("setMyDescription", description=description, language_code=language)
        self.call("setMyShortDescription", short_description=short_description, language_code=language)

    def _send_file(self, method: str, file: StoredFile, field: str, **parameters: Any) -> Any:
        """Call a method with a file: by its file_id, which is among the parameters, or with an upload in this field."""
        if file.file_id:
            return self.call(method, **parameters)
        with file.open() as content:
            form = MultipartForm(
                {name: value if isinstance(value, str) else _json_text(value) for name, value in _set(parameters)},
                field=field,
                filename=file.filename,
                file=content,
            )
            return self._post(
                method,
                form,
                {**HEADERS, **form.headers},
                deadline=Deadline.after(UPLOAD_SECONDS),
                read_seconds=UPLOAD_SECONDS,
                said=file.text if isinstance(file, TextFile) else "",
            )

    def _post(
        self,
        method: str,
        body: bytes | MultipartForm,
        headers: Mapping[str, str],
        *,
        deadline: Deadline,
        read_seconds: float,
        said: str = "",
    ) -> Any:
        """Post to a method and return its result. `said` is what a refusal may quote and nobody may read."""
        status, content = self._exchange(
            "POST",
            f"{self._prefix}/bot{self._token}/{method}",
            body,
            headers,
            deadline=deadline,
            read_seconds=read_seconds,
            max_bytes=MAX_RESPONSE_BYTES,
        )
        if len(content) > MAX_RESPONSE_BYTES:
            raise OutcomeUnsure(f"Telegram's response is longer than {MAX_RESPONSE_BYTES} bytes.")
        answer = _decoded(content)
        if status == 200 and "result" in answer:
            return answer["result"]
        raise error_of(status, answer, Redactor(self._token, Prompt(Category.TEXT, said)))

    def _exchange(
        self,
        method: str,
        path: str,
        body: bytes | MultipartForm | None,
        headers: Mapping[str, str],
        *,
        deadline: Deadline,
        read_seconds: float,
        max_bytes: int,
    ) -> tuple[int, bytes]:
        """Send one request, once, and return the status and the body of its response, of which one byte too much."""
        give_back_connection()
        with guarded_call(deadline) as call:
            try:
                response = self._pool.urlopen(
                    method,
                    path,
                    body=body,
                    headers=headers,
                    timeout=urllib3.Timeout(connect=CONNECT_SECONDS, read=read_seconds),
                    retries=False,
                    redirect=False,
                    preload_content=False,
                    decode_content=False,
                )
                try:
                    content = response.read(max_bytes + 1)
                finally:
                    response.close()
            except BROKEN as error:
                failure = _failure(call, body, error)
            else:
                if not call.is_expired:  # to a reader, an abort looks like the end
                    return response.status, content
                failure = OutcomeUnsure("Telegram gave no valid response (time-out).")
        # Outside of the handler, so that `error`, which may quote the URL, does not travel along as the context.
        raise failure


_client: tuple[tuple[str, str], TelegramClient] | None = None
_client_lock = threading.Lock()


def get_client() -> TelegramClient:
    """Return this process's client. Raises TokenRefused where no token is set."""
    global _client
    key = (settings.TELEGRAM_BOT_TOKEN, settings.TELEGRAM_API_BASE_URL)
    with _client_lock:
        if _client is None or _client[0] != key:
            if not settings.TELEGRAM_BOT_TOKEN:
                raise TokenRefused("TELEGRAM_BOT_TOKEN is not set. @BotFather gives you a token.")
            _client = key, TelegramClient(*key)
        return _client[1]


def set_client(client: TelegramClient) -> None:
    """Make this the process's client, for as long as the settings name the same bot. Tests give a fake one."""
    global _client
    with _client_lock:
        _client = (settings.TELEGRAM_BOT_TOKEN, settings.TELEGRAM_API_BASE_URL), client


def close_client() -> None:
    """Close the process's client, where it has one; get_client() makes another."""
    global _client
    with _client_lock:
        kept, _client = _client, None
    if kept is not None:
        kept[1].close()


def _forget_client() -> None:
    # A connection shared by parent and child would mix their bytes, and the lock may be another thread's.
    global _client, _client_lock
    _client, _client_lock = None, threading.Lock()


atexit.register(close_client)
os.register_at_fork(after_in_child=_forget_client)


@cache
def load_certificates() -> ssl.SSLContext:
    """Load the CA certificates, once per process: it takes 50 ms. SSL_CERT_FILE may name others than certifi's."""
    return ssl.create_default_context(cafile=os.environ.get("SSL_CERT_FILE") or certifi.where())


def error_of(status: int, answer: Mapping[str, Any], redactor: Redactor) -> BotApiError:
    """Return what a response without a result means. Only a redacted excerpt of Telegram's words goes into it."""
    new_chat_id = _id_at(answer, "parameters", "migrate_to_chat_id")
    if new_chat_id:
        return ChatMoved(new_chat_id)
    pause_seconds = count_at(answer, "parameters", "retry_after")
    if pause_seconds or status == 429:
        return SlowDown(pause_seconds or DEFAULT_PAUSE_SECONDS)
    description = text_at(answer, "description")
    if status == 403 and any(words in description.lower() for words in MEDIA_FORBIDDEN):
        return MediaForbidden()
    if status in ERRORS_BY_STATUS:
        return ERRORS_BY_STATUS[status]()
    if status == 400:
        return _error_from_description(description, redactor)
    if status == 413:
        return CallRefused("the file is too large for Telegram")
    if 300 <= status < 400:
        return NotReached(f"The server redirects (status {status}), which is not followed. Is the base URL right?")
    return OutcomeUnsure(f"Telegram gave no valid response (status {status}).")


def _error_from_description(description: str, redactor: Redactor) -> BotApiError:
    for words, error_class in ERRORS_BY_DESCRIPTION:
        if words in description.lower():
            return error_class()
    excerpt = redactor.excerpt(description.removeprefix("Bad Request: "))[:MAX_DESCRIPTION_CHARACTERS]
    return CallRefused(excerpt or "400 without a description")


def _failure(call: GuardedCall, body: bytes | MultipartForm | None, error: Exception) -> Exception:
    """Return what a broken call means: certainly not executed, or nobody knows."""
    if isinstance(body, MultipartForm) and body.storage_error:
        return body.storage_error
    # Only the class of the cause at the root: the message may quote the URL or the response.
    cause: BaseException = error
    while isinstance(deeper := cause.__cause__ or cause.__context__, BROKEN):
        cause = deeper
    is_late = call.is_expired or isinstance(cause, TimeoutError)
    name = "time-out" if is_late else type(cause).__name__
    if call.is_sent:
        return OutcomeUnsure(f"Telegram gave no valid response ({name}).")
    return NotReached(f"Telegram could not be reached ({name}).")


def _decoded(content: bytes) -> dict[str, Any]:
    """Return a response's JSON object, an empty one where it is none. Its bytes may quote what users wrote."""
    try:
        answer = load_json(content)
    except ValueError:
        return {}
    return answer if isinstance(answer, dict) else {}


def _set(parameters: Mapping[str, Any]) -> list[tuple[str, Any]]:
    return [(name, value) for name, value in parameters.items() if value is not None]


def _as_json(parameters: Mapping[str, Any]) -> bytes:
    """Return the body of a call. Half an emoji would not be UTF-8: it becomes a question mark."""
    return _json_text(dict(_set(parameters))).encode("utf-8", "replace")


def _json_text(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, default=_as_dict)


def _as_dict(value: Any) -> dict[str, Any]:
    """Return one of PTB's objects as the Bot API takes it."""
    if isinstance(value, telegram.MessageEntity) and not (value.user or value.unix_time):
        # to_dict() costs ten times as much, and an edit of a long answer has up to a hundred entities.
        return {name: item for name in ENTITY_FIELDS if (item := getattr(value, name)) is not None}
    if isinstance(value, telegram.TelegramObject):
        return value.to_dict()
    raise TypeError(f"{type(value).__name__} is no parameter of the Bot API")


def _id_at(value: Any, *path: str) -> int | None:
    """Return the whole number at this path, else None. An id may have 52 bits, and a group's is negative."""
    found = get_path(value, *path)
    return found if isinstance(found, int) else None


def _for_chat(part: MessagePart, chat_id: int) -> MessagePart:
    """Return what may be shown there: in a group nobody is notified by a name in an answer."""
    return without_mentions(part) if chat_id < 0 else part


def _reply_to(message_id: int | None) -> dict[str, Any] | None:
    # A prompt that its user has deleted meanwhile is answered nevertheless.
    return {"message_id": message_id, "allow_sending_without_reply": True} if message_id else None


def _message_id(message: Any) -> int:
    message_id = _id_at(message, "message_id")
    if message_id is None:
        raise OutcomeUnsure("Telegram's response contains no message id.")
    return message_id


def _file_id(message: Any, kind: str) -> str:
    """Return the file_id of the file in a message, of a photo its largest size; "" where there is none."""
    if kind == "photo":
        sizes = [size for size in list_at(message, "photo") if isinstance(size, dict)]
        largest = max(sizes, key=lambda size: count_at(size, "width") or 0, default={})
        return text_at(largest, "file_id")
    return next(filter(None, (text_at(message, field, "file_id") for field in (kind, *FILE_FIELDS))), "")
