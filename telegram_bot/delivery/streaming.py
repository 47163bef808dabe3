"""Showing an answer while it grows: the placeholder is edited again and again, and never more often than is polite.

A frame is a courtesy. One that comes while another is under way, or while Telegram wants a pause, is dropped; the
next one shows the whole text anyway. Only the answer itself is delivered with care; see delivery.py.
"""

import asyncio
import logging
import time
from contextlib import suppress
from enum import Enum
from weakref import WeakValueDictionary

from django.db import DatabaseError
from telegram.error import TelegramError

from providers.db import give_back_connection
from providers.types import OnText
from requests_app.models import Request
from telegram_bot.api.client import CALL_SECONDS, TelegramClient, get_client, meaning_of
from telegram_bot.api.errors import BotApiError, OutcomeUnsure, SlowDown
from telegram_bot.content.rendering import partial_message
from telegram_bot.models import Delivery

logger = logging.getLogger("telegram_bot.delivery.streaming")

EDIT_INTERVAL_SECONDS = 1.0  # from one frame's arrival to the next frame
GROUP_EDIT_INTERVAL_SECONDS = 4.0  # a group takes twenty messages a minute, edits included
LOOK_UP_SECONDS = 0.1  # between two looks whether the placeholder stands already
MAX_FAULTS = 3  # in a row; then the answer is shown when it is finished


class StreamStatus(Enum):
    """What this process knows of a request's frames."""

    HERE = "none of them can arrive any more"
    UNSURE = "the last one got no confirmation and may still arrive"
    ELSEWHERE = "if there are any, another process sends them, or has died of it"


class LiveMessage:
    """The growing answer of one request. Everything but show() and its constructor runs on the Bot's loop."""

    def __init__(self, client: TelegramClient, request_id: str, chat_id: int) -> None:
        self.client = client
        self._request_id = request_id
        self._chat_id = chat_id
        self._pause_seconds = EDIT_INTERVAL_SECONDS if chat_id > 0 else GROUP_EDIT_INTERVAL_SECONDS
        self._latest = ""
        self._shown = ""
        self._is_woken = False  # the loop was asked to look, and has not looked yet
        self._closing = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._not_before = 0.0  # on time.monotonic()
        self._faults = 0
        self._is_unsure = False  # the last frame got no confirmation

    def show(self, text: str) -> None:
        """Take the text so far. Called from the worker's thread, as often as it likes; returns at once."""
        self._latest = text
        if self._is_woken or self._closing.is_set():
            return
        self._is_woken = True
        with suppress(RuntimeError):  # the loop has ended, and the process is about to
            self.client.loop.call_soon_threadsafe(self._wake)

    async def close(self) -> bool:
        """Show no more, wait for the frame under way, and return, once, whether it may still arrive."""
        self._closing.set()
        if self._task:
            await asyncio.wait([self._task])
        is_unsure, self._is_unsure = self._is_unsure, False
        return is_unsure

    def _wake(self) -> None:
        self._is_woken = False
        if self._task is None and not self._closing.is_set():
            self._task = asyncio.create_task(self._show_latest())

    async def _show_latest(self) -> None:
        try:
            while self._latest != self._shown and not self._closing.is_set() and self._faults < MAX_FAULTS:
                wait_seconds = self._not_before - time.monotonic()
                if wait_seconds > 0:
                    await self._rest(wait_seconds)
                    continue
                message_id = await self._look_up()
                if message_id is not None and not self._closing.is_set():
                    await self._edit(message_id, self._latest)
        except Exception as error:  # noqa: BLE001 — a frame must never cost anybody the answer
            logger.warning("LiveMessage of %s end early: %s", self._request_id, type(error).__name__)
            self._closing.set()
        finally:
            self._task = None

    async def _rest(self, seconds: float) -> None:
        with suppress(TimeoutError):
            await asyncio.wait_for(self._closing.wait(), seconds)

    async def _look_up(self) -> int | None:
        """Return the placeholder, once it stands. In a thread: the loop must not wait for the database.

        Asked before each frame, because the request may have ended elsewhere: it was cancelled, or another worker has
        it by now. What is shown in its placeholder then is not to be written over.
        """
        message_id, is_open = await asyncio.to_thread(_placeholder_of, self._request_id)
        if not is_open:
            self._closing.set()
        if message_id is None:
            self._not_before = time.monotonic() + LOOK_UP_SECONDS
        return message_id

    async def _edit(self, message_id: int, text: str) -> None:
        self._shown = text
        piece = partial_message(text)
        if piece is None:
            return
        try:
            async with asyncio.timeout(CALL_SECONDS):
                await self.client.edit_later(self._chat_id, message_id, piece)
        except TimeoutError:
            self._note(OutcomeUnsure("Time-out"))
        except TelegramError as error:
            self._note(meaning_of(error))
        else:
            self._faults, self._is_unsure = 0, False
            self._not_before = time.monotonic() + self._pause_seconds

    def _note(self, fault: BotApiError) -> None:
        logger.info("A frame of %s was dropped: %s", self._request_id, fault)
        pause_seconds = fault.retry_after if isinstance(fault, SlowDown) else self._pause_seconds
        self._not_before = time.monotonic() + pause_seconds
        self._is_unsure = self._is_unsure or isinstance(fault, OutcomeUnsure)
        if not isinstance(fault, SlowDown):
            self._faults += 1


# One for each request that is being streamed here, for as long as its worker or a frame under way holds it.
_frames: WeakValueDictionary[str, LiveMessage] = WeakValueDictionary()


def live_message_open(request_id: str) -> OnText | None:
    """Return a function that shows the growing answer of this request, or None where no chat waits for it."""
    chat_id = Delivery.objects.filter(request_id=request_id, part=0).values_list("chat_id", flat=True).first()
    if chat_id is None:
        return None
    frames = _frames.get(request_id)
    if frames is None:
        try:
            frames = LiveMessage(get_client(), request_id, chat_id)
        except BotApiError:
            return None
        _frames[request_id] = frames
    return frames.show


def live_message_close(request_id: str) -> StreamStatus:
    """Stop the frames of this request in this process and wait for the one under way."""
    frames = _frames.get(request_id)
    if frames is None:
        return StreamStatus.ELSEWHERE
    try:
        is_unsure = frames.client.run(frames.close(), CALL_SECONDS + 1)
    except BotApiError:
        return StreamStatus.UNSURE
    return StreamStatus.UNSURE if is_unsure else StreamStatus.HERE


def _placeholder_of(request_id: str) -> tuple[int | None, bool]:
    """Return the message in which the request grows, None where there is none yet, and whether it is still open."""
    try:
        row = (
            Delivery.objects.filter(request_id=request_id, part=0).values_list("message_id", "request__status").first()
        )
    except DatabaseError as error:
        logger.info("The placeholder of %s could not be looked up: %s", request_id, type(error).__name__)
        return None, True
    finally:
        give_back_connection()
    return (row[0], row[1] in Request.OPEN) if row else (None, False)
