"""Faults of the outside world: providers fail and recover; the Bot API refuses, delays and drops calls."""

import random
import threading
from collections import Counter

from providers.sandbox import Sandbox
from providers.sandbox.faults import InjectedFault
from tests.fakes import telegram
from tests.fakes.telegram import FakeTelegram
from tests.proof.fast_timings import CALL_SECONDS, MAX_DELAY_SECONDS

SHARE_OF_CALLS = 0.08  # of the Bot API
SHARE_OF_PROVIDERS = 0.25  # that fail at any time
CHANGE_SECONDS = 0.5  # between two changes at some provider
# After these the caller cannot know whether a message was sent, so a placeholder may be left.
UNSURE = {"mute", "hang up after", "hang up", "deaf", "bad gateway"}


class FaultInjector:
    """Injects faults into the sandbox's providers and the fake Bot API until stop()."""

    def __init__(self, *, sandbox: Sandbox, bot_api: FakeTelegram, seed: int) -> None:
        self.counts: Counter[str] = Counter()
        self.unsure_sends = 0
        self._sandbox, self._bot_api = sandbox, bot_api
        self._calls, self._providers = random.Random(f"calls {seed}"), random.Random(f"providers {seed}")
        self._is_over = threading.Event()
        self._thread = threading.Thread(target=self._run, name="faults", daemon=True)

    def start(self) -> None:
        self._bot_api.inject_fault = self._choose_fault
        self._thread.start()

    def stop(self) -> None:
        """End every fault."""
        self._is_over.set()
        self._thread.join()
        self._bot_api.inject_fault = telegram.no_fault
        self._sandbox.heal()

    def _run(self) -> None:
        slugs = list(self._sandbox.faults.as_dict())
        while not self._is_over.wait(CHANGE_SECONDS):
            slug = self._providers.choice(slugs)
            if self._providers.random() > SHARE_OF_PROVIDERS:
                self._sandbox.heal(slug)
                continue
            fault = self._providers.choice(list(InjectedFault))
            self._sandbox.break_provider(slug, fault)
            self.counts[f"provider: {fault}"] += 1

    def _choose_fault(self, method: str) -> telegram.BotApiFault | None:
        """Return the fault of one call, or None. The server's lock keeps the random numbers in order."""
        if self._calls.random() > SHARE_OF_CALLS:
            return None
        faults: dict[str, telegram.BotApiFault] = {
            "429": telegram.flood(self._calls.choice([1, 1, 2, 3])),
            "bad gateway": telegram.refuse(502, "Bad Gateway"),
            "mute": telegram.mute(2 * CALL_SECONDS),
            "deaf": telegram.deaf(2 * CALL_SECONDS),
            "hang up": telegram.hang_up,
            "hang up after": telegram.hang_up_after,
            "late": telegram.late(self._calls.uniform(0.1, MAX_DELAY_SECONDS)),
        }
        name = self._calls.choice(list(faults))
        self.counts[f"Bot API: {name}"] += 1
        self.unsure_sends += method == "sendMessage" and name in UNSURE
        return faults[name]
