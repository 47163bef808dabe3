"""What processes of an earlier release leave undone while they run beside the tables of this one, made up for."""

import time

from django.db import transaction
from django.db.models import OuterRef, Subquery

from requests_app.analytics.rollups import requests_fold
from requests_app.models import Account, LedgerEntry, Request
from requests_app.names import folded

MEND_SECONDS = 3600.0
BATCH_ROWS = 1_000

_next_at = 0.0  # on time.monotonic()


def sweep_mending() -> int:
    """Look for such rows at once and every hour; return how many were mended. Idempotent."""
    global _next_at
    if time.monotonic() < _next_at:
        return 0
    mended = requests_fold.months_mend() + _name_models() + _fold_names()
    _next_at = time.monotonic() + MEND_SECONDS
    return mended


def _name_models() -> int:
    """Write the AI model into refunds that do not name it, of requests that are still on record."""
    nameless = LedgerEntry.objects.filter(kind=LedgerEntry.Kind.REFUND, model=None)
    keys = list(nameless.filter(request__model__isnull=False).order_by("pk").values_list("pk", flat=True)[:BATCH_ROWS])
    model = Request.objects.filter(id=OuterRef("request_id")).values("model_id")
    return LedgerEntry.objects.filter(pk__in=keys).update(model=Subquery(model))


def _fold_names() -> int:
    """Write what a search compares for accounts that have a name alone."""
    rows = Account.objects.filter(folded_name="").exclude(name="").order_by("pk").values_list("pk", "name")
    mended = 0
    for pk, name in rows[:BATCH_ROWS]:
        with transaction.atomic():
            mended += Account.objects.filter(pk=pk, name=name, folded_name="").update(folded_name=folded(name))
    return mended
