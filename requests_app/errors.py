"""What can stop a request before or beside the providers. Each docstring is written for the person who asked."""


class RequestRefused(Exception):
    """The request was not accepted."""

    code = "REFUSED"

    def __str__(self) -> str:
        return super().__str__() or (self.__doc__ or "").partition("\n")[0]


class UnknownCategory(RequestRefused):
    """There is no such category."""

    code = "UNKNOWN_CATEGORY"


class UnknownModel(RequestRefused):
    """There is no such model, or it is switched off."""

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


class InsufficientCredits(RequestRefused):
    """There are not enough credits."""

    code = "NO_CREDITS"


class LeaseLost(Exception):
    """Another worker owns the request by now; this one must stop before it spends anything more."""


class TransitionRefused(Exception):
    """A request's status never moves this way."""
