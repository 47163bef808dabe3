"""The tables of AI models, accounts, requests and the ledger. What changes them is in services and states."""

from collections.abc import Mapping
from typing import Any

from django.core.validators import MaxValueValidator
from django.db import models
from django.db.models import F, Q, Value
from django.db.models.functions import Now

from providers import registry
from providers.common.ids import time_ordered_uuid
from providers.json_field import TypedJSONField
from providers.models import CATEGORY_CHOICES
from providers.route_fields import validate_tag
from providers.types import CostSource, Purpose
from providers.versioning import Versioned, versions
from requests_app.credit_rates import Terms, validate_rates
from requests_app.names import MAX_FOLDED_CHARACTERS, folded
from requests_app.options import max_output_tokens_of, validate_options

PURPOSES = [(purpose.value, purpose.value) for purpose in Purpose]
# Columns that came after the first release have a default in the database, so that older code can still insert.
EMPTY_LIST = Value([], models.JSONField())
EMPTY_OBJECT = Value({}, models.JSONField())


class AIModel(Versioned):
    """An AI model as users pick it. The chain decides which provider answers; this name is never sent to one."""

    name = models.CharField(max_length=64, unique=True)
    slug = models.SlugField(max_length=64, unique=True)
    category = models.CharField(max_length=8, choices=CATEGORY_CHOICES)
    provider = models.CharField(
        max_length=32, blank=True, choices=registry.choices, help_text="The provider that the name suggests."
    )
    tag = models.CharField(
        max_length=32,
        blank=True,
        db_default="",
        validators=[validate_tag],
        help_text="Only routes with this tag serve it. Empty: all of the category.",
    )
    rates = TypedJSONField(
        default=dict,
        blank=True,
        db_default=EMPTY_OBJECT,
        validators=[validate_rates],
        help_text="Credits by size. Empty: the price is flat.",
    )
    token_cost = models.PositiveIntegerField(
        default=1, validators=[MaxValueValidator(1_000_000)], help_text="Credits that a request costs at least."
    )
    description = models.CharField(max_length=200, blank=True)
    options = TypedJSONField(
        default=dict,
        blank=True,
        validators=[validate_options],
        help_text='Output options, such as {"seconds": 5, "aspect_ratio": "9:16"}.',
    )
    enabled = models.BooleanField(default=True)
    position = models.PositiveSmallIntegerField(default=100, help_text="The order in which users see the models.")

    history = versions()

    class Meta:
        db_table = "ai_models"
        verbose_name = "AI model"
        ordering = ["position", "name"]

    def __str__(self) -> str:
        return self.name

    @property
    def terms(self) -> Terms:
        """What a request costs now."""
        return self.terms_with(self.options)

    def terms_with(self, options: Mapping[str, Any]) -> Terms:
        """Return what a request with these options costs now."""
        return Terms(self.token_cost, self.rates, max_output_tokens_of(options))


class Account(models.Model):
    """A user of the service and their credits. The balance is the sum of the ledger, and never negative."""

    key = models.CharField(max_length=64, unique=True)  # where the user comes from: "telegram:42", "cli"
    name = models.CharField(max_length=128, blank=True)
    # As it is searched. Without an index: a part of a name is searched by none, and few characters are read quickly.
    folded_name = models.CharField(
        max_length=MAX_FOLDED_CHARACTERS, blank=True, default="", db_default="", editable=False
    )
    balance = models.BigIntegerField(default=0, editable=False)
    is_blocked = models.BooleanField(default=False)
    created_at = models.DateTimeField(db_default=Now())

    class Meta:
        ordering = ["-created_at"]
        permissions = [
            ("add_credits", "Can add credits to an account"),
            ("erase_account", "Can erase what a user wrote and received, and their names"),
        ]
        constraints = [models.CheckConstraint(condition=Q(balance__gte=0), name="balance_is_never_negative")]
        indexes = [models.Index(fields=["-id"], condition=Q(is_blocked=True), name="account_blocked")]

    def __str__(self) -> str:
        return self.name or self.key

    def save(self, *args: Any, **kwargs: Any) -> None:
        """Save the account, and its name as it is searched."""
        self.folded_name = folded(self.name)
        if kwargs.get("update_fields") is not None and "name" in kwargs["update_fields"]:
            kwargs["update_fields"] = {*kwargs["update_fields"], "folded_name"}
        super().save(*args, **kwargs)


VIEW_PROMPTS = "requests_app.view_prompts"  # the permission without which no text and no file of a user is shown
ERASED = "[erased]"  # in place of a prompt and its answer, once retention has taken them


def new_request_id() -> str:
    """Return an id that sorts by time: "req_" and 32 hexadecimal digits."""
    return f"req_{time_ordered_uuid().hex}"


class Request(models.Model):
    """What a user asked, from acceptance to its end. Only states.transition() changes the status."""

    class Status(models.TextChoices):
        PENDING = "PENDING", "waiting for a worker"
        PROCESSING = "PROCESSING", "being answered"
        COMPLETED = "COMPLETED", "answered"
        FAILED = "FAILED", "failed, credits given back"
        REJECTED = "REJECTED", "not accepted, nothing charged"
        CANCELLED = "CANCELLED", "cancelled; charged only where a part was shown"
        QUARANTINED = "QUARANTINED", "set aside, an operator decides"

    OPEN = (Status.PENDING, Status.PROCESSING)

    id = models.CharField(primary_key=True, max_length=40, default=new_request_id, editable=False)
    # Their indexes are those below, which begin with them and are in the order of lists.
    user = models.ForeignKey(Account, on_delete=models.PROTECT, related_name="requests", db_index=False)
    model = models.ForeignKey(AIModel, on_delete=models.PROTECT, related_name="requests", db_index=False)
    category = models.CharField(max_length=8, choices=CATEGORY_CHOICES)
    # As it was accepted: it stays of the sandbox where a real call answers it, once a key is set.
    purpose = models.CharField(
        max_length=8, choices=PURPOSES, default=Purpose.USER.value, db_default=Purpose.USER.value
    )
    conversation = models.CharField(max_length=64, blank=True)  # requests that share one are turns of one conversation
    input_text = models.TextField()
    input_media = models.JSONField(default=list, blank=True)
    transcript = models.TextField(null=True, blank=True)  # noqa: DJ001 — of its audio; NULL: not made, empty: silence
    input_seconds = models.PositiveIntegerField(
        default=0, db_default=0
    )  # of the audio behind the transcript, as it is billed
    options = models.JSONField(default=dict, blank=True)
    tag = models.CharField(max_length=32, blank=True, db_default="")  # of the AI model: which routes may serve it
    output_text = models.TextField(blank=True)
    output_media = models.JSONField(default=list, blank=True)
    output_url = models.URLField(max_length=2000, blank=True)
    status = models.CharField(max_length=12, choices=Status.choices, default=Status.PENDING)
    actual_provider = models.CharField(max_length=32, null=True, blank=True)  # noqa: DJ001 — operators' SQL uses IS NOT NULL
    actual_route = models.CharField(max_length=64, blank=True, db_default="")
    finish_reason = models.CharField(max_length=32, blank=True, db_default="")
    skipped = models.JSONField(default=list, blank=True, db_default=EMPTY_LIST)  # which routes were passed by, and why
    # Written at the end; both 0: nobody knows, as of a request of an earlier release.
    routes_asked = models.PositiveSmallIntegerField(default=0, db_default=0)  # for the answer, each counted once
    routes_passed_by = models.PositiveSmallIntegerField(default=0, db_default=0)  # and not asked in the end
    cost = models.DecimalField(max_digits=16, decimal_places=10, null=True, blank=True)  # USD of answer and transcript
    cost_source = models.CharField(max_length=20, blank=True, choices=[(s.value, s.value) for s in CostSource])
    processing_ms = models.PositiveIntegerField(null=True, blank=True)
    credits = models.PositiveIntegerField()  # what it costs its user: held at acceptance, charged at its end
    terms = models.JSONField(default=dict, blank=True, db_default=EMPTY_OBJECT)  # of a price by size, see credit_rates
    error_code = models.CharField(max_length=32, blank=True)
    intake_key = models.CharField(max_length=100, unique=True)  # makes acceptance idempotent: one message, one request
    fence = models.PositiveIntegerField(default=0)  # fencing token: grows with each claim, older writes are refused
    lease_until = models.DateTimeField(null=True, blank=True)  # until then the worker that claimed it owns it
    next_at = models.DateTimeField(null=True, blank=True)  # no worker claims it before
    tries = models.PositiveSmallIntegerField(default=0)  # claims without progress
    deadline_at = models.DateTimeField()
    created_at = models.DateTimeField(db_default=Now())
    started_at = models.DateTimeField(null=True, blank=True)
    completed_at = models.DateTimeField(null=True, blank=True)
    content_erased_at = models.DateTimeField(null=True, blank=True)  # then texts are ERASED and files are gone
    rolled_up = models.BooleanField(default=False, db_default=False)  # counted in the sums already

    class Meta:
        db_table = "requests"
        ordering = ["-created_at"]
        permissions = [
            ("view_prompts", "Can view what users wrote and received"),
            ("refund_requests", "Can give back what an answer has cost"),
            ("retry_requests", "Can ask a request anew, at its user's cost"),
        ]
        constraints = [
            models.CheckConstraint(
                condition=~Q(status="COMPLETED") | Q(actual_provider__isnull=False, completed_at__isnull=False),
                name="completed_says_who_and_when",
            ),
            models.CheckConstraint(
                condition=~Q(status="COMPLETED") | ~Q(output_text="") | ~Q(output_url="") | ~Q(output_media=[]),
                name="completed_has_a_result",
            ),
        ]
        indexes = [
            models.Index(fields=["-created_at"], name="request_newest_first"),
            models.Index(fields=["user", "-created_at"], name="request_of_user"),
            models.Index(fields=["model", "-created_at"], name="request_of_model"),
            models.Index(fields=["user", "conversation", "-created_at"], name="request_by_conversation"),
            # Not on lease_until: an index there would make each renewal of a lease write to it (no HOT update).
            models.Index(fields=["created_at"], condition=Q(completed_at__isnull=True), name="request_unfinished"),
            # What a user has under way, however many requests they have made.
            models.Index(fields=["user"], condition=Q(completed_at__isnull=True), name="request_unfinished_of_user"),
            models.Index(fields=["user", "created_at"], condition=Q(status="CANCELLED"), name="request_cancelled"),
            # For the admin's filters. An answered request of text is in the last of them alone. What follows the moment
            # sorts nothing: another filter is then decided in the index, without a look at each row.
            models.Index(
                fields=["status", "-created_at", "category", "actual_provider"],
                condition=~Q(status="COMPLETED") & ~Q(status="PENDING") & ~Q(status="PROCESSING"),
                name="request_unanswered",
            ),
            models.Index(
                fields=["category", "-created_at", "status", "actual_provider", "routes_asked"],
                condition=~Q(category="TEXT"),
                name="request_not_text",
            ),
            models.Index(
                fields=["actual_provider", "-created_at", "category", "status", "routes_asked"],
                condition=Q(actual_provider__isnull=False),
                name="request_by_provider",
            ),
            models.Index(fields=["-created_at"], condition=Q(routes_asked__gt=1), name="request_of_further_routes"),
            models.Index(
                fields=["completed_at"],
                condition=Q(rolled_up=False, completed_at__isnull=False),
                name="request_to_roll_up",
            ),
        ]

    def __str__(self) -> str:
        return self.id


class LedgerEntry(models.Model):
    """One movement of credits. Append-only: a mistake is corrected by another entry."""

    class Kind(models.TextChoices):
        HOLD = "HOLD", "held for a request"
        CAPTURE = "CAPTURE", "answered or shown in part: what was used is kept"
        RELEASE = "RELEASE", "request failed, hold given back"
        REFUND = "REFUND", "credits given back after the answer"
        TOPUP = "TOPUP", "credits bought or given"
        PAYMENT_REFUND = "PAYMENT_REFUND", "money paid back, unspent credits taken"
        GIFT = "GIFT", "credits given to or by another user"
        EXPIRE = "EXPIRE", "credits that ran out"
        ADJUST = "ADJUST", "corrected by an operator"

    # Its index is `entry_of_account`, which begins with it and is in the order of lists.
    account = models.ForeignKey(Account, on_delete=models.PROTECT, related_name="ledger", db_index=False)
    # The id is kept as text when retention deletes the request.
    request = models.ForeignKey(
        Request, on_delete=models.DO_NOTHING, db_constraint=False, null=True, blank=True, related_name="ledger"
    )
    kind = models.CharField(max_length=16, choices=Kind.choices)
    amount = models.BigIntegerField()  # added to the balance: HOLD is negative, CAPTURE what was held too much
    actor = models.CharField(max_length=64)
    reason = models.CharField(max_length=200, blank=True)
    external_ref = models.CharField(
        max_length=100, blank=True
    )  # of what is behind a TOPUP or ADJUST, such as a payment
    is_paid = models.BooleanField(default=False, db_default=False)  # a TOPUP that was sold; the others were given
    purpose = models.CharField(
        max_length=8, choices=PURPOSES, default=Purpose.USER.value, db_default=Purpose.USER.value
    )  # of its request; without one, as it was booked
    # Of a REFUND: the AI model of its request, which retention may have taken. Of others, and of some old ones, NULL.
    model = models.ForeignKey(
        AIModel, on_delete=models.DO_NOTHING, db_constraint=False, db_index=False, null=True, related_name="+"
    )
    created_at = models.DateTimeField(db_default=Now())

    class Meta:
        verbose_name_plural = "ledger entries"
        ordering = ["-id"]
        indexes = [
            models.Index(fields=["account", "-id"], name="entry_of_account"),
            # What an account was sold, given and given back, however many of its requests were charged.
            models.Index(
                fields=["account", "-id"],
                include=["kind", "is_paid", "amount", "created_at"],
                condition=~Q(kind="HOLD") & ~Q(kind="CAPTURE") & ~Q(kind="RELEASE"),
                name="entry_of_account_only",
            ),
            models.Index(fields=["is_paid", "-id"], condition=Q(kind="TOPUP"), name="entry_sold_or_given"),
            # What few entries are, for the admin's filter.
            models.Index(
                fields=["kind", "-id"], condition=~Q(kind="HOLD") & ~Q(kind="CAPTURE"), name="entry_not_of_answers"
            ),
            # What the sums of a period need of the ledger; the charges are in the sums of requests.
            models.Index(
                fields=["created_at"],
                include=["kind", "is_paid", "amount", "request", "purpose"],
                condition=~Q(kind="HOLD") & ~Q(kind="CAPTURE") & ~Q(kind="RELEASE"),
                name="entry_not_of_requests",
            ),
            models.Index(
                fields=["created_at"],
                include=["account", "amount", "model", "request", "purpose"],
                condition=Q(kind="REFUND"),
                name="entry_refunds_of_models",
            ),
        ]
        constraints = [
            models.UniqueConstraint(fields=["request"], condition=Q(kind="HOLD"), name="one_hold_per_request"),
            models.UniqueConstraint(
                fields=["request"], condition=Q(kind__in=["CAPTURE", "RELEASE"]), name="one_settlement_per_request"
            ),
            models.UniqueConstraint(fields=["request"], condition=Q(kind="REFUND"), name="one_refund_per_request"),
            models.UniqueConstraint(
                fields=["external_ref"],
                condition=Q(kind="TOPUP") & ~Q(external_ref=""),
                name="one_topup_per_external_ref",
            ),
            models.UniqueConstraint(
                fields=["external_ref"],
                condition=Q(kind="ADJUST") & ~Q(external_ref=""),
                name="one_adjustment_per_external_ref",
            ),
            models.CheckConstraint(
                condition=Q(kind="HOLD", amount__lte=0, request__isnull=False)
                | Q(kind="CAPTURE", amount__gte=0, request__isnull=False)
                | Q(kind="RELEASE", amount__gte=0, request__isnull=False)
                | Q(kind="REFUND", amount__gte=0, request__isnull=False)
                | Q(kind="TOPUP", amount__gt=0)
                | Q(kind="PAYMENT_REFUND", amount__lte=0)
                | Q(kind="GIFT")
                | Q(kind="EXPIRE", amount__lte=0)
                | Q(kind="ADJUST"),
                name="amount_fits_its_kind",
            ),
            models.CheckConstraint(condition=Q(is_paid=False) | Q(kind="TOPUP"), name="only_top_ups_are_paid"),
        ]

    def __str__(self) -> str:
        return f"{self.kind} {self.amount:+d}"


class RequestEvent(models.Model):
    """Who changed a request's status, when and why."""

    request = models.ForeignKey(Request, on_delete=models.CASCADE, related_name="events")
    from_status = models.CharField(max_length=12, blank=True)
    to_status = models.CharField(max_length=12)
    actor = models.CharField(max_length=64)
    reason = models.CharField(max_length=300, blank=True)
    created_at = models.DateTimeField(db_default=Now())

    class Meta:
        verbose_name = "status change"
        ordering = ["id"]
        constraints = [
            models.CheckConstraint(condition=~Q(from_status=F("to_status")), name="event_moves_the_status"),
        ]

    def __str__(self) -> str:
        return f"{self.from_status or '–'} → {self.to_status}"


class RequestRollup(models.Model):
    """The sums of the requests that were made in one day (of TIME_ZONE) and have ended, by AI model and who answered.

    The credits are what was charged at their end; what was given back later is in the ledger, as a REFUND of its own
    day.
    """

    day = models.DateField()
    category = models.CharField(max_length=8, choices=CATEGORY_CHOICES)
    model = models.ForeignKey(AIModel, on_delete=models.PROTECT, related_name="+", db_index=False)
    purpose = models.CharField(max_length=8)  # providers.types.Purpose: "sandbox" where the answer is invented
    provider = models.CharField(max_length=32, blank=True)  # who answered; "" for nobody
    route = models.CharField(max_length=64, blank=True)
    requests = models.PositiveBigIntegerField()
    completed = models.PositiveBigIntegerField()
    failed = models.PositiveBigIntegerField()
    cancelled = models.PositiveBigIntegerField()
    rejected = models.PositiveBigIntegerField()
    by_first = models.PositiveBigIntegerField()  # answered by the first route that was asked
    by_second = models.PositiveBigIntegerField()
    by_later = models.PositiveBigIntegerField()  # by the third or a later one
    credits = models.PositiveBigIntegerField()  # charged

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["day", "category", "model", "purpose", "provider", "route"],
                name="one_rollup_per_day_model_and_route",
            )
        ]

    def __str__(self) -> str:
        return f"{self.day} {self.model_id} {self.provider}"


class RequestHistogram(models.Model):
    """How many requests of one day were answered in how much time; see providers/statistics/histograms.py."""

    day = models.DateField()
    category = models.CharField(max_length=8, choices=CATEGORY_CHOICES)
    purpose = models.CharField(max_length=8)
    bucket = models.PositiveSmallIntegerField()
    number = models.PositiveBigIntegerField()

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["day", "category", "purpose", "bucket"], name="one_count_per_day_and_bucket"
            )
        ]

    def __str__(self) -> str:
        return f"{self.day} {self.category}: {self.number}"


class _AccountSums(models.Model):
    """The sums of one user's ended requests of some time, with all that they have cost."""

    account = models.ForeignKey(Account, on_delete=models.PROTECT, related_name="+", db_index=False)
    purpose = models.CharField(max_length=8)
    requests = models.PositiveBigIntegerField()
    completed = models.PositiveBigIntegerField()
    credits = models.PositiveBigIntegerField()  # charged
    cost = models.DecimalField(max_digits=20, decimal_places=10)  # USD, known costs of all their attempts
    unknown_costs = models.PositiveBigIntegerField()  # attempts that may be billed at an unknown cost

    class Meta:
        abstract = True


class AccountRollup(_AccountSums):
    """The sums of one user's requests that were made in one day (of TIME_ZONE)."""

    day = models.DateField()

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["day", "account", "purpose"], name="one_rollup_per_day_and_account")
        ]
        indexes = [models.Index(fields=["account", "day"], name="rollup_of_account")]

    def __str__(self) -> str:
        return f"{self.day} {self.account_id}"


class AccountMonthRollup(_AccountSums):
    """The sums of one user's days of one month, so that a long period reads few rows."""

    month = models.DateField()  # its first day

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["month", "account", "purpose"], name="one_rollup_per_month_and_account")
        ]
        indexes = [models.Index(fields=["account", "month"], name="month_rollup_of_account")]

    def __str__(self) -> str:
        return f"{self.month:%Y-%m} {self.account_id}"


class WorkerHeartbeat(models.Model):
    """A process that works: a worker or a sweeper. Its row tells that it lives, and how much it has to do."""

    name = models.CharField(max_length=128, primary_key=True)  # host, kind and process id
    kind = models.CharField(max_length=16)  # "worker" or "sweeper"
    queues = models.CharField(max_length=64, blank=True)  # which a worker takes work from
    slots = models.PositiveIntegerField(default=0)
    busy = models.PositiveIntegerField(default=0)
    started_at = models.DateTimeField(db_default=Now())
    seen_at = models.DateTimeField(db_default=Now())

    class Meta:
        ordering = ["kind", "name"]

    def __str__(self) -> str:
        return self.name


class MaintenanceMode(models.Model):
    """The switch of maintenance mode: on while its one row is there. It holds prompts back and nothing else."""

    id = models.PositiveSmallIntegerField(primary_key=True, default=1, editable=False)
    notice = models.CharField(
        max_length=300, blank=True, help_text="What users read who write meanwhile; empty: the usual words."
    )
    began_at = models.DateTimeField(db_default=Now(), editable=False)

    class Meta:
        verbose_name = verbose_name_plural = "maintenance mode"
        constraints = [models.CheckConstraint(condition=Q(id=1), name="one_maintenance_mode")]

    def __str__(self) -> str:
        return "on"
