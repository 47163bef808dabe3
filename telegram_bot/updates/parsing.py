"""Reads updates by PTB's classes; what they do not know or refuse is left out rather than the whole message."""

import logging
from collections.abc import Iterator
from typing import Any

import telegram

logger = logging.getLogger("telegram_bot.updates.parsing")

# What a message needs to be answered, and what it may do without: what it is about, and what it looks like.
CONTENT = (
    *("message_id", "date", "chat", "from", "sender_chat", "message_thread_id", "is_topic_message", "media_group_id"),
    *("text", "caption", "photo", "voice", "audio", "document", "via_bot"),
)
UNREADABLE = "unreadable"  # what PTB does not know it keeps beside: so a message that was shortened says so
MARKS = ("entities", "caption_entities")
REFERENCES = ("reply_to_message", "quote", "external_reply", "forward_origin")


def update_read(raw: dict[str, Any]) -> telegram.Update | None:
    """Return an update, without those parts of its message that cannot be read; None where nothing of it can."""
    button = raw.get("callback_query")
    if isinstance(button, dict):
        # PTB requires it, nothing here needs it, and test servers leave it out.
        button.setdefault("chat_instance", "")
    problem = ""
    for attempt in _shorter_and_shorter(raw):
        try:
            update = telegram.Update.de_json(attempt, None)
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            problem = problem or type(error).__name__
            continue
        if problem:
            logger.warning("Update %s was read without what PTB refuses (%s).", raw.get("update_id"), problem)
        return update
    logger.warning("Update %s cannot be parsed: %s", raw.get("update_id"), problem)
    return None


def has_unknown_content(message: telegram.Message) -> bool:
    """Return whether a message shows something that PTB does not know, such as what a later Bot API brings."""
    return bool(message.api_kwargs) or message.checklist is not None


def _shorter_and_shorter(raw: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield raw
    message = raw.get("message")
    if isinstance(message, dict):
        for names in ((*CONTENT, *MARKS, *REFERENCES), (*CONTENT, *MARKS), CONTENT):
            left = {name: value for name, value in message.items() if name in names}
            yield {**raw, "message": {**left, UNREADABLE: True}}
