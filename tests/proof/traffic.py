"""User traffic: prompts of every kind, spoken ones too, commands, buttons and images, as Telegram sends them.

Telegram retries an update until it is answered with a 200, sometimes repeats one that was, and keeps no order.
"""

import heapq
import io
import json
import random
import threading
import time
from collections import Counter
from itertools import count
from typing import Any

import requests
from PIL import Image

from tests.fakes.audio import opus
from tests.fakes.telegram import FakeTelegram
from tests.telegram_bot.updates import USER, membership, message, press

CHATS = 60
FIRST_CHAT = 5000
SENDERS = 6
SHARE_REPEATED = 0.15
SHARE_DELAYED = 0.15  # by up to MAX_DELAY_SECONDS, so that later ones overtake them
MAX_DELAY_SECONDS = 3.0
RETRY_SECONDS = 1.0  # after any other answer than a 200
LOADS = (0.5, 0.9)  # of the knee, in turn
LOAD_SECONDS = 60.0
MAX_ANSWER_SECONDS = 5.0  # then the call counts as unanswered
VOICE_SECONDS = 5
IMAGE_FILE_ID = "an-image"
SECRET_HEADER = "X-Telegram-Bot-Api-Secret-Token"
SUBJECTS = ("a slow river", "the price of tea", "*bold* and `code`", "two lines\nof text", "naïve café 🦊", "x < y & z")
# What users do, and how often.
ACTIONS = {
    "prompt": 70,
    "image": 3,
    "voice": 5,
    "cancel": 6,
    "models": 4,
    "button": 6,
    "balance": 3,
    "new": 4,
    "block": 1,
    "unsupported": 3,
}


class Traffic:
    """Sends updates from start() to end(), at half of the knee and near it; what is queued then is still delivered."""

    def __init__(self, *, url: str, secret: str, bot_api: FakeTelegram, knee: float, seed: int) -> None:
        """`knee` is how many updates a second can be handled."""
        self.counts: Counter[str] = Counter()
        self.acknowledged: set[int] = set()
        self.slowest_seconds = 0.0  # answer of the webhook
        self._url, self._secret, self._bot_api = url, secret, bot_api
        self._knee = knee
        self._began = self._rush_until = time.monotonic()
        self._rush_factor = 1.0
        self._random = random.Random(f"traffic {seed}")
        self._numbers, self._tie_breakers = count(1), count()
        self._outbox: list[tuple[float, int, dict[str, Any]]] = []  # due on time.monotonic(), tie, update
        self._in_flight = 0
        self._changed = threading.Condition()
        self._is_ending = threading.Event()
        self._is_over = False
        self._writer = threading.Thread(target=self._write, name="writer", daemon=True)
        self._senders = [threading.Thread(target=self._send, name="sender", daemon=True) for _ in range(SENDERS)]
        bot_api.files[IMAGE_FILE_ID] = _image()
        for chat_id in self.chats:
            bot_api.chat(chat_id)

    @property
    def chats(self) -> range:
        return range(FIRST_CHAT, FIRST_CHAT + CHATS)

    def start(self) -> None:
        for thread in (self._writer, *self._senders):
            thread.start()

    def end(self) -> None:
        """Write nothing new, and unblock the bot wherever it is blocked."""
        self._is_ending.set()
        self._writer.join()
        for chat_id in self.chats:
            if self._bot_api.chat(chat_id).is_blocked:
                self._unblock(chat_id)

    def rush(self, seconds: float, *, factor: float) -> None:
        """Write so many times more than the knee for a while."""
        self._rush_until, self._rush_factor = time.monotonic() + seconds, factor

    def is_delivered(self) -> bool:
        """Return whether every update that was written was acknowledged."""
        with self._changed:
            return not self._outbox and not self._in_flight

    def stop(self) -> None:
        with self._changed:
            self._is_over = True
            self._changed.notify_all()
        for sender in self._senders:
            sender.join(MAX_ANSWER_SECONDS + 1)

    # --- Writing ---

    def _write(self) -> None:
        while not self._is_ending.wait(self._random.expovariate(self._rate())):
            chat_id = self._random.choice(self.chats)
            (action,) = self._random.choices(list(ACTIONS), list(ACTIONS.values()))
            update = self._update(action, chat_id)
            self.counts[action] += 1
            delay = self._random.uniform(0, MAX_DELAY_SECONDS) if self._random.random() < SHARE_DELAYED else 0.0
            self._post(update, delay)
            while self._random.random() < SHARE_REPEATED:
                self.counts["duplicates"] += 1
                self._post(update, self._random.choice([0.0, self._random.uniform(0, MAX_DELAY_SECONDS)]))

    def _rate(self) -> float:
        now = time.monotonic()
        load = LOADS[int((now - self._began) / LOAD_SECONDS) % len(LOADS)]
        return self._knee * (self._rush_factor if now < self._rush_until else load)

    def _update(self, action: str, chat_id: int) -> dict[str, Any]:
        if action == "prompt":
            return self._from(chat_id, message(self._prompt_text(), chat_id=chat_id))
        if action == "image":
            photo = [{"file_id": IMAGE_FILE_ID, "file_unique_id": IMAGE_FILE_ID, "width": 8, "height": 8}]
            return self._from(chat_id, message(chat_id=chat_id, photo=photo, caption=self._prompt_text()))
        if action == "voice":
            return self._from(chat_id, message(chat_id=chat_id, voice=self._voice()))
        if action == "button":
            return self._press(chat_id)
        if action == "block":
            return self._block(chat_id)
        if action == "unsupported":
            sticker = {"file_id": "s", "file_unique_id": "s", "width": 1, "height": 1, "is_animated": False}
            sticker |= {"is_video": False, "type": "regular"}
            return self._from(chat_id, message(chat_id=chat_id, sticker=sticker))
        command = {"models": "/model"}.get(action, f"/{action}")
        return self._from(chat_id, message(command, chat_id=chat_id))

    def _prompt_text(self) -> str:
        kind = " forbidden" if self._random.random() < 0.03 else ""
        return f"Prompt {next(self._numbers):06d}: about{kind} {self._random.choice(SUBJECTS)}"

    def _voice(self) -> dict[str, Any]:
        """Say a prompt: return a voice message whose file the Bot API has."""
        words = self._prompt_text()
        file_id = f"voice {words}"
        self._bot_api.files[file_id] = opus(VOICE_SECONDS, said=words)
        return {"file_id": file_id, "file_unique_id": file_id, "duration": 5, "mime_type": "audio/ogg"}

    def _press(self, chat_id: int) -> dict[str, Any]:
        """Press a button of the chat, or ask for the list of models where there is none."""
        with_buttons = [shown for shown in list(self._bot_api.chat(chat_id).messages) if shown.buttons]
        if not with_buttons:
            return self._from(chat_id, message("/model", chat_id=chat_id))
        menu = self._random.choice(with_buttons)
        data = self._random.choice(list(menu.buttons))["callback_data"]
        return press(data, message_id=menu.id, chat_id=chat_id, user={**USER, "id": chat_id})

    def _block(self, chat_id: int) -> dict[str, Any]:
        self._bot_api.chat(chat_id).is_blocked = True
        back = threading.Timer(self._random.uniform(1, 5), self._unblock, (chat_id,))
        back.daemon = True
        back.start()
        return self._from(chat_id, membership("kicked", chat_id=chat_id), "my_chat_member")

    def _unblock(self, chat_id: int) -> None:
        if self._bot_api.chat(chat_id).is_blocked:
            self._bot_api.chat(chat_id).is_blocked = False
            self._post(self._from(chat_id, membership("member", chat_id=chat_id), "my_chat_member"), 0.0)

    def _from(self, chat_id: int, update: dict[str, Any], kind: str = "message") -> dict[str, Any]:
        """Set the chat's user as the sender."""
        update[kind]["from"] = {**USER, "id": chat_id}
        return update

    # --- Sending ---

    def _post(self, update: dict[str, Any], delay_seconds: float) -> None:
        with self._changed:
            heapq.heappush(self._outbox, (time.monotonic() + delay_seconds, next(self._tie_breakers), update))
            self._changed.notify()

    def _send(self) -> None:
        session = requests.Session()
        session.trust_env = False
        while (update := self._take()) is not None:
            status = self._call(session, update)
            if status != 200:
                self.counts["retried"] += 1
                self._post(update, RETRY_SECONDS)
            with self._changed:
                self._in_flight -= 1
                if status == 200:
                    self.acknowledged.add(update["update_id"])

    def _take(self) -> dict[str, Any] | None:
        with self._changed:
            while not self._is_over:
                wait_seconds = self._outbox[0][0] - time.monotonic() if self._outbox else None
                if wait_seconds is not None and wait_seconds <= 0:
                    self._in_flight += 1
                    return heapq.heappop(self._outbox)[2]
                self._changed.wait(wait_seconds)
            return None

    def _call(self, session: requests.Session, update: dict[str, Any]) -> int:
        """Send an update once and return the HTTP status; 0 where no answer came."""
        began = time.monotonic()
        try:
            headers = {SECRET_HEADER: self._secret, "Content-Type": "application/json"}
            status = session.post(
                self._url, data=json.dumps(update).encode(), headers=headers, timeout=MAX_ANSWER_SECONDS
            ).status_code
        except requests.RequestException:
            self.counts["unanswered"] += 1
            return 0
        self.slowest_seconds = max(self.slowest_seconds, time.monotonic() - began)
        return status


def _image() -> bytes:
    content = io.BytesIO()
    Image.new("RGB", (8, 8), "orange").save(content, "PNG")
    return content.getvalue()
