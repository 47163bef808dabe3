"""The tables of the first release with the shipped routes, in one step. Replaces its nine migrations."""

from decimal import Decimal

import django.core.validators
import django.db.models.functions.datetime
from django.db import migrations, models

import providers.capabilities
import providers.common.ids
import providers.pricing
import providers.registry
from providers.seeding import create_shipped_routes


def seed(apps, schema_editor):
    routes = apps.get_model("providers", "ProviderConfig").objects.using(schema_editor.connection.alias)
    create_shipped_routes(routes)


class Migration(migrations.Migration):

    initial = True

    replaces = [
        ("providers", "0001_initial"),
        ("providers", "0002_shipped_rows"),
        ("providers", "0003_capabilities"),
        ("providers", "0004_more_rows"),
        ("providers", "0005_jobs_to_stop"),
        ("providers", "0006_open_attempts"),
        ("providers", "0007_runware"),
        ("providers", "0008_music_and_dates"),
        ("providers", "0009_kie"),
    ]

    dependencies = []

    operations = [
        migrations.CreateModel(
            name='Attempt',
            fields=[
                ('id', models.UUIDField(default=providers.common.ids.time_ordered_uuid, editable=False, primary_key=True, serialize=False)),
                ('caller_key', models.CharField(db_index=True, max_length=64)),
                ('number', models.PositiveSmallIntegerField()),
                ('category', models.CharField(choices=[('TEXT', 'TEXT'), ('IMAGE', 'IMAGE'), ('VIDEO', 'VIDEO'), ('AUDIO', 'AUDIO')], max_length=8)),
                ('provider', models.CharField(choices=providers.registry.choices, max_length=32)),
                ('model', models.CharField(max_length=200)),
                ('state', models.CharField(choices=[('SENDING', 'sending'), ('RUNNING', 'running at the provider'), ('OK', 'succeeded'), ('FAILED', 'failed, certainly not executed'), ('UNKNOWN', 'outcome unknown, may be billed'), ('EXPIRED', 'expired at the provider'), ('ABANDONED', 'given up')], default='SENDING', max_length=10)),
                ('job_id', models.CharField(blank=True, max_length=200)),
                ('error_class', models.CharField(blank=True, max_length=32)),
                ('error_text', models.CharField(blank=True, max_length=300)),
                ('http_status', models.PositiveSmallIntegerField(blank=True, null=True)),
                ('usage', models.JSONField(blank=True, default=dict)),
                ('cost', models.DecimalField(blank=True, decimal_places=10, max_digits=16, null=True)),
                ('cost_source', models.CharField(blank=True, choices=[('provider_reported', 'provider_reported'), ('computed', 'computed'), ('estimated', 'estimated'), ('unknown', 'unknown')], max_length=20)),
                ('duration_ms', models.PositiveIntegerField(blank=True, null=True)),
                ('first_token_ms', models.PositiveIntegerField(blank=True, null=True)),
                ('created_at', models.DateTimeField(db_default=django.db.models.functions.datetime.Now())),
                ('finished_at', models.DateTimeField(blank=True, null=True)),
                ('rolled_up', models.BooleanField(default=False)),
            ],
            options={
                'ordering': ['-created_at'],
                'indexes': [models.Index(fields=['-created_at'], name='attempt_newest_first'), models.Index(fields=['provider', '-created_at'], name='attempt_by_provider'), models.Index(condition=models.Q(('finished_at__isnull', False), ('rolled_up', False)), fields=['finished_at'], name='attempt_to_roll_up'), models.Index(condition=models.Q(('error_class', ''), ('state__in', ['UNKNOWN', 'ABANDONED']), models.Q(('job_id', ''), _negated=True)), fields=['finished_at'], name='attempt_to_stop'), models.Index(condition=models.Q(('finished_at__isnull', True)), fields=['caller_key'], name='attempt_open')],
                'constraints': [models.UniqueConstraint(fields=('caller_key', 'number'), name='one_attempt_per_caller_and_number'), models.UniqueConstraint(condition=models.Q(('job_id', ''), _negated=True), fields=('provider', 'job_id'), name='one_attempt_per_job'), models.UniqueConstraint(condition=models.Q(('state__in', ['SENDING', 'RUNNING'])), fields=('caller_key',), name='one_live_attempt_per_caller'), models.CheckConstraint(condition=models.Q(('cost__gte', 0)), name='attempt_cost_is_not_negative')],
            },
        ),
        migrations.CreateModel(
            name='AttemptRollup',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('hour', models.DateTimeField()),
                ('category', models.CharField(choices=[('TEXT', 'TEXT'), ('IMAGE', 'IMAGE'), ('VIDEO', 'VIDEO'), ('AUDIO', 'AUDIO')], max_length=8)),
                ('provider', models.CharField(choices=providers.registry.choices, max_length=32)),
                ('requests', models.PositiveBigIntegerField(default=0)),
                ('successes', models.PositiveBigIntegerField(default=0)),
                ('total_cost', models.DecimalField(decimal_places=10, default=Decimal('0'), max_digits=20)),
                ('priced_successes', models.PositiveBigIntegerField(default=0)),
                ('unknown_costs', models.PositiveBigIntegerField(default=0)),
                ('success_ms', models.PositiveBigIntegerField(default=0)),
            ],
            options={
                'verbose_name': 'hourly sum',
                'ordering': ['-hour', 'category', 'provider'],
                'constraints': [models.UniqueConstraint(fields=('hour', 'category', 'provider'), name='one_rollup_per_hour_and_provider')],
            },
        ),
        migrations.CreateModel(
            name='ProviderConfig',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('category', models.CharField(choices=[('TEXT', 'TEXT'), ('IMAGE', 'IMAGE'), ('VIDEO', 'VIDEO'), ('AUDIO', 'AUDIO')], max_length=8)),
                ('provider', models.CharField(choices=providers.registry.choices, max_length=32)),
                ('enabled', models.BooleanField(default=True, help_text='Your switch. A provider that rests after failures stays on.')),
                ('priority', models.PositiveSmallIntegerField(default=100, help_text='The lowest number is tried first.')),
                ('weight', models.PositiveSmallIntegerField(default=1, help_text='Rows of equal priority share the load in proportion to their weights.')),
                ('model', models.CharField(help_text="The vendor's own model id. Vendors retire ids every few months.", max_length=200)),
                ('list_price', models.DecimalField(blank=True, decimal_places=6, help_text='USD per unit. Shown and compared; estimates a cost where nothing better is known.', max_digits=12, null=True, validators=[django.core.validators.MinValueValidator(Decimal('0'))])),
                ('price_unit', models.CharField(choices=[('1k_tokens', '1,000 tokens'), ('image', 'image'), ('second', 'second'), ('1k_characters', '1,000 characters'), ('call', 'call')], default='call', max_length=16)),
                ('prices', models.JSONField(blank=True, default=dict, help_text='Detailed rates in USD, as strings, such as {"input_per_million": "0.10", "output_per_million": "0.50", "as_of": "2026-11-23"}. Costs are computed from them.', validators=[providers.pricing.validate_prices])),
                ('capabilities', models.JSONField(blank=True, default=dict, validators=[providers.capabilities.validate_capabilities])),
                ('timeout_seconds', models.PositiveSmallIntegerField(default=30, validators=[django.core.validators.MinValueValidator(1)])),
                ('daily_cap_usd', models.DecimalField(blank=True, decimal_places=2, help_text='The provider is skipped for the rest of the day (UTC) once it has cost this much. Empty: no cap.', max_digits=10, null=True, validators=[django.core.validators.MinValueValidator(Decimal('0'))])),
                ('updated_at', models.DateTimeField(auto_now=True)),
            ],
            options={
                'verbose_name': 'provider',
                'ordering': ['category', 'priority', 'provider'],
                'constraints': [models.UniqueConstraint(fields=('category', 'provider'), name='one_row_per_category_and_provider'), models.CheckConstraint(condition=models.Q(('list_price__gte', 0)), name='list_price_is_not_negative'), models.CheckConstraint(condition=models.Q(('timeout_seconds__gte', 1)), name='timeout_is_positive')],
            },
        ),
        migrations.CreateModel(
            name='ProviderHealth',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('category', models.CharField(choices=[('TEXT', 'TEXT'), ('IMAGE', 'IMAGE'), ('VIDEO', 'VIDEO'), ('AUDIO', 'AUDIO')], max_length=8)),
                ('provider', models.CharField(choices=providers.registry.choices, max_length=32)),
                ('failures', models.PositiveIntegerField(default=0)),
                ('level', models.PositiveSmallIntegerField(default=0)),
                ('resting_until', models.DateTimeField(blank=True, null=True)),
                ('probing_until', models.DateTimeField(blank=True, null=True)),
                ('reason', models.CharField(blank=True, max_length=300)),
                ('updated_at', models.DateTimeField(auto_now=True)),
            ],
            options={
                'verbose_name': "provider's health",
                'verbose_name_plural': "providers' health",
                'ordering': ['category', 'provider'],
                'constraints': [models.UniqueConstraint(fields=('category', 'provider'), name='one_health_per_category_and_provider')],
            },
        ),
        migrations.RunPython(seed, migrations.RunPython.noop),
    ]
