"""Streaming: the placeholder is edited again and again while its answer grows, within Telegram's rate limits.

Partial edits are best effort, and made by a few threads of their own. Texts that come while one is under way, or while
Telegram demands a pause, are superseded by the latest. The final answer is delivered by backend.py, which records each
step.
"""

import logging
import os
import threading
import time
from enum import Enum
from heapq import heappop, heappush
from itertools import count
from weakref import WeakValueDictionary, ref

from django.db import DatabaseError

from providers.db import give_back_connection
from providers.transport.deadlines import Deadline
from providers.types import OnText
from requests_app.services.leases import keeper
from telegram_bot.api.client import CALL_SECONDS, TelegramClient, get_client
from telegram_bot.api.errors import BotApiError, OutcomeUnsure, SlowDown
from telegram_bot.content.rendering import MessagePart, partial_message
from telegram_bot.delivery.claims import delivery_note_refused, delivery_note_shown, placeholder_find

logger = logging.getLogger("telegram_bot.delivery.streaming")

MAX_SENDERS = 12  # partial edits that a process makes at once
# From the response to one partial edit of a chat until its next: at first, and once the answer is long. Who reads a
# screenful needs no second between two of its lines, and each edit costs its conversion and a call.
EDIT_INTERVAL_SECONDS = 1.0
MAX_EDIT_INTERVAL_SECONDS = 3.0
GROUP_EDIT_INTERVAL_SECONDS = 4.0  # a group takes twenty messages a minute, edits included
MAX_GROUP_EDIT_INTERVAL_SECONDS = 5.0
LONG_ANSWER_CHARACTERS = 3000  # from this length on the interval is the longest
NOTE_EVERY_BYTES = 1000  # of an answer: what is shown is on record by steps, since each is a commit
PLACEHOLDER_POLL_SECONDS = 0.1  # between two queries whether the placeholder has been sent; doubled each time
MAX_PLACEHOLDER_POLL_SECONDS = 1.0
MAX_FAILURES = 3  # consecutive ones; after these only the final answer is shown
MAX_KEPT_PAUSES = 10_000  # chats whose pauses are kept before those that are over are forgotten


class StreamStatus(Enum):
    """What this process knows about the partial edits of a request."""

    SETTLED = "none can arrive any more"
    UNCONFIRMED = "the last one was not confirmed and may still arrive"
    ELSEWHERE = "if there are any, another process makes them, or has died while it did"


class LiveMessage:
    """The growing answer of one request. Thread-safe; one sender at a time makes its partial edits."""

    def __init__(self, client: TelegramClient, request_id: str) -> None:
        self._client = client
        self._request_id = request_id
        self._changed = threading.Condition()
        # Under the lock of _changed:
        self._latest_text = ""
        self._seen_text = ""  # the one that was converted last
        self._is_scheduled = False  # a sender has it, or will
        self._is_busy = False  # a sender is at it
        self._is_closed = False
        self._is_unconfirmed = False  # the last partial edit was not confirmed
        self._placeholder: tuple[int, int] | None = None  # its chat and message id, once it is sent
        # Used by the sender that is at it:
        self._part: MessagePart | None = None  # what the message would show of _seen_text
        self._shown: MessagePart | None = None
        self._not_before = 0.0  # on time.monotonic(); the chat has a pause of its own
        self._polls = 0  # in a row, without finding the placeholder
        self._noted_bytes: int | None = None  # how much of the answer is on record as shown
        self._failures = 0

    @property
    def is_idle(self) -> bool:
        """Nothing is left to show."""
        return not self._is_scheduled

    def show(self, text: str) -> None:
        """Show the text so far, soon. Called from the worker's thread, as often as it likes; returns at once."""
        with self._changed:
            self._latest_text = text
            if self._is_scheduled or self._is_closed:
                return
            self._is_scheduled = True
        _senders.schedule(self, self._seconds_left())

    def place(self, chat_id: int, message_id: int) -> bool:
        """Take the placeholder that was just sent. Returns False where the stream is closed, as the answer is there."""
        with self._changed:
            if self._is_closed:
                return False
            self._placeholder = chat_id, message_id
        return True

    def close(self) -> bool:
        """Stop, wait for the partial edit under way, and return, once, whether one may still arrive."""
        with self._changed:
            self._is_closed = True
            if not self._is_busy:
                return self._take_unconfirmed()
        give_back_connection()
        with self._changed:
            has_ended = self._changed.wait_for(lambda: not self._is_busy, CALL_SECONDS + 1)
            return self._take_unconfirmed() or not has_ended

    def advance(self) -> float | None:
        """Make the partial edit that is due; called by a sender. Return the seconds until the next, None at the end."""
        with self._changed:
            if self._is_closed:
                self._is_scheduled = False
                return None
            self._is_busy = True
            text = self._latest_text
        is_done = True
        try:
            is_done = self._show(text)
        except Exception as error:  # noqa: BLE001 — streaming must never cost a user the answer
            logger.warning("The stream of %s ended early: %s", self._request_id, type(error).__name__)
            self._is_closed = True
        with self._changed:
            self._is_busy = False
            self._is_scheduled = not self._is_closed and not (is_done and self._latest_text == text)
            self._changed.notify_all()
            return self._seconds_left() if self._is_scheduled else None

    def _seconds_left(self) -> float:
        pause_seconds = _pauses.seconds_left(self._placeholder[0]) if self._placeholder else 0.0
        return max(pause_seconds, self._not_before - time.monotonic(), 0.0)

    def _show(self, text: str) -> bool:
        """Show this text. Returns whether that is done or needless; otherwise it is due again after a pause."""
        if self._seconds_left():
            return False
        if text != self._seen_text:
            self._seen_text, self._part = text, partial_message(text)
        part = self._part
        if part is None or part == self._shown:
            # Nothing visible yet, or the message is full: neither is worth a conversion for each word.
            self._pause(self._interval_seconds(len(text)) if self._shown else PLACEHOLDER_POLL_SECONDS)
            return True
        if self._placeholder is None and not self._refresh():
            self._pause(min(PLACEHOLDER_POLL_SECONDS * 2.0**self._polls, MAX_PLACEHOLDER_POLL_SECONDS))
            self._polls += 1
            return self._is_closed
        return self._edit(part, self._interval_seconds(len(text)))

    def _pause(self, seconds: float) -> None:
        self._not_before = time.monotonic() + seconds

    def _refresh(self) -> bool:
        """Read which message is the placeholder; return whether it may be edited. Closes the stream where it never may.

        The request may have ended elsewhere: it was cancelled, or another worker owns it by now. What its placeholder
        shows then must not be replaced, and nobody waits for the answer that the provider is still writing.
        """
        try:
            found = placeholder_find(self._request_id)
        except DatabaseError as error:
            logger.info("The placeholder of %s could not be queried: %s", self._request_id, type(error).__name__)
            return False
        if found is None or not found.is_open:
            self._is_closed = True
            # Without a message id the row itself may be out of sight, and an aborted call is paid for all the same.
            if found and found.message_id is not None:
                keeper.lose(self._request_id)
        elif found.message_id is not None:
            self._placeholder = found.chat_id, found.message_id
            return True
        return False

    def _edit(self, part: MessagePart, interval_seconds: float) -> bool:
        assert self._placeholder is not None  # noqa: S101 — _show() has found it
        chat_id, message_id = self._placeholder
        # From before the check on: a process that is frozen after it must not replace what has been shown since.
        deadline = Deadline.after(CALL_SECONDS)
        if not _pauses.take_turn(chat_id, interval_seconds) or not self._may_edit(part, message_id):
            return self._is_closed
        try:
            self._client.edit(chat_id, message_id, part, deadline=deadline)
        except BotApiError as error:
            logger.info("A partial edit of %s failed: %s", self._request_id, error)
            _pauses.pause(chat_id, error.retry_after if isinstance(error, SlowDown) else interval_seconds)
            self._is_unconfirmed = self._is_unconfirmed or isinstance(error, OutcomeUnsure)
            if self._shown is None and not self._is_unconfirmed:
                self._take_back_note(message_id)
            if not isinstance(error, SlowDown):
                self._failures += 1
            self._is_closed = self._is_closed or self._failures >= MAX_FAILURES
            return False
        self._shown, self._failures, self._is_unconfirmed = part, 0, False
        _pauses.pause(chat_id, interval_seconds)
        return True

    def _may_edit(self, part: MessagePart, message_id: int) -> bool:
        """Return whether the request is still open, and note before a partial edit how much its user sees."""
        size = len(part.text.encode())
        if self._noted_bytes is not None and size < self._noted_bytes + NOTE_EVERY_BYTES:
            return self._refresh()
        try:
            is_open = delivery_note_shown(self._request_id, message_id, size)
        except DatabaseError as error:
            logger.info("It could not be noted that %s is shown: %s", self._request_id, type(error).__name__)
            return False
        if is_open:
            self._noted_bytes = size
        else:
            self._refresh()  # the request has ended, or another message has become its placeholder
        return is_open

    def _take_back_note(self, message_id: int) -> None:
        """Have the request cost nothing if it is cancelled now: its user has seen nothing of the answer."""
        noted, self._noted_bytes = self._noted_bytes, None
        try:
            delivery_note_refused(self._request_id, message_id, noted or 0)
        except DatabaseError as error:
            logger.info("The note on %s could not be taken back: %s", self._request_id, type(error).__name__)

    def _interval_seconds(self, length: int) -> float:
        """Return the pause after an edit of an answer of so many characters."""
        shortest, longest = EDIT_INTERVAL_SECONDS, MAX_EDIT_INTERVAL_SECONDS
        if self._placeholder and self._placeholder[0] < 0:
            shortest, longest = GROUP_EDIT_INTERVAL_SECONDS, MAX_GROUP_EDIT_INTERVAL_SECONDS
        return shortest + (longest - shortest) * min(1.0, length / LONG_ANSWER_CHARACTERS)

    def _take_unconfirmed(self) -> bool:
        is_unconfirmed, self._is_unconfirmed = self._is_unconfirmed, False
        return is_unconfirmed


class ChatPauses:
    """Until when each chat takes no partial edit of this process, whichever requests they belong to. Thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._not_before: dict[int, float] = {}  # by Telegram's id of the chat, on time.monotonic()

    def seconds_left(self, chat_id: int) -> float:
        """Return the rest of the chat's pause, 0 where there is none."""
        return max(0.0, self._not_before.get(chat_id, 0.0) - time.monotonic())

    def take_turn(self, chat_id: int, seconds: float) -> bool:
        """Keep the chat's other streams waiting for so long, unless one of them has done that. Returns whether."""
        with self._lock:
            is_free = not self.seconds_left(chat_id)
            if is_free:
                self._set(chat_id, seconds)
            return is_free

    def pause(self, chat_id: int, seconds: float) -> None:
        """Let nothing be shown in this chat for so long from now on; a longer pause stays."""
        with self._lock:
            self._set(chat_id, max(seconds, self.seconds_left(chat_id)))

    def _set(self, chat_id: int, seconds: float) -> None:
        now = time.monotonic()
        if len(self._not_before) >= MAX_KEPT_PAUSES:
            self._not_before = {chat: at for chat, at in self._not_before.items() if at > now}
        self._not_before[chat_id] = now + seconds


class Senders:
    """A few daemon threads that make the partial edits of all live messages, each when it is due. Thread-safe.

    One idle thread, the timekeeper, waits for the earliest; the others wait until they are needed. A thread is started
    when something is due soon and all are busy, up to MAX_SENDERS. A message that nobody references is forgotten.
    """

    def __init__(self) -> None:
        lock = threading.Lock()
        self._earlier = threading.Condition(lock)  # the timekeeper waits here
        self._needed = threading.Condition(lock)  # the other idle threads wait here
        self._heap: list[tuple[float, int, ref[LiveMessage]]] = []
        self._numbers = count()  # settles ties
        self._threads = 0
        self._idle = 0
        self._has_timekeeper = False

    def schedule(self, live_message: LiveMessage, seconds: float) -> None:
        """Let a sender advance this message after so many seconds."""
        with self._earlier:
            due = (time.monotonic() + seconds, next(self._numbers), ref(live_message))
            heappush(self._heap, due)
            if self._has_timekeeper:
                if self._heap[0] is due:
                    self._earlier.notify()
            else:
                self._call_timekeeper()

    def _call_timekeeper(self) -> None:
        if self._idle:
            self._needed.notify()
        elif self._threads < MAX_SENDERS:
            self._threads += 1
            threading.Thread(target=self._run, name=f"telegram-sender-{self._threads}", daemon=True).start()

    def _run(self) -> None:
        while True:
            live_message = self._next()
            if live_message:
                seconds = live_message.advance()
                if seconds is not None:
                    self.schedule(live_message, seconds)
            del live_message  # while this thread waits, nobody may reference it

    def _next(self) -> LiveMessage | None:
        """Wait until a message is due and return it, None where it is gone."""
        with self._earlier:
            self._idle += 1
            while (seconds := self._seconds_to_next()) is None or seconds > 0:
                if self._has_timekeeper or seconds is None:
                    self._needed.wait()
                else:
                    self._has_timekeeper = True
                    self._earlier.wait(seconds)
                    self._has_timekeeper = False
            self._idle -= 1
            _, _, live_message = heappop(self._heap)
            if self._heap and not self._has_timekeeper:
                self._call_timekeeper()
        return live_message()

    def _seconds_to_next(self) -> float | None:
        return self._heap[0][0] - time.monotonic() if self._heap else None


# Those of this process, by request id, for as long as a worker or a partial edit under way references them.
live_messages: WeakValueDictionary[str, LiveMessage]
_pauses: ChatPauses
_senders: Senders


def _start_afresh() -> None:
    """Begin without threads and messages, as a process does and a fork must: its parent's threads are not here."""
    global live_messages, _pauses, _senders
    live_messages, _pauses, _senders = WeakValueDictionary(), ChatPauses(), Senders()


_start_afresh()
os.register_at_fork(after_in_child=_start_afresh)


def live_message_open(request_id: str) -> OnText | None:
    """Return a function that shows a request's partial answer, where it belongs to a chat; None without a bot."""
    live_message = live_messages.get(request_id)
    if live_message is None:
        try:
            live_message = LiveMessage(get_client(), request_id)
        except BotApiError:
            return None
        live_messages[request_id] = live_message
    return live_message.show


def live_message_place(request_id: str, chat_id: int, message_id: int) -> bool:
    """Tell this process's stream of a request that its placeholder was sent. Returns whether one is open.

    It is closed by whoever delivers the request's end, before they read the placeholder: so where one is open after the
    placeholder's commit, they will find it.
    """
    live_message = live_messages.get(request_id)
    return live_message is not None and live_message.place(chat_id, message_id)


def live_message_close(request_id: str) -> StreamStatus:
    """Stop this process's stream of a request and wait for the partial edit under way."""
    live_message = live_messages.get(request_id)
    if live_message is None:
        return StreamStatus.ELSEWHERE
    return StreamStatus.UNCONFIRMED if live_message.close() else StreamStatus.SETTLED
