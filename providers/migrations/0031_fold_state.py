"""What the sums of attempts do not say: until when attempts are deleted, and in which time zone days are cut.

Of a database that has sums already, attempts that are missing from an hour were deleted; its days are cut in the time
zone of now.
"""

from datetime import UTC, timedelta
from typing import Any

from django.db import migrations, models
from django.db.models import Count, Sum
from django.db.models.functions import TruncHour

from providers.statistics.day_cuts import MOMENT, DayCuts, current_zone


def begin(apps: Any, _: Any) -> None:
    """Compare each hour's number of attempts with those on record. One look at each, however many there are.

    At the sums first: what a sweeper folds in between is on record then, and not taken for deleted.
    """
    sums = apps.get_model("providers", "AttemptRollup").objects.order_by()
    if not sums.exists():
        return  # the first fold begins it
    attempts = apps.get_model("providers", "Attempt").objects.order_by().filter(rolled_up=True, purpose="user")
    hours = attempts.annotate(hour=TruncHour("created_at", tzinfo=UTC))
    counted = dict(sums.values_list("hour").annotate(number=Sum("requests")))
    on_record = dict(hours.values_list("hour").annotate(number=Count("pk")))
    deleted = max(0, sum(counted.values()) - sum(on_record.values()))
    gone = [hour for hour, number in counted.items() if deleted and number > on_record.get(hour, 0)]
    apps.get_model("providers", "FoldState").objects.get_or_create(
        name="attempts",
        defaults={
            "deleted_until": max(gone) + timedelta(hours=1) - MOMENT if gone else None,
            "deleted_rows": deleted,
            "days": DayCuts.all_in(current_zone()).as_json(),
        },
    )


class Migration(migrations.Migration):
    dependencies = [
        ("providers", "0030_sums_by_day"),
    ]

    operations = [
        migrations.CreateModel(
            name="FoldState",
            fields=[
                ("name", models.CharField(max_length=16, primary_key=True, serialize=False)),
                ("deleted_until", models.DateTimeField(blank=True, null=True)),
                ("deleted_rows", models.PositiveBigIntegerField(db_default=0, default=0)),
                ("days", models.JSONField()),
            ],
        ),
        migrations.RunPython(begin, migrations.RunPython.noop, elidable=True),
    ]
