"""What the sandbox says, and what it counts: a token is a word here, so that every figure can be checked by hand."""

import re
from dataclasses import dataclass, field

EXCERPT_CHARACTERS = 160
TOKENS_PER_MESSAGE = 4  # what a vendor adds for the role and the ends of each message
TOKENS_PER_ATTACHMENT = 85
EMPTY_ANSWERS_TOKENS = 64  # reasoned about, never said, and billed all the same
WORDS_PER_PIECE = 2  # of a stream


@dataclass(frozen=True, slots=True)
class Message:
    """One message of a conversation."""

    role: str
    text: str = field(repr=False)
    attachments: int = 0  # pictures and recordings

    @property
    def tokens(self) -> int:
        return len(_words(self.text)) + self.attachments * TOKENS_PER_ATTACHMENT + TOKENS_PER_MESSAGE


@dataclass(frozen=True, slots=True)
class Question:
    """What a vendor's request asks, in no vendor's words."""

    model: str
    messages: tuple[Message, ...] = field(repr=False)  # oldest first
    max_tokens: int | None = None
    is_streamed: bool = False
    wants_usage: bool = False  # at the end of a stream


@dataclass(frozen=True, slots=True)
class Tokens:
    """What an answer used, in lines that do not overlap."""

    input: int
    cached_input: int = 0
    output: int = 0
    reasoning: int = 0  # comes on top of `output` here; the vendors differ

    @property
    def total(self) -> int:
        return self.input + self.cached_input + self.output + self.reasoning


@dataclass(frozen=True, slots=True)
class Answer:
    """A finished answer and what it used."""

    text: str = field(repr=False)
    tokens: Tokens
    is_complete: bool = True  # False: the question's token limit has cut it off

    @property
    def pieces(self) -> list[str]:
        """The text a few words at a time; joined they are the text again."""
        words = _words(self.text)
        return ["".join(words[start : start + WORDS_PER_PIECE]) for start in range(0, len(words), WORDS_PER_PIECE)]


def compose(label: str, question: Question, *, is_cached: bool = False, reasoning: int = 0) -> Answer:
    """Answer the question as the vendor of this label, always in the same words.

    With `is_cached` the earlier turns of a conversation count as cached input, as vendors do that cache by themselves.
    """
    words = _words(_text_of(label, question))
    limit = question.max_tokens or len(words)
    spoken = words[:limit]
    return Answer(
        text="".join(spoken),
        tokens=_tokens(question, is_cached=is_cached, output=len(spoken), reasoning=reasoning),
        is_complete=len(spoken) == len(words),
    )


def compose_nothing(question: Question) -> Answer:
    """Return an answer without a word that still used tokens."""
    return Answer(text="", tokens=_tokens(question, output=EMPTY_ANSWERS_TOKENS))


def _text_of(label: str, question: Question) -> str:
    message = question.messages[-1]
    excerpt = " ".join(message.text.split())
    if len(excerpt) > EXCERPT_CHARACTERS:
        excerpt = excerpt[:EXCERPT_CHARACTERS].rstrip() + "…"
    turns = sum(message.role == "user" for message in question.messages)
    memory = f" This is your message number {turns} in our conversation." if turns > 1 else ""
    attached = f" With it came {message.attachments} attachment(s)." if message.attachments else ""
    return (
        f"Hello from the sandbox, which answers here in place of {label}. You wrote: “{excerpt}”.{attached}{memory} "
        f"These words are invented — no provider was asked and nothing was paid. "
        f"Set a provider's key in .env and start again to get real answers."
    )


def _tokens(question: Question, *, is_cached: bool = False, output: int, reasoning: int = 0) -> Tokens:
    counts = [message.tokens for message in question.messages]
    has_history = any(message.role == "assistant" for message in question.messages)
    cached = sum(counts[:-1]) if is_cached and has_history else 0
    return Tokens(input=sum(counts) - cached, cached_input=cached, output=output, reasoning=reasoning)


def _words(text: str) -> list[str]:
    return re.findall(r"\s*\S+", text)
