"""What a request may contain, as data, and the check of a request against it."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Any

from providers.sandbox.error_texts import Problem, VendorRefusal

JSON_TYPES = {str: "string", int: "integer", bool: "boolean", float: "number", list: "array", dict: "object"}


@dataclass(frozen=True, slots=True)
class FieldRule:
    """One field of a JSON object."""

    kind: type
    allowed: Collection[Any] = ()  # empty: any value of this kind
    is_required: bool = False
    min_length: int = 0  # characters
    max_length: int = 0  # characters; 0: any length
    fields: Mapping[str, "FieldRule"] = field(default_factory=dict)  # of an object


Fields = Mapping[str, FieldRule]

TEXT = FieldRule(str)
PROMPT = FieldRule(str, is_required=True)
INTEGER = FieldRule(int)
NUMBER = FieldRule(float)
SWITCH = FieldRule(bool)
ARRAY = FieldRule(list)
OBJECT = FieldRule(dict)


def prompt_of(max_length: int, *, min_length: int = 0) -> FieldRule:
    return FieldRule(str, is_required=True, min_length=min_length, max_length=max_length)


def one_of(*allowed: Any, is_required: bool = False) -> FieldRule:
    return FieldRule(type(allowed[0]), allowed, is_required)


def between(low: int, high: int) -> FieldRule:
    return FieldRule(int, range(low, high + 1))


def check_fields(given: Mapping[str, Any], fields: Fields, *, within: str = "", allow_unknown: bool = False) -> None:
    """Refuse what the rules do not allow; `within` is the object's name. Raises VendorRefusal."""
    for name, rule in fields.items():
        where = f"{within}.{name}" if within else name
        if name in given:
            _check(given[name], rule, name, where)
        elif rule.is_required:
            raise VendorRefusal(Problem.INVALID, f"{within or 'body'}: {name} is required", where)
    for name in [] if allow_unknown else sorted(given.keys() - fields.keys()):
        raise VendorRefusal(Problem.UNSUPPORTED, name, name)


def _check(value: Any, rule: FieldRule, name: str, where: str) -> None:
    # To Python a boolean is an integer too; to JSON every integer is a number.
    is_kind = isinstance(value, (int, float) if rule.kind is float else rule.kind)
    if not is_kind or (isinstance(value, bool) and rule.kind not in (bool, object)):
        expected, given = JSON_TYPES[rule.kind], JSON_TYPES.get(type(value), "null")
        raise VendorRefusal(Problem.INVALID, f"{where}: Invalid type. Expected: {expected}, given: {given}", where)
    if isinstance(value, dict):
        check_fields(value, rule.fields, within=where, allow_unknown=True)
    elif rule.allowed and value not in rule.allowed:
        raise VendorRefusal(Problem.INVALID, f"{where}: {name} must be {_in_words(rule.allowed)}", where)
    if isinstance(value, str) and not rule.min_length <= len(value) <= (rule.max_length or len(value)):
        size = f"{rule.min_length} to {rule.max_length}" if rule.max_length else f"at least {rule.min_length}"
        raise VendorRefusal(Problem.INVALID, f"{where}: {name} must have {size} characters", where)


def _in_words(allowed: Collection[Any]) -> str:
    if isinstance(allowed, range):
        return f"between {allowed[0]} and {allowed[-1]}"
    return f"one of the following: {', '.join(map(str, allowed))}"
