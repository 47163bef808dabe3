from django.db import migrations, models

import providers.pricing
import providers.route_fields


class Migration(migrations.Migration):
    dependencies = [
        ("providers", "0033_names"),
    ]

    operations = [
        migrations.AlterField(
            model_name="historicalproviderconfig",
            name="drop_fields",
            field=models.JSONField(
                blank=True,
                db_default=models.Value([], models.JSONField()),
                default=list,
                help_text="Left out of the body, such as reasoning_effort, input.seed, for models that refuse them.",
                validators=[providers.route_fields.validate_drop_fields],
            ),
        ),
        migrations.AlterField(
            model_name="historicalproviderconfig",
            name="prices",
            field=models.JSONField(
                blank=True,
                default=dict,
                help_text="Detailed rates in USD, and the day of which they are. Costs are computed from them; what they do not cover is estimated by the list price.",
                validators=[providers.pricing.validate_prices],
            ),
        ),
        migrations.AlterField(
            model_name="historicalproviderconfig",
            name="tags",
            field=models.JSONField(
                blank=True,
                db_default=models.Value([], models.JSONField()),
                default=list,
                help_text="By which AI models choose routes, such as music, fast. An AI model without a tag chooses from all.",
                validators=[providers.route_fields.validate_tags],
            ),
        ),
        migrations.AlterField(
            model_name="historicalproviderconfig",
            name="web_search",
            field=models.BooleanField(
                db_default=False,
                default=False,
                help_text="The model may search the web before it answers (OpenAI, Anthropic, xAI, OpenRouter). Searches cost extra: put what 1,000 web searches cost into the prices.",
            ),
        ),
        migrations.AlterField(
            model_name="providerconfig",
            name="drop_fields",
            field=models.JSONField(
                blank=True,
                db_default=models.Value([], models.JSONField()),
                default=list,
                help_text="Left out of the body, such as reasoning_effort, input.seed, for models that refuse them.",
                validators=[providers.route_fields.validate_drop_fields],
            ),
        ),
        migrations.AlterField(
            model_name="providerconfig",
            name="prices",
            field=models.JSONField(
                blank=True,
                default=dict,
                help_text="Detailed rates in USD, and the day of which they are. Costs are computed from them; what they do not cover is estimated by the list price.",
                validators=[providers.pricing.validate_prices],
            ),
        ),
        migrations.AlterField(
            model_name="providerconfig",
            name="tags",
            field=models.JSONField(
                blank=True,
                db_default=models.Value([], models.JSONField()),
                default=list,
                help_text="By which AI models choose routes, such as music, fast. An AI model without a tag chooses from all.",
                validators=[providers.route_fields.validate_tags],
            ),
        ),
        migrations.AlterField(
            model_name="providerconfig",
            name="web_search",
            field=models.BooleanField(
                db_default=False,
                default=False,
                help_text="The model may search the web before it answers (OpenAI, Anthropic, xAI, OpenRouter). Searches cost extra: put what 1,000 web searches cost into the prices.",
            ),
        ),
    ]
