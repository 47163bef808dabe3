"""The sums by day and label, filled from those by hour; times are counted from now on, earlier ones by a recount."""

from collections import defaultdict
from decimal import Decimal
from typing import Any

from django.db import migrations, models
from django.utils import timezone

import providers.registry

SUMS = (
    "requests", "successes", "refusals", "total_cost", "priced_successes", "unknown_costs", "reserved_cost",
    "success_ms",
)  # fmt: skip


def fill_days(apps: Any, _: Any) -> None:
    """Add the hours up, each to the day in which it begins. Some hundred thousand rows at most."""
    zone = timezone.get_default_timezone()
    days: dict[tuple[Any, ...], dict[str, Any]] = defaultdict(dict)
    for row in apps.get_model("providers", "AttemptRollup").objects.order_by("hour").iterator():
        key = (row.hour.astimezone(zone).date(), row.category, row.provider, row.route or row.provider)
        day = days[key]
        day |= {name: day.get(name, 0) + getattr(row, name) for name in SUMS} | {"operation": row.operation}
    model = apps.get_model("providers", "AttemptDayRollup")
    names = ("day", "category", "provider", "route")
    rows = (model(**dict(zip(names, key, strict=True)), **sums) for key, sums in days.items())
    model.objects.bulk_create(rows, batch_size=1_000)


class Migration(migrations.Migration):
    dependencies = [
        ("providers", "0029_accounts"),
    ]

    operations = [
        migrations.AddField(
            model_name="attempt",
            name="label",
            field=models.CharField(blank=True, db_default="", max_length=64),
        ),
        migrations.AddField(
            model_name="attemptrollup",
            name="test_cost",
            field=models.DecimalField(db_default=Decimal("0"), decimal_places=10, default=Decimal("0"), max_digits=20),
        ),
        migrations.CreateModel(
            name="AttemptDayRollup",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                (
                    "category",
                    models.CharField(
                        choices=[("TEXT", "TEXT"), ("IMAGE", "IMAGE"), ("VIDEO", "VIDEO"), ("AUDIO", "AUDIO")],
                        max_length=8,
                    ),
                ),
                ("provider", models.CharField(choices=providers.registry.choices, max_length=32)),
                ("route", models.CharField(blank=True, db_default="", max_length=64)),
                (
                    "operation",
                    models.CharField(
                        choices=[("generate", "generate"), ("edit", "edit"), ("transcribe", "transcribe")],
                        db_default="generate",
                        default="generate",
                        max_length=12,
                    ),
                ),
                ("requests", models.PositiveBigIntegerField(default=0)),
                ("successes", models.PositiveBigIntegerField(default=0)),
                ("refusals", models.PositiveBigIntegerField(db_default=0)),
                ("total_cost", models.DecimalField(decimal_places=10, default=Decimal("0"), max_digits=20)),
                (
                    "test_cost",
                    models.DecimalField(
                        db_default=Decimal("0"), decimal_places=10, default=Decimal("0"), max_digits=20
                    ),
                ),
                ("priced_successes", models.PositiveBigIntegerField(default=0)),
                ("unknown_costs", models.PositiveBigIntegerField(default=0)),
                ("reserved_cost", models.DecimalField(db_default=Decimal("0"), decimal_places=10, max_digits=20)),
                ("success_ms", models.PositiveBigIntegerField(default=0)),
                ("day", models.DateField()),
                ("label", models.CharField(blank=True, max_length=64)),
            ],
            options={
                "constraints": [
                    models.UniqueConstraint(
                        fields=("day", "category", "provider", "route", "label"),
                        name="one_rollup_per_day_route_and_label",
                    )
                ],
            },
        ),
        migrations.CreateModel(
            name="AttemptHistogram",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                (
                    "measure",
                    models.PositiveSmallIntegerField(
                        choices=[(1, "until the whole answer"), (2, "until the first words")]
                    ),
                ),
                ("day", models.DateField()),
                (
                    "category",
                    models.CharField(
                        choices=[("TEXT", "TEXT"), ("IMAGE", "IMAGE"), ("VIDEO", "VIDEO"), ("AUDIO", "AUDIO")],
                        max_length=8,
                    ),
                ),
                ("provider", models.CharField(choices=providers.registry.choices, max_length=32)),
                ("route", models.CharField(blank=True, max_length=64)),
                ("bucket", models.PositiveSmallIntegerField()),
                ("number", models.PositiveBigIntegerField()),
            ],
            options={
                "constraints": [
                    models.UniqueConstraint(
                        fields=("measure", "day", "category", "provider", "route", "bucket"),
                        name="one_count_per_day_route_and_bucket",
                    )
                ],
            },
        ),
        migrations.RunPython(fill_days, migrations.RunPython.noop, elidable=True),
    ]
