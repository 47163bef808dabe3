"""Our own clients at the counter of a running sandbox, whose clock a test sets."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from providers.backends.media_generation import JobProvider, MediaProvider
from providers.registry import PROVIDERS, provider_class
from providers.sandbox import Sandbox
from providers.sandbox.billing import shipped_rows
from providers.transport.deadlines import Deadline
from providers.types import Access, Category, Job, MediaResult, Prompt

WISH = "A quiet lake at dawn"
FILM_SECONDS = 3.0
QUICK_SECONDS = 0.6
# The default model of every row that we ship, by category and provider.
SHIPPED = {(Category(row[0]), row[1]): row[3] for row in reversed(shipped_rows())}


@dataclass
class GuardedCall:
    """The sandbox's clock, which a test sets."""

    moment: datetime = datetime(2026, 11, 23, 12, tzinfo=UTC)

    def __call__(self) -> datetime:
        return self.moment

    def pass_seconds(self, seconds: float) -> None:
        self.moment += timedelta(seconds=seconds)


def client(sandbox: Sandbox, category: Category, slug: str, key: str = "") -> MediaProvider:
    access = Access(key or f"sandbox-key-{slug}", f"{sandbox.url}/{slug}{PROVIDERS[slug].base_path}")
    provider = provider_class(category, slug)(access)
    assert isinstance(provider, MediaProvider)
    return provider


def wish_for(category: Category, slug: str, text: str = WISH, **fields: Any) -> Prompt:
    return Prompt(**{"category": category, "text": text, "model": SHIPPED[category, slug], **fields})


def soon(seconds: float = 5) -> Deadline:
    return Deadline.after(seconds)


def order(provider: MediaProvider, prompt: Prompt, patience: float = 5) -> MediaResult | Job:
    return provider.run(prompt, timeout_seconds=patience, deadline=soon(patience))


def make(provider: MediaProvider, prompt: Prompt, watch: GuardedCall) -> MediaResult:
    """Order and, where it is a job, look again when its time has come."""
    made = order(provider, prompt)
    if isinstance(made, Job):
        assert isinstance(provider, JobProvider)
        watch.pass_seconds(FILM_SECONDS)
        made = provider.poll(prompt, made.id, deadline=soon())
    assert isinstance(made, MediaResult)
    return made
