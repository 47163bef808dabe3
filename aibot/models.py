"""The tables of alerts. What changes them is in alerts/."""

from django.db import models
from django.db.models import Q
from django.db.models.functions import Now


class Alert(models.Model):
    """One event that the operator is told of, from its first sight until it has been gone for a while."""

    key = models.CharField(max_length=100)  # what it is about: "no-worker:text", "model:openai:TEXT"
    title = models.CharField(max_length=200)
    advice = models.CharField(max_length=500)
    began_at = models.DateTimeField(db_default=Now())
    tell_at = models.DateTimeField()  # what is not the case any more by then is told to nobody
    seen_at = models.DateTimeField(db_default=Now())  # when it was last seen to be the case
    ended_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        ordering = ["-began_at"]
        constraints = [
            models.UniqueConstraint(fields=["key"], condition=Q(ended_at__isnull=True), name="one_open_alert_per_key")
        ]

    def __str__(self) -> str:
        return self.title


class Notification(models.Model):
    """The message of one channel that an alert has begun, or that it is over."""

    alert = models.ForeignKey(Alert, on_delete=models.CASCADE, related_name="notifications")
    channel = models.CharField(max_length=16)  # a name in alerts.channels.CHANNELS
    is_end = models.BooleanField()
    tries = models.PositiveSmallIntegerField(default=0)
    next_at = models.DateTimeField(db_default=Now())  # not to be sent before; while it is sent, by nobody else
    sent_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        ordering = ["id"]
        constraints = [
            models.UniqueConstraint(
                fields=["alert", "channel", "is_end"], name="one_notification_per_alert_and_channel"
            )
        ]
        indexes = [models.Index(fields=["channel"], condition=Q(sent_at__isnull=True), name="notification_unsent")]

    def __str__(self) -> str:
        return f"{'end' if self.is_end else 'begin'}, {self.channel}"
