"""Calls to the Bot API, and the translation of their errors into errors.py. Nothing here opens the database.

The project's code is synchronous, PTB's Bot is not. So each process keeps one thread that runs one event loop with one
Bot, whose connections are reused; callers hand over a coroutine and wait for it. Thread-safe.
"""

import asyncio
import json
import logging
import os
import ssl
import threading
from collections.abc import Callable, Coroutine, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from functools import cache, partial
from typing import Any, TypeVar

import httpx
import telegram
from django.conf import settings
from telegram import error as ptb
from telegram.request import HTTPXRequest

from providers.db import give_back_connection
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
    NotReached,
    OutcomeUnsure,
    PollingConflict,
    SlowDown,
    ThreadGone,
    TokenRefused,
)
from telegram_bot.content.files import StoredFile
from telegram_bot.content.rendering import MessagePart

logger = logging.getLogger("telegram_bot.api.client")

# PTB's opt-in to durations as timedelta; without it each 429 warns of a deprecation.
os.environ.setdefault("PTB_TIMEDELTA", "1")

Result = TypeVar("Result")

MAX_CONNECTIONS = 64  # that many calls may be under way at once
CONNECT_SECONDS = 4
READ_SECONDS = 8
WRITE_SECONDS = 5
CALL_SECONDS = 10  # total deadline of a call
UPLOAD_SECONDS = 120  # total deadline of an upload or download: 50 MB on a slow line
POLL_SECONDS = 30  # how long Telegram holds a long poll open while there are no updates

# "CHAT_SEND_PHOTOS_FORBIDDEN" and "not enough rights to send photos to the chat": text may be allowed there.
MEDIA_FORBIDDEN = [
    words.format(kind)
    for kind in ("media", "photos", "videos", "audios", "music", "docs", "documents", "gifs", "animations")
    for words in ("send_{}_forbidden", "rights to send {} ")
]
# Telegram has no codes for these, only descriptions. They were read in tdlib/telegram-bot-api (Client.cpp, 2026-05) and
# have not changed for years; one that is not listed here is a CallRefused.
ERRORS_BY_DESCRIPTION: list[tuple[str, type[BotApiError]]] = [
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
NOT_MODIFIED = "message is not modified"
NOT_SENT_ERRORS = (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout)


class QuietRequest(HTTPXRequest):
    """PTB's HTTP client without its habit of logging a body that it cannot parse: bodies contain users' messages."""

    @staticmethod
    def parse_json_payload(payload: bytes) -> dict[str, Any]:
        try:
            body: dict[str, Any] = json.loads(payload)
        except ValueError as error:
            raise ptb.TelegramError("The server's response is not JSON") from error
        return body


class RedactedBadRequest(ptb.BadRequest):
    """A 400 with a redacted excerpt of its description, which is safe to log and to store."""

    def __init__(self, description: str, excerpt: str) -> None:
        super().__init__(description)
        self.excerpt = excerpt


class QuietBot(telegram.Bot):
    """PTB's Bot with unparsed results and a repr without the token.

    PTB's own methods parse the whole message that a response contains. Where that fails, because the server is newer
    or is not Telegram's, a message that was sent would look like one that was not.
    """

    def __repr__(self) -> str:
        return "<Bot>"

    async def call(self, method: str, *, read_timeout: float | None = None, **parameters: Any) -> Any:
        """Call a method of the Bot API and return its result; parameters that are None are left out."""
        try:
            return await self._post(method, parameters, read_timeout=read_timeout or READ_SECONDS)
        except (KeyError, TypeError) as error:
            raise ptb.NetworkError("The server's response has no result") from error
        except ptb.BadRequest as error:
            redactor = Redactor(self.token, Prompt(Category.TEXT, str(parameters.get("text") or "")))
            raise RedactedBadRequest(error.message, redactor.excerpt(error.message)) from error.__cause__


@dataclass(frozen=True, slots=True)
class SentFile:
    """A file that was sent."""

    message_id: int
    file_id: str  # by which it can be sent again without its bytes; "" where Telegram does not name it


@dataclass(frozen=True, slots=True)
class BotIdentity:
    """The bot's own id and username."""

    id: int
    username: str


class TelegramClient:
    """One Bot and the thread that runs its event loop. Every call raises errors of errors.py only."""

    def __init__(self, token: str, base_url: str) -> None:
        self._me: BotIdentity | None = None
        self.bot = QuietBot(
            token,
            base_url=f"{base_url}/bot",
            base_file_url=f"{base_url}/file/bot",
            request=_http_client(MAX_CONNECTIONS),
            get_updates_request=_http_client(1),
        )
        self.loop = asyncio.new_event_loop()
        threading.Thread(target=self.loop.run_forever, name="telegram", daemon=True).start()

    def run(self, work: Coroutine[Any, Any, Result], timeout_seconds: float = CALL_SECONDS) -> Result:
        """Run a coroutine on the Bot's loop and wait for it; no database connection is held meanwhile."""
        give_back_connection()
        future = asyncio.run_coroutine_threadsafe(_run_with_timeout(work, timeout_seconds), self.loop)
        try:
            return future.result(timeout_seconds + 1)
        except TimeoutError as error:
            raise OutcomeUnsure("The Bot's event loop does not respond") from error
        finally:
            future.cancel()  # where Ctrl-C or the like has interrupted the wait

    def close(self) -> None:
        """Close the connections and end the thread."""
        self.run(self._shut_down())
        self.loop.call_soon_threadsafe(self.loop.stop)

    async def _shut_down(self) -> None:
        for request in self.bot._request:
            await request.shutdown()

    def me(self) -> BotIdentity:
        """Return the bot's id and username; Telegram is asked once."""
        if self._me is None:
            profile = self.run(self.bot.call("getMe"))
            self._me = BotIdentity(profile.get("id", 0), profile.get("username", ""))
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
        message = self.run(
            self.bot.call(
                "sendMessage",
                chat_id=chat_id,
                text=part.text,
                entities=part.entities or None,
                message_thread_id=thread_id,
                reply_parameters=_reply_to(reply_to),
                reply_markup=keyboard,
                link_preview_options=NO_PREVIEW,
            )
        )
        return _message_id(message)

    def edit(self, chat_id: int, message_id: int, part: MessagePart) -> None:
        """Replace a message's text and remove its buttons. Idempotent."""
        self.run(self.edit_async(chat_id, message_id, part))

    async def edit_async(self, chat_id: int, message_id: int, part: MessagePart) -> None:
        """Edit, as a coroutine for the Bot's loop. Raises PTB's errors, which run() translates."""
        try:
            await self.bot.call(
                "editMessageText",
                chat_id=chat_id,
                message_id=message_id,
                text=part.text,
                entities=part.entities or None,
                link_preview_options=NO_PREVIEW,
            )
        except ptb.BadRequest as error:
            if NOT_MODIFIED not in error.message.lower():
                raise

    def download(self, file_id: str) -> bytes:
        """Return the content of a file that a user sent; Telegram serves up to 20 MB."""
        return self.run(self._download(file_id), UPLOAD_SECONDS)

    async def _download(self, file_id: str) -> bytes:
        # The file's URL contains the token, so it does not leave this method.
        file = await self.bot.get_file(file_id)
        return bytes(await file.download_as_bytearray())

    def edit_media(self, chat_id: int, message_id: int, file: StoredFile) -> str:
        """Replace a message by this file and return Telegram's id of the file. Idempotent."""
        kinds: dict[str, Callable[..., telegram.InputMedia]] = {
            "photo": telegram.InputMediaPhoto,
            "video": partial(telegram.InputMediaVideo, supports_streaming=True),
            "audio": telegram.InputMediaAudio,
            "document": telegram.InputMediaDocument,
        }
        media = kinds[file.kind](media=file.file_id or file.read(), filename=None if file.file_id else file.filename)
        try:
            message = self.run(
                self.bot.call(
                    "editMessageMedia",
                    chat_id=chat_id,
                    message_id=message_id,
                    media=media,
                    read_timeout=UPLOAD_SECONDS,
                ),
                UPLOAD_SECONDS,
            )
        except CallRefused as error:
            if NOT_MODIFIED not in str(error).lower():
                raise
            return file.file_id
        return _file_id(message, file.kind)

    def send_media(
        self, chat_id: int, file: StoredFile, *, thread_id: int | None = None, reply_to: int | None = None
    ) -> SentFile:
        """Send a file. After OutcomeUnsure it may be in the chat nevertheless."""
        parameters: dict[str, Any] = {
            "chat_id": chat_id,
            file.kind: file.file_id or telegram.InputFile(file.read(), filename=file.filename),
            "message_thread_id": thread_id,
            "reply_parameters": _reply_to(reply_to),
            "read_timeout": UPLOAD_SECONDS,
        }
        message = self.run(self.bot.call(f"send{file.kind.capitalize()}", **parameters), UPLOAD_SECONDS)
        return SentFile(_message_id(message), _file_id(message, file.kind))

    def delete(self, chat_id: int, message_id: int) -> None:
        """Delete a message."""
        self.run(self.bot.call("deleteMessage", chat_id=chat_id, message_id=message_id))

    def answer_button(self, callback_id: str, text: str = "") -> None:
        """Acknowledge a pressed button, with a short text over the chat or without."""
        self.run(self.bot.call("answerCallbackQuery", callback_query_id=callback_id, text=text or None))

    def updates(self, offset: int | None, allowed_updates: Sequence[str]) -> list[dict[str, Any]]:
        """Wait up to POLL_SECONDS for updates from `offset` on, and confirm those before it.

        They are not parsed: PTB's get_updates() fails as a whole where it cannot parse one of them.
        """
        poll = self.bot.call(
            "getUpdates",
            offset=offset,
            timeout=POLL_SECONDS,
            allowed_updates=allowed_updates,
            read_timeout=POLL_SECONDS + READ_SECONDS,
        )
        return self.run(poll, POLL_SECONDS + CALL_SECONDS)

    def set_webhook(self, url: str, secret: str, allowed_updates: Sequence[str]) -> None:
        """Have updates sent to this URL. Pending ones are kept."""
        self.run(self.bot.call("setWebhook", url=url, secret_token=secret, allowed_updates=allowed_updates))

    def remove_webhook(self) -> None:
        """Switch the webhook off, so that updates can be polled. Pending ones are kept."""
        self.run(self.bot.call("deleteWebhook", drop_pending_updates=False))

    def set_commands(self, commands: Mapping[str, str], language: str) -> None:
        """Set the command menu of users with this language; "" is for all others."""
        listed = [{"command": command, "description": description} for command, description in commands.items()]
        self.run(self.bot.call("setMyCommands", commands=listed, language_code=language))

    def set_descriptions(self, description: str, short_description: str, language: str) -> None:
        """Set the bot's descriptions for users with this language; "" is for all others."""
        self.run(self.bot.call("setMyDescription", description=description, language_code=language))
        self.run(self.bot.call("setMyShortDescription", short_description=short_description, language_code=language))


NO_PREVIEW = telegram.LinkPreviewOptions(is_disabled=True)

_client: tuple[tuple[int, str, str], TelegramClient] | None = None
_client_lock = threading.Lock()


def get_client() -> TelegramClient:
    """Return this process's client. A forked process makes its own: threads and connections do not survive a fork.

    Raises TokenRefused where no token is set.
    """
    global _client
    key = (os.getpid(), settings.TELEGRAM_BOT_TOKEN, settings.TELEGRAM_API_BASE_URL)
    with _client_lock:
        if _client is None or _client[0] != key:
            if not settings.TELEGRAM_BOT_TOKEN:
                raise TokenRefused("TELEGRAM_BOT_TOKEN is not set. @BotFather gives you a token.")
            _client = key, TelegramClient(*key[1:])
        return _client[1]


def set_client(client: TelegramClient) -> None:
    """Make this the process's client, for as long as the settings name the same bot. Tests give a fake one."""
    global _client
    with _client_lock:
        _client = (os.getpid(), settings.TELEGRAM_BOT_TOKEN, settings.TELEGRAM_API_BASE_URL), client


def close_client() -> None:
    """Close the process's client, where it has one; get_client() makes another."""
    global _client
    with _client_lock:
        kept, _client = _client, None
    if kept is not None and kept[0][0] == os.getpid():
        kept[1].close()


def _reply_to(message_id: int | None) -> telegram.ReplyParameters | None:
    # A prompt that its user has deleted meanwhile is answered nevertheless.
    return telegram.ReplyParameters(message_id, allow_sending_without_reply=True) if message_id else None


def _message_id(message: Any) -> int:
    if not isinstance(message, dict) or "message_id" not in message:
        raise OutcomeUnsure("The server's response contains no message id")
    return int(message["message_id"])


def _file_id(message: Any, kind: str) -> str:
    """Return the id of the file that a message shows, "" where the message does not say it."""
    file = message.get(kind) if isinstance(message, dict) else None
    if isinstance(file, list) and file:
        file = file[-1]  # a photo comes in several sizes, the largest last
    file_id = file.get("file_id") if isinstance(file, dict) else None
    return file_id if isinstance(file_id, str) else ""


def _http_client(connections: int) -> QuietRequest:
    return QuietRequest(
        connection_pool_size=connections,
        connect_timeout=CONNECT_SECONDS,
        read_timeout=READ_SECONDS,
        write_timeout=WRITE_SECONDS,
        pool_timeout=CONNECT_SECONDS,
        media_write_timeout=UPLOAD_SECONDS,
        httpx_kwargs={"verify": load_certificates()},
    )


@cache
def load_certificates() -> ssl.SSLContext:
    """Load the CA certificates, once per process: it takes 50 ms, and the Bot has two HTTP clients."""
    return httpx.create_ssl_context()


async def _run_with_timeout(work: Coroutine[Any, Any, Result], seconds: float) -> Result:
    try:
        async with asyncio.timeout(seconds):
            return await work
    except TimeoutError as error:
        raise OutcomeUnsure("Time-out") from error
    except ptb.TelegramError as error:
        # Without its cause: PTB's and httpx' messages may contain the URL, and that contains the token.
        raise translate_error(error) from None


def translate_error(error: ptb.TelegramError) -> BotApiError:
    """Return the error of errors.py that corresponds to one of PTB's."""
    if isinstance(error, ptb.RetryAfter):
        pause = error.retry_after
        return SlowDown(pause.total_seconds() if isinstance(pause, timedelta) else pause)
    if isinstance(error, ptb.ChatMigrated):
        return ChatMoved(error.new_chat_id)
    if isinstance(error, ptb.Forbidden):
        is_about_media = any(words in error.message.lower() for words in MEDIA_FORBIDDEN)
        return MediaForbidden() if is_about_media else ChatUnreachable()
    if isinstance(error, ptb.InvalidToken):
        return TokenRefused()
    if isinstance(error, ptb.Conflict):
        return PollingConflict()
    # A subclass of NetworkError in PTB, so it comes first.
    if isinstance(error, ptb.BadRequest):
        # Where the body was not JSON, PTB's message quotes it.
        return CallRefused("400 without a description") if error.__cause__ else _error_from_description(error)
    if isinstance(error.__cause__, NOT_SENT_ERRORS):
        return NotReached()
    # Only the class name: the message may quote the URL or the response.
    cause = f" ({type(error.__cause__).__name__})" if error.__cause__ else ""
    return OutcomeUnsure(f"Telegram gave no valid response{cause}.")


def _error_from_description(error: ptb.BadRequest) -> BotApiError:
    for words, error_class in ERRORS_BY_DESCRIPTION:
        if words in error.message.lower():
            return error_class()
    return CallRefused((error.excerpt if isinstance(error, RedactedBadRequest) else error.message)[:150])
