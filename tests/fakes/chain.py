"""Providers that answer by script, for the tests of the chain above them."""

from collections.abc import Callable
from datetime import datetime
from typing import Any, ClassVar

from providers.backends.base import TextProvider
from providers.backends.media_generation import JobProvider
from providers.transport.deadlines import Deadline
from providers.types import (
    Call,
    Feature,
    Job,
    MediaResult,
    OnText,
    Operation,
    Prompt,
    TextResult,
    UnknownPolicy,
)

# What one call does: return this text or result, raise this error, or call this function and return its text.
ScriptedOutcome = str | TextResult | Exception | Callable[[], str]


class ChainScript:
    """What each provider does, call by call, and which prompts it was given."""

    def __init__(self, outcomes: dict[str, list[ScriptedOutcome]]) -> None:
        self.outcomes = {provider: list(script) for provider, script in outcomes.items()}
        self.prompts: list[Prompt] = []
        self.policy = UnknownPolicy.RESPEND
        self.features: frozenset[Feature] = frozenset()

    def provider_class(self, category: Any, slug: str, operation: Any = Operation.GENERATE) -> type:
        """Stand in for registry.provider_class()."""
        members = {"slug": slug, "script": self, "unknown_policy": self.policy, "features": self.features}
        return type("ScriptedText", (_ScriptedText,), members)


class _ScriptedText(TextProvider):
    script: ClassVar[ChainScript]

    def check(self, prompt: Prompt) -> None:
        assert prompt.model

    def run(
        self, prompt: Prompt, *, timeout_seconds: float, deadline: Deadline, on_text: OnText | None = None
    ) -> TextResult:
        assert self.script.outcomes[self.slug], f"{self.slug} was called once more often than the script says"
        self.script.prompts.append(prompt)
        outcome = self.script.outcomes[self.slug].pop(0)
        if callable(outcome):
            outcome = outcome()
        if isinstance(outcome, Exception):
            raise outcome
        result = TextResult(outcome) if isinstance(outcome, str) else outcome
        if on_text:
            on_text(result.text)
        return result


class JobScript:
    """What a provider of long jobs does: on each submission, and on each poll of a job."""

    def __init__(self, *, submissions: list[Any], polls: list[Any] = (), found: list[list[Job]] = ()) -> None:
        self.submissions, self.polls, self.found = list(submissions), list(polls), list(found)
        self.polled: list[str] = []  # the job ids, in order
        self.cancelled: list[str] = []
        self.file = b""  # the content behind every output's address
        self.policy = UnknownPolicy.ADOPT

    def provider_class(self, category: Any, slug: str, operation: Any = Operation.GENERATE) -> type:
        """Stand in for registry.provider_class()."""
        return type("ScriptedJob", (_ScriptedJob,), {"slug": slug, "script": self, "unknown_policy": self.policy})


class _ScriptedJob(JobProvider):
    script: ClassVar[JobScript]

    def run(self, prompt: Prompt, *, timeout_seconds: float, deadline: Deadline, on_text: OnText | None = None) -> Any:
        return _play(self.script.submissions, self.slug)

    def poll(self, prompt: Prompt, job_id: str, *, deadline: Deadline) -> Any:
        self.script.polled.append(job_id)
        return _play(self.script.polls, self.slug)

    def find_jobs(self, prompt: Prompt, *, since: datetime, deadline: Deadline) -> list[Job]:
        return _play(self.script.found, self.slug)

    def fetch_output(self, url: str, *, deadline: Deadline) -> bytes:
        return self.script.file

    def cancel(self, job_id: str, *, deadline: Deadline) -> None:
        self.script.cancelled.append(job_id)

    def build(self, prompt: Prompt) -> Call:
        raise AssertionError("no call leaves here")

    def poll_call(self, job_id: str) -> Call:
        raise AssertionError("no call leaves here")

    def parse_job(self, prompt: Prompt, body: Any) -> MediaResult | Job:
        raise AssertionError("no answer comes here")


def _play(script: list[Any], slug: str) -> Any:
    assert script, f"{slug} was called once more often than the script says"
    outcome = script.pop(0)
    if callable(outcome):
        outcome = outcome()
    if isinstance(outcome, Exception):
        raise outcome
    return outcome
