"""Routes as a file: written by one service, read by another, or kept beside a backup.

JSON with a format and its version. No keys: those come from the environment. Extra headers and extra fields of the body
may hold secrets, so they are in a file only where that was asked for. A route is known by its category and name; routes
that a file does not mention, and fields that it leaves out, stay as they are.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from django.core.exceptions import ValidationError
from django.db import models, transaction
from django.utils import timezone

from providers.models import ProviderConfig, RoutingRule
from providers.route_fields import UNRECORDED
from providers.routes.advice import unservable
from providers.types import Category, Operation
from providers.versioning import Change, change_of, shown, sign

FORMAT, VERSION = "aibot-routes", 1
MAX_BYTES = 1_000_000  # dozens of routes are a few ten thousand
KEY = ("category", "name")
FIELDS = (
    *KEY, "operation", "provider", "enabled", "priority", "weight", "model", "list_price", "price_unit", "prices",
    "capabilities", "timeout_seconds", "daily_cap_usd", "tags", "drop_fields", "max_output_tokens", "web_search",
    "reasoning_effort",
)  # fmt: skip
SECRET_FIELDS = tuple(sorted(UNRECORDED))
REASON = "import"


class InvalidFile(ValueError):
    """The file cannot be imported; its words say where and why. Nothing was written."""


class StalePlan(Exception):
    """An import would change something else than its reader has seen. Nothing was written."""


@dataclass(frozen=True, slots=True)
class PlannedChange:
    """What an import does to one route or rule."""

    subject: str  # "TEXT · openai"
    is_new: bool
    changes: Sequence[Change]


@dataclass(frozen=True, slots=True)
class Plan:
    """What an import does, before it does it."""

    planned: Sequence[PlannedChange]  # without those that stay as they are
    unchanged: int  # routes of the file that are so already
    fingerprint: str  # of the changes: another one means that something else would be changed


def routes_export(*, with_values: bool = False) -> str:
    """Return all routes and rules as a file; `with_values` adds extra headers and extra fields of the body."""
    names = (*FIELDS, *SECRET_FIELDS) if with_values else FIELDS
    routes = ProviderConfig.objects.order_by("category", "operation", "priority", "name")
    content = {
        "format": FORMAT,
        "version": VERSION,
        "exported_at": timezone.now().isoformat(timespec="seconds"),
        "rules": dict(RoutingRule.objects.order_by("category").values_list("category", "rule")),
        "routes": [{name: _as_json(getattr(route, name)) for name in names} for route in routes],
    }
    return json.dumps(content, ensure_ascii=False, indent=2) + "\n"


def _as_json(value: Any) -> Any:
    return str(value) if isinstance(value, Decimal) else value


def routes_plan(content: str) -> Plan:
    """Return what importing this file would do. Writes nothing. Raises InvalidFile."""
    return _plan_of(*_rows_of(content))


def routes_import(*, content: str, actor: str, fingerprint: str | None = None) -> Plan:
    """Import a file: all of it or, where it raises, nothing. Each change is a version. Returns what was done.

    With the `fingerprint` of a plan it does what that plan said, or raises StalePlan. Called again it changes nothing.
    Raises InvalidFile.
    """
    with transaction.atomic():
        routes, rules = _rows_of(content, is_locked=True)
        plan = _plan_of(routes, rules)
        if fingerprint is not None and fingerprint != plan.fingerprint:
            raise StalePlan("Meanwhile somebody has changed the routes. Look at what it would do now, then decide.")
        for row, before in (*routes, *rules):
            names = _changed_fields(row, before)
            if before is not None and not names:
                continue
            sign(row, actor=actor, reason=REASON)
            if before is None:
                row.save(force_insert=True)
            else:
                written = {field.name for field in row._meta.concrete_fields if getattr(field, "auto_now", False)}
                row.save(update_fields=[*names, *written])
    return plan


# A row as the file wants it, and as it is; None: there is none.
Pair = tuple[Any, Any]


def _rows_of(content: str, *, is_locked: bool = False) -> tuple[list[Pair], list[Pair]]:
    """Return the routes and the rules of a file, valid as they are, each beside the present row."""
    document = _document(content)
    present = ProviderConfig.objects.select_for_update() if is_locked else ProviderConfig.objects.all()
    by_key = {(route.category, route.name): route for route in present.order_by("pk")}
    present_rules = RoutingRule.objects.select_for_update() if is_locked else RoutingRule.objects.all()
    rules = {rule.category: rule for rule in present_rules.order_by("pk")}
    pairs: list[Pair] = []
    seen: set[tuple[str, str]] = set()
    for number, entry in enumerate(document["routes"], start=1):
        values = _values(entry, number)
        key = values["category"], values["name"]
        if key in seen:
            raise InvalidFile(f"{_subject(*key)}: it is in the file twice.")
        seen.add(key)
        pairs.append((_route(values, by_key.get(key)), by_key.get(key)))
    return pairs, [_rule(category, rule, rules) for category, rule in document["rules"].items()]


def _document(content: str) -> dict[str, Any]:
    if len(content.encode(errors="replace")) > MAX_BYTES:
        raise InvalidFile("The file is larger than a megabyte: it holds no routes.")
    try:
        document = json.loads(content, parse_constant=_refuse)
        json.dumps(document, ensure_ascii=False).encode()  # refuses half of a character
    except (ValueError, RecursionError) as error:
        raise InvalidFile(f"The file is no JSON: {str(error)[:200]}.") from error
    if "\0" in content or "\\u0000" in content:
        raise InvalidFile("The file contains a NUL, which no database stores.")
    if not isinstance(document, dict) or document.get("format") != FORMAT:
        raise InvalidFile(f'The file says nothing of its format: it must be an object with "format": "{FORMAT}".')
    if document.get("version") != VERSION:
        raise InvalidFile(f"The file has version {shown(document.get('version'))}; this release reads {VERSION}.")
    unknown = sorted(document.keys() - {"format", "version", "exported_at", "rules", "routes"})
    if unknown:
        raise InvalidFile(f"The file has a part that this release does not know: {', '.join(unknown)}.")
    rules = document.setdefault("rules", {})
    if not isinstance(document.get("routes"), list) or not isinstance(rules, dict):
        raise InvalidFile('The file needs a list of "routes"; its "rules", where it has some, are an object.')
    return document


def _refuse(constant: str) -> None:
    raise ValueError(f"{constant} is no number")


def _values(entry: Any, number: int) -> dict[str, Any]:
    if not isinstance(entry, dict) or not all(isinstance(entry.get(name), str) and entry[name] for name in KEY):
        raise InvalidFile(f"Route {number}: it needs a category and a name.")
    subject = _subject(entry["category"], entry["name"])
    unknown = sorted(entry.keys() - {*FIELDS, *SECRET_FIELDS})
    if unknown:
        raise InvalidFile(f"{subject}: unknown field {', '.join(map(shown, unknown))}. Keys are not imported.")
    for name, value in entry.items():
        field: Any = ProviderConfig._meta.get_field(name)
        if not _has_type(field, value):
            hint = ' An amount is a text, such as "0.10".' if isinstance(field, models.DecimalField) else ""
            raise InvalidFile(f"{subject}: {name} cannot be {shown(json.dumps(value))}.{hint}")
    return entry


def _has_type(field: Any, value: Any) -> bool:
    if value is None:
        return bool(field.null)
    if isinstance(field, models.BooleanField):
        return isinstance(value, bool)
    if isinstance(field, models.IntegerField):
        return isinstance(value, int) and not isinstance(value, bool)
    # A float is no exact amount: 0.1 is written "0.1".
    return isinstance(value, str) or isinstance(field, models.JSONField)


def _route(values: Mapping[str, Any], present: ProviderConfig | None) -> ProviderConfig:
    subject = _subject(values["category"], values["name"])
    route = ProviderConfig(**(_fields_of(present) if present else {}))
    for name, value in values.items():
        try:
            setattr(route, name, ProviderConfig._meta.get_field(name).to_python(value))  # type: ignore[union-attr]
        except ValidationError as error:
            raise InvalidFile(f"{subject}: {name}: {' '.join(error.messages)}") from error
    try:
        route.clean_fields()
        route.clean()
        # That the key is its own is known; the other rules are of its columns.
        route.validate_constraints(exclude={"name"})
    except ValidationError as error:
        words = "; ".join(f"{name}: {' '.join(found)}" for name, found in error.message_dict.items())
        raise InvalidFile(f"{subject}: {words}") from error
    problem = unservable(
        Category(route.category), route.provider, Operation(route.operation), web_search=route.web_search
    )
    if problem:
        raise InvalidFile(f"{subject}: {problem.words}")
    if present:
        fixed = set(_changed_fields(route, present)).intersection(ProviderConfig.FIXED_ON_RECORD)
        if fixed and fixed.intersection(present.fixed_fields()):
            raise InvalidFile(f"{subject}: {', '.join(sorted(fixed))} cannot change, because attempts name it.")
    return route


def _fields_of(route: ProviderConfig) -> dict[str, Any]:
    return {field.attname: getattr(route, field.attname) for field in route._meta.concrete_fields}


def _rule(category: Any, value: Any, present: Mapping[str, RoutingRule]) -> Pair:
    before = present.get(category)
    if category not in Category.__members__ or value not in RoutingRule.Rule.values:
        raise InvalidFile(f"Rule of {shown(category)}: {shown(value)} is none of {', '.join(RoutingRule.Rule.values)}.")
    return RoutingRule(pk=before.pk if before else None, category=category, rule=value), before


def _changed_fields(row: Any, before: Any) -> list[str]:
    names = (*FIELDS, *SECRET_FIELDS) if isinstance(row, ProviderConfig) else ("rule",)
    return [name for name in names if before is None or getattr(row, name) != getattr(before, name)]


def _plan_of(routes: Sequence[Pair], rules: Sequence[Pair]) -> Plan:
    planned = []
    for row, before in (*routes, *rules):
        is_route = isinstance(row, ProviderConfig)
        changes = tuple(_change(row, before, name) for name in _changed_fields(row, before))
        if changes or before is None:
            subject = _subject(row.category, row.name) if is_route else f"Rule of {row.category}"
            planned.append(PlannedChange(subject, before is None, changes))
    words = "\n".join(f"{each.subject}: {'; '.join(map(str, each.changes))}" for each in planned)
    stamp = "\n".join(str(before.updated_at) for row, before in routes if before and _changed_fields(row, before))
    fingerprint = hashlib.sha256(f"{words}\n{stamp}".encode()).hexdigest()
    unchanged = sum(before is not None and not _changed_fields(row, before) for row, before in routes)
    return Plan(tuple(planned), unchanged, fingerprint)


def _change(row: Any, before: Any, name: str) -> Change:
    if name in SECRET_FIELDS:
        was, becomes = (", ".join(sorted(getattr(each, name, None) or {})) or "none" for each in (before, row))
        return Change(f"{_label(row, name)} (names only)", was, becomes)
    value = getattr(row, name)
    return change_of(type(row), name, None if before is None else getattr(before, name), value)


def _label(row: Any, name: str) -> str:
    return str(row._meta.get_field(name).verbose_name).capitalize()


def _subject(category: str, name: str) -> str:
    return f"{shown(category)} · {shown(name)}"
