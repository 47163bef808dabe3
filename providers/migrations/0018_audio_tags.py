from django.db import migrations

MUSIC = ("music", "elevenlabs/eleven_music", "minimax/music", "stable-audio", "google/lyria")


def tag_routes(apps, schema_editor):
    """Tell the routes that speak from those that make music. What has tags keeps them."""
    routes = apps.get_model("providers", "ProviderConfig").objects.using(schema_editor.connection.alias)
    for route in routes.filter(category="AUDIO"):
        if not route.tags:
            route.tags = ["music"] if route.model.startswith(MUSIC) else ["speech"]
            route.save(update_fields=["tags"])


class Migration(migrations.Migration):
    dependencies = [("providers", "0017_circuits_of_routes")]

    operations = [migrations.RunPython(tag_routes, migrations.RunPython.noop)]
