"""What a route's operator changes in its calls: fields that are added, replaced or left out, and headers."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from providers.types import Call, Overrides


def with_overrides(call: Call, overrides: Overrides) -> Call:
    """Return the call as the route's operator wants it. Pure; a body that is a list is changed in each of its objects.

    A header of ours that has the same name in other letters is replaced.
    """
    body: Any = call.json
    if isinstance(body, Mapping):
        body = _changed(body, overrides)
    elif isinstance(body, Sequence):
        body = [_changed(each, overrides) for each in body]
    replaced = {name.lower() for name in overrides.extra_headers}
    kept = {name: value for name, value in call.headers.items() if name.lower() not in replaced}
    return replace(call, json=body, headers={**kept, **overrides.extra_headers})


def _changed(body: Mapping[str, Any], overrides: Overrides) -> dict[str, Any]:
    changed = _merged(body, overrides.extra_body)
    for name in overrides.drop_fields:
        changed = _without(changed, name.split("."))
    return changed


def _merged(body: Mapping[str, Any], extra: Mapping[str, Any]) -> dict[str, Any]:
    merged = dict(body)
    for name, value in extra.items():
        known = merged.get(name)
        both = isinstance(known, Mapping) and isinstance(value, Mapping)
        merged[name] = _merged(known, value) if both and isinstance(known, Mapping) else value
    return merged


def _without(body: Mapping[str, Any], path: Sequence[str]) -> dict[str, Any]:
    name, *rest = path
    if not rest:
        return {known: value for known, value in body.items() if known != name}
    inner = body.get(name)
    return {**body, name: _without(inner, rest)} if isinstance(inner, Mapping) else dict(body)
