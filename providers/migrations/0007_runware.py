"""Runware's rows, shipped disabled. Rows that exist are left alone."""

from django.db import migrations

# category, provider, priority, model, list price, its unit, detailed rates, time-out in seconds, capabilities.
# The vendor tells the cost of each task, so no price is shipped.
ROWS = [
    ("IMAGE", "runware", 107, "runware:400@1", None, "image", {}, 90,
     {"aspect_ratios": ["1:1", "4:3", "3:4", "16:9", "9:16"]}),
    ("VIDEO", "runware", 104, "klingai:5@3", None, "second", {}, 900,
     {"seconds": [5, 10], "aspect_ratios": ["16:9"]}),
]  # fmt: skip


def add_rows(apps, schema_editor):
    rows = apps.get_model("providers", "ProviderConfig").objects.using(schema_editor.connection.alias)
    for category, provider, priority, model, list_price, unit, prices, timeout_seconds, capabilities in ROWS:
        rows.get_or_create(
            category=category,
            provider=provider,
            defaults={
                "enabled": False,
                "priority": priority,
                "model": model,
                "list_price": list_price,
                "price_unit": unit,
                "prices": prices,
                "timeout_seconds": timeout_seconds,
                "capabilities": capabilities,
            },
        )


class Migration(migrations.Migration):
    dependencies = [("providers", "0006_open_attempts")]
    operations = [migrations.RunPython(add_rows, migrations.RunPython.noop)]
