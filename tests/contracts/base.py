"""What every provider must do, whatever it answers with. Each provider runs this thin slice.

The full grids of errors, secrets and network faults run once, on the templates (templates.py): what a provider
inherits is covered there, what it overrides is covered here and in its own test file.
"""

from collections.abc import Iterator, Mapping
from typing import Any, ClassVar

import pytest

from providers.backends.error_mapping import error_for
from providers.errors import (
    AccessDenied,
    ModelGone,
    OutcomeUnknown,
    ProviderError,
    RateLimited,
    RequestRejected,
    ServerFault,
)
from providers.registry import PROVIDERS, provider_class
from providers.types import Access, Call, Category, Prompt
from tests.fakes.http_server import FakeServer, Step, answer

KEY = "sk-canary-4711-abcdefghijklmnop"
NOWHERE = "http://127.0.0.1:1"  # nobody listens there

# What a status means where no rule of the provider knows better.
MEANINGS: Mapping[int, type[ProviderError]] = {
    400: RequestRejected,
    401: AccessDenied,
    402: AccessDenied,
    403: AccessDenied,
    404: ModelGone,
    408: OutcomeUnknown,
    413: RequestRejected,
    422: RequestRejected,
    429: RateLimited,
    500: OutcomeUnknown,
    502: OutcomeUnknown,
    503: ServerFault,
    504: OutcomeUnknown,
    529: ServerFault,
}


def everything_shown_by(error: BaseException) -> str:
    """Return all that a log, a traceback or a debugger's repr could show of an error and of its causes."""
    shown = []
    link: BaseException | None = error
    while link is not None:
        shown += [str(link), repr(link), repr(link.args)]
        shown += [repr(value) for value in vars(link).values() if isinstance(value, str | tuple | dict)]
        link = link.__cause__ or link.__context__
    return "\n".join(shown)


def message_with_secrets(prompt: Prompt) -> str:
    """Return an error message that repeats the key, whole and masked, and everything in the prompt."""
    texts = " / ".join([prompt.text, prompt.system, *(turn.text for turn in prompt.history)])
    return f"Key {KEY} or Bearer {KEY[:12]}****{KEY[-4:]}: {texts}"


def secrets_of(prompt: Prompt) -> list[str]:
    """Return what no error may show after a call with this prompt."""
    secrets = [KEY, KEY[:12], KEY[-12:]]
    for text in filter(None, (prompt.text, prompt.system, *(turn.text for turn in prompt.history))):
        secrets += [text] if len(text) < 16 else [text[:16], text[-16:], text[20:36]]
    return [secret for secret in secrets if secret]


def assert_redacted(error: ProviderError, secrets: list[str], log: str = "") -> None:
    """Check that neither the error nor the log shows a secret, and that the error is short enough for a log line."""
    shown = everything_shown_by(error) + log
    assert [secret for secret in secrets if secret in shown] == [], shown
    assert len(error.excerpt) <= 200
    assert len(error.code) <= 64


class ProviderContract:
    """Behaviours common to all. `server` is a fixture that answers in the provider's place."""

    slug: ClassVar[str]
    category: ClassVar[Category]
    model: ClassVar[str]
    path: ClassVar[str]  # of the request, with the path of the base URL
    auth: ClassVar[tuple[str, str]] = ("Authorization", f"Bearer {KEY}")  # header and value
    openapi_path: ClassVar[str] = ""  # of the request in the provider's OpenAPI document; "": it is not described

    # --- Helpers for the providers' own tests ---

    @classmethod
    def backend(cls) -> type[Any]:
        """Return the class that is tested."""
        return provider_class(cls.category, cls.slug)

    def provider(self, server: FakeServer | None = None) -> Any:
        base_path = PROVIDERS[self.slug].base_path if self.slug in PROVIDERS else ""
        return self.backend()(Access(KEY, f"{server.url if server else NOWHERE}{base_path}"))

    def prompt(self, **fields: Any) -> Prompt:
        """Return the prompt that becomes `body`; fields replace parts of it."""
        raise NotImplementedError

    def build(self, provider: Any, prompt: Prompt) -> Call:
        """Return the request for this prompt."""
        return provider.build(prompt)

    def run(self, server: FakeServer, **fields: Any) -> Any:
        """Send the prompt and return the result."""
        raise NotImplementedError

    def failure(self, server: FakeServer, step: Step, **fields: Any) -> ProviderError:
        """Return the error that the call ends with when the server follows this step."""
        server.will(step)
        with pytest.raises(ProviderError) as caught:
            self.run(server, **fields)
        assert caught.value.provider == self.slug
        return caught.value

    def assert_means(
        self, server: FakeServer, status: int, body: Any, expected: type[ProviderError], **headers: str | int
    ) -> ProviderError:
        """Check what an error response means: this very class, not one below it."""
        error = self.failure(server, answer(body, status, **headers))
        assert type(error) is expected
        assert error.status == status
        return error

    def assert_errors_like(self, category: Category) -> None:
        """Check that errors are read as in another category of the provider, whose tests cover the table."""
        backend, other = self.backend(), provider_class(category, self.slug)
        assert (backend.rules, backend.code_paths) == (other.rules, other.code_paths)
        assert backend.parse_error is other.parse_error

    def error_body(self, message: str) -> Any:
        """Return an error body in the provider's shape with a message that no table knows."""
        return {"error": {"message": message, "type": "unheard_of", "param": None, "code": None}}

    def steps_with(self, message: str) -> Iterator[Step]:
        """Yield responses that hold this message where the provider's errors have theirs."""
        yield answer(self.error_body(message), 400)
        yield answer(self.error_body(message), 200)

    # --- Errors ---

    def test_a_status_decides_where_no_rule_knows_the_body(self) -> None:
        provider = self.provider()
        bodies = (self.error_body("Something else."), {}, {"message": ""}, {"message": "<html>Bad</html>"})
        found = {
            status: {error_for(provider.parse_error(status, body), provider.rules) for body in bodies}
            for status in MEANINGS
        }
        assert found == {status: {error} for status, error in MEANINGS.items()}

    def test_an_error_in_its_own_shape_shows_neither_key_nor_prompt(
        self, server: FakeServer, caplog: pytest.LogCaptureFixture
    ) -> None:
        caplog.set_level("DEBUG")
        for prompt in (self.prompt(), self.prompt(text="PIN 4711")):
            for step in self.steps_with(message_with_secrets(prompt)):
                error = self.failure(server, step, text=prompt.text)
                assert_redacted(error, secrets_of(prompt), caplog.text)

    def test_no_repr_shows_key_or_prompt(self) -> None:
        provider, prompt = self.provider(), self.prompt()
        shown = "".join(map(repr, [provider, provider.access, prompt, prompt.history, self.build(provider, prompt)]))
        assert "canary" not in shown
