"""Which bot this process serves: the row of the one whose token is set."""

from django.conf import settings
from django.db import transaction

from telegram_bot.models import TelegramBot

_ids: dict[int, int] = {}  # the rows' ids, by Telegram's


def current_bot_id() -> int:
    """Return the id of the row of the bot whose token is set; it is written on first use.

    A row without Telegram's id holds what was here before any token was set: the first bot adopts it. Without a token,
    it stands for the bot to come. Idempotent, thread-safe, and one query for each process.
    """
    number = settings.TELEGRAM_BOT_TOKEN.partition(":")[0]
    telegram_id = int(number) if number.isdecimal() else 0
    if telegram_id not in _ids:
        _ids[telegram_id] = _ensure(telegram_id or None)
    return _ids[telegram_id]


def forget() -> None:
    """Read the row anew when it is next needed."""
    _ids.clear()


def _ensure(telegram_id: int | None) -> int:
    with transaction.atomic():
        if telegram_id is not None and not TelegramBot.objects.filter(telegram_id=telegram_id).exists():
            TelegramBot.objects.filter(telegram_id=None).update(telegram_id=telegram_id)
        return TelegramBot.objects.get_or_create(telegram_id=telegram_id)[0].pk
