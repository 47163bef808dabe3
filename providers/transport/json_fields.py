"""Reading foreign JSON without trusting its shape, and writing ours. Which fields a provider has is not known here."""

import json
import re
from collections.abc import Callable, Mapping
from datetime import date
from decimal import Decimal
from json import JSONDecoder
from typing import Any

from providers.pricing import MAX_COST_USD

MAX_COUNT = 10**9  # tokens: more than any model takes
MAX_DEPTH = 8  # of a usage block; the providers' have three
MAX_NESTING = 600  # of a whole text

# A string without an end goes to the end of the text: to look for it again from each quote would take for ever.
_STRING_OR_BRACKET = re.compile(r'"[^"\\]*(?:\\(?:.|\Z)[^"\\]*)*(?:"|\Z)|[\[\]{}]', re.DOTALL)


# Money is read from the digits themselves, never through a float. NaN and Infinity are no JSON, and some servers write
# them all the same, in fields that nobody reads: they are nothing.
_decoder = JSONDecoder(parse_float=Decimal, parse_constant=lambda _: None)


def decode_first_object(text: str) -> dict[str, Any]:
    """Return the JSON object with which this text begins, whatever follows it. Raises ValueError."""
    try:
        _refuse_deep_nesting(text)
        value, _ = _decoder.raw_decode(text.lstrip())
    except (ValueError, RecursionError):
        value = None
    if not isinstance(value, dict):
        raise ValueError("a JSON object was expected")
    return value


def decode_object(text: str) -> dict[str, Any]:
    """Return the JSON object that this text is. Raises ValueError for everything else."""
    value = decode_any(text)
    if not isinstance(value, dict):
        raise ValueError(f"a JSON object was expected, not {type(value).__name__}")
    return value


def decode_any(text: str) -> Any:
    """Return the JSON value that this text is. Raises ValueError."""
    try:
        _refuse_deep_nesting(text)
        return _decoder.decode(text)
    except (ValueError, RecursionError) as error:
        words = type(error).__name__
    # Outside of the handler, since a JSONDecodeError carries the whole text along.
    raise ValueError(f"JSON was expected, not {words}")


def load_json(content: bytes, parse_constant: Callable[[str], Any] | None = None) -> Any:
    """Return the JSON value in these bytes, its fractions as floats: for what is stored as it came, not for money.

    `parse_constant` is that of json.loads(). Raises ValueError.
    """
    try:
        _refuse_deep_nesting(content.decode("utf-8", "replace"))
        return json.loads(content, parse_constant=parse_constant)
    except RecursionError as error:
        raise ValueError("JSON nested too deeply") from error


def _refuse_deep_nesting(text: str) -> None:
    """Raise ValueError for a JSON text whose lists and objects lie in each other more than MAX_NESTING deep.

    Python's parser goes one call deeper per level. A RecursionError out of it can be caught, but what the garbage
    collector happens to finish down there (a generator that gives a connection back) fails as well, unseen. It is
    still caught where the parser is called, since a caller may be deep itself.
    """
    if text.count("[") + text.count("{") <= MAX_NESTING:
        return
    depth = 0
    for found in _STRING_OR_BRACKET.finditer(text):
        first = text[found.start()]
        depth += (first in "[{") - (first in "]}")
        if depth > MAX_NESTING:
            raise ValueError(f"JSON nested more than {MAX_NESTING} deep")


def encode_json(value: Any) -> bytes:
    """Return the value as the body of a request. Half an emoji would not be UTF-8: it becomes a question mark."""
    return json.dumps(value, ensure_ascii=False).encode("utf-8", "replace")


def get_path(value: Any, *path: str | int) -> Any:
    """Return what lies at this path, or None where the path breaks off."""
    for step in path:
        if isinstance(step, str) and isinstance(value, Mapping):
            value = value.get(step)
        elif isinstance(step, int) and isinstance(value, list) and -len(value) <= step < len(value):
            value = value[step]
        else:
            return None
    return value


def text_at(value: Any, *path: str | int) -> str:
    """Return the string at this path, "" where there is none."""
    found = get_path(value, *path)
    return found if isinstance(found, str) else ""


def list_at(value: Any, *path: str | int) -> list[Any]:
    """Return the list at this path, an empty one where there is none."""
    found = get_path(value, *path)
    return found if isinstance(found, list) else []


def date_at(value: Any, *path: str | int) -> date | None:
    """Return the day at this path, else None."""
    try:
        return date.fromisoformat(text_at(value, *path)[:10])
    except ValueError:
        return None


def urls_in(value: Any, *, level: int = 0) -> list[str]:
    """Return the web addresses and data URIs in a string, a list or an object, however they are nested."""
    if isinstance(value, str):
        return [value] if value.startswith(("https://", "http://", "data:")) else []
    if isinstance(value, Mapping):
        value = list(value.values())
    if not isinstance(value, list) or level == MAX_DEPTH:
        return []
    return [url for item in value for url in urls_in(item, level=level + 1)]


def count_at(value: Any, *path: str | int) -> int | None:
    """Return the plausible whole number at this path, else None."""
    found = get_path(value, *path)
    if isinstance(found, str) and re.fullmatch(r"[0-9]{1,11}(\.0+)?", found):
        found = int(found.partition(".")[0])
    # The size first: 1e999999999 is a valid number, and its digits would fill the memory.
    if isinstance(found, Decimal) and found.is_finite() and 0 <= found <= MAX_COUNT and found == int(found):
        found = int(found)
    is_count = isinstance(found, int) and not isinstance(found, bool) and 0 <= found <= MAX_COUNT
    return found if is_count else None


def number_at(value: Any, *path: str | int) -> Decimal | None:
    """Return the plausible quantity at this path, written as a number or as a string, else None."""
    return _amount_at(value, path, unit=Decimal(1), largest=Decimal(MAX_COUNT))


def money_at(value: Any, *path: str | int, unit: Decimal = Decimal(1)) -> Decimal | None:
    """Return the plausible amount at this path in USD, written as a number or as a string, else None."""
    return _amount_at(value, path, unit=unit, largest=MAX_COST_USD)


def _amount_at(value: Any, path: tuple[str | int, ...], *, unit: Decimal, largest: Decimal) -> Decimal | None:
    found = get_path(value, *path)
    if isinstance(found, bool) or not isinstance(found, int | str | Decimal):
        return None
    try:
        amount = Decimal(found) * unit
    except ArithmeticError:
        return None
    return amount if amount.is_finite() and 0 <= amount <= largest else None


def json_safe(value: Any, *, level: int = 0) -> Any:
    """Return the value as any JSON column takes it: decimals as strings, no NUL and no half characters."""
    if isinstance(value, Decimal):
        return str(value)
    if isinstance(value, str):
        return valid_unicode(value)
    if isinstance(value, Mapping | list) and level == MAX_DEPTH:
        return None
    if isinstance(value, Mapping):
        return {valid_unicode(name): json_safe(item, level=level + 1) for name, item in value.items()}
    if isinstance(value, list):
        return [json_safe(item, level=level + 1) for item in value]
    return value


def valid_unicode(text: str) -> str:
    """Return the text as UTF-8 and PostgreSQL can hold it.

    JSON may spell an emoji as two escaped halves, and a stream may cut between them: halves that meet are joined, a
    lonely one becomes a replacement character. NUL is dropped.
    """
    try:
        text.encode()
    except UnicodeEncodeError:
        text = text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    return text.replace("\0", "")
