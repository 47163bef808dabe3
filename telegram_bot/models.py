"""The tables of updates, users, chats and deliveries. What changes them is in chats, updates and delivery."""

from django.db import models
from django.db.models import Q
from django.db.models.functions import Now

from requests_app.models import Account, AIModel, Request


class TelegramBot(models.Model):
    """A bot of this service. Updates, users and chats belong to one, so two bots never mix. Its token is a setting."""

    telegram_id = models.BigIntegerField(
        unique=True, null=True, blank=True
    )  # the number before the colon of its token; NULL until a token is set for the first time
    created_at = models.DateTimeField(db_default=Now())
    operator_chat = models.OneToOneField(
        "TelegramChat", on_delete=models.SET_NULL, null=True, blank=True, related_name="operated_bot"
    )  # to which alerts go
    operator_salt = models.CharField(max_length=64, blank=True, db_default="")  # of the code that claims it

    class Meta:
        verbose_name = "bot"
        ordering = ["id"]

    def __str__(self) -> str:
        return f"bot {self.telegram_id}"


class TelegramUser(models.Model):
    """A user who has written to the bot, and the account that pays for their requests."""

    bot = models.ForeignKey(TelegramBot, on_delete=models.PROTECT, related_name="users")
    telegram_id = models.BigIntegerField()
    account = models.OneToOneField(Account, on_delete=models.PROTECT, related_name="telegram_user")
    username = models.CharField(max_length=64, blank=True)
    name = models.CharField(max_length=128, blank=True)
    language = models.CharField(max_length=16, blank=True)  # of the user's app: "en", "pt-br"
    first_seen_at = models.DateTimeField(db_default=Now())
    waiting_told_at = models.DateTimeField(null=True, blank=True)  # when they were last told that prompts wait,
    left_out_told_at = models.DateTimeField(null=True, blank=True)  # and that some are left out

    class Meta:
        verbose_name = "Telegram user"
        ordering = ["-first_seen_at"]
        constraints = [models.UniqueConstraint(fields=["telegram_id", "bot"], name="one_row_per_user_and_bot")]

    def __str__(self) -> str:
        return self.name or str(self.telegram_id)


class TelegramChat(models.Model):
    """A chat with the bot: which worker handles its updates, and which AI model is chosen in it."""

    bot = models.ForeignKey(TelegramBot, on_delete=models.PROTECT, related_name="chats")
    telegram_id = models.BigIntegerField()  # of a private chat: the user's; of a group: negative
    type = models.CharField(max_length=16, blank=True)  # "private", "group", "supergroup"
    model = models.ForeignKey(
        AIModel, on_delete=models.SET_NULL, null=True, blank=True, related_name="+"
    )  # the AI model chosen here; without one, the first that is enabled
    is_reachable = models.BooleanField(default=True)  # False: blocked, removed or not allowed to write
    lease_until = models.DateTimeField(null=True, blank=True)  # until then one worker owns this chat's updates
    holder = models.UUIDField(null=True, blank=True)  # names the claim; an older one's writes are refused
    is_wanted = models.BooleanField(db_default=False)  # an update came meanwhile: look again before letting go
    first_seen_at = models.DateTimeField(db_default=Now())

    class Meta:
        verbose_name = "chat"
        ordering = ["-first_seen_at"]
        constraints = [models.UniqueConstraint(fields=["telegram_id", "bot"], name="one_row_per_chat_and_bot")]

    def __str__(self) -> str:
        return str(self.telegram_id)


class HeldFor(models.TextChoices):
    """What an update that is held back waits for."""

    MAINTENANCE = "MAINTENANCE", "the end of maintenance mode"
    TURN = "TURN", "the answers before it"
    PLACE = "PLACE", "a free place of its user"
    PARTS = "PARTS", "the rest of what was sent with it"


class TelegramUpdate(models.Model):
    """One update as it arrived. Written before it is handled; kept for a week."""

    # Checked by nobody: each insert would lock the one row of the bot. It is never deleted.
    bot = models.ForeignKey(
        TelegramBot, on_delete=models.PROTECT, related_name="updates", db_index=False, db_constraint=False
    )
    update_id = models.BigIntegerField()  # Telegram's own; makes a repeated arrival idempotent
    chat = models.ForeignKey(
        TelegramChat, on_delete=models.CASCADE, null=True, blank=True, related_name="updates", db_index=False
    )  # updates of one chat are handled in order
    sender_id = models.BigIntegerField(null=True, blank=True)  # Telegram's id of the user
    thread_id = models.BigIntegerField(null=True, blank=True)  # the topic, where the chat has topics
    kind = models.CharField(max_length=40)  # Telegram's name: "message", "callback_query", …
    raw = models.JSONField()
    received_at = models.DateTimeField(db_default=Now())
    handled_at = models.DateTimeField(null=True, blank=True)
    outcome = models.CharField(max_length=200, blank=True)  # what was done, or why nothing was
    tries = models.PositiveSmallIntegerField(default=0)
    next_at = models.DateTimeField(null=True, blank=True)  # not to be handled before
    held_at = models.DateTimeField(null=True, blank=True)  # first held back: until next_at those after it pass
    held_for = models.CharField(max_length=16, choices=HeldFor.choices, blank=True, db_default="")  # the last time
    notice_at = models.DateTimeField(null=True, blank=True)  # when its chat was told why it is held back
    # What its handler acts on, such as the request that /cancel found, or the conversation and the AI model of a prompt
    # that waits. Chosen once, so a repeat acts on the same.
    target = models.CharField(max_length=64, blank=True, db_default="")
    part_of = models.BigIntegerField(null=True, blank=True)  # the row of the update whose prompt it belongs to

    class Meta:
        verbose_name = "update"
        ordering = ["-received_at"]
        constraints = [
            models.UniqueConstraint(fields=["update_id", "bot"], name="one_row_per_update_and_bot"),
            models.CheckConstraint(
                condition=Q(handled_at__isnull=True) | ~Q(outcome=""), name="handled_update_says_what_was_done"
            ),
        ]
        indexes = [
            models.Index(fields=["chat", "received_at"], condition=Q(handled_at__isnull=True), name="update_unhandled"),
            models.Index(fields=["received_at"], name="update_by_age"),
            models.Index(fields=["part_of"], condition=Q(part_of__isnull=False), name="update_parts"),
        ]

    def __str__(self) -> str:
        return f"{self.kind} {self.update_id}"


class TelegramThread(models.Model):
    """A topic of a chat, or the whole of a chat without topics, with its current conversation."""

    chat = models.ForeignKey(TelegramChat, on_delete=models.CASCADE, related_name="threads")
    thread_id = models.BigIntegerField(default=0)  # 0: the chat has no topics
    conversation = models.PositiveIntegerField(default=1)  # its number; /new starts the next

    class Meta:
        verbose_name = "thread"
        constraints = [models.UniqueConstraint(fields=["chat", "thread_id"], name="one_row_per_thread")]

    def __str__(self) -> str:
        return self.conversation_key

    @property
    def conversation_key(self) -> str:
        """The key by which requests name the current conversation."""
        return self.key_of(self.conversation)

    def key_of(self, conversation: int | str) -> str:
        """Return the key by which requests name the conversation of this number; "" is how those of all begin."""
        return f"telegram:{self.chat_id}:{self.thread_id}:{conversation}"


class DeliveryKind(models.TextChoices):
    """What a delivery's message is for."""

    RESULT = "RESULT", "the answer, or a part of it"
    NOTICE = "NOTICE", "a notice that a long job is done"


class DeliveryState(models.TextChoices):
    """How far a delivery is."""

    PLACING = "PLACING", "the placeholder is being sent"
    PENDING = "PENDING", "waiting to be shown"
    SENDING = "SENDING", "being sent"
    DELIVERED = "DELIVERED", "shown"
    UNCERTAIN = "UNCERTAIN", "sent without a confirmation, may be shown"
    UNDELIVERABLE = "UNDELIVERABLE", "cannot be shown"


class DeliveryMethod(models.IntegerChoices):
    """How a message is shown: each way is tried once Telegram has refused the one before."""

    EDIT = 0, "the placeholder is edited"
    EDIT_PLAIN = 1, "the placeholder is edited, without formatting or into a document"
    SEND = 2, "sent as a new message"
    SEND_PLAIN = 3, "sent as a new message, without formatting or as a document"
    DOCUMENT = 4, "the text is sent as a document"


class GivenUp(models.TextChoices):
    """Why an answer cannot be shown. Its message says so instead, in words."""

    REFUSED = "REFUSED", "Telegram refuses it in every form"
    FORBIDDEN = "FORBIDDEN", "the chat allows no such files"
    FILE_LOST = "FILE_LOST", "its file cannot be read"
    TOO_LARGE = "TOO_LARGE", "its file is too large for Telegram"
    EMPTY = "EMPTY", "nothing in it is visible"
    NOT_SHOWN = "NOT_SHOWN", "Telegram or the chat could not be reached for too long"
    BROKEN = "BROKEN", "a bug, see the log"


class Delivery(models.Model):
    """One message that a request shows in a chat. Written and committed before the message is sent.

    Part 0 is sent as a placeholder and edited into the answer; an edit is idempotent, so it may be repeated. The
    further parts of a long answer are messages of their own.

    Whoever sends or edits claims the row first, by a conditional UPDATE that raises `fence` and sets `next_at` to the
    time by which the call has ended. So a row is due again only once nobody can be at work on it any more.
    """

    NOTICE_PART = -1
    UNFINISHED = (DeliveryState.PLACING, DeliveryState.PENDING, DeliveryState.SENDING)

    request = models.ForeignKey(Request, on_delete=models.CASCADE, related_name="deliveries")
    part = models.SmallIntegerField()
    kind = models.CharField(max_length=8, choices=DeliveryKind.choices)
    state = models.CharField(max_length=16, choices=DeliveryState.choices)
    chat = models.ForeignKey(TelegramChat, on_delete=models.CASCADE, related_name="deliveries", db_index=False)
    thread_id = models.BigIntegerField(null=True, blank=True)
    reply_to = models.BigIntegerField(null=True, blank=True)  # the message that it replies to
    message_id = models.BigIntegerField(null=True, blank=True)  # known once Telegram has confirmed it
    next_at = models.DateTimeField(
        null=True, blank=True
    )  # no attempt before; while one is under way, when its sender counts as lost
    fence = models.PositiveIntegerField(db_default=0)  # fencing token: grows with each claim, older writes are refused
    tries = models.PositiveSmallIntegerField(default=0)
    method = models.PositiveSmallIntegerField(choices=DeliveryMethod, db_default=0)  # those below were refused
    file_id = models.CharField(max_length=255, blank=True, db_default="")  # Telegram's, once the file is uploaded
    file_kind = models.CharField(max_length=8, blank=True, db_default="")  # as what: "photo", "document", …
    given_up = models.CharField(max_length=12, blank=True, choices=GivenUp, db_default="")
    error = models.CharField(max_length=200, blank=True)  # of the last attempt
    created_at = models.DateTimeField(db_default=Now())
    shown_at = models.DateTimeField(null=True, blank=True)  # part 0: when the first partial answer was about to be sent
    shown_bytes = models.PositiveIntegerField(db_default=0)  # of partial answers, a little less than what was seen
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
            # For the admin's filters: what few deliveries are.
            models.Index(
                fields=["state", "-id"],
                condition=Q(state__in=["UNCERTAIN", "UNDELIVERABLE"]),
                name="delivery_not_confirmed",
            ),
            models.Index(fields=["kind", "-id"], condition=~Q(kind="RESULT"), name="delivery_not_of_result"),
        ]

    def __str__(self) -> str:
        return f"{self.request_id} part {self.part}"
