import django.db.models.deletion
from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("requests_app", "0029_fold_names"),
    ]

    operations = [
        migrations.CreateModel(
            name="AccountMonthRollup",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("month", models.DateField()),
                ("purpose", models.CharField(max_length=8)),
                ("requests", models.PositiveBigIntegerField()),
                ("completed", models.PositiveBigIntegerField()),
                ("credits", models.PositiveBigIntegerField()),
                ("cost", models.DecimalField(decimal_places=10, max_digits=20)),
                ("unknown_costs", models.PositiveBigIntegerField()),
                (
                    "account",
                    models.ForeignKey(
                        db_index=False,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="+",
                        to="requests_app.account",
                    ),
                ),
            ],
            options={
                "indexes": [models.Index(fields=["account", "month"], name="month_rollup_of_account")],
                "constraints": [
                    models.UniqueConstraint(
                        fields=("month", "account", "purpose"), name="one_rollup_per_month_and_account"
                    )
                ],
            },
        ),
        migrations.AddField(
            model_name="ledgerentry",
            name="model",
            field=models.ForeignKey(
                db_constraint=False,
                db_index=False,
                null=True,
                on_delete=django.db.models.deletion.DO_NOTHING,
                related_name="+",
                to="requests_app.aimodel",
            ),
        ),
    ]
