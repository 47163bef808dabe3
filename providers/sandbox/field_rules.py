"""What a model takes, as data, and the check of an order against it."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

from providers.sandbox.vendor_base import Problem, Refused

JSON_TYPES = {str: "string", int: "integer", bool: "boolean", float: "number", list: "array", dict: "object"}


@dataclass(frozen=True, slots=True)
class Field:
    """One field of a model's input."""

    kind: type
    allowed: Collection[Any] = ()  # empty: anything of this kind
    is_required: bool = False
    longest: int = 0  # characters; 0: any length
    shortest: int = 0


ANYTHING = Field(object)
TEXT = Field(str)
PROMPT = Field(str, is_required=True)


def check_fields(given: Mapping[str, Any], fields: Mapping[str, Field], *, within: str = "") -> None:
    """Refuse what the fields do not allow; those that nobody knows are passed over. `within` is the object's name."""
    for name, fact in fields.items():
        where = f"{within}.{name}" if within else name
        if name in given:
            _check(given[name], fact, name, where)
        elif fact.is_required:
            raise Refused(Problem.INVALID, f"{within or 'body'}: {name} is required", where)


def refuse_unknown(given: Mapping[str, Any], known: Collection[str]) -> None:
    """Refuse fields that nobody knows. Some of the real vendors are more patient with them."""
    for name in sorted(given.keys() - set(known)):
        raise Refused(Problem.UNSUPPORTED, name, name)


def _check(value: Any, fact: Field, name: str, where: str) -> None:
    # To Python a boolean is an integer too; to JSON every integer is a number.
    is_kind = isinstance(value, (int, float) if fact.kind is float else fact.kind)
    if not is_kind or (isinstance(value, bool) and fact.kind not in (bool, object)):
        expected, given = JSON_TYPES[fact.kind], JSON_TYPES.get(type(value), "null")
        raise Refused(Problem.INVALID, f"{where}: Invalid type. Expected: {expected}, given: {given}", where)
    if fact.allowed and value not in fact.allowed:
        raise Refused(Problem.INVALID, f"{where}: {name} must be {_words_of(fact.allowed)}", where)
    if isinstance(value, str) and not fact.shortest <= len(value) <= (fact.longest or len(value)):
        words = f"{fact.shortest} to {fact.longest}" if fact.longest else f"at least {fact.shortest}"
        raise Refused(Problem.INVALID, f"{where}: {name} must have {words} characters", where)


def _words_of(allowed: Collection[Any]) -> str:
    if isinstance(allowed, range):
        return f"between {allowed[0]} and {allowed[-1]}"
    return f"one of the following: {', '.join(map(str, allowed))}"
