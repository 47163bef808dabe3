"""What every vendor of the sandbox has in common: a key, problems, and, with most, a chat that answers or streams."""

import json
import re
import uuid
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from decimal import Decimal
from enum import Enum, auto
from typing import Any, ClassVar

from providers.sandbox.billing import Line, cost_of_tokens, usage_of
from providers.sandbox.chat_answers import Answer, Message, Question, compose, compose_nothing
from providers.sandbox.faults import Fault

RETRY_AFTER_SECONDS = 10
FORBIDDEN = "forbidden"  # in a prompt for a picture, a film or a sound: its content is refused
PENNILESS = "penniless"  # the same: the account is empty


@dataclass(frozen=True, slots=True)
class Call:
    """One request as it came."""

    method: str
    path: str  # without the provider's name and the query
    headers: Mapping[str, str] = field(repr=False)
    body: bytes = field(default=b"", repr=False)
    query: str = ""
    origin: str = ""  # the vendor's address in this sandbox


@dataclass(frozen=True, slots=True)
class Reply:
    """A whole answer."""

    status: int
    body: Any = field(repr=False)  # what becomes JSON, or the bytes of a file
    headers: Mapping[str, str] = field(default_factory=dict)
    is_cut: bool = False  # half of the body, then the line goes dead
    content_type: str = "application/json"
    delay_seconds: float = 0.0  # for which the vendor holds the call before it answers


@dataclass(frozen=True, slots=True)
class Stream:
    """Server-sent events, to be sent one after the other."""

    events: Sequence[str]
    headers: Mapping[str, str] = field(default_factory=dict)


class Problem(Enum):
    """Why a vendor refuses. Each has its own words and statuses for these."""

    NO_KEY = auto()
    WRONG_KEY = auto()
    NO_SUCH_PATH = auto()
    UNKNOWN_MODEL = auto()
    UNKNOWN_VOICE = auto()
    INVALID = auto()  # a field is missing or has a wrong value
    TOO_LONG = auto()
    UNSUPPORTED = auto()  # a field that this model does not take
    RATE_LIMITED = auto()
    DOWN = auto()
    NO_CREDIT = auto()
    REFUSED_CONTENT = auto()


@dataclass(frozen=True, slots=True)
class Wording:
    """How one vendor puts one problem."""

    status: int
    code: str  # its own name of the problem
    message: str  # "{}" stands for the detail, such as the model or the field
    headers: Mapping[str, str] = field(default_factory=dict)


class Refused(Exception):
    """The vendor would refuse this call."""

    def __init__(self, problem: Problem, detail: str = "", param: str | None = None) -> None:
        super().__init__(detail)
        self.problem = problem
        self.detail = detail
        self.param = param


REFUSALS = {
    Fault.DOWN: Problem.DOWN,
    Fault.RATE_LIMITED: Problem.RATE_LIMITED,
    Fault.BAD_KEY: Problem.WRONG_KEY,
}


class Vendor(ABC):
    """One vendor: facts as class attributes, its family's formats in the methods."""

    slug: ClassVar[str]
    label: ClassVar[str]
    models: ClassVar[tuple[str, ...]]
    wordings: ClassVar[Mapping[Problem, Wording]]

    @property
    def key(self) -> str:
        return f"sandbox-key-{self.slug}"

    @property
    @abstractmethod
    def order_path(self) -> str:
        """The path that people are shown."""

    @abstractmethod
    def respond(self, call: Call, fault: Fault | None) -> tuple[Reply | Stream, Line | None]:
        """Return the vendor's answer, and its line on the bill unless nothing was asked of a model."""

    @abstractmethod
    def unbilled(self, call: Call) -> Line | None:
        """Return the line of a call that cost nothing; None where no model was asked."""

    @abstractmethod
    def sent_key(self, call: Call) -> str:
        """Return the key that the call carries, or nothing."""

    @abstractmethod
    def error_body(self, call: Call, wording: Wording, message: str, param: str | None) -> dict[str, Any]:
        """Write a problem down."""

    def check_fault(self, call: Call, fault: Fault | None) -> None:
        """Refuse the call where the fault is one of those that refuse everything."""
        if fault in REFUSALS:
            raise Refused(REFUSALS[fault], masked(self.sent_key(call)))

    def check_key(self, call: Call) -> None:
        """Refuse a missing or wrong key."""
        key = self.sent_key(call)
        if not key:
            raise Refused(Problem.NO_KEY)
        if key != self.key:
            raise Refused(Problem.WRONG_KEY, masked(key))

    def check_model(self, model: Any) -> str:
        if not isinstance(model, str) or not model:
            raise Refused(Problem.INVALID, "model: Field required", "model")
        if model not in self.models:
            raise Refused(Problem.UNKNOWN_MODEL, model, "model")
        return model

    def refuse(self, call: Call, refusal: Refused) -> Reply:
        """Put a problem into the vendor's words."""
        wording = self.wordings[refusal.problem]
        message = wording.message.format(refusal.detail)
        return Reply(wording.status, self.error_body(call, wording, message, refusal.param), wording.headers)

    def free_line(self, model: str) -> Line:
        return Line(provider=self.slug, model=model, usage=None, cost=Decimal(0))


class TextVendor(Vendor):
    """A vendor of texts: one path for the chat, one for the models."""

    chat_path: ClassVar[str]
    models_path: ClassVar[str]
    caches_input = False  # counts the earlier turns of a conversation as cached input without being asked
    reasoning_tokens = 0  # thought before each answer

    @property
    def order_path(self) -> str:
        return self.chat_path

    def respond(self, call: Call, fault: Fault | None) -> tuple[Reply | Stream, Line | None]:
        try:
            self.check_fault(call, fault)
            if (call.method, call.path) == ("GET", self.models_path):
                return Reply(200, self.catalogue()), None
            self.check_key(call)
            if (call.method, call.path) != ("POST", self.chat_path):
                raise Refused(Problem.NO_SUCH_PATH, f"{call.method} {call.path}")
            question = self.read(call, json_of(call))
        except Refused as refusal:
            return self.refuse(call, refusal), self.unbilled(call)
        if fault == Fault.ERROR_IN_200:
            return self.fail_inside(call, question), self.unbilled(call)
        return self._answered(question, fault)

    @abstractmethod
    def read(self, call: Call, body: dict[str, Any]) -> Question:
        """Check the request as the vendor does. Raises Refused."""

    @abstractmethod
    def whole(self, question: Question, answer: Answer) -> Reply:
        """Write the answer down at once."""

    @abstractmethod
    def stream(self, question: Question, answer: Answer) -> Stream:
        """Write the answer down bit by bit, usage and end marker included."""

    @abstractmethod
    def catalogue(self) -> dict[str, Any]:
        """List the models."""

    @abstractmethod
    def fail_inside(self, call: Call, question: Question) -> Reply | Stream:
        """Answer 200 and fail inside it."""

    def unbilled(self, call: Call) -> Line | None:
        return self.free_line(model_in(call)) if call.path == self.chat_path else None

    def _answered(self, question: Question, fault: Fault | None) -> tuple[Reply | Stream, Line]:
        if fault == Fault.EMPTY:
            answer = compose_nothing(question)
        else:
            answer = compose(self.label, question, is_cached=self.caches_input, reasoning=self.reasoning_tokens)
        cost = cost_of_tokens(self.slug, answer.tokens)
        response = self.stream(question, answer) if question.is_streamed else self.whole(question, answer)
        line = Line(provider=self.slug, model=question.model, usage=usage_of(answer.tokens), cost=cost)
        return (_cut(response) if fault == Fault.CUT else response), line


def json_of(call: Call) -> dict[str, Any]:
    """Return the body of a call. Raises Refused where it is no JSON object."""
    try:
        body = json.loads(call.body)
    except ValueError as error:
        raise Refused(Problem.INVALID, "We could not parse the JSON body of your request.") from error
    if not isinstance(body, dict):
        raise Refused(Problem.INVALID, "The body must be a JSON object.")
    return body


def model_in(call: Call, field_name: str = "model") -> str:
    """Return the model that a call names, in whatever state its body is."""
    try:
        body = json.loads(call.body)
    except ValueError:
        return ""
    return str(body.get(field_name, "")) if isinstance(body, dict) else ""


PROMPT_FIELDS = ("prompt", "text", "input", "positivePrompt", "gpt_description_prompt")


def words_in(call: Call) -> str:
    """Return the prompt that a call carries: the latest message of a chat, or what is to be made."""
    try:
        body = json.loads(call.body)
    except ValueError:
        return ""
    if isinstance(body, list) and body:
        body = body[0]
    holder = body["input"] if isinstance(body, dict) and isinstance(body.get("input"), dict) else body
    if not isinstance(holder, dict):
        return ""
    messages = holder.get("messages")
    latest = messages[-1] if isinstance(messages, list) and messages else {}
    words = latest.get("content") if isinstance(latest, dict) else ""
    if isinstance(words, list):
        words = " ".join(str(part["text"]) for part in words if isinstance(part, dict) and "text" in part)
    return str(words or next((holder[name] for name in PROMPT_FIELDS if holder.get(name)), ""))


def masked(key: str) -> str:
    """Return a key as vendors quote it back: its first letters and its last ones."""
    return f"{key[:3]}***{key[-2:]}" if key else ""


def is_word_in(word: str, text: str) -> bool:
    """Tell whether a prompt asks for one of the failures that a word of it brings about."""
    return re.search(rf"\b{word}\b", text, re.IGNORECASE) is not None


def bearer_of(call: Call) -> str:
    """Return the token of the Authorization header, or nothing."""
    scheme, _, token = call.headers.get("authorization", "").partition(" ")
    return token.strip() if scheme.lower() == "bearer" else ""


def messages_of(
    body: Mapping[str, Any], roles: frozenset[str], attachment_parts: frozenset[str]
) -> tuple[Message, ...]:
    """Check the conversation and return it; `attachment_parts` may stand beside the text. Raises Refused."""
    messages = body.get("messages")
    if not isinstance(messages, list) or not messages:
        raise Refused(Problem.INVALID, "messages: Field required", "messages")
    return tuple(
        _message_of(item, f"messages.{number}", roles, attachment_parts) for number, item in enumerate(messages)
    )


def _message_of(item: Any, where: str, roles: frozenset[str], attachment_parts: frozenset[str]) -> Message:
    if not isinstance(item, dict) or item.get("role") not in roles:
        raise Refused(Problem.INVALID, f"{where}.role: Input should be one of {', '.join(sorted(roles))}", where)
    content = item.get("content")
    if isinstance(content, str):
        return Message(item["role"], content)
    kinds = {"text", *attachment_parts} if item["role"] == "user" else {"text"}
    if not isinstance(content, list) or not content or not all(_is_part(part, kinds) for part in content):
        raise Refused(Problem.INVALID, f"{where}.content: Input should be a string or a list of parts", where)
    texts = [part["text"] for part in content if part["type"] == "text"]
    return Message(item["role"], " ".join(texts), attachments=len(content) - len(texts))


def _is_part(part: Any, kinds: set[str]) -> bool:
    return isinstance(part, dict) and part.get("type") in kinds and isinstance(part.get("text", ""), str)


def limit_of(body: Mapping[str, Any], *names: str) -> int | None:
    """Return the first of these token limits that is set. Raises Refused."""
    for name in names:
        value = body.get(name)
        if value is None:
            continue
        if not isinstance(value, int) or isinstance(value, bool) or value < 1:
            raise Refused(Problem.INVALID, f"{name}: Input should be a whole number of at least 1", name)
        return value
    return None


def new_id(prefix: str) -> str:
    return f"{prefix}{uuid.uuid4().hex[:24]}"


def _cut(response: Reply | Stream) -> Reply | Stream:
    if isinstance(response, Stream):
        return Stream(response.events[: max(1, len(response.events) // 2)], response.headers)
    return replace(response, is_cut=True)
