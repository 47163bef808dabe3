"""Providers that answer by script, for the tests of the chain above them."""

from collections.abc import Callable
from typing import Any, ClassVar

from providers.types import Access, OnText, Prompt, TextResult, UnknownPolicy

# What one call does: return this text or result, raise this error, or call this function and return its text.
Outcome = str | TextResult | Exception | Callable[[], str]


class ChainScript:
    """What each provider will do, call by call, and which prompts it was given."""

    def __init__(self, outcomes: dict[str, list[Outcome]]) -> None:
        self.outcomes = {provider: list(script) for provider, script in outcomes.items()}
        self.prompts: list[Prompt] = []
        self.policy = UnknownPolicy.RESPEND

    def provider_class(self, category: Any, slug: str) -> type:
        """Stand in for registry.provider_class()."""
        return type("ScriptedText", (_ScriptedText,), {"slug": slug, "script": self, "unknown_policy": self.policy})


class _ScriptedText:
    slug: ClassVar[str]
    script: ClassVar[ChainScript]

    def __init__(self, access: Access) -> None:
        assert access.key

    def check(self, prompt: Prompt) -> None:
        assert prompt.model

    def run(
        self, prompt: Prompt, *, timeout_seconds: float, deadline: float, on_text: OnText | None = None
    ) -> TextResult:
        assert self.script.outcomes[self.slug], f"{self.slug} was asked once more than the script says"
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
