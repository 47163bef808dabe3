"""The tables of alerts, of the API's tokens and of roles. What changes them is in alerts/, api_tokens and roles."""

from django.conf import settings
from django.contrib.auth.models import Group
from django.db import models
from django.db.models import Q, Value
from django.db.models.functions import Now


class Alert(models.Model):
    """One event that the operator is told of, from its first sight until it has been gone for a while."""

    key = models.CharField(max_length=100)  # what it is about: "no-worker:text", "model:openai:TEXT"
    title = models.CharField(max_length=200)
    advice = models.CharField(max_length=500)
    remedy = models.CharField(max_length=8, blank=True, db_default="")  # what buttons do about `routes`, see Remedy
    routes = models.JSONField(default=list, blank=True, db_default=Value([], models.JSONField()))  # their keys
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


class Scope(models.TextChoices):
    """What a token of the API may be made for."""

    STATISTICS = "statistics", "statistics: sums and recommendations, metrics, the documentation of the API"
    REQUESTS = "requests:read", "requests:read: requests and attempts, without what users wrote and received"
    PROMPTS = "prompts:read", "prompts:read: what users wrote and received, of requests that the token may read"
    ACCOUNTS = "accounts:read", "accounts:read: users and their credits"
    ROUTES = "routes:read", "routes:read: routes and AI models"


# The permissions that a scope passes on, as far as the token's maker has them.
PERMISSIONS_OF = {
    Scope.STATISTICS: ("providers.view_attemptrollup",),
    Scope.REQUESTS: ("requests_app.view_request", "providers.view_attempt"),
    Scope.PROMPTS: ("requests_app.view_prompts",),
    Scope.ACCOUNTS: ("requests_app.view_account",),
    Scope.ROUTES: ("providers.view_providerconfig", "requests_app.view_aimodel"),
}


class ApiToken(models.Model):
    """A token of the API. Its key is shown once; what is kept is a hash, which opens nothing."""

    name = models.CharField(max_length=64, help_text="Who uses it, such as grafana.")
    made_by = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="api_tokens")
    scopes = models.JSONField(default=list)
    beginning = models.CharField(max_length=16)  # of the key, by which people tell tokens apart
    key_hash = models.CharField(max_length=64, unique=True)  # SHA-256; the key is random, so it needs no salt
    created_at = models.DateTimeField(db_default=Now())
    expires_at = models.DateTimeField(null=True, blank=True, help_text="Empty: never.")
    last_used_at = models.DateTimeField(null=True, blank=True)  # to the minute
    revoked_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        verbose_name = "API token"
        ordering = ["-id"]

    def __str__(self) -> str:
        return f"{self.name} ({self.beginning}…)"

    def grants(self, permission: str) -> bool:
        """Return whether a scope of the token contains this permission; its maker must have it too."""
        return any(permission in granted and scope in self.scopes for scope, granted in PERMISSIONS_OF.items())


class ApiUsage(models.Model):
    """How many calls somebody has made of late at one of the API's named rates."""

    key = models.CharField(max_length=100, unique=True)  # the rate, and whose calls these are
    calls = models.PositiveIntegerField(default=0)
    ends_at = models.DateTimeField(db_default=Now())  # then counting begins anew

    def __str__(self) -> str:
        return self.key


class Role(models.Model):
    """A shipped group, and the permissions that it has received: each once, so that the owner may take one away."""

    name = models.CharField(max_length=16, unique=True)
    group = models.OneToOneField(Group, on_delete=models.SET_NULL, null=True)  # NULL: deleted, or somebody else's
    granted = models.JSONField(default=list)  # "app_label.codename"

    def __str__(self) -> str:
        return self.name
