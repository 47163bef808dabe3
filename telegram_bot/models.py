"""What Telegram sent, who sent it, and what was shown in which chat."""

from django.db import models
from django.db.models import Q
from django.db.models.functions import Now

from requests_app.models import Account, AIModel, Request


class TelegramUpdate(models.Model):
    """One update as it came. Written before anything is done about it; kept for a week."""

    update_id = models.BigIntegerField(primary_key=True)  # Telegram's own; a second arrival is one row
    chat_id = models.BigIntegerField(null=True, blank=True)  # updates of one chat are handled in order
    kind = models.CharField(max_length=40)  # "message", "callback_query", … as Telegram calls them
    raw = models.JSONField()
    received_at = models.DateTimeField(db_default=Now())
    handled_at = models.DateTimeField(null=True, blank=True)
    outcome = models.CharField(max_length=200, blank=True)  # what was done about it, or why nothing was
    tries = models.PositiveSmallIntegerField(default=0)
    next_at = models.DateTimeField(null=True, blank=True)  # not to be handled before

    class Meta:
        verbose_name = "update"
        ordering = ["-received_at"]
        constraints = [
            models.CheckConstraint(
                condition=Q(handled_at__isnull=True) | ~Q(outcome=""), name="handled_update_says_what_was_done"
            ),
        ]
        indexes = [
            models.Index(
                fields=["chat_id", "received_at"], condition=Q(handled_at__isnull=True), name="update_unhandled"
            ),
            models.Index(fields=["received_at"], name="update_by_age"),
        ]

    def __str__(self) -> str:
        return f"{self.kind} {self.update_id}"


class TelegramUser(models.Model):
    """A person who has written to the bot, and the account that pays for what they ask."""

    user_id = models.BigIntegerField(primary_key=True)
    account = models.OneToOneField(Account, on_delete=models.PROTECT, related_name="telegram_user")
    username = models.CharField(max_length=64, blank=True)
    name = models.CharField(max_length=128, blank=True)
    language = models.CharField(max_length=16, blank=True)  # what their app is set to: "en", "pt-br"
    first_seen_at = models.DateTimeField(db_default=Now())

    class Meta:
        verbose_name = "user"
        ordering = ["-first_seen_at"]

    def __str__(self) -> str:
        return self.name or str(self.user_id)


class TelegramChat(models.Model):
    """A chat with the bot: whose turn it is to handle its updates, and what was chosen in it."""

    chat_id = models.BigIntegerField(primary_key=True)
    type = models.CharField(max_length=16, blank=True)  # "private", "group", "supergroup"
    model = models.ForeignKey(
        AIModel, on_delete=models.SET_NULL, null=True, blank=True, related_name="+"
    )  # the label chosen here; without one, the first that is offered
    is_reachable = models.BooleanField(default=True)  # False: blocked, removed or not allowed to write
    lease_until = models.DateTimeField(null=True, blank=True)  # until then one worker handles this chat's updates
    holder = models.UUIDField(null=True, blank=True)  # which claim that is; an older one's writes are refused
    first_seen_at = models.DateTimeField(db_default=Now())

    class Meta:
        verbose_name = "chat"
        ordering = ["-first_seen_at"]

    def __str__(self) -> str:
        return str(self.chat_id)


class TelegramThread(models.Model):
    """A topic of a chat, or all of a chat without topics: here one conversation follows the other."""

    chat = models.ForeignKey(TelegramChat, on_delete=models.CASCADE, related_name="threads")
    thread_id = models.BigIntegerField(default=0)  # 0: the chat has no topics
    conversation = models.PositiveIntegerField(default=1)  # how many there were; /new begins the next

    class Meta:
        verbose_name = "thread"
        constraints = [models.UniqueConstraint(fields=["chat", "thread_id"], name="one_row_per_thread")]

    def __str__(self) -> str:
        return self.conversation_key

    @property
    def conversation_key(self) -> str:
        """How requests name the conversation that goes on here."""
        return f"telegram:{self.chat_id}:{self.thread_id}:{self.conversation}"


class Delivery(models.Model):
    """One message that a request shows in a chat. Written and committed before the message is sent.

    Part 0 begins as a placeholder and is edited into the answer; an edit may be repeated as often as one likes. The
    further parts of a long answer are messages of their own.
    """

    class Kind(models.TextChoices):
        RESULT = "RESULT", "the answer, or a part of it"
        NOTICE = "NOTICE", "a word that a long job is done"

    class State(models.TextChoices):
        PLACING = "PLACING", "the placeholder is being sent"
        PENDING = "PENDING", "waiting to be shown"
        SENDING = "SENDING", "being sent"
        DELIVERED = "DELIVERED", "shown"
        UNCERTAIN = "UNCERTAIN", "sent without a confirmation, may be shown"
        UNDELIVERABLE = "UNDELIVERABLE", "cannot be shown"

    NOTICE_PART = -1
    UNFINISHED = (State.PLACING, State.PENDING, State.SENDING)

    request = models.ForeignKey(Request, on_delete=models.CASCADE, related_name="deliveries")
    part = models.SmallIntegerField()
    kind = models.CharField(max_length=8, choices=Kind.choices)
    state = models.CharField(max_length=16, choices=State.choices)
    chat_id = models.BigIntegerField()
    thread_id = models.BigIntegerField(null=True, blank=True)
    reply_to = models.BigIntegerField(null=True, blank=True)  # the message that it answers
    message_id = models.BigIntegerField(null=True, blank=True)  # known once Telegram has confirmed it
    next_at = models.DateTimeField(null=True, blank=True)  # not to be tried before; or when a sender counts as lost
    tries = models.PositiveSmallIntegerField(default=0)
    error = models.CharField(max_length=200, blank=True)  # the last fault
    created_at = models.DateTimeField(db_default=Now())
    delivered_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        verbose_name_plural = "deliveries"
        ordering = ["-id"]
        constraints = [
            models.UniqueConstraint(fields=["request", "part"], name="one_delivery_per_part"),
            models.CheckConstraint(
                condition=~Q(state="DELIVERED") | Q(message_id__isnull=False), name="delivered_names_its_message"
            ),
            models.CheckConstraint(
                condition=Q(kind="NOTICE", part=-1) | Q(kind="RESULT", part__gte=0), name="part_fits_its_kind"
            ),
        ]
        indexes = [
            models.Index(
                fields=["next_at"],
                condition=Q(state__in=["PLACING", "PENDING", "SENDING"]),
                name="delivery_unfinished",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.request_id} part {self.part}"
