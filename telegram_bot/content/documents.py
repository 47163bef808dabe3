"""The text of files that users send: source code, tables, notes, in whichever encoding they are."""

import unicodedata
from codecs import BOM_UTF8, BOM_UTF16_BE, BOM_UTF16_LE, getincrementaldecoder

from charset_normalizer import from_bytes

SAMPLE_BYTES = 65_536  # by which an encoding is guessed
BYTES_PER_CHARACTER = 4  # at most, in encodings that are used
USUAL_CONTROLS = "\t\n\r\f"
MAX_NAME = 80


def text_of(content: bytes, *, limit: int) -> str | None:
    """Return the text of a file; None where it is none, whatever its name and its declared type say.

    Of a text of more than `limit` characters at least so many, and little more is looked at.
    """
    content = content[: BYTES_PER_CHARACTER * limit]
    if content.startswith((BOM_UTF16_LE, BOM_UTF16_BE)):
        return _decoded(content, "utf-16")
    if b"\x00" in content:
        return None
    text = _decoded(content.removeprefix(BOM_UTF8), "utf-8")
    if text is None:
        guess = from_bytes(content[:SAMPLE_BYTES]).best()
        text = _decoded(content, guess.encoding) if guess else None
    return text.replace("\r\n", "\n") if text is not None and _is_readable(text) else None


def prompt_with_file(prompt: str, name: str, text: str, *, limit: int) -> str:
    """Return a prompt about a file, whose text is cut, and said to be, where it has more than `limit` characters."""
    shown = "".join(each for each in name if unicodedata.category(each)[0] != "C")[:MAX_NAME]
    opening = f"{prompt}\n\nThe file “{shown}”" if shown else f"{prompt}\n\nThe file"
    whole = f"{opening}:\n\n{text}"
    if len(whole) <= limit:
        return whole
    opening += ", of which only the beginning is here:\n\n"
    return opening + text[: max(0, limit - len(opening))]


def _decoded(content: bytes, encoding: str) -> str | None:
    try:
        return getincrementaldecoder(encoding)().decode(content)  # its last character may be cut
    except UnicodeError:
        return None


def _is_readable(text: str) -> bool:
    strange = sum(unicodedata.category(each) == "Cc" and each not in USUAL_CONTROLS for each in text)
    return strange * 100 <= len(text)
