"""Formulas in LaTeX as text: in Unicode where that says the same, else as they are written."""

import re
import unicodedata

from telegramify_markdown.latex_escape.helper import LatexToUnicodeHelper

MAX_CHARACTERS = 2000
# The name of a command or of an environment is markup; what remains must be in the text.
MARKUP = re.compile(r"\\(?:begin|end)\s*\{[^{}]*\}|\\[A-Za-z]+|\\[^A-Za-z0-9+*/=<>%|-]")
KEPT = re.compile(r"[^\W_]|[+*/=<>%!|-]")
SAME = str.maketrans("−∗∕⁄", "-*//")

_helper = LatexToUnicodeHelper()


def formula_text(source: str) -> str:
    """Return a formula as text. No letter, digit or operator that stands outside of a command is lost."""
    if "\\" not in source or len(source) > MAX_CHARACTERS:
        return source
    try:
        text = str(_helper.convert(source)).strip()  # type: ignore[no-untyped-call]
    except Exception:  # noqa: BLE001 — a formula that the library cannot read is shown as it is written
        return source
    return text if _keeps_all(source, text) else source


def _keeps_all(source: str, text: str) -> bool:
    """Return whether each character of the source outside of commands is in the text, in order."""
    shown = iter(KEPT.findall(unicodedata.normalize("NFKC", text).translate(SAME)))
    return all(character in shown for character in KEPT.findall(MARKUP.sub(" ", source)))
