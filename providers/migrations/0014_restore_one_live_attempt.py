"""Restore the constraint that the migration before has cost databases on PostgreSQL.

Django drops every index of a column whose db_index ends, the one behind a conditional UniqueConstraint too.
"""

from django.db import migrations
from django.db.models.functions import Now

LIVE = ("SENDING", "RUNNING")


def restore_constraint(apps, schema_editor):
    """Create the index where it is missing. Of several live attempts of one caller only the last one stays live."""
    attempt_model = apps.get_model("providers", "Attempt")
    connection = schema_editor.connection
    with connection.cursor() as cursor:
        if "one_live_attempt_per_caller" in connection.introspection.get_constraints(cursor, "providers_attempt"):
            return
    live = attempt_model.objects.using(connection.alias).filter(state__in=LIVE)
    seen = set()
    for attempt_id, caller_key in live.order_by("-number").values_list("id", "caller_key"):
        if caller_key in seen:
            live.filter(id=attempt_id).update(state="UNKNOWN", error_class="WorkerLost", finished_at=Now())
        seen.add(caller_key)
    (constraint,) = (c for c in attempt_model._meta.constraints if c.name == "one_live_attempt_per_caller")
    schema_editor.add_constraint(attempt_model, constraint)


class Migration(migrations.Migration):
    dependencies = [
        ("providers", "0013_final_tables"),
    ]

    operations = [
        migrations.RunPython(restore_constraint, migrations.RunPython.noop),
    ]
