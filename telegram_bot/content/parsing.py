"""Reads updates by PTB's classes; what they do not know or refuse is left out rather than the whole message."""

import logging
from collections.abc import Iterator
from typing import Any

import telegram

from telegram_bot.content.references import LOST

logger = logging.getLogger("telegram_bot.content.parsing")

# What a message needs to be answered, and what it may do without: what it is about, what it looks like, its files.
CONTENT = (
    *("message_id", "date", "chat", "from", "sender_chat", "message_thread_id", "is_topic_message", "media_group_id"),
    *("text", "caption", "via_bot"),
)
REFERENCES = ("reply_to_message", "quote", "external_reply", "forward_origin")
MARKS = ("entities", "caption_entities")
FILES = ("photo", "voice", "audio", "document")
# What happened in a chat, rather than what somebody shows; also as older Bot APIs call it.
SERVICE = frozenset({
    *("new_chat_members", "left_chat_member", "new_chat_title", "new_chat_photo", "delete_chat_photo"),
    *("new_chat_member", "new_chat_participant", "left_chat_participant", "user_shared"),
    *("group_chat_created", "supergroup_chat_created", "channel_chat_created", "message_auto_delete_timer_changed"),
    *("migrate_to_chat_id", "migrate_from_chat_id", "pinned_message", "users_shared", "chat_shared"),
    *("connected_website", "write_access_allowed", "proximity_alert_triggered", "boost_added", "chat_background_set"),
    *("forum_topic_created", "forum_topic_edited", "forum_topic_closed", "forum_topic_reopened"),
    *("general_forum_topic_hidden", "general_forum_topic_unhidden", "giveaway_created", "giveaway_completed"),
    *("video_chat_scheduled", "video_chat_started", "video_chat_ended", "video_chat_participants_invited"),
    *("refunded_payment", "paid_message_price_changed", "direct_message_price_changed"),
    *("suggested_post_approved", "suggested_post_approval_failed", "suggested_post_declined"),
    *("suggested_post_paid", "suggested_post_refunded", "checklist_tasks_done", "checklist_tasks_added"),
    *("chat_owner_left", "chat_owner_changed", "poll_option_added", "poll_option_deleted", "managed_bot_created"),
    *("gift", "unique_gift", "gift_upgrade_sent", "community_chat_added", "community_chat_removed"),
})  # fmt: skip
# In place of where a message comes from: that it is forwarded is to be known, else one would be commanded by it.
UNKNOWN_ORIGIN = {"type": "hidden_user", "date": 0, "sender_user_name": ""}


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
        except (ArithmeticError, AttributeError, KeyError, OSError, TypeError, ValueError) as error:
            problem = problem or type(error).__name__
            continue
        if problem:
            logger.warning("Update %s was read without what PTB refuses (%s).", raw.get("update_id"), problem)
        return update
    logger.warning("Update %s cannot be parsed: %s", raw.get("update_id"), problem)
    return None


def is_service(message: telegram.Message) -> bool:
    """Return whether a message says what happened in its chat; all others show something, known to PTB or not."""
    return any(getattr(message, name, None) for name in SERVICE) or bool(SERVICE & message.api_kwargs.keys())


def _shorter_and_shorter(raw: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield raw
    message = raw.get("message")
    if not isinstance(message, dict) or SERVICE & message.keys():
        return
    lacking = [(), MARKS, *((name,) for name in REFERENCES if name in message)]
    lacking += [REFERENCES, (*REFERENCES, *MARKS), (*REFERENCES, *MARKS, *FILES)]
    for missing in lacking:
        names = {*CONTENT, *REFERENCES, *MARKS, *FILES} - {*missing}
        left = {name: value for name, value in message.items() if name in names}
        lost = {name for name in missing if name in REFERENCES and name in message}
        if "forward_origin" in lost:
            left["forward_origin"] = UNKNOWN_ORIGIN
        if lost - {"forward_origin", "quote"}:
            left[LOST] = True
        yield {**raw, "message": left}
