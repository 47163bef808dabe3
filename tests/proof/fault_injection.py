"""What goes wrong in the outside world: vendors break and heal, and the Bot API refuses, forgets and falls silent."""

import random
import threading
from collections import Counter

from providers.sandbox import Sandbox
from providers.sandbox.faults import Fault
from tests.fakes import telegram
from tests.fakes.telegram import FakeTelegram
from tests.proof.fast_timings import BELATED_SECONDS, CALL_SECONDS

SHARE_OF_CALLS = 0.08  # of the Bot API that meet a fault
SHARE_OF_VENDORS = 0.25  # that are broken at any time
CHANGE_SECONDS = 0.5  # between two changes at some vendor
# After these nobody can tell whether a message was sent, so a placeholder may be left.
UNSURE = {"mute", "hang up after", "hang up", "deaf", "bad gateway"}


class Weather:
    """Breaks the sandbox's vendors and the fake Bot API until it is calmed."""

    def __init__(self, *, sandbox: Sandbox, bot_api: FakeTelegram, seed: int) -> None:
        self.counts: Counter[str] = Counter()
        self.unsure_sends = 0
        self._sandbox, self._bot_api = sandbox, bot_api
        self._calls, self._vendors = random.Random(f"calls {seed}"), random.Random(f"vendors {seed}")
        self._is_over = threading.Event()
        self._thread = threading.Thread(target=self._run, name="weather", daemon=True)

    def begin(self) -> None:
        self._bot_api.weather = self._over_a_call
        self._thread.start()

    def calm(self) -> None:
        """End every fault."""
        self._is_over.set()
        self._thread.join()
        self._bot_api.weather = lambda method: None
        self._sandbox.heal()

    def _run(self) -> None:
        slugs = list(self._sandbox.faults.as_dict())
        while not self._is_over.wait(CHANGE_SECONDS):
            slug = self._vendors.choice(slugs)
            if self._vendors.random() > SHARE_OF_VENDORS:
                self._sandbox.heal(slug)
                continue
            fault = self._vendors.choice(list(Fault))
            self._sandbox.break_provider(slug, fault)
            self.counts[f"vendor: {fault}"] += 1

    def _over_a_call(self, method: str) -> telegram.Fault | None:
        """Return what happens to one call. The server asks under its lock, so the numbers stay in order."""
        if self._calls.random() > SHARE_OF_CALLS:
            return None
        faults: dict[str, telegram.Fault] = {
            "429": telegram.flood(self._calls.choice([1, 1, 2, 3])),
            "bad gateway": telegram.refuse(502, "Bad Gateway"),
            "mute": telegram.mute(2 * CALL_SECONDS),
            "deaf": telegram.deaf(2 * CALL_SECONDS),
            "hang up": telegram.hang_up,
            "hang up after": telegram.hang_up_after,
            "late": telegram.late(self._calls.uniform(0.1, BELATED_SECONDS)),
        }
        name = self._calls.choice(list(faults))
        self.counts[f"Bot API: {name}"] += 1
        self.unsure_sends += method == "sendMessage" and name in UNSURE
        return faults[name]
