"""What an operator may write into a route: tags, and changes to the body and the headers of its calls.

Keys and addresses are not among them: whoever can edit a route must not be able to send a key elsewhere.
"""

import re
from typing import Any

from django.core.exceptions import ValidationError

TAG = re.compile(r"[a-z0-9][a-z0-9_-]{0,31}")
FIELD = re.compile(r"[A-Za-z_][\w-]{0,63}(\.[A-Za-z_][\w-]{0,63})*", re.ASCII)
HEADER = re.compile(r"[A-Za-z][A-Za-z0-9-]{0,63}")
EFFORTS = ("none", "minimal", "low", "medium", "high", "xhigh", "max")
# Fields of a body that the chain fills in: with others in their place the answer could not be read, or not be priced.
OURS = {"messages", "model", "prompt", "stream"}
# Their values may be secrets: histories and files have their keys only.
UNRECORDED = frozenset({"extra_body", "extra_headers"})
# Headers that carry a key, or that the transport sets.
RESERVED_HEADERS = {
    "accept-encoding",
    "authorization",
    "connection",
    "content-encoding",
    "content-length",
    "content-type",
    "cookie",
    "host",
    "proxy-authorization",
    "transfer-encoding",
    "x-api-key",
    "xi-api-key",
}


def is_tag(text: str) -> bool:
    """Return whether a route may have this tag."""
    return bool(TAG.fullmatch(text))


def is_field(text: str) -> bool:
    """Return whether this names a field of a body, with points between the names of nested ones."""
    return bool(FIELD.fullmatch(text))


def validate_tags(tags: Any) -> None:
    """Refuse what no AI model could name."""
    if not isinstance(tags, list) or not all(isinstance(tag, str) and is_tag(tag) for tag in tags):
        raise ValidationError('Tags must be a list of short names, such as ["music"]: letters a to z, digits, - and _.')


def validate_tag(tag: str) -> None:
    """Refuse what no route could have."""
    if not is_tag(tag):
        raise ValidationError("A tag is a short name such as music: letters a to z, digits, - and _.")


def validate_extra_body(body: Any) -> None:
    """Refuse what cannot be merged into a body, and fields that are not the operator's."""
    if not isinstance(body, dict):
        raise ValidationError('Extra fields must be a JSON object, such as {"temperature": 0.7}.')
    taken = sorted(OURS.intersection(body))
    if taken:
        raise ValidationError(f"{', '.join(taken)} cannot be set here: the chain fills it in.")


def validate_drop_fields(fields: Any) -> None:
    """Refuse what names no field of a body, and fields without which there is no call."""
    if not isinstance(fields, list) or not all(isinstance(name, str) and is_field(name) for name in fields):
        raise ValidationError(
            'Fields to leave out must be a list of names, such as ["reasoning_effort", "input.seed"].'
        )
    needed = sorted(OURS.intersection(fields) - {"stream"})
    if needed:
        raise ValidationError(f"{', '.join(needed)} cannot be left out.")


def validate_extra_headers(headers: Any) -> None:
    """Refuse what is no header, and headers that carry keys."""
    if not isinstance(headers, dict):
        raise ValidationError('Extra headers must be a JSON object, such as {"X-Title": "My bot"}.')
    for name, value in headers.items():
        if not HEADER.fullmatch(name) or name.lower() in RESERVED_HEADERS:
            raise ValidationError(f"The header {name!r} cannot be set here. Keys come from the environment only.")
        if not isinstance(value, str) or not value.isascii() or not value.isprintable():
            raise ValidationError(f"The value of {name} must be a text of plain ASCII characters.")


def validate_effort(effort: str) -> None:
    """Refuse what no provider knows."""
    if effort not in EFFORTS:
        raise ValidationError(f"Use one of {', '.join(EFFORTS)}, or leave it empty.")
