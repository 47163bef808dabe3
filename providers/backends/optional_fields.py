"""Fields of ours that a call can do without, and models that refuse them with a 400.

Every request to such a model would fail alike. So it is asked once more without the field that it names, and from then
on without it, for as long as this process lives.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import TypeVar

from providers.errors import RequestRejected
from providers.types import Call, Prompt

Result = TypeVar("Result")
Place = tuple[str, str]  # a base URL and a model

# How a refusal names each field of a body.
NAMED_BY: Mapping[str, str] = {
    "reasoning_effort": r"reasoning[_. ]?effort",
    "reasoning": r"\breasoning\b",
    "output_config": r"output_config|\beffort\b",
    "stream_options": r"stream_options|include_usage",
    "max_tokens": r"\bmax_tokens\b",
    "max_completion_tokens": r"\bmax_completion_tokens\b",
    "response_format": r"response_format|verbose_json",
    "output_format": r"output_format",
    "quality": r"\bquality\b",
    "resolution": r"\bresolution\b",
}
# The same limit by its other name, without which an answer would have none.
OTHER_NAMES: Mapping[str, str] = {"max_tokens": "max_completion_tokens", "max_completion_tokens": "max_tokens"}
MAX_PLACES = 1000  # a process remembers

_refused: dict[Place, frozenset[str]] = {}  # replaced by item, so that threads may share it


def asked_with_optional_fields(call: Call, prompt: Prompt, base_url: str, ask: Callable[[Call], Result]) -> Result:
    """Return what `ask` returns for the call, at the second try without the field of ours that was refused.

    What the operator has put into the route is never left out. Raises what `ask` raises.
    """
    place = (base_url, prompt.model)
    for field in _refused.get(place, ()):
        call = _without(call, field)
    try:
        return ask(call)
    except RequestRejected as error:
        field = _refused_field(call, prompt, error)
        if not field:
            raise
    result = ask(_without(call, field))
    if len(_refused) >= MAX_PLACES:
        _refused.clear()
    _refused[place] = _refused.get(place, frozenset()) | {field}
    return result


def _refused_field(call: Call, prompt: Prompt, error: RequestRejected) -> str:
    """Return the field of ours that a refusal names, "" where it names none."""
    if error.status not in (400, 422) or not isinstance(call.json, Mapping):
        return ""
    ours = [field for field in NAMED_BY if field in call.json and field not in prompt.overrides.extra_body]
    if error.param in ours:
        return error.param
    words = f"{error.param} {error.code} {error.excerpt}"
    return next((field for field in ours if re.search(NAMED_BY[field], words, re.IGNORECASE)), "")


def _without(call: Call, field: str) -> Call:
    if not isinstance(call.json, Mapping) or field not in call.json:
        return call
    body = {name: value for name, value in call.json.items() if name != field}
    if field in OTHER_NAMES:
        body[OTHER_NAMES[field]] = call.json[field]
    return replace(call, json=body)
