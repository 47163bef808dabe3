"""What people send that is neither text nor a file, in words that a model reads: a place, a contact, a poll, a list."""

import telegram
from telegram.constants import ZERO_DATE


def described(source: telegram.Message | telegram.ExternalReplyInfo) -> str:
    """Return in words what a message shows beside its text and its files; "" where it shows nothing of this kind."""
    if source.venue:
        venue = source.venue
        return f"A place: {venue.title}, {venue.address} ({_position(venue.location)})"
    if source.location:
        return f"A location: {_position(source.location)}"
    if source.contact:
        contact = source.contact
        name = " ".join(filter(None, [contact.first_name, contact.last_name]))
        return f"A contact: {name}, {contact.phone_number}"
    if source.poll:
        return "\n".join([f"A poll: {source.poll.question}", *(f"– {option.text}" for option in source.poll.options)])
    if source.checklist:
        return "\n".join([f"A list: {source.checklist.title}", *map(_task, source.checklist.tasks)])
    return ""


def _task(task: telegram.ChecklistTask) -> str:
    is_done = task.completion_date not in (None, ZERO_DATE)
    return f"– [{'x' if is_done else ' '}] {task.text}"


def _position(location: telegram.Location) -> str:
    return f"latitude {location.latitude}, longitude {location.longitude}"
