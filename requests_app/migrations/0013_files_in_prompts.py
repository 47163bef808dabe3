from django.db import migrations, models

AS_SHIPPED = {"per_thousand_input_tokens": "0.2", "per_thousand_output_tokens": "1.5"}


def price_files_of_prompts(apps, schema_editor):
    """Price voice messages and images that are changed in a new database. Where users know a price, it stays."""
    alias = schema_editor.connection.alias
    # Retention may have taken the requests; the ledger stays.
    if not any(
        apps.get_model("requests_app", name).objects.using(alias).exists() for name in ("Request", "LedgerEntry")
    ):
        ai_models = apps.get_model("requests_app", "AIModel").objects.using(alias)
        texts = ai_models.filter(slug="text-ai", category="TEXT", rates=AS_SHIPPED)
        texts.update(rates={**AS_SHIPPED, "per_minute_heard": "1"})
        ai_models.filter(slug="image-ai", category="IMAGE", token_cost=5, rates={}).update(
            rates={"per_input_image": "8"}
        )


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
        migrations.RunPython(price_files_of_prompts, migrations.RunPython.noop),
    ]
