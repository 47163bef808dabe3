import django.db.models.deletion
from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("requests_app", "0018_admin_filter_pairs"),
    ]

    operations = [
        migrations.CreateModel(
            name="AccountRollup",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("day", models.DateField()),
                ("purpose", models.CharField(max_length=8)),
                ("requests", models.PositiveBigIntegerField()),
                ("completed", models.PositiveBigIntegerField()),
                ("credits", models.PositiveBigIntegerField()),
                ("cost", models.DecimalField(decimal_places=10, max_digits=20)),
                ("unknown_costs", models.PositiveBigIntegerField()),
            ],
        ),
        migrations.CreateModel(
            name="RequestHistogram",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("day", models.DateField()),
                (
                    "category",
                    models.CharField(
                        choices=[("TEXT", "TEXT"), ("IMAGE", "IMAGE"), ("VIDEO", "VIDEO"), ("AUDIO", "AUDIO")],
                        max_length=8,
                    ),
                ),
                ("purpose", models.CharField(max_length=8)),
                ("bucket", models.PositiveSmallIntegerField()),
                ("number", models.PositiveBigIntegerField()),
            ],
        ),
        migrations.CreateModel(
            name="RequestRollup",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("day", models.DateField()),
                (
                    "category",
                    models.CharField(
                        choices=[("TEXT", "TEXT"), ("IMAGE", "IMAGE"), ("VIDEO", "VIDEO"), ("AUDIO", "AUDIO")],
                        max_length=8,
                    ),
                ),
                ("purpose", models.CharField(max_length=8)),
                ("provider", models.CharField(blank=True, max_length=32)),
                ("route", models.CharField(blank=True, max_length=64)),
                ("requests", models.PositiveBigIntegerField()),
                ("completed", models.PositiveBigIntegerField()),
                ("failed", models.PositiveBigIntegerField()),
                ("cancelled", models.PositiveBigIntegerField()),
                ("rejected", models.PositiveBigIntegerField()),
                ("by_first", models.PositiveBigIntegerField()),
                ("by_second", models.PositiveBigIntegerField()),
                ("by_later", models.PositiveBigIntegerField()),
                ("credits", models.PositiveBigIntegerField()),
            ],
        ),
        migrations.AddField(
            model_name="ledgerentry",
            name="is_paid",
            field=models.BooleanField(db_default=False, default=False),
        ),
        migrations.AddField(
            model_name="request",
            name="rolled_up",
            field=models.BooleanField(db_default=False, default=False),
        ),
        migrations.AddIndex(
            model_name="ledgerentry",
            index=models.Index(
                condition=models.Q(
                    models.Q(("kind", "HOLD"), _negated=True),
                    models.Q(("kind", "CAPTURE"), _negated=True),
                    models.Q(("kind", "RELEASE"), _negated=True),
                ),
                fields=["created_at"],
                include=("kind", "is_paid", "amount", "request"),
                name="entry_not_of_requests",
            ),
        ),
        migrations.AddIndex(
            model_name="request",
            index=models.Index(
                condition=models.Q(("completed_at__isnull", False), ("rolled_up", False)),
                fields=["completed_at"],
                name="request_to_roll_up",
            ),
        ),
        migrations.AddConstraint(
            model_name="ledgerentry",
            constraint=models.CheckConstraint(
                condition=models.Q(("is_paid", False), ("kind", "TOPUP"), _connector="OR"), name="only_top_ups_are_paid"
            ),
        ),
        migrations.AddField(
            model_name="accountrollup",
            name="account",
            field=models.ForeignKey(
                db_index=False, on_delete=django.db.models.deletion.PROTECT, related_name="+", to="requests_app.account"
            ),
        ),
        migrations.AddConstraint(
            model_name="requesthistogram",
            constraint=models.UniqueConstraint(
                fields=("day", "category", "purpose", "bucket"), name="one_count_per_day_and_bucket"
            ),
        ),
        migrations.AddField(
            model_name="requestrollup",
            name="model",
            field=models.ForeignKey(
                db_index=False, on_delete=django.db.models.deletion.PROTECT, related_name="+", to="requests_app.aimodel"
            ),
        ),
        migrations.AddConstraint(
            model_name="accountrollup",
            constraint=models.UniqueConstraint(
                fields=("day", "account", "purpose"), name="one_rollup_per_day_and_account"
            ),
        ),
        migrations.AddConstraint(
            model_name="requestrollup",
            constraint=models.UniqueConstraint(
                fields=("day", "category", "model", "purpose", "provider", "route"),
                name="one_rollup_per_day_model_and_route",
            ),
        ),
    ]
