"""The months that are on record, and the AI models of refunds: in batches, so that nobody waits for their rows long.

What processes of the earlier release fold or give back beside it is made up for by the sweeper (services/leftovers.py).
"""

from datetime import timedelta

from django.db import migrations, transaction
from django.db.models.functions import TruncMonth

BATCH = 1_000
MONTH = """
    INSERT INTO requests_app_accountmonthrollup
        (month, account_id, purpose, requests, completed, credits, cost, unknown_costs)
    SELECT %s, account_id, purpose, SUM(requests), SUM(completed), SUM(credits), ROUND(SUM(cost), 10),
        SUM(unknown_costs)
    FROM requests_app_accountrollup WHERE day >= %s AND day < %s GROUP BY account_id, purpose
"""
MODELS = """
    UPDATE requests_app_ledgerentry
    SET model_id = (SELECT model_id FROM requests WHERE requests.id = requests_app_ledgerentry.request_id)
    WHERE id = %s AND model_id IS NULL
"""


def fill_months(apps, schema_editor):
    alias = schema_editor.connection.alias
    days = apps.get_model("requests_app", "AccountRollup").objects.using(alias)
    filled = apps.get_model("requests_app", "AccountMonthRollup").objects.using(alias)
    for month in days.order_by().annotate(month=TruncMonth("day")).values_list("month", flat=True).distinct():
        after = (month + timedelta(days=31)).replace(day=1)
        with transaction.atomic(using=alias), schema_editor.connection.cursor() as cursor:
            filled.filter(month=month).delete()  # of a migration that was interrupted
            cursor.execute(MONTH, [month, month, after])


def name_models(apps, schema_editor):
    alias = schema_editor.connection.alias
    refunds = apps.get_model("requests_app", "LedgerEntry").objects.using(alias).filter(kind="REFUND", model=None)
    keys = list(refunds.order_by("pk").values_list("pk", flat=True))
    for start in range(0, len(keys), BATCH):
        with transaction.atomic(using=alias), schema_editor.connection.cursor() as cursor:
            cursor.executemany(MODELS, [(key,) for key in keys[start : start + BATCH]])


class Migration(migrations.Migration):
    atomic = False

    dependencies = [
        ("requests_app", "0031_refund_index"),
    ]

    operations = [
        migrations.RunPython(fill_months, migrations.RunPython.noop, elidable=True),
        migrations.RunPython(name_models, migrations.RunPython.noop, elidable=True),
    ]
