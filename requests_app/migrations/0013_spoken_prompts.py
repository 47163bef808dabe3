from django.db import migrations, models

AS_SHIPPED = {"per_thousand_input_tokens": "0.2", "per_thousand_output_tokens": "1.5"}
PER_MINUTE_HEARD = {"per_minute_heard": "1"}


def price_what_is_heard(apps, schema_editor):
    """Price voice messages of the shipped text model in a new database. Where users know a price already, it stays."""
    alias = schema_editor.connection.alias
    if not apps.get_model("requests_app", "Request").objects.using(alias).exists():
        shipped = apps.get_model("requests_app", "AIModel").objects.using(alias).filter(slug="text-ai", category="TEXT")
        shipped.filter(rates=AS_SHIPPED).update(rates={**AS_SHIPPED, **PER_MINUTE_HEARD})


class Migration(migrations.Migration):
    dependencies = [("requests_app", "0012_by_size")]

    operations = [
        migrations.AddField(
            model_name="request",
            name="input_seconds",
            field=models.PositiveIntegerField(db_default=0, default=0),
        ),
        migrations.AddField(
            model_name="request",
            name="transcript",
            field=models.TextField(blank=True, null=True),
        ),
        migrations.RunPython(price_what_is_heard, migrations.RunPython.noop),
    ]
