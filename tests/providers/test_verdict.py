"""What the outcomes so far decide about the rest of the chain: a pure function, the same before and after a crash."""

import pytest

from providers.chain.attempts import WORKER_LOST
from providers.chain.fallback import REFUSALS_TO_BELIEVE, PastOutcome, Verdict, past_outcome, verdict_on
from providers.errors import PaymentUncertain, RefusedByProviders, StorageFailed
from providers.models import Attempt
from providers.types import UnknownPolicy

RESPEND, ADOPT, STOP = UnknownPolicy.RESPEND, UnknownPolicy.ADOPT, UnknownPolicy.STOP
MAY_ASK_NEXT = Verdict(None)

NOT_SENT = PastOutcome("NotSent", maybe_paid=False, policy=RESPEND)
RATE_LIMITED = PastOutcome("RateLimited", maybe_paid=False, policy=STOP)
REFUSED = PastOutcome("ContentRefused", maybe_paid=False, policy=RESPEND)
REFUSED_AND_PAID = PastOutcome("ContentRefused", maybe_paid=True, policy=RESPEND)
UNKNOWN_CHEAP = PastOutcome("OutcomeUnknown", maybe_paid=True, policy=RESPEND)
UNKNOWN_NOT_FOUND = PastOutcome("OutcomeUnknown", maybe_paid=True, policy=ADOPT)
UNKNOWN_EXPENSIVE = PastOutcome("OutcomeUnknown", maybe_paid=True, policy=STOP)
WORKER_WAS_LOST = PastOutcome(WORKER_LOST, maybe_paid=True, policy=RESPEND)
NOT_STORED = PastOutcome("NotStored", maybe_paid=True, policy=RESPEND)


@pytest.mark.parametrize(
    ("outcomes", "verdict"),
    [
        # Nothing was tried, or it certainly did not run: the next provider may be asked.
        ([], MAY_ASK_NEXT),
        ([NOT_SENT], MAY_ASK_NEXT),
        ([NOT_SENT, RATE_LIMITED, NOT_SENT], MAY_ASK_NEXT),
        # A cheap call with an unknown outcome may be bought again; so may a job that was not found.
        ([UNKNOWN_CHEAP], MAY_ASK_NEXT),
        ([WORKER_WAS_LOST, UNKNOWN_CHEAP], MAY_ASK_NEXT),
        ([UNKNOWN_NOT_FOUND], MAY_ASK_NEXT),
        # An expensive one ends the chain, wherever it stands.
        ([UNKNOWN_EXPENSIVE], Verdict(PaymentUncertain)),
        ([NOT_SENT, UNKNOWN_EXPENSIVE], Verdict(PaymentUncertain)),
        ([UNKNOWN_EXPENSIVE, NOT_SENT], Verdict(PaymentUncertain)),
        # One refusal may be a false alarm, two are believed.
        ([REFUSED], Verdict(None, refusals=1)),
        ([REFUSED, NOT_SENT, UNKNOWN_CHEAP], Verdict(None, refusals=1)),
        ([REFUSED, REFUSED_AND_PAID], Verdict(RefusedByProviders, refusals=2)),
        ([REFUSED, NOT_SENT, REFUSED], Verdict(RefusedByProviders, refusals=2)),
        # An output that our storage did not take is not bought again.
        ([NOT_STORED], Verdict(StorageFailed)),
        ([NOT_SENT, REFUSED, NOT_STORED], Verdict(StorageFailed)),
        # The first that decides is the verdict.
        ([NOT_STORED, UNKNOWN_EXPENSIVE], Verdict(StorageFailed)),
        ([UNKNOWN_EXPENSIVE, NOT_STORED], Verdict(PaymentUncertain)),
        ([REFUSED, REFUSED, UNKNOWN_EXPENSIVE], Verdict(PaymentUncertain)),
    ],
)
def test_the_outcomes_decide(outcomes: list[PastOutcome], verdict: Verdict) -> None:
    found = verdict_on(iter(outcomes))
    assert found.ends_with is verdict.ends_with
    if verdict.ends_with in (None, RefusedByProviders):
        assert found.refusals == verdict.refusals


def test_two_refusals_are_believed() -> None:
    assert REFUSALS_TO_BELIEVE == 2
    assert verdict_on([REFUSED] * (REFUSALS_TO_BELIEVE - 1)).ends_with is None
    assert verdict_on([REFUSED] * REFUSALS_TO_BELIEVE).ends_with is RefusedByProviders


@pytest.mark.parametrize(
    ("state", "maybe_paid"),
    [("FAILED", False), ("UNKNOWN", True), ("ABANDONED", True), ("EXPIRED", False), ("OK", False)],
)
def test_a_recorded_attempt_is_read_back_as_its_outcome(state: str, maybe_paid: bool) -> None:
    attempt = Attempt(category="VIDEO", provider="piapi", state=state, error_class="OutcomeUnknown")
    assert past_outcome(attempt) == PastOutcome("OutcomeUnknown", maybe_paid, STOP)


@pytest.mark.parametrize(
    ("category", "provider", "policy"),
    [("VIDEO", "piapi", STOP), ("VIDEO", "replicate", ADOPT), ("TEXT", "openai", RESPEND), ("VIDEO", "gone", RESPEND)],
)
def test_the_policy_is_that_of_the_provider_whatever_has_become_of_its_route(
    category: str, provider: str, policy: UnknownPolicy
) -> None:
    assert past_outcome(Attempt(category=category, provider=provider, state="UNKNOWN")).policy is policy
