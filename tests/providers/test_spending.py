"""Daily caps: what is under way and what is unknown counts at its reservation, and no two calls take the same rest."""

from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from decimal import Decimal

import pytest
from django.db import connection, transaction
from django.utils import timezone

from providers.chain.attempts import attempt_open
from providers.chain.candidates import route_candidates
from providers.chain.spending import CapReached, reservation, spent_today
from providers.db import give_back_connection
from providers.models import Attempt, AttemptRollup, ProviderConfig
from providers.statistics.rollups import fold_attempts
from providers.transport.deadlines import Deadline
from providers.types import Access, Attachment, Category, Prompt, Turn
from tests.factories import make_attempt, make_provider

pytestmark = pytest.mark.django_db

RATES = {"input_per_million": "1", "output_per_million": "10"}
QUARTER = Decimal("0.25")


@pytest.fixture
def route() -> ProviderConfig:
    return make_provider("openai", daily_cap_usd=Decimal(1), prices=RATES)


def begin(route: ProviderConfig, reserved: Decimal | None = QUARTER, caller: str = "a") -> None:
    attempt_open(caller_key=caller, number=1, route=route, reserved=reserved)


class TestReservation:
    def of(self, route: ProviderConfig, prompt: Prompt) -> Decimal | None:
        (candidate,) = route_candidates(route, {})
        return reservation(route, candidate.provider, candidate.prompt_for(prompt))

    @pytest.fixture(autouse=True)
    def _keys(self, settings):

        settings.PROVIDER_ACCESS = {
            slug: Access("key", "http://127.0.0.1:9") for slug in ("openai", "replicate", "elevenlabs")
        }

    def test_a_text_may_be_as_long_as_its_limit(self, route):
        short = self.of(route, Prompt(Category.TEXT, "Hi", max_output_tokens=1000))
        long = self.of(route, Prompt(Category.TEXT, "Hi" * 5000, max_output_tokens=1000))
        talk = self.of(route, Prompt(Category.TEXT, "Hi", history=(Turn("user", "x" * 9000),), max_output_tokens=1000))
        seen = self.of(
            route, Prompt(Category.TEXT, "Hi", attachments=(Attachment("image/png", b""),), max_output_tokens=1000)
        )

        assert short is not None
        assert Decimal("0.01") < short < Decimal("0.0101")
        assert long is not None and talk is not None and seen is not None  # noqa: PT018
        assert min(long, talk, seen) > short + Decimal("0.004")

    def test_media_are_counted_in_their_own_units(self):
        image = ProviderConfig.objects.get(category="IMAGE", name="replicate")
        video = ProviderConfig.objects.get(category="VIDEO", name="replicate")
        speech = ProviderConfig.objects.get(category="AUDIO", name="elevenlabs")

        assert self.of(image, Prompt(Category.IMAGE, "A cat")) == Decimal("0.003")
        assert self.of(video, Prompt(Category.VIDEO, "A cat")) == Decimal("0.42")
        assert self.of(speech, Prompt(Category.AUDIO, "x" * 1000)) == Decimal("0.04")

    def test_metered_hardware_may_run_until_the_deadline(self, settings):
        settings.DEADLINE_SECONDS = {**settings.DEADLINE_SECONDS, "IMAGE": 100}
        image = ProviderConfig.objects.get(category="IMAGE", name="replicate")
        image.prices = {"per_compute_second": "0.01"}

        assert self.of(image, Prompt(Category.IMAGE, "A cat")) == Decimal(1)

    def test_without_a_price_nobody_knows(self, route):
        route.prices, route.list_price = {}, None

        assert self.of(route, Prompt(Category.TEXT, "Hi")) is None


def test_calls_under_way_count(route):
    for number in range(4):
        begin(route, caller=f"c{number}")

    with pytest.raises(CapReached, match=r"its daily cap of \$1.00 leaves \$0.0000"):
        begin(route, caller="one more")

    assert Attempt.objects.count() == 4


@pytest.mark.parametrize(
    ("fields", "spent"),
    [
        ({"state": "OK", "cost": Decimal("0.1")}, "0.1"),
        ({"state": "OK", "cost": None}, "0.25"),
        ({"state": "FAILED", "cost": None}, "0"),
        ({"state": "UNKNOWN", "cost": None}, "0.25"),
        ({"state": "ABANDONED", "cost": None}, "0.25"),
        ({"state": "FAILED", "cost": Decimal("0.02")}, "0.02"),
        ({"state": "OK", "cost": Decimal("0.1"), "created_at": timezone.now() - timedelta(days=1, hours=1)}, "0"),
        ({"state": "OK", "cost": Decimal("0.1"), "purpose": "sandbox"}, "0"),
    ],
)
def test_what_a_call_counts_before_and_after_it_is_folded(fields, spent):
    make_attempt(reserved_cost=QUARTER, **fields)
    assert spent_today() == Decimal(spent)

    Attempt.objects.update(finished_at=timezone.now() - timedelta(hours=2))
    fold_attempts()
    assert spent_today() == Decimal(spent)
    assert AttemptRollup.objects.exists() or fields.get("purpose") == "sandbox"


def test_every_cap_must_hold(route, settings):
    other = make_provider("xai", prices=RATES)
    settings.PROVIDER_DAILY_CAPS_USD = {"xai": Decimal("0.3")}
    settings.DAILY_SPEND_CAP_USD = Decimal("0.6")
    begin(route, caller="1")
    begin(other, caller="2")

    with pytest.raises(CapReached, match="its provider's daily cap"):
        begin(other, caller="3")
    with pytest.raises(CapReached, match="the daily cap of the service"):
        begin(route, caller="3")
    begin(route, Decimal("0.1"), caller="3")


def test_a_cap_without_a_price_asks_nobody(route):
    with pytest.raises(CapReached, match="put in its price"):
        begin(route, reserved=None)


@pytest.mark.django_db(transaction=True)
def test_fifty_first_calls_at_once_spend_no_more_than_the_cap(route):
    def one(number: int) -> bool:
        try:
            begin(route, caller=f"c{number}")
        except CapReached:
            return False
        finally:
            give_back_connection()
        return True

    with ThreadPoolExecutor(16) as pool:
        begun = list(pool.map(one, range(50)))

    assert sum(begun) == 4
    assert spent_today() == 1


@pytest.mark.skipif("connection.vendor != 'postgresql'", reason="SQLite has one writer at a time")
@pytest.mark.django_db(transaction=True)
def test_a_call_waits_for_another_that_takes_from_the_same_cap(route):
    def second() -> None:
        try:
            begin(route, caller="second")
        finally:
            give_back_connection()

    with ThreadPoolExecutor(1) as pool:
        with transaction.atomic():
            begin(route, Decimal("0.9"), caller="first")
            waiting = pool.submit(second)
            deadline = Deadline.after(10)
            while not is_waited_for() and not waiting.done() and deadline.remaining() > 0:
                pass
            assert not waiting.done()
        with pytest.raises(CapReached):
            waiting.result()


def is_waited_for() -> bool:
    """Return whether anybody waits for an advisory lock."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT EXISTS (SELECT FROM pg_locks WHERE locktype = 'advisory' AND NOT granted)")
        return bool(cursor.fetchone()[0])
