"""Kie.ai's rows, shipped disabled. Rows that exist are left alone."""

from decimal import Decimal

from django.db import migrations

# category, provider, priority, model, list price, its unit, detailed rates, time-out in seconds, capabilities
ROWS = [
    ("IMAGE", "kie", 108, "nano-banana-2", "0.04", "image",
     {"per_image": "0.04", "as_of": "2026-06-09"}, 180,
     {"max_prompt_characters": 20000,
      "aspect_ratios": ["1:1", "4:3", "3:4", "16:9", "9:16", "2:3", "3:2", "4:5", "5:4", "21:9"]}),
    ("VIDEO", "kie", 105, "kling-2.6/text-to-video", "0.055", "second",
     {"per_second": "0.055", "as_of": "2026-06-09"}, 900,
     {"max_prompt_characters": 1000, "seconds": [5, 10], "aspect_ratios": ["16:9", "9:16", "1:1"]}),
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
                "list_price": Decimal(list_price),
                "price_unit": unit,
                "prices": prices,
                "timeout_seconds": timeout_seconds,
                "capabilities": capabilities,
            },
        )


class Migration(migrations.Migration):
    dependencies = [("providers", "0008_music_and_dates")]
    operations = [migrations.RunPython(add_rows, migrations.RunPython.noop)]
