"""Redaction: excerpts of what a provider said that contain no key and nothing of a prompt."""

import html
import re

from providers.errors import ProviderError
from providers.transport.json_fields import valid_unicode
from providers.types import Prompt

HIDDEN = "[…]"
MAX_EXCERPT_CHARACTERS = 200
MAX_CODE_CHARACTERS = 64
SCANNED_CHARACTERS = 2000  # a message that says nothing in this many says nothing
MIN_QUOTE_CHARACTERS = 16  # this many of a prompt's characters in a row are a quotation of it
MIN_KEY_CHARACTERS = 8

_TITLE = re.compile(r"<title[^>]*>(.*?)</title>", re.IGNORECASE | re.DOTALL)
_TAG = re.compile(r"<[^<>]*>")
_ESCAPED_CHARACTER = re.compile(r"\\+u([0-9a-fA-F]{4})")
_ESCAPED_BLANK = re.compile(r"\\+[nrt]")


class Redactor:
    """Redacts what a provider says about one call: its key and its prompt."""

    def __init__(self, key: str, prompt: Prompt) -> None:
        self._key = key
        self._prompt = prompt

    def redact(self, text: str) -> str:
        """Return the beginning of a provider's text on one line, with […] for what repeats the prompt or the key."""
        if self._key:
            text = text.replace(self._key, HIDDEN)
        text = text[:SCANNED_CHARACTERS]
        title = _TITLE.search(text)  # all that a proxy's error page says
        text = _without_runs(_plain(title[1] if title else text), self._key, MIN_KEY_CHARACTERS)
        # A provider's own "sk-pr****wxyz" still shows the ends of the key.
        text = " ".join(HIDDEN if "***" in word else word for word in text.split())
        said = [_plain(part) for part in self._parts()]
        text = _without_runs(text, "\n".join(said), MIN_QUOTE_CHARACTERS)
        for part in said:
            if 0 < len(part) < MIN_QUOTE_CHARACTERS:
                text = re.sub(rf"(?<!\w){re.escape(part)}(?!\w)", HIDDEN, text)
        return text

    def excerpt(self, text: str) -> str:
        """Return the redacted text, short enough for a log line."""
        text = self.redact(text)
        return text if len(text) <= MAX_EXCERPT_CHARACTERS else f"{text[: MAX_EXCERPT_CHARACTERS - 1]}…"

    def redact_error(self, error: ProviderError) -> None:
        """Make an error safe to log, in place: its excerpt and its code come from outside."""
        error.excerpt = self.excerpt(error.excerpt)
        error.code = self.excerpt(error.code)[:MAX_CODE_CHARACTERS]
        error.args = (error.excerpt,)  # what repr() shows

    def _parts(self) -> list[str]:
        return [self._prompt.text, self._prompt.system, *(turn.text for turn in self._prompt.history)]


def _plain(text: str) -> str:
    """Undo the escapings in which a text may be quoted, and put it on one line."""
    text = _TAG.sub(" ", html.unescape(text))
    text = _ESCAPED_CHARACTER.sub(lambda match: chr(int(match[1], 16)), text)
    text = valid_unicode(_ESCAPED_BLANK.sub(" ", text)).replace("\\", "")
    return " ".join("".join(character if character.isprintable() else " " for character in text).split())


def _without_runs(text: str, secret: str, shortest: int) -> str:
    """Replace every run of at least `shortest` characters that the secret has too."""
    kept, start = [], 0
    while start < len(text):
        end = start + shortest
        if end <= len(text) and text[start:end] in secret:
            while end < len(text) and text[start : end + 1] in secret:
                end += 1
            kept.append(HIDDEN)
            start = end
        else:
            kept.append(text[start])
            start += 1
    return "".join(kept)
