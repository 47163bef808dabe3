"""PiAPI's music, shipped disabled, and the days on which shipped prices were read. What was changed stays changed."""

from decimal import Decimal

from django.db import migrations

# category, provider, priority, model, list price, its unit, detailed rates, time-out in seconds, capabilities
ROWS = [("AUDIO", "piapi", 105, "music-u", "0.05", "call", {"as_of": "2026-11-23"}, 300, {})]

# category, provider, the list price that was shipped, the day on which it was read
DATES = [
    ("IMAGE", "replicate", "0.003", "2026-10-07"),
    ("VIDEO", "replicate", "0.084", "2026-10-01"),
    ("AUDIO", "elevenlabs", "0.04", "2026-09-28"),
]


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
                "list_price": Decimal(list_price),
                "price_unit": unit,
                "prices": prices,
                "timeout_seconds": timeout_seconds,
                "capabilities": capabilities,
            },
        )
    for category, provider, list_price, as_of in DATES:
        shipped = rows.filter(category=category, provider=provider, list_price=Decimal(list_price), prices={})
        shipped.update(prices={"as_of": as_of})


class Migration(migrations.Migration):
    dependencies = [("providers", "0007_runware")]
    operations = [migrations.RunPython(add_rows, migrations.RunPython.noop)]
