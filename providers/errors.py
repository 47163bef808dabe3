"""Everything that can go wrong with an outgoing call. Callers read attributes instead of testing for classes."""

from django.core.exceptions import ImproperlyConfigured

from providers.types import Usage


class ProviderMisconfigured(ImproperlyConfigured):
    """A route or a provider's class is wrong. Outside the tree: never treated as a passing failure."""


class ProviderError(Exception):
    """The call failed."""

    error_class = "ProviderError"  # what the attempt's row says
    tries_elsewhere = True  # may the next provider be asked?
    counts_as_failure = True  # does the circuit breaker count it?
    counts_when_repeated = False  # does it count where several requests meet the very same?
    trips_at_once = False  # does a single one open the circuit?
    maybe_paid = False  # may the provider have executed and billed the call?
    ends_job = False  # is the polled job over? Otherwise only the question failed, and can be asked again

    def __init__(
        self,
        excerpt: str = "",
        *,
        provider: str = "",
        status: int | None = None,
        code: str = "",
        param: str = "",
        retry_after: float | None = None,
        usage: Usage | None = None,
        maybe_paid: bool | None = None,
        ends_job: bool | None = None,
    ) -> None:
        self.excerpt = excerpt  # a short piece of the provider's words, redacted
        self.provider = provider
        self.status = status  # the HTTP status, where a response came at all
        self.code = code  # the provider's machine-readable code
        self.param = param  # the field of the request that the provider names
        self.retry_after = retry_after  # seconds
        self.usage = usage  # what the failed call used, where the provider says it
        if maybe_paid is not None:
            self.maybe_paid = maybe_paid
        if ends_job is not None:
            self.ends_job = ends_job
        super().__init__(excerpt)

    def complete(
        self,
        *,
        provider: str | None = None,
        status: int | None = None,
        usage: Usage | None = None,
        maybe_paid: bool | None = None,
        ends_job: bool | None = None,
    ) -> None:
        """Add what only a caller further out knows. For the template classes, which then raise it again.

        A new error would carry the first one along as its context, and that one is not redacted.
        """
        self.provider = self.provider if provider is None else provider
        self.status = self.status if status is None else status
        self.usage = self.usage if usage is None else usage
        self.maybe_paid = self.maybe_paid if maybe_paid is None else maybe_paid
        self.ends_job = self.ends_job if ends_job is None else ends_job

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
    counts_when_repeated = True  # several requests that meet the very same refusal speak of the route


class RequestTooLarge(RequestRejected):
    """The provider rejects this request for its size, or for what it would cost."""

    counts_when_repeated = False


class ModelGone(RequestRejected):
    """The provider does not serve this model; its route needs another model id."""

    error_class = "ModelGone"
    counts_when_repeated = False
    # A retired id fails every request alike, so the circuit opens and the operator is told.
    counts_as_failure = True
    trips_at_once = True


class ContentRefused(RequestRejected):
    """The provider refuses the content of this request."""

    error_class = "ContentRefused"
    counts_when_repeated = False
    # False alarms happen (OpenAI, autumn 2026), so one other provider may be asked; a second refusal is believed.


class Unsupported(ProviderError):
    """This provider cannot do what the request needs; nothing was sent."""

    error_class = "Unsupported"
    counts_as_failure = False


class OutcomeUnknown(ProviderError):
    """No complete answer came, and the call may be billed."""

    error_class = "OutcomeUnknown"
    maybe_paid = True


class JobNotFound(OutcomeUnknown):
    """A submission whose answer was lost was not found at the provider."""

    ends_job = True


class JobGone(OutcomeUnknown):
    """The provider does not know this job, or no longer."""

    # Right after its submission a job may not be visible yet, so a single look does not end it: see poll_job().


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
