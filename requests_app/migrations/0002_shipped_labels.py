"""The labels as shipped. Labels that exist are left alone: what the operator changed stays changed."""

from django.db import migrations

# name, slug, category, the vendor that the label suggests, credits, description, position
LABELS = [
    ("Text AI", "text-ai", "TEXT", "aimlapi", 1, "Questions, texts, translations, code.", 10),
    ("Image AI", "image-ai", "IMAGE", "replicate", 5, "A picture from your description.", 20),
    ("Video AI", "video-ai", "VIDEO", "replicate", 60, "A short film from your description.", 30),
    ("Audio AI", "audio-ai", "AUDIO", "elevenlabs", 5, "Your text, spoken.", 40),
]


def add_labels(apps, schema_editor):
    labels = apps.get_model("requests_app", "AIModel").objects.using(schema_editor.connection.alias)
    for name, slug, category, provider, token_cost, description, position in LABELS:
        if labels.filter(name=name).exists():
            continue
        labels.get_or_create(
            slug=slug,
            defaults={
                "name": name,
                "category": category,
                "provider": provider,
                "token_cost": token_cost,
                "description": description,
                "position": position,
            },
        )


class Migration(migrations.Migration):
    dependencies = [("requests_app", "0001_initial")]
    operations = [migrations.RunPython(add_labels, migrations.RunPython.noop)]
