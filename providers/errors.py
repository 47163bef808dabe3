"""Everything that can go wrong with an outgoing call. Callers read attributes instead of asking for classes."""

from django.core.exceptions import ImproperlyConfigured

from providers.types import Usage


class ProviderMisconfigured(ImproperlyConfigured):
    """A provider's row or class is wrong. Outside the tree: never treated as a passing fault."""


class ProviderError(Exception):
    """The call failed."""

    error_class = "ProviderError"  # what the attempt's row says
    tries_elsewhere = True  # may the next provider be asked?
    counts_as_failure = True  # does it speak against the provider's health?
    trips_at_once = False  # does a single one send the provider to rest?
    maybe_paid = False  # may the vendor have executed and billed the call?
    ends_job = False  # is a job over that was asked for? Otherwise only the question failed, and can be asked again

    def __init__(
        self,
        excerpt: str = "",
        *,
        provider: str = "",
        status: int | None = None,
        code: str = "",
        retry_after: float | None = None,
    ) -> None:
        self.excerpt = excerpt  # a short piece of the vendor's words, redacted
        self.provider = provider
        self.status = status  # the HTTP status, where an answer came at all
        self.code = code  # the vendor's machine-readable code
        self.retry_after = retry_after  # seconds
        self.usage: Usage | None = None  # what the failed call used, where the vendor says it
        super().__init__(excerpt)

    def __str__(self) -> str:
        summary = (self.__doc__ or "").partition("\n")[0].rstrip(".")
        code = "" if self.code == str(self.status) else self.code
        facts = [f"HTTP {self.status}" if self.status else "", code, self.excerpt]
        details = ", ".join(fact for fact in facts if fact)
        return f"{summary} ({details})" if details else summary


class NotSent(ProviderError):
    """Nothing reached the provider."""

    error_class = "NotSent"


class ServerFault(ProviderError):
    """The provider says that it cannot do it now."""

    error_class = "ServerFault"


class RateLimited(ProviderError):
    """The provider limits our rate."""

    error_class = "RateLimited"
    trips_at_once = True


class AccessDenied(ProviderError):
    """The provider refuses our key or account.

    A wrong key, an empty wallet, a missing permission.
    """

    error_class = "AccessDenied"
    trips_at_once = True


class RequestRejected(ProviderError):
    """The provider rejects this request as it is."""

    error_class = "RequestRejected"
    counts_as_failure = False


class ModelGone(RequestRejected):
    """The provider does not serve this model; its row needs another model id."""

    # A retired id fails every request alike, so the row rests and the operator is told.
    counts_as_failure = True
    trips_at_once = True


class ContentRefused(RequestRejected):
    """The provider refuses the content of this request."""

    # False alarms happen (OpenAI, autumn 2026), so one other provider may be asked; a second refusal is believed.


class Unsupported(ProviderError):
    """This provider cannot do what the request needs; nothing was sent."""

    error_class = "Unsupported"
    counts_as_failure = False


class OutcomeUnknown(ProviderError):
    """No complete answer came, and the call may be billed."""

    error_class = "OutcomeUnknown"
    maybe_paid = True


class NotStored(OutcomeUnknown):
    """The output came, but our own storage did not take it."""

    # Another provider's output would not be taken either. A job's output is fetched again; others are lost.
    error_class = "NotStored"
    tries_elsewhere = False
    counts_as_failure = False


class ChainError(Exception):
    """The chain ended without an answer."""

    code = "FAILED"  # what the request's row says


class AllProvidersFailed(ChainError):
    """Every provider of the chain was tried and failed."""

    code = "ALL_PROVIDERS_FAILED"


class NoProviderAvailable(ChainError):
    """No enabled provider with a key can do this request."""

    code = "NO_PROVIDER"


class RefusedByProviders(ChainError):
    """The content of this request was refused."""

    code = "CONTENT_REFUSED"


class OutOfTime(ChainError):
    """The total deadline passed before a provider answered."""

    code = "DEADLINE"


class PaymentUncertain(ChainError):
    """An expensive call broke off and may have been billed, so nothing else was bought."""

    code = "PAYMENT_UNCERTAIN"


class StorageFailed(ChainError):
    """An output came and could not be stored, so nothing else was bought."""

    code = "STORAGE_FAILED"
