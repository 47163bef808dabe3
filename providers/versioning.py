"""Versions of what operators edit: who changed it, when and why, what was and what is, and the way back.

django-simple-history writes a row for each save and each deletion of a model that says so. QuerySet.update() and
bulk_create() write none, so whatever changes such a model saves its instances.
"""

import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, ClassVar

from django.db import IntegrityError, models, transaction
from django.http import HttpRequest
from django.utils import timezone
from simple_history.models import HistoricalRecords

MAX_SHOWN = 200  # characters of a value in a difference
MAX_ACTOR = 64  # characters, as in ledger and events
MAX_REASON = 200  # characters
MAX_VERSIONS = 100  # of one row on its page
CREATED, REMOVED = "+", "-"  # as django-simple-history marks them
KINDS = {CREATED: "created", "~": "changed", REMOVED: "removed"}


class Versioned(models.Model):
    """A model whose changes are versions. Its subclass has the field `history = versions()`."""

    history: ClassVar[Any]
    not_returned: ClassVar[Collection[str]] = frozenset()  # fields that stay as they are when it returns to a version

    class Meta:
        abstract = True

    def fixed_fields(self) -> Collection[str]:
        """Return the fields that may no longer change, because rows of other tables name them."""
        return ()


@dataclass(frozen=True, slots=True)
class Change:
    """One field of one version, as people read it."""

    field: str  # its label
    before: str
    now: str

    def __str__(self) -> str:
        return f"{self.field}: {self.before} → {self.now}"


@dataclass(frozen=True, slots=True)
class Version:
    """One state of a row, and how it came about."""

    id: int
    kind: str  # created, changed or removed
    at: datetime
    actor: str  # "admin:anna", "manage.py prices"; "" where nobody was named
    reason: str
    changes: Sequence[Change]  # against the version before; empty for the first and for a removal
    is_current: bool  # returning to it would change nothing


@dataclass(frozen=True, slots=True)
class Returned:
    """What came of returning to a version."""

    changes: Sequence[Change]
    kept: Sequence[str] = ()  # labels of fields that are on record elsewhere, and stayed
    is_restored: bool = False  # the row had been removed


class VersionConflict(Exception):
    """The row was changed since the page was made, or the version cannot be returned to. Nothing was written."""


def versions(*, excluded: Sequence[str] = ()) -> HistoricalRecords:
    """Return what makes a model's saves and deletions versions. `excluded` fields are not copied into them."""
    return HistoricalRecords(
        excluded_fields=list(excluded),
        # A name, not a foreign key: commands have no user, and a version outlives the account of whoever made it.
        history_user_id_field=models.CharField(max_length=MAX_ACTOR, blank=True, default=""),
        history_user_getter=_actor_of_row,
        history_user_setter=_set_actor_of_row,
        get_user=_actor_of_request,
        history_change_reason_field=models.CharField(max_length=MAX_REASON, null=True),
    )


def _actor_of_row(row: Any) -> str:
    actor: str = row.history_user_id
    return actor


def _set_actor_of_row(row: Any, actor: str) -> None:
    row.history_user_id = actor or ""


def _actor_of_request(request: HttpRequest | None = None, **_: Any) -> str:
    return actor_of(request) if request else ""


def actor_of(request: HttpRequest) -> str:
    """Return the name of the logged-in operator in versions, events and ledger entries."""
    return f"admin:{request.user.get_username()}"[:MAX_ACTOR]


def sign(row: Versioned, *, actor: str = "", reason: str = "") -> None:
    """Say who is about to save or delete this row, and why; without an actor it is the request's operator."""
    signature: Any = row
    if actor:
        signature._history_user = actor[:MAX_ACTOR]
    signature._change_reason = reason[:MAX_REASON] or None


def versions_of(model: type[Versioned], pk: Any) -> list[Version]:
    """Return the newest MAX_VERSIONS versions of a row, the newest first; it may have been removed. Two queries."""
    rows = list(model.history.filter(**{model._meta.pk.attname: pk}).order_by("-history_id")[: MAX_VERSIONS + 1])
    present = model._default_manager.filter(pk=pk).first()
    return [
        Version(
            id=row.history_id,
            kind=KINDS[row.history_type],
            at=row.history_date,
            actor=row.history_user_id,
            reason=row.history_change_reason or "",
            changes=() if before is None or row.history_type != "~" else _changes(model, before, row),
            is_current=present is not None and not _differing(model, present, row),
        )
        for row, before in zip(rows, [*rows[1:], None], strict=False)
    ][:MAX_VERSIONS]


def removed_rows(model: type[Versioned]) -> list[tuple[Any, str, Version]]:
    """Return key, name and last version of the rows that were removed, the last removed first."""
    gone = model.history.filter(history_type=REMOVED).exclude(id__in=model._default_manager.values("pk"))
    newest: dict[Any, Any] = {}
    for row in gone.order_by("-history_id")[:MAX_VERSIONS]:
        newest.setdefault(row.id, row)
    return [
        (
            key,
            str(row.instance),
            Version(
                row.history_id, KINDS[REMOVED], row.history_date, row.history_user_id,
                row.history_change_reason or "", (), is_current=False,
            ),
        )
        for key, row in newest.items()
    ]  # fmt: skip


def version_return(*, model: type[Versioned], version_id: int, latest_id: int, actor: str) -> Returned:
    """Make a row as it was in one of its versions, which makes a new version; a removed row comes back.

    Only the fields that differ are written. `latest_id` is the newest version that the reader has seen. Raises
    VersionConflict (nothing written) where there is a newer one, and ValidationError where the values are not valid
    any more. Called again it finds nothing to change.
    """
    version = model.history.filter(history_id=version_id).first()
    if version is None:
        raise VersionConflict("There is no such version.")
    key = {model._meta.pk.attname: getattr(version, model._meta.pk.attname)}
    with transaction.atomic():
        row = model._default_manager.select_for_update().filter(**key).first()
        newest = model.history.filter(**key).order_by("-history_id").first()
        if newest.history_id != latest_id:
            differing = "; ".join(map(str, _changes(model, _seen(model, latest_id, newest), newest))) or "nothing else"
            who = newest.history_user_id or "somebody"
            raise VersionConflict(f"Meanwhile {who} has changed it ({differing}). Look again, then decide.")
        words = f"returned to version {version_id} of {timezone.localtime(version.history_date):%Y-%m-%d %H:%M}"
        if row is None:
            return _restore(model, version, actor=actor, reason=words)
        fixed = row.fixed_fields()
        differing_fields = _differing(model, row, version)
        names = [name for name in differing_fields if name not in fixed]
        changes = tuple(change_of(model, name, getattr(row, name), getattr(version, name)) for name in names)
        kept = tuple(_label(model, name) for name in differing_fields if name in fixed)
        if names:
            for name in names:
                setattr(row, name, getattr(version, name))
            row.clean_fields(exclude={field.name for field in model._meta.fields} - set(names))
            row.validate_unique()
            row.validate_constraints()
            sign(row, actor=actor, reason=words)
            row.save(update_fields=[*names, *_written_by_itself(model)])
    return Returned(changes, kept)


def _seen(model: type[Versioned], latest_id: int, newest: Any) -> Any:
    return model.history.filter(history_id=latest_id, id=newest.id).first() or newest


def _restore(model: type[Versioned], version: Any, *, actor: str, reason: str) -> Returned:
    row = model(**{field.attname: getattr(version, field.attname) for field in _tracked(model)})
    for name in model.not_returned:
        setattr(row, name, _field(model, name).get_default())
    row.full_clean()
    sign(row, actor=actor, reason=reason)
    try:
        with transaction.atomic():
            row.save(force_insert=True)
    except IntegrityError as error:
        raise VersionConflict("Somebody else has brought it back just now.") from error
    return Returned((), is_restored=True)


def _tracked(model: type[Versioned]) -> "list[models.Field[Any, Any]]":
    fields: list[models.Field[Any, Any]] = model.history.model.tracked_fields
    return fields


def _written_by_itself(model: type[Versioned]) -> list[str]:
    return [field.name for field in model._meta.concrete_fields if getattr(field, "auto_now", False)]


def _differing(model: type[Versioned], one: Any, other: Any) -> list[str]:
    """Return the names of the fields that an operator could return to, and that differ."""
    aside = {model._meta.pk.attname, *model.not_returned, *_written_by_itself(model)}
    names = [field.attname for field in _tracked(model) if field.attname not in aside]
    return [name for name in names if getattr(one, name) != getattr(other, name)]


def _changes(model: type[Versioned], before: Any, now: Any) -> list[Change]:
    aside = {model._meta.pk.attname, *_written_by_itself(model)}
    names = [field.attname for field in _tracked(model) if field.attname not in aside]
    pairs = [(name, getattr(before, name), getattr(now, name)) for name in names]
    return [change_of(model, name, was, becomes) for name, was, becomes in pairs if was != becomes]


def change_of(model: type[models.Model], name: str, before: Any, now: Any) -> Change:
    """Return what changed in a field; of an object in JSON, the keys that differ."""
    if not (isinstance(before, Mapping) and isinstance(now, Mapping)):
        return Change(_label(model, name), shown(before), shown(now))
    keys = [key for key in {**before, **now} if before.get(key) != now.get(key)]
    was, becomes = ({key: value[key] for key in keys if key in value} for value in (before, now))
    return Change(_label(model, name), shown(was), shown(becomes))


def _label(model: type[models.Model], name: str) -> str:
    return str(_field(model, name).verbose_name).capitalize()


def _field(model: type[models.Model], name: str) -> Any:
    return model._meta.get_field(name)


def shown(value: Any) -> str:
    """Return a field's value as people read it in a difference."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, datetime):
        return f"{timezone.localtime(value):%Y-%m-%d %H:%M}"
    if value in (None, "", {}, []):
        return "none"
    text = json.dumps(value, ensure_ascii=False) if isinstance(value, list | dict) else str(value)
    return text if len(text) <= MAX_SHOWN else f"{text[:MAX_SHOWN]}…"


def versions_begin(rows: Any, history: Any) -> None:
    """Give each row that has none its first version, so that the next one says what changed. For migrations."""
    known = set(history.objects.values_list("id", flat=True))
    names = [field.attname for field in history._meta.fields if not field.name.startswith("history_")]
    history.objects.bulk_create(
        history(
            history_date=timezone.now(),
            history_type=CREATED,
            history_change_reason="as it was when versions began",
            **{name: getattr(row, name) for name in names},
        )
        for row in rows.objects.all()
        if row.pk not in known
    )
