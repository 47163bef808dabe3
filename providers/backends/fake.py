"""An in-memory twin of the text providers, for tests: point a line of the registry at FakeText.

Each key has its own script, so one class can play several vendors at once.
"""

from collections import defaultdict, deque
from collections.abc import Callable

from providers.base import TextProvider
from providers.errors import ProviderError
from providers.types import OnText, Prompt, TextResult, Usage

# What one call does: give this answer, raise this error, or do what the function does and give its answer.
Step = str | TextResult | ProviderError | Callable[[Prompt], "str | TextResult"]

_scripts: dict[str, deque[Step]] = defaultdict(deque)
_calls: list[tuple[str, Prompt]] = []


class FakeText(TextProvider):
    """Plays the script of its key, step by step, then says hello for ever."""

    slug = "fake"

    def run(
        self, prompt: Prompt, *, timeout_seconds: float, deadline: float, on_text: OnText | None = None
    ) -> TextResult:
        self.check(prompt)
        _calls.append((self.access.key, prompt))
        script = _scripts[self.access.key]
        step = script.popleft() if script else "Hello!"
        if isinstance(step, ProviderError):
            step.provider = step.provider or self.slug
            raise step
        answer = step if isinstance(step, str | TextResult) else step(prompt)
        result = answer if isinstance(answer, TextResult) else TextResult(answer, Usage(10, 0, 5), prompt.model)
        if on_text:
            for end, character in enumerate(f"{result.text} "):
                if character == " " and result.text[:end].strip():
                    on_text(result.text[:end])
        return result


def play(key: str, *steps: Step) -> None:
    """Append steps to the script of a key."""
    _scripts[key].extend(steps)


def calls(key: str) -> list[Prompt]:
    """Return the prompts that came with this key, oldest first."""
    return [prompt for called_key, prompt in _calls if called_key == key]


def forget() -> None:
    """Empty all scripts and forget all calls. Call it between tests."""
    _scripts.clear()
    _calls.clear()
