"""The circuit breaker: when a circuit opens, for how long, and who may probe it when it is half-open."""

from datetime import timedelta

import pytest
from django.db.models.functions import Now
from django.utils import timezone

from providers.chain import circuit_breaker
from providers.chain.circuit_breaker import (
    CLEAN,
    Circuit,
    CircuitState,
    acquire_probe,
    read_health,
    record_failure,
    record_success,
)
from providers.errors import (
    AccessDenied,
    ContentRefused,
    ModelGone,
    NotSent,
    OutcomeUnknown,
    ProviderError,
    RateLimited,
    RequestRejected,
    RequestTooLarge,
    ServerFault,
    Unsupported,
)
from providers.models import ProviderHealth

pytestmark = pytest.mark.django_db

OPENAI = Circuit("openai", category="TEXT", route="openai")


def fail(error: ProviderError, times: int = 1) -> None:
    for _ in range(times):
        record_failure(OPENAI, error=error)


def health() -> circuit_breaker.Health:
    return read_health("TEXT").get(OPENAI, CLEAN)


def end_cooldown() -> None:
    """Let the cooldown be over, by the database's clock."""
    ProviderHealth.objects.update(open_until=Now() - timedelta(seconds=1))


def cooldown_seconds() -> float:
    row = OPENAI.rows().get()
    return (row.open_until - timezone.now()).total_seconds() if row.open_until else 0


@pytest.mark.parametrize("error", [ServerFault(), OutcomeUnknown(), NotSent()])
def test_three_failures_in_a_row_open_the_circuit(error):
    fail(error, times=2)
    assert health().state is CircuitState.CLOSED

    fail(error)

    assert health().state is CircuitState.OPEN
    assert 20 < cooldown_seconds() <= 36  # 30 s ± 20 %


def test_a_probe_that_fails_opens_the_circuit_again_whatever_had_opened_it():
    fail(RateLimited(retry_after=30))  # alone, so that the failures in a row are one
    end_cooldown()
    assert health().state is CircuitState.HALF_OPEN

    fail(ServerFault())

    assert health().state is CircuitState.OPEN


def test_a_success_between_failures_starts_the_count_again():
    fail(ServerFault(), times=2)
    record_success(OPENAI, health=health())

    fail(ServerFault(), times=2)

    assert health().state is CircuitState.CLOSED


@pytest.mark.parametrize("error", [AccessDenied(), ModelGone()])
def test_a_refused_key_or_a_retired_model_opens_the_circuit_at_once_for_ten_minutes(error):
    fail(error)

    assert health().state is CircuitState.OPEN
    assert 590 < cooldown_seconds() <= 600


@pytest.mark.parametrize(("retry_after", "expected"), [(None, 30), (7, 7), (1_200, 1_200), (99_999, 3_600)])
def test_a_rate_limit_opens_the_circuit_for_as_long_as_the_provider_says_within_reason(retry_after, expected):
    fail(RateLimited(retry_after=retry_after))

    assert expected - 5 < cooldown_seconds() <= expected


@pytest.mark.parametrize("error", [RequestTooLarge(), ContentRefused(), Unsupported()])
def test_a_refused_request_never_counts_as_a_failure(error):
    fail(error, times=20)

    assert not ProviderHealth.objects.exists()


class TestTheSameRefusalOfSeveralRequests:
    def test_opens_the_circuit_for_the_operator_has_to_mend_the_route(self):
        for number in range(3):
            assert health().state is CircuitState.CLOSED
            fail(RequestRejected(f"unknown field x at position {number}", status=400))

        assert health().state is CircuitState.OPEN
        assert health().error_class == "RequestRejected"
        assert 590 < cooldown_seconds() <= 600

    def test_different_ones_speak_of_the_requests(self):
        for _ in range(5):
            fail(RequestRejected("unknown field x", status=400))
            fail(RequestRejected("the prompt is empty", status=400))

        assert health().state is CircuitState.CLOSED

    def test_an_answer_between_them_starts_the_count_again(self):
        for _ in range(5):
            fail(RequestRejected("unknown field x", status=400), times=2)
            record_success(OPENAI, health=health())

        assert health().state is CircuitState.CLOSED


def test_each_further_cooldown_is_twice_as_long_up_to_ten_minutes():
    fail(ServerFault(), times=3)
    lengths = []
    for _ in range(6):
        end_cooldown()
        fail(ServerFault())
        lengths.append(cooldown_seconds())

    for length, expected in zip(lengths, [60, 120, 240, 480, 600, 600], strict=True):
        assert expected * 0.8 - 5 < length <= expected * 1.2


def test_calls_that_were_under_way_when_the_circuit_opened_do_not_lengthen_the_cooldown():
    fail(OutcomeUnknown(), times=3)
    first = OPENAI.rows().get().open_until

    fail(OutcomeUnknown(), times=10)

    assert OPENAI.rows().get().open_until == first
    assert OPENAI.rows().get().consecutive_trips == 1


def test_a_short_rate_limit_never_shortens_a_longer_cooldown():
    fail(AccessDenied())

    fail(RateLimited(retry_after=1))

    assert cooldown_seconds() > 590


def test_after_the_cooldown_exactly_one_caller_acquires_the_probe():
    fail(ServerFault(), times=3)
    assert not acquire_probe(OPENAI, seconds=30)  # still open

    end_cooldown()
    assert health().state is CircuitState.HALF_OPEN

    assert [acquire_probe(OPENAI, seconds=30) for _ in range(5)] == [True, False, False, False, False]
    assert health().state is CircuitState.HALF_OPEN


def test_a_probe_whose_worker_died_can_be_acquired_again():
    fail(ServerFault(), times=3)
    end_cooldown()
    acquire_probe(OPENAI, seconds=30)
    ProviderHealth.objects.update(probe_until=Now() - timedelta(seconds=1))

    assert acquire_probe(OPENAI, seconds=30)


def test_a_successful_probe_closes_the_circuit():
    fail(ServerFault(), times=3)
    end_cooldown()
    before = health()
    acquire_probe(OPENAI, seconds=30)

    record_success(OPENAI, health=before)

    assert health() == CLEAN


def test_a_success_that_began_before_the_circuit_opened_does_not_close_it():
    fail(ServerFault())
    before = health()
    fail(RateLimited(retry_after=300))

    record_success(OPENAI, health=before)

    assert health().state is CircuitState.OPEN


def test_the_operator_resets_an_open_circuit():
    fail(AccessDenied())

    assert circuit_breaker.reset(OPENAI)

    assert health() == CLEAN
    assert not circuit_breaker.reset(OPENAI)


def test_each_category_has_a_circuit_of_its_own():
    fail(AccessDenied())

    assert read_health("IMAGE") == {}
