"""Updates as Telegram sends them, for the tests."""

from itertools import count
from typing import Any

_ids = count(700_000_000)
_messages = count(1)

USER = {"id": 42, "is_bot": False, "first_name": "Ada", "last_name": "L.", "username": "ada", "language_code": "en"}
GROUP_ID = -1001


def message(text: str | None = None, *, chat_id: int = 42, **fields: Any) -> dict[str, Any]:
    """An update with a message; a text that begins with a slash is a command."""
    chat = {"id": chat_id, "type": "private" if chat_id > 0 else "supergroup"}
    content: dict[str, Any] = {"message_id": next(_messages), "date": 1_790_000_000, "chat": chat, "from": USER}
    if text is not None:
        content["text"] = text
        if text.startswith("/"):
            length = len(text.split()[0])
            content["entities"] = [{"type": "bot_command", "offset": 0, "length": length}]
    return {"update_id": next(_ids), "message": {**content, **fields}}


def mention(text: str, name: str = "@test_bot", **fields: Any) -> dict[str, Any]:
    """An update with a message in a group that mentions a user or bot."""
    entity = {"type": "mention", "offset": text.index(name), "length": len(name)}
    return message(text, chat_id=GROUP_ID, entities=[entity], **fields)


def press(data: str, *, message_id: int, chat_id: int = 42, user: dict[str, Any] = USER) -> dict[str, Any]:
    """An update with a pressed button."""
    chat = {"id": chat_id, "type": "private" if chat_id > 0 else "supergroup"}
    shown = {"message_id": message_id, "date": 1_790_000_000, "chat": chat, "text": "menu"}
    update_id = next(_ids)
    return {
        "update_id": update_id,
        "callback_query": {
            "id": f"press-{update_id}",
            "from": user,
            "data": data,
            "message": shown,
        },
    }


def membership(status: str, *, chat_id: int = 42) -> dict[str, Any]:
    """An update with the bot's new status in a chat: "kicked" or "member"."""
    bot = {"id": 4242, "is_bot": True, "first_name": "Test", "username": "test_bot"}
    return {
        "update_id": next(_ids),
        "my_chat_member": {
            "chat": {"id": chat_id, "type": "private" if chat_id > 0 else "supergroup"},
            "from": USER,
            "date": 1_790_000_000,
            "old_chat_member": {"user": bot, "status": "member"},
            "new_chat_member": {"user": bot, "status": status, "until_date": 0},
        },
    }
