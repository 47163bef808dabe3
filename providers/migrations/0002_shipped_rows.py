"""The chain as shipped. Rows that exist are left alone: what the operator changed stays changed."""

from decimal import Decimal

from django.db import migrations

NOVEMBER = "2026-11-23"

# category, provider, priority, model, list price, its unit, detailed rates, time-out in seconds
ROWS = [
    ("TEXT", "aimlapi", 1, "deepseek/deepseek-v4-flash", "0.0015", "1k_tokens",
     {"input_per_million": "0.39", "output_per_million": "1.56", "as_of": NOVEMBER}, 30),
    ("TEXT", "piapi", 2, "gpt-5.2", "0.0012", "1k_tokens", {}, 30),
    ("TEXT", "openrouter", 3, "~anthropic/claude-haiku-latest", "0.002", "1k_tokens", {}, 30),
    ("TEXT", "openai", 4, "gpt-6-luna", "0.0025", "1k_tokens",
     {"input_per_million": "0.10", "cached_input_per_million": "0.01", "output_per_million": "0.50",
      "as_of": NOVEMBER}, 30),
    ("TEXT", "anthropic", 5, "claude-haiku-5-5", "0.003", "1k_tokens",
     {"input_per_million": "0.10", "output_per_million": "0.50", "as_of": NOVEMBER}, 30),
    ("TEXT", "xai", 6, "grok-4.7", "0.005", "1k_tokens",
     {"input_per_million": "2.00", "cached_input_per_million": "0.50", "output_per_million": "6.00",
      "as_of": NOVEMBER}, 30),
    ("IMAGE", "replicate", 1, "black-forest-labs/flux-schnell", "0.003", "image", {}, 90),
    ("IMAGE", "openai", 2, "gpt-image-2.6-flare", "0.04", "image",
     {"input_per_million": "5.00", "output_per_million": "30.00", "as_of": "2026-11-05"}, 180),
    ("VIDEO", "replicate", 1, "kwaivgi/kling-v3-video", "0.084", "second", {}, 900),
    ("AUDIO", "elevenlabs", 1, "eleven_v4_turbo", "0.04", "1k_characters", {}, 60),
    ("AUDIO", "replicate", 2, "minimax/speech-2.6-turbo", "0.06", "1k_characters", {}, 120),
]  # fmt: skip


def add_rows(apps, schema_editor):
    rows = apps.get_model("providers", "ProviderConfig").objects.using(schema_editor.connection.alias)
    for category, provider, priority, model, list_price, price_unit, prices, timeout_seconds in ROWS:
        rows.get_or_create(
            category=category,
            provider=provider,
            defaults={
                "priority": priority,
                "model": model,
                "list_price": Decimal(list_price) if list_price else None,
                "price_unit": price_unit,
                "prices": prices,
                "timeout_seconds": timeout_seconds,
            },
        )


class Migration(migrations.Migration):
    dependencies = [("providers", "0001_initial")]
    operations = [migrations.RunPython(add_rows, migrations.RunPython.noop)]
