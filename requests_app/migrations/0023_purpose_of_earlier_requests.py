"""Requests that the sandbox has answered say so, with their movements of credits; and the state of their sums.

In batches, each committed by itself, so that nobody waits long for a row; whoever stops it in the middle begins again.
"""

from typing import Any

from django.db import migrations, transaction
from django.db.models import Count, Sum
from django.db.models.functions import TruncDate

from providers.statistics.day_cuts import DAY, MOMENT, DayCuts, current_zone, midnight

BATCH_ROWS = 2_000


def mark_sandbox(apps: Any, _: Any) -> None:
    """Mark the requests of the sandbox's attempts. All others are of users already, by the column's default."""
    requests = apps.get_model("requests_app", "Request").objects
    entries = apps.get_model("requests_app", "LedgerEntry").objects
    attempts = apps.get_model("providers", "Attempt").objects.filter(purpose="sandbox").order_by("pk")
    rest = attempts
    while batch := list(rest.values_list("pk", "caller_key")[:BATCH_ROWS]):
        keys = {key for _, key in batch}
        with transaction.atomic():
            requests.filter(pk__in=keys).update(purpose="sandbox")
            entries.filter(request__in=keys).update(purpose="sandbox")
        rest = attempts.filter(pk__gt=batch[-1][0])


def begin(apps: Any, _: Any) -> None:
    """Where a day's sums have more requests than there are on record, these were deleted.

    Unless there are as many in all: then days were cut in another time zone. The sums are read first: what a sweeper
    folds in between is on record then, and not taken for deleted.
    """
    sums = apps.get_model("requests_app", "RequestRollup").objects.order_by()
    if not sums.exists():
        return  # the first fold begins it
    zone = current_zone()
    requests = apps.get_model("requests_app", "Request").objects.order_by().filter(rolled_up=True)
    days = requests.annotate(day=TruncDate("created_at", tzinfo=zone))
    counted = dict(sums.values_list("day").annotate(number=Sum("requests")))
    on_record = dict(days.values_list("day").annotate(number=Count("pk")))
    deleted = max(0, sum(counted.values()) - sum(on_record.values()))
    gone = [day for day, number in counted.items() if deleted and number > on_record.get(day, 0)]
    apps.get_model("providers", "FoldState").objects.get_or_create(
        name="requests",
        defaults={
            "deleted_until": midnight(max(gone) + DAY, zone) - MOMENT if gone else None,
            "deleted_rows": deleted,
            "days": DayCuts.all_in(zone).as_json(),
        },
    )


class Migration(migrations.Migration):
    atomic = False

    dependencies = [
        ("providers", "0031_fold_state"),
        ("requests_app", "0022_purpose"),
    ]

    operations = [
        migrations.RunPython(mark_sandbox, migrations.RunPython.noop, elidable=True),
        migrations.RunPython(begin, migrations.RunPython.noop, elidable=True),
    ]
