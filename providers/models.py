"""The routes of the chain, the circuit breaker's rows, and every outgoing call with what it cost."""

from datetime import datetime
from decimal import Decimal
from typing import Any

from django.core.validators import MinValueValidator
from django.db import models
from django.db.models import ExpressionWrapper, Q, Value
from django.db.models.functions import Now
from django.utils import timezone

from providers import registry
from providers.capabilities import validate_capabilities
from providers.common.ids import time_ordered_uuid
from providers.json_field import TypedJSONField
from providers.pricing import validate_prices
from providers.route_fields import (
    UNRECORDED,
    validate_drop_fields,
    validate_effort,
    validate_extra_body,
    validate_extra_headers,
    validate_tags,
)
from providers.types import Category, CostSource, Operation, Purpose
from providers.versioning import Versioned, versions

CATEGORY_CHOICES = [(category.value, category.value) for category in Category]
OPERATION_CHOICES = [(operation.value, operation.value) for operation in Operation]
# Columns that came after the first release have a default in the database, so that older code can still insert.
EMPTY_LIST = Value([], models.JSONField())
EMPTY_OBJECT = Value({}, models.JSONField())


def pause_words(until: datetime | None, *, by: str, because: str) -> str:
    """Return an operator's pause as people read it."""
    end = f"{timezone.localtime(until):%Y-%m-%d %H:%M}" if until else "–"
    return f"paused by {by} until {end}{f': {because}' if because else ''}"


class RouteQuerySet(models.QuerySet["ProviderConfig"]):
    """The routes, and whether an operator has paused them, by the database's clock."""

    def with_pause(self) -> "RouteQuerySet":
        """Add `is_paused`: an operator's pause is not over yet."""
        return self.annotate(**{"is_paused": ExpressionWrapper(_PAUSED, output_field=models.BooleanField())})

    def in_service(self) -> "RouteQuerySet":
        """Leave out what is switched off, and what an operator has paused."""
        return self.filter(~_PAUSED, enabled=True)


_PAUSED = Q(paused_until__isnull=False, paused_until__gt=Now())


class ProviderConfig(Versioned):
    """A route: one provider's place in the chain of a category. The operator edits it; the next call obeys."""

    class PriceUnit(models.TextChoices):
        THOUSAND_TOKENS = "1k_tokens", "1,000 tokens"
        IMAGE = "image", "image"
        SECOND = "second", "second"
        THOUSAND_CHARACTERS = "1k_characters", "1,000 characters"
        CALL = "call", "call"

    category = models.CharField(max_length=8, choices=CATEGORY_CHOICES)
    name = models.SlugField(
        max_length=64,
        blank=True,
        db_index=False,
        db_default="",
        help_text="Of this route, unique within its category. Empty: the provider's.",
    )
    operation = models.CharField(
        max_length=12,
        choices=OPERATION_CHOICES,
        default=Operation.GENERATE.value,
        db_default=Operation.GENERATE.value,
        help_text="What it is asked for. edit: a model that needs an image with its prompt; transcribe (category "
        "TEXT): one that turns speech into text, for voice messages.",
    )
    provider = models.CharField(max_length=32, choices=registry.choices)
    enabled = models.BooleanField(
        default=True,
        help_text="Your switch. The circuit breaker pauses a failing provider by itself and never touches it.",
    )
    priority = models.PositiveSmallIntegerField(default=100, help_text="The lowest number is tried first.")
    weight = models.PositiveSmallIntegerField(
        default=1, help_text="Routes of equal priority share the load in proportion to their weights."
    )
    model = models.CharField(
        max_length=200, help_text="The provider's own model id. Providers retire ids every few months."
    )
    list_price = models.DecimalField(
        max_digits=12,
        decimal_places=6,
        null=True,
        blank=True,
        validators=[MinValueValidator(Decimal(0))],
        help_text="USD per unit. Shown and compared; estimates a cost where nothing better is known.",
    )
    price_unit = models.CharField(max_length=16, choices=PriceUnit.choices, default=PriceUnit.CALL)
    prices = TypedJSONField(
        default=dict,
        blank=True,
        validators=[validate_prices],
        help_text="Detailed rates in USD, and the day of which they are. Costs are computed from them; what they do "
        "not cover is estimated by the list price.",
    )
    capabilities = TypedJSONField(
        default=dict,
        blank=True,
        validators=[validate_capabilities],
        help_text='What the model can do, such as {"aspect_ratios": ["1:1", "16:9"], "seconds": [5, 10]}. A request '
        "that needs something else passes this route by. What is left out is no limit.",
    )
    timeout_seconds = models.PositiveSmallIntegerField(
        default=30,
        validators=[MinValueValidator(1)],
        help_text="The idle timeout of a stream, the longest wait for a whole answer, or the longest age of a job.",
    )
    daily_cap_usd = models.DecimalField(
        max_digits=10,
        decimal_places=2,
        null=True,
        blank=True,
        validators=[MinValueValidator(Decimal(0))],
        help_text="What this route may cost in a day (UTC); a call that might exceed it is not made. Empty: no cap.",
    )
    tags = TypedJSONField(
        default=list,
        blank=True,
        db_default=EMPTY_LIST,
        validators=[validate_tags],
        help_text="By which AI models choose routes, such as music, fast. An AI model without a tag chooses from all.",
    )
    extra_body = TypedJSONField(
        default=dict,
        blank=True,
        db_default=EMPTY_OBJECT,
        validators=[validate_extra_body],
        help_text='Merged into the body of each call, such as {"temperature": 0.7} or {"input": {"go_fast": true}}.',
    )
    extra_headers = TypedJSONField(
        default=dict,
        blank=True,
        db_default=EMPTY_OBJECT,
        validators=[validate_extra_headers],
        help_text='Sent with each call, such as {"X-Title": "My bot"}. Keys come from the environment only.',
    )
    drop_fields = TypedJSONField(
        default=list,
        blank=True,
        db_default=EMPTY_LIST,
        validators=[validate_drop_fields],
        help_text="Left out of the body, such as reasoning_effort, input.seed, for models that refuse them.",
    )
    max_output_tokens = models.PositiveIntegerField(
        null=True,
        blank=True,
        validators=[MinValueValidator(1)],
        help_text="Of an answer, reasoning included. Empty: as the AI model's options say, else 4,096. A small one "
        "buys empty answers.",
    )
    web_search = models.BooleanField(
        default=False,
        db_default=False,
        help_text="The model may search the web before it answers (OpenAI, Anthropic, xAI, OpenRouter). Searches cost "
        "extra: put what 1,000 web searches cost into the prices.",
    )
    reasoning_effort = models.CharField(
        max_length=16,
        blank=True,
        db_default="",
        validators=[validate_effort],
        help_text="Such as low or high. Empty: low, where the model is known to take it.",
    )
    # An operator's pause holds, unlike the circuit breaker's: nobody asks the route before it is over.
    paused_until = models.DateTimeField(null=True, blank=True, editable=False)
    paused_by = models.CharField(max_length=64, blank=True, default="", db_default="", editable=False)
    paused_because = models.CharField(max_length=200, blank=True, default="", db_default="", editable=False)
    is_paused = False  # with_pause() says whether it is
    updated_at = models.DateTimeField(auto_now=True)

    objects = RouteQuerySet.as_manager()
    history = versions(excluded=sorted(UNRECORDED))
    not_returned = frozenset({"paused_until", "paused_by", "paused_because"})
    FIXED_ON_RECORD = ("category", "provider", "name", "operation")

    class Meta:
        verbose_name = "route"
        ordering = ["category", "priority", "provider"]
        constraints = [
            models.UniqueConstraint(
                fields=["category", "name"],
                name="one_route_per_category_and_name",
                violation_error_message="The category has a route of this name. Give this one a name of its own.",
            ),
            models.CheckConstraint(condition=Q(list_price__gte=0), name="list_price_is_not_negative"),
            models.CheckConstraint(condition=Q(timeout_seconds__gte=1), name="timeout_is_positive"),
        ]

    def __str__(self) -> str:
        return f"{self.category} · {self.label}"

    def save(self, *args: Any, **kwargs: Any) -> None:
        """Save the route; without a name it gets its provider's."""
        self._name_after_provider()
        super().save(*args, **kwargs)

    def clean(self) -> None:
        """Give it its provider's name where it has none, before that is compared with the others'."""
        self._name_after_provider()

    def fixed_fields(self) -> tuple[str, ...]:
        """Return what may not change once the route has made a call: attempts and sums name it."""
        # In two small tables: the sums, and what is not in them yet.
        names = {"category": self.category, "provider": self.provider, "route": self.name}
        attempts = Attempt.objects.filter(rolled_up=False, **names)
        return self.FIXED_ON_RECORD if AttemptRollup.objects.filter(**names).exists() or attempts.exists() else ()

    def does(self, operation: Operation) -> bool:
        """Return whether it can be asked for this; many models that generate images change them, too."""
        takes_images = operation == Operation.EDIT and bool(self.capabilities.get("image_input"))
        return self.operation == operation or (self.operation == Operation.GENERATE and takes_images)

    def serves(self, tag: str) -> bool:
        """Return whether an AI model with this tag may use the route; one without a tag uses all."""
        return not tag or tag in self.tags

    def _name_after_provider(self) -> None:
        if not isinstance(self.name, str) or not self.name:
            self.name = self.provider

    @property
    def pause_words(self) -> str:
        """The operator's pause, as people read it; for a route that is paused."""
        return pause_words(self.paused_until, by=self.paused_by, because=self.paused_because)

    @property
    def label(self) -> str:
        """The provider as people write it, and the route's own name where it has one."""
        label = registry.label_of(self.provider)
        return label if self.name in ("", self.provider) else f"{label} ({self.name})"


class SeededRoute(models.Model):
    """A shipped route that this database has received. It stays when an operator renames or deletes the route."""

    category = models.CharField(max_length=8)
    name = models.CharField(max_length=64)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["category", "name"], name="one_seeding_per_shipped_route")]

    def __str__(self) -> str:
        return f"{self.category} · {self.name}"


class ProviderHealth(models.Model):
    """The circuit of a route, or of a key, shared by all workers. Times are the database's."""

    category = models.CharField(max_length=8, choices=CATEGORY_CHOICES, blank=True)  # "" for a key
    provider = models.CharField(max_length=32, choices=registry.choices)
    route = models.CharField(max_length=64, blank=True, db_default="")  # its name; "" for a key
    key_id = models.CharField(max_length=64, blank=True, db_default="")  # "" for a route
    failures = models.PositiveIntegerField(default=0)  # in a row
    consecutive_trips = models.PositiveSmallIntegerField(default=0, db_column="level")  # each cools down twice as long
    open_until = models.DateTimeField(null=True, blank=True, db_column="resting_until")  # NULL: the circuit is closed
    probe_until = models.DateTimeField(
        null=True, blank=True, db_column="probing_until"
    )  # until then one request probes
    reason = models.CharField(max_length=300, blank=True)
    error_class = models.CharField(max_length=32, blank=True, db_default="")  # of the error that opened the circuit
    rejection = models.CharField(max_length=64, blank=True, db_default="")  # the last one's words, as a hash
    rejections = models.PositiveSmallIntegerField(db_default=0)  # the very same, in a row
    updated_at = models.DateTimeField(auto_now=True)

    class Meta:
        verbose_name = "circuit"
        ordering = ["category", "provider", "route"]
        constraints = [
            models.UniqueConstraint(fields=["category", "provider", "route", "key_id"], name="one_health_per_circuit")
        ]

    def __str__(self) -> str:
        label = registry.label_of(self.provider)
        return f"{label}, key {self.key_id[:8]}" if self.key_id else f"{self.category} · {self.route or label}"


class Attempt(models.Model):
    """One outgoing call. The row is committed before the call, so that no bill comes without one."""

    class State(models.TextChoices):
        SENDING = "SENDING", "sending"
        RUNNING = "RUNNING", "running at the provider"
        OK = "OK", "succeeded"
        FAILED = "FAILED", "failed, certainly not executed"
        UNKNOWN = "UNKNOWN", "outcome unknown, may be billed"
        EXPIRED = "EXPIRED", "expired at the provider"
        ABANDONED = "ABANDONED", "given up, may be billed"

    LIVE = (State.SENDING, State.RUNNING)
    PERHAPS_BILLED = (State.UNKNOWN, State.EXPIRED, State.ABANDONED)

    id = models.UUIDField(primary_key=True, default=time_ordered_uuid, editable=False)
    caller_key = models.CharField(max_length=64)  # whose call it is; opaque here
    number = models.PositiveSmallIntegerField()  # 1, 2, 3 … within one caller
    label = models.CharField(
        max_length=64, blank=True, db_default=""
    )  # in which of the caller's sums it counts; opaque here
    category = models.CharField(max_length=8, choices=CATEGORY_CHOICES)
    operation = models.CharField(
        max_length=12,
        choices=OPERATION_CHOICES,
        default=Operation.GENERATE.value,
        db_default=Operation.GENERATE.value,
    )
    purpose = models.CharField(
        max_length=8, choices=[(purpose.value, purpose.value) for purpose in Purpose], db_default=Purpose.USER.value
    )
    provider = models.CharField(max_length=32, choices=registry.choices)
    route = models.CharField(max_length=64, blank=True, db_default="")  # the route's name
    key_id = models.CharField(max_length=64, blank=True, db_default="")  # which of several keys, as an HMAC
    model = models.CharField(max_length=200)
    answered_by = models.CharField(max_length=200, blank=True, db_default="")  # the model id that the answer names
    state = models.CharField(max_length=10, choices=State.choices, default=State.SENDING)
    job_id = models.CharField(max_length=200, blank=True)
    error_class = models.CharField(max_length=32, blank=True)
    error_text = models.CharField(max_length=300, blank=True)  # redacted: no key and no prompt
    http_status = models.PositiveSmallIntegerField(null=True, blank=True)
    usage = models.JSONField(default=dict, blank=True)  # as the provider reported it
    cost = models.DecimalField(max_digits=16, decimal_places=10, null=True, blank=True)  # USD; NULL is unknown
    cost_source = models.CharField(max_length=20, blank=True, choices=[(s.value, s.value) for s in CostSource])
    reserved_cost = models.DecimalField(max_digits=16, decimal_places=10, null=True, blank=True)  # USD at most
    duration_ms = models.PositiveIntegerField(null=True, blank=True)
    first_token_ms = models.PositiveIntegerField(null=True, blank=True)
    created_at = models.DateTimeField(db_default=Now())
    finished_at = models.DateTimeField(null=True, blank=True)  # set once, when nothing more will be learnt
    rolled_up = models.BooleanField(default=False)  # counted in the hourly sums already

    class Meta:
        ordering = ["-created_at"]
        constraints = [
            models.UniqueConstraint(fields=["caller_key", "number"], name="one_attempt_per_caller_and_number"),
            models.UniqueConstraint(fields=["provider", "job_id"], condition=~Q(job_id=""), name="one_attempt_per_job"),
            models.UniqueConstraint(
                fields=["caller_key"], condition=Q(state__in=["SENDING", "RUNNING"]), name="one_live_attempt_per_caller"
            ),
            models.CheckConstraint(condition=Q(cost__gte=0), name="attempt_cost_is_not_negative"),
        ]
        indexes = [
            models.Index(fields=["-created_at"], name="attempt_newest_first"),
            # Here and below: what follows the moment sorts nothing. It lets another filter of the admin be decided in
            # the index, without a look at each row.
            models.Index(
                fields=["provider", "-created_at", "category", "state", "purpose"], name="attempt_by_provider"
            ),
            models.Index(
                fields=["finished_at"],
                condition=Q(rolled_up=False, finished_at__isnull=False),
                name="attempt_to_roll_up",
            ),
            models.Index(
                fields=["finished_at"],
                condition=Q(state__in=["UNKNOWN", "ABANDONED"], error_class="") & ~Q(job_id=""),
                name="attempt_to_stop",
            ),
            models.Index(fields=["created_at"], condition=Q(finished_at__isnull=True), name="attempt_unfinished"),
            # What few rows are, for the admin's filters; a call of text that succeeds is written to none of them.
            models.Index(
                fields=["state", "-created_at", "provider", "category", "purpose"],
                condition=~Q(state="OK") & ~Q(state="SENDING"),
                name="attempt_not_ok",
            ),
            models.Index(
                fields=["purpose", "-created_at", "provider", "category", "state"],
                condition=~Q(purpose="user"),
                name="attempt_not_for_users",
            ),
            models.Index(
                fields=["category", "-created_at", "provider", "state", "purpose"],
                condition=~Q(category="TEXT"),
                name="attempt_not_text",
            ),
            models.Index(
                fields=["-created_at", "provider", "category", "state", "purpose"],
                condition=Q(state__in=["OK", "UNKNOWN", "EXPIRED", "ABANDONED"], cost__isnull=True),
                name="attempt_of_unknown_cost",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.caller_key} #{self.number} {self.provider} {self.state}"

    def age_seconds(self) -> float:
        """Return how long ago it began, by the database's clock; needs a queryset that is annotated with `now`."""
        now: datetime = self.now  # type: ignore[attr-defined]  # annotated by whoever read the row
        return max(0.0, (now - self.created_at).total_seconds())

    @property
    def is_billed(self) -> bool:
        """The provider bills it, or may do so."""
        return self.state == self.State.OK or self.state in self.PERHAPS_BILLED


class RoutingRule(Versioned):
    """In which order the routes of a category are asked. Without a row it is the operator's."""

    class Rule(models.TextChoices):
        ORDER = "order", "in your order"
        CHEAPEST = "cheapest", "cheapest first"
        FASTEST = "fastest", "fastest first"

    category = models.CharField(max_length=8, choices=CATEGORY_CHOICES, unique=True)
    rule = models.CharField(
        max_length=12,
        choices=Rule,
        default=Rule.ORDER,
        help_text="Cheapest: by the measured cost of an answer, above 80 % success. Fastest: by the time to the first "
        "words of a text, or to the whole of another answer. Routes without figures follow in your order, and come "
        "first in one of twenty requests.",
    )

    history = versions()

    class Meta:
        ordering = ["id"]

    def __str__(self) -> str:
        return f"{self.category}: {self.get_rule_display()}"


class RouteSums(models.Model):
    """The sums of one route's finished attempts. Tests of the operator are in the costs and in nothing else."""

    category = models.CharField(max_length=8, choices=CATEGORY_CHOICES)
    provider = models.CharField(max_length=32, choices=registry.choices)
    route = models.CharField(max_length=64, blank=True, db_default="")
    operation = models.CharField(
        max_length=12,
        choices=OPERATION_CHOICES,
        default=Operation.GENERATE.value,
        db_default=Operation.GENERATE.value,
    )
    requests = models.PositiveBigIntegerField(default=0)
    successes = models.PositiveBigIntegerField(default=0)
    refusals = models.PositiveBigIntegerField(db_default=0)  # attempts whose content was refused
    total_cost = models.DecimalField(max_digits=20, decimal_places=10, default=Decimal(0))  # USD, known costs only
    test_cost = models.DecimalField(
        max_digits=20, decimal_places=10, default=Decimal(0), db_default=Decimal(0)
    )  # the operator's tests among it
    priced_successes = models.PositiveBigIntegerField(default=0)  # successes whose cost is known
    unknown_costs = models.PositiveBigIntegerField(default=0)  # attempts that may be billed at an unknown cost
    reserved_cost = models.DecimalField(
        max_digits=20, decimal_places=10, db_default=Decimal(0)
    )  # USD, the most that these may have cost
    success_ms = models.PositiveBigIntegerField(default=0)  # sum over the successes

    class Meta:
        abstract = True


class AttemptRollup(RouteSums):
    """The sums of one hour (UTC); the statistics read these instead of every row."""

    hour = models.DateTimeField()

    class Meta:
        verbose_name = "hourly sum"
        ordering = ["-hour", "category", "provider"]
        constraints = [
            models.UniqueConstraint(
                fields=["hour", "category", "provider", "route"], name="one_rollup_per_hour_and_route"
            )
        ]

    def __str__(self) -> str:
        return f"{timezone.localtime(self.hour):%Y-%m-%d %H:%M} {self.category} {self.provider}"


class AttemptDayRollup(RouteSums):
    """The sums of one day (of TIME_ZONE) and one label. Together those of a route are what it has done that day."""

    day = models.DateField()
    label = models.CharField(max_length=64, blank=True)  # of the attempts; "" before they had any

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["day", "category", "provider", "route", "label"], name="one_rollup_per_day_route_and_label"
            )
        ]

    def __str__(self) -> str:
        return f"{self.day} {self.category} {self.route} {self.label}"


class AttemptHistogram(models.Model):
    """How many successes of one route took how long, in one day; see statistics/histograms.py."""

    class Measure(models.IntegerChoices):
        DURATION = 1, "until the whole answer"
        FIRST_TEXT = 2, "until the first words"

    measure = models.PositiveSmallIntegerField(choices=Measure)
    day = models.DateField()
    category = models.CharField(max_length=8, choices=CATEGORY_CHOICES)
    provider = models.CharField(max_length=32, choices=registry.choices)
    route = models.CharField(max_length=64, blank=True)
    bucket = models.PositiveSmallIntegerField()
    number = models.PositiveBigIntegerField()

    class Meta:
        constraints = [
            # The measure first, because each question is about one.
            models.UniqueConstraint(
                fields=["measure", "day", "category", "provider", "route", "bucket"],
                name="one_count_per_day_route_and_bucket",
            )
        ]

    def __str__(self) -> str:
        return f"{self.day} {self.category} {self.route}: {self.number}"


class FoldState(models.Model):
    """What the sums of one kind of rows do not say: which of the rows may be deleted, and how their days are cut."""

    name = models.CharField(max_length=16, primary_key=True)  # of the rows: "attempts", "requests"
    # The newest row that was deleted; any made until then may be. Written in the transaction that deletes.
    deleted_until = models.DateTimeField(null=True, blank=True)
    deleted_rows = models.PositiveBigIntegerField(default=0, db_default=0)  # of those that the sums count
    days = models.JSONField()  # since when they are cut in which time zone, see statistics/day_cuts.py

    def __str__(self) -> str:
        return self.name


class ProviderAccount(models.Model):
    """What a provider has last told the holder of a key about the account, and when it is asked again."""

    provider = models.CharField(max_length=32, choices=registry.choices)
    key_id = models.CharField(max_length=64)  # which key asks, as an HMAC
    balance = models.DecimalField(max_digits=20, decimal_places=10, null=True, blank=True)  # NULL was never told
    unit = models.CharField(max_length=8, blank=True, db_default="")  # of the balance: "USD", "credits"
    told_at = models.DateTimeField(null=True, blank=True)  # when that was the balance
    refills_at = models.DateTimeField(null=True, blank=True)  # when a plan fills it up again
    problem = models.CharField(max_length=300, blank=True, db_default="")  # what the last answer lacked, redacted
    asked_at = models.DateTimeField(null=True, blank=True)
    next_at = models.DateTimeField(db_default=Now())  # not to be asked before

    class Meta:
        verbose_name = "provider account"
        ordering = ["provider", "key_id"]
        constraints = [models.UniqueConstraint(fields=["provider", "key_id"], name="one_account_per_provider_and_key")]

    def __str__(self) -> str:
        return f"{registry.label_of(self.provider)}, key {self.key_id[:8]}"


class ProviderCharge(models.Model):
    """What a provider says that it has charged for one day (UTC)."""

    purpose = models.CharField(
        max_length=8, choices=[(purpose.value, purpose.value) for purpose in Purpose], db_default=Purpose.USER.value
    )
    provider = models.CharField(max_length=32, choices=registry.choices)
    key_id = models.CharField(max_length=64, blank=True, db_default="")  # "": the whole account, whichever key asked
    day = models.DateField()
    amount = models.DecimalField(max_digits=20, decimal_places=10)
    unit = models.CharField(max_length=8)  # "USD", "credits"
    opening = models.DecimalField(
        max_digits=20, decimal_places=10, null=True, blank=True
    )  # what it had charged in all when the day began, where it counts so
    told_at = models.DateTimeField(db_default=Now())

    class Meta:
        ordering = ["-day", "provider"]
        constraints = [
            models.UniqueConstraint(
                fields=["purpose", "day", "provider", "key_id"], name="one_charge_per_day_provider_and_key"
            )
        ]

    def __str__(self) -> str:
        return f"{self.day} {registry.label_of(self.provider)}: {self.amount} {self.unit}"
