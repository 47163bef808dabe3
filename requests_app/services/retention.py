"""Retention: what users wrote and received is erased after a while, and whole rows later.

The ledger stays: its entries keep the ids of their requests, and the statistics the hourly sums of their attempts.
"""

import time
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from itertools import takewhile
from typing import Any

from django.conf import settings
from django.core.files.storage import default_storage
from django.db import transaction
from django.db.models import BooleanField, Exists, ExpressionWrapper, OuterRef, Q, QuerySet
from django.db.models.functions import Now

from providers.db import give_back_connection, unlocked
from providers.models import Attempt
from providers.statistics.folding import Fold
from providers.statistics.rollups import attempts_fold
from providers.types import Purpose
from requests_app.analytics.rollups import requests_fold
from requests_app.models import ERASED, Request
from requests_app.services.faulty_rows import FaultyRows

BATCH_ROWS = 200
MAX_SECONDS = 1.5  # of one round, so that a backlog does not hold up the other sweeps

_faulty = FaultyRows()
_erased_until: datetime | None = None  # everything older was erased since this process began


def content_erase(*, requests: QuerySet[Request]) -> int:
    """Erase the prompts, answers and files of these requests as far as they have ended; return how many.

    Idempotent. The files go first: after a crash in between the rows still name them, and a repeat goes on. Rows that
    somebody has locked are left out. Raises what the storage raises.
    """
    with transaction.atomic():
        rows = list(unlocked(requests.filter(completed_at__isnull=False, content_erased_at=None)))
    _delete_files(rows)
    return Request.objects.filter(pk__in=[row.pk for row in rows]).update(
        input_text=ERASED,
        transcript=None,
        output_text=ERASED,
        output_url="",
        input_media=[],
        output_media=[],
        content_erased_at=Now(),
    )


def sweep_retention() -> int:
    """Erase and delete what is older than the settings say, for at most MAX_SECONDS; return how many rows.

    Idempotent, and any number of sweepers may run.
    """
    until = time.monotonic() + MAX_SECONDS
    done = 0
    for days, step in (
        (settings.RETENTION_ROWS_DAYS, _delete_requests),
        (settings.RETENTION_ROWS_DAYS, _delete_attempts),
        (settings.RETENTION_CONTENT_DAYS, _erase_content),
    ):
        while days and time.monotonic() < until and (rows := step(timedelta(days=days), until)):
            done += rows
    return done


def _erase_content(age: timedelta, until: float) -> int:
    global _erased_until
    old = Request.objects.filter(created_at__lt=Now() - age, content_erased_at=None).order_by("created_at")
    if _erased_until is not None:
        old = old.filter(created_at__gte=_erased_until)
    rows = _batch(old)
    if rows:
        _erased_until = rows[0].created_at
    return _step(rows, content_erase, until)


def _delete_requests(age: timedelta, until: float) -> int:
    """Delete requests that the sums have counted."""
    old = Request.objects.filter(created_at__lt=Now() - age, completed_at__isnull=False, rolled_up=True)
    return _step(_batch(old.order_by("created_at")), _delete_with_files, until)


def _batch(requests: QuerySet[Request]) -> list[Request]:
    # Those that are put aside are among the oldest, and must not be all that is seen.
    return list(requests.only("pk", "created_at", "input_media", "output_media")[: BATCH_ROWS + len(_faulty)])


def _step(rows: Sequence[Request], step: Callable[..., int], until: float) -> int:
    """Run a step on the rows without files, together, and on each of the others, whose files a storage may refuse."""
    plain = [row.pk for row in rows if not (row.input_media or row.output_media)]
    done = step(requests=Request.objects.filter(pk__in=plain)) if plain else 0
    others = takewhile(lambda _: time.monotonic() < until, (row.pk for row in rows if row.pk not in set(plain)))
    return done + _faulty.each(lambda pk: bool(step(requests=Request.objects.filter(pk=pk))), others)


def _delete_with_files(*, requests: QuerySet[Request]) -> int:
    _delete_files(list(requests.only("pk", "input_media", "output_media")))
    return _delete_counted(requests, requests_fold)


def _delete_attempts(age: timedelta, _: float) -> int:
    """Delete attempts that the sums have counted, or never will; those of requests that are not counted yet stay."""
    is_counted = Q(rolled_up=True) | Q(purpose=Purpose.SANDBOX)
    is_needed = Exists(Request.objects.filter(id=OuterRef("caller_key"), rolled_up=False))
    old = Attempt.objects.filter(is_counted, ~is_needed, created_at__lt=Now() - age, finished_at__isnull=False)
    # What a request has cost is counted of its attempts, which are never older than itself.
    return _delete_counted(old.order_by("created_at")[:BATCH_ROWS], attempts_fold, requests_fold)


def _delete_counted(rows: QuerySet[Any], fold: Fold, *others: Fold) -> int:
    """Delete those of the rows that nobody has locked, and record it where a recount looks, together or not at all.

    `fold` folds these rows; `others` fold rows of another table, and look at these.
    """
    with transaction.atomic():
        counted = rows.annotate(is_counted=ExpressionWrapper(fold.counted, output_field=BooleanField()))
        found = list(unlocked(counted).values_list("pk", "created_at", "is_counted"))
        if found:
            newest = max(created_at for _, created_at, _ in found)
            fold.note_deletion(newest=newest, number=sum(is_counted for *_, is_counted in found))
            for other in others:
                other.note_deletion(newest=newest, number=0)
        rows.model._default_manager.filter(pk__in=[key for key, *_ in found]).delete()
    return len(found)


def _delete_files(rows: Sequence[Request]) -> None:
    names = [str(stored["name"]) for row in rows for stored in (*row.input_media, *row.output_media)]
    if names:
        give_back_connection()  # a bucket may be slow
        for name in names:
            default_storage.delete(name)
