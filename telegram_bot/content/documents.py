"""The text of files that users send: code, tables, logs, notes, in UTF-8, UTF-16, UTF-32 or an older encoding."""

import re
import unicodedata
from codecs import BOM_UTF8, BOM_UTF16_BE, BOM_UTF16_LE, BOM_UTF32_BE, BOM_UTF32_LE, getincrementaldecoder

from charset_normalizer import from_bytes

BYTES_PER_CHARACTER = 4  # at most
# By how a file begins; UTF-32 before UTF-16, with whose mark it begins too.
MARKS = {
    BOM_UTF8: "utf-8-sig",
    BOM_UTF32_LE: "utf-32",
    BOM_UTF32_BE: "utf-32",
    BOM_UTF16_LE: "utf-16",
    BOM_UTF16_BE: "utf-16",
}
WESTERN = "cp1252"
DOUBLE_BYTE = ("cp932", "gb18030", "big5", "euc_kr", "euc_jp")
OLDER = [WESTERN, "cp1251", "koi8_r", "cp1253", "cp1254", "cp1255", "cp1256", *DOUBLE_BYTE]
MIN_FOREIGN = 0.3  # of the letters are beyond ASCII where an alphabet is not the Latin one
REPLACED = "\ufffd"
COLOURS = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")  # as terminals and their logs have them
USUAL_CONTROLS = "\t\n\r\f"
MAX_NAME = 80


def text_of(content: bytes, *, limit: int) -> str | None:
    """Return the text of a file; None where it is none, whatever its name and its declared type say.

    Of a text of more than `limit` characters at least so many, and little more is looked at. A few bytes that its
    encoding does not have are replaced.
    """
    size = BYTES_PER_CHARACTER * limit
    text = _decoded(content[:size], is_cut=len(content) > size)
    text = COLOURS.sub("", text).replace("\r\n", "\n")
    return text if _is_readable(text) else None


def prompt_with_file(prompt: str, name: str, text: str, *, limit: int) -> str:
    """Return a prompt about a file, whose text is cut, and said to be, where it has more than `limit` characters."""
    shown = "".join(each for each in name if unicodedata.category(each)[0] != "C")[:MAX_NAME]
    opening = f"{prompt}\n\nThe file “{shown}”" if shown else f"{prompt}\n\nThe file"
    whole = f"{opening}:\n\n{text}"
    if len(whole) <= limit:
        return whole
    opening += ", of which only the beginning is here:\n\n"
    return opening + text[: max(0, limit - len(opening))]


def _decoded(content: bytes, *, is_cut: bool) -> str:
    def decode(encoding: str) -> str:
        # Where the content is cut, so may be its last character.
        return getincrementaldecoder(encoding)("replace").decode(content, final=not is_cut)

    encoding = next((encoding for mark, encoding in MARKS.items() if content.startswith(mark)), "")
    text = decode(encoding or "utf-8")
    wrong = text.count(REPLACED)
    # A broken byte here and there makes no other encoding of it.
    if encoding or wrong * 10 <= sum(not each.isascii() for each in text) - wrong:
        return text
    return decode(_older_encoding(content))


def _older_encoding(content: bytes) -> str:
    guess = from_bytes(content, cp_isolation=OLDER).best()
    encoding = guess.encoding if guess else WESTERN
    foreign = sum(byte > 127 for byte in content)
    letters = foreign + sum(65 <= byte & 0b11011111 <= 90 for byte in content)
    return encoding if encoding in DOUBLE_BYTE or foreign >= MIN_FOREIGN * letters else WESTERN


def _is_readable(text: str) -> bool:
    strange = sum(unicodedata.category(each) == "Cc" and each not in USUAL_CONTROLS for each in text)
    return "\x00" not in text and (strange + text.count(REPLACED)) * 100 <= len(text)
