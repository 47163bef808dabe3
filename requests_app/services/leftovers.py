"""What processes of an earlier release leave undone while they run beside this one's tables, done by the sweeper."""

import time

from django.db.models import OuterRef, Subquery

from providers.db import Constant
from providers.statistics.day_cuts import DAY
from requests_app.analytics.periods import today
from requests_app.analytics.rollups import requests_fold
from requests_app.models import Account, LedgerEntry, Request
from requests_app.names import folded

CHECK_SECONDS = 3600.0
BATCH_ROWS = 1_000
RECENT_DAYS = 35  # an earlier release folds requests of these days, and hardly others

_next_at = 0.0  # on time.monotonic()


def sweep_leftovers() -> int:
    """Look for such rows at once and every hour; return how many were corrected. Idempotent."""
    global _next_at
    if time.monotonic() < _next_at:
        return 0
    _next_at = time.monotonic() + CHECK_SECONDS  # also where it fails: it is not to fail in every round
    try:
        changed = _fold_names() + _name_models()
    finally:
        months = requests_fold.months_fix(since=today() - RECENT_DAYS * DAY)
    return changed + months


def _name_models() -> int:
    """Write the AI model into refunds that do not name it, of requests that are still on record."""
    # A word of the code, so that the index of refunds is used.
    nameless = LedgerEntry.objects.filter(kind=Constant(LedgerEntry.Kind.REFUND), model=None)
    known = nameless.filter(request__model__isnull=False).order_by("created_at")
    model = Request.objects.filter(id=OuterRef("request_id")).values("model_id")
    keys = list(known.values_list("pk", flat=True)[:BATCH_ROWS])
    return LedgerEntry.objects.filter(pk__in=keys).update(model=Subquery(model)) if keys else 0


def _fold_names() -> int:
    """Write what a search compares for accounts that have a name alone."""
    changed = 0
    for pk, name in Account.objects.filter(folded_name="").exclude(name="").order_by().values_list("pk", "name"):
        if words := folded(name):  # of marks alone nothing is left
            changed += Account.objects.filter(pk=pk, name=name, folded_name="").update(folded_name=words)
    return changed
