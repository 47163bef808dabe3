"""What the sandbox answers in a chat, and what it counts: a token is a word, so that figures can be checked by hand."""

import re
from dataclasses import dataclass, field

from providers.types import Usage

EXCERPT_CHARACTERS = 160
TOKENS_PER_MESSAGE = 4  # what a vendor adds for the role and the ends of each message
TOKENS_PER_ATTACHMENT = 85
TOKENS_OF_AN_EMPTY_ANSWER = 64  # spent on reasoning, and billed all the same
WORDS_PER_EVENT = 2  # of a stream


@dataclass(frozen=True, slots=True)
class ChatTurn:
    """One message of a conversation."""

    role: str
    text: str = field(repr=False)
    attachments: int = 0  # images and audio

    @property
    def tokens(self) -> int:
        return len(_words(self.text)) + self.attachments * TOKENS_PER_ATTACHMENT + TOKENS_PER_MESSAGE


@dataclass(frozen=True, slots=True)
class ChatPrompt:
    """What a request asks, in no vendor's format."""

    model: str
    messages: tuple[ChatTurn, ...] = field(repr=False)  # oldest first
    max_tokens: int | None = None
    is_streamed: bool = False
    wants_usage: bool = False  # at the end of a stream


@dataclass(frozen=True, slots=True)
class TokenCount:
    """What an answer used, in counts that do not overlap."""

    input: int
    cached_input: int = 0
    output: int = 0
    reasoning: int = 0  # on top of `output` here; the vendors differ

    @property
    def total(self) -> int:
        return self.input + self.cached_input + self.output + self.reasoning

    @property
    def usage(self) -> Usage:
        return Usage(
            input_tokens=self.input,
            cached_input_tokens=self.cached_input,
            output_tokens=self.output + self.reasoning,
        )


@dataclass(frozen=True, slots=True)
class ChatAnswer:
    """A finished answer and what it used."""

    text: str = field(repr=False)
    tokens: TokenCount
    is_complete: bool = True  # False: the token limit has cut it off

    @property
    def parts(self) -> list[str]:
        """The text a few words at a time; joined they are the text again."""
        words = _words(self.text)
        return ["".join(words[start : start + WORDS_PER_EVENT]) for start in range(0, len(words), WORDS_PER_EVENT)]


def compose(label: str, prompt: ChatPrompt, *, caches_input: bool = False, reasoning: int = 0) -> ChatAnswer:
    """Answer the prompt as the vendor of this label, always in the same words.

    With `caches_input` the earlier turns of a conversation count as cached input, as vendors do that cache by default.
    """
    words = _words(_text_of(label, prompt))
    output = words[: prompt.max_tokens or len(words)]
    return ChatAnswer(
        text="".join(output),
        tokens=_count(prompt, caches_input=caches_input, output=len(output), reasoning=reasoning),
        is_complete=len(output) == len(words),
    )


def compose_empty(prompt: ChatPrompt) -> ChatAnswer:
    """Return an answer without a word that still used tokens."""
    return ChatAnswer(text="", tokens=_count(prompt, output=TOKENS_OF_AN_EMPTY_ANSWER))


def _text_of(label: str, prompt: ChatPrompt) -> str:
    message = prompt.messages[-1]
    excerpt = " ".join(message.text.split())
    if len(excerpt) > EXCERPT_CHARACTERS:
        excerpt = excerpt[:EXCERPT_CHARACTERS].rstrip() + "…"
    turns = sum(message.role == "user" for message in prompt.messages)
    memory = f" This is your message number {turns} in our conversation." if turns > 1 else ""
    attached = f" With it came {message.attachments} attachment(s)." if message.attachments else ""
    return (
        f"Hello from the sandbox, which answers here in place of {label}. You wrote: “{excerpt}”.{attached}{memory} "
        f"These words are invented — no provider was asked and nothing was paid. "
        f"Set a provider's key in .env and start again to get real answers."
    )


def _count(prompt: ChatPrompt, *, caches_input: bool = False, output: int, reasoning: int = 0) -> TokenCount:
    counts = [message.tokens for message in prompt.messages]
    has_history = any(message.role == "assistant" for message in prompt.messages)
    cached = sum(counts[:-1]) if caches_input and has_history else 0
    return TokenCount(input=sum(counts) - cached, cached_input=cached, output=output, reasoning=reasoning)


def _words(text: str) -> list[str]:
    return re.findall(r"\s*\S+", text)
