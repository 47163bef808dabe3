"""Our own clients against a running sandbox, whose clock a test sets."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from providers.backends.base import TextProvider
from providers.backends.media_generation import JobProvider, MediaProvider
from providers.registry import PROVIDERS, provider_class
from providers.sandbox import Sandbox
from providers.shipped import shipped_routes
from providers.transport.deadlines import Deadline
from providers.types import Access, Category, Job, MediaResult, Prompt, TextResult

PROMPT = "A quiet lake at dawn"
VIDEO_SECONDS = 3.0
QUICK_SECONDS = 0.6
# The model of every shipped route, by category and provider.
SHIPPED = {(route.category, route.provider): route.model for route in shipped_routes()}
TEXT_SLUGS = [slug for slug, spec in PROVIDERS.items() if Category.TEXT in spec.backends]
MEDIA = [key for key in SHIPPED if key[0] is not Category.TEXT]


@dataclass
class SandboxClock:
    """The sandbox's clock, which a test sets."""

    moment: datetime = datetime(2026, 11, 23, 12, tzinfo=UTC)

    def __call__(self) -> datetime:
        return self.moment

    def pass_seconds(self, seconds: float) -> None:
        self.moment += timedelta(seconds=seconds)


def access_to(sandbox: Sandbox, slug: str, key: str = "") -> Access:
    return Access(key or f"sandbox-key-{slug}", f"{sandbox.url}/{slug}{PROVIDERS[slug].base_path}")


def client(sandbox: Sandbox, category: Category, slug: str, key: str = "") -> MediaProvider:
    provider = provider_class(category, slug)(access_to(sandbox, slug, key))
    assert isinstance(provider, MediaProvider)
    return provider


def prompt_for(category: Category, slug: str, text: str = PROMPT, **fields: Any) -> Prompt:
    return Prompt(**{"category": category, "text": text, "model": SHIPPED[category, slug], **fields})


def soon(seconds: float = 5) -> Deadline:
    return Deadline.after(seconds)


def submit(provider: MediaProvider, prompt: Prompt, timeout_seconds: float = 5) -> MediaResult | Job:
    return provider.run(prompt, timeout_seconds=timeout_seconds, deadline=soon(timeout_seconds))


def generate(provider: MediaProvider, prompt: Prompt, clock: SandboxClock) -> MediaResult:
    """Submit the prompt and, where that starts a job, poll it when its time has come."""
    outcome = submit(provider, prompt)
    if isinstance(outcome, Job):
        assert isinstance(provider, JobProvider)
        clock.pass_seconds(VIDEO_SECONDS)
        outcome = provider.poll(prompt, outcome.id, deadline=soon())
    assert isinstance(outcome, MediaResult)
    return outcome


def ask_text(sandbox: Sandbox, slug: str, text: str) -> TextResult:
    provider = provider_class(Category.TEXT, slug)(access_to(sandbox, slug))
    assert isinstance(provider, TextProvider)
    return provider.run(prompt_for(Category.TEXT, slug, text), timeout_seconds=5, deadline=soon())
