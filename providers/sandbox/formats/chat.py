"""A chat in any format: one path for the conversation, one for the list of models."""

from abc import abstractmethod
from collections.abc import Collection, Mapping, Sequence
from decimal import Decimal
from typing import Any, ClassVar

from providers.registry import PROVIDERS
from providers.sandbox.billing import BillingLine, shipped_cost
from providers.sandbox.error_texts import Problem, VendorRefusal
from providers.sandbox.exchange import EventStream, VendorReply, VendorRequest
from providers.sandbox.faults import InjectedFault
from providers.sandbox.formats.chat_answers import (
    ChatAnswer,
    ChatPrompt,
    ChatTurn,
    TokenCount,
    compose,
    compose_empty,
)
from providers.sandbox.vendor_base import Answered, Endpoint, SandboxVendor
from providers.shipped import shipped_route
from providers.types import Category


class ChatVendor(SandboxVendor):
    """A vendor of text. Its paths follow from its base URL, its first model and its prices from what is shipped."""

    chat_name: ClassVar[str]  # the end of its path
    other_models: ClassVar[tuple[str, ...]] = ()  # beside the shipped one
    caches_input: ClassVar[bool] = False  # counts earlier turns as cached input without being asked
    reasoning_tokens: ClassVar[int] = 0  # before each answer

    @property
    def chat_path(self) -> str:
        return f"{self._version}/{self.chat_name}"

    @property
    def models_path(self) -> str:
        return f"{self._version}/models"

    @property
    def models(self) -> tuple[str, ...]:
        shipped = shipped_route(Category.TEXT, self.slug)
        return (*([shipped.model] if shipped else []), *self.other_models)

    def endpoints(self) -> Sequence[Endpoint]:
        return (
            Endpoint("POST", self.chat_path, self.chat, is_submission=True),
            Endpoint("GET", self.models_path, self.list_models),
        )

    def chat(self, request: VendorRequest) -> Answered:
        prompt = self.read(request, request.json_object())
        if request.fault is InjectedFault.ERROR_IN_200:
            return self.fail_inside(request, prompt), self.unbilled(request)
        if request.fault is InjectedFault.EMPTY:
            answer = compose_empty(prompt)
        else:
            answer = compose(self.label, prompt, caches_input=self.caches_input, reasoning=self.reasoning_tokens)
        cost = shipped_cost(Category.TEXT, self.slug, answer.tokens.usage)
        line = BillingLine(self.slug, prompt.model, usage=answer.tokens.usage, cost=cost)
        return (self.stream(prompt, answer) if prompt.is_streamed else self.whole(prompt, answer)), line

    @abstractmethod
    def read(self, request: VendorRequest, body: dict[str, Any]) -> ChatPrompt:
        """Check the request as the vendor does. Raises VendorRefusal."""

    @abstractmethod
    def whole(self, prompt: ChatPrompt, answer: ChatAnswer) -> VendorReply:
        """Return the answer at once."""

    @abstractmethod
    def stream(self, prompt: ChatPrompt, answer: ChatAnswer) -> EventStream:
        """Return the answer bit by bit, usage and end marker included."""

    @abstractmethod
    def fail_inside(self, request: VendorRequest, prompt: ChatPrompt) -> VendorReply | EventStream:
        """Answer 200 and fail inside it."""

    @abstractmethod
    def list_models(self, request: VendorRequest) -> Answered:
        """List the models."""

    def chat_model(self, body: Mapping[str, Any]) -> str:
        """Return the model that a body names. Raises VendorRefusal."""
        model = body.get("model")
        if not isinstance(model, str) or not model:
            raise VendorRefusal(Problem.INVALID, "model: Field required", "model")
        if model not in self.models:
            raise VendorRefusal(Problem.UNKNOWN_MODEL, model, "model")
        return model

    def cost_of(self, tokens: TokenCount) -> Decimal:
        """Return the price of an answer, for a vendor that reports it."""
        return shipped_cost(Category.TEXT, self.slug, tokens.usage) or Decimal(0)

    @property
    def _version(self) -> str:
        return PROVIDERS[self.slug].base_path or "/v1"


def read_messages(body: Mapping[str, Any], roles: Collection[str], attachments: Collection[str]) -> list[ChatTurn]:
    """Check the conversation; `attachments` are the types of parts that may stand beside text. Raises VendorRefusal."""
    messages = body.get("messages")
    if not isinstance(messages, list) or not messages:
        raise VendorRefusal(Problem.INVALID, "messages: Field required", "messages")
    return [_read_message(item, f"messages.{number}", roles, attachments) for number, item in enumerate(messages)]


def read_limit(body: Mapping[str, Any], *names: str) -> int | None:
    """Return the first of these token limits that is set. Raises VendorRefusal."""
    for name in names:
        value = body.get(name)
        if value is None:
            continue
        if not isinstance(value, int) or isinstance(value, bool) or value < 1:
            raise VendorRefusal(Problem.INVALID, f"{name}: Input should be a whole number of at least 1", name)
        return value
    return None


def _read_message(item: Any, where: str, roles: Collection[str], attachments: Collection[str]) -> ChatTurn:
    if not isinstance(item, dict) or item.get("role") not in roles:
        raise VendorRefusal(Problem.INVALID, f"{where}.role: Input should be one of {', '.join(sorted(roles))}", where)
    content = item.get("content")
    if isinstance(content, str):
        return ChatTurn(item["role"], content)
    types = {"text", *attachments} if item["role"] == "user" else {"text"}
    if not isinstance(content, list) or not content or not all(_is_part(part, types) for part in content):
        raise VendorRefusal(Problem.INVALID, f"{where}.content: Input should be a string or a list of parts", where)
    texts = [part["text"] for part in content if part["type"] == "text"]
    return ChatTurn(item["role"], " ".join(texts), attachments=len(content) - len(texts))


def _is_part(part: Any, types: Collection[str]) -> bool:
    return isinstance(part, dict) and part.get("type") in types and isinstance(part.get("text", ""), str)
