"""Parameters of addresses: what is not known is refused, never passed over."""

from collections.abc import Callable, Iterable
from typing import Any

from rest_framework.exceptions import ValidationError
from rest_framework.request import Request

MAX_SHOWN = 40  # characters of a bad value in the answer


def parameters_of(request: Request, allowed: Iterable[str], *, unnamed: Iterable[str] = ()) -> dict[str, str]:
    """Return the parameters of an address. Raises ValidationError for others, and for those that are there twice.

    Its words name those that are allowed, but for the `unnamed` ones.
    """
    names = sorted(allowed)
    values: dict[str, str] = {}
    for name, given in request.query_params.lists():
        if name not in {*names, *unnamed}:
            valid = f"Use {', '.join(names)}." if names else "There is none here."
            raise ValidationError({"detail": f"Unknown parameter {name[:MAX_SHOWN]!r}. {valid}"})
        if len(given) > 1:
            raise ValidationError({"detail": f"{name} is there more than once."})
        values[name] = given[0]
    return values


def parse_number(value: str, maximum: int) -> int:
    """Return a whole number from 1 on. Raises ValueError."""
    if value.isascii() and value.isdecimal() and len(value) <= len(str(maximum)) and 1 <= int(value) <= maximum:
        return int(value)
    raise ValueError(f"a whole number from 1 to {maximum}")


def parsed(name: str, value: str, parse: Callable[[str], Any]) -> Any:
    """Return a parameter's value. Raises ValidationError, saying what is allowed."""
    try:
        return parse(value)
    except ValueError as error:
        raise ValidationError({"detail": f"{name} must be {error}, not {value[:MAX_SHOWN]!r}."}) from error
