"""Calls to the Bot API, and what their errors mean to us.

The project's code is synchronous, the Bot is not. So each process keeps one thread that runs one event loop with one
Bot, whose connections are reused; callers hand over a coroutine and wait for it.
"""

import asyncio
import json
import logging
import os
import threading
from collections.abc import Callable, Coroutine, Mapping, Sequence
from datetime import timedelta
from functools import partial
from typing import Any, TypeVar

import httpx
import telegram
from django.conf import settings
from telegram import error as ptb
from telegram.request import HTTPXRequest

from providers.connections import give_back_connection
from telegram_bot.errors import (
    CallRefused,
    ChatMoved,
    ChatUnreachable,
    EntitiesRefused,
    MessageGone,
    NotReached,
    OutcomeUnsure,
    PollingConflict,
    SlowDown,
    TelegramFault,
    ThreadGone,
    TokenRefused,
)
from telegram_bot.formatting import Piece
from telegram_bot.media import StoredFile

logger = logging.getLogger("telegram_bot.client")

# PTB's opt-in to spans of time as timedelta; without it each 429 warns of a deprecation.
os.environ.setdefault("PTB_TIMEDELTA", "1")

Result = TypeVar("Result")

CONNECTIONS = 64  # frames of that many streams may be under way at once
CONNECT_SECONDS = 4
READ_SECONDS = 8
WRITE_SECONDS = 5
CALL_SECONDS = 10  # whatever a call is stuck in, it ends after this
UPLOAD_SECONDS = 120  # for fifty megabytes on a slow line
POLL_SECONDS = 30  # how long Telegram holds a poll open while nothing happens

# Telegram has no codes for these, only sentences. They were read in tdlib/telegram-bot-api (Client.cpp, 2026-05) and
# have not changed for years; one that is not known here is a CallRefused.
MEANINGS: list[tuple[str, type[TelegramFault]]] = [
    ("message to edit not found", MessageGone),
    ("message can't be edited", MessageGone),
    ("message_id_invalid", MessageGone),
    ("thread not found", ThreadGone),
    ("topic_closed", ThreadGone),
    ("topic_deleted", ThreadGone),
    ("entit", EntitiesRefused),  # "can't parse entities", "entity … is invalid"
    ("chat not found", ChatUnreachable),
    ("peer_id_invalid", ChatUnreachable),
    ("user is deactivated", ChatUnreachable),
    ("not enough rights", ChatUnreachable),
    ("no rights to send", ChatUnreachable),
    ("chat_write_forbidden", ChatUnreachable),
    ("chat_restricted", ChatUnreachable),
]
NOT_MODIFIED = "message is not modified"
NOTHING_SENT = (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout)


class QuietRequest(HTTPXRequest):
    """PTB's HTTP client, which would log a body that it cannot read. Bodies hold what people write."""

    @staticmethod
    def parse_json_payload(payload: bytes) -> dict[str, Any]:
        try:
            return json.loads(payload)
        except ValueError as error:
            raise ptb.TelegramError("The server's answer is not JSON") from error


class QuietBot(telegram.Bot):
    """PTB's Bot, with updates as they came and a repr without the token."""

    def __repr__(self) -> str:
        return "<Bot>"

    async def raw_updates(
        self, *, offset: int | None, timeout: int, read_timeout: float, allowed_updates: Sequence[str]
    ) -> list[dict[str, Any]]:
        """Wait for updates. PTB's get_updates() parses them, and fails as a whole where it cannot parse one."""
        parameters = {"offset": offset, "timeout": timeout, "allowed_updates": allowed_updates}
        return await self._post("getUpdates", parameters, read_timeout=read_timeout)


class TelegramClient:
    """One Bot and the thread that it lives in. Every call raises one of errors.py and nothing else."""

    def __init__(self, token: str, base_url: str) -> None:
        self._token = token
        self._me: telegram.User | None = None
        self.bot = QuietBot(
            token,
            base_url=f"{base_url}/bot",
            base_file_url=f"{base_url}/file/bot",
            request=_http(CONNECTIONS),
            get_updates_request=_http(1),
        )
        self.loop = asyncio.new_event_loop()
        threading.Thread(target=self.loop.run_forever, name="telegram", daemon=True).start()

    @property
    def bot_id(self) -> int:
        """The bot's user id, which is the beginning of its token."""
        return int(self._token.partition(":")[0])

    def run(self, work: Coroutine[Any, Any, Result], seconds: float = CALL_SECONDS) -> Result:
        """Run a coroutine on the Bot's loop and wait for it; no database connection is held meanwhile."""
        give_back_connection()
        future = asyncio.run_coroutine_threadsafe(_translated(work, seconds), self.loop)
        try:
            return future.result(seconds + 1)
        except TimeoutError as error:
            raise OutcomeUnsure("The Bot's loop does not answer") from error
        finally:
            future.cancel()  # where the wait was interrupted, by Ctrl-C for instance

    def close(self) -> None:
        """Close the connections and end the thread."""
        self.run(self._shut_down())
        self.loop.call_soon_threadsafe(self.loop.stop)

    async def _shut_down(self) -> None:
        for request in self.bot._request:
            await request.shutdown()

    def me(self) -> telegram.User:
        """Return who the bot is; Telegram is asked once."""
        if self._me is None:
            self._me = self.run(self.bot.get_me())
        return self._me

    def send(
        self,
        chat_id: int,
        piece: Piece,
        *,
        thread_id: int | None = None,
        reply_to: int | None = None,
        keyboard: telegram.InlineKeyboardMarkup | None = None,
    ) -> int:
        """Send a message and return its id. After OutcomeUnsure it may be in the chat all the same."""
        message = self.run(
            self.bot.send_message(
                chat_id,
                piece.text,
                entities=piece.entities or None,
                message_thread_id=thread_id,
                reply_parameters=_reply_to(reply_to),
                reply_markup=keyboard,
                link_preview_options=NO_PREVIEW,
            )
        )
        return message.message_id

    def edit(self, chat_id: int, message_id: int, piece: Piece) -> None:
        """Make a message show this and nothing else, buttons included. Doing it again is harmless."""
        self.run(self.edit_later(chat_id, message_id, piece))

    async def edit_later(self, chat_id: int, message_id: int, piece: Piece) -> None:
        """Edit, as a coroutine for the Bot's loop. Raises PTB's errors, which run() translates."""
        try:
            await self.bot.edit_message_text(
                piece.text,
                chat_id=chat_id,
                message_id=message_id,
                entities=piece.entities or None,
                link_preview_options=NO_PREVIEW,
            )
        except ptb.BadRequest as error:
            if NOT_MODIFIED not in error.message.lower():
                raise

    def download(self, file_id: str) -> bytes:
        """Return a file that somebody sent to the bot; Telegram hands out up to 20 MB."""
        return self.run(self._downloaded(file_id), UPLOAD_SECONDS)

    async def _downloaded(self, file_id: str) -> bytes:
        # The file's address holds the token, so it stays in here.
        file = await self.bot.get_file(file_id)
        return bytes(await file.download_as_bytearray())

    def edit_media(self, chat_id: int, message_id: int, file: StoredFile) -> None:
        """Turn a message into this file. Doing it again shows the same again."""
        kinds: dict[str, Callable[..., telegram.InputMedia]] = {
            "photo": telegram.InputMediaPhoto,
            "video": partial(telegram.InputMediaVideo, supports_streaming=True),
            "audio": telegram.InputMediaAudio,
            "document": telegram.InputMediaDocument,
        }
        media = kinds[file.kind](media=file.read(), filename=file.filename)
        edit = self.bot.edit_message_media(media, chat_id=chat_id, message_id=message_id, write_timeout=UPLOAD_SECONDS)
        self.run(edit, UPLOAD_SECONDS)

    def send_media(
        self, chat_id: int, file: StoredFile, *, thread_id: int | None = None, reply_to: int | None = None
    ) -> int:
        """Send a file and return the message's id. After OutcomeUnsure it may be in the chat all the same."""
        send: dict[str, Callable[..., Coroutine[Any, Any, telegram.Message]]] = {
            "photo": self.bot.send_photo,
            "video": self.bot.send_video,
            "audio": self.bot.send_audio,
            "document": self.bot.send_document,
        }
        message = self.run(
            send[file.kind](
                chat_id,
                file.read(),
                filename=file.filename,
                message_thread_id=thread_id,
                reply_parameters=_reply_to(reply_to),
                write_timeout=UPLOAD_SECONDS,
            ),
            UPLOAD_SECONDS,
        )
        return message.message_id

    def delete(self, chat_id: int, message_id: int) -> None:
        """Delete a message."""
        self.run(self.bot.delete_message(chat_id, message_id))

    def answer_button(self, callback_id: str, text: str = "") -> None:
        """Tell Telegram that a button's press was noticed, with a short text over the chat or without."""
        self.run(self.bot.answer_callback_query(callback_id, text=text or None))

    def updates(self, offset: int | None, allowed_updates: Sequence[str]) -> list[dict[str, Any]]:
        """Wait up to POLL_SECONDS for updates from `offset` on, and confirm those before it."""
        poll = self.bot.raw_updates(
            offset=offset,
            timeout=POLL_SECONDS,
            read_timeout=POLL_SECONDS + READ_SECONDS,
            allowed_updates=allowed_updates,
        )
        return self.run(poll, POLL_SECONDS + CALL_SECONDS)

    def set_webhook(self, url: str, secret: str, allowed_updates: Sequence[str]) -> None:
        """Have updates sent to this address. Those that wait already are kept."""
        self.run(self.bot.set_webhook(url, secret_token=secret, allowed_updates=allowed_updates))

    def remove_webhook(self) -> None:
        """Have updates wait to be asked for. Those that wait already are kept."""
        self.run(self.bot.delete_webhook(drop_pending_updates=False))

    def set_commands(self, commands: Mapping[str, str], language: str) -> None:
        """Set the list of commands that people with this language see; "" is for everyone else."""
        self.run(self.bot.set_my_commands(list(commands.items()), language_code=language or None))

    def set_descriptions(self, description: str, short_description: str, language: str) -> None:
        """Set what the bot's page says to people with this language; "" is for everyone else."""
        self.run(self.bot.set_my_description(description, language_code=language or None))
        self.run(self.bot.set_my_short_description(short_description, language_code=language or None))


NO_PREVIEW = telegram.LinkPreviewOptions(is_disabled=True)

_client: tuple[tuple[int, str, str], TelegramClient] | None = None
_client_lock = threading.Lock()


def get_client() -> TelegramClient:
    """Return the process's one client. A forked process makes its own: threads and connections do not survive a fork.

    Raises TokenRefused where no token is set, or one that cannot be right.
    """
    global _client
    key = (os.getpid(), settings.TELEGRAM_BOT_TOKEN, settings.TELEGRAM_API_BASE_URL)
    with _client_lock:
        if _client is None or _client[0] != key:
            if not settings.TELEGRAM_BOT_TOKEN.partition(":")[0].isdecimal():
                raise TokenRefused("TELEGRAM_BOT_TOKEN is not set, or is not a token. @BotFather gives you one.")
            _client = key, TelegramClient(*key[1:])
        return _client[1]


def _reply_to(message_id: int | None) -> telegram.ReplyParameters | None:
    # A prompt that was deleted meanwhile is answered all the same.
    return telegram.ReplyParameters(message_id, allow_sending_without_reply=True) if message_id else None


def _http(connections: int) -> QuietRequest:
    return QuietRequest(
        connection_pool_size=connections,
        connect_timeout=CONNECT_SECONDS,
        read_timeout=READ_SECONDS,
        write_timeout=WRITE_SECONDS,
        pool_timeout=CONNECT_SECONDS,
    )


async def _translated(work: Coroutine[Any, Any, Result], seconds: float) -> Result:
    try:
        async with asyncio.timeout(seconds):
            return await work
    except TimeoutError as error:
        raise OutcomeUnsure("Time-out") from error
    except ptb.TelegramError as error:
        # Without its cause: PTB's and httpx' sentences may hold the address, and that holds the token.
        raise meaning_of(error) from None


def meaning_of(error: ptb.TelegramError) -> TelegramFault:
    """Return what an error of PTB's means to us."""
    if isinstance(error, ptb.RetryAfter):
        pause = error.retry_after
        return SlowDown(pause.total_seconds() if isinstance(pause, timedelta) else pause)
    if isinstance(error, ptb.ChatMigrated):
        return ChatMoved(error.new_chat_id)
    if isinstance(error, ptb.Forbidden):
        return ChatUnreachable()
    if isinstance(error, ptb.InvalidToken):
        return TokenRefused()
    if isinstance(error, ptb.Conflict):
        return PollingConflict()
    # A subclass of NetworkError in PTB, so it comes first.
    if isinstance(error, ptb.BadRequest):
        # Where the body was not JSON, PTB's sentence quotes it.
        return CallRefused("400 without a reason") if error.__cause__ else _meaning_of_sentence(error.message)
    if isinstance(error.__cause__, NOTHING_SENT):
        return NotReached()
    return OutcomeUnsure(type(error.__cause__ or error).__name__)


def _meaning_of_sentence(sentence: str) -> TelegramFault:
    for words, fault in MEANINGS:
        if words in sentence.lower():
            return fault()
    return CallRefused(sentence[:150])
