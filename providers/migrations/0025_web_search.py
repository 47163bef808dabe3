from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("providers", "0024_transcription")]

    operations = [
        migrations.AddField(
            model_name="providerconfig",
            name="web_search",
            field=models.BooleanField(
                db_default=False,
                default=False,
                help_text='The model may search the web before it answers (OpenAI, Anthropic, xAI, OpenRouter). Searches cost extra: put "per_thousand_searches" into the prices.',
            ),
        ),
    ]
