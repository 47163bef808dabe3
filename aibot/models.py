"""The table of alerts. What changes it is in alerts/."""

from django.db import models
from django.db.models import Q
from django.db.models.functions import Now


class Alert(models.Model):
    """One event that the operator is told of, from its first sight until it has been gone for a while."""

    key = models.CharField(max_length=64)  # what it is about: "no-worker:text", "access:openai:TEXT"
    title = models.CharField(max_length=200)
    advice = models.CharField(max_length=500)
    began_at = models.DateTimeField(db_default=Now())
    tell_at = models.DateTimeField()  # what is not the case any more by then is told to nobody
    seen_at = models.DateTimeField(db_default=Now())  # when it was last seen to be the case
    ended_at = models.DateTimeField(null=True, blank=True)
    told_at = models.DateTimeField(null=True, blank=True)
    end_told_at = models.DateTimeField(null=True, blank=True)
    claimed_until = models.DateTimeField(null=True, blank=True)  # until then one process is telling it

    class Meta:
        ordering = ["-began_at"]
        constraints = [
            models.UniqueConstraint(fields=["key"], condition=Q(ended_at__isnull=True), name="one_open_alert_per_key")
        ]

    def __str__(self) -> str:
        return self.title
