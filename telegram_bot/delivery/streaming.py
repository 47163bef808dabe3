"""Streaming: the placeholder is edited again and again while its answer grows, within Telegram's rate limits.

Partial edits are best effort. One that becomes due while another is under way, or while Telegram demands a pause, is
skipped; the next one shows the whole text anyway. The final answer is delivered by backend.py, which records each step.
"""

import asyncio
import logging
import time
from contextlib import suppress
from enum import Enum
from weakref import WeakValueDictionary

from telegram.error import TelegramError

from providers.types import OnText
from telegram_bot.api.client import CALL_SECONDS, TelegramClient, get_client, translate_error
from telegram_bot.api.errors import BotApiError, OutcomeUnsure, SlowDown
from telegram_bot.content.rendering import partial_message
from telegram_bot.delivery.placeholder import delivery_note_shown
from telegram_bot.models import Delivery

logger = logging.getLogger("telegram_bot.delivery.streaming")

EDIT_INTERVAL_SECONDS = 1.0  # from the response to one partial edit until the next
GROUP_EDIT_INTERVAL_SECONDS = 4.0  # a group takes twenty messages a minute, edits included
PLACEHOLDER_POLL_SECONDS = 0.1  # between two queries whether the placeholder has been sent
MAX_FAILURES = 3  # consecutive ones; after these only the final answer is shown


class StreamStatus(Enum):
    """What this process knows about the partial edits of a request."""

    SETTLED = "none can arrive any more"
    UNCONFIRMED = "the last one was not confirmed and may still arrive"
    ELSEWHERE = "if there are any, another process makes them, or has died while it did"


class LiveMessage:
    """The growing answer of one request. All methods but show() run on the Bot's event loop."""

    def __init__(self, client: TelegramClient, request_id: str, chat_id: int) -> None:
        self.client = client
        self._request_id = request_id
        self._chat_id = chat_id
        self._interval_seconds = EDIT_INTERVAL_SECONDS if chat_id > 0 else GROUP_EDIT_INTERVAL_SECONDS
        self._latest_text = ""
        self._shown_text = ""
        self._is_scheduled = False  # _start() is scheduled on the loop and has not run yet
        self._closing = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._not_before = 0.0  # on time.monotonic()
        self._failures = 0
        self._is_unconfirmed = False  # the last partial edit was not confirmed

    @property
    def is_idle(self) -> bool:
        """Nothing is left to show."""
        return not self._is_scheduled and self._task is None

    def show(self, text: str) -> None:
        """Show the text so far, soon. Called from the worker's thread, as often as it likes; returns at once."""
        self._latest_text = text
        if self._is_scheduled or self._closing.is_set():
            return
        self._is_scheduled = True
        with suppress(RuntimeError):  # the loop is closed, because the process is about to end
            self.client.loop.call_soon_threadsafe(self._start)

    async def close(self) -> bool:
        """Stop, wait for the partial edit under way, and return, once, whether one may still arrive."""
        self._closing.set()
        if self._task:
            await asyncio.wait([self._task])
        is_unconfirmed, self._is_unconfirmed = self._is_unconfirmed, False
        return is_unconfirmed

    def _start(self) -> None:
        self._is_scheduled = False
        if self._task is None and not self._closing.is_set():
            self._task = asyncio.create_task(self._show_latest())

    async def _show_latest(self) -> None:
        try:
            while (
                self._latest_text != self._shown_text and not self._closing.is_set() and self._failures < MAX_FAILURES
            ):
                wait_seconds = self._not_before - time.monotonic()
                if wait_seconds > 0:
                    await self._sleep(wait_seconds)
                    continue
                message_id = await self._find_placeholder()
                if message_id is not None and not self._closing.is_set():
                    await self._edit(message_id, self._latest_text)
        except Exception as error:  # noqa: BLE001 — streaming must never cost a user the answer
            logger.warning("The stream of %s ended early: %s", self._request_id, type(error).__name__)
            self._closing.set()
        finally:
            self._task = None

    async def _sleep(self, seconds: float) -> None:
        """Sleep, but not beyond close()."""
        with suppress(TimeoutError):
            await asyncio.wait_for(self._closing.wait(), seconds)

    async def _find_placeholder(self) -> int | None:
        """Return the placeholder's message id, once it is sent. In a thread: the loop must not wait for the database.

        Queried before each partial edit, because the request may have ended elsewhere: it was cancelled, or another
        worker owns it by now. What its placeholder shows then must not be replaced.
        """
        message_id, is_open = await asyncio.to_thread(delivery_note_shown, self._request_id)
        if not is_open:
            self._closing.set()
        if message_id is None:
            self._not_before = time.monotonic() + PLACEHOLDER_POLL_SECONDS
        return message_id

    async def _edit(self, message_id: int, text: str) -> None:
        self._shown_text = text
        part = partial_message(text)
        if part is None:
            return
        try:
            async with asyncio.timeout(CALL_SECONDS):
                await self.client.edit_async(self._chat_id, message_id, part)
        except TimeoutError:
            self._record_failure(OutcomeUnsure("Time-out"))
        except TelegramError as error:
            self._record_failure(translate_error(error))
        else:
            self._failures, self._is_unconfirmed = 0, False
            self._not_before = time.monotonic() + self._interval_seconds

    def _record_failure(self, error: BotApiError) -> None:
        logger.info("A partial edit of %s failed: %s", self._request_id, error)
        pause_seconds = error.retry_after if isinstance(error, SlowDown) else self._interval_seconds
        self._not_before = time.monotonic() + pause_seconds
        self._is_unconfirmed = self._is_unconfirmed or isinstance(error, OutcomeUnsure)
        if not isinstance(error, SlowDown):
            self._failures += 1


# Those of this process, by request id, for as long as a worker or a partial edit under way references them.
live_messages: WeakValueDictionary[str, LiveMessage] = WeakValueDictionary()


def live_message_open(request_id: str) -> OnText | None:
    """Return a function that shows a request's partial answer, or None where the request belongs to no chat."""
    chat_id = Delivery.objects.filter(request_id=request_id, part=0).values_list("chat_id", flat=True).first()
    if chat_id is None:
        return None
    live_message = live_messages.get(request_id)
    if live_message is None:
        try:
            live_message = LiveMessage(get_client(), request_id, chat_id)
        except BotApiError:
            return None
        live_messages[request_id] = live_message
    return live_message.show


def live_message_close(request_id: str) -> StreamStatus:
    """Stop this process's stream of a request and wait for the partial edit under way."""
    live_message = live_messages.get(request_id)
    if live_message is None:
        return StreamStatus.ELSEWHERE
    try:
        is_unconfirmed = live_message.client.run(live_message.close(), CALL_SECONDS + 1)
    except BotApiError:
        return StreamStatus.UNCONFIRMED
    return StreamStatus.UNCONFIRMED if is_unconfirmed else StreamStatus.SETTLED
