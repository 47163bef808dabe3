"""How an output should be: the options of a label, and of the requests that are made under it."""

from collections.abc import Mapping
from typing import Any

from django.core.exceptions import ValidationError

from providers.types import OutputOptions

KINDS: Mapping[str, type] = {"seconds": int, "aspect_ratio": str, "voice": str, "language": str}


def validate_options(options: Any) -> None:
    """Refuse options that output_options_of() could not read, in words that say what to type."""
    if not isinstance(options, dict):
        raise ValidationError("Options must be a JSON object.")
    for name, value in options.items():
        if name not in KINDS:
            raise ValidationError(f"Unknown option {name!r}. Use {', '.join(KINDS)}.")
        if type(value) is not KINDS[name]:
            raise ValidationError(f"{name} must be a {'whole number' if KINDS[name] is int else 'text in quotes'}.")


def output_options_of(options: Mapping[str, Any]) -> OutputOptions:
    """Return a request's options as the providers understand them."""
    return OutputOptions(**{name: options[name] for name in KINDS if name in options})
