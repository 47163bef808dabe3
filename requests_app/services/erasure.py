"""Erasure: what a user wrote and received and what they are called goes; the ledger and the sums stay, pseudonymous.

The account keeps its key, which contains the user's id at the service they write from, and its balance. Its user may
write again, as before.
"""

import logging
import time
from collections.abc import Iterator, Sequence
from datetime import datetime

from django.contrib.admin.models import LogEntry
from django.contrib.contenttypes.models import ContentType
from django.db.models import QuerySet

from requests_app.delivery_backend import get_delivery_backend
from requests_app.errors import EraseUnfinished
from requests_app.models import Account, Request
from requests_app.services.cancellation import request_cancel
from requests_app.services.retention import content_erase

logger = logging.getLogger("requests_app.erasure")

BATCH_ROWS = 200
MAX_SECONDS = 20.0  # of one call, so that it ends before the server's time-out; another one goes on


def account_erase(*, account_id: int, actor: str, reason: str) -> bool:
    """Erase the content and the names of an account's user. Returns False where there was nothing left to erase.

    First what waits to be handled, then the requests, those under way after they are cancelled, at last the names.
    Idempotent, and any number of callers may run: killed at any moment it leaves what a repeat finishes, and a file is
    deleted before the row that names it forgets it. Raises EraseUnfinished, with what is erased erased, where time has
    run out, a row is locked, or the storage deletes a file not now: then it is to be called again. What the user writes
    meanwhile is no part of it.
    """
    until = time.monotonic() + MAX_SECONDS
    backend = get_delivery_backend()
    erased = backend.erase_messages(account_id)
    _cancel_open(account_id, actor=actor, reason=reason)
    for rows in _batches(account_id):
        erased += _erase_content(rows, until)
        if time.monotonic() > until:
            raise EraseUnfinished(f"{erased:,} rows are erased and more are left. Erase again to go on.")
    erased += _erase_names(account_id) + backend.erase_names(account_id)
    left = len(_with_content(account_id).values("pk")[:BATCH_ROWS])
    if left:
        raise EraseUnfinished(
            f"{'At least ' if left == BATCH_ROWS else ''}{left} requests could not be erased now: the storage deletes "
            "a file not, or somebody is at work on them. Erase again later."
        )
    return erased > 0


def _cancel_open(account_id: int, *, actor: str, reason: str) -> None:
    unfinished = Request.objects.filter(user_id=account_id, completed_at__isnull=True)
    for request_id in list(unfinished.order_by("created_at").values_list("pk", flat=True)):
        request_cancel(request_id=request_id, actor=actor, reason=reason)


def _with_content(account_id: int) -> QuerySet[Request]:
    return Request.objects.filter(user_id=account_id, content_erased_at=None, completed_at__isnull=False)


def _batches(account_id: int) -> Iterator[Sequence[Request]]:
    """Walk through what is not erased, oldest first and once: what cannot be erased now holds up nothing after it."""
    since: datetime | None = None
    seen: set[str] = set()  # of the moment that the batch before has ended with
    while True:
        rows = _with_content(account_id).exclude(pk__in=seen)
        if since is not None:
            rows = rows.filter(created_at__gte=since)
        batch = list(rows.only("pk", "created_at", "input_media", "output_media").order_by("created_at")[:BATCH_ROWS])
        if not batch:
            return
        yield batch
        if batch[-1].created_at != since:
            since, seen = batch[-1].created_at, set()
        seen |= {row.pk for row in batch if row.created_at == since}


def _erase_content(rows: Sequence[Request], until: float) -> int:
    """Erase the rows without files together, and each of the others by itself: a storage may refuse its files."""
    plain = [row.pk for row in rows if not (row.input_media or row.output_media)]
    done = content_erase(requests=Request.objects.filter(pk__in=plain)) if plain else 0
    for row in rows:
        if (row.input_media or row.output_media) and time.monotonic() <= until:
            try:
                done += content_erase(requests=Request.objects.filter(pk=row.pk))
            except Exception:  # each storage has errors of its own
                logger.exception("%s cannot be erased now.", row.pk)
    return done


def _erase_names(account_id: int) -> int:
    """Erase the account's name, and what the admin's history has called it."""
    key = Account.objects.values_list("key", flat=True).get(id=account_id)
    history = LogEntry.objects.filter(
        content_type=ContentType.objects.get_for_model(Account), object_id=str(account_id)
    )
    named = Account.objects.filter(id=account_id).exclude(name="", folded_name="")
    return named.update(name="", folded_name="") + history.exclude(object_repr=key).update(object_repr=key)
