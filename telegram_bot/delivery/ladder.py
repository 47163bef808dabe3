"""The ladder: the ways in which a message can be shown, from the best one down, and the call of each.

Telegram refuses some messages for reasons that nobody has foreseen. Each refusal leads to the next way: with
formatting, without, as a new message instead of an edit, as a document. What follows the last one is in backend.py.
"""

from dataclasses import dataclass, field, replace

from telegram_bot.api.client import get_client
from telegram_bot.content.files import StoredFile, TextFile
from telegram_bot.content.rendering import MessagePart
from telegram_bot.models import Delivery, DeliveryKind, DeliveryMethod

Content = MessagePart | StoredFile  # what one message shows


@dataclass(frozen=True, slots=True)
class Step:
    """One way to show a message."""

    method: DeliveryMethod
    content: Content = field(repr=False)

    @property
    def is_edit(self) -> bool:
        """Whether repeating it shows nothing twice."""
        return self.method in (DeliveryMethod.EDIT, DeliveryMethod.EDIT_PLAIN)

    @property
    def with_bytes(self) -> "Step | None":
        """The same step with an upload, where it uses the id of an earlier one; Telegram may have forgotten that."""
        if isinstance(self.content, StoredFile) and self.content.file_id:
            return replace(self, content=replace(self.content, file_id=""))
        return None


@dataclass(frozen=True, slots=True)
class Shown:
    """What a step has shown."""

    message_id: int
    file_id: str = ""  # of an uploaded file
    file_kind: str = ""


def steps_for(delivery: Delivery, content: Content) -> list[Step]:
    """Return the ways to show this that are left: those that Telegram has not refused for this message before."""
    plain = content.as_document if isinstance(content, StoredFile) else content.plain
    steps = [
        Step(DeliveryMethod.EDIT, content),
        Step(DeliveryMethod.EDIT_PLAIN, plain),
        Step(DeliveryMethod.SEND, content),
    ]
    steps.append(Step(DeliveryMethod.SEND_PLAIN, plain))
    is_answer = delivery.kind == DeliveryKind.RESULT and not delivery.given_up
    if isinstance(content, MessagePart) and is_answer:
        steps.append(Step(DeliveryMethod.DOCUMENT, TextFile.of(content.text)))
    lowest = (
        delivery.method if delivery.part == 0 and delivery.message_id else max(delivery.method, DeliveryMethod.SEND)
    )
    is_plain = content.kind == "document" if isinstance(content, StoredFile) else content == plain
    skipped = (DeliveryMethod.EDIT_PLAIN, DeliveryMethod.SEND_PLAIN) if is_plain else ()
    return [_reusing_upload(step, delivery) for step in steps if step.method >= lowest and step.method not in skipped]


def _reusing_upload(step: Step, delivery: Delivery) -> Step:
    """Have the step send the file by its id, where it is uploaded: an id is valid for the same kind of media only."""
    if isinstance(step.content, StoredFile) and delivery.file_id and step.content.kind == delivery.file_kind:
        return replace(step, content=replace(step.content, file_id=delivery.file_id))
    return step


def step_perform(step: Step, delivery: Delivery, *, reply_to: int | None) -> Shown:
    """Make the step's call. Raises errors of api.errors, and FileUnavailable before anything is sent."""
    client, content = get_client(), step.content
    chat_id, thread_id = delivery.chat.telegram_id, delivery.thread_id
    if step.is_edit:
        message_id = delivery.message_id
        assert message_id is not None  # noqa: S101 — for the type checker; without one there is no such step
        if isinstance(content, StoredFile):
            return Shown(message_id, client.edit_media(chat_id, message_id, content), content.kind)
        client.edit(chat_id, message_id, content)
        return Shown(message_id)
    if isinstance(content, StoredFile):
        sent = client.send_media(chat_id, content, thread_id=thread_id, reply_to=reply_to)
        return Shown(sent.message_id, sent.file_id, content.kind)
    return Shown(client.send(chat_id, content, thread_id=thread_id, reply_to=reply_to))
