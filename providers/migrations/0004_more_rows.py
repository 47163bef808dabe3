"""Rows that are shipped disabled: switch them on in the admin. Rows that exist are left alone."""

from decimal import Decimal

from django.db import migrations

WIDE = ["1:1", "4:3", "3:4", "16:9", "9:16"]

# category, provider, priority, model, list price, its unit, detailed rates, time-out in seconds, capabilities
ROWS = [
    ("TEXT", "groq", 107, "openai/gpt-oss-20b", "0.0003", "1k_tokens",
     {"input_per_million": "0.075", "cached_input_per_million": "0.0375", "output_per_million": "0.30",
      "as_of": "2026-05-31"}, 30, {}),
    ("IMAGE", "xai", 103, "grok-imagine-image", "0.02", "image",
     {"per_image": "0.02", "as_of": "2026-11-23"}, 180,
     {"aspect_ratios": [*WIDE, "2:3", "3:2", "1:2", "2:1", "9:20", "20:9"]}),
    ("IMAGE", "openrouter", 104, "bytedance-seed/seedream-4.5", None, "image", {}, 180,
     {"aspect_ratios": [*WIDE, "2:3", "3:2", "4:5", "5:4", "21:9", "9:21"]}),
    ("IMAGE", "piapi", 105, "Qubico/flux1-schnell", "0.0015", "image",
     {"per_image": "0.0015", "as_of": "2026-09-22"}, 90, {"aspect_ratios": WIDE}),
    ("IMAGE", "aimlapi", 106, "flux/schnell", None, "image", {}, 180,
     {"max_prompt_characters": 4000, "aspect_ratios": WIDE}),
    ("VIDEO", "piapi", 102, "kling", "0.10", "second",
     {"per_second": "0.10", "as_of": "2026-11-23"}, 900,
     {"seconds": [5, 10], "aspect_ratios": ["16:9", "9:16", "1:1"]}),
    ("VIDEO", "aimlapi", 103, "klingai/video-v3-standard-turbo-text-to-video", None, "second", {}, 900,
     {"max_prompt_characters": 3072, "seconds": [*range(3, 16)], "aspect_ratios": ["16:9", "9:16", "1:1"]}),
    ("AUDIO", "openrouter", 103, "mistralai/voxtral-mini-tts-2603", None, "1k_characters", {}, 60,
     {"voices": ["en_paul_neutral"]}),
    ("AUDIO", "aimlapi", 104, "inworld/tts-1-5-mini", None, "1k_characters", {}, 60,
     {"voices": ["Alex", "Ashley", "Deborah", "Dennis", "Mark", "Olivia", "Sarah", "Timothy"]}),
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
                "list_price": Decimal(list_price) if list_price else None,
                "price_unit": unit,
                "prices": prices,
                "timeout_seconds": timeout_seconds,
                "capabilities": capabilities,
            },
        )


class Migration(migrations.Migration):
    dependencies = [("providers", "0003_capabilities")]
    operations = [migrations.RunPython(add_rows, migrations.RunPython.noop)]
