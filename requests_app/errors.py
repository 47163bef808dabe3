"""Errors of requests; those of providers are in providers.errors. A RequestRefused's docstring is its message."""

from providers.errors import ChainError


class RequestRefused(Exception):
    """The request was not accepted."""

    code = "REFUSED"

    def __str__(self) -> str:
        return super().__str__() or (self.__doc__ or "").partition("\n")[0]


class UnknownCategory(RequestRefused):
    """There is no such category."""

    code = "UNKNOWN_CATEGORY"


class UnknownModel(RequestRefused):
    """There is no such model, or it is disabled."""

    code = "UNKNOWN_MODEL"


class PromptInvalid(RequestRefused):
    """The prompt is empty or too long."""

    code = "PROMPT_INVALID"


class AccountBlocked(RequestRefused):
    """This account is blocked."""

    code = "BLOCKED"


class TooManyOpenRequests(RequestRefused):
    """Too many requests of this account are still being answered."""

    code = "TOO_MANY_OPEN"


class ConversationBusy(RequestRefused):
    """An earlier text of the conversation is still being answered."""

    code = "CONVERSATION_BUSY"


class InsufficientCredits(RequestRefused):
    """There are not enough credits."""

    code = "NO_CREDITS"


class RetryRefused(RequestRefused):
    """This request cannot be asked anew."""

    code = "RETRY_REFUSED"


class ResendRefused(RequestRefused):
    """There is no answer of this request that could be shown again."""

    code = "RESEND_REFUSED"


class EraseUnfinished(RequestRefused):
    """Not everything is erased yet."""

    code = "ERASE_UNFINISHED"


class NothingHeard(ChainError):
    """There are no words in the audio of this request."""

    code = "NOTHING_HEARD"


class TransitionRefused(Exception):
    """A request's status may never change this way."""
