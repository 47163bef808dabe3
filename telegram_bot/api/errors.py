"""Errors of calls to the Bot API. Callers read classes and attributes, never Telegram's descriptions."""


class BotApiError(Exception):
    """The call to Telegram failed."""

    def __str__(self) -> str:
        return super().__str__() or (self.__doc__ or "").partition("\n")[0]


class NotReached(BotApiError):
    """Nothing left this machine, so a retry shows nothing twice."""


class OutcomeUnsure(BotApiError):
    """The call may have been executed: it timed out, was cut off or ended with a server error."""


class SlowDown(BotApiError):
    """Telegram's rate limit demands a pause (429)."""

    def __init__(self, retry_after: float) -> None:
        super().__init__(f"Telegram wants a pause of {retry_after:g} s")
        self.retry_after = retry_after  # seconds


class ChatUnreachable(BotApiError):
    """The bot may not write to this chat: it was blocked, removed or restricted."""


class MediaForbidden(BotApiError):
    """The chat allows no files of this kind; text may be allowed."""


class ChatMoved(BotApiError):
    """The group has become a supergroup with another id."""

    def __init__(self, new_chat_id: int) -> None:
        super().__init__()
        self.new_chat_id = new_chat_id


class NotModified(BotApiError):
    """The message shows this already, so an edit has succeeded; only TelegramClient.call() raises it."""


class MessageGone(BotApiError):
    """The message to edit does not exist any more."""


class ThreadGone(BotApiError):
    """The topic to write to is closed or deleted."""


class EntitiesRefused(BotApiError):
    """Telegram does not accept the formatting of this text."""


class CallRefused(BotApiError):
    """Telegram refuses this call, and would refuse it again."""


class TokenRefused(BotApiError):
    """Telegram does not know this bot token. Set TELEGRAM_BOT_TOKEN to the one that @BotFather gives."""


class PollingConflict(BotApiError):
    """Another consumer receives this bot's updates: another process polls, or a webhook is set."""
