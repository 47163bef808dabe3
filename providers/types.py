"""The values that cross the border of a provider. Frozen, and free of Django."""

import hmac
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from decimal import Decimal
from enum import Enum, StrEnum
from typing import Any


class Category(StrEnum):
    """What kind of answer is wanted."""

    TEXT = "TEXT"
    IMAGE = "IMAGE"
    VIDEO = "VIDEO"
    AUDIO = "AUDIO"


class Operation(StrEnum):
    """What a route does for its category."""

    GENERATE = "generate"
    EDIT = "edit"  # change an image or a video that comes with the prompt
    TRANSCRIBE = "transcribe"  # speech to text


class Purpose(StrEnum):
    """Whom an attempt serves. Tests of the operator are on the bill, but not in success rates."""

    USER = "user"
    TEST = "test"
    SANDBOX = "sandbox"  # nobody: the answer is invented, and never counted beside real ones


class Feature(Enum):
    """What a provider can do beyond the plain call; a prompt that needs more is refused before it is sent."""

    STREAMING = "streaming"
    SYSTEM_PROMPT = "system prompt"
    HISTORY = "earlier turns"
    IMAGE_INPUT = "images in the prompt"
    AUDIO_INPUT = "audio in the prompt"
    WEB_SEARCH = "web search"


class UnknownPolicy(Enum):
    """What follows an attempt of which nobody knows whether the provider executed, and billed, it."""

    RESPEND = "respend"  # cheap: go on down the chain, at the risk of a second bill
    ADOPT = "adopt"  # an asynchronous job: look for it before anything else is bought
    STOP = "stop"  # expensive, and its job cannot be looked for: stop, give the credits back, tell the operator


class CostSource(StrEnum):
    """Where the cost of an attempt comes from, best first."""

    PROVIDER_REPORTED = "provider_reported"
    COMPUTED = "computed"
    ESTIMATED = "estimated"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Access:
    """How to reach a provider. The keys stay out of every repr."""

    key: str = field(repr=False)  # empty: the provider is skipped
    base_url: str  # a path is appended to it
    other_keys: tuple[str, ...] = field(default=(), repr=False)  # which take turns with it

    @property
    def key_id(self) -> str:
        """What tells this key from another one without containing it, whatever SECRET_KEY is."""
        return hmac.digest(b"aibot key id", self.key.encode(), "sha256").hex()[:32]

    def each(self) -> "list[Access]":
        """Return the access with each key alone."""
        return [Access(key, self.base_url) for key in (self.key, *self.other_keys)]


def access_with(keys: Sequence[str], base_url: str) -> Access:
    """Return the access with these keys, which take turns; without any the provider is skipped."""
    first, *others = keys or [""]
    return Access(first, base_url, tuple(others))


@dataclass(frozen=True, slots=True)
class Turn:
    """One earlier message of a conversation."""

    role: str  # "user" or "assistant"
    text: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class Attachment:
    """An image or audio that comes with a prompt."""

    content_type: str  # "image/jpeg", "audio/ogg"
    content: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class OutputOptions:
    """How an output should be, where the user says so; a route that cannot do it is passed by."""

    seconds: int | None = None  # the length of a video or of music
    aspect_ratio: str = ""  # "16:9"
    voice: str = ""  # the provider's own id of a voice
    language: str = ""  # two letters
    negative_prompt: str = field(default="", repr=False)  # what should not be seen
    seed: int | None = None  # with the same one, the same prompt gives the same output
    quality: str = ""  # "low", "medium" or "high"


@dataclass(frozen=True, slots=True)
class Overrides:
    """What the operator changes in the calls of a route."""

    extra_body: Mapping[str, Any] = field(default_factory=dict)  # merged into the body, objects within objects, too
    drop_fields: tuple[str, ...] = ()  # left out of the body; a dot leads into an object
    extra_headers: Mapping[str, str] = field(default_factory=dict)


# Of a text answer, reasoning included, so keep it generous: a small limit buys empty answers.
MAX_OUTPUT_TOKENS = 4096


@dataclass(frozen=True, slots=True)
class Prompt:
    """What a user asks, in no provider's format. Texts stay out of the repr, so that no log holds them."""

    category: Category
    text: str = field(repr=False)
    history: tuple[Turn, ...] = field(default=(), repr=False)  # oldest first, ends with an assistant's turn
    system: str = field(default="", repr=False)
    max_output_tokens: int = MAX_OUTPUT_TOKENS  # where the route does not say
    output_limit: int | None = None  # tokens that the user has agreed to pay for; no route may write more
    model: str = ""  # the provider's id; the chain fills it in from the route
    attachments: tuple[Attachment, ...] = ()
    output_options: OutputOptions = OutputOptions()
    callback_url: str = ""  # where the provider may call when a job is over; the chain fills it in
    submission_id: str = ""  # the attempt's id, for providers that let us name the job; the chain fills it in
    operation: Operation = Operation.GENERATE
    tag: str = ""  # only routes with this tag are asked; "": all of the category
    reasoning_effort: str = ""  # of the route; "": low, where the model is known to take it
    web_search: bool = False  # of the route: the model may search the web before it answers
    overrides: Overrides = Overrides()  # of the route


@dataclass(frozen=True, slots=True)
class FormFile:
    """A file in a form."""

    field_name: str
    name: str  # its ending tells some providers what it is
    content_type: str
    content: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class Call:
    """One HTTP request, before the base class adds the address and the key."""

    path: str  # appended to the base URL, starts with "/"
    json: Mapping[str, Any] | Sequence[Mapping[str, Any]] | None = field(default=None, repr=False)
    files: Sequence[FormFile] = ()  # with files the body is a form, and what `json` holds are its other fields
    headers: Mapping[str, str] = field(default_factory=dict)
    method: str = "POST"


@dataclass(frozen=True, slots=True)
class ListedModel:
    """One model in a provider's list."""

    id: str
    ends_on: date | None = None  # when the provider will shut it down, where it says so
    prices: Mapping[str, Any] = field(default_factory=dict)  # where the list holds them, as a route takes them


@dataclass(frozen=True, slots=True)
class Usage:
    """What a call used, in counts that do not overlap, and the provider's own block as it came."""

    input_tokens: int | None = None  # without those that were read from a cache or written to one
    cached_input_tokens: int = 0
    cache_write_tokens: int = 0
    image_tokens: int = 0  # of images in the prompt, where they have a rate of their own
    output_tokens: int | None = None  # reasoning included
    images: int = 0  # generated
    seconds: Decimal | None = None  # of video or audio, generated or heard, where the provider bills them
    characters: int = 0  # spoken
    searches: int = 0  # of the web
    credits: Decimal | None = None  # of the provider's own, where it says how many it took
    compute_seconds: Decimal | None = None  # for which its hardware ran, where it says so
    reported_cost: Decimal | None = None  # USD, where the provider says it
    raw: Mapping[str, Any] = field(default_factory=dict)

    @property
    def all_input_tokens(self) -> int | None:
        """The whole input, images and what came from or went into a cache included; None where it was not told."""
        if self.input_tokens is None:
            return None
        return self.input_tokens + self.cached_input_tokens + self.cache_write_tokens + self.image_tokens


MAX_SEARCHES = 3  # of the web, for one answer
CUT = "length"  # why an answer ended that is not whole


@dataclass(frozen=True, slots=True)
class TextResult:
    """A finished text answer."""

    text: str = field(repr=False)  # never blank, but for a transcript of silence
    usage: Usage = field(default_factory=Usage)
    model: str = ""  # the model that the provider says has answered
    finish_reason: str = ""  # CUT, or "" where the answer is whole


@dataclass(frozen=True, slots=True)
class MediaResult:
    """A finished image, video or audio: its bytes, or an address from which to fetch them at once."""

    content: bytes = field(default=b"", repr=False)
    url: str = field(default="", repr=False)  # providers delete what is behind it within the hour
    usage: Usage = field(default_factory=Usage)
    model: str = ""
    job_id: str = ""  # of a job that was done before its submission was answered


@dataclass(frozen=True, slots=True)
class Job:
    """Work that goes on at the provider, to be polled by its id."""

    id: str


# What one call to a provider brings: an answer, or a job that will bring one.
Result = TextResult | MediaResult
Outcome = TextResult | MediaResult | Job

# Called with the whole text so far. A shorter text than before means that the next provider has started afresh.
OnText = Callable[[str], None]
