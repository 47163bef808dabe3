"""The circuit breaker's fields in the field's words. The columns keep their names, so older code still runs on them."""

from django.db import migrations, models

RENAMED = {"level": "consecutive_trips", "resting_until": "open_until", "probing_until": "probe_until"}
FIELDS = {
    "consecutive_trips": models.PositiveSmallIntegerField(default=0, db_column="level"),
    "open_until": models.DateTimeField(null=True, blank=True, db_column="resting_until"),
    "probe_until": models.DateTimeField(null=True, blank=True, db_column="probing_until"),
}


class Migration(migrations.Migration):
    dependencies = [("providers", "0001_squashed_0009_kie")]
    operations = [
        migrations.SeparateDatabaseAndState(
            state_operations=[
                *(migrations.RenameField("providerhealth", old, new) for old, new in RENAMED.items()),
                *(migrations.AlterField("providerhealth", name, field) for name, field in FIELDS.items()),
            ]
        ),
    ]
